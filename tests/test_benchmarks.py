"""The benchmarks' bookkeeping: turns, ratios and how they are told. Nothing here measures time."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks.__main__ import Settings, render
from benchmarks.timing import Ratio, Timed, in_turns, ratio


def test_every_round_runs_every_case_and_the_order_rotates() -> None:
    calls: list[str] = []
    cases = {name: (lambda name=name: calls.append(name)) for name in "abc"}
    timed = in_turns(cases, repeats=3, warmup=2)
    rounds = [calls[i : i + 3] for i in range(0, len(calls), 3)]
    assert len(rounds) == 5
    assert all(sorted(r) == list("abc") for r in rounds)
    assert {r[0] for r in rounds[2:]} == set("abc")
    assert all(len(t.seconds) == 3 and min(t.seconds) >= 0 for t in timed.values())


def test_ratios_are_taken_round_by_round() -> None:
    above, below = Timed(name="a", seconds=(1.0, 8.0, 3.0)), Timed(name="b", seconds=(1.0, 4.0, 1.0))
    found = ratio("a / b", above, below, aim=2.5)
    assert (found.value, found.low, found.high) == (2.0, 1.0, 3.0)
    assert above.median == 3.0


@pytest.mark.parametrize(("value", "aim", "bound", "met"), [
    (1.4, 1.5, "at most", True), (1.6, 1.5, "at most", False), (0.96, 0.95, "at least", True),
    (0.9, 0.95, "at least", False), (9.0, None, "at most", None),
])  # fmt: skip
def test_aims_are_bounds(value: float, aim: float | None, bound: str, met: bool | None) -> None:
    found = Ratio(name="x", value=value, low=value, high=value, aim=aim, bound=bound)  # type: ignore[arg-type]
    assert found.met is met


def result(*ratios: Ratio) -> dict[str, object]:
    return {
        "hardware": "CPU", "threads": 1, "versions": {},
        "times_ms": [{"name": "analysis", "median": 12.5, "low": 11.0, "high": 14.0, "rounds": 3}],
        "images_per_second": [{"name": "Stage I", "ours": 19.0, "bare": 20.0}],
        "ratios": [dataclasses.asdict(r) | {"met": r.met} for r in ratios],
    }  # fmt: skip


def test_the_table_says_which_aims_are_missed() -> None:
    good = Ratio(name="good", value=1.0, low=1.0, high=1.0, aim=1.5)
    text = render(result(good, dataclasses.replace(good, name="bad", value=2.0), Ratio(
        name="known", value=3.0, low=3.0, high=3.0)))  # fmt: skip
    line = {name: next(x for x in text.splitlines() if x.startswith(name)) for name in ("good", "bad", "known")}
    assert line["good"].endswith("aim at most 1.5: met")
    assert line["bad"].endswith("aim at most 1.5: MISSED")
    assert line["known"].endswith("for information")
    assert "12.5 ms" in text
    assert "(bare loop 20.0)" in text


def test_json_holds_what_the_table_shows(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = result(Ratio(name="x", value=1.0, low=0.9, high=1.1, aim=1.5))
    monkeypatch.setattr(command, "run", lambda settings: wanted)
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--json"])
    assert command.main() == 0
    assert json.loads(capsys.readouterr().out) == wanted


def test_missing_checkpoints_are_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    argv = ["benchmarks", "--only", "analysis", "--no-plain", "--device", "cpu", "--checkpoints", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", argv)
    assert command.main() == 1
    assert "benchmarks: " in capsys.readouterr().err


def test_the_shipped_checkpoints_are_the_default() -> None:
    assert Settings().checkpoints.name == "checkpoints"
