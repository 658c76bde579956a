"""Table, figures and page: the same from the same runs, the page from the table alone, one seed said to be one."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from dermdemo.errors import DataError
from dermdemo.evaluation.seeds import report as report_module
from dermdemo.evaluation.seeds.facts import StudyFacts, facts_from_json
from dermdemo.evaluation.seeds.page import render
from dermdemo.evaluation.seeds.report import aggregate, report
from dermdemo.evaluation.seeds.sampling import Resampling
from dermdemo.evaluation.seeds.table import Row, Table, from_csv, to_csv
from tests.evaluation.seeds.studies import Made, make_study

HOW = Resampling(n_resamples=60)
ARMS = {"vae": Made(signal=1.0, train_accuracy=0.7, loss_gap=0.05),
        "imagenet": Made(signal=2.5, train_accuracy=0.9, loss_gap=0.4, accuracy_gap=0.2),
        "ssl": Made(signal=1.8), "random": Made(), "random-ls1": Made(signal=0.8), "random-head": Made(constant=True)}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The page of a study whose runs are in memory."""
    folder = tmp_path_factory.mktemp("report")
    (folder / "study").mkdir()
    (folder / "study" / "study.json").write_text("{}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report_module, "load_study_runs", lambda _: make_study(ARMS))
        yield report(folder / "study", folder / "docs" / "study.md", HOW)


@pytest.fixture(scope="module")
def gathered() -> tuple[list[Row], StudyFacts]:
    """Rows and facts of the same study."""
    return aggregate(make_study(ARMS), HOW)


def contents(page: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in (page, *page.with_suffix("").iterdir())}


def test_made_again_it_is_the_same_to_the_byte(page: Path) -> None:
    first = contents(page)
    assert set(first) == {"study.md", "results.csv", "results.json", "curves.png", "gaps.png", "scores.png"}
    assert contents(report(page.parent.parent / "study", page, HOW)) == first


def test_the_page_needs_only_the_table_and_the_facts(page: Path, tmp_path: Path) -> None:
    elsewhere = report(page.with_suffix(""), tmp_path / "elsewhere" / "study.md", HOW)
    assert contents(elsewhere) == contents(page)


def test_results_are_put_beside_checkpoints_for_the_app(page: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no folder of checkpoints"):
        report(page.with_suffix(""), tmp_path / "study.md", HOW, store=tmp_path / "none")
    (tmp_path / "store").mkdir()
    report(page.with_suffix(""), tmp_path / "study.md", HOW, store=tmp_path / "store")
    (tmp_path / "study.md").unlink()
    report(page.with_suffix(""), tmp_path / "study.md", HOW, store=tmp_path / "store")  # again: replaced
    assert contents(tmp_path / "study.md") == contents(page)
    for name in ("results.csv", "results.json"):
        assert (tmp_path / "store" / "study" / name).read_bytes() == (page.with_suffix("") / name).read_bytes()


def test_the_page_says_what_the_figures_say(page: Path) -> None:
    text = page.read_text()
    for expected in ("ends with the smaller gap", "In absolute figures on unseen lesions the VAE arm is worse",
                     "what underfitting looks like", "`random-head` is a constant predictor", "paper: ImageNet",
                     "rising to +0.060", "never a diagnosis", "3 seeds", "read once per model", "| yes |",
                     "Against `random-ls1`:", "and that of `random-ls1`:",
                     "On unseen lesions `ssl` is better than `vae`"):
        assert expected in text, expected
    against = text.split("Against `vae`:")[1].split("Against `")[0]
    assert re.findall(r"^\| `(.+?)` \|", against, re.MULTILINE) == ["ssl"]


def test_the_words_flip_with_the_arms() -> None:
    swapped = {"vae": ARMS["imagenet"], "imagenet": ARMS["vae"]}
    rows, facts = aggregate(make_study(swapped), HOW)
    text = render(Table(tuple(rows)), facts, "study")
    assert "ends with the larger gap" in text and "the VAE arm is better" in text
    assert "| no, it is larger |" in text and "smaller gap between" not in text


def test_no_figure_of_the_page_is_missing_from_the_table(page: Path) -> None:
    """Every figure with an interval, rounded as the page rounds it, is a row."""
    table = from_csv((page.with_suffix("") / "results.csv").read_text())
    known = {f"{r.value:.3f} ({r.low:.3f} to {r.high:.3f})" for r in table.rows
             if r.value is not None and r.low is not None and r.high is not None}
    known |= {f"{r.value:+.3f} ({r.low:+.3f} to {r.high:+.3f})" for r in table.rows
              if r.value is not None and r.low is not None and r.high is not None}
    shown = re.findall(r"[+-]?\d\.\d{3} \([+-]?\d+\.\d{3} to [+-]?\d+\.\d{3}\)", page.read_text())
    assert len(shown) > 50 and set(shown) <= known


def test_one_seed_says_that_only_lesions_were_drawn() -> None:
    rows, facts = aggregate(make_study(ARMS, seeds=(0,)), HOW)
    text = render(Table(tuple(rows)), facts, "study")
    assert "# The study with 1 seed\n" in text and "over lesions only, as there is one seed" in text
    assert "chance in training is not in the intervals" in text


def test_unfinished_runs_and_further_readings_are_told() -> None:
    study = make_study(ARMS)
    part = dataclasses.replace(study, runs={**study.runs, "random": {0: study.runs["random"][0]}})
    rows, facts = aggregate(part, HOW)
    assert facts.missing == ("random-s1", "random-s2")
    models = (dataclasses.replace(facts.models[0], readings=3), *facts.models[1:])
    text = render(Table(tuple(rows)), dataclasses.replace(facts, models=models), "study")
    assert "Not finished, and not in any figure: random-s1, random-s2." in text and "up to 3 times" in text


def test_a_stand_in_is_called_one() -> None:
    rows, facts = aggregate(make_study({"vae": ARMS["vae"], "imagenet": ARMS["imagenet"]}), HOW)
    table = Table(tuple(rows))
    models = tuple(dataclasses.replace(m, origin="supervised stand-in: made here; not ImageNet-1k weights")
                   if m.arm == "imagenet" else m for m in facts.models)
    said = "starts from a stand-in"
    assert said in render(table, dataclasses.replace(facts, models=models), "study")
    assert said not in render(table, facts, "study")


def test_seeds_that_are_to_come_are_not_counted() -> None:
    study = make_study({"vae": ARMS["vae"]})
    planned = dataclasses.replace(study, settings=dataclasses.replace(study.settings, seeds=(0, 1, 2, 3, 4)))
    rows, facts = aggregate(planned, HOW)
    text = render(Table(tuple(rows)), facts, "study")
    assert "# The study with 3 seeds\n" in text and "over lesions and 3 seeds" in text
    assert "not in any figure: vae-s3, vae-s4." in text


def test_facts_survive_their_file_and_name_no_folder(gathered: tuple[list[Row], StudyFacts]) -> None:
    _, facts = gathered
    assert facts_from_json(facts.to_json(), "here") == facts
    assert "/" not in facts.to_json().replace("train-val", "")
    with pytest.raises(DataError, match="not valid JSON"):
        facts_from_json("{", "here")


def test_a_table_of_all_rows_is_read_back(gathered: tuple[list[Row], StudyFacts]) -> None:
    rows, _ = gathered
    assert to_csv(from_csv(to_csv(rows)).rows) == to_csv(rows)
    keys = [(r.arm, r.seed, r.split, r.metric, r.scope, r.epoch if r.scope == "epoch" else None) for r in rows]
    assert len(set(keys)) == len(keys), "a figure stands twice"


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds neither a study"):
        report(tmp_path, tmp_path / "study.md", HOW)
