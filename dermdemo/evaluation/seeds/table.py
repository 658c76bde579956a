"""The one tidy table of a study: a figure per row, written so that the same figures give the same bytes.

| column | what |
|---|---|
| arm | an arm, ``vae - imagenet`` for a paired difference, ``paper: VAE`` for a published figure |
| seed | a seed, ``mean`` over seeds, or ``published`` |
| split | train, val, test, or ``train-val`` for what takes both |
| metric, scope | figure; where: all, ``class: mel``, ``epoch``, initial, first, last, best, ``matched: imagenet`` |
| value, low, high | figure and 95 % interval; empty where there is none |
| n_images, n_lesions | that the figure rests on |
| epoch | where the figure belongs to one; the mean over seeds where they differ |
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

from dermdemo.errors import DataError

MEAN, PUBLISHED = "mean", "published"
DIGITS = 6
TEXTS, COUNTS = ("arm", "seed", "split", "metric", "scope"), ("n_images", "n_lesions")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure."""

    arm: str
    seed: str
    split: str
    metric: str
    scope: str
    value: float | None
    low: float | None = None
    high: float | None = None
    n_images: int | None = None
    n_lesions: int | None = None
    epoch: float | None = None


COLUMNS = tuple(f.name for f in fields(Row))


def versus(arm: str, reference: str) -> str:
    """How the table names a paired difference."""
    return f"{arm} - {reference}"


@dataclass(frozen=True)
class Table:
    """Rows, and the way to find them."""

    rows: tuple[Row, ...]

    @cached_property
    def _index(self) -> dict[tuple[str, str, str, str, str], Row]:
        return {(r.arm, r.split, r.metric, r.scope, r.seed): r for r in self.rows if r.scope != "epoch"}

    def find(self, arm: str, split: str, metric: str, scope: str = "all", seed: str = MEAN) -> Row | None:
        """The row of a figure; None if there is none or it has no value. Curves are in `curve`."""
        row = self._index.get((arm, split, metric, scope, seed))
        return row if row is not None and row.value is not None else None

    def curve(self, arm: str, split: str, metric: str) -> dict[str, list[tuple[float, float]]]:
        """seed -> (epoch, value) pairs in order."""
        out: dict[str, list[tuple[float, float]]] = {}
        for r in self._curves.get((arm, split, metric), []):
            if r.epoch is not None and r.value is not None:
                out.setdefault(r.seed, []).append((r.epoch, r.value))
        return out

    @cached_property
    def _curves(self) -> dict[tuple[str, str, str], list[Row]]:
        out: dict[tuple[str, str, str], list[Row]] = {}
        for r in self.rows:
            if r.scope == "epoch":
                out.setdefault((r.arm, r.split, r.metric), []).append(r)
        return out

    def scopes(self, split: str, metric: str) -> tuple[str, ...]:
        """Scopes of a figure in order of appearance, such as the classes of ``sensitivity``."""
        return tuple(dict.fromkeys(r.scope for r in self.rows if r.split == split and r.metric == metric))


def to_csv(rows: Iterable[Row]) -> str:
    """CSV text with a head; figures have 6 significant digits."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([_cell(getattr(row, c)) for c in COLUMNS] for row in rows)
    return stream.getvalue()


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    return f"{value:.{DIGITS}g}" if isinstance(value, float) else str(value)


def from_csv(text: str, where: str = "The table") -> Table:
    """Read what `to_csv` wrote. Raises DataError, naming `where`, if it is something else."""
    lines = list(csv.reader(io.StringIO(text)))
    if not lines or tuple(lines[0]) != COLUMNS:
        raise DataError(f"{where} is no table of a study: its columns must be {', '.join(COLUMNS)}.")
    try:
        return Table(tuple(_row(cells) for cells in lines[1:]))
    except ValueError as error:
        raise DataError(f"{where} has a row that cannot be read: {error}.") from error


def _row(cells: Sequence[str]) -> Row:
    values: dict[str, Any] = dict(zip(COLUMNS, cells, strict=True))
    for name in COLUMNS:
        if name not in TEXTS:
            kind = int if name in COUNTS else float
            values[name] = kind(values[name]) if values[name] else None
    return Row(**values)
