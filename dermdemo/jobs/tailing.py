"""Files that only grow, read on from where the last look ended.

A page that looks every two seconds must not parse a long run from its beginning each time. What was read is kept
per path, and thrown away when the file is another one: another inode, shorter than before, or another beginning
(a retried attempt writes anew, and a file system gives the same inode out again).
"""

from __future__ import annotations

import json
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Generic, Protocol, TypeVar

HEAD = 128  # bytes that tell one file from the next: an event's first bytes hold its time
CHUNK = 4 << 20  # bytes read at once; a line longer than this is no event
KEPT = 48  # files; three runs of sixteen jobs


class Folded(Protocol):
    """What a file's events come to."""

    def add(self, event: dict[str, Any]) -> None: ...


F = TypeVar("F", bound=Folded)


@dataclass
class _Place(Generic[F]):
    """How far one file was read, and what was found."""

    folded: F
    inode: int = -1
    offset: int = 0
    head: bytes = b""
    lock: threading.Lock = field(default_factory=threading.Lock)


class Tails(Generic[F]):
    """Folds of many JSON-lines files; safe to use from several threads.

    Args:
        make: an empty fold. `kept`: files remembered; the longest unread is forgotten.
    """

    def __init__(self, make: Callable[[], F], kept: int = KEPT) -> None:
        self.make, self.kept = make, kept
        self._places: OrderedDict[Path, _Place[F]] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, path: Path, use: Callable[[F], Any]) -> Any:
        """Read what is new in a file and return `use` of the fold, which is not touched meanwhile.

        A file that is not there, or cannot be read, is an empty one.
        """
        with self._lock:
            place = self._places.setdefault(path, _Place(self.make()))
            self._places.move_to_end(path)
            while len(self._places) > self.kept:
                self._places.popitem(last=False)
        with place.lock:
            try:
                with path.open("rb") as stream:
                    self._catch_up(place, stream)
            except OSError:
                self._forget(place)
            return use(place.folded)

    def _catch_up(self, place: _Place[F], stream: BinaryIO) -> None:
        found = os.fstat(stream.fileno())
        head = stream.read(HEAD)
        if found.st_ino != place.inode or found.st_size < place.offset or not head.startswith(place.head):
            self._forget(place)
            place.inode = found.st_ino
        place.head = head
        stream.seek(place.offset)
        while block := stream.read(CHUNK):
            end = block.rfind(b"\n") + 1
            if not end and len(block) < CHUNK:
                break  # a line that is still being written
            end = end or len(block)
            for line in block[:end].splitlines():
                event = parse(line)
                if event is not None:
                    place.folded.add(event)
            place.offset += end
            stream.seek(place.offset)

    def _forget(self, place: _Place[F]) -> None:
        place.folded, place.inode, place.offset, place.head = self.make(), -1, 0, b""


def parse(line: bytes) -> dict[str, Any] | None:
    """One event; None for a line that is none."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) else None
