"""Learning rate and beta: ends, warm-up, and what never happens in between."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dermdemo.config import Warmup
from dermdemo.training.schedules import cosine_lr, kl_beta, phased_lr

epochs = st.integers(1, 400)
warmups = st.floats(0, 20)
shares = st.floats(0, 1)
fractions = st.floats(0.05, 1)


@given(epochs, warmups, shares)
def test_the_rate_stays_between_nothing_and_its_base(total: int, warmup: float, share: float) -> None:
    assert 0 < cosine_lr(share * total, epochs=total, warmup=warmup) <= 1


@given(epochs, warmups, shares, shares)
def test_the_rate_rises_in_warmup_and_falls_after_it(total: int, warmup: float, a: float, b: float) -> None:
    early, late = sorted((a, b))
    end = min(warmup, total / 2)
    rising = [cosine_lr(s * end, epochs=total, warmup=warmup) for s in (early, late)]
    falling = [cosine_lr(end + s * (total - end), epochs=total, warmup=warmup) for s in (early, late)]
    assert end == 0 or late == 1 or rising[0] <= rising[1]
    assert falling[0] >= falling[1]


@given(epochs, warmups)
def test_the_rate_ends_at_its_floor(total: int, warmup: float) -> None:
    assert cosine_lr(total, epochs=total, warmup=warmup) == pytest.approx(0.01)
    assert cosine_lr(total + 5, epochs=total, warmup=warmup) == pytest.approx(0.01)
    assert cosine_lr(total, epochs=total, warmup=warmup, floor=0.2) == pytest.approx(0.2)


def test_the_rate_at_known_places() -> None:
    at = {e: cosine_lr(e, epochs=10, warmup=2) for e in (0, 1, 2, 6, 10)}
    assert at[0] == pytest.approx(1e-3)
    assert at[1] == pytest.approx(0.5)
    assert at[2] == pytest.approx(1.0)
    assert at[6] == pytest.approx((1 + 0.01) / 2)
    assert at[10] == pytest.approx(0.01)
    assert cosine_lr(0, epochs=10, warmup=0) == pytest.approx(1.0)


phase_lists = st.lists(st.integers(1, 40), min_size=1, max_size=4)


@given(phase_lists, warmups, shares)
def test_without_restarts_phases_do_not_matter(phases: list[int], warmup: float, share: float) -> None:
    at, total = share * sum(phases), sum(phases)
    assert phased_lr(at, phases=phases, warmup=warmup, restart=0) == cosine_lr(at, epochs=total, warmup=warmup)


@given(phase_lists, warmups, shares, st.floats(0.01, 1), st.data())
def test_each_phase_has_a_curve_of_its_own(phases: list[int], warmup: float, share: float, restart: float,
                                           data: st.DataObject) -> None:
    which = data.draw(st.integers(0, len(phases) - 1))
    epoch = sum(phases[:which]) + min(share, 0.99) * phases[which]
    factor = phased_lr(epoch, phases=phases, warmup=warmup, restart=restart)
    own = cosine_lr(epoch - sum(phases[:which]), epochs=phases[which], warmup=warmup)
    assert factor == pytest.approx((restart if which else 1) * own)


def test_restarts_at_known_places() -> None:
    at = {e: phased_lr(e, phases=[10, 4], warmup=2, restart=0.5) for e in (2, 9.999, 12, 14)}
    assert [at[e] for e in (2, 12, 14)] == pytest.approx([1.0, 0.5, 0.005])
    assert at[9.999] == pytest.approx(0.01, abs=1e-3)


@given(epochs, shares, st.floats(0, 10), st.sampled_from(["none", "linear", "cyclical"]), fractions,
       st.integers(1, 8))  # fmt: skip
def test_beta_never_leaves_its_range(
    total: int, share: float, beta: float, warmup: Warmup, fraction: float, cycles: int
) -> None:
    value = kl_beta(share * total, epochs=total, beta=beta, warmup=warmup, fraction=fraction, cycles=cycles)
    assert 0 <= value <= beta


@given(epochs, st.sampled_from(["none", "linear", "cyclical"]), fractions, st.integers(1, 8))
def test_beta_is_whole_at_the_end(total: int, warmup: Warmup, fraction: float, cycles: int) -> None:
    assert kl_beta(total, epochs=total, beta=0.7, warmup=warmup, fraction=fraction, cycles=cycles) == 0.7


@given(epochs, shares, shares, fractions)
def test_linear_warmup_only_rises(total: int, a: float, b: float, fraction: float) -> None:
    values = [kl_beta(s * total, epochs=total, beta=1.0, warmup="linear", fraction=fraction, cycles=1)
              for s in sorted((a, b))]  # fmt: skip
    assert values[0] <= values[1]
    assert kl_beta(0.0, epochs=total, beta=1.0, warmup="linear", fraction=fraction, cycles=1) == 0.0


def test_warmups_at_known_places() -> None:
    def at(epoch: float, warmup: Warmup) -> float:
        return kl_beta(epoch, epochs=12, beta=2.0, warmup=warmup, fraction=0.5, cycles=3)

    assert at(0, "none") == 2.0
    assert [at(e, "linear") for e in (0, 3, 6, 9)] == pytest.approx([0.0, 1.0, 2.0, 2.0])
    assert [at(e, "cyclical") for e in (0, 1, 2, 3)] == pytest.approx([0.0, 1.0, 2.0, 2.0])


@pytest.mark.parametrize("cycles", [1, 2, 4])
def test_cyclical_warmup_starts_anew_in_every_cycle(cycles: int) -> None:
    grid = [kl_beta(e / 10, epochs=40, beta=1.0, warmup="cyclical", fraction=0.5, cycles=cycles) for e in range(401)]
    drops = sum(later < earlier - 0.5 for earlier, later in zip(grid, grid[1:], strict=False))
    assert drops == cycles - 1
