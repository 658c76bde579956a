"""Starting a pretraining run from a checkpoint of ours: what fits, what is taken, and what it had cost.

What a run started from is kept in its config.json, so that a resume, or the export of a stopped run, needs the
earlier checkpoint no more; only a run killed before its first epoch reads it again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from torch import nn

from dermdemo.config import ContrastiveConfig, PretrainConfig, SupervisedConfig
from dermdemo.errors import CheckpointError, ConfigError
from dermdemo.models.checkpoint import BARE, CheckpointMeta, Kind, load_meta, load_part, load_strict, load_vae
from dermdemo.models.encoder import Encoder

THEN = ", then "  # between machines, in the order of their use
SHOWN = 12  # digits of a SHA-256
Pretraining = PretrainConfig | SupervisedConfig | ContrastiveConfig


@dataclass(frozen=True, kw_only=True)
class WarmStart:
    """A checkpoint as a run found it.

    Attributes:
        folder: where it was; `name` and `sha256` say what it was.
        parts: those that are taken; what the model has besides starts fresh.
        data, data_hash, split_hash: what it was trained on.
        spent: its epochs, schedule, hours and hardware, in all.
    """

    folder: str
    name: str
    sha256: str
    parts: tuple[str, ...]
    data: str
    data_hash: str
    split_hash: str | None
    licence: str
    spent: Mapping[str, Any]

    @classmethod
    def of(cls, folder: Path, meta: CheckpointMeta) -> Self:
        """From a checkpoint's metadata."""
        return cls(folder=str(folder), name=folder.name or meta.name, sha256=meta.sha256, parts=tuple(meta.files),
                   data=str(meta.data.get("name", "unknown data")), data_hash=str(meta.data.get("hash", "")),
                   split_hash=meta.split_hash, licence=meta.licence, spent=dict(meta.spent))

    @property
    def words(self) -> str:
        """``started from 'vae' (SHA-256 0123456789ab, ham10000, 64x8 px x epochs)`` and what was not taken."""
        fresh = "; only its trunk is taken, the last stage started fresh" if self.parts == ("trunk",) else ""
        return (f"started from '{self.name}' (SHA-256 {self.sha256[:SHOWN]}, {self.data}, "
                f"{self.spent.get('schedule', 'unknown')} px x epochs){fresh}")

    def licence_with(self, own: str) -> str:
        """The licence of weights that stand on these and on data of licence `own`."""
        return own if self.licence in ("", own) else f"{own}; and, for what it started from, {self.licence}"

    def spent_with(self, own: Mapping[str, Any]) -> dict[str, Any]:
        """`own` epochs, schedule, hours and hardware added to what the earlier checkpoint had spent."""
        before = self.spent
        machines = str(before.get("hardware", "unknown")).split(THEN)
        machines += [str(own["hardware"])] if machines[-1] != own["hardware"] else []
        return {"epochs": int(before.get("epochs", 0)) + int(own["epochs"]),
                "schedule": join_schedules(str(before.get("schedule", "")), str(own["schedule"])),
                "hours": round(float(before.get("hours", 0)) + float(own["hours"]), 3),
                "hardware": THEN.join(machines),
                **({"finished": own["finished"]} if "finished" in own else {}),
                "started_from": {"checkpoint": self.name, "sha256": self.sha256, "parts": list(self.parts),
                                 **{k: before[k] for k in ("epochs", "schedule", "hours") if k in before}}}


def join_schedules(before: str, after: str) -> str:
    """``64x8`` and ``64x7,128x3`` -> ``64x15,128x3``: one after the other, equal neighbours added up."""
    joined: list[tuple[str, int]] = []
    for phase in f"{before},{after}".split(","):
        size, _, epochs = phase.partition("x")
        if joined and joined[-1][0] == size:
            joined[-1] = size, joined[-1][1] + int(epochs)
        elif epochs:
            joined.append((size, int(epochs)))
    return ",".join(f"{size}x{epochs}" for size, epochs in joined)


def find_start(init: Path | None, out: Path, config: Pretraining, *, resumes: bool) -> WarmStart | None:
    """What a run starts from: `init`, or what a resumed run did; None for a run from scratch.

    Raises:
        CheckpointError: no checkpoint there, or one that does not fit the run.
        ConfigError: the run to resume was started from something else.
    """
    asked = None if init is None else _checked(init, config)
    path = out / "config.json"
    if not resumes or not path.exists():
        return asked
    saved = json.loads(path.read_text()).get("init")
    start = None if saved is None else WarmStart(**{**saved, "parts": tuple(saved["parts"])})
    if asked is not None and (start is None or start.sha256 != asked.sha256):
        was = f"'{start.name}' (SHA-256 {start.sha256[:SHOWN]})" if start else "random weights"
        raise ConfigError(f"'{out}' was started from {was}, not from '{init}': resume it without --init.")
    return start


def _kind(config: Pretraining) -> Kind:
    """What a run of these settings makes, and may start from."""
    if isinstance(config, PretrainConfig):
        return "ae" if config.ae else "vae"
    return "encoder" if isinstance(config, SupervisedConfig) else "ssl"


def _checked(folder: Path, config: Pretraining) -> WarmStart:
    meta = load_meta(folder)
    wanted = _kind(config)
    if meta.kind != wanted:
        raise CheckpointError(f"This run can start from a checkpoint of kind '{wanted}'; '{folder}' is of kind "
                              f"'{meta.kind}'.")
    if meta.encoder != config.encoder:
        raise CheckpointError(f"'{folder}' holds a {meta.encoder}; this run asks for a {config.encoder}.")
    if isinstance(config, PretrainConfig) and meta.latent != config.latent:
        raise CheckpointError(f"The latent of '{folder}' has {meta.latent} dimensions; this run asks for "
                              f"{config.latent}.")
    return WarmStart.of(folder, meta)


def check_unseen(start: WarmStart, data_hash: str, split_hash: str) -> None:
    """Raise CheckpointError if weights from the same data were trained by another split than this run's."""
    if start.data_hash == data_hash and start.split_hash != split_hash:
        raise CheckpointError(f"'{start.folder}' was trained on another split of the same data: it has seen "
                              "calibration and test lesions of this one. Use its split seed.")


def load_start(start: WarmStart, module: nn.Module) -> None:
    """Put the stored weights into a VAE, or into an object with an `encoder`.

    Raises:
        CheckpointError: the checkpoint is gone, has changed since the run was begun, or does not fit.
    """
    folder = Path(start.folder)
    meta = load_meta(folder)
    if meta.sha256 != start.sha256:
        raise CheckpointError(f"'{folder}' is not the checkpoint this run was started from any more (SHA-256 "
                              f"{meta.sha256[:SHOWN]} instead of {start.sha256[:SHOWN]}): begin a new run.")
    if meta.kind not in BARE:
        load_strict(module, load_vae(folder).module.state_dict(), start.folder)
        return
    encoder = module.encoder
    if not isinstance(encoder, Encoder):
        raise CheckpointError(f"'{folder}' holds an encoder, and there is none to load it into.")
    stored = [load_part(folder, part, sha) for part, sha in meta.files.items()]
    load_strict(encoder, {k: v for part in [encoder.state_dict(), *stored] for k, v in part.items()}, start.folder)
