"""The atlas in memory: known lesions in the latent space, and the place of a new image among them.

Neighbours are ranked in the latent space, never on the map. A new image is put at the weighted mean of its
nearest training images' coordinates: as umap-learn's transform starts, without the random optimisation that
follows there, so that the same image always lands on the same spot and umap-learn is not needed.

Unusual here: rho is the nearest distance, as in UMAP's fit; umap-learn's transform takes rho = 0. On
scikit-learn's digits this lands nearer to where umap-learn's optimisation ends (median 0.18 against 0.20
map units, 95 %: 0.8 against 1.3); on 2,500 lesions of HAM10000 in the latent space of a VAE in its third
epoch it makes no difference (0.31 against 0.33, 95 %: 1.1 both).
Source: McInnes, Healy, Melville 2018 (1802.03426), algorithm 3; umap-learn 0.5, `smooth_knn_dist` and
`init_graph_transform`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import isnan, log2
from pathlib import Path
from typing import Any

import numpy as np

from dermdemo.analysis.atlas_files import BASE_COLUMNS, AtlasFiles, AtlasMeta, read_files, read_meta
from dermdemo.analysis.novelty import FeatureGaussian, Reference, make_reference
from dermdemo.errors import CheckpointError, DataError
from dermdemo.models.checkpoint import CheckpointMeta
from dermdemo.types import LatentDimension, MapPosition, Neighbour

SHOWN = 8
NOVELTY_K = 10
SAME_IMAGE = 0.01  # of the distance to the k-th neighbour: what fp16 rounding leaves between twins
BISECTIONS, TOLERANCE = 64, 1e-5
TAIL = 0.01
PRIOR_TAIL = 2.326347874  # the 99 % quantile of a standard normal


@dataclass(frozen=True)
class Atlas:
    """Known lesions: N images in the latent space and on the map.

    Attributes:
        mu: (N, D) float32 posterior means.
        coordinates: (N, 2) float32 on the map.
        error: (N,) reconstruction MSE.
        knn_distance: (N,) mean latent distance to the nearest training images of other lesions.
        detail: (N,) fine structure of the input, see `novelty.input_detail`; None in an older atlas.
        columns: column name -> N values: image_id, group, label, split and the source's metadata.
        train: rows of the training split, ascending.
        logits: arm -> (N, K), only of classifiers that are still the ones being served.
        features: arm -> (N, W) pooled features, likewise; empty where the atlas was written without.
        gaussian: of the features of `meta.features`; None where that trunk is not the one being served.
        reference: novelty measures of the calibration lesions; None if there are none.
    """

    meta: AtlasMeta
    mu: np.ndarray
    coordinates: np.ndarray
    error: np.ndarray
    knn_distance: np.ndarray
    detail: np.ndarray | None
    columns: Mapping[str, tuple[Any, ...]]
    train: np.ndarray
    logits: Mapping[str, np.ndarray]
    features: Mapping[str, np.ndarray]
    gaussian: FeatureGaussian | None
    reference: Reference | None

    def __len__(self) -> int:
        return len(self.mu)

    @cached_property
    def dimensions(self) -> tuple[LatentDimension, ...]:
        """The latent's coordinates as the training images use them, the most active first."""
        return used_dimensions(self.mu[self.train])

    def distances(self, mu: np.ndarray) -> np.ndarray:
        """Euclidean latent distance of one image, (D,), to every known one: (N,) float32."""
        return np.linalg.norm(self.mu - mu.astype(np.float32), axis=1)

    def place(self, distances: np.ndarray) -> MapPosition:
        """Map position from the distances to all N known images; only training images count."""
        x, y = place(distances[self.train], self.coordinates[self.train], self.meta.map.n_neighbors)
        return MapPosition(x=x, y=y)

    def mean_distance(self, distances: np.ndarray) -> float:
        """Mean latent distance to the `NOVELTY_K` nearest training images."""
        return mean_of_nearest(distances[self.train])

    def neighbours(self, distances: np.ndarray, count: int = SHOWN) -> tuple[Neighbour, ...]:
        """The `count` nearest known lesions of any split, nearest first, by the nearest image of each."""
        found: dict[str, Neighbour] = {}
        groups = self.columns["group"]
        for row in np.argsort(distances, kind="stable"):
            if len(found) == count:
                break
            if groups[row] not in found:
                found[groups[row]] = self.neighbour(int(row), float(distances[row]))
        return tuple(found.values())

    def neighbour(self, row: int, distance: float) -> Neighbour:
        """One row of the atlas as a neighbour at a latent distance."""
        image_id, group, label, split = (str(self.columns[name][row]) for name in BASE_COLUMNS)
        extra = {name: _plain(values[row]) for name, values in self.columns.items() if name not in BASE_COLUMNS}
        return Neighbour(image_id=image_id, group=group, label=label, split=split, distance=distance, index=row,
                         metadata=extra)


def _plain(value: Any) -> str | float | None:
    if value is None or (isinstance(value, float) and isnan(value)):
        return None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def place(distances: np.ndarray, coordinates: np.ndarray, k: int) -> tuple[float, float]:
    """Weighted mean of the coordinates (M, 2) of the k nearest of M training images at `distances` (M,).

    The very image of the atlas gets its own coordinates, as in umap-learn.
    """
    near = np.argsort(distances, kind="stable")[:k]
    d = distances[near].astype(np.float64)
    if d[0] <= SAME_IMAGE * d[-1]:
        x, y = coordinates[near[0]]
    else:
        x, y = smooth_knn_weights(d) @ coordinates[near].astype(np.float64)
    return float(x), float(y)


