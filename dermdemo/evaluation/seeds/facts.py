"""What a study's table does not hold: settings, models with their hashes and readings, sentences. Kept as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from dermdemo.config import FinetuneConfig
from dermdemo.errors import DataError
from dermdemo.evaluation.records import decode, encode
from dermdemo.evaluation.seeds.runs import Study
from dermdemo.evaluation.seeds.sampling import Resampling
from dermdemo.evaluation.seeds.variants import PIXELS, WORDS, parse_variant

SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """One finished model; `readings` counts how often test was read for it where it was read."""

    arm: str
    seed: int
    sha256: str
    readings: int
    epochs: int
    hours: float
    hardware: str
    finished: str | None
    origin: str
    signatures: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class StudyFacts:
    """results.json.

    Attributes:
        arms: name -> what it is in words, in the order of the table.
        unfrozen: name -> trained stages; seeds: those that were planned.
        config: settings of Stage II that all arms share.
        missing: planned runs that have not finished.
        notes: on figures that could not be made.
    """

    data: str
    data_hash: str
    split_seed: int
    split_hash: str
    encoder: str
    classes: tuple[str, ...]
    arms: Mapping[str, str]
    seeds: tuple[int, ...]
    config: Mapping[str, str]
    starts: Mapping[str, str]
    versions: Mapping[str, str]
    models: tuple[ModelFacts, ...]
    control_readings: int | None
    n_resamples: int
    resampling_seed: int
    level: float
    missing: tuple[str, ...]
    notes: tuple[str, ...]
    schema_version: int = SCHEMA_VERSION

    def to_json(self) -> str:
        """JSON text without NaN; `facts_from_json` gives back an equal value."""
        return json.dumps(encode(self), indent=2, allow_nan=False) + "\n"

    @property
    def finished_seeds(self) -> tuple[int, ...]:
        """Seeds with a finished model: what the figures rest on, where others are to come."""
        return tuple(sorted({m.seed for m in self.models}))

    @property
    def drawn(self) -> str:
        """What the bootstrap drew: ``lesions and 5 seeds``; lesions only where there is one seed."""
        n = len(self.finished_seeds)
        return f"lesions and {n} seeds" if n > 1 else "lesions only, as there is one seed"

    @property
    def test_read(self) -> str:
        """How often test was read: ``read once per model``, or the most that any model needed."""
        most = max((m.readings for m in self.models), default=0)
        return "read once per model" if most <= 1 else f"read up to {most} times per model"

    @property
    def networks(self) -> tuple[str, ...]:
        """The arms that were trained by Stage II."""
        return tuple(a for a in self.arms if a != PIXELS)


def facts_from_json(text: str, where: str) -> StudyFacts:
    """Read what `StudyFacts.to_json` wrote. Raises DataError, naming `where`, if it is something else."""
    try:
        facts = decode(StudyFacts, json.loads(text))
    except ValueError as error:
        raise DataError(f"{where} is not valid JSON: {error}.") from error
    if facts.schema_version != SCHEMA_VERSION:
        raise DataError(f"{where} has version {facts.schema_version}; this program reads {SCHEMA_VERSION}.")
    return facts


def gather_facts(study: Study, how: Resampling, notes: list[str]) -> StudyFacts:
    """Everything the page needs beside the table; no folder of the machine is among it."""
    s = study.settings
    base = _config(s.config)
    control = study.runs.get(PIXELS)
    words = {a: WORDS[PIXELS] if a == PIXELS else parse_variant(a).to_text(base) for a in study.arms}
    return StudyFacts(
        data=s.data, data_hash=s.data_hash, split_seed=s.split_seed, split_hash=s.split_hash, encoder=s.encoder,
        classes=s.classes, arms=words, seeds=s.seeds, starts=s.starts, models=_models(study),
        config={k: v for k, v in s.config.items() if k not in ("seed", "device", "devices", "num_nodes")},
        versions=_versions(study),
        control_readings=next(iter(control.values())).reading.readings if control else None,
        n_resamples=how.n_resamples, resampling_seed=how.seed, level=how.level, missing=study.missing(),
        notes=tuple(notes))


def _config(stored: Mapping[str, str]) -> FinetuneConfig:
    """The two settings that the words of an arm depend on."""
    return FinetuneConfig(unfrozen_stages=int(stored["unfrozen_stages"]), layer_scale=float(stored["layer_scale"]))


def _models(study: Study) -> tuple[ModelFacts, ...]:
    return tuple(
        ModelFacts(arm=arm, seed=seed, sha256=run.meta.sha256, readings=run.reading.readings,
                   epochs=int(run.meta.spent["epochs"]), hours=float(run.meta.spent["hours"]),
                   hardware=str(run.meta.spent["hardware"]), finished=run.finished, origin=run.meta.origin_text,
                   signatures=tuple(s.text for s in run.signatures))
        for arm, of_arm in study.runs.items() for seed, run in of_arm.items() if run.meta is not None)


def _versions(study: Study) -> dict[str, str]:
    """Version of each library, or all of them where runs differ."""
    found: dict[str, list[str]] = {}
    for of_arm in study.runs.values():
        for run in of_arm.values():
            for name, version in (run.meta.versions if run.meta else {}).items():
                if version not in found.setdefault(name, []):
                    found[name].append(version)
    return {name: " and ".join(versions) for name, versions in sorted(found.items())}
