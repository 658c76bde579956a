"""Registration in a process of its own: its id and its errors arrive as they were."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from dermdemo.errors import CheckpointError, DataError, ImageError, JobError
from dermdemo.jobs import registering
from dermdemo.jobs.data_checks import UnknownLabelsError
from dermdemo.jobs.datasets import Catalogue, Offer
from dermdemo.jobs.processes import identity
from dermdemo.jobs.registering import answer_to, register
from dermdemo.jobs.registry import Registry

ADA = Offer(who="ada", name="ä", mapping={"a": "nv"}, split_seed=3)


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    return Catalogue(tmp_path / "home", (tmp_path / "allowed",), Registry(tmp_path / "home", tmp_path / "shipped"))


@pytest.mark.slow
def test_a_real_process_says_what_is_wrong(catalogue: Catalogue, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="DERMDEMO_DATA"):
        register(catalogue, ADA, path="/etc")
    (tmp_path / "x.zip").write_bytes(b"PK\x03\x04")
    with pytest.raises(ImageError, match="cannot be read"):
        register(catalogue, ADA, archive=tmp_path / "x.zip")


def _answering(monkeypatch: pytest.MonkeyPatch, out: str, code: int = 0) -> list[dict[str, Any]]:
    asked: list[dict[str, Any]] = []

    def run(command: list[str], *, input: str, **_: Any) -> subprocess.CompletedProcess[str]:
        asked.append(json.loads(input))
        return subprocess.CompletedProcess(command, code, out, "Traceback: /secret")

    monkeypatch.setattr(registering.subprocess, "run", run)
    return asked


def test_everything_that_was_offered_arrives(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = _answering(monkeypatch, 'a line of a library\n{"id": "d0007"}\n')
    assert register(catalogue, ADA, path="/x") == "d0007"
    seen: list[Any] = []

    def add(self: Catalogue, path: str, offer: Offer) -> Any:
        seen.append((self.home, self.roots, self.registry.shipped, path, offer))
        raise UnknownLabelsError(("mole",), ("nv",))

    monkeypatch.setattr(Catalogue, "add", add)
    assert answer_to(asked[0])["labels"] == ["mole"]
    assert seen == [(catalogue.home, catalogue.roots, catalogue.registry.shipped, "/x", ADA)]


@pytest.mark.parametrize("error", [DataError("Gone."), JobError("Busy."), CheckpointError("Bad."), ImageError("No.")])
def test_errors_keep_their_class_and_words(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch,
                                           error: Exception) -> None:
    def add(*_: Any) -> Any:
        raise error

    asked = _answering(monkeypatch, '{"id": "d0001"}')
    register(catalogue, ADA, archive=Path("/x.zip"))
    monkeypatch.setattr(Catalogue, "add_zip", add)
    _answering(monkeypatch, json.dumps(answer_to(asked[0])))
    with pytest.raises(type(error), match=str(error)) as raised:
        register(catalogue, ADA, path="/x")
    assert type(raised.value) is type(error)


def test_unknown_labels_and_a_full_disk_are_told_apart(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    _answering(monkeypatch, '{"error": "x", "labels": ["mole"], "classes": ["nv"]}')
    with pytest.raises(UnknownLabelsError) as raised:
        register(catalogue, ADA, path="/x")
    assert (raised.value.labels, raised.value.classes) == (("mole",), ("nv",))
    _answering(monkeypatch, '{"error": "x", "full": true}')
    with pytest.raises(OSError) as full:
        register(catalogue, ADA, path="/x")
    assert full.value.errno == errno.ENOSPC


@pytest.mark.parametrize("out", ["", "no json", "Killed\n"])
def test_an_end_without_an_answer_is_none(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch, out: str) -> None:
    _answering(monkeypatch, out, -9)
    with pytest.raises(RuntimeError, match="ended with -9"):
        register(catalogue, ADA, path="/x")


@pytest.mark.slow
def test_it_ends_with_whoever_started_it(catalogue: Catalogue, tmp_path: Path) -> None:
    """kill -9 of the server in the middle of a registration: no process stays, nothing is registered."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys, time\nif 'dermdemo.jobs.registering' in sys.orig_argv: time.sleep(600)\n")
    code = ("import subprocess; from pathlib import Path; real = subprocess.Popen\n"
            "class Told(real):\n"
            "    def __init__(self, command, *args, **more):\n"
            "        super().__init__(command, *args, **more)\n"
            "        if 'dermdemo.jobs.registering' in command: print(self.pid, flush=True)\n"
            "subprocess.Popen = Told\n"
            "from dermdemo.jobs import registering; from dermdemo.jobs.datasets import Catalogue, Offer\n"
            "from dermdemo.jobs.registry import Registry\n"
            f"home = Path({str(tmp_path / 'home')!r})\n"
            "registering.register(Catalogue(home, (), Registry(home, home)), Offer(who='ada'), path='/x')")
    root = str(Path(registering.__file__).parents[2])
    server = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=root,
                              env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{root}"})
    assert server.stdout is not None
    try:
        child = identity(int(server.stdout.readline()))
    finally:
        server.kill()
        server.communicate()
    assert child
    while identity(int(child.split("/")[1])) == child:  # the test's own limit ends this
        time.sleep(0.02)
