"""A study in a few lines, for README and the Models tab; `page` has every figure. And where its results lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dermdemo.errors import DataError
from dermdemo.evaluation.seeds import claim
from dermdemo.evaluation.seeds.facts import StudyFacts, facts_from_json
from dermdemo.evaluation.seeds.gaps import LAST, MATCHED
from dermdemo.evaluation.seeds.page import stand_in
from dermdemo.evaluation.seeds.table import Row, Table, from_csv, versus
from dermdemo.evaluation.seeds.variants import AGAINST, CLAIMED, OTHER_TASKS, REFERENCES

TABLE_FILE, FACTS_FILE = "results.csv", "results.json"
COLUMNS = {
    "balanced accuracy": ("test", "balanced_accuracy", "all"),
    "macro AUC": ("test", "macro_auc", "all"),
    "training accuracy, last epoch": ("train", "accuracy", LAST),
    "loss gap, last epoch": ("train-val", "loss_gap", LAST),
    "loss gap at equal training accuracy": ("train-val", "loss_gap", MATCHED),
}


@dataclass(frozen=True, kw_only=True)
class Line:
    """An arm, or a paired difference where `reference` names one.

    Attributes:
        cells: a row of the table for each of `COLUMNS`, and whether it is a gap or a difference, shown with its sign.
    """

    arm: str
    reference: str | None
    cells: tuple[tuple[Row | None, bool], ...]


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Arms and differences, and sentences that follow from their intervals.

    Attributes:
        said: heading -> sentences, of which there is at least one.
    """

    lines: tuple[Line, ...]
    said: Mapping[str, tuple[str, ...]]


def summarise(table: Table, facts: StudyFacts) -> Summary:
    """The arms, the claimed one against each reference, other label-free ones against both; what that says."""
    arms = facts.arms
    pairs: list[tuple[str, str | None]] = [(arm, None) for arm in arms]
    pairs += [(CLAIMED, r) for r in REFERENCES if r in arms and r != CLAIMED]
    pairs += [(arm, r) for arm in OTHER_TASKS for r in (AGAINST, CLAIMED) if arm in arms and r in arms]
    lines = (Line(arm=arm, reference=r, cells=tuple(
        (table.find(versus(arm, r) if r else arm, split, *where), r is not None or split == "train-val")
        for split, *where in COLUMNS.values())) for arm, r in pairs)
    left = [f"Not finished yet, and not in these figures: {', '.join(facts.missing)}."] if facts.missing else []
    said = {"The claim": (*claim.conclusion(table), *stand_in(facts), *left),
            "Beside controls": claim.controls(table, (CLAIMED,)),
            "Another task without labels": claim.other_tasks(table, tuple(arms))}
    return Summary(lines=tuple(lines), said={title: found for title, found in said.items() if found})


def load_results(folder: Path) -> tuple[Table, StudyFacts]:
    """Table and facts that `report` wrote. Raises DataError if one is missing or damaged."""
    try:
        texts = [(folder / name).read_text(encoding="utf-8") for name in (TABLE_FILE, FACTS_FILE)]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"'{folder}' holds no results of a study that can be read: {error}.") from error
    return from_csv(texts[0], f"'{folder / TABLE_FILE}'"), facts_from_json(texts[1], f"'{folder / FACTS_FILE}'")
