"""What is shown of versions: what may be done, what the gate compared with, what is missing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dermdemo.errors import CheckpointError, JobError
from dermdemo.evaluation.predict import READINGS_FILE, count_reading
from dermdemo.evaluation.records import encode
from dermdemo.jobs import registry as module
from dermdemo.jobs.records import create_job
from dermdemo.jobs.registry import Registry
from dermdemo.jobs.versions import version_detail, version_row, version_rows
from tests.jobs.runs import retraining_record

MakeSet = Callable[[int], Path]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DERMDEMO_HOME", str(tmp_path / "home"))


def _add(versions: Registry, folder: Path, *, base: int = 0) -> int:
    """A candidate as a job leaves it, with the gate's report."""
    facts = {"base": str(base), "base_sha256": versions.version(base).sha256}
    job = create_job(versions.home / "jobs", retraining_record(facts=facts))
    gate = job.path / "work" / "gate" / "gate.json"
    gate.parent.mkdir(parents=True)
    gate.write_text(json.dumps({"verdict": "On all images: better", "arms": []}))
    return versions.add(folder, who="ada", job=job.id, verdict="On all images: better").number


def _may(versions: Registry) -> dict[int, tuple[str, ...]]:
    return {row.number: row.actions for row in version_rows(versions)[0]}


def test_a_candidate_in_full(versions: Registry, make_set: MakeSet) -> None:
    _add(versions, make_set(50))
    sha256 = versions.version(1).models["vae arm"]
    count_reading(sha256, "some split", "test")
    found = version_detail(versions, 1)
    assert found is not None and found.gate is not None and found.problem is None
    assert (found.gate["verdict"], found.gate_base, found.gate_note) == ("On all images: better", 0, "")
    assert found.readings == {"vae": 0, "vae arm": 1, "imagenet arm": 0}
    assert found.files == len(versions.version(1).files)
    assert found.bytes == sum(p.stat().st_size for p in versions.root(1).rglob("*") if p.is_file())
    assert found.models["vae arm"] == sha256 and found.data_hash == versions.version(1).data_hash
    json.dumps(encode(found), allow_nan=False)
    assert version_detail(versions, 7) is None and version_row(versions, 7) is None


def test_what_may_be_done_follows_the_switch(versions: Registry, make_set: MakeSet) -> None:
    _add(versions, make_set(50))
    _add(versions, make_set(100))
    assert _may(versions) == {2: ("promote", "archive"), 1: ("promote", "archive"), 0: ()}
    versions.promote(1, who="ada")
    assert _may(versions) == {2: ("promote", "archive"), 1: (), 0: ("rollback",)}
    versions.promote(2, who="ada")
    assert _may(versions) == {2: (), 1: ("rollback", "archive"), 0: ("rollback",)}
    versions.archive(1, who="ada")
    assert _may(versions) == {2: (), 1: ("rollback",), 0: ("rollback",)}


@pytest.mark.parametrize("steps", [(), ("promote 1",), ("promote 1", "promote 2"), ("archive 1",),
                                   ("promote 1", "promote 2", "archive 1"), ("promote 1", "rollback 0"), ("damage",)])
def test_what_is_offered_is_done_and_the_rest_is_refused(versions: Registry, make_set: MakeSet, steps: tuple[str, ...]
                                                         ) -> None:
    for seed in (50, 100):
        _add(versions, make_set(seed))
    for step in steps:
        action, _, number = step.partition(" ")
        if action == "damage":
            (versions.home / "models" / "state.json").write_text("{")
        else:
            getattr(versions, action)(int(number), who="ada")
    state = versions.home / "models" / "state.json"
    before = state.read_bytes() if state.exists() else None
    for number, offered in _may(versions).items():
        for action in ("promote", "rollback", "archive"):
            if action in offered:
                getattr(versions, action)(number, who="ada")
            elif action != "promote" and steps != ("damage",):  # promoting what was live before is a roll-back too
                _refused_or_same(versions, action, number)
            state.unlink(missing_ok=True)
            if before is not None:
                state.write_bytes(before)


