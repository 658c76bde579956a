"""What a retraining job does: from a preset and a few checked knobs to the commands of its steps.

Nobody types a path or an argument here: the data are a registered id, the starting point is a registered
version, the knobs are fields of the training settings, checked as those are, and everything else follows.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import dermdemo
from dermdemo.config import PRESETS, FinetuneConfig, RunConfig
from dermdemo.errors import ConfigError
from dermdemo.evaluation.records import encode
from dermdemo.jobs.cluster import SlurmSettings
from dermdemo.jobs.datasets import DataSet
from dermdemo.jobs.files import canonical, sha256_of, utc_now
from dermdemo.jobs.gate import GATES
from dermdemo.jobs.records import Device, JobRecord, Step
from dermdemo.jobs.registry import Registry
from dermdemo.models.arms import find_arm
from dermdemo.models.checkpoint import find_base, load_meta

Recipe = Literal["quick", "paper"]
KNOBS = {
    "pretrain": ("schedule", "batch_size", "lr", "weight_decay", "latent", "beta", "kl_warmup", "layer_scale"),
    "train": ("schedule", "batch_size", "lr", "stage_lr", "lr_decay", "weight_decay", "unfrozen_stages", "views",
              "early_stopping", "label_fraction", "alpha", "gamma", "dropout"),
}
MAX_EPOCHS, MAX_BATCH, MAX_LATENT, MAX_VIEWS, MAX_HOURS = 1000, 4096, 4096, 64, 24 * 30
LIBRARIES = ("torch", "timm", "numpy", "scikit-learn", "umap-learn", "lightning-fabric", "submitit")


@dataclass(frozen=True, kw_only=True)
class RetrainRequest:
    """What may be asked for.

    Attributes:
        data: id of a registered data set. `base`: version to start from, None for the live one.
        stage1: train the VAE anew; else it stays the base version's.
        knobs: such as ``train.lr`` -> ``0.001``, on top of the recipe. `gate`: split the candidate is judged on.
        hours: time limit of one attempt. `dry_run`: first try one batch of every stage.
    """

    data: str
    recipe: Recipe = "quick"
    stage1: bool = False
    device: Device = "cpu"
    gate: str = "calib"
    seed: int = 0
    hours: float = 24.0
    dry_run: bool = True
    resamples: int = 1000
    base: int | None = None
    knobs: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value, known in (("recipe", self.recipe, get_args(Recipe)), ("gate", self.gate, GATES),
                                   ("device", self.device, get_args(Device))):
            if value not in known:
                raise ConfigError(f"The {name} '{value}' is not known: choose from {', '.join(known)}.")
        if not 0 < self.hours <= MAX_HOURS:
            raise ConfigError(f"A time limit of {self.hours:g} hours does not work: at most {MAX_HOURS}.")
        if not 1 <= self.resamples <= 100_000 or not 0 <= self.seed < 2**31:
            raise ConfigError("Take 1 to 100,000 resamples and a seed from 0 on.")
        self.config("pretrain"), self.config("train")

    def config(self, stage: str) -> RunConfig:
        """Settings of a stage: the recipe's, with the knobs and the seed. Raises ConfigError."""
        config = PRESETS[stage][self.recipe].config
        hints = get_type_hints(type(config))
        changes: dict[str, Any] = {"seed": self.seed, "device": "cpu" if self.device == "cpu" else "auto"}
        for knob, text in self.knobs.items():
            where, _, name = knob.partition(".")
            if name not in KNOBS.get(where, ()):
                known = ", ".join(f"{s}.{n}" for s, names in KNOBS.items() for n in names)
                raise ConfigError(f"'{knob}' is no knob: choose from {known}.")
            if where == stage:
                changes[name] = read_knob(knob, text, hints[name])
        config = replace(config, **changes)
        if config.epochs > MAX_EPOCHS or config.batch_size > MAX_BATCH:
            raise ConfigError(f"At most {MAX_EPOCHS} epochs and {MAX_BATCH} images a batch are trained here.")
        if getattr(config, "latent", 1) > MAX_LATENT or getattr(config, "views", 1) > MAX_VIEWS:
            raise ConfigError(f"At most {MAX_LATENT} latent dimensions and {MAX_VIEWS} views are trained here.")
        return config


def read_knob(knob: str, text: str, hint: Any) -> Any:
    """The value of a knob as its field's type. Raises ConfigError."""
    if get_origin(hint) is Literal:
        if text not in get_args(hint):
            raise ConfigError(f"'{text}' does not work for {knob}: choose from {', '.join(get_args(hint))}.")
        return text
    try:
        value = hint(text)
    except ValueError as error:
        raise ConfigError(f"'{text}' does not work for {knob}: give a number.") from error
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"'{text}' does not work for {knob}: give a finite number.")
    return value


def flags(config: RunConfig) -> tuple[str, ...]:
    """All settings as arguments: what is trained does not depend on the defaults of another version."""
    out: list[str] = []
    for f in dataclasses.fields(config):
        value = getattr(config, f.name)
        if value is not None and not isinstance(value, bool):
            out += [f"--{f.name.replace('_', '-')}", str(value)]
    return tuple(out)


