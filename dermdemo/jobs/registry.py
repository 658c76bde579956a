"""Versions of the served models: which exist, which one is live, and the one switch between them.

`models/versions/0003/` holds `version.json` and the set itself below `set/`; the shipped checkpoints are
version 0 and stay where they are. `models/state.json` names the live version, those that were live before and
the archived ones: it is replaced in one step, so a set is live as a whole or not at all. Every file is hashed
before a version goes live, and again whenever the live folder is asked for; a set that has changed is refused
and the last good one before it is served. The audit log gets its entry before the switch: nothing changes
without one, and a switch that fails leaves a second entry saying so.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

from dermdemo.config import environment
from dermdemo.errors import CheckpointError, DataError, JobError, NotFittedError
from dermdemo.evaluation.records import decode, encode
from dermdemo.jobs.audit_log import AuditLog
from dermdemo.jobs.files import canonical, locked, sync_folder, utc_now, write_atomic
from dermdemo.jobs.model_set import ModelSet, hash_files, inspect_set, set_hash

Standing = Literal["live", "candidate", "previous", "archived", "shipped"]


@dataclass(frozen=True, kw_only=True)
class Version:
    """One set of models as it was registered; written once.

    Attributes:
        files: path below the set's folder -> SHA-256. `sha256`: over all of them.
        models: ``vae``, each arm, ``atlas`` -> SHA-256.
        job: id of the job that made it. `verdict`: of the gate, in words.
        data_hash: of the lesions it was made from.
    """

    number: int
    created: str
    who: str
    sha256: str
    files: Mapping[str, str]
    models: Mapping[str, str]
    classes: tuple[str, ...]
    data_hash: str
    job: str = ""
    verdict: str = ""


@dataclass(frozen=True, kw_only=True)
class Switch:
    """Content of state.json: the live version, those live before (oldest first), the archived ones."""

    live: int = 0
    history: tuple[int, ...] = ()
    archived: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A version in a list; `problem` says why it cannot go live (hashes are checked by `verify` only)."""

    number: int
    standing: Standing
    version: Version | None
    problem: str | None = None


@dataclass(frozen=True, kw_only=True)
class Serving:
    """What to serve; `problem` says why it is not the version that was promoted last."""

    number: int
    root: Path
    problem: str | None = None


