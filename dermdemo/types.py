"""Values that cross layers: numpy, PIL and plain Python only, never tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image

AgreementLevel = Literal["agree", "disagree", "disagree-on-malignancy"]
NoveltyLevel = Literal["typical", "unusual", "far"]


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """How a checkpoint wants its images: bound to the weights, stored in meta.json.

    Attributes:
        size: side of the square input in pixels; a multiple of 32.
        crop: ``center`` (short side resized to `size`, centre cut out) or ``squash``.
        mean, std: per-channel normalisation, applied inside the model to RGB in [0, 1].
    """

    size: int
    crop: Literal["center", "squash"] = "center"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What one arm says of one image.

    Attributes:
        arm: arm name, for example ``vae``.
        checkpoint: name of the checkpoint folder; `sha256` identifies its weights.
        origin: where the encoder's weights came from, in words.
        probabilities: class key -> calibrated probability; sums to 1.
        raw_probabilities: the same before temperature scaling.
        malignant: sum of the probabilities of the malignant classes, or None if the model has none.
        prediction_set: classes of the conformal set (empty when none is stored).
    """

    arm: str
    checkpoint: str
    sha256: str
    origin: str
    probabilities: Mapping[str, float]
    raw_probabilities: Mapping[str, float]
    temperature: float
    malignant: float | None
    prediction_set: tuple[str, ...] = ()

    @property
    def top(self) -> str:
        """Key of the most probable class."""
        return max(self.probabilities, key=lambda k: self.probabilities[k])


@dataclass(frozen=True, kw_only=True)
class Attribution:
    """A Grad-CAM map: where the arm looked for `target`.

    Attributes:
        heat: (size, size) float32 in [0, 1], ReLU'd, divided by its own maximum (all zero if flat).
        grid: (rows, columns) of the layer before upsampling; how coarse the map really is.
        peak: the maximum before division, comparable between arms only with care.
    """

    arm: str
    target: str
    layer: str
    heat: np.ndarray
    grid: tuple[int, int]
    peak: float


@dataclass(frozen=True, kw_only=True)
class Reconstruction:
    """The VAE's decode(mu) and how far it is from the input.

    Attributes:
        original: (size, size, 3) uint8, the image as the VAE saw it.
        image: (size, size, 3) uint8, decode(mu).
        error: (size, size) float32, mean absolute error over channels, in [0, 1].
        mse: mean squared error over pixels and channels, RGB in [0, 1].
        psnr: in dB.
        ssim: structural similarity in [-1, 1].
    """

    original: np.ndarray
    image: np.ndarray
    error: np.ndarray
    mse: float
    psnr: float
    ssim: float


@dataclass(frozen=True, kw_only=True)
class Novelty:
    """How unusual an image is for the data the VAE was fitted to (two-sided).

    Attributes:
        score: in [0, 1]; share of reference lesions that are less unusual than this image.
        level: ``typical`` (< 0.95), ``unusual`` (< 0.99) or ``far``.
        distance: mean latent distance to the k nearest training lesions.
        distance_quantile: share of the reference with a smaller distance.
        error_quantile: share of the reference with a smaller reconstruction error; both tails count.
        detail_quantile: share of the reference whose input has less fine structure; both tails count, and
            blank, smooth and blurred pictures lie near 0. None where the atlas does not hold it.
        feature_quantile: share of the reference whose features, in the encoder that the atlas names, are nearer
            to the training lesions'; None where the atlas does not hold them.
        reference: what the reference is, for example ``calib lesions of HAM10000 (n = 1002)``.
    """

    score: float
    level: NoveltyLevel
    distance: float
    distance_quantile: float
    error_quantile: float
    reference: str
    detail_quantile: float | None = None
    feature_quantile: float | None = None


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """A known lesion near the image in latent space (never in 2-D)."""

    image_id: str
    group: str
    label: str
    split: str
    distance: float
    index: int
    metadata: Mapping[str, str | float | None] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class LatentDimension:
    """One coordinate of the latent space and the range in which the known lesions use it.

    Attributes:
        index: its place in `Analysis.mu`.
        spread: standard deviation of the posterior mean over the atlas' training images.
        low, high: its 1 % and 99 % quantiles over them.
    """

    index: int
    spread: float
    low: float
    high: float


class KnownPredictions(NamedTuple):
    """What one arm says of every row of the atlas: its first class, and that class's calibrated probability (N,)."""

    labels: tuple[str, ...]
    confidence: np.ndarray


@dataclass(frozen=True, kw_only=True)
class MapPosition:
    """Place on the 2-D map, from the nearest training lesions in latent space."""

    x: float
    y: float


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Wall time in milliseconds of the parts of one analysis."""

    decode: float
    forward: float
    attribution: float
    latent: float

    @property
    def total(self) -> float:
        return self.decode + self.forward + self.attribution + self.latent


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """Everything the product says of one image.

    Attributes:
        source_size: (width, height) of the image in pixels, upright.
        inputs: per arm the image exactly as its model saw it, (size, size, 3) uint8.
        mu: posterior mean, (D,) float32; `logvar` the log of the variance, the same shape.
        novelty, position: None where there is no atlas; `notes` says so.
        models: checkpoint folder name -> SHA-256 of everything that took part, the atlas included.
        notes: sentences on what is missing or to be read with care.
    """

    name: str
    source_size: tuple[int, int]
    inputs: Mapping[str, np.ndarray]
    arms: Mapping[str, Prediction]
    attributions: Mapping[str, Attribution]
    agreement: AgreementLevel
    reconstruction: Reconstruction
    mu: np.ndarray
    logvar: np.ndarray
    novelty: Novelty | None
    position: MapPosition | None
    neighbours: tuple[Neighbour, ...]
    models: Mapping[str, str]
    device: str
    timing: Timing
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Failure:
    """One image of many that could not be analysed."""

    name: str
    message: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class DecodedImage:
    """Pixels and nothing else: RGB, upright, no metadata.

    Attributes:
        pixels: RGB PIL image rebuilt from an array; carries no info dictionary.
        format: container format that was recognised, such as ``JPEG``.
        original_size: (width, height) before any down-scaling, after orientation.
    """

    pixels: Image.Image
    format: str
    original_size: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Speed:
    """How fast and in how much memory one stage runs at one size; seconds and bytes.

    Attributes:
        train: an image through a training step. `evaluate`: through evaluation. `frozen`: through the part of
            Stage II that is computed once. `save`: a training checkpoint.
        idle: memory with the model and its optimiser; `gpu_idle` on the GPU, 0 without.
        active, gpu_active: memory of a step per image and pixel. `kept`: of the frozen part's output per image.
        parameters, trained: numbers.
    """

    stage: str
    size: int
    batch: int
    train: float
    evaluate: float
    frozen: float
    save: float
    idle: int
    active: float
    kept: int
    gpu_idle: int
    gpu_active: float
    parameters: int
    trained: int


@dataclass(frozen=True, kw_only=True)
class SpeedReport:
    """What was measured of the steps of a job, on some images of a data set.

    Attributes:
        start: seconds from the start of the process to the first image. `table`: to read the table of images.
        decode: seconds to decode and fingerprint an image.
        compare: seconds to compare two fingerprints. `images`: how many images all of it was measured on.
        share: of the processors that other programs left, in (0, 1].
    """

    start: float
    table: float
    decode: float
    compare: float
    images: int
    share: float
    speeds: tuple[Speed, ...]
