"""What is being served: one VAE, the classifiers beside it and the atlas, loaded together or not at all.

Unusual here: models that stand on the same trunk (by SHA-256) share its modules, so that it is in memory
once and runs once per image.
"""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch

from dermdemo.analysis.latent import Atlas, load_atlas
from dermdemo.analysis.novelty import SMALL_REFERENCE
from dermdemo.config import DeviceName
from dermdemo.errors import CheckpointError, DataError
from dermdemo.evaluation.conformal import ConformalThresholds
from dermdemo.evaluation.records import decode
from dermdemo.models.arms import find_arm
from dermdemo.models.checkpoint import CheckpointMeta, Known, Loaded, load_classifier, load_vae
from dermdemo.models.encoder import MEAN, STAGES, STD, Encoder
from dermdemo.runtime import resolve_device
from dermdemo.types import InputSpec

ARMS = ("vae", "imagenet")


@dataclass(frozen=True, kw_only=True)
class Store:
    """Where to load from: folder names below `root`; classifiers are found by the arm in their metadata."""

    root: Path
    vae: str = "vae"
    arms: tuple[str, ...] = ARMS
    atlas: str | None = "atlas"


class TrunkKey(NamedTuple):
    """A trunk run on one kind of input; equal keys give equal features."""

    sha256: str
    spec: InputSpec


@dataclass(frozen=True)
class Served:
    """Everything one analysis needs, never changed after loading.

    Attributes:
        arms: arm name -> classifier.
        sets: arm name -> thresholds of its prediction sets, None where none are stored.
        notes: what is missing or weak, in sentences.
    """

    vae: Loaded
    arms: Mapping[str, Loaded]
    sets: Mapping[str, ConformalThresholds | None]
    atlas: Atlas | None
    device: torch.device
    notes: tuple[str, ...]

    @property
    def specs(self) -> tuple[InputSpec, ...]:
        """The distinct inputs the models want."""
        return tuple(dict.fromkeys([self.vae.meta.input, *(arm.meta.input for arm in self.arms.values())]))

    @property
    def models(self) -> dict[str, str]:
        """Checkpoint folder name -> SHA-256, the atlas included."""
        found = {loaded.meta.name: loaded.meta.sha256 for loaded in (self.vae, *self.arms.values())}
        return found | ({"atlas": self.atlas.meta.sha256} if self.atlas else {})


def trunk_key(meta: CheckpointMeta) -> TrunkKey:
    """SHA-256 of the trunk a model runs on, own or borrowed, and its input."""
    return TrunkKey(meta.trunk_sha256, meta.input)


def other_trunk(vae: Loaded, arms: Mapping[str, Loaded]) -> str | None:
    """The first arm that does not run on the VAE's trunk: its features tell what is no lesion."""
    own = vae.meta.trunk_sha256
    return next((arm for arm, loaded in arms.items() if loaded.meta.trunk_sha256 != own), None)


def load_served(store: Store, device: DeviceName = "auto") -> Served:
    """Load and verify everything.

    Raises:
        CheckpointError: something is missing, changed or does not fit; nothing is served then.
        NotFittedError: a classifier's head has never been trained.
    """
    where = resolve_device(device)
    known: Known = {}
    vae = _named(load_vae(store.root / store.vae, known), store.vae)
    arms = {}
    for arm in store.arms:
        folder = find_arm(store.root, arm)
        arms[arm] = _named(load_classifier(folder, known), folder.name)
    models = (vae, *arms.values())
    for loaded in models:
        _check_normalisation(loaded.meta)
    _share_trunks(models)
    for loaded in models:
        loaded.module.to(where, memory_format=torch.channels_last).eval().requires_grad_(False)
    atlas, notes = _atlas(store, vae, arms)
    notes += [f"The probabilities of '{arm}' are not calibrated: no temperature is stored."
              for arm, loaded in arms.items() if loaded.meta.temperature is None]
    return Served(vae, arms, {arm: _sets(loaded.meta) for arm, loaded in arms.items()}, atlas, where, tuple(notes))


def release_memory() -> None:
    """Give the memory of models that nobody uses any more back, on a GPU too."""
    gc.collect()
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _named(loaded: Loaded, folder: str) -> Loaded:
    """The same with the folder's present name, which need not be the one it was saved under."""
    return Loaded(loaded.module, dataclasses.replace(loaded.meta, name=folder))


def _check_normalisation(meta: CheckpointMeta) -> None:
    """The encoder normalises with its own constants: metadata that ask for others cannot be honoured."""
    if (meta.input.mean, meta.input.std) != (MEAN, STD):
        raise CheckpointError(f"'{meta.name}' wants its input normalised by {meta.input.mean} and {meta.input.std}; "
                              f"this dermdemo's encoders use {MEAN} and {STD}.")


def _share_trunks(models: Sequence[Loaded]) -> None:
    """Let models with the same trunk weights use the first one's modules."""
    first: dict[tuple[str, str], Encoder] = {}
    for loaded in models:
        encoder: Encoder = loaded.module.encoder
        owner = first.setdefault((loaded.meta.encoder, trunk_key(loaded.meta).sha256), encoder)
        if owner is not encoder:
            encoder.stem = owner.stem
            for k in range(STAGES - 1):
                encoder.stages[k] = owner.stages[k]


def _sets(meta: CheckpointMeta) -> ConformalThresholds | None:
    """Thresholds of the prediction sets, None where none are stored. Raises CheckpointError."""
    if not meta.conformal:
        return None
    try:
        thresholds = decode(ConformalThresholds, dict(meta.conformal))
    except DataError as error:
        raise CheckpointError(f"The prediction-set thresholds of '{meta.name}' cannot be read: {error}") from error
    if thresholds.classes != meta.classes:
        raise CheckpointError(f"The prediction-set thresholds of '{meta.name}' are for other classes than its own.")
    return thresholds


def _atlas(store: Store, vae: Loaded, arms: Mapping[str, Loaded]) -> tuple[Atlas | None, list[str]]:
    """The atlas if there is one, and what to say about it."""
    if store.atlas is None:
        return None, []
    folder = store.root / store.atlas
    if not folder.exists():
        return None, ["There is no atlas: no place on the map, no known neighbours and no novelty score. Build it "
                      "with `python -m dermdemo embed`."]
    atlas = load_atlas(folder, vae.meta, {arm: loaded.meta for arm, loaded in arms.items()})
    notes = []
    if atlas.reference is None:
        notes.append("The atlas has no calibration lesions: there is no novelty score.")
    elif len(atlas.reference) < SMALL_REFERENCE:
        notes.append(f"The novelty score rests on {len(atlas.reference)} lesions only: its upper end is coarse.")
    if atlas.reference is not None and atlas.reference.detail is None:
        notes.append("The atlas does not hold the detail of its images: a blank or smooth picture may be called "
                     "typical. Build it again with `python -m dermdemo embed`.")
    if atlas.reference is not None and atlas.gaussian is None and other_trunk(vae, arms):
        notes.append("The atlas does not hold the features of the encoder being served: a picture of something else "
                     "may be called typical. Build it again with `python -m dermdemo embed`.")
    return atlas, notes
