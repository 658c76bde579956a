"""Linear probes: what a frozen encoder's stages, and the VAE's mu, tell of the diagnosis.

A probe is logistic regression (class-balanced, L2, its strength chosen by cross-validation over lesions of train)
on standardised features of plain images (Alain and Bengio 2017, arXiv 1610.01644). It says what a
representation holds in linear form, not what training it further would reach: for that the effective rank counts
too, as features that fill few directions leave a trained head little to work with. Test is not offered: probes are
for understanding and choosing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from tqdm import tqdm

from dermdemo.config import DeviceName
from dermdemo.data.loader import PixelStore, to_float
from dermdemo.data.sources import LesionTable
from dermdemo.data.splits import Split
from dermdemo.errors import DataError
from dermdemo.evaluation.baseline import PixelModel
from dermdemo.evaluation.intervals import Interval, group_bootstrap
from dermdemo.evaluation.report_text import with_interval
from dermdemo.evaluation.scores import balanced_accuracy, macro_auc
from dermdemo.models.checkpoint import META_FILE, CheckpointMeta, load_meta, load_part, load_strict, load_vae
from dermdemo.models.encoder import STAGES, Encoder
from dermdemo.models.vae import VAE
from dermdemo.models.weights import encoder_from
from dermdemo.runtime import resolve_device, seed_everything
from dermdemo.types import InputSpec

BATCH = 128
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # inverse of the L2 penalty
FOLDS = 3
FEW = 1e-2  # the strength where a class of train has fewer than twice as many lesions as there are folds
UNKNOWN_SIZE = 64  # pixels, for weights that do not say what they were trained at
METRICS = {"balanced_accuracy": balanced_accuracy, "macro_auc": macro_auc}
ProbeSplit = Literal["val", "calib"]


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Figures of one representation, with 95 % intervals by bootstrap over lesions.

    Attributes:
        features: what was probed, for example ``stage 3`` or ``mu``.
        dims: numbers that an image has there.
        effective_rank: directions that its standardised features on train fill, 1 to `dims`; None for the
            baseline, whose components are independent by construction.
        strength: inverse L2 penalty that cross-validation chose; None for the baseline, where it is fixed.
    """

    features: str
    dims: int
    balanced_accuracy: Interval
    macro_auc: Interval
    effective_rank: float | None = None
    strength: float | None = None


@dataclass(frozen=True, kw_only=True)
class ProbeReport:
    """Probes of one encoder at one size."""

    origin: str
    size: int
    split: ProbeSplit
    images: int
    lesions: int
    probes: tuple[Probe, ...]


def network(weights: str, encoder: str, *, layer_scale: float, seed: int = 0) -> tuple[Encoder | VAE, str, int]:
    """What is probed, its origin in words, and the size in pixels that it was trained at (0: unknown).

    Of a trimmed checkpoint the encoder ends with its trunk.

    Raises:
        CheckpointError: as `encoder_from`.
    """
    path = Path(weights)
    if path.is_dir() and (path / META_FILE).exists():
        meta = load_meta(path)
        if meta.kind in ("vae", "ae"):
            return load_vae(path).module, meta.origin_text, meta.input.size
        if tuple(meta.files) == ("trunk",):
            return _trunk(path, meta), f"{meta.origin_text}; trunk only", meta.input.size
        net, origin = encoder_from(weights, meta.encoder)
        return net, origin.text, meta.input.size
    seed_everything(seed)
    net, origin = encoder_from(weights, encoder, layer_scale=layer_scale)
    return net, origin.text, 0


def _trunk(path: Path, meta: CheckpointMeta) -> Encoder:
    """The encoder of a trimmed checkpoint, without the stage that is not stored."""
    encoder = Encoder(meta.encoder)
    stored = load_part(path, "trunk", meta.files["trunk"])
    load_strict(encoder, encoder.state_dict() | stored, str(path))
    encoder.stages = encoder.stages[:-1]
    return encoder


