"""README and cards say what the shipped metadata say."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from dermdemo.evaluation.seeds.report import aggregate, report
from dermdemo.evaluation.seeds.runs import load_study_runs
from dermdemo.evaluation.seeds.sampling import Resampling
from dermdemo.evaluation.seeds.summary import FACTS_FILE, TABLE_FILE, load_results
from dermdemo.evaluation.seeds.table import from_csv, to_csv
from dermdemo.evaluation.study_record import STUDY_FILE, STUDY_FOLDER, load_study
from dermdemo.models.card import CARD_FILE, render_card
from scripts.readme import RECORDS, ROOT, STUDY, results, shipped, study, updated

METAS = shipped(ROOT / "checkpoints")


def test_the_results_in_the_readme_are_those_of_the_checkpoints() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert updated(text, results(METAS)) == text, "run `python -m scripts.readme`"


def test_what_the_readme_says_of_the_study_is_what_its_table_says() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = study(*load_results(STUDY))
    assert block in text and updated(text, block, "study") == text, "run `python -m scripts.readme`"


def test_the_page_of_the_study_is_what_the_shipped_table_gives(tmp_path: Path) -> None:
    made = report(STUDY, tmp_path / "study.md", Resampling())
    assert made.read_text(encoding="utf-8") == STUDY.with_suffix(".md").read_text(encoding="utf-8")
    assert {p.name for p in made.with_suffix("").iterdir()} == {p.name for p in STUDY.iterdir()}


def test_the_table_of_the_study_is_what_the_shipped_runs_give() -> None:
    rows, facts = aggregate(load_study_runs(RECORDS), Resampling(n_resamples=10))
    table, shipped_facts = load_results(STUDY)
    assert (facts.models, facts.missing, facts.config) == (
        shipped_facts.models, shipped_facts.missing, shipped_facts.config)
    made, there = ({dataclasses.replace(r, value=None, low=None, high=None): r.value for r in found}
                   for found in (from_csv(to_csv(rows)).rows, table.rows))
    assert made == pytest.approx(there, rel=1e-4, abs=1e-6, nan_ok=True)


@pytest.mark.parametrize("name", [TABLE_FILE, FACTS_FILE])
def test_the_app_shows_the_results_of_the_page(name: str) -> None:
    assert (ROOT / "checkpoints" / STUDY_FOLDER / name).read_bytes() == (STUDY / name).read_bytes()


@pytest.mark.parametrize("name", METAS)
def test_a_card_is_what_its_metadata_give(name: str) -> None:
    assert (ROOT / "checkpoints" / name / CARD_FILE).read_text(encoding="utf-8") == render_card(METAS[name])


@pytest.mark.skipif(not (ROOT / "checkpoints" / "study" / STUDY_FILE).exists(), reason="no study is shipped")
def test_the_shipped_study_is_of_the_shipped_models() -> None:
    assert load_study(ROOT / "checkpoints" / "study").matches({name: meta.sha256 for name, meta in METAS.items()})


def test_a_store_without_checkpoints_is_said(tmp_path: Path) -> None:
    assert "No checkpoint" in results(shipped(tmp_path))


def test_pictures_that_the_readme_shows_are_there() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    pictures = [part.split(")")[0] for part in text.split("](")[1:] if ".png)" in part]
    assert pictures and all((ROOT / p).is_file() for p in pictures)
