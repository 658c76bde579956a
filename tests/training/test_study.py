"""The study end to end on synthetic lesions: two arms, two seeds, a tiny encoder."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dermdemo.cli import main
from dermdemo.config import FinetuneConfig
from dermdemo.data.synthetic import write_synthetic
from dermdemo.errors import CheckpointError, ConfigError, DataError, TrainingError
from dermdemo.evaluation.image_scores import read_scores
from dermdemo.evaluation.predict import readings
from dermdemo.evaluation.seeds import reading as reading_module
from dermdemo.evaluation.seeds.folder import RunPlace
from dermdemo.evaluation.seeds.records import keep_records
from dermdemo.evaluation.seeds.report import report
from dermdemo.evaluation.seeds.runs import load_study_runs
from dermdemo.evaluation.seeds.sampling import Resampling
from dermdemo.evaluation.seeds.variants import parse_arms
from dermdemo.models.checkpoint import load_meta, trim
from dermdemo.training import study as study_module
from dermdemo.training.events import read_events
from dermdemo.training.finetune import FinetuneTask
from dermdemo.training.runs import RunRequest, run_train
from dermdemo.training.schedules import clock
from dermdemo.training.study import StudyRequest, default_arms, run_study
from dermdemo.training.study_plan import plan
from tests.models.tiny import ATTO, encoder, save_encoder, save_vae

CONFIG = FinetuneConfig(schedule="32x2", batch_size=32, views=1, device="cpu", precision="fp32")


class Killed(BaseException):
    """Ends a run as a kill does: nothing catches it, nothing is written any more."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lesions, and a store with encoders that pass for pretrained ones."""
    folder = tmp_path_factory.mktemp("study")
    write_synthetic(folder / "lesions", n_lesions=84, seed=5)
    save_vae(folder / "store" / "vae")
    save_encoder(folder / "store" / "stand-in", encoder(seed=1))
    return folder


