"""Retraining from end to end: launch, prepare the folder, hand the candidate to the registry, repeat."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dermdemo.config import environment
from dermdemo.data.readable import prepare as load_prepared
from dermdemo.data.sources import SPLITS, LesionTable
from dermdemo.errors import CheckpointError, DataError, JobError
from dermdemo.evaluation.records import decode
from dermdemo.jobs.cluster import SlurmSettings
from dermdemo.jobs.data_checks import refuse
from dermdemo.jobs.datasets import LESIONS, Catalogue, catalogue
from dermdemo.jobs.gate import TRAINED_ON, known_lesions
from dermdemo.jobs.launcher import Launcher, launcher
from dermdemo.jobs.plan import RetrainRequest, code_facts, plan
from dermdemo.jobs.records import JobRecord
from dermdemo.jobs.registry import Version
from dermdemo.jobs.uploads import write_table
from dermdemo.models.checkpoint import load_meta

PER_CLASS = {"train": 3, "val": 2, "calib": 2, "test": 2}
MIN_DRY_TRAIN = 16  # the map of the atlas needs a dozen


@dataclass(frozen=True)
class Retraining:
    """The parts that retraining needs, on one state folder."""

    jobs: Launcher
    data: Catalogue

    def launch(self, request: RetrainRequest, *, who: str, facts: dict[str, str] | None = None) -> str:
        """Check a request, queue it and launch what may run. Returns the job's id.

        Raises:
            ConfigError, DataError, CheckpointError, JobError: it cannot be done as asked.
        """
        data = self.data.get(request.data)
        record = plan(request, data, self.data.registry, who=who, slurm=SlurmSettings.parse(environment().slurm),
                      facts=facts)
        if request.device not in self.jobs.limits:
            raise JobError(f"Jobs do not run on '{request.device}' here: choose from {', '.join(self.jobs.limits)}.")
        return self.jobs.submit(record, lambda job: self.data.registry.log.append(
            who=who, action="launch", data_hash=data.data_hash, model_hash=record.facts["base_sha256"],
            details={"job": job, "data": data.id}))

    def repeat(self, job: str, *, who: str) -> str:
        """Do a job again from its record: same data, base version, settings and seed. Returns the new id.

        Raises:
            JobError: no retraining job. DataError: the data are not what they were.
        """
        record = self.jobs.view(job).record
        request = request_of(record)
        data = self.data.get(request.data)
        if data.data_hash != record.facts["data_hash"]:
            raise DataError(f"The data set '{data.id}' is not what it was when job {job} ran.")
        return self.launch(request, who=who, facts={"repeats": job, "differs": "; ".join(drift(record))})

    def prepare(self, job: str) -> None:
        """First step of a job: check data and base again, put the VAE that stays in place, write the dry data.

        Raises:
            DataError: the data changed, or hold lesions they may not. CheckpointError: the base changed.
        """
        folder = self.jobs.store.folder(job)
        record = folder.record()
        request, registry = request_of(record), self.data.registry
        base = int(record.facts["base"])
        if registry.verify(base).sha256 != record.facts["base_sha256"]:
            raise CheckpointError(f"Version {base} is not what it was when the job was queued; launch it anew.")
        data, root = self.data.get(request.data), registry.root(base)
        self.data.check(data)
        table, split = load_prepared(data.source, split_seed=data.split_seed)
        if split.hash != record.facts["split_hash"]:
            raise DataError(f"The data set '{data.name}' no longer splits as it was registered: register it again.")
        names = np.array(split.names)
        refuse(table, known_lesions(root, ("test",)).rows(table) & (names != "test"), "by their ids")
        known = known_lesions(root, TRAINED_ON).rows(table)
        if not request.stage1 and known.any() and load_meta(root / "vae").split_hash != split.hash:
            raise DataError(f"{int(known.sum())} images show lesions that the VAE was trained on, under another "
                            "split: its calibration lesions would not be new to it. Launch the job with Stage I.")
        for store in (folder.path / "set", folder.path / "dry" / "set"):
            if not request.stage1:
                shutil.rmtree(store / "vae", ignore_errors=True)
                shutil.copytree(root / "vae", store / "vae")
        if request.dry_run:
            _write_dry(table, names, known, request.config("train").batch_size, folder.path / "dry" / LESIONS)

    def add_candidate(self, job: str) -> Version:
        """Last step of a job: its set becomes a version, once, with the gate's verdict."""
        folder = self.jobs.store.folder(job)
        record, registry = folder.record(), self.data.registry
        made = [v.version for v in registry.listed() if v.version and v.version.job == record.id]
        if made:
            return made[0]
        verdict = json.loads((folder.path / "work" / "gate" / "gate.json").read_bytes())["verdict"]
        version = registry.add(folder.path / "set", who=record.who, job=record.id, verdict=str(verdict))
        shutil.rmtree(folder.path / "dry", ignore_errors=True)
        return version


def _write_dry(table: LesionTable, names: np.ndarray, known: np.ndarray, batch: int, folder: Path) -> None:
    """A batch of training images and a few of every class and split, as a source with a split column."""
    keep = np.zeros(len(table), bool)
    fresh_first = np.argsort(known, kind="stable")  # the gate leaves out what the live models know
    labels = table.frame["label"].to_numpy(str)
    for split in SPLITS:
        for label in set(labels):
            rows = [r for r in fresh_first if names[r] == split and labels[r] == label]
            keep[rows[:PER_CLASS[split]]] = True
    train = np.flatnonzero((names == "train") & ~keep)
    keep[train[:max(0, max(batch, MIN_DRY_TRAIN) - int((keep & (names == "train")).sum()))]] = True
    shutil.rmtree(folder, ignore_errors=True)
    frame = table.frame.assign(split=names)
    write_table(replace(table, frame=frame).take(keep.tolist()), folder)


def request_of(record: JobRecord) -> RetrainRequest:
    """The request a job was made from. Raises JobError: it is no retraining job."""
    try:
        return decode(RetrainRequest, {k: json.loads(v) for k, v in record.request.items()})
    except (DataError, ValueError) as error:
        raise JobError(f"Job {record.id} cannot be repeated: its request cannot be read ({error}).") from error


def drift(record: JobRecord) -> list[str]:
    """What differs between the code and libraries of a record and those installed now."""
    return [f"{name} {record.facts.get(name, 'unknown')[:12]} then, {value[:12]} now"
            for name, value in code_facts().items() if record.facts.get(name) != value]


def retraining() -> Retraining:
    """Retraining as the environment describes it."""
    return Retraining(launcher(), catalogue())
