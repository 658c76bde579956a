"""Novelty: two-sided in the error, one-sided in the distance, and a share of the reference."""

from __future__ import annotations

import numpy as np
import pytest

from dermdemo.analysis.novelty import Reference, assess, level_of, make_reference
from dermdemo.errors import DataError

N = 500


@pytest.fixture(scope="module")
def reference() -> Reference:
    rng = np.random.default_rng(0)
    return make_reference(rng.gamma(9, 1, N), rng.lognormal(-5, 0.3, N), "calib lesions of a test (n = 500)")


def middle(reference: Reference) -> tuple[float, float]:
    return float(np.median(reference.distance)), float(np.median(reference.error))


def test_a_middling_image_is_typical(reference: Reference) -> None:
    found = assess(reference, *middle(reference))
    assert found.level == "typical" and found.score < 0.6
    assert found.distance_quantile == pytest.approx(0.5, abs=0.01)
    assert found.error_quantile == pytest.approx(0.5, abs=0.01)
    assert found.reference == "calib lesions of a test (n = 500)"


@pytest.mark.parametrize(("distance", "error"), [(1e3, None), (None, 1.0), (None, 0.0)],
                         ids=["far away", "badly reconstructed", "too well reconstructed"])
def test_three_ways_to_be_far(reference: Reference, distance: float | None, error: float | None) -> None:
    d, e = middle(reference)
    found = assess(reference, d if distance is None else distance, e if error is None else error)
    assert found.level == "far" and found.score == 1


def test_nearness_alone_is_not_unusual(reference: Reference) -> None:
    found = assess(reference, 0.0, middle(reference)[1])
    assert found.distance_quantile == 0 and found.level == "typical"


def test_scores_of_images_like_the_reference_are_shares(reference: Reference) -> None:
    """About one in twenty fresh draws from the same distribution is called unusual or far."""
    rng = np.random.default_rng(1)
    scores = [assess(reference, d, e).score for d, e in
              zip(rng.gamma(9, 1, 4000), rng.lognormal(-5, 0.3, 4000), strict=True)]
    assert np.mean(np.array(scores) >= 0.95) == pytest.approx(0.05, abs=0.02)
    assert np.mean(scores) == pytest.approx(0.5, abs=0.04)


def test_more_distance_never_lowers_the_score(reference: Reference) -> None:
    error = middle(reference)[1]
    scores = [assess(reference, d, error).score for d in np.linspace(0, 30, 50)]
    assert scores == sorted(scores)


def test_levels() -> None:
    assert [level_of(s) for s in (0.0, 0.949, 0.95, 0.989, 0.99, 1.0)] == [
        "typical", "typical", "unusual", "unusual", "far", "far"]


@pytest.mark.parametrize(("distance", "error"), [([], []), ([1.0], [1.0, 2.0]), ([np.nan], [1.0])])
def test_unusable_references_are_refused(distance: list[float], error: list[float]) -> None:
    with pytest.raises(DataError):
        make_reference(np.array(distance), np.array(error), "x")
