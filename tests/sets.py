"""Tiny checkpoints, lesions, atlases and whole sets of models, each made once for all tests."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from dermdemo.analysis import embed
from dermdemo.analysis.analyser import Analyser
from dermdemo.analysis.atlas_files import AtlasMeta, MapParameters
from dermdemo.data.sources import LesionTable, load_source
from dermdemo.data.splits import Split, make_split
from dermdemo.data.synthetic import synthetic_lesion, write_synthetic
from dermdemo.diagnoses import HAM10000_CLASSES
from dermdemo.evaluation.conformal import ConformalThresholds
from dermdemo.evaluation.records import encode
from dermdemo.jobs.registry import Registry
from dermdemo.models.checkpoint import CheckpointMeta, classifier_parts, load_encoder, save_checkpoint, vae_parts
from dermdemo.models.classifier import Classifier
from dermdemo.models.encoder import Encoder
from dermdemo.models.vae import VAE
from dermdemo.types import DecodedImage, InputSpec

ATTO, LATENT, SIZE = "convnext_atto", 8, 64
KINDS = len(HAM10000_CLASSES)


class Lesions(NamedTuple):
    """Synthetic lesions and their split."""

    table: LesionTable
    split: Split


class Maker(NamedTuple):
    """Functions that write checkpoints; see their docstrings."""

    vae: Callable[..., CheckpointMeta]
    arm: Callable[..., CheckpointMeta]
    store: Callable[..., Path]


def _encoder(seed: int) -> Encoder:
    torch.manual_seed(seed)
    return Encoder(ATTO, layer_scale=0.3)


def _common() -> dict[str, object]:
    return {"name": "", "encoder": ATTO, "input": InputSpec(size=SIZE), "licence": "none",
            "origin": "test:random", "origin_text": "random, for a test"}


def _vae(folder: Path, *, seed: int = 0, split_hash: str | None = None) -> CheckpointMeta:
    """A VAE whose latent really varies from image to image."""
    model = VAE(_encoder(seed), latent=LATENT, size=SIZE)
    with torch.no_grad():
        model.posterior.weight.mul_(8)
        for block in model.decoder.blocks:
            block.conv2.weight.normal_(0, 0.05)
    meta = CheckpointMeta(kind="vae", latent=LATENT, split_hash=split_hash, **_common())
    return save_checkpoint(folder, meta, vae_parts(model))


def _thresholds() -> ConformalThresholds:
    return ConformalThresholds(level=0.95, classes=HAM10000_CLASSES, thresholds=(0.9,) * KINDS,
                               class_conditional=(False,) * KINDS, n_lesions=(5,) * KINDS, marginal_threshold=0.9,
                               rule="for a test")


def _arm(folder: Path, arm: str, *, base: Path | None = None, borrow: bool = True, seed: int = 1,
         temperature: float | None = 1.7, size: int = SIZE) -> CheckpointMeta:
    """A classifier; with `base` on that checkpoint's trunk, borrowed or (borrow=False) stored once more."""
    encoder = _encoder(seed) if base is None else load_encoder(base).module
    torch.manual_seed(seed + 100)
    model = Classifier(encoder, KINDS, hidden=16)
    with torch.no_grad():
        model.head[0].weight.mul_(4)
        model.head[3].weight.mul_(12)
        for parameter in encoder.stages[-1].parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    parts, borrowed = classifier_parts(model, base if borrow else None)
    meta = CheckpointMeta(**{**_common(), "input": InputSpec(size=size)}, kind="classifier", arm=arm,  # type: ignore[arg-type]
                          classes=HAM10000_CLASSES, hidden=16, unfrozen_stages=1, head_trained=True, base=borrowed,
                          temperature=temperature, conformal=encode(_thresholds()))
    return save_checkpoint(folder, meta, parts)


def _store(root: Path, *, seed: int = 0, split_hash: str | None = None) -> Path:
    """VAE, vae arm on its trunk, imagenet arm on its own."""
    _vae(root / "vae", seed=seed, split_hash=split_hash)
    _arm(root / "vae-arm", "vae", base=root / "vae", seed=seed + 1)
    _arm(root / "imagenet-arm", "imagenet", seed=seed + 2)
    return root


@pytest.fixture(scope="session")
def make() -> Maker:
    return Maker(_vae, _arm, _store)


@pytest.fixture(scope="session")
def lesion_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ninety synthetic lesions: the data of the live models."""
    return write_synthetic(tmp_path_factory.mktemp("data") / "lesions", n_lesions=90, seed=3)


@pytest.fixture(scope="session")
def lesions(lesion_folder: Path) -> Lesions:
    table = load_source(lesion_folder)
    return Lesions(table, make_split(table, seed=0))


def pca_map(mu: np.ndarray, train: np.ndarray, seed: int) -> embed.FittedMap:
    """Stands in for UMAP, which takes 13 s and more to compile: the first two coordinates."""
    coordinates = mu[:, :2].astype(np.float32)
    parameters = MapParameters(n_neighbors=10, min_dist=0.1, metric="euclidean", seed=seed, version="none")
    return embed.FittedMap(coordinates, coordinates[~train] + np.float32(0.5), parameters)


def add_atlas(root: Path, lesions: Lesions, *, seed: int = 0) -> AtlasMeta:
    """An atlas built as the command does, but for the map."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embed, "fit_map", pca_map)
        return embed.build_atlas(lesions.table, lesions.split, root, root / "atlas", device="cpu", seed=seed)


@pytest.fixture(scope="session")
def with_atlas() -> Callable[..., AtlasMeta]:
    return add_atlas


@pytest.fixture(scope="session")
def shared_store(tmp_path_factory: pytest.TempPathFactory, lesions: Lesions) -> Path:
    """Checkpoints and atlas; not to be changed."""
    root = _store(tmp_path_factory.mktemp("checkpoints"), split_hash=lesions.split.hash)
    add_atlas(root, lesions)
    return root


@pytest.fixture
def store(shared_store: Path, tmp_path: Path) -> Path:
    """A copy of them that a test may change."""
    return Path(shutil.copytree(shared_store, tmp_path / "store"))


@pytest.fixture(scope="session")
def analyser(shared_store: Path) -> Analyser:
    return Analyser(shared_store, device="cpu")


@pytest.fixture(scope="session")
def pictures() -> list[DecodedImage]:
    """Five decoded lesions that are not in the atlas."""
    labels = ("mel", "nv", "bcc", "vasc", "bkl")
    drawn = [synthetic_lesion(label, 900 + k) for k, label in enumerate(labels)]
    return [DecodedImage(pixels=p, format="PNG", original_size=p.size) for p in drawn]


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def make_set(tmp_path_factory: pytest.TempPathFactory, lesions: Lesions) -> Callable[[int], Path]:
    """Writes VAE, arms and atlas of a seed, once each; not to be changed."""
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
