"""Building the atlas: every lesion in the latent space and on a map that new images can be put on.

UMAP is fitted on the training split. Every other lesion is placed exactly as an upload would be, and the
distance to umap-learn's own placement is stored. The only module that needs umap-learn.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.spatial.distance import cdist
from tqdm import tqdm

from dermdemo.analysis.atlas_files import (
    BASE_COLUMNS,
    AtlasArm,
    AtlasFeatures,
    AtlasMeta,
    FeatureSource,
    MapParameters,
    MapQuality,
    read_files,
    read_meta,
    write_atlas,
)
from dermdemo.analysis.forward import forward, to_tensor, trunk_features
from dermdemo.analysis.latent import NOVELTY_K, place
from dermdemo.analysis.novelty import fit_gaussian, input_detail
from dermdemo.analysis.quality import map_quality
from dermdemo.analysis.reconstruction import mean_squared_error
from dermdemo.analysis.serving import Served, Store, load_served, other_trunk
from dermdemo.config import DeviceName
from dermdemo.data.loader import PixelStore
from dermdemo.data.sources import LesionTable
from dermdemo.data.splits import Split
from dermdemo.errors import DataError
from dermdemo.models.card import data_licence

BATCH = 64
N_NEIGHBORS, MIN_DIST, METRIC = 15, 0.1, "euclidean"
MIN_TRAIN = 12
TRUNK_FEATURES = "trunk"
SPOT_CHECKED = 64  # images whose latents an earlier atlas must have right
ROUNDING = 1e-2  # of latents, absolute and relative: half precision, and other processors
HAM10000_ATTRIBUTION = ("Tschandl P., Rosendahl C., Kittler H.: The HAM10000 dataset. Sci. Data 5, 180161 (2018), "
                        "doi:10.1038/sdata.2018.161")


@dataclass(frozen=True)
class FittedMap:
    """Coordinates (N, 2) of all rows, and umap-learn's own placement (M, 2) of those not in train."""

    coordinates: np.ndarray
    reference: np.ndarray
    parameters: MapParameters


@dataclass(frozen=True)
class KnownMap:
    """A map of N rows with its figures: coordinates (N, 2), distances to the nearest training images (N,)."""

    coordinates: np.ndarray
    knn_distance: np.ndarray
    parameters: MapParameters
    quality: MapQuality


def build_atlas(table: LesionTable, split: Split, checkpoints: Path, out: Path, *, device: DeviceName = "auto",
                seed: int = 0, features: bool = True, other_data: bool = False, map_from: Path | None = None
                ) -> AtlasMeta:
    """Encode all rows, fit the map on train, place the rest, measure, and write `out` in one step.

    Args:
        checkpoints: folder with the VAE (`vae`) and the classifiers.
        seed: of UMAP and of the samples that the figures are taken on.
        features: keep the arms' pooled features, for study outside the app, which does not need them; they are
            five sixths of the atlas.
        other_data: the lesions are none of those the VAE was trained on, as the caller knows.
        map_from: an earlier atlas; where VAE, source, split and seed are the same, its latents and map are taken
            over, and only what the arms make of the images is computed.

    Raises:
        CheckpointError, NotFittedError: the models cannot be served, or `map_from` cannot be read.
        DataError: too few training lesions, or a split that is not the one the VAE was trained by.
    """
    served = load_served(Store(root=checkpoints, atlas=None), device)
    frame = table.frame
    splits, labels, groups = (np.array(v, dtype=str) for v in (split.names, frame["label"], frame["group"]))
    _check_split(served, split, len(set(groups[splits == "train"])), other_data)
    earlier = None if map_from is None else earlier_latents(map_from, served, table, split, seed)
    if earlier is not None:
        known, arrays = earlier
        stores = {spec: PixelStore(table, range(len(table)), spec, progress=True)
                  for spec in {loaded.meta.input for loaded in served.arms.values()}}
        for arm, loaded in served.arms.items():
            arrays |= encode_arm(served, arm, stores[loaded.meta.input], features=features)
    else:
        arrays = encode_rows(served, table, features=features)
        mu = arrays["mu"].astype(np.float32)  # as stored: what an upload will be compared with
        fitted = fit_map(mu, splits == "train", seed)
        quality = map_quality(mu, fitted.coordinates, fitted.reference, labels, splits, seed=seed)
        known = KnownMap(fitted.coordinates, knn_distances(mu, splits == "train", groups), fitted.parameters, quality)
    arrays |= {"coordinates": known.coordinates, "knn_distance": known.knn_distance}
    judged = judge_features(arrays.pop(TRUNK_FEATURES, None), splits == "train")
    meta = _meta(served, table, split, known.parameters, known.quality)
    if judged is not None:
        meta = replace(meta, features=feature_source(served))
    return write_atlas(out, meta, arrays, _columns(table, split), judged)


