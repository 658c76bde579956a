"""What was measured of this machine's speed: by a process of its own, kept in the state folder, read back.

`costs/speeds.jsonl` holds one measurement a line with the identity of the machine; those of another one (other
processor, cores, GPU or torch) say nothing here and are passed over.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dermdemo.errors import DataError, JobError
from dermdemo.evaluation.records import decode, encode
from dermdemo.jobs.files import canonical, locked, utc_now, write_atomic
from dermdemo.jobs.machine import VISIBLE, gpus, identity_of
from dermdemo.jobs.processes import die_with_parent
from dermdemo.jobs.worker import step_environment
from dermdemo.types import Speed, SpeedReport

LIMIT_SECONDS, TRIED_SECONDS = 420.0, 40.0  # at most for all of it; for sizes beyond the smallest
HINDERED, HINDERED_KEEP = 0.5, 1800.0  # measured with less of the processor than this it is good for half an hour
KEPT = 200


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One measurement.

    Attributes:
        machine: identity, as `machine.identity_of` says. `created`: UTC. `at`: seconds since 1970.
        unfrozen: trained stages of the encoder in Stage II. `data_hash`: of the data whose images it was made on.
        asked: stage -> sizes that were to be measured; those that would have taken too long were not.
    """

    machine: str
    device: str
    encoder: str
    unfrozen: int
    data_hash: str
    created: str
    at: float
    report: SpeedReport
    asked: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def fresh(self) -> bool:
        """Whether it still says something: always, unless others used the processor."""
        return self.report.share >= HINDERED or 0 <= time.time() - self.at < HINDERED_KEEP


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a job does, as far as speed depends on it.

    Attributes:
        sizes: stage -> sizes of its schedule. `configs`: stage -> its settings.
    """

    device: str
    encoder: str
    unfrozen: int
    source: str
    data_hash: str
    sizes: Mapping[str, Sequence[int]]
    configs: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Speeds:
    """The measurements in a state folder."""

    home: Path

    @property
    def _path(self) -> Path:
        return self.home / "costs" / "speeds.jsonl"

    def all(self) -> list[Measured]:
        """Those of this machine that still say something, newest first; lines that cannot be read are passed over."""
        found = []
        for line in self._path.read_bytes().splitlines() if self._path.exists() else []:
            try:
                found.append(decode(Measured, json.loads(line)))
            except (ValueError, DataError):
                continue
        return [m for m in reversed(found) if m.fresh and m.machine == identity_of(m.device)]

    def common(self, wanted: Wanted) -> Measured | None:
        """The newest measurement on the same data and device."""
        return next((m for m in self.all() if (m.device, m.data_hash) == (wanted.device, wanted.data_hash)), None)

    def _same(self, wanted: Wanted, stage: str) -> list[Measured]:
        """Measurements of the same network on the same device."""
        return [m for m in self.all() if (m.device, m.encoder) == (wanted.device, wanted.encoder)
                and (stage == "pretrain" or m.unfrozen == wanted.unfrozen)]

    def of(self, wanted: Wanted, stage: str) -> list[tuple[Speed, Measured]]:
        """Speeds of a stage of the same network, one for each size."""
        found: dict[int, tuple[Speed, Measured]] = {}
        for m in self._same(wanted, stage):
            for speed in m.report.speeds:
                if speed.stage == stage:
                    found.setdefault(speed.size, (speed, m))
        return list(found.values())

    def missing(self, wanted: Wanted) -> dict[str, list[int]] | None:
        """Sizes of each stage that nobody asked for yet; None if nothing is missing, not even the data's images."""
        found = {}
        for stage, sizes in wanted.sizes.items():
            asked = {size for m in self._same(wanted, stage) for size in m.asked.get(stage, ())}
            asked = asked if self.of(wanted, stage) else set()
            if set(sizes) - asked:
                found[stage] = sorted(set(sizes) - asked)
        return found if found or self.common(wanted) is None else None

    def measure(self, wanted: Wanted) -> None:
        """Measure what is missing. Takes a minute or so. Raises JobError: it failed, or took too long."""
        missing = self.missing(wanted)
        if missing is None:
            return
        request = {"source": wanted.source, "encoder": wanted.encoder, "seconds": TRIED_SECONDS, "stages": [
            {"stage": stage, "config": dict(wanted.configs[stage]), "sizes": missing[stage]}
            for stage in sorted(missing, reverse=True)]}  # the smaller network first: its memory is not hidden then
        report = run(request, self._path.parent, cuda=wanted.device == "cuda")
        measured = Measured(machine=identity_of(wanted.device), device=wanted.device, encoder=wanted.encoder,
                            unfrozen=wanted.unfrozen, data_hash=wanted.data_hash, created=utc_now(), at=time.time(),
                            report=report, asked={stage: tuple(sizes) for stage, sizes in missing.items()})
        with locked(self._path.parent / ".lock"):
            lines = self._path.read_bytes().splitlines() if self._path.exists() else []
            lines = [*lines[1 - KEPT:], canonical(encode(measured))]
            write_atomic(self._path, b"".join(line + b"\n" for line in lines))


def run(request: Mapping[str, Any], folder: Path, *, cuda: bool = False) -> SpeedReport:
    """Measure in a process that ends with this one. Raises JobError."""
    folder.mkdir(parents=True, exist_ok=True)
    env = step_environment() | ({VISIBLE: gpus()[-1].id} if cuda and gpus() else {})  # jobs take the first ones first
    text = json.dumps({**request, "began": time.time()})
    try:
        done = subprocess.run([sys.executable, "-m", "dermdemo.training.speed"], input=text, capture_output=True,
                              text=True, cwd=folder, env=env, timeout=LIMIT_SECONDS, check=False,
                              preexec_fn=die_with_parent)
    except subprocess.TimeoutExpired as error:
        raise JobError(f"Measuring this machine took more than {LIMIT_SECONDS / 60:.0f} minutes and was ended; the "
                       "cost is not known.") from error
    if done.returncode:
        said = [line.removeprefix("dermdemo: ") for line in done.stderr.splitlines() if line.strip()]
        why = said[-1] if said else f"it was ended by signal {-done.returncode}"
        raise JobError(f"The speed of this machine could not be measured: {why[:300]}")
    try:
        return decode(SpeedReport, json.loads(done.stdout.splitlines()[-1]))
    except (ValueError, IndexError, DataError) as error:
        raise JobError("The speed of this machine could not be measured: the report cannot be read.") from error
