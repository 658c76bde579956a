"""Every arm with every seed by Stage II's own code, each finished model read once on test.

Unusual here:
- source, split, decoded pixels and what a trunk makes of images and views are made once for all runs (`sharing`);
- the pretrained encoders are copied beside the models, which then store only what they trained;
- a run has finished when its model.json is there, and has been read when its test.json is; neither is done twice.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dermdemo.config import FinetuneConfig
from dermdemo.data.readable import prepare
from dermdemo.data.sources import LesionTable
from dermdemo.data.splits import Split
from dermdemo.errors import CheckpointError, ConfigError, TrainingError
from dermdemo.evaluation.seeds.folder import (
    CHECKPOINTS,
    MODEL_FILE,
    SCORES,
    SETTINGS_FILE,
    FinishedModel,
    RunPlace,
    StudySettings,
    agreed_settings,
    write_json,
)
from dermdemo.evaluation.seeds.pixels import run_pixels
from dermdemo.evaluation.seeds.reading import read_test
from dermdemo.evaluation.seeds.variants import Variant
from dermdemo.models.checkpoint import load_meta
from dermdemo.training.runs import RunRequest, Start, arm_encoder, train_arm
from dermdemo.training.sharing import Extras, Shared

PRETRAINED = ("vae", "ae", "ssl", "imagenet")
WHERE_STORED = ("ae", "ssl")  # joins the default arms where the store holds one
TO_TRAIN = ("missing", "broken off")


@dataclass(frozen=True, kw_only=True)
class StudyRequest:
    """What to train and where.

    Attributes:
        store: holds the pretrained encoders; nothing is written there.
        weights: of the imagenet arms: a checkpoint folder, a weights file, or ``timm``.
        say: told what happens, a line at a time.
    """

    source: str
    root: Path
    store: Path
    arms: tuple[Variant, ...]
    seeds: tuple[int, ...]
    config: FinetuneConfig
    weights: str = "timm"
    encoder: str = "convnext_tiny"
    split_seed: int = 0
    say: Callable[[str], None] = field(default=lambda text: print(text, file=sys.stderr))

    def __post_init__(self) -> None:
        problems = {
            "A study needs at least one seed.": not self.seeds,
            "A seed is named twice.": len(set(self.seeds)) != len(self.seeds),
            "Seeds count from 0.": any(s < 0 for s in self.seeds),
            "--seed has no meaning here: name the seeds with --seeds.": self.config.seed != 0,
            "All arms train equally long: leave --early-stopping out.": self.config.early_stopping > 0,
            "A study runs on one device: leave --devices and --num-nodes out, and give each of several machines "
            "seeds of its own.": self.config.devices * self.config.num_nodes > 1,
        }
        for message, wrong in problems.items():
            if wrong:
                raise ConfigError(message)

    def places(self) -> list[tuple[Variant, RunPlace]]:
        """Every run, arm by arm: runs of one trunk follow each other and share its features."""
        return [(v, RunPlace(root=self.root, arm=v.name, seed=s)) for v in self.arms for s in self.seeds]


def run_study(request: StudyRequest) -> None:
    """Train and read what is not trained and read yet.

    Raises:
        ConfigError: a setting has changed since the study began.
        CheckpointError: an arm's encoder cannot be loaded.
        TrainingError: a run ended early; the same command goes on from there.
    """
    starts: dict[str, str] = {v.arm: start_hash(v, request) for v in request.arms if v.arm in PRETRAINED}
    table, split = prepare(request.source, split_seed=request.split_seed)
    settings = agreed_settings(request.root, _settings(request, table, split, starts))
    request.root.mkdir(parents=True, exist_ok=True)
    write_json(request.root / SETTINGS_FILE, settings)
    _check_starts(request)
    shared = Shared(table)
    for variant, place in request.places():
        if place.kind in TO_TRAIN:
            request.say(f"{place.name}: {'training' if place.kind == 'missing' else 'going on'}")
            _train(request, variant, place, (table, split), shared)
        if place.kind == "trained":
            read_test(place, table, split, device=request.config.device)
            request.say(f"{place.name}: test read")
        _drop_state(place)
    run_pixels(request.root, table, split)


def _check_starts(request: StudyRequest) -> None:
    """Load the encoder of every pretrained arm that has runs left: what is wrong with one shows before any training.

    Raises:
        CheckpointError, ConfigError: as `arm_encoder`.
    """
    left = {v.arm: v for v, place in request.places() if v.arm in PRETRAINED and place.kind in TO_TRAIN}
    for arm, variant in left.items():
        arm_encoder(arm, _weights(variant, request), request.root / CHECKPOINTS, request.config, request.encoder)


def _settings(request: StudyRequest, table: LesionTable, split: Split, starts: dict[str, str]) -> StudySettings:
    return StudySettings(
        data=table.name, data_hash=table.data_hash(), split_seed=request.split_seed, split_hash=split.hash,
        classes=table.classes, encoder=request.encoder, arms=tuple(v.name for v in request.arms),
        seeds=tuple(sorted(request.seeds)), starts=starts,
        config={k: str(v) for k, v in request.config.to_dict().items()})


def _train(request: StudyRequest, variant: Variant, place: RunPlace, data: tuple[LesionTable, Split], shared: Shared
           ) -> None:
    """One run to its last epoch, its checkpoint, and model.json."""
    config, resumes = variant.config(request.config, place.seed), (place.folder / "config.json").exists()
    run = RunRequest(source=request.source, out=place.folder, store=request.root / CHECKPOINTS, name=place.name,
                     resume=resumes, split_seed=request.split_seed)
    start = Start(arm=variant.arm, weights=_weights(variant, request), encoder=request.encoder)
    began = time.perf_counter()
    train_arm(run, config, start, data=data, extras=Extras(shared=shared, scores=place.folder / SCORES))
    seconds = 0.0 if resumes else time.perf_counter() - began
    meta = load_meta(place.checkpoint)
    epochs = int(meta.spent["epochs"])
    if epochs < config.epochs:
        raise TrainingError(f"{place.name} was stopped after epoch {epochs} of {config.epochs}: the same command "
                            "goes on from there.", reason="stopped")
    write_json(place.folder / MODEL_FILE, FinishedModel(sha256=meta.sha256, epochs=epochs, seconds=seconds))


def _drop_state(place: RunPlace) -> None:
    """Training checkpoints have hundreds of megabytes, and a finished run is not gone on with."""
    for state in ("last.pt", "best.pt"):
        (place.folder / state).unlink(missing_ok=True)


def _source_of(variant: Variant, request: StudyRequest) -> str:
    return request.weights if variant.arm == "imagenet" else str(request.store / variant.arm)


def start_hash(variant: Variant, request: StudyRequest) -> str:
    """What identifies the weights a pretrained arm starts from.

    Raises:
        CheckpointError: they are not there.
    """
    where = Path(_source_of(variant, request))
    if request.weights == "timm" and variant.arm == "imagenet":
        return "timm"
    if where.is_file():
        return hashlib.sha256(where.read_bytes()).hexdigest()
    if where.is_dir():
        return load_meta(where).sha256
    raise CheckpointError(f"The arm '{variant.name}' has nothing to start from: '{where}' is not there. Pretrain it "
                          "first, or leave the arm out of --arms.")


def _weights(variant: Variant, request: StudyRequest) -> str | None:
    """Where Stage II takes the encoder from: our own checkpoints from a copy beside the finished models."""
    if variant.arm not in PRETRAINED:
        return None
    origin = Path(_source_of(variant, request))
    if not origin.is_dir():
        return request.weights
    copy = request.root / CHECKPOINTS / f"start-{variant.arm}"
    if not copy.exists():
        copy.parent.mkdir(parents=True, exist_ok=True)
        partial = copy.with_name(f".{copy.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(origin, partial)
        partial.replace(copy)
    return str(copy)


def default_arms(store: Path, names: Sequence[str]) -> tuple[str, ...]:
    """`names`, and behind the VAE ``ae`` and ``ssl`` where the store holds them."""
    follows = {"vae": ("vae", *(arm for arm in WHERE_STORED if (store / arm).is_dir()))}
    return tuple(n for name in names for n in follows.get(name, (name,)))
