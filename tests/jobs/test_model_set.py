"""A folder is one whole set of models made for each other, or it is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from dermdemo.errors import CheckpointError, NotFittedError
from dermdemo.jobs.model_set import inspect_set, set_hash


def test_a_whole_set_is_described(shipped: Path) -> None:
    found = inspect_set(shipped)
    assert set(found.models) == {"vae", "vae arm", "imagenet arm", "atlas"}
    assert {"vae/meta.json", "vae/trunk.safetensors", "atlas/arrays.safetensors"} <= set(found.files)
    assert len(found.classes) == 7
    assert found.sha256 == set_hash(dict(reversed(found.files.items())))


@pytest.mark.parametrize("name", ["vae/trunk.safetensors", "vae-arm/head.safetensors", "atlas/arrays.safetensors",
                                  "atlas/lesions.parquet"])  # fmt: skip
@pytest.mark.parametrize("damage", ["changed", "missing", "cut"])
def test_a_damaged_part_is_refused(shipped: Path, name: str, damage: str) -> None:
    path = shipped / name
    data = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(data[:-1] if damage == "cut" else data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(CheckpointError, match=r"changed|missing"):
        inspect_set(shipped)


@pytest.mark.parametrize("part", ["vae", "vae-arm", "imagenet-arm", "atlas"])
def test_a_part_of_another_set_is_refused(shipped: Path, make_set: Callable[[int], Path], part: str) -> None:
    shutil.rmtree(shipped / part)
    shutil.copytree(make_set(50) / part, shipped / part)
    with pytest.raises(CheckpointError, match=r"not mixed|not beside it"):
        inspect_set(shipped)


@pytest.mark.parametrize("part", ["vae", "vae-arm", "imagenet-arm", "atlas"])
def test_a_missing_model_is_refused(shipped: Path, part: str) -> None:
    shutil.rmtree(shipped / part)
    with pytest.raises(CheckpointError):
        inspect_set(shipped)


def _edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_an_untrained_head_is_refused(shipped: Path) -> None:
    _edit(shipped / "vae-arm" / "meta.json", head_trained=False)
    with pytest.raises(NotFittedError, match="never been trained"):
        inspect_set(shipped)


def test_arms_with_different_classes_are_refused(shipped: Path) -> None:
    meta = json.loads((shipped / "vae-arm" / "meta.json").read_text())
    _edit(shipped / "vae-arm" / "meta.json", classes=meta["classes"][::-1])
    with pytest.raises(CheckpointError, match="same classes"):
        inspect_set(shipped)


def test_a_link_is_refused(shipped: Path, tmp_path: Path) -> None:
    path = shipped / "vae" / "trunk.safetensors"
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match="is a link"):
        inspect_set(shipped)


def test_nothing_is_no_set(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no set of models"):
        inspect_set(tmp_path / "nothing")
