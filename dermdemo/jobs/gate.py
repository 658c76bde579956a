"""The gate: a candidate set against the live one, on a split that is never test.

Lesions that the live models were trained or chosen on are left out: on them the live models would look better
than they are. What is left was seen by neither.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from dermdemo.analysis.atlas_files import read_files, read_meta
from dermdemo.analysis.serving import ARMS
from dermdemo.config import DeviceName
from dermdemo.data.readable import prepare
from dermdemo.data.sources import LesionTable
from dermdemo.errors import DataError
from dermdemo.evaluation.predict import Predictions, predict, readings_anywhere
from dermdemo.evaluation.records import encode
from dermdemo.evaluation.versus import Versus, versus
from dermdemo.models.arms import find_arm
from dermdemo.models.checkpoint import Loaded, load_classifier

GateSplit = Literal["calib", "val"]
GATES: tuple[GateSplit, ...] = ("calib", "val")
TRAINED_ON = ("train", "val")


@dataclass(frozen=True, kw_only=True)
class KnownLesions:
    """Image ids and lesions of some splits of the data that a set of models stands on."""

    images: frozenset[str]
    groups: frozenset[str]

    def rows(self, table: LesionTable) -> np.ndarray:
        """(N,) bool: rows of a table that show one of them, by image or by lesion."""
        frame = table.frame
        return (frame["image_id"].astype(str).isin(self.images) | frame["group"].astype(str).isin(self.groups)
                ).to_numpy(bool)


@dataclass(frozen=True, kw_only=True)
class GateReport:
    """What the gate found.

    Attributes:
        left_out: images of the split that the live models were trained or chosen on.
        readings: model -> how often test has been read for it.
    """

    source: str
    split: str
    split_hash: str
    left_out: int
    arms: tuple[Versus, ...]
    readings: dict[str, int]

    @property
    def verdict(self) -> str:
        return "\n".join(f"{v.arm} arm ({v.n_lesions} lesions). {v.verdict}" for v in self.arms)

    def to_json(self) -> str:
        return json.dumps({**encode(self), "verdict": self.verdict}, indent=2, allow_nan=False) + "\n"

    def to_text(self) -> str:
        """The verdict, then every line."""
        head = [f"candidate against live on '{self.split}' of {self.source}", "", self.verdict, ""]
        if self.left_out:
            head += [f"{self.left_out} images were left out: the live models were trained or chosen on them.", ""]
        rows = [f"{v.arm:<10}{x.scope:<24}{x.metric:<20}{x.n_lesions:>8}{_figure(x.candidate)}{_figure(x.live)}"
                f"{_figure(x.difference)}{_figure(x.low)}{_figure(x.high)}  {x.outcome}{' *' if x.stands else ''}"
                for v in self.arms for x in v.lines]
        title = f"{'arm':<10}{'of':<24}{'figure':<20}{'lesions':>8}" + "".join(
            f"{name:>11}" for name in ("candidate", "live", "difference", "low", "high"))
        read = ", ".join(f"{name} {count}" for name, count in self.readings.items())
        notes = ["* stands after correction for all lines on classes and subgroups of the arm (Holm)",
                 f"readings of test so far: {read}; none for this comparison."]
        return "\n".join([*head, title, *rows, "", *notes])


def _figure(value: float | None) -> str:
    return f"{'-':>11}" if value is None else f"{value:>11.3f}"


def known_lesions(root: Path, splits: Sequence[str]) -> KnownLesions:
    """Lesions of some splits of the data behind a set, from its atlas. Raises CheckpointError."""
    folder = root / "atlas"
    columns = read_files(folder, read_meta(folder)).columns
    rows = [i for i, name in enumerate(columns["split"]) if name in splits]
    return KnownLesions(images=frozenset(str(columns["image_id"][i]) for i in rows),
                        groups=frozenset(str(columns["group"][i]) for i in rows))


def run_gate(candidate: Path, live: Path, source: str, *, split_name: str = "calib", split_seed: int = 0,
             n_resamples: int = 1000, device: DeviceName = "auto") -> GateReport:
    """Compare every arm of two sets on one split of a source.

    Raises:
        DataError: the split is not one for a gate, nothing is left in it, or the classes differ.
        CheckpointError: a set cannot be read.
    """
    if split_name not in GATES:
        raise DataError(f"A candidate is not judged on '{split_name}': choose from {', '.join(GATES)}. Test is read "
                        "once per finished model, and training lesions say nothing.")
    table, split = prepare(source, split_seed=split_seed)
    labelled = np.array(table.labels()) >= 0
    seen = known_lesions(live, TRAINED_ON).rows(table)
    in_split = np.array([name == split_name for name in split.names]) & labelled
    rows = np.flatnonzero(in_split & ~seen).tolist()
    if not rows:
        raise DataError(f"Nothing is left to compare on: the live models know all {int(in_split.sum())} images of "
                        f"'{split_name}'. Take the other split, or data with new lesions.")
    sets, arms = {"candidate": candidate, "live": live}, list[Versus]()
    read: dict[str, int] = {}
    for arm in ARMS:
        models = {name: load_classifier(find_arm(root, arm)) for name, root in sets.items()}
        classes = models["live"].meta.classes
        new, old = (_in_order(predict(m, table, rows, device=device), m, classes) for m in models.values())
        arms.append(versus(arm, new, old, table.frame.iloc[rows], classes, n_resamples=n_resamples))
        read |= {f"{name} {arm}": readings_anywhere(m.meta) for name, m in models.items()}
    return GateReport(source=table.name, split=split_name, split_hash=split.hash,
                      left_out=int((in_split & seen).sum()), arms=tuple(arms), readings=read)


def _in_order(p: Predictions, model: Loaded, classes: tuple[str, ...]) -> Predictions:
    """Predictions with labels and logits in the order of `classes`. Raises DataError: other classes."""
    own: tuple[Any, ...] = model.meta.classes
    if set(own) != set(classes):
        raise DataError(f"The candidate knows {', '.join(own)}; the live model {', '.join(classes)}: models with "
                        "other classes are not compared.")
    return replace(p, y=np.array([classes.index(own[k]) for k in p.y]),
                   logits=p.logits[:, [own.index(c) for c in classes]])
