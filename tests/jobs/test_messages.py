"""Messages: every warning and every end in words, once, with what to do."""

from __future__ import annotations

from typing import Any

import pytest

from dermdemo.jobs.curves import Curves
from dermdemo.jobs.messages import ADVICE, TITLES, Message, messages
from tests.jobs.runs import epoch, retraining_record, started


def _said(events: list[dict[str, Any]], **runs: Curves) -> list[Message]:
    return messages(retraining_record(), events, {k.replace("_", " "): c for k, c in runs.items()})


def _run(*events: dict[str, Any]) -> Curves:
    curves = Curves()
    for event in (started(), epoch(1), *events):
        curves.add(event)
    return curves


def _end(kind: str, reason: str = "", attempt: int = 1) -> list[dict[str, Any]]:
    return [{"kind": "queued", "attempt": attempt, "mode": "fresh" if attempt == 1 else "resume"},
            {"kind": kind, "reason": reason, "attempt": attempt, "time": 5.0}]


@pytest.mark.parametrize("name", ["kl-vanishing", "overfitting", "underfitting", "divergence", "constant-predictor"])
def test_every_warning_is_named(name: str) -> None:
    curves = _run({"kind": "warning", "name": name, "message": "It was seen.", "epoch": 4, "time": 3.0})
    [found] = _said([], stage_I=curves)
    assert (found.level, found.step, found.time) == ("warning", "stage I", 3.0)
    assert found.text.startswith(f"{TITLES[name]} (epoch 4): It was seen.") and found.text.endswith(
        ADVICE.get(name, "It was seen."))


def test_a_warning_of_a_later_version_is_named_too() -> None:
    [found] = _said([], a=_run({"kind": "warning", "name": "mode-collapse", "message": "m.", "epoch": 1}))
    assert found.text == "Mode collapse (epoch 1): m."


@pytest.mark.parametrize(("reason", "means"), [
    ("nan", "lower learning rate"), ("disk-full", "free space, then resume"), ("interrupted", "resume"),
    ("error", "log of the step"), ("something new", "log of the step")])
def test_a_failure_is_said_once_with_what_to_do(reason: str, means: str) -> None:
    message = "The loss is not a number in epoch 2."
    curves = _run({"kind": "failed", "reason": reason, "message": message, "epoch": 1, "time": 3.0})
    [found] = _said(_end("failed", f"stage I: {message}"), stage_I=curves)
    assert found.level == "error" and means in found.text and message.rstrip(".") in found.text


@pytest.mark.parametrize(("reason", "means"), [
    ("stage I: ended by signal 9 (SIGKILL).", "memory ran out"),
    ("stage I: CUDA out of memory. Tried to allocate", "smaller batch"),
    ("gate: OSError: No space left on device", "free space"),
    ("It could not be started: no python", "could not be started")])
def test_ends_of_other_steps_are_explained(reason: str, means: str) -> None:
    [found] = _said(_end("failed", reason))
    assert found.text.startswith(reason) and means in found.text and found.level == "error"
    assert found.step == ({"stage I": "stage I", "gate": "gate"}.get(reason.partition(": ")[0], ""))


def test_attempts_that_were_lost_are_told_and_how_it_went_on() -> None:
    found = _said([*_end("lost", "Its worker ended."), *_end("finished", attempt=2)])
    assert [m.level for m in found] == ["warning", "info"]
    assert found[0].text == "Attempt 1 was lost: Its worker ended. Attempt 2 went on where it broke off."
    assert found[1].text == "Finished."


def test_while_it_runs_again_the_old_end_is_only_history() -> None:
    found = _said([*_end("failed", "prepare: no."), {"kind": "queued", "attempt": 2, "mode": "fresh"}])
    assert [m.level for m in found] == ["info"] and found[0].text.endswith("Attempt 2 began anew.")


def test_what_was_stopped_early_is_said() -> None:
    curves = _run({"kind": "finished", "reason": "early-stopping", "epochs": 1, "seconds": 1.0})
    events = [{"kind": "stopped", "step": "stage I", "attempt": 1, "time": 2.0}]
    texts = [m.text for m in _said(events, stage_II_vae=curves)]
    assert texts[0].startswith("Stopped early, as it was asked to") and "after epoch 1 of 8" in texts[1]
    kept = _run({"kind": "finished", "reason": "stopped", "epochs": 1, "seconds": 1.0})
    assert "kept as it was then" in _said([], a=kept)[0].text


def test_a_cancelled_job_says_that_nothing_is_left() -> None:
    assert [m.text for m in _said(_end("cancelled", "Cancelled."))] == ["Cancelled; what it had made was discarded."]


def test_a_resumed_run_says_where_it_went_on() -> None:
    curves = _run(started(resumed_from=1))
    assert [m.text for m in _said([], a=curves)] == ["Went on from epoch 1."]


def test_events_of_any_shape_are_taken() -> None:
    odd: list[dict[str, Any]] = [{"kind": "queued", "mode": 3}, {"kind": "lost", "reason": ["x"], "time": "noon"},
                                 {"kind": "queued"}, {"kind": "stopped"}, {"kind": "failed", "reason": None}, {}]
    assert all(isinstance(m.text, str) and m.text for m in _said(odd))
