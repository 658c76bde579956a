"""Settings of every command: frozen dataclasses, validated when made, saved with each run.

Nothing else in the package reads the environment except `environment()` below.
Presets are plain instances; `PRESETS` says what each costs.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from dermdemo.errors import ConfigError

Likelihood = Literal["sigma", "gaussian", "l1"]
Warmup = Literal["none", "linear", "cyclical"]
DeviceName = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "fp32", "bf16"]
Alpha = Literal["none", "sqrt", "inverse"]
ARMS = ("vae", "ae", "ssl", "imagenet", "scratch", "random")
Arm = Literal["vae", "ae", "ssl", "imagenet", "scratch", "random"]


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)


def check_size(size: int) -> None:
    """Raise ConfigError unless `size` is a positive multiple of 32 up to 1024."""
    _require(size % 32 == 0 and 32 <= size <= 1024, f"An input size of {size} px does not work: "
             "take a multiple of 32 between 32 and 1024, such as 64, 128 or 224.")


@dataclass(frozen=True)
class Phase:
    """One step of progressive resizing: `epochs` epochs at `size` pixels."""

    size: int
    epochs: int

    def __post_init__(self) -> None:
        check_size(self.size)
        _require(self.epochs >= 1, f"A phase needs at least one epoch, not {self.epochs}.")


def parse_schedule(text: str) -> tuple[Phase, ...]:
    """Read ``64x15,128x3`` as 15 epochs at 64 px, then 3 at 128 px.

    Raises:
        ConfigError: the text is not of that form, or sizes shrink.
    """
    try:
        pairs = [part.split("x") for part in text.split(",")]
        phases = tuple(Phase(int(size), int(epochs)) for size, epochs in pairs)
    except ValueError as error:
        raise ConfigError(f"Cannot read the schedule '{text}': write it like 64x15,128x3 "
                          "(size in pixels x epochs).") from error
    sizes = [p.size for p in phases]
    _require(sizes == sorted(sizes), f"The sizes of the schedule '{text}' must not shrink.")
    return phases


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What every training run needs, whatever it trains.

    `schedule` is a progressive-resizing schedule such as ``64x15,128x3`` (pixels x epochs). With `restart` above 0
    the learning rate falls to its floor in each of its phases, and starts anew in the next at that share of `lr`.
    """

    schedule: str = "224x300"
    batch_size: int = 128
    lr: float = 1e-3
    weight_decay: float = 0.05
    warmup_epochs: float = 1.0
    restart: float = 0.0
    clip_norm: float = 1.0
    seed: int = 0
    device: DeviceName = "auto"
    devices: int = 1
    num_nodes: int = 1
    precision: Precision = "auto"
    val_limit: int | None = None

    def __post_init__(self) -> None:
        parse_schedule(self.schedule)
        _require(self.batch_size >= 1, "The batch size must be at least 1.")
        _require(self.lr > 0, "The learning rate must be positive.")
        _require(self.weight_decay >= 0, "Weight decay must not be negative.")
        _require(self.warmup_epochs >= 0, "Warm-up must not be negative.")
        _require(0 <= self.restart <= 1, "The learning rate starts anew at a share of itself in [0, 1].")
        _require(self.clip_norm > 0, "The gradient clipping norm must be positive.")
        _require(self.devices >= 1 and self.num_nodes >= 1, "Devices and nodes must be at least 1.")

    @property
    def phases(self) -> tuple[Phase, ...]:
        return parse_schedule(self.schedule)

    @property
    def epochs(self) -> int:
        """Total epochs over all phases."""
        return sum(p.epochs for p in self.phases)

    def phase_of(self, epoch: int) -> Phase:
        """Phase that epoch `epoch` (counted from 1) belongs to."""
        seen = 0
        for phase in self.phases:
            seen += phase.epochs
            if epoch <= seen:
                return phase
        return self.phases[-1]

    @property
    def size(self) -> int:
        """Input size the finished model is bound to: that of the last phase."""
        return self.phases[-1].size

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def completed(cls, saved: Mapping[str, Any]) -> dict[str, Any]:
        """Saved settings, and the defaults of those that the version which saved them did not have yet."""
        return cls().to_dict() | dict(saved)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Rebuild from saved values; an unknown key is a ConfigError."""
        known = {f.name for f in dataclasses.fields(cls)}
        unknown = sorted(set(values) - known)
        _require(not unknown, f"Unknown settings: {', '.join(unknown)}.")
        return cls(**values)


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(RunConfig):
    """Stage I: a VAE (or, with `ae`, a plain autoencoder: z = mu, no KL) on unlabelled images.

    `mask` hides a share of the squares of each training image, and `blur` takes its sharpness (largest standard
    deviation, as a share of the side): the whole, sharp image is to be drawn.
    """

    encoder: str = "convnext_tiny"
    latent: int = 256
    layer_scale: float = 1e-6
    likelihood: Likelihood = "sigma"
    sigma: float = 0.1
    beta: float = 1.0
    kl_warmup: Warmup = "linear"
    kl_warmup_fraction: float = 1 / 3
    kl_cycles: int = 4
    free_bits: float = 0.0
    ae: bool = False
    mask: float = 0.0
    blur: float = 0.0
    grid_every: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(self.latent >= 1, "The latent needs at least one dimension.")
        _require(self.beta >= 0, "Beta must not be negative.")
        _require(self.sigma > 0, "The fixed standard deviation must be positive.")
        _require(0 < self.kl_warmup_fraction <= 1, "The warm-up fraction must lie in (0, 1].")
        _require(self.kl_cycles >= 1, "Cyclical warm-up needs at least one cycle.")
        _require(self.free_bits >= 0, "Free bits must not be negative.")
        _require(0 <= self.mask < 1, "The share of squares that are hidden must lie in [0, 1).")
        _require(0 <= self.blur < 0.25, "The blur must lie in [0, 0.25) of the side.")
        _require(self.grid_every >= 1, "Grids are written every 1 or more epochs.")

    @property
    def method(self) -> str:
        """``as a VAE``, ``as a plain autoencoder``, and what was hidden from it."""
        taken = [f"{self.mask:.0%} of each image's squares hidden"] if self.mask else []
        taken += [f"images blurred by up to {self.blur:.1%} of their side"] if self.blur else []
        name = "autoencoder" if self.ae else "VAE"
        if taken:
            return f"as a denoising {name} ({', '.join(taken)})"
        return f"as a {'plain ' if self.ae else ''}{name}"


@dataclass(frozen=True, kw_only=True)
class SupervisedConfig(RunConfig):
    """Supervised pretraining of an encoder on any labelled source (the ImageNet stand-in)."""

    schedule: str = "32x6,64x1"
    batch_size: int = 256
    encoder: str = "convnext_tiny"
    layer_scale: float = 1e-6
    label_smoothing: float = 0.1
    drop_path: float = 0.05
    val_fraction: float = 0.02

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(0 <= self.label_smoothing < 1, "Label smoothing must lie in [0, 1).")
        _require(0 <= self.drop_path < 1, "Drop path must lie in [0, 1).")
        _require(0 < self.val_fraction < 1, "The validation fraction must lie in (0, 1).")


@dataclass(frozen=True, kw_only=True)
class ContrastiveConfig(RunConfig):
    """SimCLR pretraining of an encoder on unlabelled images: other domain pretraining, beside the VAE.

    `projection_hidden` and `projection` are the widths of the head that the loss is computed behind. The images of a
    batch, over all processes, are each other's negatives.
    """

    batch_size: int = 256
    warmup_epochs: float = 10.0
    encoder: str = "convnext_tiny"
    layer_scale: float = 1e-6
    projection_hidden: int = 2048
    projection: int = 128
    temperature: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(self.batch_size >= 2, "Contrastive pretraining needs a batch of at least 2 images.")
        _require(self.projection_hidden >= 1 and self.projection >= 2,
                 "The projection head needs at least one hidden unit and two dimensions.")
        _require(self.temperature > 0, "The temperature must be positive.")


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig(RunConfig):
    """Stage II: encoder + MLP head with focal loss.

    `lr` is the head's; each unfrozen encoder stage gets `stage_lr`, and every stage below the last
    one again `lr_decay` times less. `views` augmentation views of each image are made once; whatever
    lies below the first trained stage is computed once per view. The schedule has a single phase.
    """

    schedule: str = "224x50"
    batch_size: int = 128
    unfrozen_stages: int = 1
    stage_lr: float = 1e-4
    lr_decay: float = 0.5
    hidden: int = 256
    dropout: float = 0.3
    gamma: float = 2.0
    alpha: Alpha = "sqrt"
    views: int = 4
    label_fraction: float = 1.0
    early_stopping: int = 0
    layer_scale: float = 1e-6
    train_eval_limit: int = 2000

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(len(self.phases) == 1, "Stage II trains at one size: give one phase such as 128x50.")
        _require(0 <= self.unfrozen_stages <= 4, "Between 0 (head only) and 4 (all) stages can train.")
        _require(self.stage_lr > 0 and 0 < self.lr_decay <= 1, "Stage learning rates must be positive.")
        _require(self.hidden >= 1, "The head needs at least one hidden unit.")
        _require(0 <= self.dropout < 1, "Dropout must lie in [0, 1).")
        _require(self.gamma >= 0, "Gamma of the focal loss must not be negative.")
        _require(self.views >= 1, "At least one augmentation view is needed.")
        _require(0 < self.label_fraction <= 1, "The label fraction must lie in (0, 1].")
        _require(self.early_stopping >= 0, "Early stopping takes a patience in epochs, 0 for none.")


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A named configuration and what to expect of it."""

    config: RunConfig
    expects: str


