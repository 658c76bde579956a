"""Reading on: every event once, whatever the pieces it is written in, and never those of another file."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dermdemo.jobs import tailing
from dermdemo.jobs.tailing import Tails
from tests.jobs.runs import append


@dataclass
class Kept:
    """Keeps what it is given."""

    events: list[dict[str, Any]] = field(default_factory=list)

    def add(self, event: dict[str, Any]) -> None:
        self.events.append(event)


def _numbers(tails: Tails[Kept], path: Path) -> list[int]:
    found: list[int] = tails.read(path, lambda kept: [e["n"] for e in kept.events])
    return found


def _lines(count: int) -> bytes:
    return b"".join(json.dumps({"n": k, "text": "ü" * (k % 40)}).encode() + b"\n" for k in range(count))


@given(st.lists(st.integers(1, 400), max_size=25))
def test_pieces_come_to_the_same_as_the_whole(tmp_path_factory: pytest.TempPathFactory, sizes: list[int]) -> None:
    path, tails = tmp_path_factory.mktemp("t") / "events.jsonl", Tails(Kept)
    data = _lines(30)
    at = 0
    for size in [*sizes, len(data)]:
        append(path, data[at:at + size])
        at += size
        whole = data[:at].count(b"\n")
        assert _numbers(tails, path) == list(range(whole))


def test_only_what_is_new_is_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, tails, parsed = append(tmp_path / "e", _lines(50)), Tails(Kept), list[bytes]()
    original = tailing.parse
    monkeypatch.setattr(tailing, "parse", lambda line: (parsed.append(line), original(line))[1])
    assert len(_numbers(tails, path)) == 50 and len(parsed) == 50
    _numbers(tails, path)
    assert len(parsed) == 50
    append(path, {"n": 50})
    assert len(_numbers(tails, path)) == 51 and len(parsed) == 51


def test_damaged_lines_are_skipped(tmp_path: Path) -> None:
    deep = b"[" * 200_000 + b"\n"
    damaged = (b"\xff\x00garbage\n", b'{"n": 9', b"\n", b"[1, 2]\n", deep, b"7\n")
    path = append(tmp_path / "e", {"n": 0}, *damaged, {"n": 1})
    assert _numbers(Tails(Kept), path) == [0, 1]


def test_a_file_that_was_replaced_is_read_anew(tmp_path: Path) -> None:
    path, tails = append(tmp_path / "e", {"n": 1, "time": 1}, {"n": 2}), Tails(Kept)
    assert _numbers(tails, path) == [1, 2]
    path.unlink()
    assert _numbers(tails, path) == []
    append(path, {"n": 3, "time": 2}, {"n": 4}, {"n": 5}, {"n": 6})
    assert _numbers(tails, path) == [3, 4, 5, 6]


def test_the_same_inode_with_another_beginning_is_another_file(tmp_path: Path) -> None:
    """A file system gives an inode out again at once, and the new file may be longer by the next look."""
    path, tails = append(tmp_path / "e", {"time": 1, "n": 1}), Tails(Kept)
    assert _numbers(tails, path) == [1]
    inode = path.stat().st_ino
    path.write_bytes(b'{"time": 2, "n": 7}\n{"n": 8}\n{"n": 9}\n')
    assert path.stat().st_ino == inode
    assert _numbers(tails, path) == [7, 8, 9]
    os.truncate(path, 20)
    assert _numbers(tails, path) == [7]


def test_no_more_files_are_remembered_than_allowed(tmp_path: Path) -> None:
    tails = Tails(Kept, kept=3)
    for k in range(10):
        _numbers(tails, append(tmp_path / f"e{k}", {"n": k}))
    assert len(tails._places) == 3
    assert _numbers(tails, tmp_path / "e0") == [0], "forgotten, and read again"


def test_a_line_without_end_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tailing, "CHUNK", 64)
    path = append(tmp_path / "e", {"n": 0}, b"x" * 1000 + b"\n", {"n": 1})
    assert _numbers(Tails(Kept), path) == [0, 1]


def test_what_is_not_there_is_empty(tmp_path: Path) -> None:
    assert _numbers(Tails(Kept), tmp_path / "none") == []
    assert _numbers(Tails(Kept), tmp_path) == []
