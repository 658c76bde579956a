"""Events: what is written is what a watcher reads, whatever a crash leaves behind."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dermdemo.errors import DataError
from dermdemo.training import events
from dermdemo.training.events import FILE_NAME, Epoch, Event, EventLog, read_events

KINDS: Mapping[type[Event], dict[str, Any]] = {
    events.Started: {"stage": "pretrain", "config": {"lr": 0.1}, "data": {"name": "x"}, "device": "CPU",
                     "versions": {"torch": "2"}},
    events.Prepared: {"done": 3, "total": 16, "size": 64},
    Epoch: {"epoch": 1, "epochs": 2, "size": 32, "train": {"loss": 1.5}, "val": {"kl_per_dim": [0.5, 0.25]},
            "lr": 0.1, "images_per_second": 10.0, "seconds": 2.0, "beta": 0.5},
    events.Checkpoint: {"epoch": 1, "path": "last.pt", "best": True},
    events.Warning_: {"name": "kl-vanishing", "message": "The decoder ignores the latent.", "epoch": 1},
    events.Evaluated: {"split": "val", "metrics": {"accuracy": 0.5}},
    events.Finished: {"epochs": 2, "best_epoch": 1, "seconds": 4.0},
    events.Failed: {"reason": "nan", "message": "Not a number.", "epoch": 1},
}  # fmt: skip


def finished(epochs: int = 1) -> events.Finished:
    return events.Finished(epochs=epochs, best_epoch=1, seconds=0.0)


@pytest.mark.parametrize("kind", list(KINDS), ids=lambda k: k.kind)
def test_every_kind_comes_back_with_all_its_fields(kind: type[Event], tmp_path: Path) -> None:
    event = kind(**KINDS[kind])
    EventLog(tmp_path).write(event)
    (found,) = read_events(tmp_path)
    assert found == {"kind": kind.kind, **dataclasses.asdict(event)}


def test_kinds_are_distinct_and_complete() -> None:
    assert {k.kind for k in Event.__subclasses__()} == {k.kind for k in KINDS}
    assert "" not in {k.kind for k in KINDS}


def test_events_keep_their_order_and_their_time(tmp_path: Path) -> None:
    log, before = EventLog(tmp_path), time.time()
    for n in range(5):
        log.write(finished(n))
    found = read_events(tmp_path)
    assert [e["epochs"] for e in found] == list(range(5))
    times = [e["time"] for e in found]
    assert before <= times[0]
    assert times == sorted(times)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_json_lacks_become_null(value: float, tmp_path: Path) -> None:
    epoch = Epoch(**KINDS[Epoch] | {"train": {"loss": value, "list": [1.0, value]}, "lr": value})
    EventLog(tmp_path).write(epoch)
    (found,) = read_events(tmp_path)
    assert found["train"] == {"loss": None, "list": [1.0, None]}
    assert found["lr"] is None


def test_a_silent_log_writes_nothing(tmp_path: Path) -> None:
    EventLog(tmp_path, active=False).write(finished())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_events_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a training run"):
        read_events(tmp_path)


def test_every_cut_of_the_last_line_leaves_the_earlier_ones(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    log.write(finished(1))
    log.write(events.Failed(reason="error", message="Grün, 病変", epoch=2))
    path = tmp_path / FILE_NAME
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for cut in range(first, len(whole) - 1):
        path.write_bytes(whole[:cut])
        assert [e["kind"] for e in read_events(tmp_path)] == ["finished"], cut
    path.write_bytes(whole[:-1])  # only the newline is missing: the event is complete
    assert [e["kind"] for e in read_events(tmp_path)] == ["finished", "failed"]


def test_writing_goes_on_after_a_cut_line(tmp_path: Path) -> None:
    log, path = EventLog(tmp_path), tmp_path / FILE_NAME
    log.write(finished(1))
    log.write(finished(2))
    path.write_bytes(path.read_bytes()[:-9])
    EventLog(tmp_path).write(finished(3))
    assert [e["epochs"] for e in read_events(tmp_path)] == [1, 3]


def test_a_character_cut_in_half_is_survived(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    line = json.dumps({"kind": "failed", "message": "é"}, ensure_ascii=False).encode()
    path.write_bytes(finished().to_line().encode() + b"\n" + line[: line.index("é".encode()) + 1])
    assert [e["kind"] for e in read_events(tmp_path)] == ["finished"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200))
def test_any_bytes_can_be_read(data: bytes, tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(data + b"\n" + finished().to_line().encode() + b"\n")
    found = read_events(tmp_path)
    assert found[-1]["kind"] == "finished"
    assert all("kind" in e for e in found)


def test_lines_that_are_no_events_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text('3\n[]\nnull\n{"epoch": 1}\n{"kind": "epoch"}\n\n')
    assert read_events(tmp_path) == [{"kind": "epoch"}]