def _refused_or_same(versions: Registry, action: str, number: int) -> None:
    live, archived = versions.switch().live, versions.switch().archived
    if (action == "rollback" and number == live) or (action == "archive" and number in archived):
        getattr(versions, action)(number, who="ada")
        assert versions.switch().live == live
        return
    with pytest.raises(JobError):
        getattr(versions, action)(number, who="ada")


def test_a_verdict_against_another_version_than_the_live_one_says_so(versions: Registry, make_set: MakeSet) -> None:
    _add(versions, make_set(50))
    _add(versions, make_set(100))
    versions.promote(1, who="ada")
    found = version_detail(versions, 2)
    assert found is not None and found.gate_base == 0
    assert found.gate_note.startswith("The verdict compares with version 0; version 1 is live now. For a verdict")
    live = version_detail(versions, 1)
    assert live is not None and live.gate_note == "", "there is nothing left to decide"


def test_a_base_that_was_changed_since_is_said(versions: Registry, make_set: MakeSet) -> None:
    _add(versions, make_set(50))
    card = next(versions.shipped.rglob("*.md"), None) or versions.shipped / "note.md"
    card.write_text("changed")
    found = version_detail(versions, 1)
    assert found is not None and "Version 0 is not what it was" in found.gate_note


def test_without_a_job_there_is_no_gate(versions: Registry, make_set: MakeSet) -> None:
    versions.add(make_set(50), who="ada")
    found = version_detail(versions, 1)
    assert found is not None and (found.gate, found.gate_base, found.gate_note) == (None, None, "")
    shipped = version_detail(versions, 0)
    assert shipped is not None and shipped.standing == "live" and shipped.files > 5


def test_missing_files_and_damaged_records_are_said(versions: Registry, make_set: MakeSet, tmp_path: Path) -> None:
    _add(versions, make_set(50))
    (tmp_path / "home" / READINGS_FILE).write_text("{\n")
    next(versions.root(1).rglob("*.safetensors")).unlink()
    found = version_detail(versions, 1)
    assert found is not None and "Files are missing" in str(found.problem)
    assert found.readings == {"vae": None, "vae arm": None, "imagenet arm": None}
    (versions.root(1).parent / "version.json").write_text("{")
    for action in ("promote", "archive"):
        with pytest.raises(CheckpointError, match="cannot be read"):
            getattr(versions, action)(1, who="ada")
    found = version_detail(versions, 1)
    assert found is not None and "cannot be read" in str(found.problem) and found.actions == ()
    (versions.home / "models" / "state.json").write_text("{")
    rows, problems = version_rows(versions)
    assert len(problems) == 1 and "which models are live is not known" in problems[0]
    assert {row.number: row.actions for row in rows} == {1: (), 0: ("rollback",)}


def test_the_shipped_set_is_hashed_again_only_if_it_looks_changed(versions: Registry, monkeypatch: pytest.MonkeyPatch
                                                                  ) -> None:
    looked: list[Path] = []
    original = module.inspect_set
    monkeypatch.setattr(module, "inspect_set", lambda root: (looked.append(root), original(root))[1])
    first = versions.glance(0)
    assert versions.glance(0) == first and len(looked) == 1
    assert versions.version(0) == first and len(looked) == 2, "what is to be served is hashed each time"
    weights = next(versions.shipped.rglob("*.safetensors"))
    data = weights.read_bytes()
    weights.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    [row] = version_rows(versions)[0]
    assert row.problem is not None and "has changed" in row.problem and row.sha256 == ""


def test_a_shipped_set_that_is_not_there_is_a_problem_in_words(tmp_path: Path) -> None:
    rows, problems = version_rows(Registry(tmp_path / "home", tmp_path / "none"))
    assert [r.number for r in rows] == [0] and "There is no set of models" in str(rows[0].problem) and problems == []
