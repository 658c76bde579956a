"""What `evaluate --save` leaves in meta.json of the test split, read back as a typed value.

Checkpoints saved before a figure was stored simply lack it: it is then empty or None here, and whoever
shows the figures leaves it out. What is there but malformed is a CheckpointError.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from dermdemo.errors import CheckpointError
from dermdemo.models.checkpoint import CheckpointMeta


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure with its 95 % interval; None where it is undefined or has no interval."""

    estimate: float | None
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        """``0.742 (0.702 to 0.779)``, a lone figure without an interval, a dash without a figure."""
        if self.estimate is None:
            return "–"
        if self.low is None or self.high is None:
            return f"{self.estimate:.3f}"
        return f"{self.estimate:.3f} ({self.low:.3f} to {self.high:.3f})"


@dataclass(frozen=True, kw_only=True)
class ClassFigures:
    """One class against the rest; `ece` is the calibration error of its own probability."""

    name: str
    n_images: int
    n_lesions: int | None
    sensitivity: Figure
    specificity: Figure
    ece: float | None


@dataclass(frozen=True, kw_only=True)
class OperatingFigures:
    """Malignant against benign at the threshold that reached `target_specificity` on validation."""

    target_specificity: float
    threshold: float
    sensitivity: Figure
    specificity: Figure


@dataclass(frozen=True, kw_only=True)
class ReliabilityPoint:
    """The images of one confidence bin: mean probability of the named class, and how often it was right."""

    confidence: float
    accuracy: float
    n_images: int


