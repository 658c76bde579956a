"""A job in one file, to keep elsewhere: its record, what happened, its runs, its gate, code and libraries."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from dermdemo.errors import DermdemoError
from dermdemo.evaluation.records import encode
from dermdemo.jobs.plan import LIBRARIES
from dermdemo.jobs.retrain import drift
from dermdemo.jobs.steps import is_training
from dermdemo.jobs.store import View
from dermdemo.jobs.tailing import parse
from dermdemo.jobs.watching import gate_of

MOST = 64 << 20  # bytes of one run's events


def whole_record(view: View) -> dict[str, Any]:
    """Everything that is known of a job, as JSON values. Raises JobError: its events cannot be read."""
    facts = dict(view.record.facts)
    code = ("dermdemo", "python", "code", *LIBRARIES)
    return {
        "format": "dermdemo-job-1", "state": view.state, "record": encode(view.record),
        "events": _finite(view.folder.events()), "versions": {k: facts[k] for k in code if k in facts},
        "differs_now": _drift(view), "gate": _finite(gate_of(view.folder)),
        "runs": {s.name: _run(view.folder.path / s.run) for s in view.record.steps
                 if is_training(s) and (view.folder.path / s.run).is_dir()},
    }  # fmt: skip


def _drift(view: View) -> list[str]:
    try:
        return drift(view.record)
    except (DermdemoError, OSError):
        return []


def _run(folder: Path) -> dict[str, Any]:
    """Settings and events of a run; a file that is not there or cannot be read is null."""
    found: dict[str, Any] = {"config": None, "events": None}
    path = folder / "events.jsonl"
    with contextlib.suppress(OSError, ValueError, RecursionError):
        found["config"] = _finite(json.loads((folder / "config.json").read_bytes()))
    with contextlib.suppress(OSError):
        if path.stat().st_size <= MOST:
            lines = map(parse, path.read_bytes().splitlines())
            found["events"] = [_finite(event) for event in lines if event is not None]
    return found


def _finite(value: Any) -> Any:
    """A copy in which numbers that JSON does not know are null."""
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    return [_finite(v) for v in value] if isinstance(value, list) else value
