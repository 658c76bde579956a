"""The registry: one switch, sets never mixed, tampered ones refused, any version to go back to."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from dermdemo.analysis.analyser import Analyser
from dermdemo.errors import CheckpointError, JobError
from dermdemo.jobs import registry as module
from dermdemo.jobs.model_set import inspect_set
from dermdemo.jobs.registry import Registry


def _flip(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def _standing(versions: Registry) -> list[str]:
    return [v.standing for v in versions.listed()]


def test_the_shipped_set_is_live_at_first(versions: Registry, shipped: Path) -> None:
    assert versions.live_root() == shipped
    assert _standing(versions) == ["live"]
    assert versions.version(0).sha256 == inspect_set(shipped).sha256
    assert not (versions.home / "models").exists(), "looking changes nothing"


def test_a_candidate_is_promoted_and_rolled_back(versions: Registry, make_set: Callable[[int], Path]) -> None:
    version = versions.add(make_set(50), who="ada", job="0001")
    assert version.number == 1 and _standing(versions) == ["live", "candidate"]
    versions.promote(1, who="ada")
    assert versions.live_root() == versions.root(1) and _standing(versions) == ["shipped", "live"]
    versions.rollback(0, who="ben")
    assert versions.live_root() == versions.shipped and _standing(versions) == ["live", "previous"]
    versions.rollback(1, who="ben")
    assert versions.serving().number == 1
    assert [(e.action, e.who) for e in versions.log.read()] == [
        ("register", "ada"), ("promote", "ada"), ("rollback", "ben"), ("rollback", "ben")]
    assert versions.log.read()[1].model_hash == version.sha256


def test_the_analyser_follows_the_switch(versions: Registry, make_set: Callable[[int], Path]) -> None:
    analyser = Analyser(versions.live_root, device="cpu")
    before = analyser.vae.sha256
    versions.add(make_set(50), who="ada")
    versions.promote(1, who="ada")
    assert analyser.vae.sha256 == before
    analyser.reload()
    assert analyser.vae.sha256 == versions.version(1).models["vae"] != before
    assert analyser.atlas is not None and analyser.atlas.meta.vae_sha256 == analyser.vae.sha256
    versions.rollback(0, who="ada")
    analyser.reload()
    assert analyser.vae.sha256 == before


@pytest.mark.parametrize("name", ["vae/trunk.safetensors", "vae-arm/meta.json", "atlas/meta.json",
                                  "vae/MODEL_CARD.md"])  # fmt: skip
@pytest.mark.parametrize("how", ["changed", "missing"])
def test_a_tampered_candidate_is_refused(versions: Registry, make_set: Callable[[int], Path], tmp_path: Path,
                                         name: str, how: str) -> None:
    source = Path(shutil.copytree(make_set(50), tmp_path / "source"))
    (source / "vae" / "MODEL_CARD.md").write_text("card")
    versions.add(source, who="ada")
    path = versions.root(1) / name
    if how == "missing":
        path.unlink()
    elif path.name == "meta.json":
        path.write_text(path.read_text().replace("1.7", "9.7").replace("none", "other"))
    else:
        _flip(path)
    with pytest.raises(CheckpointError, match="not as it was registered"):
        versions.promote(1, who="ada")
    assert versions.serving().number == 0


def test_a_file_put_into_a_version_is_refused(versions: Registry, make_set: Callable[[int], Path]) -> None:
    versions.add(make_set(50), who="ada")
    (versions.root(1) / "extra.bin").write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"extra\.bin"):
        versions.verify(1)


def test_a_record_rewritten_with_its_hashes_is_refused(versions: Registry, make_set: Callable[[int], Path]) -> None:
    """Weights and record changed together: the audit log still knows the hash they were registered with."""
    versions.add(make_set(50), who="ada")
    (versions.root(1) / "extra.bin").write_bytes(b"x")
    record = versions.root(1).parent / "version.json"
    found = inspect_set(versions.root(1))
    record.write_text(json.dumps(json.loads(record.read_text()) | {"files": found.files, "sha256": found.sha256}))
    with pytest.raises(CheckpointError, match="audit log does not know"):
        versions.promote(1, who="ada")


def test_a_live_set_that_rots_falls_back(versions: Registry, make_set: Callable[[int], Path]) -> None:
    for seed, number in ((50, 1), (60, 2)):
        versions.add(make_set(seed), who="ada")
        versions.promote(number, who="ada")
    analyser = Analyser(versions.live_root, device="cpu")
    _flip(versions.root(2) / "vae" / "trunk.safetensors")
    serving = versions.serving()
    assert serving.number == 1 and "Version 2 is not as it was registered" in str(serving.problem)
    shutil.rmtree(versions.root(1))
    assert versions.serving().number == 0
    analyser.reload()
    assert analyser.vae.sha256 == versions.version(0).models["vae"]


def test_a_mixed_set_is_never_added(versions: Registry, make_set: Callable[[int], Path], tmp_path: Path) -> None:
    mixed = Path(shutil.copytree(make_set(50), tmp_path / "mixed"))
    shutil.rmtree(mixed / "atlas")
    shutil.copytree(make_set(60) / "atlas", mixed / "atlas")
    with pytest.raises(CheckpointError, match="not mixed"):
        versions.add(mixed, who="ada")
    assert versions.numbers() == (0,) and versions.log.read() == ()


@pytest.mark.parametrize("step", ["copytree", "write_atomic", "inspect_set"])
def test_a_crash_while_adding_leaves_no_version(versions: Registry, make_set: Callable[[int], Path], step: str,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil if step == "copytree" else module, step, die)
        with pytest.raises(KeyboardInterrupt):
            versions.add(make_set(50), who="ada")
    assert versions.numbers() == (0,)
    (versions.home / "models" / "versions" / ".new.rest").mkdir(parents=True)  # as kill -9 would leave behind
    assert versions.add(make_set(50), who="ada").number == 1


def test_a_full_disk_at_the_switch_changes_nothing(versions: Registry, make_set: Callable[[int], Path],
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    versions.add(make_set(50), who="ada")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_atomic", full)
        with pytest.raises(JobError, match="nothing changed"):
            versions.promote(1, who="ada")
    assert versions.serving().number == 0
    assert [e.action for e in versions.log.read()][-2:] == ["promote", "promote-failed"]


def test_a_broken_audit_log_stops_every_switch(versions: Registry, make_set: Callable[[int], Path]) -> None:
    versions.add(make_set(50), who="ada")
    _flip(versions.log.path)
    with pytest.raises(JobError, match="audit log"):
        versions.promote(1, who="ada")
    assert versions.serving().number == 0


def test_a_damaged_switch_serves_the_shipped_set_until_it_is_set_again(
        versions: Registry, make_set: Callable[[int], Path]) -> None:
    versions.add(make_set(50), who="ada")
    versions.promote(1, who="ada")
    (versions.home / "models" / "state.json").write_text("{")
    assert versions.serving().number == 0 and versions.serving().problem
    versions.rollback(1, who="ada")
    assert versions.serving().number == 1 and versions.serving().problem is None


def test_archived_versions_are_not_promoted(versions: Registry, make_set: Callable[[int], Path]) -> None:
    versions.add(make_set(50), who="ada")
    versions.archive(1, who="ada")
    assert _standing(versions) == ["live", "archived"]
    with pytest.raises(JobError, match="archived"):
        versions.promote(1, who="ada")
    with pytest.raises(JobError, match="never been live"):
        versions.rollback(1, who="ada")
    with pytest.raises(JobError, match="shipped"):
        versions.archive(0, who="ada")


def test_the_live_version_is_not_archived_and_an_earlier_one_comes_back(
        versions: Registry, make_set: Callable[[int], Path]) -> None:
    for seed, number in ((50, 1), (60, 2)):
        versions.add(make_set(seed), who="ada")
        versions.promote(number, who="ada")
    with pytest.raises(JobError, match="live"):
        versions.archive(2, who="ada")
    versions.archive(1, who="ada")
    versions.rollback(1, who="ada")
    assert _standing(versions) == ["shipped", "live", "previous"]


@pytest.mark.parametrize("call", ["promote", "archive", "verify"])
def test_an_unknown_version_is_an_error(versions: Registry, call: str) -> None:
    with pytest.raises(CheckpointError, match="There is no version 7"):
        getattr(versions, call)(7, **({} if call == "verify" else {"who": "ada"}))