def probe(net: Encoder | VAE, table: LesionTable, split: Split, *, size: int, origin: str,
          on: ProbeSplit = "val", device: DeviceName = "auto", resamples: int = 1000, seed: int = 0) -> ProbeReport:
    """Fit on train, score on `on`: every stage (averaged over its map), what the heads get, mu of a VAE, and pixels.

    Raises:
        DataError: fewer than two classes in train, or no labelled image in `on`.
    """
    labels = np.array(table.labels())
    train, held = ([r for r in split.rows(name) if labels[r] >= 0] for name in ("train", on))
    if not held or len(set(labels[train])) < 2:
        raise DataError(f"A probe needs two classes in train and labelled images in {on}.")
    groups = table.frame["group"].to_numpy(str)
    both = dict(zip(("train", "held"), (_features(net, table, rows, size, device) for rows in (train, held)),
                    strict=True))

    def scored(name: str, dims: int, probs: np.ndarray, rank: float | None = None, strength: float | None = None
               ) -> Probe:
        found = group_bootstrap(METRICS, labels[held], probs, groups[held], n_resamples=resamples, seed=seed)
        return Probe(features=name, dims=dims, effective_rank=rank, strength=strength, **found)

    probes = []
    for name, x in both["train"].items():
        strength, probs = _fit(x, labels[train], groups[train], both["held"][name], len(table.classes), seed)
        probes.append(scored(name, x.shape[1], probs, effective_rank(x), strength))
    pixels = PixelModel(table, train, seed=seed)
    probes.append(scored("pixels (PCA)", int(pixels.model[0].n_components_), pixels.probabilities(held)))
    return ProbeReport(origin=origin, size=size, split=on, images=len(held), lesions=len(set(groups[held])),
                       probes=tuple(probes))


def effective_rank(x: np.ndarray) -> float:
    """Of features (N, D), standardised: exp of the entropy of the singular values' shares, 1 to min(N, D).

    Features that are constant count for nothing; 0 where all are. Source: Roy and Vetterli 2007, The effective rank.
    """
    centred = x.astype(np.float64) - x.mean(0, dtype=np.float64)
    spread = centred.std(0)
    centred = centred[:, spread > 1e-9 * max(1.0, float(np.abs(x).max(initial=0)))]
    if centred.shape[1] == 0:
        return 0.0
    centred /= centred.std(0)
    values = np.sqrt(np.linalg.eigvalsh(centred.T @ centred).clip(0))  # D x D: cheaper than singular values of N x D
    shares = values[values > 0] / values.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def _fit(x: np.ndarray, y: np.ndarray, groups: np.ndarray, held: np.ndarray, classes: int, seed: int
         ) -> tuple[float, np.ndarray]:
    """The strength, and probabilities (N, classes) of the held-out rows; 0 for classes train lacks."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=FEW, max_iter=1000, class_weight="balanced"))
    if min(len(set(groups[y == k])) for k in set(y)) >= 2 * FOLDS:
        folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
        search = GridSearchCV(model, {"logisticregression__C": STRENGTHS}, scoring="balanced_accuracy", cv=folds)
        model = search.fit(x, y, groups=groups).best_estimator_
    else:  # too few lesions of a class to choose by
        model.fit(x, y)
    probs = np.zeros((len(held), classes))
    probs[:, model[-1].classes_] = model.predict_proba(held)
    return float(model[-1].C), probs


@torch.inference_mode()
def _features(net: Encoder | VAE, table: LesionTable, rows: Sequence[int], size: int, device: DeviceName
              ) -> dict[str, np.ndarray]:
    """Arrays (N, D) float32 by name."""
    where = resolve_device(device)
    net.eval().to(where).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    store = PixelStore(table, rows, InputSpec(size=size))
    found: dict[str, list[Tensor]] = {}
    for batch in tqdm(torch.arange(len(rows)).split(BATCH), desc="features", leave=False, disable=None):
        x = to_float(store.batch(batch).to(where)).contiguous(memory_format=torch.channels_last)
        for name, values in _representations(net, x):
            found.setdefault(name, []).append(values.float().cpu())
    return {name: torch.cat(parts).numpy() for name, parts in found.items()}


def _representations(net: Encoder | VAE, x: Tensor) -> Iterator[tuple[str, Tensor]]:
    encoder = net.encoder if isinstance(net, VAE) else net
    fmap = encoder.trunk(x, 0)
    for number, stage in enumerate(encoder.stages, start=1):
        fmap = stage(fmap)
        yield f"stage {number}", fmap.mean((2, 3))
    if len(encoder.stages) == STAGES:
        yield "pooled", encoder.pool(fmap)
    if isinstance(net, VAE):
        yield "mu", net.posterior_of(fmap).mu


def as_text(report: ProbeReport) -> str:
    """The report as a table of fixed width."""
    lines = [report.origin,
             f"{report.size} px, {report.split}: {report.images} images of {report.lesions} lesions", "",
             f"{'features':<14}{'dims':>6}{'rank':>7}{'C':>9}   {'balanced accuracy':<26}macro AUC"]
    for p in report.probes:
        strength = "" if p.strength is None else f"{p.strength:g}"
        rank = "" if p.effective_rank is None else f"{p.effective_rank:.1f}"
        lines.append(f"{p.features:<14}{p.dims:>6}{rank:>7}{strength:>9}   {with_interval(p.balanced_accuracy):<26}"
                     f"{with_interval(p.macro_auc)}")
    return "\n".join(lines)
