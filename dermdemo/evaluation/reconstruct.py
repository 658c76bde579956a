"""How well a VAE reconstructs lesions it has not seen: against PCA of the pixels, and well enough to be told apart.

Three questions, on images none of which the model or the baseline was fitted to. How near is decode(mu) to its
original (PSNR, SSIM), beside the best linear code of as many numbers: PCA fitted to the same training images?
Among lesions of one class, is a reconstruction nearest to its own original? And does the latent code carry
information at all (KL, active units: Burda et al. 2016, 1509.00519)?
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure
from tqdm import tqdm

from dermdemo.config import DeviceName
from dermdemo.data.loader import PixelStore, to_float
from dermdemo.data.sources import LesionTable, load_source
from dermdemo.errors import DataError
from dermdemo.evaluation.assess import split_for
from dermdemo.evaluation.intervals import ONE_LESION, Interval
from dermdemo.evaluation.predict import count_reading
from dermdemo.evaluation.report_text import with_interval
from dermdemo.evaluation.resampling import CHUNK_ELEMENTS, draw_counts
from dermdemo.models.card import write_card
from dermdemo.models.checkpoint import Loaded, load_vae, rewrite_meta
from dermdemo.models.stored_figures import Figure, Identified, StoredReconstruction
from dermdemo.runtime import resolve_device
from dermdemo.types import InputSpec

BATCH = 64
CANDIDATES = 100  # lesions of one class among which a reconstruction is looked for
MIN_CANDIDATES = 10
ACTIVE_VARIANCE = 0.01
MAX_FIT_VALUES = 400_000_000  # numbers that PCA is fitted to: 1.6 GB; more training images are drawn from


@dataclass(frozen=True, kw_only=True)
class Fidelity:
    """How near reconstructions are to their originals: means over images, 95 % intervals over lesions."""

    psnr: Interval
    ssim: Interval


@dataclass(frozen=True, kw_only=True)
class Identification:
    """Among `n` lesions of a class, one image each: share of reconstructions nearest (MSE) to their own original."""

    label: str
    n: int
    vae: float
    pca: float


@dataclass(frozen=True, kw_only=True)
class ReconstructionReport:
    """Reconstruction of one split.

    Attributes:
        components: numbers that an image has in the PCA; `fitted` is the training images it was fitted to.
        difference: VAE minus PCA, paired by image.
        kl: nats per image, mean; `active_units` are coordinates of mu with a variance above 0.01.
        readings: how often test has been read for this model (0: another split).
    """

    name: str
    sha256: str
    source: str
    split: str
    size: int
    n_images: int
    n_lesions: int
    latent: int
    components: int
    fitted: int
    vae: Fidelity
    pca: Fidelity
    difference: Fidelity
    identification: tuple[Identification, ...]
    kl: float
    active_units: int
    readings: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON holds them."""
        return asdict(self)


@dataclass(frozen=True)
class _Codes:
    """What a model makes of M images: reconstructions (M, 3, S, S) uint8 and the figures of each, (M,)."""

    images: np.ndarray
    psnr: np.ndarray
    ssim: np.ndarray


def reconstruct(checkpoint: Path, source: str, *, split_name: str = "test", device: DeviceName = "auto",
                n_resamples: int = 1000, seed: int = 0) -> ReconstructionReport:
    """Reconstruct one split of the data a VAE or autoencoder was trained on.

    Raises:
        DataError: nothing to reconstruct, or a source that does not split as the model's own.
        CheckpointError: no such model.
    """
    model = load_vae(checkpoint)
    table = load_source(source)
    split = split_for(model, table, external=False)
    rows = split.rows(split_name)
    if not rows:
        raise DataError(f"'{table.name}' has no images in '{split_name}'.")
    readings = count_reading(model.meta.sha256, split.hash, "test") if split_name == "test" else 0
    spec = model.meta.input
    originals = PixelStore(table, rows, spec, progress=True)
    vae, mu, kl = _by_vae(model, originals, len(rows), device)
    latent, train = int(model.meta.latent or 0), np.array(split.rows("train"))
    pca, components, fitted = _by_pca(table, train, originals, len(rows), spec, latent, seed)
    groups = table.frame["group"].to_numpy(str)[rows]

    def fidelity(psnr: np.ndarray, ssim: np.ndarray) -> Fidelity:
        values = mean_intervals(np.stack([psnr, ssim]), groups, n_resamples=n_resamples, seed=seed)
        return Fidelity(psnr=values[0], ssim=values[1])

    return ReconstructionReport(
        name=checkpoint.name, sha256=model.meta.sha256, source=table.name, split=split_name, size=spec.size,
        n_images=len(rows), n_lesions=len(set(groups)), latent=latent, components=components,
        fitted=fitted, vae=fidelity(vae.psnr, vae.ssim), pca=fidelity(pca.psnr, pca.ssim),
        difference=fidelity(vae.psnr - pca.psnr, vae.ssim - pca.ssim),
        identification=_identification(table.frame["label"].to_numpy(str)[rows], groups, originals, vae, pca, seed),
        kl=float(kl.mean()), active_units=int((mu.var(0) > ACTIVE_VARIANCE).sum()), readings=readings)


