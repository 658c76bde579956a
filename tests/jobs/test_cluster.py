"""Slurm's settings and its queue, as far as they can be tried without one."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from dermdemo.errors import ConfigError
from dermdemo.jobs.cluster import SlurmSettings, queued_jobs


def test_settings_are_read() -> None:
    assert SlurmSettings.parse("partition=gpu,gpus=2, nodes=1") == SlurmSettings(partition="gpu", gpus=2)
    assert SlurmSettings.parse(" ") is None


@pytest.mark.parametrize("text", ["gpu", "partition=a b", "gpus=x", "nodes=0", "setup=rm", "partition=$(id)", "gpus="]
                         )
def test_other_settings_are_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        SlurmSettings.parse(text)


def _squeue(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    path = folder / "squeue"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}:/bin:/usr/bin")


def test_jobs_that_wait_or_run_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _squeue(tmp_path, monkeypatch, "printf '7|RUNNING|dermdemo-0001-1\\n8|COMPLETED|x\\n9|PENDING|y\\nnoise\\n'")
    assert queued_jobs() == {"7": "RUNNING", "dermdemo-0001-1": "RUNNING", "9": "PENDING", "y": "PENDING"}


def test_a_cluster_that_does_not_answer_is_told_from_an_empty_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch
                                                                  ) -> None:
    _squeue(tmp_path, monkeypatch, "exit 0")
    assert queued_jobs() == {}
    _squeue(tmp_path, monkeypatch, "exit 1")
    assert queued_jobs() is None
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    assert queued_jobs() is None
