"""The commands of retraining: data sets, jobs, model versions, the gate and the audit log.

As in `commands`, heavy imports wait inside `run`.
"""

from __future__ import annotations

import getpass
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tyro.conf import Positional

from dermdemo.config import DeviceName


def _user() -> str:
    """Who types, as the system knows them."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        return "unknown"


@dataclass(frozen=True)
class DataRegister:
    """Register a data set for retraining: a folder on the allow-list (DERMDEMO_DATA) or a zip."""

    path: Positional[Path]
    name: str = ""
    map: tuple[str, ...] = ()
    """Labels that are no classes of the live models: LABEL=CLASS, or LABEL= to leave its images out."""
    split_seed: int = 0
    """Seed of the split by lesion."""
    names_only: bool = False
    """Compare with the live models' test lesions by ids only, where their pictures are not registered."""
    who: str = field(default_factory=_user)

    def run(self) -> int:
        from dermdemo.data.archives import is_archive
        from dermdemo.jobs.datasets import Offer, catalogue

        offer = Offer(who=self.who, name=self.name, mapping=_pairs(self.map), split_seed=self.split_seed,
                      names_only=self.names_only)
        zipped = self.path.is_file() and is_archive(self.path)
        data = catalogue().add_zip(self.path, offer) if zipped else catalogue().add_folder(str(self.path), offer)
        print(f"{data.id}  {data.name}: {data.images} images of {data.groups} lesions")
        for note in data.notes:
            print(f"note: {note}", file=sys.stderr)
        return 0


@dataclass(frozen=True)
class DataList:
    """List the registered data sets."""

    def run(self) -> int:
        from dermdemo.jobs.datasets import catalogue

        for d in catalogue().listed():
            print(f"{d.id}  {d.name:<24}{d.images:>7} images{d.groups:>7} lesions  {d.created[:10]}  by {d.who}")
        return 0


@dataclass(frozen=True)
class JobsList:
    """List all jobs with their states; launches what may run."""

    def run(self) -> int:
        from dermdemo.jobs.launcher import launcher

        for v in launcher().tick():
            at = f"  {v.history.step}" if v.history.step else ""
            print(f"{v.id}  {v.state:<10}{v.record.device:<7}{v.record.created[:16]}  by {v.record.who}{at}")
        return 0


@dataclass(frozen=True)
class JobsLaunch:
    """Queue a retraining job: Stage I if wanted, both arms, the gate, the atlas; in the end a candidate."""

    data: Positional[str]
    """Id of a registered data set."""
    recipe: Literal["quick", "paper"] = "quick"
    """Preset of both stages."""
    stage1: bool = False
    """Train the VAE anew; else that of the version started from stays."""
    device: Literal["cpu", "cuda", "slurm"] = "cpu"
    gate: Literal["calib", "val"] = "calib"
    """Split that the candidate is judged on."""
    seed: int = 0
    hours: float = 24.0
    """Time limit of one attempt."""
    dry_run: bool = True
    """First try one batch of every stage."""
    base: int | None = None
    """Version to start from; by default the live one."""
    knob: tuple[str, ...] = ()
    """Settings on top of the recipe, such as train.lr=0.001."""
    who: str = field(default_factory=_user)

    def run(self) -> int:
        from dermdemo.jobs.plan import RetrainRequest
        from dermdemo.jobs.retrain import retraining

        request = RetrainRequest(data=self.data, recipe=self.recipe, stage1=self.stage1, device=self.device,
                                 gate=self.gate, seed=self.seed, hours=self.hours, dry_run=self.dry_run,
                                 base=self.base, knobs=_pairs(self.knob))
        print(retraining().launch(request, who=self.who))
        return 0


