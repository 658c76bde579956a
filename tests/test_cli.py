"""Exit codes and messages of `python -m dermdemo`: 0 done, 1 failed with a sentence, 2 wrong usage."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from dermdemo import RESEARCH_NOTICE
from dermdemo.cli import main, parse, take_preset
from dermdemo.commands import COMMANDS
from dermdemo.config import PRESETS, FinetuneConfig, PretrainConfig
from dermdemo.errors import TrainingError

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Synthetic sources are written below the state folder: not the one of this checkout."""
    monkeypatch.setenv("DERMDEMO_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "state"


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in COMMANDS)
    assert RESEARCH_NOTICE in out


def test_no_command_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "usage: python -m dermdemo" in capsys.readouterr().out


@pytest.mark.parametrize("command", list(COMMANDS))
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command.split(), "--help"]) == 0
    assert f"python -m dermdemo {command}" in capsys.readouterr().out


def test_unknown_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pretrian"]) == 2
    err = capsys.readouterr().err
    assert "unknown command 'pretrian'; did you mean 'pretrain'?" in err
    assert "pretrain-supervised" in err


def test_a_family_of_commands_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    for family in sorted({name.split()[0] for name in COMMANDS if " " in name}):
        assert main([family, "--help"]) == 0
        out, err = capsys.readouterr()
        shown = [line.strip() for line in out.splitlines() if line.startswith("  ")]
        assert shown and all(line.startswith(f"{family} ") for line in shown) and not err
        assert main([family]) == main([family, "nosuch"]) == 2
        err = capsys.readouterr().err
        assert f"'{family}' needs a second word" in err and f"unknown command '{family} nosuch'" in err
        assert shown[0] in err


def test_a_word_that_is_near_no_command_gets_no_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zzz"]) == 2
    assert "unknown command 'zzz'\nusage:" in capsys.readouterr().err


@pytest.mark.parametrize("flag", [["--preset", "papre"], ["--preset=papre"], ["--preset"]])
def test_unknown_preset(flag: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pretrain", "synthetic", *flag]) == 2
    err = capsys.readouterr().err
    assert "unknown preset" in err
    assert "known: paper, gpu, laptop, quick" in err


@pytest.mark.parametrize("argv", [
    ["pretrain"],
    ["pretrain", "synthetic", "--no-such-option", "1"],
    ["train", "synthetic", "--arm", "nonsense"],
    ["pretrain", "synthetic", "--batch-size", "many"],
    ["data", "audit"],
])  # fmt: skip
def test_wrong_usage(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2
    captured = capsys.readouterr()
    assert captured.err or captured.out


@pytest.mark.parametrize("argv", [
    ["data", "audit", "no/such/folder"],
    ["pretrain", "no/such/folder", "--out", "run"],
    ["evaluate", "no/such/checkpoint", "synthetic:14"],
    ["compare", "no/such/run", "no/other/run"],
    ["train", "synthetic:14", "--arm", "vae", "--weights", "no/such/checkpoint"],
    ["pretrain", "synthetic", "--schedule", "64"],
    ["pretrain", "synthetic", "--beta", "-1"],
    ["pretrain-ssl", "synthetic", "--temperature", "0"],
    ["train", "synthetic:14", "--arm", "ssl"],
])  # fmt: skip
def test_failures_are_a_sentence_and_code_1(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 1
    err = capsys.readouterr().err.strip()
    assert err.startswith("dermdemo: ")
    assert err.endswith((".", "?"))
    assert "Traceback" not in err


def test_an_audit_as_json(capsys: pytest.CaptureFixture[str], state_folder: Path) -> None:
    assert main(["data", "audit", "synthetic:14", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["groups"] == 14
    assert (state_folder / "synthetic" / "14" / "HAM10000_metadata.csv").exists()


def test_presets_become_defaults_and_options_still_win() -> None:
    command = parse(["pretrain", "somewhere", "--preset", "quick"])
    assert command.source == "somewhere"
    assert command.config == PRESETS["pretrain"]["quick"].config
    command = parse(["pretrain-ssl", "somewhere", "--preset", "quick", "--temperature", "0.2"])
    assert command.config == dataclasses.replace(PRESETS["pretrain-ssl"]["quick"].config, temperature=0.2)
    command = parse(["train", "--preset=quick", "somewhere", "--arm", "vae", "--lr", "0.5"])
    assert isinstance(command.config, FinetuneConfig)
    assert command.config.schedule == PRESETS["train"]["quick"].config.schedule
    assert command.config.lr == 0.5


def test_take_preset_leaves_other_arguments_alone() -> None:
    config, rest = take_preset("pretrain", ["a", "--preset", "paper", "--lr", "1"])
    assert config == PretrainConfig()
    assert rest == ["a", "--lr", "1"]
    assert take_preset("pretrain", ["a", "b"]) == (None, ["a", "b"])


@pytest.mark.parametrize(("error", "code"), [
    (TrainingError("Interrupted.", reason="interrupted"), 130), (KeyboardInterrupt(), 130),
    (TrainingError("Not a number.", reason="nan"), 1),
])  # fmt: skip
def test_interrupts_have_their_own_code(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: object) -> int:
        raise error

    monkeypatch.setattr(COMMANDS["data audit"], "run", fail)
    assert main(["data", "audit", "synthetic"]) == code


@pytest.mark.parametrize(("argv", "code"), [(["--help"], 0), (["data", "audit", "nowhere"], 1), (["nothing"], 2)])
def test_the_process_ends_with_the_code(argv: list[str], code: int) -> None:
    done = subprocess.run([sys.executable, "-m", "dermdemo", *argv], cwd=ROOT, capture_output=True, text=True,
                          check=False)  # fmt: skip
    assert done.returncode == code
    assert "Traceback" not in done.stderr