@dataclass(frozen=True, kw_only=True)
class StoredFigures:
    """Test figures of one classifier.

    Attributes:
        readings: how often test had been read for this model when they were stored.
        figures: by metric name, for example ``balanced_accuracy``.
        per_class, confusion, operating_points, reliability: empty where they were not stored; rows of
            `confusion` are true classes, columns predicted ones, both in the order of the checkpoint.
        n_malignant, n_benign: images; None where they were not stored.
    """

    n_images: int
    n_lesions: int
    readings: int
    figures: Mapping[str, Figure]
    per_class: tuple[ClassFigures, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()
    operating_points: tuple[OperatingFigures, ...] = ()
    reliability: tuple[ReliabilityPoint, ...] = ()
    n_malignant: int | None = None
    n_benign: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """The value of ``metrics.test`` in meta.json."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class BaselineFigures:
    """The pixel baseline on the same test split; point figures only."""

    description: str
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Identified:
    """Among `n` lesions of a class, the share of reconstructions nearest to their own original."""

    label: str
    n: int
    vae: float
    pca: float


@dataclass(frozen=True, kw_only=True)
class StoredReconstruction:
    """How well a VAE reconstructs a split, beside PCA of the pixels; ``psnr`` (dB) and ``ssim`` by name.

    Attributes:
        components, fitted: of the PCA, and the training images it was fitted to.
        difference: VAE minus PCA.
    """

    split: str
    n_images: int
    n_lesions: int
    readings: int
    components: int
    fitted: int
    kl: float
    active_units: int
    vae: Mapping[str, Figure]
    pca: Mapping[str, Figure]
    difference: Mapping[str, Figure]
    identification: tuple[Identified, ...] = ()

    @property
    def lost(self) -> tuple[str, ...]:
        """Names of the measures by which the VAE is no better than PCA; empty if it wins by both."""
        return tuple(name for name, found in self.difference.items() if (found.estimate or 0.0) <= 0)

    def to_dict(self) -> dict[str, Any]:
        """The value of ``metrics.reconstruction`` in meta.json."""
        return asdict(self)


def read_reconstruction(meta: CheckpointMeta) -> StoredReconstruction | None:
    """Reconstruction figures of a VAE; None if it has not been evaluated with --save. Raises CheckpointError."""
    stored = meta.metrics.get("reconstruction")
    if stored is None:
        return None
    try:
        vae, pca, difference = ({name: _figure(stored[k][name]) for name in ("psnr", "ssim")}
                                for k in ("vae", "pca", "difference"))
        return StoredReconstruction(
            split=str(stored["split"]), n_images=_count(stored["n_images"]), n_lesions=_count(stored["n_lesions"]),
            readings=_count(stored["readings"]), components=_count(stored["components"]),
            fitted=_count(stored["fitted"]), kl=_number(stored["kl"]), active_units=_count(stored["active_units"]),
            vae=vae, pca=pca, difference=difference,
            identification=tuple(Identified(label=str(e["label"]), n=_count(e["n"]), vae=_number(e["vae"]),
                                            pca=_number(e["pca"])) for e in stored["identification"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"The reconstruction figures in meta.json of '{meta.name}' cannot be read ({error}): "
                              "evaluate it again with --save.") from error


def read_test(meta: CheckpointMeta) -> StoredFigures | None:
    """Test figures of a checkpoint; None if it has not been evaluated with --save.

    Raises:
        CheckpointError: what is stored does not have the form of test figures.
    """
    stored = meta.metrics.get("test")
    if stored is None:
        return None
    try:
        found = _figures(stored)
        _check_classes(found, meta.classes)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"The test figures in meta.json of '{meta.name}' cannot be read ({error}): evaluate "
                              "it again with --save.") from error
    return found


def read_baseline(meta: CheckpointMeta) -> BaselineFigures | None:
    """The pixel baseline stored with a checkpoint, None if there is none. Raises CheckpointError."""
    stored = meta.metrics.get("baseline")
    if stored is None:
        return None
    try:
        figures = {k: _number(v) for k, v in stored.items() if k != "description"}
        return BaselineFigures(description=str(stored["description"]), figures=figures)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"The pixel baseline in meta.json of '{meta.name}' cannot be read ({error}): evaluate "
                              "it again with --save.") from error


def _figures(stored: Mapping[str, Any]) -> StoredFigures:
    return StoredFigures(
        n_images=_count(stored["n_images"]), n_lesions=_count(stored["n_lesions"]),
        readings=_count(stored["readings"]),
        figures={name: _figure(entry) for name, entry in stored["figures"].items()},
        per_class=tuple(_class(entry) for entry in stored.get("per_class", ())),
        confusion=tuple(tuple(_count(n) for n in row) for row in stored.get("confusion", ())),
        operating_points=tuple(_operating(entry) for entry in stored.get("operating_points", ())),
        reliability=tuple(_reliability(entry) for entry in stored.get("reliability", ())),
        n_malignant=_optional(stored.get("n_malignant")), n_benign=_optional(stored.get("n_benign")),
    )


def _check_classes(found: StoredFigures, classes: tuple[str, ...]) -> None:
    """Raise ValueError unless per-class figures and confusion are those of the checkpoint's classes."""
    if found.per_class and tuple(c.name for c in found.per_class) != classes:
        raise ValueError("classes differ from those of the model")
    if found.confusion and {len(found.confusion), *map(len, found.confusion)} != {len(classes)}:
        raise ValueError("the confusion matrix does not fit the classes")


def _class(entry: Mapping[str, Any]) -> ClassFigures:
    return ClassFigures(name=str(entry["name"]), n_images=_count(entry["n_images"]),
                        n_lesions=_optional(entry.get("n_lesions")), sensitivity=_figure(entry["sensitivity"]),
                        specificity=_figure(entry["specificity"]),
                        ece=None if entry.get("ece") is None else _number(entry["ece"]))


def _operating(entry: Mapping[str, Any]) -> OperatingFigures:
    return OperatingFigures(target_specificity=_number(entry["target_specificity"]),
                            threshold=_number(entry["threshold"]), sensitivity=_figure(entry["sensitivity"]),
                            specificity=_figure(entry["specificity"]))


def _reliability(entry: Mapping[str, Any]) -> ReliabilityPoint:
    return ReliabilityPoint(confidence=_number(entry["confidence"]), accuracy=_number(entry["accuracy"]),
                            n_images=_count(entry["n_images"]))


def _figure(entry: Mapping[str, Any]) -> Figure:
    values = {k: None if entry.get(k) is None else _number(entry[k]) for k in ("estimate", "low", "high")}
    return Figure(**values)


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is not a number")
    return float(value)


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{value!r} is not a count")
    return value


def _optional(value: object) -> int | None:
    return None if value is None else _count(value)
