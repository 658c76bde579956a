"""The atlas on disk: arrays, features, lesions.parquet and meta.json; hashed, written whole, read strictly.

Nothing is unpickled, ever. The atlas holds no pictures.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as dump_arrays

from dermdemo.analysis.novelty import FeatureGaussian
from dermdemo.errors import CheckpointError, DataError
from dermdemo.evaluation.records import decode, encode

SCHEMA_VERSION = 1
META_FILE = "meta.json"
ARRAYS_FILE = "arrays.safetensors"
FEATURES_FILE = "features.safetensors"
LESIONS_FILE = "lesions.parquet"
BASE_COLUMNS = ("image_id", "group", "label", "split")

Columns = Mapping[str, Sequence[Any]]


@dataclass(frozen=True, kw_only=True)
class AtlasArm:
    """The classifier whose logits and features the atlas holds; `classes` is the order of the logits."""

    checkpoint: str
    sha256: str
    classes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class FeatureSource:
    """The trunk whose features novelty is judged by, and the input it takes."""

    arm: str
    trunk_sha256: str
    size: int
    crop: str


@dataclass(frozen=True, kw_only=True)
class MapParameters:
    """How the map was fitted: umap-learn's parameters and version."""

    n_neighbors: int
    min_dist: float
    metric: str
    seed: int
    version: str


@dataclass(frozen=True, kw_only=True)
class KnnFigures:
    """k-nearest-neighbour classification of one split by the training images, in the space that is named.

    `majority` is the accuracy of always answering the most frequent class: what nothing learned scores.
    """

    space: str
    split: str
    k: int
    n_images: int
    accuracy: float
    balanced_accuracy: float
    majority: float


@dataclass(frozen=True, kw_only=True)
class MapQuality:
    """What the map is worth.

    Attributes:
        trustworthiness: share of map neighbours, in [0, 1], that are neighbours in the latent space too,
            weighted by rank (Venna and Kaski 2001), over `trustworthiness_n` training images and
            `trustworthiness_k` neighbours.
        knn: in the latent space and, beside it, on the map; empty where no validation image has a label.
        placement_median, placement_p95: distance in map units between our placement of the images that
            are not in train and umap-learn's own transform of them; None where there are none.
        spread: median distance between two training images on the map, to read the former against.
    """

    trustworthiness: float
    trustworthiness_k: int
    trustworthiness_n: int
    knn: tuple[KnnFigures, ...]
    placement_median: float | None
    placement_p95: float | None
    placement_n: int
    spread: float


@dataclass(frozen=True, kw_only=True)
class AtlasMeta:
    """Content of the atlas' meta.json.

    Attributes:
        vae: folder of the VAE; its weights are `vae_sha256`, its input `size` and `crop`.
        arms: arm name -> the classifier whose outputs are stored.
        source, source_hash: name and content hash of the lesion table.
        images, lesions: counts per split.
        features: what the feature distances were made with; None where there are none.
        files: file name -> SHA-256.
    """

    vae: str
    vae_sha256: str
    size: int
    crop: str
    latent: int
    arms: Mapping[str, AtlasArm]
    source: str
    source_hash: str
    split_hash: str
    split_seed: int
    images: Mapping[str, int]
    lesions: Mapping[str, int]
    map: MapParameters
    quality: MapQuality
    licence: str
    attribution: str
    features: FeatureSource | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    @property
    def sha256(self) -> str:
        """One hash for the whole atlas: over its files."""
        lines = [f"{name}={sha}" for name, sha in self.files.items()]
        return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


@dataclass(frozen=True)
class AtlasFeatures:
    """What novelty judges features by: a Gaussian of the training images', and each row's distance from it, (N,)."""

    gaussian: FeatureGaussian
    distance: np.ndarray