@dataclass(frozen=True)
class JobsShow:
    """Show one job: state, record, steps, events and where its logs are."""

    job: Positional[str]

    def run(self) -> int:
        from dermdemo.jobs.launcher import launcher, logs

        view = launcher().view(self.job)
        print(f"{view.id}  {view.state}  attempt {view.history.attempt} ({view.history.mode})")
        print(view.history.reason or "", end="\n" if view.history.reason else "")
        for step in view.record.steps:
            state = "done" if step.name in view.history.done else "at" if step.name == view.history.step else ""
            print(f"  {step.name:<22}{state:<6}python -m dermdemo {' '.join(step.argv)}")
        for key, value in {**view.record.request, **view.record.facts}.items():
            print(f"  {key}: {value}")
        for log in logs(view.folder):
            print(f"  log {log}")
        return 0


@dataclass(frozen=True)
class _OneJob:
    job: Positional[str]
    who: str = field(default_factory=_user)

    def _act(self, action: Literal["stop", "cancel", "resume", "retry"]) -> int:
        from dermdemo.jobs.launcher import launcher

        jobs = launcher()
        jobs.act(self.job, action, who=self.who)
        print(f"{self.job}  {jobs.view(self.job).state}")
        return 0


@dataclass(frozen=True)
class JobsStop(_OneJob):
    """End the running training stage after its epoch and keep it; of a job that broke off, keep what it reached."""

    def run(self) -> int:
        return self._act("stop")


@dataclass(frozen=True)
class JobsCancel(_OneJob):
    """End a job at once and discard what it has made."""

    def run(self) -> int:
        return self._act("cancel")


@dataclass(frozen=True)
class JobsResume(_OneJob):
    """Go on where a failed or lost job broke off."""

    def run(self) -> int:
        return self._act("resume")


@dataclass(frozen=True)
class JobsRetry(_OneJob):
    """Begin a failed, lost or cancelled job anew."""

    def run(self) -> int:
        return self._act("retry")


@dataclass(frozen=True)
class JobsRepeat(_OneJob):
    """Do a job again, as a new job, from its record; says what has changed in code and libraries since."""

    def run(self) -> int:
        from dermdemo.jobs.retrain import drift, retraining

        parts = retraining()
        for line in drift(parts.jobs.view(self.job).record):
            print(f"changed since: {line}", file=sys.stderr)
        print(parts.repeat(self.job, who=self.who))
        return 0


@dataclass(frozen=True)
class JobsPrepare:
    """First step of a job, run by its worker: check data and base again, write what the steps need."""

    job: Positional[str]

    def run(self) -> int:
        from dermdemo.jobs.retrain import retraining

        retraining().prepare(self.job)
        return 0


@dataclass(frozen=True)
class Gate:
    """Compare a candidate set with a live one on a gate split: paired differences and a verdict in words."""

    candidate: Positional[Path]
    live: Positional[Path]
    source: Positional[str]
    split: Literal["calib", "val"] = "calib"
    split_seed: int = 0
    """Seed of the split by lesion."""
    resamples: int = 1000
    """Bootstrap resamples over lesions."""
    out: Path | None = None
    """Write gate.json and gate.txt here."""
    device: DeviceName = "auto"

    def run(self) -> int:
        from dermdemo.jobs.gate import run_gate

        report = run_gate(self.candidate, self.live, self.source, split_name=self.split, split_seed=self.split_seed,
                          n_resamples=self.resamples, device=self.device)
        print(report.to_text())
        if self.out:
            self.out.mkdir(parents=True, exist_ok=True)
            (self.out / "gate.json").write_text(report.to_json())
            (self.out / "gate.txt").write_text(report.to_text() + "\n")
        return 0


@dataclass(frozen=True)
class ModelsList:
    """List all versions of the models: which is live, where each came from, what the gate said."""

    def run(self) -> int:
        from dermdemo.jobs.registry import registry

        models = registry()
        for v in models.listed():
            known = f"{v.version.sha256[:12]}  {v.version.created[:16]}" if v.version else f"unusable: {v.problem}"
            print(f"{v.number:>3}  {v.standing:<10}{known}" + (f"  job {v.version.job}" if v.version and v.version.job
                                                              else ""))
            for line in (v.version.verdict if v.version else "").splitlines():
                print(f"       {line}")
        problem = models.serving().problem
        if problem:
            print(f"dermdemo: the live version is not served: {problem}", file=sys.stderr)
        return int(bool(problem))


