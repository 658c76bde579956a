"""The audit log over HTTP: page by page, newest first, and whole as a file to keep elsewhere.

A damaged log is shown as far as it verifies, and says that it is damaged.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response

from dermdemo.analysis.export import guard
from dermdemo.evaluation.records import encode
from dermdemo.jobs.audit_log import Entry
from dermdemo.jobs.files import canonical
from dermdemo.ui.admin.access import Reader
from dermdemo.ui.admin.site import site_of

API = "/administration/api"
MOST = 500
SHOWN = ("seq", "time", "who", "action", "details", "model_hash", "data_hash", "hash")
COLUMNS = ("seq", "time", "who", "action", "details", "model_hash", "data_hash", "previous", "hash")
MEDIA = {"jsonl": "application/jsonl", "csv": "text/csv;charset=utf-8"}

router = APIRouter()


@router.get(API + "/audit")
def audit(admin: Reader, request: Request, before: Annotated[int | None, Query(ge=1)] = None,
          limit: Annotated[int, Query(ge=1, le=MOST)] = 100) -> dict[str, Any]:
    """Entries with a number below `before`, newest first."""
    entries, problem = site_of(request).registry.log.readable()
    page = [e for e in reversed(entries) if before is None or e.seq < before][:limit]
    return {"verified": problem is None, "problem": problem, "total": len(entries),
            "entries": [{k: v for k, v in encode(e).items() if k in SHOWN} for e in page]}


@router.get(API + "/audit/export")
def export(admin: Reader, request: Request, form: Literal["jsonl", "csv"] = "jsonl") -> Response:
    """All entries, oldest first, as a file; its name says if the log is damaged and it holds only what verifies."""
    entries, problem = site_of(request).registry.log.readable()
    text = as_csv(entries) if form == "csv" else as_lines(entries)
    name = f"audit-log{'-DAMAGED' if problem else ''}.{form}"
    return Response(text, media_type=MEDIA[form], headers={
        "Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"})


def as_lines(entries: Iterable[Entry]) -> bytes:
    """One JSON object a line, as the log holds them: their hashes can be checked again."""
    return b"".join(canonical(encode(e)) + b"\n" for e in entries)


def as_csv(entries: Iterable[Entry]) -> bytes:
    """A table for spreadsheets (UTF-8 with a mark); text that looks like a formula is kept from being one."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(COLUMNS)
    for e in entries:
        row = encode(e) | {"details": json.dumps(dict(e.details), ensure_ascii=False, sort_keys=True)}
        writer.writerow([guard(str(row[column])) for column in COLUMNS])
    return ("\ufeff" + buffer.getvalue()).encode()
