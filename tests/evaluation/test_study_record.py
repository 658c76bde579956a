"""The study kept with the checkpoints: written by the command, read back equal, refused when it does not fit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dermdemo.cli import main
from dermdemo.errors import CheckpointError, DataError
from dermdemo.evaluation.study import compare_runs
from dermdemo.evaluation.study_record import StudyRecord, load_study, save_study
from dermdemo.models.checkpoint import load_meta, rewrite_meta
from tests.evaluation.study_store import Study, add_checkpoint, make_study
from tests.evaluation.test_study import write_arm, write_predictions


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return make_study(tmp_path_factory.mktemp("study"))


@pytest.fixture
def study(made: Study, tmp_path: Path) -> Study:
    """A copy that a test may change."""
    shutil.copytree(made.store.parent, tmp_path / "copy")
    return Study(*(tmp_path / "copy" / folder.name for folder in made))


@pytest.fixture
def record(study: Study) -> StudyRecord:
    save_study(study.store, study.vae, study.imagenet, compare_runs(study.vae, study.imagenet))
    return load_study(study.store / "study")


def test_the_command_keeps_table_curves_and_models(study: Study, make_scored: Callable[..., Any]) -> None:
    for run, signal in ((study.vae, 1), (study.imagenet, 3)):
        write_predictions(run, make_scored(90, 3, signal=signal))
    runs = [str(study.vae), str(study.imagenet)]
    assert main(["compare", *runs, "--save", str(study.store), "--resamples", "50"]) == 0
    record = load_study(study.store / "study")
    assert [(m.arm, m.checkpoint, m.finished) for m in record.models] == [
        ("vae", "vae-arm", "2026-11-24"), ("imagenet", "imagenet-arm", "2026-11-24")]
    assert [m.sha256 for m in record.models] == [load_meta(study.store / m.checkpoint).sha256 for m in record.models]
    assert record.table == compare_runs(study.vae, study.imagenet, n_resamples=50)
    assert record.table.paired is not None and "sensitivity:mel" in record.table.paired.differences
    assert [s.kind for s in record.table.arms[1].signatures] == ["overfitting"]
    assert [len(h.epochs) for h in record.histories] == [13, 13]
    assert record.histories[0].val.balanced_accuracy == (0.4,) * 13
    assert record.table.paper[0].gap == "near zero"
    assert StudyRecord.from_json(record.to_json()) == record


def test_other_models_do_not_match(record: StudyRecord) -> None:
    served = {m.checkpoint: m.sha256 for m in record.models}
    assert record.matches({**served, "vae": "0" * 64})
    assert record.matches({f"renamed {name}": sha256 for name, sha256 in served.items()})
    assert not record.matches({**served, "vae-arm": "0" * 64})
    assert not record.matches({})


def test_a_run_that_did_not_make_the_checkpoint_is_refused(study: Study) -> None:
    table = compare_runs(study.vae, study.imagenet)
    meta = load_meta(study.store / "vae-arm")
    for changed in ({"config": {"lr": 0.1}}, {"metrics": {"training": {"val": {"loss": 9.0}}}}, {"metrics": {}}):
        shutil.rmtree(study.store / "vae-arm")
        add_checkpoint(study.store, study.vae, seed=0, **changed)
        with pytest.raises(DataError, match="is not what run vae-arm trained"):
            save_study(study.store, study.vae, study.imagenet, table)
    rewrite_meta(study.store / "vae-arm", meta)
    assert save_study(study.store, study.vae, study.imagenet, table).is_file()


def test_runs_without_an_arm_or_a_checkpoint_are_refused(study: Study, tmp_path: Path) -> None:
    plain = write_arm(tmp_path / "plain", speed=0.1, drift=0.0)
    with pytest.raises(DataError, match="name no arm"):
        save_study(study.store, plain, study.imagenet, compare_runs(plain, study.imagenet))
    with pytest.raises(DataError, match="same checkpoint"):
        save_study(study.store, study.vae, study.vae, compare_runs(study.vae, study.vae))
    shutil.rmtree(study.store / "vae-arm")
    with pytest.raises(CheckpointError, match="holds no classifier of the arm 'vae'"):
        save_study(study.store, study.vae, study.imagenet, compare_runs(study.vae, study.imagenet))
    assert not (study.store / "study").exists()


def test_a_store_without_a_study_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="compare RUN_A RUN_B --save"):
        load_study(tmp_path / "study")


def _shorten(data: dict[str, Any]) -> None:
    data["histories"][0]["val"]["loss"].pop()


def _rename(data: dict[str, Any]) -> None:
    data["histories"][0]["name"] = "another"


@pytest.mark.parametrize(("change", "message"), [
    (lambda d: d.update(schema_version=2), "has version 2"),
    (lambda d: d.update(extra=1), "no field called extra"),
    (lambda d: d["models"].pop(), "compares two arms"),
    (lambda d: d["models"][0].update(sha256="abc"), "SHA-256 of vae-arm"),
    (lambda d: d["table"]["arms"][0]["signatures"][0].update(kind="bad"), "none of overfitting"),
    (lambda d: d["table"]["arms"][0]["last"].update(loss_gap="x"), "does not fit"),
    (_shorten, "do not match its 13 epochs"),
    (_rename, "different runs"),
])  # fmt: skip
def test_a_damaged_study_is_refused_in_a_sentence(
    record: StudyRecord, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    data = json.loads(record.to_json())
    change(data)
    with pytest.raises(DataError, match=message):
        StudyRecord.from_json(json.dumps(data))


def test_text_that_is_no_json_is_refused() -> None:
    for text in ("", "[]", "{", "[" * 100_000):
        with pytest.raises(DataError):
            StudyRecord.from_json(text)
