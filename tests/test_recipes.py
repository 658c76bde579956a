"""The list of commands that reproduces the study: order, names that the commands know, and commands that fail."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import pytest

from dermdemo.cli import main, parse
from dermdemo.config import PRESETS
from dermdemo.recipes import RECIPES, Recipe, Reproduction, run, steps


def reproduction(out: Path, recipe: Recipe = "laptop", seeds: tuple[int, ...] = (0, 1)) -> Reproduction:
    return Reproduction(source="lesions", supervised="photos", recipe=recipe, out=out, seeds=seeds)


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_command_is_understood_and_takes_the_preset(recipe: Recipe, tmp_path: Path) -> None:
    assert set(RECIPES) == set(get_args(Recipe))
    listed = steps(reproduction(tmp_path, recipe))
    assert {step.state() for step in listed} == {"to do"}
    commands = {step.name: parse(step.argv) for step in listed}
    for name in ("vae", "stand-in", "vae-arm", "imagenet-arm", "ssl", "study"):
        command = next(step.argv[0] for step in listed if step.name == name)
        assert commands[name].config.schedule == PRESETS[command][recipe].config.schedule
    assert commands["study"].seeds == (0, 1) and commands["imagenet-arm"].weights == str(
        tmp_path / "checkpoints" / "stand-in")
    names = list(commands)
    assert names.index("trim stand-in") == len(names) - 1  # the study needs all of it


def test_the_schedules_are_what_the_recipes_say() -> None:
    said = {"laptop": ("64x40,128x8", "64x40", "32x12,64x3", "128x30", "64x30"),
            "gpu": ("128x270,224x30", "128x270,224x30", "32x30,64x30", "224x50", "224x50")}
    for recipe, schedules in said.items():
        commands = ("pretrain", "pretrain-ssl", "pretrain-supervised", "train", "study")
        assert schedules == tuple(PRESETS[c][recipe].config.schedule for c in commands)


def test_without_seeds_there_is_no_study(tmp_path: Path) -> None:
    assert not {"study", "ssl"} & {step.name for step in steps(reproduction(tmp_path, seeds=()))}


def test_the_plan_runs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", "lesions", "photos", "--out", str(tmp_path / "out"), "--plan"]) == 0
    said = capsys.readouterr().out
    assert said.count("to do  python -m dermdemo ") == 12 and RECIPES["laptop"] in said
    assert not (tmp_path / "out").exists()


def test_a_real_command_that_fails_ends_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    missing = Reproduction(source=str(tmp_path / "nothing"), supervised="photos", recipe="laptop",
                           out=tmp_path / "out", seeds=())
    assert run(missing) == 1
    said = capfd.readouterr().err
    assert "'vae' ended with exit code 1" in said and "nothing" in said and "stand-in" not in said


def test_a_command_without_its_result_ends_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[Sequence[str]] = []

    def idle(argv: Sequence[str]) -> int:
        asked.append(argv)
        return 0

    assert run(reproduction(tmp_path), idle) == 1
    assert len(asked) == 1 and "its result is not there" in capsys.readouterr().err
