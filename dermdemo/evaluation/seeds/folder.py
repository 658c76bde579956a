"""The folder of a study: settings that may not change, a run folder per arm and seed, checkpoints, readings.

    study.json                     settings; a study that goes on with others is refused
    runs/vae-s0/                   a Stage II run, with scores/ (see `image_scores`)
        model.json                 written when its model is finished: it is never trained again
        test_predictions.npz       with test.json: test was read, and is not read again
    checkpoints/vae-s0/            the finished models, beside the encoders they stand on
    pixels/                        the control without a network
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from dermdemo.errors import ConfigError, DataError
from dermdemo.evaluation.records import decode, encode

SETTINGS_FILE, MODEL_FILE, TEST_FILE = "study.json", "model.json", "test.json"
RUNS, CHECKPOINTS, PIXELS_FOLDER, SCORES = "runs", "checkpoints", "pixels", "scores"
SCHEMA_VERSION = 1
MAY_DIFFER = ("arms", "seeds", "starts", "config")
HARDWARE = ("device", "devices", "num_nodes", "seed")  # settings of a run that the study leaves free or sets itself
Kind = Literal["missing", "broken off", "trained", "done"]
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class StudySettings:
    """What all runs share.

    Attributes:
        data, data_hash, split_hash: the source and its split by lesion.
        config: settings of Stage II as every arm gets them, as text.
        starts: arm -> hash (or name) of the weights its encoder starts from, for the pretrained arms.
    """

    data: str
    data_hash: str
    split_seed: int
    split_hash: str
    classes: tuple[str, ...]
    encoder: str
    config: Mapping[str, str]
    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    starts: Mapping[str, str] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, kw_only=True)
class FinishedModel:
    """model.json: the checkpoint of a finished run; `seconds` is wall time, 0 if it was broken off in between."""

    sha256: str
    epochs: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Reading:
    """test.json: which model test was read for, and how often in all on the machine that read it."""

    sha256: str
    split_hash: str
    readings: int


@dataclass(frozen=True, kw_only=True)
class RunPlace:
    """Where one arm with one seed lives."""

    root: Path
    arm: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.arm}-s{self.seed}"

    @property
    def folder(self) -> Path:
        return self.root / RUNS / self.name

    @property
    def checkpoint(self) -> Path:
        return self.root / CHECKPOINTS / self.name

    @property
    def kind(self) -> Kind:
        """How far it has come; a model that is not where it should be counts as broken off."""
        if not (self.folder / "config.json").exists():
            return "missing"
        if not (self.folder / MODEL_FILE).exists() or not (self.checkpoint / "meta.json").exists():
            return "broken off"
        return "done" if (self.folder / TEST_FILE).exists() else "trained"

    @property
    def model(self) -> FinishedModel | None:
        return read_json(FinishedModel, self.folder / MODEL_FILE)

    @property
    def reading(self) -> Reading | None:
        return read_json(Reading, self.folder / TEST_FILE)


def write_json(path: Path, value: object) -> None:
    """Write a dataclass as JSON, whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(json.dumps(encode(value), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def read_json(kind: type[T], path: Path) -> T | None:
    """What `write_json` wrote; None if there is no such file. Raises DataError if it is damaged."""
    try:
        return decode(kind, json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise DataError(f"'{path}' is damaged: {error}.") from error


def load_settings(root: Path) -> StudySettings:
    """Settings of a study. Raises DataError if the folder holds none."""
    settings = read_json(StudySettings, root / SETTINGS_FILE)
    if settings is None:
        raise DataError(f"'{root}' holds no study: {SETTINGS_FILE} is missing. Start one: `python -m dermdemo study "
                        f"SOURCE --out {root}`.")
    return settings


def agreed_settings(root: Path, wanted: StudySettings) -> StudySettings:
    """`wanted`, joined with the arms and seeds the study has already; nothing is written.

    Raises:
        ConfigError: a setting has changed since the study began.
    """
    before = read_json(StudySettings, root / SETTINGS_FILE)
    if before is None:
        return wanted
    changed = changed_settings(before, wanted)
    if changed:
        raise ConfigError(f"'{root}' was begun with other settings: {'; '.join(changed)}. A study keeps its "
                          "settings: go on with the same ones, or choose another --out.")
    joined = {**encode(wanted), "arms": [*before.arms, *(a for a in wanted.arms if a not in before.arms)],
              "seeds": sorted({*before.seeds, *wanted.seeds}), "starts": {**before.starts, **wanted.starts}}
    return decode(StudySettings, joined)


def changed_settings(before: StudySettings, now: StudySettings) -> list[str]:
    """``lr was 0.001 and is now 0.1`` for every setting that would make runs incomparable."""
    a, b = encode(before), encode(now)
    pairs = {k: (a[k], b[k]) for k in a if k not in MAY_DIFFER}
    pairs |= {k: (a["config"].get(k), b["config"].get(k))
              for k in sorted({*a["config"], *b["config"]}) if k not in HARDWARE}
    pairs |= {f"weights of {arm}": (a["starts"][arm], b["starts"][arm]) for arm in a["starts"] if arm in b["starts"]}
    return [f"{k} was {_short(x)} and is now {_short(y)}" for k, (x, y) in pairs.items() if x != y]


def _short(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 40 else f"{text[:12]}..."