@dataclass(frozen=True)
class ModelsAdd:
    """Last step of a job, run by its worker: its set becomes a candidate."""

    job: Positional[str]

    def run(self) -> int:
        from dermdemo.jobs.retrain import retraining

        version = retraining().add_candidate(self.job)
        print(f"version {version.number}\n{version.verdict}")
        return 0


@dataclass(frozen=True)
class ModelsVerify:
    """Hash every file of a version (by default of all) and check that its parts belong together."""

    version: Positional[int | None] = None

    def run(self) -> int:
        from dermdemo.errors import DermdemoError
        from dermdemo.jobs.registry import registry

        models, failed = registry(), 0
        for number in models.numbers() if self.version is None else (self.version,):
            try:
                print(f"{number:>3}  whole  {models.verify(number).sha256}")
            except DermdemoError as error:
                failed += 1
                print(f"{number:>3}  refused: {error}")
        return int(failed > 0)


@dataclass(frozen=True)
class _OneVersion:
    version: Positional[int]
    who: str = field(default_factory=_user)

    def _act(self, name: str) -> int:
        from dermdemo.jobs.registry import registry

        models = registry()
        getattr(models, name)(self.version, who=self.who)
        print(f"version {models.switch().live} is live")
        return 0


@dataclass(frozen=True)
class ModelsPromote(_OneVersion):
    """Make a version live: VAE, arms, atlas, calibration and thresholds in one step."""

    def run(self) -> int:
        return self._act("promote")


@dataclass(frozen=True)
class ModelsRollback(_OneVersion):
    """Make an earlier version live again (0: the shipped one)."""

    def run(self) -> int:
        return self._act("rollback")


@dataclass(frozen=True)
class ModelsArchive(_OneVersion):
    """Take a version out of the choice; its files stay."""

    def run(self) -> int:
        return self._act("archive")


@dataclass(frozen=True)
class AuditLogCommand:
    """Verify and print the audit log: who did what, when, to which models and data."""

    export: Path | None = None
    """Write it here instead, as JSON lines."""

    def run(self) -> int:
        from dermdemo.jobs.registry import registry

        log = registry().log
        if self.export:
            print(f"{log.export(self.export)} entries")
            return 0
        for e in log.read():
            details = " ".join(f"{k}={v}" for k, v in e.details.items())
            hashes = " ".join(f"{k} {v[:12]}" for k, v in (("model", e.model_hash), ("data", e.data_hash)) if v)
            print(f"{e.seq:>5}  {e.time}  {e.who:<12}{e.action:<16}{details}  {hashes}".rstrip())
        return 0


def _pairs(items: tuple[str, ...]) -> dict[str, str]:
    """``a=b`` items as a mapping. Raises ConfigError: one has no ``=``."""
    from dermdemo.errors import ConfigError

    wrong = [item for item in items if "=" not in item]
    if wrong:
        raise ConfigError(f"Write NAME=VALUE, not '{wrong[0]}'.")
    return dict(item.split("=", 1) for item in items)


ADMIN_COMMANDS: dict[str, type[Any]] = {
    "data register": DataRegister, "data list": DataList,
    "jobs list": JobsList, "jobs launch": JobsLaunch, "jobs show": JobsShow, "jobs stop": JobsStop,
    "jobs cancel": JobsCancel, "jobs resume": JobsResume, "jobs retry": JobsRetry, "jobs repeat": JobsRepeat,
    "jobs prepare": JobsPrepare, "gate": Gate,
    "models list": ModelsList, "models promote": ModelsPromote, "models rollback": ModelsRollback,
    "models archive": ModelsArchive, "models verify": ModelsVerify, "models add": ModelsAdd,
    "audit-log": AuditLogCommand,
}