def _batches(store: PixelStore, n: int, what: str) -> Iterator[tuple[slice, Tensor]]:
    """Images in [0, 1], (B, 3, S, S) float32, and where they belong."""
    for batch in tqdm(torch.arange(n).split(BATCH), desc=what, leave=False, disable=None):
        yield slice(int(batch[0]), int(batch[-1]) + 1), to_float(store.batch(batch))


def _measure(found: _Codes, where: slice, x: Tensor, x_hat: Tensor) -> None:
    """Round reconstructions to 8 bits, as they are shown, and note them and their figures."""
    levels = x_hat.clamp(0, 1).mul(255).round()
    x_hat = levels / 255
    mse = (x - x_hat).square().mean((1, 2, 3)).clamp_min(1e-10)
    found.images[where] = levels.byte().numpy()
    found.psnr[where] = (-10 * torch.log10(mse)).numpy()
    found.ssim[where] = structural_similarity_index_measure(x_hat, x, data_range=1.0, reduction="none").numpy()


def _empty(n: int, size: int) -> _Codes:
    return _Codes(np.empty((n, 3, size, size), np.uint8), np.empty(n), np.empty(n))


@torch.inference_mode()
def _by_vae(model: Loaded, store: PixelStore, n: int, device: DeviceName) -> tuple[_Codes, np.ndarray, np.ndarray]:
    """decode(mu), mu (n, D) and the KL (n,) in nats."""
    where = resolve_device(device)
    vae = model.module.eval().to(where, memory_format=torch.channels_last)
    found, size = _empty(n, model.meta.input.size), model.meta.input.size
    mus, kls = [], []
    for rows, x in _batches(store, n, "VAE"):
        q = vae.posterior_of(vae.encoder.top(vae.encoder.trunk(x.to(where).contiguous(
            memory_format=torch.channels_last))))
        _measure(found, rows, x, vae.decode(q.mu, size).float().cpu().contiguous())
        mu, logvar = q.mu.float().cpu(), q.logvar.float().cpu()
        mus.append(mu)
        kls.append(0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(1))
    return found, torch.cat(mus).numpy(), torch.cat(kls).numpy()


