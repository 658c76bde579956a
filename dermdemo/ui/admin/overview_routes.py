"""`GET /administration/api/overview`: jobs, versions, data sets and what is wrong; asked every few seconds."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request, Response

from dermdemo.jobs.datasets import DataSet
from dermdemo.jobs.records import ACTIVE
from dermdemo.jobs.shown import Names
from dermdemo.jobs.store import View
from dermdemo.jobs.versions import VersionRow, version_rows
from dermdemo.jobs.watching import Watcher
from dermdemo.ui.admin.access import Reader
from dermdemo.ui.admin.as_json import as_json
from dermdemo.ui.admin.launch_routes import usable
from dermdemo.ui.admin.site import AdminSite, site_of

router = APIRouter()
DATA_FIELDS = ("id", "name", "who", "created", "images", "groups", "classes", "copied", "known", "notes",
               "live_version")
_MAKING = threading.Lock()


def watcher_of(request: Request) -> Watcher:
    """The one watcher of this server, made when it is first asked for."""
    with _MAKING:
        found: Watcher | None = getattr(request.app.state, "watcher", None)
        if found is None:
            found = request.app.state.watcher = Watcher(site_of(request).jobs.jobs)
    return found


def names_of(site: AdminSite, versions: Sequence[VersionRow] | None = None) -> Names:
    """What jobs are called by, from the data sets and the versions they made."""
    rows = version_rows(site.registry)[0] if versions is None else versions
    return Names(data={d.id: d.name for d in site.jobs.data.listed()},
                 candidates={v.job: v.number for v in reversed(rows) if v.job})


@router.get("/administration/api/overview")
def overview(request: Request, admin: Reader) -> Response:
    """Everything in rows; moves the queue on."""
    site, watcher = site_of(request), watcher_of(request)
    views, problems = watcher.look()
    versions, unread = version_rows(site.registry)
    jobs, damaged = watcher.rows(views, names_of(site, versions))
    return as_json({"jobs": jobs, "versions": versions,
                    "data": [data_row(d) for d in reversed(site.jobs.data.listed())], "serving": serving(site),
                    "devices": devices(site, views), "problems": [*problems, *damaged, *unread]})


def data_row(data: DataSet) -> dict[str, Any]:
    """A data set in a list."""
    return {name: getattr(data, name) for name in DATA_FIELDS}


def serving(site: AdminSite) -> dict[str, Any]:
    """What visitors are served with now; the number is null where that is no version."""
    status = site.live.status()
    return {"number": status.number if status.number >= 0 else None, "sha256": status.sha256,
            "problem": status.problem}


def devices(site: AdminSite, views: Sequence[View]) -> list[dict[str, Any]]:
    """Places to run, whether they can be used here, and what runs and waits there."""
    states = [(v.record.device, v.state) for v in views]
    return [{"name": name, "limit": limit, "usable": usable(name, site)[0],
             "running": sum(d == name and s in ACTIVE for d, s in states),
             "queued": states.count((name, "queued"))} for name, limit in site.jobs.jobs.limits.items()]
