"""The atlas on disk: round trip, and every change to it refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dermdemo.analysis.atlas_files import (
    ARRAYS_FILE,
    FEATURES_FILE,
    LESIONS_FILE,
    META_FILE,
    AtlasFeatures,
    read_files,
    read_meta,
    write_atlas,
)
from dermdemo.analysis.novelty import FeatureGaussian
from dermdemo.errors import CheckpointError, DataError


@pytest.fixture
def folder(store: Path) -> Path:
    return store / "atlas"


def test_round_trip(folder: Path, tmp_path: Path) -> None:
    meta = read_meta(folder)
    files = read_files(folder, meta)
    arrays, columns = files.arrays, files.columns
    again = write_atlas(tmp_path / "copy", meta, arrays, columns, files.features)
    assert read_meta(tmp_path / "copy") == again == meta
    assert again.sha256 == meta.sha256
    other = read_files(tmp_path / "copy", again)
    assert other.columns == columns
    assert set(other.arrays) == set(arrays)
    for name, values in arrays.items():
        np.testing.assert_array_equal(other.arrays[name], values)
    assert files.features is not None and other.features is not None
    np.testing.assert_array_equal(other.features.distance, files.features.distance)
    np.testing.assert_array_equal(other.features.gaussian.projection, files.features.gaussian.projection)


def test_types_on_disk(folder: Path) -> None:
    files = read_files(folder, read_meta(folder))
    arrays, columns = files.arrays, files.columns
    kinds = {name: str(values.dtype) for name, values in arrays.items()}
    assert kinds == {"mu": "float16", "error": "float32", "knn_distance": "float32", "coordinates": "float32",
                     "detail": "float32"} | {
        f"{what}.{arm}": "float16" for what in ("logits", "features") for arm in ("vae", "imagenet")}
    assert {"image_id", "group", "label", "split", "age", "sex"} <= set(columns)
    assert "locator" not in columns  # a path of the machine it was made on


def test_it_replaces_an_older_atlas_whole(folder: Path) -> None:
    meta = read_meta(folder)
    files = read_files(folder, meta)
    (folder / "stray").touch()
    write_atlas(folder, replace(meta, features=None), {k: v[:5] for k, v in files.arrays.items()},
                {k: v[:5] for k, v in files.columns.items()})
    assert {p.name for p in folder.iterdir()} == {ARRAYS_FILE, LESIONS_FILE, META_FILE}
    assert {p.name for p in folder.parent.iterdir()} == {"vae", "vae-arm", "imagenet-arm", "atlas"}
    assert len(read_files(folder, read_meta(folder)).arrays["mu"]) == 5


@pytest.mark.parametrize("name", [ARRAYS_FILE, FEATURES_FILE, LESIONS_FILE])
def test_a_changed_or_missing_file_is_refused(folder: Path, name: str) -> None:
    path = folder / name
    blob = bytearray(path.read_bytes())
    blob[len(blob) // 2] ^= 1
    path.write_bytes(bytes(blob))
    with pytest.raises(CheckpointError, match="has changed since"):
        read_files(folder, read_meta(folder))
    path.unlink()
    with pytest.raises(CheckpointError, match="is missing"):
        read_files(folder, read_meta(folder))


def edit(folder: Path, **changes: Any) -> None:
    values = json.loads((folder / META_FILE).read_text())
    (folder / META_FILE).write_text(json.dumps(values | changes))


@pytest.mark.parametrize("changes", [
    {"schema_version": 2}, {"latent": "eight"}, {"surprise": 1}, {"quality": None}, {"files": ["a"]}])
def test_a_strange_meta_is_refused(folder: Path, changes: dict[str, Any]) -> None:
    edit(folder, **changes)
    with pytest.raises(CheckpointError):
        read_meta(folder)


@pytest.mark.parametrize("text", ["", "[]", "{", "null", "\xff"])
def test_what_is_no_meta_at_all_is_refused(folder: Path, text: str) -> None:
    (folder / META_FILE).write_bytes(text.encode("latin-1"))
    with pytest.raises(CheckpointError):
        read_meta(folder)


def test_arrays_and_columns_must_fit_together(folder: Path, tmp_path: Path) -> None:
    meta = read_meta(folder)
    files = read_files(folder, meta)
    arrays, columns, features = files.arrays, files.columns, files.features
    assert features is not None
    short = AtlasFeatures(features.gaussian, features.distance[1:])
    gaussian = FeatureGaussian(features.gaussian.mean[1:], features.gaussian.projection)
    shorn = AtlasFeatures(gaussian, features.distance)
    with pytest.raises(DataError, match="unequal lengths"):
        write_atlas(tmp_path / "x", meta, arrays, columns | {"label": columns["label"][:-1]}, features)
    with pytest.raises(DataError, match="unequal lengths"):
        write_atlas(tmp_path / "x", meta, arrays, columns, short)
    with pytest.raises(DataError, match="unexpected shapes"):
        write_atlas(tmp_path / "x", meta, arrays, columns, shorn)
    with pytest.raises(DataError, match="go together"):
        write_atlas(tmp_path / "x", meta, arrays, columns)
    del arrays["error"]
    with pytest.raises(DataError, match="lacks error"):
        write_atlas(tmp_path / "x", meta, arrays, columns, features)
    assert not (tmp_path / "x").exists()
