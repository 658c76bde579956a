"""The audit log: chained, verified on read, whole after a crash, one order across processes."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dermdemo.errors import JobError
from dermdemo.jobs.audit_log import AuditLog


def _filled(folder: Path, n: int = 4) -> AuditLog:
    log = AuditLog(folder)
    for k in range(n):
        log.append(who="ada", action="promote", details={"version": k}, model_hash="m" * 64, data_hash="d" * 64)
    return log


def test_entries_come_back_in_order_and_chained(tmp_path: Path) -> None:
    entries = _filled(tmp_path).read()
    assert [e.seq for e in entries] == [1, 2, 3, 4]
    assert [e.details["version"] for e in entries] == ["0", "1", "2", "3"]
    assert [e.previous for e in entries[1:]] == [e.hash for e in entries[:-1]]
    assert entries[0].time.endswith("+00:00")


def test_an_empty_log_reads_as_empty(tmp_path: Path) -> None:
    assert AuditLog(tmp_path).read() == ()


@pytest.mark.parametrize(("who", "action"), [("", "x"), (" ", "x"), ("ada", "")])
def test_nobody_and_nothing_are_refused(tmp_path: Path, who: str, action: str) -> None:
    with pytest.raises(JobError, match="needs a name"):
        AuditLog(tmp_path).append(who=who, action=action)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(data=st.data())
def test_any_changed_byte_is_noticed(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    log = _filled(tmp_path_factory.mktemp("log"), 3)
    content = log.path.read_bytes()
    place = data.draw(st.integers(0, len(content) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda b: b != content[place]))
    log.path.write_bytes(content[:place] + bytes([byte]) + content[place + 1:])
    with pytest.raises(JobError, match="audit log"):
        log.read()
    with pytest.raises(JobError, match="audit log"):
        log.append(who="ada", action="promote")


@pytest.mark.parametrize("keep", [0, 1, 2, 3])
def test_lines_taken_off_the_end_are_noticed(tmp_path: Path, keep: int) -> None:
    log = _filled(tmp_path)
    log.path.write_bytes(b"".join(log.path.read_bytes().splitlines(keepends=True)[:keep]))
    with pytest.raises(JobError, match="removed"):
        log.read()


def test_a_removed_line_and_a_forged_head_are_noticed(tmp_path: Path) -> None:
    log = _filled(tmp_path)
    lines = log.path.read_bytes().splitlines(keepends=True)
    log.path.write_bytes(b"".join([lines[0], *lines[2:]]))
    with pytest.raises(JobError, match="does not fit"):
        log.read()
    log.path.write_bytes(b"".join(lines))
    (tmp_path / "audit.head").write_text(json.dumps({"seq": 4, "hash": "0" * 64}))
    with pytest.raises(JobError, match="rewritten"):
        log.read()
    (tmp_path / "audit.head").unlink()
    with pytest.raises(JobError, match="head of the audit log is missing"):
        log.read()


@pytest.mark.parametrize("fragment", [b'{"seq": 5, "ti', b"\x00\xff"])
def test_a_line_cut_off_by_a_crash_is_dropped(tmp_path: Path, fragment: bytes) -> None:
    log = _filled(tmp_path)
    with log.path.open("ab") as stream:
        stream.write(fragment)
    assert len(log.read()) == 4
    log.append(who="ada", action="archive")
    assert [e.action for e in log.read()][-2:] == ["promote", "archive"]


def test_a_crash_between_line_and_head_loses_nothing(tmp_path: Path) -> None:
    log = _filled(tmp_path, 3)
    head = (tmp_path / "audit.head").read_bytes()
    log.append(who="ada", action="archive")
    (tmp_path / "audit.head").write_bytes(head)
    assert len(log.read()) == 4
    log.append(who="ada", action="archive")
    assert len(log.read()) == 5


def test_an_export_is_the_whole_log(tmp_path: Path) -> None:
    log = _filled(tmp_path / "log")
    assert log.export(tmp_path / "copy.jsonl") == 4
    assert (tmp_path / "copy.jsonl").read_bytes() == log.path.read_bytes()


def _append_many(folder: Path, who: str) -> None:
    for _ in range(15):
        AuditLog(folder).append(who=who, action="noted")


def test_several_processes_share_one_sequence(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_append_many, args=(tmp_path, f"w{k}")) for k in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    entries = AuditLog(tmp_path).read()
    assert [e.seq for e in entries] == list(range(1, 46))
    assert {e.who for e in entries} == {"w0", "w1", "w2"}
