"""A study keeps its settings: which may grow, which may not change, and damage that is named."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from dermdemo.errors import ConfigError, DataError
from dermdemo.evaluation.seeds.folder import (
    SETTINGS_FILE,
    RunPlace,
    StudySettings,
    agreed_settings,
    load_settings,
    write_json,
)

SETTINGS = StudySettings(data="d", data_hash="1" * 64, split_seed=0, split_hash="2" * 64, classes=("a", "b"),
                         encoder="convnext_tiny", config={"lr": "0.001", "device": "cpu"}, arms=("vae",),
                         seeds=(0, 1), starts={"vae": "3" * 64})


def test_arms_and_seeds_may_be_added(tmp_path: Path) -> None:
    write_json(tmp_path / SETTINGS_FILE, SETTINGS)
    more = dataclasses.replace(SETTINGS, arms=("random",), seeds=(2,), starts={},
                               config={"lr": "0.001", "device": "cuda"})
    agreed = agreed_settings(tmp_path, more)
    assert (agreed.arms, agreed.seeds, agreed.starts) == (("vae", "random"), (0, 1, 2), SETTINGS.starts)
    assert load_settings(tmp_path) == SETTINGS


@pytest.mark.parametrize(("change", "message"), [
    ({"config": {"lr": "0.1", "device": "cpu"}}, "lr was 0.001 and is now 0.1"),
    ({"data_hash": "9" * 64}, "data_hash was 1111"), ({"split_hash": "9" * 64}, "split_hash was"),
    ({"encoder": "convnext_atto"}, "encoder was convnext_tiny and is now convnext_atto"),
    ({"starts": {"vae": "9" * 64}}, "weights of vae was 3333"), ({"split_seed": 4}, "split_seed was 0 and is now 4"),
])  # fmt: skip
def test_a_changed_setting_is_refused_in_words(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    write_json(tmp_path / SETTINGS_FILE, SETTINGS)
    with pytest.raises(ConfigError, match=message):
        agreed_settings(tmp_path, dataclasses.replace(SETTINGS, **change))


def test_no_study_and_a_damaged_one_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no study"):
        load_settings(tmp_path)
    (tmp_path / SETTINGS_FILE).write_text("{")
    with pytest.raises(DataError, match="damaged"):
        load_settings(tmp_path)


def test_a_run_is_finished_by_its_marks_only(tmp_path: Path) -> None:
    place = RunPlace(root=tmp_path, arm="vae", seed=3)
    assert (place.name, place.kind) == ("vae-s3", "missing")
    place.folder.mkdir(parents=True)
    (place.folder / "config.json").write_text("{}")
    assert place.kind == "broken off"
    (place.folder / "model.json").write_text("{}")
    assert place.kind == "broken off", "without its checkpoint"
    place.checkpoint.mkdir(parents=True)
    (place.checkpoint / "meta.json").write_text("{}")
    assert place.kind == "trained"
    (place.folder / "test.json").write_text("{}")
    assert place.kind == "done"