PRESETS: dict[str, dict[str, Preset]] = {
    "pretrain": {
        "paper": Preset(config=PretrainConfig(), expects="300 epochs at 224 px, as the study; a GPU is needed."),
        "gpu": Preset(config=PretrainConfig(schedule="128x270,224x30", layer_scale=0.1),
                      expects="270 epochs at 128 px and 30 at 224 px; for a GPU, not timed yet."),
        "laptop": Preset(config=PretrainConfig(schedule="64x40,128x8", batch_size=64, layer_scale=0.1),
                         expects="40 epochs at 64 px and 8 at 128 px; by the rates of single epochs 2.5 hours on 2 "
                         "CPU cores with fast bf16 and 6.5 without, for 6,000 images."),
        "quick": Preset(config=PretrainConfig(schedule="64x15,128x3", batch_size=64),
                        expects="15 epochs at 64 px and 3 at 128 px; 1 to 2 hours on 2 CPU cores for 6,000 images."),
    },
    "pretrain-ssl": {
        "paper": Preset(config=ContrastiveConfig(), expects="300 epochs at 224 px, as the study's Stage I; a GPU is "
                        "needed."),
        "gpu": Preset(config=ContrastiveConfig(schedule="128x270,224x30", layer_scale=0.1),
                      expects="270 epochs at 128 px and 30 at 224 px; for a GPU, not timed yet."),
        "laptop": Preset(config=ContrastiveConfig(schedule="64x40", batch_size=128, layer_scale=0.1,
                                                  warmup_epochs=2.0),
                         expects="40 epochs at 64 px; 50 minutes on 2 CPU cores with fast bf16 for 6,000 images."),
        "quick": Preset(config=ContrastiveConfig(schedule="64x20", batch_size=128, warmup_epochs=1.0),
                        expects="20 epochs at 64 px; about an hour on 2 CPU cores for 6,000 images."),
    },
    "pretrain-supervised": {
        "gpu": Preset(config=SupervisedConfig(schedule="32x30,64x30"),
                      expects="30 epochs at 32 px and 30 at 64 px; for a GPU, not timed yet."),
        "laptop": Preset(config=SupervisedConfig(schedule="32x12,64x3"),
                         expects="12 epochs at 32 px and 3 at 64 px; by the rates of single epochs 2 hours on 2 CPU "
                         "cores with fast bf16 and 6 without, for 100,000 images."),
    },
    "train": {
        "gpu": Preset(config=FinetuneConfig(schedule="224x50"), expects="50 epochs at 224 px; for a GPU."),
        "laptop": Preset(config=FinetuneConfig(schedule="128x30", views=6),
                         expects="30 epochs at 128 px, of 6 views; 14 minutes on 2 CPU cores with fast bf16 for "
                         "6,000 images."),
        "paper": Preset(config=FinetuneConfig(), expects="50 epochs at 224 px, last stage and head trained."),
        "quick": Preset(config=FinetuneConfig(schedule="128x30"), expects="30 epochs at 128 px; runs on CPU."),
    },
    "study": {
        "gpu": Preset(config=FinetuneConfig(schedule="224x50"),
                      expects="50 epochs at 224 px for every arm and seed; for a GPU."),
        "laptop": Preset(config=FinetuneConfig(schedule="64x30", views=16, stage_lr=5e-4),
                         expects="30 epochs at 64 px, of 16 views, for every arm and seed; on a CPU core "
                         "without fast bf16 24 to 28 minutes a run, and 20 once for the views of an arm, for 6,000 "
                         "images; `scratch` takes far longer, `random` needs its views for every seed."),
        "paper": Preset(config=FinetuneConfig(), expects="50 epochs at 224 px for every arm and seed; on a GPU."),
        "quick": Preset(config=FinetuneConfig(schedule="64x30"), expects="30 epochs at 64 px for every arm and seed; "
                        "a run takes some 15 minutes on 2 CPU cores for 6,000 images, one of `scratch` far longer."),
    },
}


