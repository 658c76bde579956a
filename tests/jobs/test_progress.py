"""Estimates: never negative, never absurd, and no wall clock in them."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dermdemo.jobs.curves import Curves
from dermdemo.jobs.progress import Ahead, Estimate, Pace, estimate, pace, per_size
from tests.jobs.runs import epoch, started

SECONDS = st.floats(0.01, 1e5)


def _run(seconds: list[float], *, epochs: int = 8, schedule: str = "32x8", size: int = 32,
         times: list[float] | None = None) -> Curves:
    curves = Curves()
    curves.add(started(schedule=schedule))
    for k, s in enumerate(seconds, 1):
        curves.add(epoch(k, epochs=epochs, seconds=s, size=size, time=times[k - 1] if times else 0.0))
    return curves


def _of(*ahead: Ahead, spent: float = 0.0, images: int = 100, paces: dict[str, Pace] | None = None) -> Estimate:
    return estimate(ahead, spent=spent, images=images, paces=paces or {})


def test_epochs_to_come_take_what_the_last_took() -> None:
    found = _of(Ahead(name="a", stage="pretrain", schedule="32x8", curves=_run([2.0, 2.0])), spent=4.0)
    assert found == Estimate(progress=0.25, eta_seconds=12.0)


def test_a_later_phase_counts_by_its_pixels() -> None:
    curves = _run([2.0, 2.0], schedule="32x4,64x4")
    assert _of(Ahead(name="a", stage="pretrain", schedule="32x4,64x4", curves=curves)).eta_seconds == 2 * 2 + 4 * 8
    for k in (3, 4):
        curves.add(epoch(k, seconds=2.0))
    curves.add(epoch(5, seconds=5.0, size=64))
    found = _of(Ahead(name="a", stage="pretrain", schedule="32x4,64x4", curves=curves))
    assert found.eta_seconds == 3 * 5, "as measured at 64 px, once it is"


def test_the_other_arm_takes_what_the_first_took() -> None:
    first = pace(_run([1.0] * 8), 10.0)
    assert first is not None and first.per_pixel == pytest.approx(1 / (100 * 32 * 32)) and first.beside == 2.0
    found = _of(Ahead(name="b", stage="train", schedule="64x5"), paces={"train": first}, spent=10.0)
    assert found.eta_seconds == pytest.approx(2 + 5 * 4.0), "epochs by their pixels, and what was beside them"
    assert found.progress == pytest.approx(10 / 32)


def test_training_of_which_nothing_is_known_makes_it_unknown() -> None:
    known = Ahead(name="a", stage="pretrain", schedule="32x8", curves=_run([2.0]))
    assert _of(known, Ahead(name="b", stage="train", schedule="64x5")) == Estimate()
    assert _of(known, Ahead(name="gate")).eta_seconds == 14.0, "a gate of which nothing is known counts for nothing"
    assert _of(Ahead(name="gate")) == Estimate()
    assert _of() == Estimate()


def test_a_step_that_trains_nothing_is_counted_down() -> None:
    paces = {"gate": Pace(seconds=30.0)}
    assert _of(Ahead(name="gate", elapsed=10.0), paces=paces).eta_seconds == 20.0
    assert _of(Ahead(name="gate", elapsed=50.0), paces=paces).eta_seconds == 0.0
    assert _of(Ahead(name="atlas"), paces={"dry atlas": Pace(seconds=4.0)}).eta_seconds == 4.0


def test_a_run_that_is_to_stop_has_one_epoch_left() -> None:
    curves = _run([3.0])
    assert _of(Ahead(name="a", stage="pretrain", schedule="32x8", curves=curves, last=True)).eta_seconds == 3.0
    curves.add({"kind": "finished", "reason": "stopped", "epochs": 2, "seconds": 6.0})
    assert _of(Ahead(name="a", stage="pretrain", schedule="32x8", curves=curves)).eta_seconds == 0.0


@given(st.lists(SECONDS, min_size=1, max_size=12), st.integers(0, 30), st.sampled_from([32, 64, 224]))
def test_it_is_never_negative_nor_beyond_the_slowest_epoch(seconds: list[float], more: int, size: int) -> None:
    schedule = f"32x{len(seconds)}" + (f",{size}x{more}" if more else "")
    curves = _run(seconds, epochs=len(seconds) + more, schedule=schedule)
    found = _of(Ahead(name="a", stage="pretrain", schedule=schedule, curves=curves), spent=sum(seconds))
    if found.eta_seconds is None:
        assert max(seconds) * more * (size / 32) ** 2 > 365 * 86400
        return
    assert 0 <= found.eta_seconds <= max(seconds) * more * (size / 32) ** 2 * 1.0001
    assert found.progress is not None and 0 <= found.progress <= 1


@given(st.lists(SECONDS, min_size=1, max_size=8), st.data())
def test_clocks_that_jump_move_nothing(seconds: list[float], data: st.DataObject) -> None:
    times = data.draw(st.lists(st.floats(-1e12, 1e12), min_size=len(seconds), max_size=len(seconds)))
    step = {"name": "a", "stage": "pretrain", "schedule": "32x12"}
    steady, jumping = (_of(Ahead(**step, curves=_run(seconds, epochs=12, times=t))) for t in (None, times))
    assert steady == jumping


@given(st.lists(st.floats(0.5, 2.0), min_size=5, max_size=11), st.floats(1e3, 1e6))
def test_one_slow_epoch_moves_it_little(seconds: list[float], slow: float) -> None:
    step = {"name": "a", "stage": "pretrain", "schedule": "32x12"}
    before = _of(Ahead(**step, curves=_run(seconds, epochs=12))).eta_seconds
    after = _of(Ahead(**step, curves=_run([*seconds[:-1], slow], epochs=12))).eta_seconds
    assert before is not None and after is not None
    assert after <= 4 * before, "one epoch beside a sleeping laptop is no trend"


@given(SECONDS, st.integers(1, 11))
def test_epoch_by_epoch_it_comes_down_to_nothing(seconds: float, done: int) -> None:
    step = {"name": "a", "stage": "pretrain", "schedule": "32x12"}
    each = [_of(Ahead(**step, curves=_run([seconds] * k, epochs=12))).eta_seconds for k in (done, done + 1)]
    assume(None not in each)
    assert each[1] < each[0] and each[1] == pytest.approx(seconds * (11 - done))  # type: ignore[operator]


@given(st.floats(allow_nan=True, allow_infinity=True) | st.integers(-10, 10**30))
def test_damaged_durations_are_no_estimate(seconds: float) -> None:
    found = _of(Ahead(name="a", stage="pretrain", schedule="32x12", curves=_run([seconds], epochs=12)))
    assert found.eta_seconds is None or (math.isfinite(found.eta_seconds) and found.eta_seconds >= 0)


def test_a_schedule_that_cannot_be_read_has_no_epochs() -> None:
    assert _of(Ahead(name="a", stage="pretrain", schedule="?", curves=_run([1.0]))).eta_seconds == 0.0


def test_the_median_of_the_last_few_counts() -> None:
    assert per_size(_run([9.0, 9.0, 9.0, 1.0, 1.0, 1.0, 1.0, 1.0]).took.values()) == {32: 1.0}
    assert pace(None, None) is None and pace(Curves(), 3.0) == Pace(seconds=3.0)
