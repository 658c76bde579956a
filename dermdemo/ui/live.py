"""The models that the pages serve, and how they are replaced while visitors are at work.

Every set of models has an `Analyser` of its own that never changes. What is served is one reference to it: a
request takes it once and works with it to its end, so that no answer is made by two sets, and a set is in memory
until the last request that began with it has ended.

A switch loads first (every file checked by SHA-256), then moves the registry, then replaces the reference: what is
refused on the way leaves everything as it was. `check` follows what others did (a terminal, another web process).
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from dermdemo.analysis.analyser import Analyser
from dermdemo.analysis.serving import release_memory
from dermdemo.config import DeviceName
from dermdemo.errors import CheckpointError, DermdemoError, JobError
from dermdemo.jobs.model_set import hash_files, set_hash
from dermdemo.jobs.registry import Registry, Version
from dermdemo.ui.wording import live as words

EVERY = 2.0  # seconds between two looks at what others did
PATIENCE = 60.0  # seconds that a switch waits for another one
NOTHING = -1  # the number where nothing is served

log = logging.getLogger(__name__)
Marks = tuple[tuple[str, int, int, int, int], ...]


@dataclass(frozen=True, kw_only=True)
class LiveStatus:
    """What is served.

    Attributes:
        number: of the version; `NOTHING` where none is served, or none is known of.
        sha256: of the whole set, "" likewise.
        problem: why it is not the version that was made live last, in a sentence.
    """

    number: int = NOTHING
    sha256: str = ""
    problem: str | None = None


@dataclass(frozen=True, kw_only=True)
class Now:
    """What is served at one moment; the analyser is None where nothing is."""

    analyser: Analyser | None
    status: LiveStatus


class Models(Protocol):
    """Where the pages get their models from: asked once by each request."""

    def now(self) -> Now: ...


@dataclass(frozen=True)
class FixedModels:
    """One analyser and no versions; without an analyser `problem` says why."""

    analyser: Analyser | None
    problem: str | None = None

    def now(self) -> Now:
        return Now(analyser=self.analyser, status=LiveStatus(problem=self.problem))

    def status(self) -> LiveStatus:
        """No version, and why there are no models if there are none."""
        return self.now().status

    def check(self) -> None:
        """Nothing to follow."""

    def switch(self, number: int, action: Literal["promote", "rollback"], who: str) -> Version:
        """Raises JobError: there is nothing to switch."""
        raise JobError(words.FIXED)


@dataclass(frozen=True)
class _Loaded:
    """A version in memory."""

    number: int
    sha256: str
    analyser: Analyser


class LiveModels:
    """The live version of a registry, in memory. Thread-safe.

    Nothing is loaded before the first `check`.

    Args:
        device: ``auto``, ``cpu`` or ``cuda``.
    """

    def __init__(self, registry: Registry, *, device: DeviceName = "auto") -> None:
        self.registry = registry
        self.after: list[Callable[[], object]] = []  # called after each replacement, such as to prepare the map
        self._device = device
        self._loaded: _Loaded | None = None
        self._problem: str | None = None
        self._seen: Marks | None = None
        self._lock = threading.Lock()
        self._end = threading.Event()

    def now(self) -> Now:
        """The analyser being served, and which version it is."""
        loaded, problem = self._loaded, self._problem
        if loaded is None:
            return Now(analyser=None, status=LiveStatus(problem=problem))
        return Now(analyser=loaded.analyser,
                   status=LiveStatus(number=loaded.number, sha256=loaded.sha256, problem=problem))

    def status(self) -> LiveStatus:
        """Which version is served, and what is wrong if it is not the one that was made live last."""
        return self.now().status

    def switch(self, number: int, action: Literal["promote", "rollback"], who: str) -> Version:
        """Serve another version: loaded first, then made live, then served; running requests end on what they had.

        Raises:
            CheckpointError, NotFittedError: it is refused. What was served is served, and nothing was made live.
            JobError: the registry refused (archived, never live, full disk), or another switch takes too long.
        """
        if not self._lock.acquire(timeout=PATIENCE):
            raise JobError(words.BUSY)
        try:
            loaded = self._load(number)
            move = self.registry.promote if action == "promote" else self.registry.rollback
            version = move(number, who=who)
            self._replace(loaded)
            self._problem, self._seen = None, self._marks(number)
            if version.sha256 != loaded.sha256 or self._live() != number:
                self._seen = None  # somebody was quicker: `check` will see to it
            return version
        finally:
            self._lock.release()

    def check(self) -> None:
        """Serve the registry's live version if it is another, or has been changed; cheap where nothing has.

        A live version that is refused leaves the previous one served and says so in `status`; the next check after
        its repair serves it. While a switch is under way nothing is done.
        """
        if not self._lock.acquire(blocking=False):
            return
        try:
            marks = self._marks(self._live())
            if marks != self._seen:
                self._follow()
                self._seen = marks if marks == self._marks(self._live()) else None
        finally:
            self._lock.release()

    def follow(self, every: float = EVERY) -> None:
        """Check now and then from a thread of its own until `close` is called."""
        def run() -> None:
            while not self._end.wait(every):
                try:
                    self.check()
                except Exception:  # the next look may do better; the log has the traceback
                    log.exception("the live version could not be looked at")

        threading.Thread(target=run, name="live-models", daemon=True).start()

    def close(self) -> None:
        """End the thread that `follow` started."""
        self._end.set()

    def _live(self) -> int | None:
        """Number of the live version; None where the switch cannot be read."""
        try:
            return self.registry.switch().live
        except CheckpointError:
            return None

    def _follow(self) -> None:
        """Serve the live version; where nothing is served yet and it is refused, the newest one before it."""
        problem: str | None = None
        for number in self._order():
            try:
                loaded = self._load(number)
            except (DermdemoError, OSError) as error:
                problem = problem or str(error)
                log.warning("version %d is not served: %s", number, error)
                continue
            self._replace(loaded)
            break
        if problem and self._loaded:
            problem = f"{problem} {words.GOES_ON.format(number=self._loaded.number)}"
        self._problem = problem or self._unknown()

    def _order(self) -> list[int]:
        """Versions to try, the live one first; another is only tried where nothing is served."""
        try:
            switch = self.registry.switch()
        except CheckpointError:
            return [] if self._loaded else [0]
        return [switch.live] if self._loaded else list(dict.fromkeys((switch.live, *reversed(switch.history), 0)))

    def _unknown(self) -> str | None:
        """What is wrong with the switch itself."""
        try:
            self.registry.switch()
        except CheckpointError as error:
            return str(error)
        return None

    def _load(self, number: int) -> _Loaded:
        """A version in memory, every file checked; the one being served where it is the same.

        Raises:
            CheckpointError, NotFittedError, JobError: it may not be served.
        """
        before, wanted = self._marks(number), self.registry.verify(number) if number else None
        sha256 = wanted.sha256 if wanted else _shipped_sha256(self.registry.shipped)
        if sha256 and self._loaded and (self._loaded.number, self._loaded.sha256) == (number, sha256):
            return self._loaded
        try:
            analyser = Analyser(self.registry.root(number), device=self._device)
        except (OSError, RuntimeError) as error:  # unreadable, or no memory left for a second set
            raise CheckpointError(words.NOT_LOADED.format(number=number, why=str(error).splitlines()[0])) from error
        if (wanted and hashes(analyser) != dict(wanted.models)) or self._marks(number) != before:
            raise CheckpointError(words.CHANGED.format(number=number))
        return _Loaded(number, sha256, analyser)

    def _replace(self, loaded: _Loaded) -> None:
        """Serve a set; the previous one goes with the last request that uses it."""
        if loaded is self._loaded:
            return
        self._loaded = loaded
        log.info("version %d is served (%s)", loaded.number, loaded.sha256[:12])
        for call in self.after:
            try:
                call()
            except Exception:  # the switch is made; whoever asks for it next is told
                log.exception("after the switch")
        release_memory()

    def _marks(self, number: int | None) -> Marks:
        """What changes when somebody switches or touches the live files; their content is not read."""
        paths = [self.registry.state_file]
        if number is not None:
            root = self.registry.root(number)
            paths += [root.parent / "version.json"] * bool(number) + list(_files(root))
        if self._problem:  # a damaged log may be the reason; else it only grows
            paths += self.registry.log.files
        return tuple(_mark(path) for path in paths)


def _shipped_sha256(root: Path) -> str:
    """Of the shipped set as it is now; "" where that cannot be told: its weights are checked as they load."""
    try:
        return set_hash(hash_files(root))
    except CheckpointError:
        return ""


def hashes(analyser: Analyser) -> dict[str, str]:
    """SHA-256 of every model of an analyser, named as in `Version.models`."""
    found = {"vae": analyser.vae.sha256, **{f"{arm} arm": meta.sha256 for arm, meta in analyser.arms.items()}}
    return found | ({"atlas": analyser.atlas.meta.sha256} if analyser.atlas else {})


def _files(root: Path) -> Iterator[Path]:
    """Files below a folder in a fixed order, without hidden ones at the top."""
    for folder, inner, names in os.walk(root):
        inner[:] = sorted(n for n in inner if folder != str(root) or not n.startswith("."))
        yield from (Path(folder, n) for n in sorted(names) if folder != str(root) or not n.startswith("."))


def _mark(path: Path) -> tuple[str, int, int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return str(path), -1, -1, -1, -1
    return str(path), found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
