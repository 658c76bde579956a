"""Jobs one by one: everything about one, its log, pictures and record; stop, cancel, resume, retry, repeat."""

from __future__ import annotations

import json
from typing import Annotated, Literal

from fastapi import APIRouter, HTTPException, Query, Request, Response

from dermdemo.errors import JobError
from dermdemo.jobs.grids import read_grid
from dermdemo.jobs.job_record import whole_record
from dermdemo.jobs.log_tail import log_names, read_log
from dermdemo.jobs.records import ENDS, JOB_ID
from dermdemo.jobs.store import View
from dermdemo.ui.admin.access import Actor, Reader
from dermdemo.ui.admin.as_json import as_json
from dermdemo.ui.admin.overview_routes import names_of, watcher_of
from dermdemo.ui.admin.site import AdminSite, site_of
from dermdemo.ui.wording import watching as words

router = APIRouter()
JOBS = "/administration/api/jobs/{job}"
CLOSED = {"Cache-Control": "no-store"}


def view_of(site: AdminSite, job: str) -> View:
    """A job as it is now. Raises HTTPException 404 for an unknown one, JobError for a damaged one."""
    folder = site.jobs.jobs.store.jobs / job
    if not JOB_ID.fullmatch(job) or len(job) > 12 or not folder.is_dir():
        raise HTTPException(404, words.NO_JOB)
    return site.jobs.jobs.view(job)


@router.get(JOBS)
def detail(job: str, request: Request, admin: Reader) -> Response:
    """One job in full."""
    site = site_of(request)
    return as_json(watcher_of(request).detail(view_of(site, job), names_of(site)))


@router.get(JOBS + "/log")
def log(job: str, request: Request, admin: Reader, step: str, after: Annotated[int, Query(ge=-1)] = -1
        ) -> Response:
    """What came after a byte of a step's log."""
    view = view_of(site_of(request), job)
    if step not in (names := log_names(view.folder.path, view.record)) and step not in {
            s.name for s in view.record.steps}:
        raise HTTPException(404, words.NO_LOG.format(names=", ".join(names) or words.NONE_YET))
    over = view.state in ENDS or view.history.step != step
    return as_json(read_log(view.folder.path, view.record, step, after=after if after >= 0 else None, over=over))


@router.get(JOBS + "/grid")
def grid(job: str, request: Request, admin: Reader, run: str, epoch: Annotated[int, Query(ge=0, lt=10**6)]
         ) -> Response:
    """Originals and reconstructions of an epoch."""
    view = view_of(site_of(request), job)
    step = next((s for s in view.record.steps if s.name == run), None)
    data = read_grid(view.folder, step, epoch) if step else None
    if data is None:
        raise HTTPException(404, words.NO_PICTURE)
    return Response(data, media_type="image/png", headers=CLOSED)


@router.get(JOBS + "/record")
def record(job: str, request: Request, admin: Reader) -> Response:
    """Record and events of a job, as a file."""
    view = view_of(site_of(request), job)
    text = json.dumps(whole_record(view), indent=1, allow_nan=False)
    name = f'attachment; filename="dermdemo-job-{view.id}.json"'
    return Response(text, media_type="application/json", headers={**CLOSED, "Content-Disposition": name})


@router.post(JOBS + "/repeat")
def repeat(job: str, request: Request, admin: Actor) -> dict[str, str]:
    """The same job again, as a new one."""
    site = site_of(request)
    view_of(site, job)
    return {"id": site.jobs.repeat(job, who=admin.who)}


@router.post(JOBS + "/{action}")
def act(job: str, action: str, request: Request, admin: Actor) -> Response:
    """Stop, cancel, resume or retry; `finish` is the stop of a job that broke off. The job's row afterwards."""
    site = site_of(request)
    view = view_of(site, job)
    known: dict[str, Literal["stop", "cancel", "resume", "retry"]] = {
        "stop": "stop", "cancel": "cancel", "resume": "resume", "retry": "retry", "finish": "stop"}
    if action not in known:
        raise HTTPException(404, words.NO_ACTION)
    if action == "finish" and view.state not in ("failed", "lost"):
        raise JobError(words.NOT_BROKEN_OFF.format(job=job, state=view.state))
    site.jobs.jobs.act(job, known[action], who=admin.who)
    return as_json(watcher_of(request).row(view_of(site, job), names_of(site)))
