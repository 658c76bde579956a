"""Zips of strangers: read entry by entry, bounded, and never believed."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dermdemo.data.archives import entries, is_archive
from dermdemo.errors import ImageError


def packed(files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def written(tmp_path: Path, data: bytes, name: str = "upload.zip") -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


def test_files_come_in_order_without_folders_and_hidden_ones(tmp_path: Path) -> None:
    path = written(tmp_path, packed({"b/": b"", "b/one.jpg": b"1", "__MACOSX/b/._one.jpg": b"x", ".DS_Store": b"x",
                                     "two.png": b"22"}))
    assert [tuple(e) for e in entries(path, limit=10)] == [("b/one.jpg", b"1"), ("two.png", b"22")]


def test_a_zip_is_known_by_its_bytes(tmp_path: Path) -> None:
    assert is_archive(written(tmp_path, packed({"a": b"1"}), "a.jpg"))
    assert not is_archive(written(tmp_path, b"\xff\xd8\xff", "b.zip"))


def test_what_is_over_the_limit_is_counted(tmp_path: Path) -> None:
    *first, last = entries(written(tmp_path, packed({f"{k}.jpg": b"x" for k in range(7)})), limit=5)
    assert len(first) == 5 and last.name == "2 further files"
    assert isinstance(last.data, ImageError) and last.data.reason == "too-many"


def test_a_name_that_climbs_out_is_only_a_name(tmp_path: Path) -> None:
    path = written(tmp_path, packed({"../../etc/evil.jpg": b"1", "/abs.jpg": b"2"}))
    before = sorted(p.name for p in tmp_path.iterdir())
    assert [e.data for e in entries(path, limit=9)] == [b"1", b"2"]
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_an_entry_that_expands_too_far_is_not_opened(tmp_path: Path) -> None:
    (entry,) = entries(written(tmp_path, packed({"bomb.bmp": bytes(5_000_000)})), limit=9)
    assert isinstance(entry.data, ImageError) and entry.data.reason == "bomb"


def test_the_total_is_bounded(tmp_path: Path) -> None:
    path = written(tmp_path, packed({f"{k}.jpg": os.urandom(1000) for k in range(4)}, zipfile.ZIP_STORED))
    found = [e.data for e in entries(path, limit=9, total=1500)]
    assert sum(len(d) for d in found if isinstance(d, bytes)) <= 1500
    assert isinstance(found[-1], ImageError) and found[-1].reason == "too-large"


def test_an_encrypted_entry_is_said(tmp_path: Path) -> None:
    data = bytearray(packed({"a.jpg": b"secret"}, zipfile.ZIP_STORED))
    central = data.index(b"PK\x01\x02")
    data[6] |= 1
    data[central + 8] |= 1
    (entry,) = entries(written(tmp_path, bytes(data)), limit=9)
    assert isinstance(entry.data, ImageError) and entry.data.reason == "encrypted"


def test_a_damaged_entry_leaves_the_others(tmp_path: Path) -> None:
    data = bytearray(packed({"a.jpg": b"aaaa" * 50, "b.jpg": b"bbbb"}, zipfile.ZIP_STORED))
    data[data.index(b"aaaa")] = 0  # the checksum no longer fits
    first, second = entries(written(tmp_path, bytes(data)), limit=9)
    assert isinstance(first.data, ImageError) and first.data.reason == "corrupt" and second.data == b"bbbb"


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_mutated_archives_raise_nothing_else(tmp_path: Path, data: st.DataObject) -> None:
    raw = bytearray(packed({"a.jpg": b"a" * 300, "b.png": b"b" * 40}))
    for _ in range(data.draw(st.integers(1, 12))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path = written(tmp_path, bytes(raw[: data.draw(st.integers(0, len(raw)))]))
    try:
        found = list(entries(path, limit=5))
    except ImageError:
        return
    assert all(isinstance(e.data, bytes | ImageError) for e in found)
