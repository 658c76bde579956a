"""Steps and attempts of a job as they are shown, and what may be done with it now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from dermdemo.jobs.curves import Curves, number, whole
from dermdemo.jobs.messages import text_of
from dermdemo.jobs.records import ACTIVE, CANCEL, ENDS, Step
from dermdemo.jobs.store import View
from dermdemo.jobs.worker import BEAT, beat_of

StepState = Literal["waiting", "running", "done", "stopped", "failed"]
DRY = "dry "


@dataclass(frozen=True, kw_only=True)
class StepShown:
    """A step; `seconds` as its worker or its own epochs counted them, None where they did not."""

    name: str
    state: StepState
    seconds: float | None


@dataclass(frozen=True, kw_only=True)
class AttemptShown:
    """An attempt; `started` by a clock that may jump, `seconds` by one that does not."""

    attempt: int
    mode: str
    end: str
    reason: str
    started: str | None
    seconds: float | None


def is_training(step: Step) -> bool:
    """Whether a step is a training run, in a folder below the job's."""
    inside = bool(step.run) and not Path(step.run).is_absolute() and ".." not in Path(step.run).parts
    return inside and step.argv[:1] in (("pretrain",), ("train",))


def runs_of(view: View) -> list[Step]:
    """The training runs to show: those of the dry run only where there are no others."""
    found = [s for s in view.record.steps if is_training(s) and (view.folder.path / s.run).is_dir()]
    return [s for s in found if not s.name.startswith(DRY)] or found


def schedule_of(step: Step) -> str:
    """The schedule a training step was given, "" if it names none."""
    try:
        return step.argv[step.argv.index("--schedule") + 1]
    except (ValueError, IndexError):
        return ""


def stopped_steps(events: Sequence[Mapping[str, Any]]) -> list[str]:
    """Steps that ended early, as they were asked to, in the attempts since the job last began anew."""
    found: list[str] = []
    for event in events:
        if event.get("kind") == "queued" and event.get("mode") not in ("resume", "keep"):
            found = []
        elif event.get("kind") == "stopped" and text_of(event, "step") not in found:
            found.append(text_of(event, "step"))
    return found


def shown(view: View, events: Sequence[Mapping[str, Any]], runs: Mapping[str, Curves]) -> list[StepShown]:
    """All steps of a job, in their order."""
    stopped, took = stopped_steps(events), step_seconds(events)
    found = []
    for step in view.record.steps:
        state = _state(view, step, stopped)
        seconds = took.get(step.name) if state in ("done", "stopped") else None
        curves = runs.get(step.name)
        if seconds is None and curves is not None and curves.took:
            seconds = sum(t.seconds for t in curves.took.values())
        if state == "running":
            elapsed = running_seconds(view, events)
            seconds = max(seconds or 0.0, elapsed) if elapsed is not None else seconds
        found.append(StepShown(name=step.name, state=state, seconds=None if seconds is None else round(seconds, 1)))
    return found


def _state(view: View, step: Step, stopped: Sequence[str]) -> StepState:
    h = view.history
    if step.name in h.done:
        return "stopped" if step.name in stopped else "done"
    if step.name != h.step or view.state == "queued":
        return "waiting"
    if view.state in ACTIVE:
        return "running"
    return "stopped" if view.state == "cancelled" else "failed"


def step_seconds(events: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Step -> seconds it took when it was last done, as the worker measured them."""
    found: dict[str, float] = {}
    for event in events:
        seconds = number(event.get("seconds"))
        if event.get("kind") == "step-done" and seconds is not None and seconds >= 0:
            found[text_of(event, "step")] = seconds
    return found


def running_seconds(view: View, events: Sequence[Mapping[str, Any]]) -> float | None:
    """Seconds the running step has been running, counted in its worker's heartbeats; None if it has none."""
    beat = beat_of(view.folder)
    begun = next((e for e in reversed(events) if e.get("kind") == "step"), None)
    first = whole(begun.get("beat")) if begun is not None and begun.get("attempt") == view.history.attempt else None
    return None if beat < 0 or first is None else max(0, beat - first) * BEAT


def attempts(view: View, events: Sequence[Mapping[str, Any]]) -> list[AttemptShown]:
    """All attempts, oldest first."""
    found = []
    for n in range(1, view.history.attempt + 1):
        mine = [e for e in events if e.get("attempt") == n]
        first = {kind: next((e for e in mine if e.get("kind") == kind), {}) for kind in ("queued", "started")}
        end = next((e for e in mine if e.get("kind") in ENDS), {})
        seconds = number(end.get("seconds"))
        if seconds is None and n == view.history.attempt and first["started"]:
            seconds = max(0, beat_of(view.folder)) * BEAT or None  # of a lost one: up to its last heartbeat
        found.append(AttemptShown(
            attempt=n, mode=text_of(first["queued"], "mode") or "fresh", end=text_of(end, "kind"),
            reason=text_of(end, "reason"), started=moment(first["started"].get("time")), seconds=seconds))
    return found


def moment(time: object) -> str | None:
    """Seconds since 1970 as ISO 8601, UTC; None for what is no moment."""
    seconds = number(time)
    try:
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):
        return None


def actions(view: View, events: Sequence[Mapping[str, Any]]) -> list[str]:
    """What may be done with a job in its state."""
    h, steps = view.history, view.record.steps
    if view.state == "queued":
        return ["cancel"]
    if view.state in ACTIVE:
        cancelling = view.folder.asked(CANCEL)
        ahead = any(is_training(s) and s.stoppable and s.name not in h.done for s in steps)
        stop = view.state == "running" and ahead and not h.stopped
        return [name for name, may in (("stop", stop), ("cancel", not cancelling)) if may]
    repeat = ["repeat"] if "data" in view.record.request else []
    if view.state in ("failed", "lost"):
        keep = any(s.name == h.step and s.stoppable and reached(view.folder.path, s) for s in steps)
        return ["resume", *(["finish"] if keep else []), "retry", *repeat]
    return repeat if view.state == "finished" else ["retry", *repeat]


def reached(folder: Path, step: Step) -> bool:
    """Whether a training run has finished an epoch that can be kept."""
    return is_training(step) and (folder / step.run / "last.pt").is_file()
