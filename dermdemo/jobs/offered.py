"""What lies on the allow-list, for choosing: folders, tables and archives, two levels deep, never outside it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

from dermdemo.errors import DataError
from dermdemo.jobs.datasets import Catalogue

OfferedKind = Literal["folder", "csv", "zip", "parquet"]
KINDS: dict[str, OfferedKind] = {".csv": "csv", ".zip": "zip", ".parquet": "parquet"}
DEPTH, MOST, LOOKED_AT = 2, 300, 20_000


@dataclass(frozen=True, kw_only=True)
class Offered:
    """One thing that may be registered; `name` is its path below the root."""

    name: str
    path: str
    kind: OfferedKind


@dataclass(frozen=True, kw_only=True)
class OfferedRoot:
    """A folder of the allow-list and what is in it; `more` if not all of it is listed."""

    path: str
    entries: tuple[Offered, ...]
    more: bool


def offered(catalogue: Catalogue) -> tuple[OfferedRoot, ...]:
    """What the allow-list offers, root by root; a root that is not there has nothing in it."""
    return tuple(_root(catalogue, root.resolve()) for root in catalogue.roots)


def _root(catalogue: Catalogue, root: Path) -> OfferedRoot:
    found = list(islice(_walk(catalogue, root, root, 1), MOST + 1))
    return OfferedRoot(path=str(root), entries=tuple(found[:MOST]), more=len(found) > MOST)


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # links that go in a circle
        return False


def _walk(catalogue: Catalogue, root: Path, folder: Path, depth: int) -> Iterator[Offered]:
    """Entries of a folder by name, each folder before what is in it."""
    try:
        with os.scandir(folder) as scan:
            names = sorted(e.name for e in islice(scan, LOOKED_AT)
                           if not e.name.startswith(".") and (Path(e.name).suffix.lower() in KINDS or _is_dir(e)))
    except OSError:
        return
    for name in names:
        path = folder / name
        try:
            real = catalogue.allowed(path)  # a link that leads out of the allow-list is not shown
        except DataError:
            continue
        kind = "folder" if real.is_dir() else KINDS.get(real.suffix.lower())
        if kind is None:
            continue
        yield Offered(name=path.relative_to(root).as_posix(), path=str(path), kind=kind)
        if kind == "folder" and depth < DEPTH:
            yield from _walk(catalogue, root, path, depth + 1)
