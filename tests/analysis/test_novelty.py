"""Novelty: one-sided in the distance, two-sided in error and detail, and a share of the reference."""

from __future__ import annotations

import numpy as np
import pytest

from dermdemo.analysis.novelty import Reference, assess, fit_gaussian, input_detail, level_of, make_reference
from dermdemo.errors import DataError

N = 500


@pytest.fixture(scope="module")
def reference() -> Reference:
    rng = np.random.default_rng(0)
    return make_reference(rng.gamma(9, 1, N), rng.lognormal(-5, 0.3, N), "calib lesions of a test (n = 500)",
                          detail=rng.lognormal(-4, 0.4, N))


def middle(reference: Reference) -> tuple[float, float, float]:
    assert reference.detail is not None
    return float(np.median(reference.distance)), float(np.median(reference.error)), float(np.median(reference.detail))


def test_a_middling_image_is_typical(reference: Reference) -> None:
    found = assess(reference, *middle(reference))
    assert found.level == "typical" and found.score < 0.6
    assert found.distance_quantile == pytest.approx(0.5, abs=0.01)
    assert found.error_quantile == pytest.approx(0.5, abs=0.01)
    assert found.detail_quantile == pytest.approx(0.5, abs=0.01)
    assert found.reference == "calib lesions of a test (n = 500)"


@pytest.mark.parametrize("changes", [{0: 1e3}, {1: 1.0}, {1: 0.0}, {2: 1.0}, {2: 0.0}],
                         ids=["far away", "badly reconstructed", "too well reconstructed", "too rough", "blank"])
def test_five_ways_to_be_far(reference: Reference, changes: dict[int, float]) -> None:
    found = assess(reference, *(changes.get(k, value) for k, value in enumerate(middle(reference))))
    assert found.level == "far" and found.score == 1


def test_nearness_alone_is_not_unusual(reference: Reference) -> None:
    found = assess(reference, 0.0, *middle(reference)[1:])
    assert found.distance_quantile == 0 and found.level == "typical"


def test_scores_of_images_like_the_reference_are_shares(reference: Reference) -> None:
    """About one in twenty fresh draws from the same distribution is called unusual or far."""
    rng = np.random.default_rng(1)
    draws = rng.gamma(9, 1, 4000), rng.lognormal(-5, 0.3, 4000), rng.lognormal(-4, 0.4, 4000)
    scores = [assess(reference, *values).score for values in zip(*draws, strict=True)]
    assert np.mean(np.array(scores) >= 0.95) == pytest.approx(0.05, abs=0.02)
    assert np.mean(scores) == pytest.approx(0.5, abs=0.04)


def test_more_distance_never_lowers_the_score(reference: Reference) -> None:
    rest = middle(reference)[1:]
    scores = [assess(reference, d, *rest).score for d in np.linspace(0, 30, 50)]
    assert scores == sorted(scores)


def test_without_detail_two_measures_count() -> None:
    rng = np.random.default_rng(0)
    two = make_reference(rng.gamma(9, 1, N), rng.lognormal(-5, 0.3, N), "two")
    found = assess(two, float(np.median(two.distance)), float(np.median(two.error)), 0.0)
    assert found.detail_quantile is None and found.level == "typical"


def test_far_features_are_far_and_near_ones_are_not() -> None:
    rng = np.random.default_rng(0)
    distance, error, detail, features = (rng.gamma(9, 1, N) for _ in range(4))
    known = make_reference(distance, error, "four", detail=detail, features=features)
    rest = float(np.median(distance)), float(np.median(error)), float(np.median(detail))
    assert assess(known, *rest, float(np.median(features))).level == "typical"
    near = assess(known, *rest, 0.0)
    assert near.feature_quantile == 0 and near.level == "typical"
    far = assess(known, *rest, 1e3)
    assert far.feature_quantile == 1 and far.level == "far" and far.score == 1
    scores = [assess(known, *draw).score for draw in rng.gamma(9, 1, (4000, 4))]
    assert np.mean(np.array(scores) >= 0.95) == pytest.approx(0.05, abs=0.02)
    with pytest.raises(ValueError, match="the image none"):
        assess(known, *rest)


def test_a_gaussian_measures_in_standard_deviations() -> None:
    rng = np.random.default_rng(0)
    scale = np.array([4.0, 2.0, 1.0])
    fitted = fit_gaussian(rng.normal(size=(5000, 3)) * scale + 7)
    assert fitted is not None and fitted.projection.shape == (3, 3)
    points = 7 + 3 * np.diag(scale)  # three standard deviations out along each axis
    assert fitted.distance(points) == pytest.approx([3, 3, 3], rel=0.05)
    fresh = fitted.distance(rng.normal(size=(5000, 3)) * scale + 7)
    assert np.mean(np.square(fresh)) == pytest.approx(3, rel=0.05)


def test_few_images_estimate_few_axes() -> None:
    rng = np.random.default_rng(0)
    for n, kept in ((12, 1), (40, 4), (2000, 64)):
        fitted = fit_gaussian(rng.normal(size=(n, 100)))
        assert fitted is not None and fitted.projection.shape == (100, kept)
    flat = fit_gaussian(np.outer(rng.normal(size=500), np.ones(8)))  # varies along one axis only
    assert flat is not None and flat.projection.shape == (8, 1)
    assert fit_gaussian(np.ones((50, 8))) is None


def checked(n: int = 2, size: int = 16) -> np.ndarray:
    """(n, size, size, 3) uint8 chequerboards of single pixels, black and white."""
    board = np.indices((size, size)).sum(0) % 2 * 255
    return np.repeat(board[None, :, :, None], n, 0).repeat(3, 3).astype(np.uint8)


def test_detail_is_nothing_for_blanks_and_gradients() -> None:
    ramp = np.broadcast_to(np.arange(0, 160, 10, dtype=np.uint8)[None, :, None], (16, 16, 3))
    blank = np.full((16, 16, 3), 200, np.uint8)
    assert input_detail(np.stack([ramp, ramp.transpose(1, 0, 2), blank])) == pytest.approx([0, 0, 0], abs=1e-6)


def test_detail_grows_with_fine_structure() -> None:
    board = checked()
    found = input_detail(board)
    assert found.shape == (2,) and found == pytest.approx([1, 1])
    assert input_detail(board // 4)[0] == pytest.approx(63 / 255)
    noise = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    smooth = (noise[:, ::8, ::8].repeat(8, 1).repeat(8, 2))
    assert input_detail(noise)[0] > 2 * input_detail(smooth)[0] > 0.05


def test_levels() -> None:
    assert [level_of(s) for s in (0.0, 0.949, 0.95, 0.989, 0.99, 1.0)] == [
        "typical", "typical", "unusual", "unusual", "far", "far"]


@pytest.mark.parametrize(("distance", "error"), [([], []), ([1.0], [1.0, 2.0]), ([np.nan], [1.0])])
def test_unusable_references_are_refused(distance: list[float], error: list[float]) -> None:
    with pytest.raises(DataError):
        make_reference(np.array(distance), np.array(error), "x")


@pytest.mark.parametrize("detail", [[], [1.0, 2.0], [np.inf]])
def test_an_unusable_detail_is_refused(detail: list[float]) -> None:
    with pytest.raises(DataError):
        make_reference(np.ones(1), np.ones(1), "x", detail=np.array(detail))
