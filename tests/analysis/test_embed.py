"""Building the atlas: everything encoded as an upload is, figures that can be read, and real UMAP once."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dermdemo.analysis import embed
from dermdemo.analysis.analyser import Analyser
from dermdemo.analysis.atlas_files import MapParameters, read_files, read_meta
from dermdemo.analysis.embed import (
    build_atlas,
    earlier_latents,
    encode_arm,
    encode_rows,
    fit_map,
    knn_distances,
    latents,
)
from dermdemo.analysis.novelty import input_detail
from dermdemo.analysis.quality import knn_figures
from dermdemo.analysis.serving import Store, load_served
from dermdemo.data.loader import PixelStore
from dermdemo.data.splits import make_split
from dermdemo.errors import CheckpointError, DataError
from tests.sets import pca_map


def test_rows_are_encoded_as_uploads_are(analyser: Analyser, lesions: Any) -> None:
    atlas = analyser.atlas
    assert atlas is not None and len(atlas) == len(lesions.table)
    for row in (0, 40, len(atlas) - 1):
        result = analyser.analyse_bytes(lesions.table.read(row))
        np.testing.assert_allclose(atlas.mu[row], result.mu, atol=5e-3)
        assert atlas.error[row] == pytest.approx(result.reconstruction.mse, abs=1e-5)
        assert atlas.detail is not None
        assert atlas.detail[row] == input_detail(result.reconstruction.original[None])[0]
        assert atlas.reference is not None and atlas.reference.features is not None and result.novelty is not None
        for arm, prediction in result.arms.items():
            logits = atlas.logits[arm][row].astype(float)
            raw = np.exp(logits - logits.max())
            assert raw / raw.sum() == pytest.approx(list(prediction.raw_probabilities.values()), abs=0.01)


def test_the_metadata_say_where_it_comes_from(analyser: Analyser, lesions: Any) -> None:
    atlas = analyser.atlas
    assert atlas is not None
    meta = atlas.meta
    assert meta.vae_sha256 == analyser.vae.sha256 and meta.split_hash == lesions.split.hash
    assert meta.source_hash == lesions.table.data_hash()
    assert sum(meta.images.values()) == len(lesions.table)
    assert meta.arms["imagenet"].sha256 == analyser.arms["imagenet"].sha256
    quality = meta.quality
    assert 0 <= quality.trustworthiness <= 1
    assert [k.space for k in quality.knn] == ["latent", "map"]
    assert all(k.split == "val" for k in quality.knn)  # never test
    assert quality.placement_median == pytest.approx(np.sqrt(0.5), abs=1e-5)  # the stand-in's offset
    assert quality.placement_n == len(lesions.table) - meta.images["train"]


def test_distances_leave_the_own_lesion_out() -> None:
    mu = np.array([[0.0], [0.0], [1.0], [10.0], [0.5]], np.float32)
    train = np.array([True, True, True, True, False])
    groups = np.array(["a", "a", "b", "c", "d"])
    found = knn_distances(mu, train, groups)
    np.testing.assert_allclose(found, [5.5, 5.5, (1 + 1 + 9) / 3, (10 + 10 + 9) / 3, (0.5 + 0.5 + 0.5 + 9.5) / 4])


def test_neighbour_figures_are_those_of_a_known_case() -> None:
    rng = np.random.default_rng(0)
    labels = np.array(["nv"] * 60 + ["mel"] * 20)
    splits = np.array((["train"] * 3 + ["val"]) * 20)
    apart = rng.normal(size=(80, 3)) + 50 * (labels == "mel")[:, None]
    mixed = rng.normal(size=(80, 3))
    good, bad = (knn_figures("latent", v, labels, splits) for v in (apart, mixed))
    assert good is not None and bad is not None
    assert good.accuracy == good.balanced_accuracy == 1 and good.majority == 0.75
    assert bad.balanced_accuracy < 0.8
    assert knn_figures("latent", apart, np.array([""] * 80), splits) is None


def test_features_can_be_left_out(store: Path, lesions: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    before = Analyser(store, device="cpu").atlas
    monkeypatch.setattr(embed, "fit_map", lambda mu, train, seed: embed.FittedMap(
        mu[:, :2], mu[~train, :2], MapParameters(n_neighbors=10, min_dist=0.1, metric="euclidean", seed=seed,
                                                 version="none")))
    build_atlas(lesions.table, lesions.split, store, store / "atlas", device="cpu", features=False)
    analyser = Analyser(store, device="cpu")
    after = analyser.atlas
    assert before is not None and after is not None and before.features and not after.features
    for arm in ("vae", "imagenet"):
        np.testing.assert_array_equal(after.logits[arm], before.logits[arm])
        assert len(analyser.known_predictions(arm).labels) == len(after)
    result = analyser.analyse_bytes(lesions.table.read(0))
    assert result.novelty is not None and result.position is not None and result.neighbours


def test_an_earlier_map_of_the_same_latents_is_taken_over(store: Path, lesions: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(embed, "fit_map", pca_map)
    build_atlas(lesions.table, lesions.split, store, store / "atlas", device="cpu", features=False)
    before, old = Analyser(store, device="cpu").atlas, read_meta(store / "atlas")

    def fitted(*_: object) -> None:
        raise AssertionError("a map was fitted")

    monkeypatch.setattr(embed, "fit_map", fitted)
    meta = build_atlas(lesions.table, lesions.split, store, store / "atlas", device="cpu", features=False,
                       map_from=store / "atlas")
    after = Analyser(store, device="cpu").atlas
    assert before is not None and after is not None and (meta.map, meta.quality) == (old.map, old.quality)
    for name in ("coordinates", "knn_distance", "mu"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
    for changed in ({"seed": 1}, {"split": make_split(lesions.table, seed=7), "other_data": True}):
        with pytest.raises(AssertionError, match="a map was fitted"):
            build_atlas(lesions.table, changed.pop("split", lesions.split), store, store / "new", device="cpu",
                        features=False, map_from=store / "atlas", **changed)


def test_latents_of_other_images_or_another_vae_are_not_taken_over(store: Path, lesions: Any, monkeypatch: Any
                                                                   ) -> None:
    monkeypatch.setattr(embed, "fit_map", pca_map)
    build_atlas(lesions.table, lesions.split, store, store / "atlas", device="cpu", features=False)
    served = load_served(Store(root=store, atlas=None), "cpu")
    stored = read_files(store / "atlas", read_meta(store / "atlas")).arrays["mu"]
    rows = np.arange(len(lesions.table))
    np.testing.assert_allclose(latents(served, lesions.table, rows), stored, rtol=embed.ROUNDING, atol=embed.ROUNDING)

    def taken() -> bool:
        return earlier_latents(store / "atlas", served, lesions.table, lesions.split, 0) is not None

    assert taken()
    monkeypatch.setattr(embed, "latents", lambda served, table, rows: stored[rows].astype(np.float32) + 0.5)
    assert not taken()
    monkeypatch.undo()
    other = served.vae._replace(meta=dataclasses.replace(served.vae.meta, files={"trunk": "0" * 64}))
    assert other.meta.sha256 != served.vae.meta.sha256
    served = dataclasses.replace(served, vae=other)
    assert not taken()
    with pytest.raises(CheckpointError, match="is not an atlas"):
        earlier_latents(store / "none", served, lesions.table, lesions.split, 0)


def test_an_arm_alone_is_encoded_as_beside_the_vae(store: Path, lesions: Any) -> None:
    served = load_served(Store(root=store, atlas=None), "cpu")
    whole = encode_rows(served, lesions.table)
    parts: dict[str, Any] = {}
    for arm, loaded in served.arms.items():
        store_of = PixelStore(lesions.table, range(len(lesions.table)), loaded.meta.input)
        parts |= encode_arm(served, arm, store_of)
    assert parts.keys() == whole.keys() - {"mu", "error", "detail"}
    for name, values in parts.items():
        np.testing.assert_allclose(values.astype(np.float32), whole[name].astype(np.float32), rtol=1e-3, atol=1e-4)


def test_a_split_the_vae_was_not_trained_by_is_refused(store: Path, lesions: Any) -> None:
    other = make_split(lesions.table, seed=7)
    with pytest.raises(DataError, match="does not split as"):
        build_atlas(lesions.table, other, store, store / "new", device="cpu", seed=0)
    assert not (store / "new").exists()


def test_data_the_vae_has_never_seen_may_split_as_they_like(store: Path, lesions: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(embed, "fit_map", pca_map)
    other = make_split(lesions.table, seed=7)
    meta = build_atlas(lesions.table, other, store, store / "new", device="cpu", seed=0, other_data=True)
    assert meta.split_hash == other.hash


def test_too_few_lesions_are_refused(store: Path, lesions: Any, make: Any) -> None:
    make.store(store)
    few = lesions.table.take([i < 12 for i in range(len(lesions.table))])
    with pytest.raises(DataError, match="at least 12 training lesions"):
        build_atlas(few, make_split(few), store, store / "new", device="cpu", seed=0)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_real_map_and_its_distance_to_umap_learn(store: Path, lesions: Any) -> None:
    """One compile of umap-learn for all: fit, placement against its own transform, the whole command."""
    rng = np.random.default_rng(0)
    centres = 12 * rng.normal(size=(4, 8))
    mu = (centres[np.arange(400) % 4] + rng.normal(size=(400, 8))).astype(np.float32)
    train = np.arange(400) % 5 != 0
    first, again = fit_map(mu, train, 0), fit_map(mu, train, 0)
    np.testing.assert_array_equal(first.coordinates, again.coordinates)
    assert first.parameters.n_neighbors == 15 and "umap-learn" in first.parameters.version
    off = np.linalg.norm(first.coordinates[~train] - first.reference, axis=1)
    known = first.coordinates[train]
    spread = np.linalg.norm(known - rng.permutation(known), axis=1)
    assert np.median(off) < 0.15 * np.median(spread)

    meta = build_atlas(lesions.table, lesions.split, store, store / "atlas", device="cpu", seed=0)
    assert meta.quality.trustworthiness > 0.7
    result = Analyser(store, device="cpu").analyse_bytes(lesions.table.read(0))
    assert result.position is not None and np.isfinite([result.position.x, result.position.y]).all()


def test_umap_waits_inside_a_function() -> None:
    assert "umap" not in vars(embed)
