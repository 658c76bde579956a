"""The atlas in memory: weights, placement, neighbours, and what is refused on loading."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dermdemo.analysis.analyser import Analyser
from dermdemo.analysis.atlas_files import read_files, read_meta, write_atlas
from dermdemo.analysis.latent import Atlas, load_atlas, mean_of_nearest, place, smooth_knn_weights
from dermdemo.errors import CheckpointError
from dermdemo.models.checkpoint import CheckpointMeta, load_meta
from dermdemo.types import DecodedImage


def metas(store: Path) -> tuple[CheckpointMeta, dict[str, CheckpointMeta]]:
    return load_meta(store / "vae"), {arm: load_meta(store / f"{arm}-arm") for arm in ("vae", "imagenet")}


@pytest.fixture(scope="module")
def atlas(shared_store: Path) -> Atlas:
    return load_atlas(shared_store / "atlas", *metas(shared_store))


def test_weights_follow_the_definition() -> None:
    d = np.sort(np.random.default_rng(0).gamma(5, 1, 15))
    weights = smooth_knn_weights(d)
    assert weights.sum() == pytest.approx(1) and (np.diff(weights) <= 0).all()
    strengths = weights / weights[0]  # the nearest has strength 1
    assert strengths.sum() == pytest.approx(np.log2(15), abs=1e-4)
    sigma = -(d[1:] - d[0]) / np.log(strengths[1:])
    np.testing.assert_allclose(sigma, sigma[0], rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_weights_do_not_depend_on_the_unit(scale: float) -> None:
    d = np.array([1.0, 1.5, 1.7, 2.5, 4.0])
    np.testing.assert_allclose(smooth_knn_weights(d * scale), smooth_knn_weights(d), rtol=1e-3)


@pytest.mark.parametrize("d", [[0.0, 0.0, 0.0], [2.0, 2.0, 2.0], [1.0], [1.0, 2.0], [0.0, 0.0, 0.0, 1.0]])
def test_weights_of_ties_and_few_neighbours_are_finite(d: list[float]) -> None:
    weights = smooth_knn_weights(np.array(d))
    assert np.isfinite(weights).all() and weights.sum() == pytest.approx(1)


def test_a_new_image_lies_among_its_neighbours() -> None:
    rng = np.random.default_rng(0)
    coordinates = rng.normal(size=(200, 2)).astype(np.float32)
    distances = rng.gamma(5, 1, 200)
    x, y = place(distances, coordinates, 15)
    near = coordinates[np.argsort(distances)[:15]]
    assert near[:, 0].min() <= x <= near[:, 0].max() and near[:, 1].min() <= y <= near[:, 1].max()
    assert place(distances, coordinates, 1) == tuple(coordinates[np.argmin(distances)].astype(float))


def test_placement_repeats_itself(atlas: Atlas) -> None:
    mu = np.random.default_rng(0).normal(size=8).astype(np.float32)
    places = {dataclasses.astuple(atlas.place(atlas.distances(mu))) for _ in range(3)}
    assert len(places) == 1


def test_a_training_lesion_lands_on_its_own_spot(atlas: Atlas, analyser: Analyser, lesions: Any) -> None:
    for row in atlas.train[:5]:
        result = analyser.analyse_bytes(lesions.table.read(int(row)))
        assert result.position is not None
        assert (result.position.x, result.position.y) == tuple(atlas.coordinates[row].astype(float))
        assert result.neighbours[0].image_id == atlas.columns["image_id"][row]
        assert result.neighbours[0].distance < 0.05


def test_other_lesions_are_placed_as_uploads_are(atlas: Atlas) -> None:
    row = int(np.flatnonzero(np.array(atlas.columns["split"]) == "test")[0])
    position = atlas.place(atlas.distances(atlas.mu[row]))
    others = np.setdiff1d(atlas.train, [row])
    assert (position.x, position.y) == place(
        np.linalg.norm(atlas.mu[others] - atlas.mu[row], axis=1), atlas.coordinates[others], 10)


def test_neighbours_are_ranked_in_latent_space_one_per_lesion(
        atlas: Atlas, analyser: Analyser, pictures: list[DecodedImage]) -> None:
    result = analyser.analyse(pictures[0])
    distances = np.linalg.norm(atlas.mu - result.mu, axis=1)
    best: dict[str, float] = {}
    for group, d in zip(atlas.columns["group"], distances, strict=True):
        best[group] = min(float(d), best.get(group, np.inf))
    expected = sorted(best, key=lambda g: best[g])[:8]
    assert [n.group for n in result.neighbours] == expected
    for n in result.neighbours:
        assert n.distance == pytest.approx(float(distances[n.index]), rel=1e-4)
        assert n.image_id == atlas.columns["image_id"][n.index]
        assert set(n.metadata) == {"dx_type", "age", "sex", "localization"}
        assert all(v is None or v == v for v in n.metadata.values())  # no NaN


def test_mean_of_nearest() -> None:
    assert mean_of_nearest(np.array([5.0, 1.0, 3.0, 9.0]), 2) == 2
    assert mean_of_nearest(np.array([5.0, 1.0]), 10) == 3


def test_an_atlas_of_another_vae_is_refused(shared_store: Path) -> None:
    vae, arms = metas(shared_store)
    other = dataclasses.replace(vae, files={**vae.files, "top": "0" * 64})
    with pytest.raises(CheckpointError, match="another VAE"):
        load_atlas(shared_store / "atlas", other, arms)
    squashed = dataclasses.replace(vae, input=dataclasses.replace(vae.input, crop="squash"))
    with pytest.raises(CheckpointError, match="another VAE"):
        load_atlas(shared_store / "atlas", squashed, arms)


def test_outputs_of_a_replaced_classifier_are_left_out(shared_store: Path, atlas: Atlas) -> None:
    assert set(atlas.logits) == set(atlas.features) == {"vae", "imagenet"}
    vae, arms = metas(shared_store)
    arms["imagenet"] = dataclasses.replace(arms["imagenet"], files=dict(arms["imagenet"].files) | {"head": "0" * 64})
    found = load_atlas(shared_store / "atlas", vae, arms)
    assert set(found.logits) == set(found.features) == {"vae"}
    np.testing.assert_array_equal(found.mu, atlas.mu)


def test_an_atlas_without_detail_still_loads_and_says_so(store: Path, pictures: list[DecodedImage]) -> None:
    meta = read_meta(store / "atlas")
    files = read_files(store / "atlas", meta)
    del files.arrays["detail"]
    write_atlas(store / "atlas", meta, files.arrays, files.columns, files.features)
    analyser = Analyser(store, device="cpu")
    assert analyser.atlas is not None and analyser.atlas.detail is None
    result = analyser.analyse(pictures[0])
    assert result.novelty is not None and result.novelty.detail_quantile is None
    assert result.novelty.feature_quantile is not None
    assert any("does not hold the detail" in note for note in result.notes)


def test_an_atlas_without_feature_distances_loads_and_says_so(store: Path, pictures: list[DecodedImage]) -> None:
    meta = read_meta(store / "atlas")
    files = read_files(store / "atlas", meta)
    write_atlas(store / "atlas", dataclasses.replace(meta, features=None), files.arrays, files.columns)
    result = Analyser(store, device="cpu").analyse(pictures[0])
    assert result.novelty is not None and result.novelty.feature_quantile is None
    assert result.novelty.detail_quantile is not None
    assert any("does not hold the features" in note for note in result.notes)


def test_feature_distances_of_another_trunk_are_left_out(shared_store: Path, atlas: Atlas) -> None:
    assert atlas.gaussian is not None and atlas.reference is not None and atlas.reference.features is not None
    vae, arms = metas(shared_store)
    arm = arms["imagenet"]
    for other in (dataclasses.replace(arm, base=(), files={"trunk": "0" * 64}),
                  dataclasses.replace(arm, input=dataclasses.replace(arm.input, size=2 * arm.input.size))):
        found = load_atlas(shared_store / "atlas", vae, arms | {"imagenet": other})
        assert found.gaussian is None and found.reference is not None and found.reference.features is None
    assert load_atlas(shared_store / "atlas", vae, {"vae": arms["vae"]}).gaussian is None


def test_the_reference_counts_each_calibration_lesion_once(atlas: Atlas) -> None:
    calib = {g for g, s in zip(atlas.columns["group"], atlas.columns["split"], strict=True) if s == "calib"}
    assert atlas.reference is not None
    assert len(atlas.reference) == len(calib) == atlas.meta.lesions["calib"]
    assert atlas.reference.name.endswith(f"(n = {len(calib)})")
