"""What a map of the latent space is worth: figures stored with the atlas and shown beside it.

Nearest-neighbour figures come from the validation split: the test split is not read for a map.
"""

from __future__ import annotations

import numpy as np
from sklearn.manifold import trustworthiness
from sklearn.metrics import balanced_accuracy_score
from sklearn.neighbors import KNeighborsClassifier

from dermdemo.analysis.atlas_files import KnnFigures, MapQuality
from dermdemo.runtime import derived_seed

TRUST_SAMPLE, TRUST_K, KNN_K = 2000, 15, 15
EVALUATED = "val"


def map_quality(mu: np.ndarray, coordinates: np.ndarray, reference: np.ndarray, labels: np.ndarray,
                splits: np.ndarray, *, seed: int) -> MapQuality:
    """Figures of one map.

    Args:
        mu: (N, D) latent positions; `coordinates` (N, 2) on the map; `labels`, `splits` (N,).
        reference: (M, 2) umap-learn's own placement of the M rows that are not in train, in order.
    """
    train = np.flatnonzero(splits == "train")
    rng = np.random.default_rng(derived_seed("map-quality", seed))
    sample = np.sort(rng.permutation(train)[:TRUST_SAMPLE])
    k = max(1, min(TRUST_K, (len(sample) - 1) // 2))
    trust = trustworthiness(mu[sample], coordinates[sample], n_neighbors=k)
    off = np.linalg.norm(coordinates[splits != "train"] - reference, axis=1)
    figures = (knn_figures(space, values, labels, splits) for space, values in
               (("latent", mu), ("map", coordinates)))
    other = rng.permutation(train)
    return MapQuality(
        trustworthiness=float(trust), trustworthiness_k=k, trustworthiness_n=len(sample),
        knn=tuple(f for f in figures if f is not None),
        placement_median=float(np.median(off)) if len(off) else None,
        placement_p95=float(np.quantile(off, 0.95)) if len(off) else None, placement_n=len(off),
        spread=float(np.median(np.linalg.norm(coordinates[train] - coordinates[other], axis=1))))


def knn_figures(space: str, values: np.ndarray, labels: np.ndarray, splits: np.ndarray) -> KnnFigures | None:
    """How well the nearest training images name the class of validation images; None without labels."""
    train = np.flatnonzero((splits == "train") & (labels != ""))
    known = set(labels[train])
    test = np.array([i for i in np.flatnonzero(splits == EVALUATED) if labels[i] in known], dtype=int)
    if not len(train) or not len(test):
        return None
    k = min(KNN_K, len(train))
    found = KNeighborsClassifier(k).fit(values[train], labels[train]).predict(values[test])
    names, counts = np.unique(labels[train], return_counts=True)
    return KnnFigures(
        space=space, split=EVALUATED, k=k, n_images=len(test), accuracy=float((found == labels[test]).mean()),
        balanced_accuracy=float(balanced_accuracy_score(labels[test], found)),
        majority=float((labels[test] == names[counts.argmax()]).mean()))
