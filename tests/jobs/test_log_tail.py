"""The tail of a log: pieces that fit together, nothing but logs of the job."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dermdemo.errors import JobError
from dermdemo.jobs.log_tail import MOST, log_names, plain, read_log
from dermdemo.jobs.records import Step
from tests.jobs.runs import retraining_record

RECORD = retraining_record()


def _log(folder: Path, data: bytes, step: str = "stage I") -> Path:
    path = folder / "logs" / f"{step}.log"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path


def test_the_end_of_a_long_log_begins_with_a_whole_line(tmp_path: Path) -> None:
    _log(tmp_path, b"".join(b"line %07d\n" % k for k in range(20_000)))
    found = read_log(tmp_path, RECORD, "stage I")
    lines = found.text.splitlines()
    assert lines[-1] == "line 0019999" and all(len(line) == 12 for line in lines)
    assert found.size == found.end == 20_000 * 13 and found.end - found.start <= MOST


@given(st.lists(st.integers(1, 60), min_size=1, max_size=30))
def test_pieces_fit_together(tmp_path_factory: pytest.TempPathFactory, sizes: list[int]) -> None:
    folder = tmp_path_factory.mktemp("job")
    data, at, end, text = "".join(f"Zeile {k} äöü\n" for k in range(40)).encode(), 0, 0, ""
    for size in [*sizes, len(data)]:
        at += size
        _log(folder, data[:at])
        part = read_log(folder, RECORD, "stage I", after=end)
        assert part.start == end and "�" not in part.text
        text, end = text + part.text, part.end
    assert text == data.decode() and end == len(data)


def test_an_unfinished_line_is_apart_until_the_step_is_over(tmp_path: Path) -> None:
    _log(tmp_path, b"done\nhalf")
    found = read_log(tmp_path, RECORD, "stage I")
    assert (found.text, found.unfinished, found.end) == ("done\n", "half", 5)
    found = read_log(tmp_path, RECORD, "stage I", after=5, over=True)
    assert (found.text, found.unfinished, found.end) == ("half", "", 9)


def test_a_log_that_began_anew_is_told_from_its_beginning(tmp_path: Path) -> None:
    _log(tmp_path, b"new\n")
    assert read_log(tmp_path, RECORD, "stage I", after=1000).start == 0
    assert read_log(tmp_path, RECORD, "stage I", after=-5).text == "new\n"


def test_progress_bars_are_folded_and_colours_taken_out() -> None:
    assert plain(b"a\r 10 %\r 100 %\nb\r\n") == " 100 %\nb\n"
    assert plain(b"\x1b[31mred\x1b[0m \x1b]x\x07\x00ok\n") == "red xok\n"
    assert plain(b"\xff\xfe\n") == "��\n"
    assert plain(b"50 %\r") == "50 %"


@pytest.mark.parametrize("step", ["../secret", "/etc/passwd", "stage II", "", "stage I.log", "x" * 999, "a\x00b"])
def test_only_steps_of_the_job_have_a_log(tmp_path: Path, step: str) -> None:
    (tmp_path / "secret.log").write_text("secret")
    with pytest.raises(JobError, match="no step"):
        read_log(tmp_path, RECORD, step)


def test_a_record_cannot_name_a_file_elsewhere(tmp_path: Path) -> None:
    folder = tmp_path / "job"
    folder.mkdir()
    _log(folder, b"ok\n")
    (tmp_path / "secret.log").write_text("secret")
    (folder / "secret.log").write_text("secret")
    record = retraining_record(*(Step(name=n, argv=("x",)) for n in ("../../secret", "../secret", "stage I")))
    assert log_names(folder, record) == ("stage I",)
    assert read_log(folder, record, "../secret").text == ""


def test_a_link_is_no_log(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    _log(tmp_path, b"").unlink()
    os.symlink(tmp_path / "secret", tmp_path / "logs" / "stage I.log")
    assert log_names(tmp_path, RECORD) == () and read_log(tmp_path, RECORD, "stage I").text == ""


def test_logs_are_named_in_the_order_of_steps(tmp_path: Path) -> None:
    for step in ("gate", "stage I", "prepare", "submit"):
        _log(tmp_path, b"x" if step != "prepare" else b"", step)
    assert log_names(tmp_path, RECORD) == ("submit", "stage I", "gate")