def write_atlas(folder: Path, meta: AtlasMeta, arrays: Mapping[str, np.ndarray], columns: Columns,
                features: AtlasFeatures | None = None) -> AtlasMeta:
    """Write an atlas folder in one step (a reader sees the old one, or the new one, whole).

    Args:
        features: None where `meta.features` is.

    Returns:
        `meta` with the hashes of the files written.

    Raises:
        DataError: arrays or columns are of unequal length, or a base column is missing.
    """
    _check_lengths(arrays, columns, features)
    if (features is None) != (meta.features is None):
        raise DataError("Feature distances and what they were made with go together.")
    blobs = {ARRAYS_FILE: _dump_arrays(arrays), LESIONS_FILE: _dump_columns(columns)}
    if features is not None:
        blobs[FEATURES_FILE] = _dump_arrays({"mean": features.gaussian.mean, "distance": features.distance,
                                             "projection": features.gaussian.projection})
    meta = dataclasses.replace(meta, files={name: hashlib.sha256(blob).hexdigest() for name, blob in blobs.items()})
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        for name, blob in blobs.items():
            (staging / name).write_bytes(blob)
        (staging / META_FILE).write_text(json.dumps(encode(meta), indent=2, allow_nan=False) + "\n")
        _swap(staging, folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return meta


def _swap(staging: Path, folder: Path) -> None:
    staging.chmod(0o755)
    old = folder.with_name(f".{folder.name}.old.{os.getpid()}")
    if folder.exists():
        os.replace(folder, old)
    os.replace(staging, folder)
    shutil.rmtree(old, ignore_errors=True)


def read_meta(folder: Path) -> AtlasMeta:
    """meta.json of an atlas folder. Raises CheckpointError if there is none or it is malformed."""
    path = folder / META_FILE
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        version = values.get("schema_version")
        if version != SCHEMA_VERSION:
            raise CheckpointError(f"{path} has schema version {version}; this dermdemo reads version "
                                  f"{SCHEMA_VERSION}. Build the atlas again: `python -m dermdemo embed`.")
        return decode(AtlasMeta, values)
    except (OSError, ValueError, AttributeError, DataError) as error:
        raise CheckpointError(f"'{folder}' is not an atlas: {META_FILE} cannot be read ({error}). Build it with "
                              "`python -m dermdemo embed`.") from error


@dataclass(frozen=True)
class AtlasFiles:
    """Everything an atlas holds but its metadata."""

    arrays: dict[str, np.ndarray]
    columns: dict[str, list[Any]]
    features: AtlasFeatures | None


def read_files(folder: Path, meta: AtlasMeta) -> AtlasFiles:
    """What the folder holds, after checking the SHA-256 of each file.

    Raises:
        CheckpointError: missing, changed since they were written, or malformed.
    """
    arrays_blob, lesions_blob = (_verified(folder, name, meta) for name in (ARRAYS_FILE, LESIONS_FILE))
    features_blob = None if meta.features is None else _verified(folder, FEATURES_FILE, meta)
    try:
        arrays, columns = load_arrays(arrays_blob), _load_columns(lesions_blob)
        features = None if features_blob is None else _load_features(features_blob)
        _check_lengths(arrays, columns, features)
    except (SafetensorError, ValueError, OSError, DataError) as error:
        raise CheckpointError(f"The atlas in '{folder}' cannot be read: {error}") from error
    return AtlasFiles(arrays, columns, features)


def _verified(folder: Path, name: str, meta: AtlasMeta) -> bytes:
    try:
        blob = (folder / name).read_bytes()
    except OSError as error:
        raise CheckpointError(f"'{folder / name}' is missing: the atlas is incomplete.") from error
    if hashlib.sha256(blob).hexdigest() != meta.files.get(name):
        raise CheckpointError(f"'{folder / name}' has changed since it was written (SHA-256 differs): the atlas is "
                              "not loaded. Restore the file, or build the atlas again.")
    return blob


def _check_lengths(arrays: Mapping[str, np.ndarray], columns: Columns, features: AtlasFeatures | None) -> None:
    missing = [n for n in ("mu", "coordinates", "error", "knn_distance") if n not in arrays]
    missing += [n for n in BASE_COLUMNS if n not in columns]
    if missing:
        raise DataError(f"The atlas lacks {', '.join(missing)}.")
    lengths = {len(v) for v in arrays.values()} | {len(v) for v in columns.values()}
    if features is not None:
        lengths.add(len(features.distance))
        mean, projection = features.gaussian.mean, features.gaussian.projection
        if mean.ndim != 1 or projection.ndim != 2 or len(projection) != len(mean):
            raise DataError(f"The atlas' features have unexpected shapes: {mean.shape}, {projection.shape}.")
    if len(lengths) != 1:
        raise DataError(f"The arrays and columns of the atlas have unequal lengths: {sorted(lengths)}.")


def _dump_arrays(arrays: Mapping[str, np.ndarray]) -> bytes:
    return bytes(dump_arrays({k: np.ascontiguousarray(v) for k, v in arrays.items()}))


def _load_features(blob: bytes) -> AtlasFeatures:
    """Raises DataError where an array is missing."""
    arrays = load_arrays(blob)
    missing = [n for n in ("mean", "projection", "distance") if n not in arrays]
    if missing:
        raise DataError(f"The atlas' features lack {', '.join(missing)}.")
    return AtlasFeatures(FeatureGaussian(arrays["mean"], arrays["projection"]), arrays["distance"])


def _dump_columns(columns: Columns) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    pq.write_table(pa.table({name: pa.array(list(values)) for name, values in columns.items()}), sink,
                   compression="zstd")
    return sink.getvalue()


def _load_columns(blob: bytes) -> dict[str, list[Any]]:
    import pyarrow.parquet as pq

    columns: dict[str, list[Any]] = pq.read_table(io.BytesIO(blob)).to_pydict()
    return columns
