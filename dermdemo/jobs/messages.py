"""What happened to a job, in sentences: what it means and what to do."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from dermdemo.jobs.curves import Curves, Warned, number
from dermdemo.jobs.records import ENDS, JobRecord

Level = Literal["info", "warning", "error"]
TITLES = {
    "kl-vanishing": "KL vanishing", "divergence": "Divergence", "overfitting": "Overfitting",
    "underfitting": "Underfitting", "constant-predictor": "Constant predictor",
}
ADVICE = {
    "overfitting": "Stop now and keep what is there, or launch again with early stopping, more views, more dropout "
                   "or fewer unfrozen stages.",
    "underfitting": "Train longer, raise the learning rate, or unfreeze more stages.",
    "constant-predictor": "Weigh the classes (alpha 'inverse'), raise the learning rate, or look at the labels of "
                          "the data set.",
}
FAILURES = {
    "nan": "The loss became NaN (not a number). Launch again with a lower learning rate, or finish with the last "
           "good epoch, if there is one; a resume with the same settings is likely to end there again.",
    "disk-full": "The disk is full. The last checkpoint is kept: free space, then resume.",
    "interrupted": "The training was interrupted. Nothing but the unfinished epoch is lost: resume.",
    "error": "The training ended with an error; the log of the step has the details.",
}
SIGNS = (
    ("SIGKILL", "It was killed from outside, most often because memory ran out. Free memory or take a smaller batch, "
                "then resume."),
    ("out of memory", "Memory ran out. Take a smaller batch or size, then launch again."),
    ("No space left", "The disk is full: free space, then resume."),
    ("not a number", FAILURES["nan"]),
    ("limit of", ""),  # says itself what to do
)
AFTER = {"lost": "was lost", "failed": "failed", "cancelled": "was cancelled"}
MODES = {"resume": "went on where it broke off", "keep": "kept what the interrupted stage had reached",
         "fresh": "began anew"}


@dataclass(frozen=True, kw_only=True)
class Message:
    """One sentence or two about a job; `time` is seconds since 1970 by a clock that may jump."""

    level: Level
    text: str
    step: str = ""
    time: float | None = None


def messages(record: JobRecord, events: Sequence[Mapping[str, Any]], runs: Mapping[str, Curves]) -> list[Message]:
    """Everything worth saying of a job, oldest first: its attempts, then each run, and its end last.

    Args:
        runs: step name -> curves, in the order of the steps.
    """
    found = list(_attempts(events))
    for name, curves in runs.items():
        found += _run(name, curves)
    end = next((e for e in reversed(events) if e.get("kind") in ENDS or e.get("kind") == "queued"), None)
    if end is not None and end.get("kind") != "queued":
        found += _end(end, found, {step.name for step in record.steps})
    return found


def _attempts(events: Sequence[Mapping[str, Any]]) -> Iterable[Message]:
    """Ends of the attempts before the last, with how the next began, and steps that were stopped."""
    before: Mapping[str, Any] | None = None
    for event in events:
        kind = event.get("kind")
        if kind in ENDS:
            before = event
        elif kind == "stopped":
            yield Message(level="info", step=text_of(event, "step"), time=number(event.get("time")),
                          text="Stopped early, as it was asked to; what it had reached is kept.")
        elif kind == "queued" and before is not None:
            how = AFTER.get(text_of(before, "kind"), "ended")
            reason = text_of(before, "reason")
            text = f"Attempt {before.get('attempt')} {how}{': ' + reason if reason else '.'}"
            mode = MODES.get(text_of(event, "mode"), MODES["fresh"])
            yield Message(level="warning" if how == "was lost" else "info", time=number(before.get("time")),
                          text=f"{text} Attempt {event.get('attempt')} {mode}.")
            before = None


def _run(name: str, curves: Curves) -> list[Message]:
    found = []
    if curves.resumed:
        found.append(Message(level="info", step=name, text=f"Went on from epoch {curves.resumed}."))
    found += [_warning(name, w) for w in curves.warnings]
    if curves.failed is not None:
        found.append(_failure(name, curves.failed))
    if curves.finished == "early-stopping":
        found.append(Message(level="info", step=name, text=f"Early stopping: it ended after epoch "
                             f"{curves.finished_epochs} of {curves.epochs}, as validation no longer improved."))
    elif curves.finished == "stopped":
        found.append(Message(level="info", step=name, text=f"It ended after epoch {curves.finished_epochs} of "
                             f"{curves.epochs} and is kept as it was then."))
    return found


def _warning(step: str, w: Warned) -> Message:
    title = TITLES.get(w.name, w.name.replace("-", " ").capitalize() or "Warning")
    advice = ADVICE.get(w.name, "")
    text = " ".join(part for part in (f"{title} (epoch {w.epoch}):", w.message, advice) if part)
    return Message(level="warning", step=step, time=w.time, text=text)


def _failure(step: str, w: Warned) -> Message:
    said = FAILURES.get(w.name, FAILURES["error"])
    detail = f" ({w.message.rstrip('.')}.)" if w.message else ""
    return Message(level="error", step=step, time=w.time, text=said + detail)


def _end(event: Mapping[str, Any], said: Sequence[Message], steps: Collection[str]) -> list[Message]:
    """The end of the last attempt, unless a run has said it already."""
    kind, reason, time = text_of(event, "kind"), text_of(event, "reason"), number(event.get("time"))
    if kind == "finished":
        return [Message(level="info", time=time, text="Finished.")]
    if kind == "cancelled":
        return [Message(level="info", time=time, text="Cancelled; what it had made was discarded.")]
    step, _, core = reason.partition(": ")
    step, core = (step, core.rstrip(".")) if step in steps else ("", reason.rstrip("."))
    if core and any(core in m.text for m in said if m.level == "error"):
        return []
    advice = next((words for sign, words in SIGNS if sign in reason), "")
    default = {"failed": "It failed; the log of the step has the details.", "lost": "Its worker was lost: resume it."}
    text = " ".join(part for part in (reason or default.get(kind, ""), advice) if part)
    return [Message(level="error", time=time, text=text, step=step)]


def text_of(event: Mapping[str, Any], key: str) -> str:
    """A text of an event, "" for what is none."""
    found = event.get(key)
    return found if isinstance(found, str) else ""
