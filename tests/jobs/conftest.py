"""Whole sets of tiny models, made once for the tests of this folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from dermdemo.data.sources import load_source
from dermdemo.data.splits import make_split
from dermdemo.data.synthetic import write_synthetic
from dermdemo.jobs.registry import Registry
from tests.analysis.conftest import Lesions, _store, add_atlas


@pytest.fixture(scope="session")
def lesion_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ninety synthetic lesions: the data of the live models."""
    return write_synthetic(tmp_path_factory.mktemp("data") / "lesions", n_lesions=90, seed=3)


@pytest.fixture(scope="session")
def make_set(tmp_path_factory: pytest.TempPathFactory, lesion_folder: Path) -> Callable[[int], Path]:
    """Writes VAE, arms and atlas of a seed, once each; not to be changed."""
    table = load_source(lesion_folder)
    lesions = Lesions(table, make_split(table, seed=0))
    made: dict[int, Path] = {}

    def make(seed: int) -> Path:
        if seed not in made:
            made[seed] = _store(tmp_path_factory.mktemp("set") / "set", seed=seed, split_hash=lesions.split.hash)
            add_atlas(made[seed], lesions)
        return made[seed]

    return make


@pytest.fixture
def shipped(make_set: Callable[[int], Path], tmp_path: Path) -> Path:
    """A copy of the shipped set that a test may change."""
    return Path(shutil.copytree(make_set(0), tmp_path / "shipped"))


@pytest.fixture
def versions(shipped: Path, tmp_path: Path) -> Registry:
    return Registry(tmp_path / "home", shipped)