def _by_pca(table: LesionTable, train: np.ndarray, store: PixelStore, n: int, spec: InputSpec, latent: int, seed: int
            ) -> tuple[_Codes, int, int]:
    """Reconstructions by PCA of as many components as the latent has, components kept, and images fitted to.

    Raises:
        DataError: fewer than two training images.
    """
    size = spec.size
    limit = max(2, MAX_FIT_VALUES // (3 * size * size))
    if len(train) > limit:
        train = np.sort(np.random.default_rng(seed).choice(train, limit, replace=False))
    if len(train) < 2:
        raise DataError("PCA needs at least two training images.")
    fit = PixelStore(table, train.tolist(), spec, progress=True)
    x = np.empty((len(train), 3 * size * size), np.float32)
    for where, batch in _batches(fit, len(train), "pixels"):
        x[where] = batch.numpy().reshape(len(batch), -1)
    pca = PCA(min(latent, len(train) - 1), svd_solver="randomized", random_state=seed).fit(x)
    del x
    found = _empty(n, size)
    for where, batch in _batches(store, n, "PCA"):
        made = pca.inverse_transform(pca.transform(batch.numpy().reshape(len(batch), -1)))
        _measure(found, where, batch, torch.from_numpy(made.astype(np.float32)).reshape(batch.shape))
    return found, int(pca.n_components_), len(train)


def _identification(labels: np.ndarray, groups: np.ndarray, store: PixelStore, vae: _Codes, pca: _Codes, seed: int
                    ) -> tuple[Identification, ...]:
    """Per class, the rarest last; classes with fewer than `MIN_CANDIDATES` lesions are left out."""
    rng = np.random.default_rng(seed)
    found = []
    for label in sorted(set(labels) - {""}):
        first = np.unique(groups[labels == label], return_index=True)[1]
        rows = np.flatnonzero(labels == label)[first]
        rows = np.sort(rng.permutation(rows)[:CANDIDATES])
        if len(rows) < MIN_CANDIDATES:
            continue
        originals = store.batch(torch.from_numpy(rows)).numpy()
        own = [identified(originals, made.images[rows]) for made in (vae, pca)]
        found.append(Identification(label=label, n=len(rows), vae=own[0], pca=own[1]))
    return tuple(sorted(found, key=lambda i: (-i.n, i.label)))


def identified(originals: np.ndarray, made: np.ndarray) -> float:
    """Share of (n, ...) reconstructions nearest, in mean squared error, to the original of the same place."""
    flat = [v.reshape(len(v), -1).astype(np.float32) for v in (made, originals)]
    nearest = cdist(*flat, metric="sqeuclidean").argmin(1)
    return float((nearest == np.arange(len(made))).mean())


def mean_intervals(values: np.ndarray, groups: np.ndarray, *, n_resamples: int = 1000, seed: int = 0,
                   level: float = 0.95) -> list[Interval]:
    """Means of (F, N) values of images with percentile intervals, whole groups (N,) drawn with replacement."""
    names, group = np.unique(groups, return_inverse=True)
    sums = np.stack([np.bincount(group, weights=v, minlength=len(names)) for v in values])  # (F, G)
    sizes = np.bincount(group, minlength=len(names))
    means = values.mean(1)
    if len(names) < 2:
        return [Interval(estimate=float(m), low=None, high=None, n_resamples=n_resamples, level=level,
                         note=ONE_LESION) for m in means]
    rng, drawn = np.random.default_rng([seed, 0]), []
    step = max(1, CHUNK_ELEMENTS // len(names))
    for start in range(0, n_resamples, step):
        counts = draw_counts(rng, min(step, n_resamples - start), len(names))  # (b, G)
        drawn.append(sums @ counts.T / (counts @ sizes))
    tail = (1 - level) / 2
    low, high = np.quantile(np.concatenate(drawn, axis=1), [tail, 1 - tail], axis=1)
    return [Interval(estimate=float(m), low=float(a), high=float(b), n_resamples=n_resamples, level=level)
            for m, a, b in zip(means, low, high, strict=True)]


def as_text(report: ReconstructionReport) -> str:
    """The report as a table of fixed width."""
    fitted = ["both codes were fitted to these images: nothing is said of other lesions"]
    lines = [f"{report.name} on {report.source} / {report.split}", *(fitted if report.split == "train" else []),
             f"weights {report.sha256[:12]}  {report.size} px  "
             f"{report.n_images} images of {report.n_lesions} lesions",
             f"KL {report.kl:.1f} nats per image, {report.active_units} of {report.latent} units active", "",
             f"{'':<24}{'PSNR in dB':<28}SSIM"]
    named = ((f"VAE, {report.latent} numbers", report.vae), (f"PCA, {report.components} numbers", report.pca),
             ("VAE minus PCA", report.difference))
    lines += [f"{name:<24}{with_interval(f.psnr):<28}{with_interval(f.ssim)}" for name, f in named]
    lines += ["", "reconstructions nearest to their own original, among lesions of the same class:",
              f"{'class':<12}{'lesions':>8}{'VAE':>8}{'PCA':>8}"]
    lines += [f"{i.label:<12}{i.n:>8}{i.vae:>8.2f}{i.pca:>8.2f}" for i in report.identification]
    return "\n".join(lines)


def store_reconstruction(checkpoint: Path, report: ReconstructionReport) -> None:
    """Put the figures into meta.json and rewrite the card."""
    meta = load_vae(checkpoint).meta

    def figures(found: Fidelity) -> dict[str, Figure]:
        return {name: Figure(estimate=i.estimate, low=i.low, high=i.high)
                for name, i in (("psnr", found.psnr), ("ssim", found.ssim))}

    stored = StoredReconstruction(
        split=report.split, n_images=report.n_images, n_lesions=report.n_lesions, readings=report.readings,
        components=report.components, fitted=report.fitted, kl=report.kl, active_units=report.active_units,
        vae=figures(report.vae), pca=figures(report.pca), difference=figures(report.difference),
        identification=tuple(Identified(label=i.label, n=i.n, vae=i.vae, pca=i.pca) for i in report.identification))
    meta = dataclasses.replace(meta, metrics={**meta.metrics, "reconstruction": stored.to_dict()})
    rewrite_meta(checkpoint, meta)
    write_card(checkpoint, meta)
