"""`study --report`: finished runs -> table -> figures and page; or a table that is there -> figures and page."""

from __future__ import annotations

import os
from pathlib import Path

from dermdemo.errors import DataError
from dermdemo.evaluation.paper import PAPER_ARMS
from dermdemo.evaluation.seeds.facts import StudyFacts, facts_from_json, gather_facts
from dermdemo.evaluation.seeds.figures import save_figures
from dermdemo.evaluation.seeds.folder import SETTINGS_FILE
from dermdemo.evaluation.seeds.gaps import INITIAL, LAST, gap_rows
from dermdemo.evaluation.seeds.page import render
from dermdemo.evaluation.seeds.runs import Run, Study, load_study_runs
from dermdemo.evaluation.seeds.sampling import Resampling
from dermdemo.evaluation.seeds.summary import FACTS_FILE, TABLE_FILE
from dermdemo.evaluation.seeds.table import PUBLISHED, Row, from_csv, to_csv
from dermdemo.evaluation.seeds.unseen import unseen_rows
from dermdemo.evaluation.study_record import STUDY_FOLDER

SIGNATURES = ("overfitting", "underfitting", "constant")


def report(folder: Path, page: Path, how: Resampling, *, store: Path | None = None) -> Path:
    """Write `page`, and table, facts and figures into the folder of its name beside it (``study.md``: ``study/``).

    Args:
        folder: a study, or a folder that holds a table and facts written by this function.
        store: folder of checkpoints; table and facts are put beside them too, for the app's Models tab.

    Raises:
        DataError: neither, or no run has finished; or the store is not there.
    """
    if store is not None and not store.is_dir():
        raise DataError(f"There is no folder of checkpoints '{store}' to put the results beside.")
    if (folder / SETTINGS_FILE).exists():
        rows, facts = aggregate(load_study_runs(folder), how)
        table_text, facts_text = to_csv(rows), facts.to_json()
    elif (folder / TABLE_FILE).exists() and (folder / FACTS_FILE).exists():
        table_text, facts_text = ((folder / name).read_text(encoding="utf-8") for name in (TABLE_FILE, FACTS_FILE))
    else:
        raise DataError(f"'{folder}' holds neither a study ({SETTINGS_FILE}) nor its table ({TABLE_FILE} and "
                        f"{FACTS_FILE}).")
    assets = page.with_suffix("")
    if assets == page:
        raise DataError(f"The page is a Markdown file: give it a name such as {page.name}.md.")
    table, facts = from_csv(table_text, f"'{folder}'"), facts_from_json(facts_text, f"'{folder}'")
    for place in (assets, *([store / STUDY_FOLDER] if store else [])):
        place.mkdir(parents=True, exist_ok=True)
        _write(place / TABLE_FILE, table_text)
        _write(place / FACTS_FILE, facts_text)
    save_figures(table, tuple(facts.arms), assets)
    _write(page, render(table, facts, assets.name))
    return page


def aggregate(study: Study, how: Resampling) -> tuple[list[Row], StudyFacts]:
    """All rows of the table, and what it does not hold."""
    gaps, notes = gap_rows(study, how)
    rows = [*paper_rows(), *unseen_rows(study, how), *gaps, *_signature_rows(study), *_curve_rows(study)]
    return rows, gather_facts(study, how, notes)


def paper_rows() -> list[Row]:
    """The published figures, as rows."""
    rows = []
    for arm in PAPER_ARMS:
        for split, metric, change in (("val", "loss", arm.val_loss), ("val", "accuracy", arm.val_accuracy),
                                      ("train", "accuracy", arm.train_accuracy)):
            if change is not None:
                for name, scope, value in ((metric, INITIAL, change.initial), (metric, LAST, change.final),
                                           (f"{metric}_change_pct", LAST, change.change_pct)):
                    rows.append(Row(arm=arm.name, seed=PUBLISHED, split=split, metric=name, scope=scope, value=value))
    return rows


def _runs(study: Study) -> list[tuple[str, int, Run]]:
    return [(a, s, run) for a, of_arm in study.runs.items() for s, run in of_arm.items() if run.history is not None]


def _signature_rows(study: Study) -> list[Row]:
    """1 where the curves of a run show a failure, 0 where not."""
    return [Row(arm=arm, seed=str(seed), split="train-val", metric="signature", scope=kind,
                value=float(any(s.kind == kind for s in run.signatures)))
            for arm, seed, run in _runs(study) for kind in SIGNATURES]


def _curve_rows(study: Study) -> list[Row]:
    """Every recorded epoch of every run."""
    rows = []
    for arm, seed, run in _runs(study):
        for split in ("train", "val"):
            curve, images = getattr(run.history, split), len(getattr(run.scores, split).y)
            for metric in ("loss", "accuracy", "balanced_accuracy"):
                rows += [Row(arm=arm, seed=str(seed), split=split, metric=metric, scope="epoch", value=value,
                             n_images=images, epoch=float(epoch))
                         for epoch, value in zip(run.scores.epochs, getattr(curve, metric) or (), strict=False)]
    return rows


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8", newline="\n")
    os.replace(temporary, path)