@dataclass(frozen=True, kw_only=True)
class Environment:
    """What the process environment decides.

    Attributes:
        admin_hash, visitor_hash: argon2id hashes of the two passwords, in place of the files in `home`.
        admin_http: logins are taken over plain http from other machines too.
        data: folders below which data sets may be registered.
        slurm: settings of the cluster such as ``partition=gpu,gpus=1,nodes=1``; empty where there is none.
        jobs: jobs that may run at once on each device.
    """

    home: Path
    checkpoints: Path
    data: tuple[Path, ...] = ()
    slurm: str = ""
    jobs: int = 1
    offline: bool = field(default=False)
    host: str = "127.0.0.1"
    port: int = 7860
    upload_seconds: float = 30.0
    admin_hash: str | None = field(default=None, repr=False)
    visitor_hash: str | None = field(default=None, repr=False)
    admin_http: bool = False


def environment() -> Environment:
    """Read the environment: DERMDEMO_HOME, DERMDEMO_CHECKPOINTS, DERMDEMO_DATA (folders, colon-separated),
    DERMDEMO_SLURM, DERMDEMO_JOBS, DERMDEMO_ADMIN_HASH, DERMDEMO_VISITOR_HASH, DERMDEMO_ADMIN_HTTP (1: logins over
    plain http from other machines), DERMDEMO_UPLOAD_SECONDS (how long an uploaded file stays once it was read),
    HF_HUB_OFFLINE, GRADIO_SERVER_NAME and _PORT.

    Raises:
        ConfigError: the port, the seconds or the number of jobs is no number.
    """
    port, jobs = os.environ.get("GRADIO_SERVER_PORT", "7860"), os.environ.get("DERMDEMO_JOBS", "1")
    _require(port.isdigit(), f"GRADIO_SERVER_PORT must be a number, not '{port}'.")
    seconds = os.environ.get("DERMDEMO_UPLOAD_SECONDS", "30")
    _require(seconds.isdigit(), f"DERMDEMO_UPLOAD_SECONDS must be a whole number of seconds, not '{seconds}'.")
    _require(jobs.isdigit() and int(jobs) >= 1, f"DERMDEMO_JOBS must be a number from 1 on, not '{jobs}'.")
    root = Path(__file__).resolve().parent.parent
    return Environment(
        home=Path(os.environ.get("DERMDEMO_HOME", ".dermdemo")),
        checkpoints=Path(os.environ.get("DERMDEMO_CHECKPOINTS", str(root / "checkpoints"))),
        data=tuple(Path(p) for p in os.environ.get("DERMDEMO_DATA", "").split(os.pathsep) if p),
        slurm=os.environ.get("DERMDEMO_SLURM", ""),
        jobs=int(jobs),
        host=os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"),
        port=int(port),
        upload_seconds=float(seconds),
        admin_hash=os.environ.get("DERMDEMO_ADMIN_HASH") or None,
        visitor_hash=os.environ.get("DERMDEMO_VISITOR_HASH") or None,
        admin_http=os.environ.get("DERMDEMO_ADMIN_HTTP", "") == "1",
        offline=os.environ.get("HF_HUB_OFFLINE", "") not in ("", "0"),
    )