def earlier_latents(folder: Path, served: Served, table: LesionTable, split: Split, seed: int
                    ) -> tuple[KnownMap, dict[str, np.ndarray]] | None:
    """Map, and mu, error and detail of every row, of an earlier atlas of the same VAE and images; else None.

    That the images are the same is told by the hash of the source and by `SPOT_CHECKED` of them, encoded anew: equal
    but for what another processor rounds otherwise.

    Raises:
        CheckpointError: no atlas there, or one that has changed since it was written.
    """
    meta = read_meta(folder)
    if (meta.vae_sha256, meta.source_hash, meta.split_hash, meta.map.seed) != (
            served.vae.meta.sha256, table.data_hash(), split.hash, seed):
        return None
    arrays = read_files(folder, meta).arrays
    rows = np.unique(np.linspace(0, len(table) - 1, SPOT_CHECKED).round().astype(int))
    if not np.allclose(latents(served, table, rows), arrays["mu"][rows], rtol=ROUNDING, atol=ROUNDING):
        return None
    known = KnownMap(arrays["coordinates"], arrays["knn_distance"], meta.map, meta.quality)
    return known, {name: arrays[name] for name in ("mu", "error", "detail")}


@torch.inference_mode()
def latents(served: Served, table: LesionTable, rows: np.ndarray) -> np.ndarray:
    """mu of some rows, (R, D) float32."""
    vae = served.vae
    store = PixelStore(table, rows.tolist(), vae.meta.input)
    pixels = store.batch(torch.arange(len(rows))).permute(0, 2, 3, 1).contiguous().numpy()
    encoder = vae.module.encoder
    return np.asarray(vae.module.posterior_of(encoder.top(encoder.trunk(to_tensor(pixels, served.device)))).mu.float()
                      .cpu())


def feature_source(served: Served) -> FeatureSource | None:
    """The trunk that novelty judges features by; None where every arm runs on the VAE's."""
    arm = other_trunk(served.vae, served.arms)
    if arm is None:
        return None
    meta = served.arms[arm].meta
    return FeatureSource(arm=arm, trunk_sha256=meta.trunk_sha256, size=meta.input.size, crop=meta.input.crop)


def judge_features(features: np.ndarray | None, train: np.ndarray) -> AtlasFeatures | None:
    """A Gaussian of the training rows of (N, C), and every row's distance from it.

    Args:
        train: (N,) bool.
    """
    gaussian = None if features is None else fit_gaussian(features[train])
    if features is None or gaussian is None:
        return None
    return AtlasFeatures(gaussian, gaussian.distance(features))


def _meta(served: Served, table: LesionTable, split: Split, parameters: MapParameters, quality: MapQuality
          ) -> AtlasMeta:
    """What is known of the atlas, its file hashes excepted."""
    vae, of_split = served.vae.meta, table.frame["group"].groupby(list(split.names))
    return AtlasMeta(
        vae=vae.name, vae_sha256=vae.sha256, size=vae.input.size, crop=vae.input.crop, latent=int(vae.latent or 0),
        arms={arm: AtlasArm(checkpoint=loaded.meta.name, sha256=loaded.meta.sha256, classes=loaded.meta.classes)
              for arm, loaded in served.arms.items()},
        source=table.name, source_hash=table.data_hash(), split_hash=split.hash, split_seed=split.seed,
        images={str(name): len(part) for name, part in of_split},
        lesions={str(name): int(part.nunique()) for name, part in of_split},
        map=parameters, quality=quality, licence=data_licence(table.name),
        attribution=HAM10000_ATTRIBUTION if "ham10000" in table.name.lower() else "")


def _check_split(served: Served, split: Split, train_lesions: int, other_data: bool) -> None:
    trained_by = served.vae.meta.split_hash
    if trained_by and trained_by != split.hash and not other_data:
        raise DataError("This source does not split as the data the VAE was trained on: its calibration and test "
                        "lesions may be among the VAE's training images. Use the same source and split seed.")
    if train_lesions < MIN_TRAIN:
        raise DataError(f"A map needs at least {MIN_TRAIN} training lesions; this source has {train_lesions}.")