@dataclass(frozen=True)
class Registry:
    """Model versions below the state folder `home`; `shipped` is version 0."""

    home: Path
    shipped: Path
    log: AuditLog = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "log", AuditLog(self.home / "audit"))

    @property
    def _folder(self) -> Path:
        return self.home / "models"

    @property
    def state_file(self) -> Path:
        """The file that names the live version; replaced by each switch, absent before the first."""
        return self._folder / "state.json"

    def root(self, number: int) -> Path:
        """Folder of a version's models, whether it is there or not."""
        return self.shipped if number == 0 else self._folder / "versions" / f"{number:04d}" / "set"

    def switch(self) -> Switch:
        """Which version is live. Raises CheckpointError if state.json is damaged."""
        path = self.state_file
        if not path.exists():
            return Switch()
        try:
            return decode(Switch, json.loads(path.read_bytes()))
        except (ValueError, DataError, OSError) as error:
            raise CheckpointError(f"'{path}' cannot be read: which models are live is not known. Roll back to a "
                                  "version, such as 0.") from error

    def numbers(self) -> tuple[int, ...]:
        """Numbers of all versions, the shipped one first."""
        found = (self._folder / "versions").glob("[0-9][0-9][0-9][0-9]*")
        return (0, *sorted(int(p.name) for p in found if p.name.isdigit()))

    def version(self, number: int) -> Version:
        """What was registered under a number; for 0, what is there now.

        Raises:
            CheckpointError: no such version, or its record is damaged.
        """
        if number == 0:
            return _shipped(inspect_set(self.shipped))
        path = self.root(number).parent / "version.json"
        try:
            version = decode(Version, json.loads(path.read_bytes()))
        except FileNotFoundError as error:
            raise CheckpointError(f"There is no version {number}; known: {', '.join(map(str, self.numbers()))}."
                                  ) from error
        except (ValueError, DataError, OSError) as error:
            raise CheckpointError(f"The record of version {number} cannot be read: {error}") from error
        if version.number != number or version.sha256 != set_hash(version.files):
            raise CheckpointError(f"The record of version {number} was changed: it is not served.")
        return version

    def glance(self, number: int) -> Version:
        """As `version`, but the shipped files are hashed again only if they look changed: for lists, not for serving.

        Raises:
            CheckpointError, NotFittedError: as `version`.
        """
        return _glance(self.shipped, _looks(self.shipped)) if number == 0 else self.version(number)

    def verify(self, number: int) -> Version:
        """Hash every file of a version and check that its parts belong together.

        Raises:
            CheckpointError, NotFittedError: it may not be served; the message says why.
        """
        version = self.version(number)
        if number == 0:
            return version
        self._check_logged(version)
        found = hash_files(self.root(number))
        wrong = sorted({name for name, _ in set(found.items()) ^ set(version.files.items())})
        if wrong:
            raise CheckpointError(f"Version {number} is not as it was registered: {', '.join(wrong[:3])} "
                                  f"{'is' if len(wrong) == 1 else 'are'} missing, changed or new. It is refused.")
        inspect_set(self.root(number))
        return version

    def _check_logged(self, version: Version) -> None:
        """The log, which is chained, knows the hash a version was registered with."""
        known = {e.model_hash for e in self.log.read() if e.action == "register"
                 and e.details.get("version") == str(version.number)}
        if version.sha256 not in known:
            raise CheckpointError(f"The audit log does not know version {version.number} with this hash: refused.")

    def add(self, folder: Path, *, who: str, job: str = "", verdict: str = "") -> Version:
        """Copy a finished set in as the next version, a candidate. `folder` stays as it is.

        Raises:
            CheckpointError, NotFittedError: not one whole set.
            JobError: the audit log is damaged, or the disk is full; there is no new version then.
        """
        inspect_set(folder)
        try:
            return self._add(folder, who=who, job=job, verdict=verdict)
        except OSError as error:
            raise JobError(f"The set cannot be copied in ({error.strerror or 'no room'}): make room on the disk."
                           ) from error

    def _add(self, folder: Path, *, who: str, job: str, verdict: str) -> Version:
        versions = self._folder / "versions"
        versions.mkdir(parents=True, exist_ok=True)
        with locked(self._folder / ".lock"):
            for rest in versions.glob(".new.*"):  # of those who died here: nobody else is adding now
                shutil.rmtree(rest, ignore_errors=True)
            staging = Path(tempfile.mkdtemp(prefix=".new.", dir=versions))
            try:
                shutil.copytree(folder, staging / "set", ignore=_hidden)
                found = inspect_set(staging / "set")  # of the copy: this is what will be served
                version = replace(_shipped(found), number=self.numbers()[-1] + 1, created=utc_now(), who=who, job=job,
                                  verdict=verdict)
                write_atomic(staging / "version.json", canonical(encode(version)))
                staging.chmod(0o755)
                self.log.append(who=who, action="register", details={"version": version.number, "job": job},
                                model_hash=version.sha256, data_hash=version.data_hash)
                os.replace(staging, self.root(version.number).parent)
                sync_folder(versions)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
        return version

    def promote(self, number: int, *, who: str) -> Version:
        """Make a version live: VAE, arms, atlas, calibration and thresholds in one step.

        Raises:
            CheckpointError, NotFittedError: it is refused; what was live stays live.
            JobError: it is archived, or the audit log is damaged.
        """
        if number in self.switch().archived:
            raise JobError(f"Version {number} is archived: roll back to it if it was live once, or train another.")
        return self._make_live(number, who=who, action="promote")

    def rollback(self, number: int, *, who: str) -> Version:
        """Make an earlier version live again; 0, the shipped one, always may. Errors as in `promote`."""
        try:
            switch = self.switch()
            before = {0, switch.live, *switch.history}
        except CheckpointError:
            before = set(self.numbers())  # the switch is lost: any version that verifies
        if number not in before:
            raise JobError(f"Version {number} has never been live: promote it instead.")
        return self._make_live(number, who=who, action="rollback")

    def _make_live(self, number: int, *, who: str, action: str) -> Version:
        with locked(self._folder / ".lock"):
            version = self.verify(number)
            switch = self._switch_or_new()
            history = tuple(n for n in switch.history if n not in (switch.live, number))
            history += (switch.live,) if switch.live != number else ()
            after = Switch(live=number, history=history, archived=tuple(n for n in switch.archived if n != number))
            entry = {"who": who, "model_hash": version.sha256, "data_hash": version.data_hash}
            self.log.append(**entry, action=action, details={"version": number, "before": switch.live})
            try:
                write_atomic(self.state_file, canonical(encode(after)))
            except OSError as error:
                self._failed(action, number, **entry)
                raise JobError(f"Version {number} could not be made live ({error.strerror}); nothing changed."
                               ) from error
        return version

    def _switch_or_new(self) -> Switch:
        try:
            return self.switch()
        except CheckpointError:
            return Switch()

    def archive(self, number: int, *, who: str) -> None:
        """Take a version out of the choice; its files stay. Raises JobError for the live and the shipped one."""
        with locked(self._folder / ".lock"):
            version, switch = self.version(number), self.switch()
            if number in (0, switch.live):
                raise JobError(f"Version {number} is {'live' if number else 'the shipped one'}: it stays.")
            self.log.append(who=who, action="archive", details={"version": number}, model_hash=version.sha256)
            archived = tuple(sorted({*switch.archived, number}))
            try:
                write_atomic(self.state_file, canonical(encode(replace(switch, archived=archived))))
            except OSError as error:
                self._failed("archive", number, who=who, model_hash=version.sha256)
                raise JobError(f"Version {number} could not be archived ({error.strerror}); nothing changed."
                               ) from error

    def _failed(self, action: str, number: int, **entry: str) -> None:
        """Say in the log that what was announced was not done, if there is room for that."""
        with contextlib.suppress(JobError):
            self.log.append(**entry, action=f"{action}-failed", details={"version": number})

    def listed(self) -> tuple[Listed, ...]:
        """All versions, the shipped one first."""
        return tuple(self._listed(number) for number in self.numbers())

    def _listed(self, number: int) -> Listed:
        switch = self._switch_or_new()
        standing: Standing = "shipped" if number == 0 else "candidate"
        if number == switch.live:
            standing = "live"
        elif number in switch.archived:
            standing = "archived"
        elif number and number in switch.history:
            standing = "previous"
        try:
            return Listed(number=number, standing=standing, version=self.glance(number))
        except (CheckpointError, NotFittedError) as error:
            return Listed(number=number, standing=standing, version=None, problem=str(error))

    def serving(self) -> Serving:
        """The newest promoted version that verifies, else the one live before it, in the end the shipped one."""
        problem = None
        try:
            switch = self.switch()
        except CheckpointError as error:
            switch, problem = Switch(), str(error)
        for number in (switch.live, *reversed(switch.history)):
            if number == 0:
                break
            try:
                self.verify(number)
            except (CheckpointError, NotFittedError, JobError) as error:
                problem = problem or str(error)
                continue
            return Serving(number=number, root=self.root(number), problem=problem)
        return Serving(number=0, root=self.shipped, problem=problem)

    def live_root(self) -> Path:
        """Folder to serve now; verified unless it is the shipped one, which is verified as it loads."""
        return self.serving().root


def _hidden(_: str, names: list[str]) -> list[str]:
    return [name for name in names if name.startswith(".")]


def _looks(root: Path) -> tuple[tuple[str, int, int, int, int], ...]:
    """Names, sizes, times and inodes of a folder's files."""
    found = []
    for path in sorted(root.rglob("*")):
        with contextlib.suppress(OSError):
            s = path.lstat()
            found.append((str(path), s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino))
    return tuple(found)


@lru_cache(4)
def _glance(root: Path, looks: tuple[tuple[str, int, int, int, int], ...]) -> Version:
    """Version 0 as long as its files look the same."""
    return _shipped(inspect_set(root))


def _shipped(found: ModelSet) -> Version:
    return Version(number=0, created="", who="", sha256=found.sha256, files=found.files, models=found.models,
                   classes=found.classes, data_hash=found.data_hash)


def registry(home: Path | None = None, shipped: Path | None = None) -> Registry:
    """The registry that the environment names."""
    settings = environment()
    return Registry((home or settings.home).resolve(), (shipped or settings.checkpoints).resolve())
