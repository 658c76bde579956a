"""Versions of the models one by one: in full, and promote, roll back, archive.

Unusual here: a switch names what the administrator saw. Who decides to replace version 3 says so (`live`), and is
refused if another administrator has made another version live meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, HTTPException, Request, Response

from dermdemo.errors import CheckpointError, DataError, JobError
from dermdemo.jobs.versions import version_detail, version_row
from dermdemo.ui.admin.access import Actor, Reader
from dermdemo.ui.admin.as_json import as_json
from dermdemo.ui.admin.site import AdminSite, site_of
from dermdemo.ui.wording import watching as words

router = APIRouter()
VERSIONS = "/administration/api/versions/{number}"
MOST = 10**9
PATIENCE = 90.0  # seconds; a switch loads a whole set of models
_SWITCHING = threading.Lock()


Seen = Annotated[dict[str, Any] | None, Body()]


def number_of(site: AdminSite, text: str) -> int:
    """A version's number. Raises HTTPException 404 for one that is not there."""
    if not text.isascii() or not text.isdigit() or len(text) > 9 or int(text) not in site.registry.numbers():
        raise HTTPException(404, words.NO_VERSION)
    return int(text)


@router.get(VERSIONS)
def detail(number: str, request: Request, admin: Reader) -> Response:
    """One version in full."""
    site = site_of(request)
    return as_json(version_detail(site.registry, number_of(site, number)))


@router.post(VERSIONS + "/archive")
def archive(number: str, request: Request, admin: Actor) -> Response:
    """Take a version out of the choice; one that is out already stays so."""
    site = site_of(request)
    wanted = number_of(site, number)
    with _alone():
        row = version_row(site.registry, wanted)
        if row is None or row.standing != "archived":
            site.registry.archive(wanted, who=admin.who)
    return as_json(version_row(site.registry, wanted))


@router.post(VERSIONS + "/{action}")
def switch(number: str, action: str, request: Request, admin: Actor, body: Seen = None) -> Response:
    """Make a version live. A version that is live and served already is answered without doing it again.

    Args:
        body: `live`, the version that was live when the administrator decided; left out, it does not matter.

    Raises:
        DataError: the body says anything else.
        JobError: another version was made live since the administrator looked, or this one may not be.
        CheckpointError, NotFittedError: it is refused; what was live stays live.
    """
    site = site_of(request)
    wanted, how, seen = number_of(site, number), _action(action), _seen(body)
    with _alone():
        if not _served(site, wanted):
            _still(site, seen)
            site.live.switch(wanted, action=how, who=admin.who)
    return as_json(version_row(site.registry, wanted))


@contextmanager
def _alone() -> Iterator[None]:
    """One change of versions at a time in this server. Raises JobError if another takes too long."""
    if not _SWITCHING.acquire(timeout=PATIENCE):
        raise JobError(words.BUSY)
    try:
        yield
    finally:
        _SWITCHING.release()


def _action(action: str) -> Literal["promote", "rollback"]:
    if action == "promote":
        return "promote"
    if action == "rollback":
        return "rollback"
    raise HTTPException(404, words.NO_ACTION)


def _live(site: AdminSite) -> int | None:
    """Number of the live version; None if the switch cannot be read."""
    try:
        return site.registry.switch().live
    except CheckpointError:
        return None


def _served(site: AdminSite, number: int) -> bool:
    """Whether a version is live, and what visitors get."""
    status = site.live.status()
    return _live(site) == number == status.number and not status.problem


def _seen(body: dict[str, Any] | None) -> int | None:
    """The version that was live when the administrator decided; None if that was not said. Raises DataError."""
    live = (body or {}).get("live")
    if set(body or {}) - {"live"} or not (live is None or (type(live) is int and 0 <= live < MOST)):
        raise DataError(words.SEEN)
    return live


def _still(site: AdminSite, seen: int | None) -> None:
    """Raise JobError unless the live version is the one that was seen."""
    live = _live(site)
    if seen is not None and live is not None and seen != live:
        raise JobError(words.MEANWHILE.format(live=live))