@pytest.fixture(autouse=True)
def home(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DERMDEMO_HOME", str(root / "home"))


def request(root: Path, out: str, **changes: Any) -> StudyRequest:
    names = changes.pop("arms", ("vae", "imagenet"))
    values = {"seeds": (0, 1), "config": CONFIG, "weights": str(root / "store" / "stand-in"), "encoder": ATTO,
              "say": lambda text: None} | changes
    return StudyRequest(source=str(root / "lesions"), root=root / out, store=root / "store", arms=parse_arms(names),
                        **values)


@pytest.fixture(scope="module")
def whole(root: Path) -> Path:
    """The study, trained in one go by the command."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DERMDEMO_HOME", str(root / "home"))
        assert main(command(root)) == 0
    return root / "whole"


def command(root: Path, *more: str) -> list[str]:
    return ["study", str(root / "lesions"), "--arms", "vae", "imagenet", "--seeds", "0", "1", "--store",
            str(root / "store"), "--weights", str(root / "store" / "stand-in"), "--encoder", ATTO, "--out",
            str(root / "whole"), "--schedule", "32x2", "--batch-size", "32", "--views", "1", "--device", "cpu",
            "--precision", "fp32", "--resamples", "50", *more]  # fmt: skip


def test_every_model_is_finished_and_read_once(whole: Path) -> None:
    study = load_study_runs(whole)
    assert list(study.runs) == ["vae", "imagenet", "pixels"] and study.missing() == ()
    for arm in ("vae", "imagenet"):
        for run in study.runs[arm].values():
            assert run.meta is not None and run.reading.readings == 1 and run.meta.spent["epochs"] == 2
            assert readings(run.meta.sha256) == 1
    assert not list(whole.rglob("*.pt")), "training checkpoints of finished runs"
    text = (whole / "study.md").read_text()
    assert "## What our data say about the claim" in text and "![" in text


def test_scores_of_images_add_up_to_the_curves(whole: Path) -> None:
    folder = whole / "runs" / "vae-s1"
    scores, epochs = read_scores(folder / "scores"), [e for e in read_events(folder) if e["kind"] == "epoch"]
    assert scores.epochs == (0, 1, 2)
    for k, epoch in enumerate(epochs):
        for split in ("train", "val"):
            of_split = getattr(scores, split)
            assert of_split.loss[k].mean() == pytest.approx(epoch[split]["loss"], rel=1e-5)
            assert of_split.right[k].mean() == pytest.approx(epoch[split]["accuracy"])


def test_a_run_computes_what_train_computes_without_sharing(root: Path, whole: Path) -> None:
    config = dataclasses.replace(CONFIG, seed=1)
    place = RunRequest(source=str(root / "lesions"), out=root / "alone", store=root / "alone-store")
    alone = run_train(place, config, arm="vae", weights=str(root / "store" / "vae"), encoder=ATTO)
    ours, theirs = load_meta(whole / "checkpoints" / "vae-s1"), load_meta(alone)
    assert {k: theirs.files[k] for k in ours.files} == dict(ours.files)
    assert [b.part for b in ours.base] == ["trunk"], "the copied encoder is stored once"


def test_a_finished_study_trains_and_reads_nothing(root: Path, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*args: Any, **options: Any) -> None:
        raise AssertionError("done already")

    before = (root / "home" / "test_readings.jsonl").read_text()
    page = (whole / "study.md").read_bytes()
    monkeypatch.setattr(study_module, "train_arm", never)
    monkeypatch.setattr(reading_module, "predict", never)
    assert main(command(root)) == 0
    assert (root / "home" / "test_readings.jsonl").read_text() == before
    assert (whole / "study.md").read_bytes() == page


def test_a_changed_setting_is_refused(root: Path, whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command(root, "--lr", "0.5")) == 1
    assert "lr was 0.001 and is now 0.5" in capsys.readouterr().err


def test_a_killed_run_goes_on_and_ends_as_an_uninterrupted_one(root: Path, whole: Path,
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    measure, arms = FinetuneTask.validate, {"arms": ("imagenet",), "seeds": (0,)}

    def fatal(self: FinetuneTask, model: Any, epoch: int) -> Any:
        if epoch == 2:
            raise Killed
        return measure(self, model, epoch)

    with monkeypatch.context() as patch:
        patch.setattr(FinetuneTask, "validate", fatal)
        with pytest.raises(Killed):
            run_study(request(root, "killed", **arms))
    place = RunPlace(root=root / "killed", arm="imagenet", seed=0)
    assert place.kind == "broken off" and "goes on after epoch 1 of 2" in plan(request(root, "killed", **arms))
    monkeypatch.setenv("DERMDEMO_HOME", str(root / "another-home"))  # the same model: elsewhere it has been read
    run_study(request(root, "killed", **arms))
    twin = RunPlace(root=whole, arm="imagenet", seed=0)
    assert place.kind == "done" and place.model is not None and twin.model is not None
    assert place.model.sha256 == twin.model.sha256
    assert read_events(place.folder)[-2]["kind"] == "finished"
    with np.load(place.folder / "test_predictions.npz") as a, np.load(twin.folder / "test_predictions.npz") as b:
        np.testing.assert_array_equal(a["logits"], b["logits"])
    _no_second_reading(root, place, monkeypatch)


def _no_second_reading(root: Path, place: RunPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A break after predicting is counted once; without the predictions test is not read again."""
    again = request(root, "killed", arms=("imagenet",), seeds=(0,))
    (place.folder / "test.json").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(reading_module, "predict", None)
        run_study(again)
    assert place.reading is not None and place.reading.readings == 1
    (place.folder / "test.json").unlink()
    (place.folder / "test_predictions.npz").unlink()
    with pytest.raises(DataError, match=r"readings: 1\).*not read again"):
        run_study(again)


def test_a_stopped_run_is_not_taken_for_a_finished_one(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measure, arms = FinetuneTask.after_epoch, {"arms": ("random-head-ls1",), "seeds": (0,)}

    def stop(self: FinetuneTask, model: Any, epoch: int, folder: Path, record: Any) -> None:
        (folder / "stop").touch()
        measure(self, model, epoch, folder, record)

    monkeypatch.setattr(FinetuneTask, "after_epoch", stop)
    with pytest.raises(TrainingError, match="stopped after epoch 1 of 2"):
        run_study(request(root, "stopped", **arms))
    assert RunPlace(root=root / "stopped", arm="random-head-ls1", seed=0).kind == "broken off"


def test_a_plan_writes_nothing_and_goes_by_finished_runs(root: Path, whole: Path,
                                                         capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command(root, "--plan", "--seeds", "0", "1", "2", "--out", str(root / "new"))) == 0
    out = capsys.readouterr().out
    assert "vae-s2" in out and "6 of 6 runs to train, and 6 of unknown length" in out and not (root / "new").exists()
    text = plan(request(root, "whole", seeds=(0, 1, 2), arms=("vae", "imagenet", "scratch")))
    assert "as 2 finished of this arm" in text and "finished, test read" in text
    assert "5 of 9 runs to train: about" in text and "and 3 of unknown length" in text
    assert [clock(s) for s in (40, 600, 7500)] == ["40 s", "10 min", "2 h 05 min"]


@pytest.mark.parametrize(("change", "message"), [
    ({"seeds": ()}, "at least one seed"), ({"seeds": (1, 1)}, "named twice"), ({"seeds": (-1,)}, "from 0"),
    ({"config": FinetuneConfig(seed=2)}, "with --seeds"), ({"config": FinetuneConfig(devices=2)}, "one device"),
    ({"config": FinetuneConfig(early_stopping=3)}, "equally long"),
])  # fmt: skip
def test_what_a_study_cannot_do_is_said(root: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        request(root, "never", **change)


def test_missing_encoders_are_named_before_any_training(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command(root, "--arms", "ae", "--out", str(root / "no-ae"))) == 1
    assert "'ae' has nothing to start from" in capsys.readouterr().err
    save_encoder(root / "store" / "trimmed", encoder(seed=2))
    trim(root / "store" / "trimmed")
    with pytest.raises(CheckpointError, match="without its part 'top'"):
        run_study(request(root, "trimmed", arms=("random", "imagenet"), weights=str(root / "store" / "trimmed")))
    assert not (root / "trimmed" / "runs").exists(), "nothing was trained"
    assert main(["study"]) == 1 and "Name the data set" in capsys.readouterr().err


def test_other_label_free_encoders_join_where_the_store_holds_them(root: Path, tmp_path: Path) -> None:
    assert default_arms(root / "store", ("vae", "random")) == ("vae", "random")
    (tmp_path / "ssl").mkdir()
    assert default_arms(tmp_path, ("vae", "random")) == ("vae", "ssl", "random")
    (tmp_path / "ae").mkdir()
    assert default_arms(tmp_path, ("vae", "random")) == ("vae", "ae", "ssl", "random")


def test_a_study_trains_the_contrastive_arm(root: Path, tmp_path: Path) -> None:
    save_encoder(tmp_path / "ssl", encoder(seed=3), kind="ssl")
    config = dataclasses.replace(CONFIG, schedule="32x1")
    work = request(root, "contrastive", arms=("ssl", "random"), seeds=(0,), config=config)
    run_study(dataclasses.replace(work, store=tmp_path))
    study = load_study_runs(root / "contrastive")
    assert list(study.runs) == ["ssl", "random", "pixels"]
    assert study.settings.starts == {"ssl": load_meta(tmp_path / "ssl").sha256}
    assert [b.checkpoint for b in load_meta(root / "contrastive" / "checkpoints" / "ssl-s0").base] == ["start-ssl"]
    made = report(root / "contrastive", root / "contrastive" / "study.md", Resampling(n_resamples=20))
    text = made.read_text()
    assert "SimCLR on lesions, no labels" in text and "`ssl` is " in text


def test_other_test_images_cannot_be_compared(whole: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(whole, copy)
    path = copy / "runs" / "vae-s0" / "test_predictions.npz"
    with np.load(path) as stored:
        arrays = {k: stored[k] for k in stored.files}
    np.savez(path, **{**arrays, "image_id": np.array([f"X{k}" for k in range(len(arrays["y"]))])})
    with pytest.raises(DataError, match="other test images"):
        load_study_runs(copy)
    settings = json.loads((copy / "study.json").read_text())
    (copy / "study.json").write_text(json.dumps({**settings, "split_hash": "0" * 64}))
    with pytest.raises(DataError, match="does not fit its checkpoint"):
        load_study_runs(copy)


def test_records_stand_for_the_study_without_its_weights(
        root: Path, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept, how = tmp_path / "kept", Resampling(n_resamples=20)
    assert main(["study", "--out", str(whole), "--records", str(kept)]) == 0
    assert "vae-s0, vae-s1, imagenet-s0, imagenet-s1" in capsys.readouterr().out
    suffixes = {p.suffix for p in kept.rglob("*") if p.is_file()}
    assert suffixes == {".json", ".jsonl", ".npz"}
    assert not [p for p in kept.rglob("*.json*") if str(root) in p.read_text()], "no folder of this machine is named"
    pages = [report(folder, tmp_path / name / "study.md", how) for folder, name in ((whole, "a"), (kept, "b"))]
    assert pages[0].read_text() == pages[1].read_text()
    went_on = request(root, "unused", say=lambda text: pytest.fail(text))
    run_study(dataclasses.replace(went_on, root=kept))


def test_records_grow_by_what_is_new_and_lose_nothing(root: Path, whole: Path, tmp_path: Path) -> None:
    half, kept = tmp_path / "half", tmp_path / "kept"
    shutil.copytree(whole, half)
    (half / "runs" / "imagenet-s1" / "test.json").unlink()
    assert keep_records(half, kept) == ("vae-s0", "vae-s1", "imagenet-s0")
    assert keep_records(whole, kept) == ("imagenet-s1",) and keep_records(half, kept) == ()
    assert load_study_runs(kept).missing() == ()
    path = half / "runs" / "vae-s0" / "test.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "readings": 2}))
    with pytest.raises(DataError, match=r"another model of vae-s0.*Nothing was copied"):
        keep_records(half, kept)
    settings = json.loads((half / "study.json").read_text())
    (half / "study.json").write_text(json.dumps({**settings, "config": {**settings["config"], "lr": "0.5"}}))
    path.write_text((whole / "runs" / "vae-s0" / "test.json").read_text())
    with pytest.raises(ConfigError, match="lr was"):
        keep_records(half, kept)
    with pytest.raises(DataError, match="holds no records"):
        keep_records(whole, root / "lesions")
