"""The audit log: who did what, when, to which model and data; append-only, chained by hash.

`audit.jsonl` holds one entry a line, each with the hash of the one before; `audit.head` holds number and hash
of the last one, so that lines taken off the end are noticed too. The order is the sequence number: the wall
clock may jump. A chain without a secret shows tampering only to those who kept a head: export it now and then.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dermdemo.errors import DataError, JobError
from dermdemo.evaluation.records import decode, encode
from dermdemo.jobs.files import canonical, locked, utc_now, write_atomic

START = "0" * 64


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of the log.

    Attributes:
        seq: 1, 2, 3 ... without a gap. `time`: UTC, by a clock that may jump.
        model_hash, data_hash: SHA-256 of the model set and of the data concerned, "" where there is none.
        previous: hash of the entry before. `hash`: over all other fields.
    """

    seq: int
    time: str
    who: str
    action: str
    details: Mapping[str, str] = field(default_factory=dict)
    model_hash: str = ""
    data_hash: str = ""
    previous: str
    hash: str = ""

    def digest(self) -> str:
        """SHA-256 over everything but `hash`."""
        return hashlib.sha256(canonical({k: v for k, v in encode(self).items() if k != "hash"})).hexdigest()


class AuditLog:
    """The log in a folder; safe to append to from several processes."""

    def __init__(self, folder: Path) -> None:
        self.path, self._head = folder / "audit.jsonl", folder / "audit.head"
        self._lock = folder / ".audit.lock"

    @property
    def files(self) -> tuple[Path, Path]:
        """The log and its head, whether they are there or not."""
        return self.path, self._head

    def append(self, *, who: str, action: str, details: Mapping[str, Any] | None = None, model_hash: str = "",
               data_hash: str = "") -> Entry:
        """Add an entry; on return it is on disk.

        Raises:
            JobError: the log has been tampered with (nothing is added to it), it cannot be written (full disk), or
                `who` or `action` is empty.
        """
        if not who.strip() or not action.strip():
            raise JobError("The audit log needs a name and an action for every entry.")
        with locked(self._lock):
            entries, size = self._verified()
            entry = Entry(seq=len(entries) + 1, time=utc_now(), who=who, action=action,
                          details={str(k): str(v) for k, v in (details or {}).items()}, model_hash=model_hash,
                          data_hash=data_hash, previous=entries[-1].hash if entries else START)
            entry = replace(entry, hash=entry.digest())
            try:
                self._write(canonical(encode(entry)) + b"\n", size)
                write_atomic(self._head, canonical({"seq": entry.seq, "hash": entry.hash}))
            except OSError as error:
                raise JobError(f"The audit log cannot be written ({error.strerror}), and nothing is done without it: "
                               "make room on the disk.") from error
        return entry

    def _write(self, line: bytes, size: int) -> None:
        """Write after the last whole line: what a crash left behind it was never acknowledged."""
        with self.path.open("ab") as stream:
            stream.truncate(size)
            stream.write(line)
            stream.flush()
            os.fsync(stream.fileno())

    def read(self) -> tuple[Entry, ...]:
        """All entries, oldest first, verified.

        Raises:
            JobError: an entry was changed, removed or put in.
        """
        with locked(self._lock):
            return tuple(self._verified()[0])

    def readable(self) -> tuple[tuple[Entry, ...], str | None]:
        """The entries as far as they verify, oldest first, and what is wrong with the log; None if nothing is."""
        with locked(self._lock):
            data = self.path.read_bytes() if self.path.exists() else b""
            entries, problem = _chain(data[:data.rfind(b"\n") + 1])
            try:
                self._check_head(entries)
            except JobError as error:
                problem = problem or str(error)
        return tuple(entries), problem

    def export(self, path: Path) -> int:
        """Verify, and write all entries as JSON lines to `path`. Returns their number. Raises JobError."""
        entries = self.read()
        write_atomic(path, b"".join(canonical(encode(e)) + b"\n" for e in entries))
        return len(entries)

    def _verified(self) -> tuple[list[Entry], int]:
        """Entries and the length in bytes of the lines they stand on."""
        data = self.path.read_bytes() if self.path.exists() else b""
        size = data.rfind(b"\n") + 1
        entries, problem = _chain(data[:size])
        if problem:
            raise JobError(problem)
        self._check_head(entries)
        return entries, size

    def _check_head(self, entries: list[Entry]) -> None:
        if not self._head.exists():
            if len(entries) > 1:  # a crash can lose the head of the first entry only
                raise JobError("The head of the audit log is missing: compare the log with an exported copy.")
            return
        try:
            head = json.loads(self._head.read_bytes())
            seq, digest = int(head["seq"]), str(head["hash"])
        except (ValueError, KeyError, TypeError) as error:
            raise JobError("The head of the audit log cannot be read: it was changed from outside.") from error
        if seq > len(entries):
            raise JobError(f"The audit log ends at entry {len(entries)}; {seq} were written. Entries were removed.")
        if seq < 1 or seq < len(entries) - 1 or entries[seq - 1].hash != digest:
            raise JobError("The audit log was rewritten: its head does not belong to its entries.")


def _chain(data: bytes) -> tuple[list[Entry], str | None]:
    """Entries of whole lines up to the first that does not follow from those before it, and what is wrong with it."""
    entries: list[Entry] = []
    for number, line in enumerate(data.splitlines(), 1):
        try:
            entry = _parse(line, number)
        except JobError as error:
            return entries, str(error)
        expected = entries[-1].hash if entries else START
        if entry.seq != number or entry.previous != expected or entry.hash != entry.digest():
            return entries, (f"Entry {number} of the audit log does not fit the one before it, or was changed. "
                             "The log is not to be trusted from there on: compare it with an exported copy.")
        entries.append(entry)
    return entries, None


def _parse(line: bytes, number: int) -> Entry:
    try:
        return decode(Entry, json.loads(line))
    except (ValueError, DataError, RecursionError) as error:
        raise JobError(f"Entry {number} of the audit log cannot be read: it was changed from outside.") from error