def smooth_knn_weights(distances: np.ndarray) -> np.ndarray:
    """UMAP's membership strengths of k ascending distances, (k,), divided by their sum.

    exp(-(d - rho) / sigma), rho the smallest distance, sigma by bisection so that they add up to log2(k).
    """
    gaps = distances - distances[0]
    if gaps[-1] <= 0:
        return np.full(len(gaps), 1 / len(gaps))
    target, low, high, sigma = log2(len(gaps)), 0.0, float("inf"), float(gaps.mean())
    for _ in range(BISECTIONS):
        total = float(np.exp(-gaps / sigma).sum())
        if abs(total - target) < TOLERANCE:
            break
        low, high = (low, sigma) if total > target else (sigma, high)
        sigma = 2 * sigma if high == float("inf") else (low + high) / 2
        sigma = max(sigma, 1e-3 * float(gaps.mean()))
    weights: np.ndarray = np.exp(-gaps / sigma)
    return weights / weights.sum()


def used_dimensions(mu: np.ndarray) -> tuple[LatentDimension, ...]:
    """Spread and 1 % to 99 % range of each coordinate of (M, D) posterior means, by falling spread."""
    spread = mu.std(0, dtype=np.float64)
    low, high = np.quantile(mu, [TAIL, 1 - TAIL], axis=0)
    return tuple(LatentDimension(index=int(k), spread=float(spread[k]), low=float(low[k]), high=float(high[k]))
                 for k in np.argsort(-spread, kind="stable"))


def prior_dimensions(latent: int) -> tuple[LatentDimension, ...]:
    """What the prior alone says of `latent` coordinates: spread 1 and its 1 % to 99 % range for each, by index."""
    return tuple(LatentDimension(index=k, spread=1.0, low=-PRIOR_TAIL, high=PRIOR_TAIL) for k in range(latent))


def mean_of_nearest(distances: np.ndarray, k: int = NOVELTY_K) -> float:
    """Mean of the k smallest distances."""
    k = min(k, len(distances))
    return float(np.partition(distances, k - 1)[:k].mean())


def load_atlas(folder: Path, vae: CheckpointMeta, arms: Mapping[str, CheckpointMeta]) -> Atlas:
    """Read and verify an atlas for the models that are about to be served.

    Logits and features of a classifier that has been replaced since are left out, feature distances likewise;
    latent positions do not depend on it.

    Raises:
        CheckpointError: missing or changed files, or an atlas of another VAE or input.
    """
    meta = read_meta(folder)
    if meta.vae_sha256 != vae.sha256 or (meta.size, meta.crop) != (vae.input.size, vae.input.crop):
        raise CheckpointError(f"The atlas in '{folder}' was made with another VAE than '{vae.name}' (SHA-256 "
                              f"{meta.vae_sha256[:12]}... instead of {vae.sha256[:12]}..., {meta.size} px): they are "
                              "not mixed. Build it again: `python -m dermdemo embed`.")
    files = read_files(folder, meta)
    arrays, columns = files.arrays, files.columns
    mu = arrays["mu"].astype(np.float32)
    if mu.ndim != 2 or mu.shape[1] != vae.latent or arrays["coordinates"].shape != (len(mu), 2):
        raise CheckpointError(f"The arrays of the atlas in '{folder}' have unexpected shapes.")
    train = np.flatnonzero(np.array(columns["split"]) == "train")
    if not len(train):
        raise CheckpointError(f"The atlas in '{folder}' has no training lesions to place an image by.")
    current = [arm for arm, stored in meta.arms.items() if arm in arms and arms[arm].sha256 == stored.sha256]
    source = meta.features
    gaussian = None
    if files.features is not None and source is not None and source.arm in arms:
        arm = arms[source.arm]
        if (arm.trunk_sha256, arm.input.size, arm.input.crop) == (source.trunk_sha256, source.size, source.crop):
            gaussian = files.features.gaussian
    return Atlas(
        gaussian=gaussian, meta=meta, mu=mu, coordinates=arrays["coordinates"], error=arrays["error"],
        knn_distance=arrays["knn_distance"], detail=arrays.get("detail"), train=train,
        columns={name: tuple(values) for name, values in columns.items()},
        logits={arm: arrays[f"logits.{arm}"] for arm in current if f"logits.{arm}" in arrays},
        features={arm: arrays[f"features.{arm}"] for arm in current if f"features.{arm}" in arrays},
        reference=_reference(meta, files, with_features=gaussian is not None))


def _reference(meta: AtlasMeta, files: AtlasFiles, *, with_features: bool) -> Reference | None:
    """Novelty measures of the calibration split, one image per lesion (the first of each)."""
    arrays, columns = files.arrays, files.columns
    first: dict[str, int] = {}
    for row, (group, split) in enumerate(zip(columns["group"], columns["split"], strict=True)):
        if split == "calib":
            first.setdefault(group, row)
    if not first:
        return None
    rows = list(first.values())
    name = f"calib lesions of {meta.source} (n = {len(rows)})"
    detail = arrays["detail"][rows] if "detail" in arrays else None
    features = files.features.distance[rows] if with_features and files.features else None
    try:
        return make_reference(arrays["knn_distance"][rows], arrays["error"][rows], name, detail=detail,
                              features=features)
    except DataError as error:
        raise CheckpointError(f"The atlas cannot be used: {error} Build it again: `python -m dermdemo embed`."
                              ) from error
