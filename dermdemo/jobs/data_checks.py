"""What a data set must be before models are made from it: its labels, its classes, and no test lesion in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from dermdemo.data.sources import LesionTable
from dermdemo.data.splits import Fingerprints, near_duplicates
from dermdemo.errors import DataError

MIN_GROUPS = 4  # lesions of each class: one for every split
SHOWN = 5


class UnknownLabelsError(DataError):
    """Labels that the live models do not know and that were not mapped.

    Attributes:
        labels: all of them, sorted. `classes`: what each can be mapped to.
    """

    def __init__(self, labels: tuple[str, ...], classes: tuple[str, ...]) -> None:
        super().__init__(f"The live models do not know the classes {', '.join(labels[:SHOWN])}. Map each to one of "
                         f"{', '.join(classes)}, or to nothing to leave its images out.")
        self.labels, self.classes = labels, classes


def mapped_table(table: LesionTable, classes: tuple[str, ...], mapping: Mapping[str, str]) -> LesionTable:
    """The table with its labels mapped; images whose label is mapped to "" are left out.

    Raises:
        UnknownLabelsError: labels are neither classes nor mapped.
        DataError: a label is mapped to something that is no class.
    """
    wrong = sorted(f"{k} to {v}" for k, v in mapping.items() if v and v not in classes)
    if wrong:
        raise DataError(f"Labels can be mapped to {', '.join(classes)}, not {', '.join(wrong)}.")
    labels = table.frame["label"].map(lambda v: mapping.get(v, v))
    unknown = sorted(set(labels) - set(classes) - {""})
    if unknown:
        raise UnknownLabelsError(tuple(unknown), classes)
    keep = [not (v in mapping and not mapping[v]) for v in table.frame["label"]]
    changed = LesionTable(table.name, table.frame.assign(label=labels), classes, table.reader, table.problems)
    return changed.take(keep)


def check_classes(table: LesionTable, classes: tuple[str, ...]) -> None:
    """Raise DataError unless every class has a lesion for each split."""
    frame = table.frame
    few = [c for c in classes if frame.loc[frame["label"] == c, "group"].nunique() < MIN_GROUPS]
    if few:
        raise DataError(f"The data set has fewer than {MIN_GROUPS} lesions of {', '.join(few)}, which the live "
                        "models know: models made from it would not know the same classes.")


def refuse(table: LesionTable, rows: np.ndarray, how: str) -> None:
    """Raise DataError if any row (N,) bool is set, naming a few."""
    if rows.any():
        some = table.frame["image_id"][rows].tolist()[:SHOWN]
        raise DataError(f"{int(rows.sum())} images show test lesions of the live models, {how}, and would not be in "
                        f"test here, such as {', '.join(map(str, some))}. Take them out, or keep them in test.")


def pictured(prints: Fingerprints, known: Fingerprints) -> np.ndarray:
    """(N,) bool: rows whose picture is nearly one of the known ones."""
    n = len(prints.hashes)
    both = Fingerprints(np.concatenate([prints.hashes, known.hashes]), np.concatenate([prints.thumbs, known.thumbs]),
                        prints.unreadable)
    found = near_duplicates(both, ["here"] * n + ["known"] * len(known.hashes))
    rows = np.zeros(n, bool)
    rows[[d.first for d in found]] = True
    return rows


def save_prints(path: Path, prints: Fingerprints, rows: list[int]) -> None:
    """Keep the fingerprints of some rows."""
    with path.open("wb") as stream:
        np.savez_compressed(stream, hashes=prints.hashes[rows], thumbs=prints.thumbs[rows])


def load_prints(path: Path) -> Fingerprints:
    """Kept fingerprints. Raises DataError: they cannot be read."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            return Fingerprints(stored["hashes"], stored["thumbs"], {})
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"'{path}' cannot be read: register the live models' data again.") from error