def plan(request: RetrainRequest, data: DataSet, registry: Registry, *, who: str, slurm: SlurmSettings | None = None,
         facts: Mapping[str, str] | None = None) -> JobRecord:
    """The record of a job.

    Raises:
        ConfigError: settings that do not work.
        CheckpointError, NotFittedError: the version to start from cannot be used.
    """
    base = registry.serving().number if request.base is None else request.base
    start, root = registry.verify(base), registry.root(base)
    vae = load_meta(root / "vae")
    pretrain, train = request.config("pretrain"), request.config("train")
    if slurm and request.device == "slurm":
        pretrain, train = (replace(c, devices=max(1, slurm.gpus), num_nodes=slurm.nodes) for c in (pretrain, train))
    pretrain = replace(pretrain, encoder=vae.encoder)  # type: ignore[call-arg]
    make = _Steps(request, data, root, str(stand_in(root)), vae.encoder)
    steps = [Step(name="prepare", argv=("jobs", "prepare", "{job}"))]
    if request.dry_run:
        steps += make.stages("dry", _one_epoch(pretrain), _one_epoch(train), dry=True)
    steps += make.stages("work", pretrain, train, dry=False)
    steps.append(Step(name="candidate", argv=("models", "add", "{job}")))
    return JobRecord(
        id="", who=who, created=utc_now(), device=request.device, hours=request.hours, steps=tuple(steps),
        request={k: json.dumps(v) for k, v in encode(replace(request, base=base)).items()},
        facts={"seed": str(request.seed), "data": data.id, "data_hash": data.data_hash,
               "split_hash": data.split_hash, "base": str(base), "base_sha256": start.sha256,
               "stage I": json.dumps(encode(pretrain)), "stage II": json.dumps(encode(train)), **code_facts(),
               **(facts or {})})


def _one_epoch(config: RunConfig) -> RunConfig:
    """One epoch at the largest size: on a batch of images, one step of each kind."""
    views = {"views": 1, "early_stopping": 0} if isinstance(config, FinetuneConfig) else {}
    return replace(config, schedule=f"{config.size}x1", **views)  # type: ignore[arg-type]


@dataclass(frozen=True)
class _Steps:
    """Steps of the dry run and of the run itself, alike but for data, folders and epochs."""

    request: RetrainRequest
    data: DataSet
    root: Path
    stand_in: str
    encoder: str

    def stages(self, folder: str, pretrain: RunConfig, train: RunConfig, *, dry: bool) -> list[Step]:
        source = "{folder}/dry/lesions" if dry else self.data.source
        store = "{folder}/dry/set" if dry else "{folder}/set"
        prefix, seed = "dry " if dry else "", ("--split-seed", str(self.data.split_seed))
        device = ("--device", str(train.device))
        steps = []

        def run(name: str, command: str, config: RunConfig, *extra: str) -> None:
            out = name.removeprefix("stage ").replace(" ", "-")
            argv = (command, source, *extra, *flags(config), "--out", f"{{folder}}/{folder}/{out}", "--store", store)
            steps.append(Step(name=prefix + name, run=f"{folder}/{out}", stoppable=not dry, argv=argv + seed))

        if self.request.stage1:
            run("stage I", "pretrain", pretrain, "--name", "vae")
        run("stage II vae", "train", train, "--arm", "vae", "--encoder", self.encoder, "--name", "vae-arm")
        run("stage II imagenet", "train", train, "--arm", "imagenet", "--weights", self.stand_in, "--encoder",
            self.encoder, "--name", "imagenet-arm")
        gate = ("gate", store, str(self.root), source, "--split", self.request.gate, *seed, *device, "--resamples",
                str(20 if dry else self.request.resamples), "--out", f"{{folder}}/{folder}/gate")
        other = () if self.request.stage1 else ("--other-data", "--map-from", str(self.root / "atlas"))
        embed = ("embed", source, "--checkpoints", store, *seed, "--seed", str(self.request.seed),
                 "--no-features", *device, *other)
        return [*steps, Step(name=prefix + "gate", argv=gate), Step(name=prefix + "atlas", argv=embed)]


def stand_in(root: Path) -> Path:
    """Where the imagenet arm begins: the whole encoder its trunk came from, else the live arm's own encoder.

    Shipped sets keep only the trunk of the stand-in; the top is then the live arm's, already trained on lesions.
    """
    arm = find_arm(root, "imagenet")
    for base in load_meta(arm).base:
        folder = find_base(arm, base)
        if "top" in load_meta(folder).files:
            return folder
    return arm


def code_facts() -> dict[str, str]:
    """Versions of code and libraries; the code by a hash over the package's sources."""
    package = Path(dermdemo.__file__).parent
    sources = {p.relative_to(package).as_posix(): sha256_of(p) for p in sorted(package.rglob("*.py"))}
    found = {"dermdemo": dermdemo.__version__, "python": platform.python_version(),
             "code": hashlib.sha256(canonical(sources)).hexdigest()}
    return found | {name: version(name) for name in LIBRARIES}
