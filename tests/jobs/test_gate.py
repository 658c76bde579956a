"""The gate on real tiny models: never test, nothing the live models know, classes in one order."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dermdemo.data.sources import load_source
from dermdemo.data.synthetic import write_synthetic
from dermdemo.errors import DataError
from dermdemo.evaluation.predict import count_reading, readings_anywhere
from dermdemo.jobs.gate import known_lesions, run_gate
from dermdemo.models.checkpoint import load_meta, rewrite_meta


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DERMDEMO_HOME", str(tmp_path / "home"))


def test_a_set_against_another(make_set: Callable[[int], Path], lesion_folder: Path) -> None:
    sha = load_meta(make_set(0) / "vae-arm").sha256
    count_reading(sha, "some split", "test")
    report = run_gate(make_set(50), make_set(0), str(lesion_folder), n_resamples=20, device="cpu")
    assert [v.arm for v in report.arms] == ["vae", "imagenet"]
    assert report.left_out == 0 and report.split == "calib"
    assert report.readings["live vae"] == 1 and report.readings["candidate vae"] == 0
    assert "candidate against live on 'calib'" in report.to_text()
    assert "test so far: candidate vae 0" in report.to_text()
    assert json.loads(report.to_json())["verdict"] == report.verdict


def test_readings_from_before_a_set_came_here_count(make_set: Callable[[int], Path], lesion_folder: Path,
                                                    tmp_path: Path) -> None:
    shutil.copytree(make_set(0), tmp_path / "set")
    arm = tmp_path / "set" / "vae-arm"
    stored = {"n_images": 30, "n_lesions": 20, "readings": 1, "figures": {"mcc": {"estimate": 0.5}}}
    rewrite_meta(arm, replace(load_meta(arm), metrics={"test": stored}))
    report = run_gate(make_set(50), tmp_path / "set", str(lesion_folder), n_resamples=20, device="cpu")
    assert report.readings == {"candidate vae": 0, "live vae": 1, "candidate imagenet": 0, "live imagenet": 0}
    for expected in (1, 2):  # the first one here may be the one that was stored
        count_reading(load_meta(arm).sha256, "some split", "test")
        assert readings_anywhere(load_meta(arm)) == expected


@pytest.mark.parametrize("split", ["test", "train", "everything"])
def test_only_gate_splits_are_read(make_set: Callable[[int], Path], lesion_folder: Path, split: str) -> None:
    with pytest.raises(DataError, match="not judged on"):
        run_gate(make_set(50), make_set(0), str(lesion_folder), split_name=split)


def test_lesions_the_live_models_were_chosen_on_are_left_out(make_set: Callable[[int], Path], lesion_folder: Path
                                                             ) -> None:
    with pytest.raises(DataError, match="know all"):
        run_gate(make_set(50), make_set(0), str(lesion_folder), split_name="val", device="cpu")
    table = load_source(lesion_folder)
    trained = known_lesions(make_set(0), ("train", "val")).rows(table)
    test = known_lesions(make_set(0), ("test",)).rows(table)
    assert 0.6 < trained.mean() < 0.8 and not (trained & test).any()


def test_new_lesions_are_all_used(make_set: Callable[[int], Path], tmp_path: Path) -> None:
    folder = write_synthetic(tmp_path / "new", n_lesions=70, seed=9)
    table = tmp_path / "new" / "HAM10000_metadata.csv"
    text = table.read_text()
    table.write_text(text.replace("SYN", "NEW"))
    for image in sorted(folder.rglob("*.jpg")):
        image.rename(image.with_name(image.name.replace("SYN", "NEW")))
    report = run_gate(make_set(50), make_set(0), str(folder), split_name="val", n_resamples=5, device="cpu")
    assert report.left_out == 0 and report.arms[0].n_images >= 7


def test_other_classes_are_not_compared(make_set: Callable[[int], Path], lesion_folder: Path, tmp_path: Path) -> None:
    changed = Path(shutil.copytree(make_set(50), tmp_path / "changed"))
    meta = load_meta(changed / "vae-arm")
    rewrite_meta(changed / "vae-arm", dataclasses.replace(meta, classes=meta.classes[::-1]))
    report = run_gate(changed, make_set(0), str(lesion_folder), n_resamples=5, device="cpu")
    assert report.arms[0].n_images, "another order is no other set of classes"
    rewrite_meta(changed / "vae-arm", dataclasses.replace(meta, classes=("scc", *meta.classes[1:])))
    with pytest.raises(DataError):
        run_gate(changed, make_set(0), str(lesion_folder), n_resamples=5, device="cpu")
