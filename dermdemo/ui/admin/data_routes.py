"""Data sets over HTTP: what may be registered, uploads, registration as a task, and what the check found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from fastapi import APIRouter, HTTPException, Request
from starlette.requests import ClientDisconnect

from dermdemo.data.sources import SPLITS
from dermdemo.errors import ConfigError, DermdemoError
from dermdemo.evaluation.records import decode
from dermdemo.jobs import registering
from dermdemo.jobs.data_checks import UnknownLabelsError
from dermdemo.jobs.datasets import Catalogue, DataSet, Offer
from dermdemo.jobs.offered import offered
from dermdemo.jobs.registry import Registry
from dermdemo.ui.admin.access import Actor, Reader
from dermdemo.ui.admin.bodies import Body
from dermdemo.ui.admin.inbox import Inbox
from dermdemo.ui.admin.site import AdminSite, site_of
from dermdemo.ui.admin.tasks import Seen

API = "/administration/api"
REGISTERING = "register"
MAX_NAME, MAX_LABEL, MAX_LABELS = 80, 200, 500

router = APIRouter()


@dataclass(frozen=True, kw_only=True)
class Registration:
    """What a registration may say: `path` or `upload`, and how the data are offered."""

    path: str | None = None
    upload: str | None = None
    name: str = ""
    mapping: Mapping[str, str] = field(default_factory=dict)
    split_seed: int = 0
    names_only: bool = False

    def __post_init__(self) -> None:
        if bool(self.path) == bool(self.upload):
            raise ConfigError("Name either a path on the allow-list or an upload.")
        if len(self.name) > MAX_NAME or not self.name.isprintable():
            raise ConfigError(f"A name has at most {MAX_NAME} characters, all of them printable.")
        if len(self.mapping) > MAX_LABELS or any(len(t) > MAX_LABEL for pair in self.mapping.items() for t in pair):
            raise ConfigError(f"At most {MAX_LABELS} labels of {MAX_LABEL} characters can be mapped.")
        if not 0 <= self.split_seed < 2**31:
            raise ConfigError("The split's seed is a number from 0 on.")

    def offer(self, who: str) -> Offer:
        return Offer(who=who, name=self.name.strip(), mapping=dict(self.mapping), split_seed=self.split_seed,
                     names_only=self.names_only)


def inbox_of(site: AdminSite) -> Inbox:
    """Uploads of a site; old ones are removed on the way."""
    inbox = Inbox(site.settings.home.resolve())
    inbox.sweep()
    return inbox


@router.get(API + "/data/folders")
def folders(admin: Reader, request: Request) -> dict[str, Any]:
    """What lies on the allow-list, and how large an upload may be."""
    site = site_of(request)
    return {"roots": [asdict(root) for root in offered(site.jobs.data)], "upload_limit": inbox_of(site).limit}


@router.post(API + "/data/upload")
async def upload(admin: Actor, request: Request) -> dict[str, Any]:
    """Take a zip, as the body of the request; `X-File-Name` (percent-encoded) is only ever shown."""
    name = "".join(c for c in unquote(request.headers.get("x-file-name", "")) if c.isprintable())[-MAX_NAME:]
    length = request.headers.get("content-length", "")
    declared = int(length) if length.isdigit() else None
    try:
        key, total = await inbox_of(site_of(request)).receive(request.stream(), declared)
    except ClientDisconnect as error:
        raise HTTPException(400, "The upload was broken off; nothing of it is kept.") from error
    return {"upload": key, "name": name or "upload.zip", "bytes": total}


@router.post(API + "/data/register")
def register(admin: Actor, body: Body, request: Request) -> dict[str, str]:
    """Begin to check and register a data set; the task goes on when the page is closed."""
    site, wanted = site_of(request), decode(Registration, body)
    data, inbox, offer = site.jobs.data, inbox_of(site), wanted.offer(admin.who)
    if wanted.path:
        what, path = f"registering {wanted.path}", str(wanted.path)
        data.allowed(Path(path))  # a wrong one is said at once
        return {"task": site.tasks.start(what, lambda: {"id": registering.register(data, offer, path=path)},
                                         alone=REGISTERING)}
    zipped = inbox.find(str(wanted.upload))

    def add() -> dict[str, str]:
        found = registering.register(data, offer, archive=zipped)
        zipped.unlink(missing_ok=True)  # kept where it was refused: a mapping may be missing
        return {"id": found}

    return {"task": site.tasks.start(f"registering {offer.name or 'an upload'}", add, alone=REGISTERING)}


@router.get(API + "/tasks/{task}")
def task(admin: Reader, task: str, request: Request) -> dict[str, Any]:
    """A task as it is now."""
    seen: Seen | None = site_of(request).tasks.get(task)
    if seen is None:
        raise HTTPException(404, "This task is not known (any more): the server was restarted, or it ended long ago. "
                                 "What it made is in the lists.")
    unknown = seen.problem if isinstance(seen.problem, UnknownLabelsError) else UnknownLabelsError((), ())
    return {"state": seen.state, "what": seen.what, "seconds": round(seen.seconds, 1), "result": seen.result,
            "error": seen.error, "kind": type(seen.problem).__name__ if seen.problem else None,
            "unknown_labels": list(unknown.labels), "classes": list(unknown.classes)}


@router.get(API + "/data/{data}")
def detail(admin: Reader, data: str, request: Request) -> dict[str, Any]:
    """A data set with its audit."""
    site = site_of(request)
    found = next((d for d in site.jobs.data.listed() if d.id == data), None)
    if found is None:
        raise HTTPException(404, f"There is no data set '{data[:MAX_NAME]}'.")
    return detail_of(found, site.jobs.data, site.registry)


def data_row(data: DataSet) -> dict[str, Any]:
    """A data set in a list."""
    return {"id": data.id, "name": data.name, "who": data.who, "created": data.created, "images": data.images,
            "groups": data.groups, "classes": list(data.classes), "copied": data.copied, "known": data.known,
            "notes": list(data.notes), "live_version": data.live_version}


def detail_of(data: DataSet, catalogue: Catalogue, registry: Registry) -> dict[str, Any]:
    """Everything of a data set: split, audit, duplicates, overlap with the models it was checked against."""
    audit = catalogue.audit_of(data)
    table, problems = audit.get("split_table", {}), {p["kind"]: p for p in audit.get("problems", [])}
    split = {name: {"images": sum(n for k, n in table[name].items() if k != "groups"),
                    "groups": table[name]["groups"],
                    "classes": {c: table[name].get(c, 0) for c in data.classes}} for name in SPLITS if name in table}
    pairs, torn = problems.get("near-duplicate"), problems.get("duplicate-across-splits")
    return data_row(data) | {
        "source": data.source, "mapping": dict(data.mapping), "split_seed": data.split_seed, "split": split,
        "audit": audit, "data_hash": data.data_hash, "split_hash": data.split_hash,
        "duplicates": {"pairs": pairs["count"] if pairs else 0, "examples": pairs["examples"] if pairs else [],
                       "across_splits": torn["count"] if torn else 0},
        "overlap": {"version": data.live_version, "compared": _compared(data, registry),
                    "trained_on": data.known, "test_outside_test": 0}}


def _compared(data: DataSet, registry: Registry) -> str:
    """How it was made sure that no test lesion of the live models stands outside test (else it was refused)."""
    if data.notes:
        return "by ids only"
    try:
        own = registry.version(data.live_version).data_hash == data.readable_hash
    except DermdemoError:  # the version is damaged: it was by pictures, or they are its own data
        own = False
    return "by ids: the data the models were made from" if own else "by ids and pictures"