def encode_rows(served: Served, table: LesionTable, *, features: bool = True) -> dict[str, np.ndarray]:
    """Run the models over every row: mu, error, detail, and logits and (if asked) features of each arm, N rows each.

    `TRUNK_FEATURES` is among them where an arm has a trunk other than the VAE's.
    """
    other = other_trunk(served.vae, served.arms)
    stores = {spec: PixelStore(table, range(len(table)), spec, progress=True) for spec in served.specs}
    parts: dict[str, list[np.ndarray]] = {}
    for batch in tqdm(torch.arange(len(table)).split(BATCH), desc="encoding", disable=None):
        pixels = {spec: store.batch(batch).permute(0, 2, 3, 1).contiguous().numpy() for spec, store in stores.items()}
        out = forward(served, pixels)
        found = {"mu": out.mu.half(), "error": mean_squared_error(out.x, out.x_hat)}
        if other is not None:
            found[TRUNK_FEATURES] = trunk_features(out, other)
        for arm in served.arms:
            found[f"logits.{arm}"] = out.logits[arm].half()
            if features:
                found[f"features.{arm}"] = out.pooled[arm].half()
        for name, value in found.items():
            parts.setdefault(name, []).append(value.cpu().numpy())
        parts.setdefault("detail", []).append(input_detail(pixels[served.vae.meta.input]))
    return {name: np.concatenate(values) for name, values in parts.items()}


@torch.inference_mode()
def encode_arm(served: Served, arm: str, store: PixelStore, *, features: bool = True
               ) -> dict[str, np.ndarray]:
    """One arm's part of `encode_rows` for the images of a store, without running the VAE."""
    loaded = served.arms[arm]
    parts: dict[str, list[np.ndarray]] = {}
    for batch in tqdm(torch.arange(len(store)).split(BATCH), desc=f"encoding ({arm})", disable=None):
        x = to_tensor(store.batch(batch).permute(0, 2, 3, 1).contiguous().numpy(), served.device)
        below = loaded.module.encoder.trunk(x)
        pooled = loaded.module.encoder.pool(loaded.module.encoder.top(below))
        found = {f"logits.{arm}": loaded.module.head(pooled).half()}
        if features:
            found[f"features.{arm}"] = pooled.half()
        if arm == other_trunk(served.vae, served.arms):
            found[TRUNK_FEATURES] = below.mean((2, 3)).float()
        for name, value in found.items():
            parts.setdefault(name, []).append(value.cpu().numpy())
    return {name: np.concatenate(values) for name, values in parts.items()}


def fit_map(mu: np.ndarray, train: np.ndarray, seed: int) -> FittedMap:
    """UMAP of the training rows of (N, D); the others placed as uploads are.

    Args:
        train: (N,) bool.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImportWarning)  # umap offers a TensorFlow variant that nobody asked for
        import umap
    parameters = MapParameters(n_neighbors=min(N_NEIGHBORS, int(train.sum()) - 1), min_dist=MIN_DIST, metric=METRIC,
                               seed=seed, version=f"umap-learn {version('umap-learn')}")
    reducer: Any = umap.UMAP(n_neighbors=parameters.n_neighbors, min_dist=MIN_DIST, metric=METRIC, random_state=seed,
                             n_jobs=1)
    known, rest = mu[train], np.flatnonzero(~train)
    coordinates = np.empty((len(mu), 2), np.float32)
    coordinates[train] = on_map = reducer.fit_transform(known)
    for row in rest:
        distances = np.linalg.norm(known - mu[row], axis=1)
        coordinates[row] = place(distances, on_map, parameters.n_neighbors)
    reference = reducer.transform(mu[rest]) if len(rest) else np.empty((0, 2), np.float32)
    return FittedMap(coordinates, reference, parameters)


def knn_distances(mu: np.ndarray, train: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """(N,) float32: mean latent distance of each row to the nearest training images of other lesions."""
    known, lesion = mu[train], np.unique(groups, return_inverse=True)[1]  # numbers: text is slow to compare
    found = np.empty(len(mu), np.float32)
    k = min(NOVELTY_K, len(known))
    for rows in np.array_split(np.arange(len(mu)), max(1, len(mu) // 256)):
        distances = cdist(mu[rows], known)
        distances[lesion[rows][:, None] == lesion[train]] = np.inf
        nearest = np.partition(distances, k - 1, axis=1)[:, :k]
        others = np.isfinite(nearest)  # fewer than k where the own lesion takes up places
        found[rows] = np.where(others, nearest, 0).sum(1) / others.sum(1)
    return found


def _columns(table: LesionTable, split: Split) -> dict[str, list[Any]]:
    """image_id, group, label, split, and every further column that holds numbers or text."""
    frame = table.frame
    columns: dict[str, list[Any]] = {name: frame[name].astype(str).tolist() for name in BASE_COLUMNS[:3]}
    columns["split"] = list(split.names)
    for name in frame.columns:
        if name in columns or name == "locator":
            continue
        if frame[name].dtype.kind in "fiu":
            columns[name] = [None if np.isnan(v) else float(v) for v in frame[name]]
        elif all(isinstance(v, str) for v in frame[name].dropna()):
            columns[name] = [v if isinstance(v, str) else None for v in frame[name]]
    return columns
