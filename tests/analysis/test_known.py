"""What the analyser says of the known lesions: their pictures, the latent's dimensions, stored predictions."""

from __future__ import annotations

import dataclasses
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dermdemo.analysis.analyser import Analyser
from dermdemo.analysis.latent import PRIOR_TAIL, used_dimensions
from dermdemo.errors import CheckpointError, ConfigError, NotFittedError
from dermdemo.models.checkpoint import load_meta, rewrite_meta


@pytest.fixture
def without_atlas(store: Path) -> Analyser:
    shutil.rmtree(store / "atlas")
    return Analyser(store, device="cpu")


def test_known_pictures_are_the_reconstructions(analyser: Analyser, lesions: Any) -> None:
    rows = [3, 40, 3]
    pictures = analyser.known_pictures(rows)
    assert pictures.shape == (3, 64, 64, 3) and pictures.dtype == np.uint8
    np.testing.assert_array_equal(pictures[0], pictures[2])
    for row, picture in zip(rows, pictures, strict=True):
        own = analyser.analyse_bytes(lesions.table.read(row)).reconstruction.image
        assert np.abs(own.astype(int) - picture).max() <= 3  # the atlas keeps its latents in fp16


def test_more_rows_than_one_pass_holds(analyser: Analyser) -> None:
    assert analyser.atlas is not None and len(analyser.atlas) > 70
    rows = list(range(70))
    many = analyser.known_pictures(rows)
    assert len(many) == 70 and len({p.tobytes() for p in many}) > 60
    assert np.abs(many[69].astype(int) - analyser.known_pictures(np.array([69]))[0]).max() <= 1  # type: ignore[arg-type]
    assert analyser.known_pictures([]).shape == (0, 64, 64, 3)


def test_threads_get_the_same_pictures(analyser: Analyser, one_thread: None) -> None:
    expected = analyser.known_pictures(range(20))
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(analyser.known_pictures, [range(20)] * 8):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("row", [-1, 10_000])
def test_a_row_that_is_not_there_is_refused(analyser: Analyser, row: int) -> None:
    with pytest.raises(ConfigError, match=f"there is no {row}"):
        analyser.known_pictures([0, row])


def test_dimensions_are_ranked_by_their_spread(analyser: Analyser) -> None:
    found, atlas = analyser.dimensions(), analyser.atlas
    assert atlas is not None and sorted(d.index for d in found) == list(range(8))
    spreads = [d.spread for d in found]
    assert spreads == sorted(spreads, reverse=True)
    known = atlas.mu[atlas.train]
    for d in found:
        assert d.spread == pytest.approx(float(known[:, d.index].std()), rel=1e-4)
        assert np.mean(known[:, d.index] < d.low) <= 0.02 and d.low < d.high
        assert np.mean(known[:, d.index] > d.high) <= 0.02
    assert analyser.dimensions() is found


def test_dimensions_count_training_images_only() -> None:
    mu = np.array([[0.0, 5.0], [2.0, 5.0], [4.0, 5.5]], np.float32)
    first, second = used_dimensions(mu)
    assert (first.index, second.index) == (0, 1)
    assert first.spread == pytest.approx(np.sqrt(8 / 3)) and first.low == pytest.approx(0.04)
    assert first.high == pytest.approx(3.96)


def test_without_an_atlas_dimensions_are_the_priors(without_atlas: Analyser) -> None:
    found = without_atlas.dimensions()
    assert [d.index for d in found] == list(range(8))
    assert {(d.spread, d.low, d.high) for d in found} == {(1.0, -PRIOR_TAIL, PRIOR_TAIL)}


def test_without_an_atlas_there_are_no_known_lesions(without_atlas: Analyser) -> None:
    with pytest.raises(NotFittedError, match="no atlas"):
        without_atlas.known_pictures([0])
    with pytest.raises(NotFittedError, match="no atlas"):
        without_atlas.known_predictions("vae")


@pytest.mark.parametrize("arm", ["vae", "imagenet"])
def test_known_predictions_are_what_an_analysis_says(analyser: Analyser, lesions: Any, arm: str) -> None:
    labels, confidence = analyser.known_predictions(arm)
    assert len(labels) == len(confidence) == len(lesions.table)
    for row in (0, 17, 60):
        said = analyser.analyse_bytes(lesions.table.read(row)).arms[arm]
        assert confidence[row] == pytest.approx(said.probabilities[labels[row]], abs=0.01)
        assert said.probabilities[labels[row]] == pytest.approx(said.probabilities[said.top], abs=0.01)


def test_known_predictions_follow_the_served_temperature(store: Path) -> None:
    folder = store / "vae-arm"
    before = Analyser(store, device="cpu").known_predictions("vae")
    rewrite_meta(folder, dataclasses.replace(load_meta(folder), temperature=3.4))
    after = Analyser(store, device="cpu").known_predictions("vae")
    assert after.labels == before.labels and (after.confidence < before.confidence).all()


def test_predictions_of_a_replaced_arm_are_refused(store: Path, make: Any) -> None:
    make.arm(store / "imagenet-arm", "imagenet", seed=77)
    analyser = Analyser(store, device="cpu")
    with pytest.raises(CheckpointError, match="has been replaced since"):
        analyser.known_predictions("imagenet")
    assert analyser.known_predictions("vae").labels
    with pytest.raises(ConfigError, match="no arm 'other'"):
        analyser.known_predictions("other")
