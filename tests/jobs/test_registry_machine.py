"""Whatever is added, promoted, archived, damaged or interrupted: what is served is one whole known set."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dermdemo.errors import CheckpointError, JobError
from dermdemo.jobs import registry as module
from dermdemo.jobs.model_set import ModelSet, hash_files
from dermdemo.jobs.registry import Registry

PARTS = ("vae", "arm", "atlas")


def fake_inspect(root: Path) -> ModelSet:
    """Parts are small texts that all name one set; anything else is no set."""
    files = hash_files(root)
    texts = {(root / part).read_text() if part in files else "" for part in PARTS}
    if len(texts) != 1:
        raise CheckpointError("mixed")
    return ModelSet(files=files, models={p: files[p] for p in PARTS}, classes=("a",), data_hash="d")


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(module, "inspect_set", fake_inspect)
        self.folder = Path(tempfile.mkdtemp())
        self.registry = Registry(self.folder / "home", self._write("shipped", "set 0"))
        self.damaged: set[int] = set()
        self.made = 0

    def teardown(self) -> None:
        self.patch.undo()
        shutil.rmtree(self.folder)

    def _write(self, name: str, text: str) -> Path:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        for part in PARTS:
            (folder / part).write_text(text)
        return folder

    @precondition(lambda self: self.made < 5)
    @rule()
    def add(self) -> None:
        self.made += 1
        self.registry.add(self._write("new", f"set {self.registry.numbers()[-1] + 1}"), who="ada")

    @rule(part=st.sampled_from(PARTS))
    def add_half(self, part: str) -> None:
        folder = self._write("half", "set x")
        (folder / part).write_text("set y")
        with pytest.raises(CheckpointError):
            self.registry.add(folder, who="ada")

    @rule(number=st.integers(0, 6), action=st.sampled_from(["promote", "rollback", "archive"]))
    def act(self, number: int, action: str) -> None:
        before = self.registry.switch()
        try:
            getattr(self.registry, action)(number, who="ada")
        except (CheckpointError, JobError):
            assert self.registry.switch() == before
        else:
            assert action == "archive" or (self.registry.switch().live == number and number not in self.damaged)

    @rule(number=st.integers(1, 6), part=st.sampled_from(PARTS))
    def damage(self, number: int, part: str) -> None:
        if number in self.registry.numbers():
            (self.registry.root(number) / part).write_text("tampered")
            self.damaged.add(number)

    @invariant()
    def what_is_served_is_one_whole_set(self) -> None:
        serving = self.registry.serving()
        assert serving.number not in self.damaged
        assert {(serving.root / part).read_text() for part in PARTS} == {f"set {serving.number}"}
        live = self.registry.switch().live
        assert serving.number == live or live in self.damaged

    @invariant()
    def the_log_tells_which_version_is_live(self) -> None:
        switches = [e for e in self.registry.log.read() if e.action in ("promote", "rollback")]
        told = int(switches[-1].details["version"]) if switches else 0
        assert told == self.registry.switch().live


Machine.TestCase.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
TestRegistry = Machine.TestCase
