"""Zips from strangers: names never become paths, pixels are written anew, one bad file spoils nothing."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dermdemo.data.sources import load_source
from dermdemo.errors import DataError, ImageError
from dermdemo.jobs import uploads
from dermdemo.jobs.uploads import image_key, safe_name, unpack


def _jpeg(colour: int = 90) -> bytes:
    stream, exif = io.BytesIO(), Image.Exif()
    exif[0x010E] = "Jane Doe, ward 7"
    Image.effect_noise((80, 60), colour).convert("RGB").save(stream, "JPEG", exif=exif)
    return stream.getvalue()


def _zip(path: Path, files: dict[str, bytes | str]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def test_a_table_and_its_images(tmp_path: Path) -> None:
    archive = _zip(tmp_path / "x.zip", {
        "set/meta.csv": "image,dx,lesion_id,age\na.jpg,nv,l1,30\nsub/b.jpg,mel,l2,\ngone.jpg,nv,l3,1\n",
        "set/a.jpg": _jpeg(), "set/sub/b.jpg": _jpeg(50), "set/notes.txt": "x", "set/other.csv": "p,q\n1,2\n",
        "set/bad.jpg": b"no image"})
    problems = unpack(archive, tmp_path / "out")
    table = load_source(tmp_path / "out")
    assert table.frame["image_id"].tolist() == ["a", "b"]
    assert table.frame["group"].tolist() == ["l1", "l2"]
    assert (problems[0].count, "bad.jpg" in problems[0].examples[0]) == (1, True)
    assert b"Jane Doe" not in b"".join(p.read_bytes() for p in (tmp_path / "out").rglob("*.png"))


def test_a_folder_per_class(tmp_path: Path) -> None:
    unpack(_zip(tmp_path / "x.zip", {"nv/a.jpg": _jpeg(), "mel/b.png": _jpeg(50)}), tmp_path / "out")
    assert dict(load_source(tmp_path / "out").frame[["image_id", "label"]].to_numpy()) == {"a": "nv", "b": "mel"}


OUT = ("../../evil.jpg", "/etc/evil.jpg", "nv/../../evil.jpg", "nv\\..\\evil.jpg", "C:\\evil.jpg")


@pytest.mark.parametrize("name", OUT)
def test_a_path_that_leads_out_of_the_zip_is_left_out(tmp_path: Path, name: str) -> None:
    archive = _zip(tmp_path / "x.zip", {name: _jpeg(), "nv/a.jpg": _jpeg(50)})
    problems = unpack(archive, tmp_path / "in" / "out")
    written = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file())
    assert written == ["in/out/images/a.png", "in/out/lesions.csv", "x.zip"]
    assert problems[0].count == 1 and problems[0].examples[0] == f"{name}: its path leads out of the zip"
    assert load_source(tmp_path / "in" / "out").frame["label"].tolist() == ["nv"]


@pytest.mark.parametrize("name", ["nv\\evil.jpg", "nv/.../evil.jpg", "nv: 2/evil.jpg"])
def test_names_never_become_paths(tmp_path: Path, name: str) -> None:
    archive = _zip(tmp_path / "x.zip", {name: _jpeg(), "t.csv": f"image_id,dx\n{name},nv\n"})
    unpack(archive, tmp_path / "in" / "out")
    written = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file())
    assert written == ["in/out/images/evil.png", "in/out/lesions.csv", "x.zip"]
    assert len(load_source(tmp_path / "in" / "out")) == 1


def test_a_table_cannot_name_files_outside(tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(_jpeg())
    archive = _zip(tmp_path / "x.zip", {"t.csv": f"image,dx\n{tmp_path}/secret.jpg,nv\n../secret.jpg,nv\na.jpg,nv\n",
                                        "a.jpg": _jpeg()})
    unpack(archive, tmp_path / "out")
    assert load_source(tmp_path / "out").frame["image_id"].tolist() == ["a"]


@pytest.mark.parametrize(("files", "message"), [
    ({"a.jpg": b"no image"}, "no image that can be read"), ({"t.csv": "image,dx\n"}, "no image that can be read"),
    ({"a.jpg": "J"}, "neither a CSV"), ({"x/a.jpg": "J", "y/a.jpg": "J"}, "Two images"),
    ({"a.jpg": "J", "t.csv": "image,dx\na,nv\n", "u.csv": "image,dx\na,nv\n"}, "2 CSV files"),
    ({"a.jpg": "J", "t.csv": "image,dx\n,nv\n"}, "rows without an image"),
    ({"a.jpg": "J", "t.csv": b"\xff\xfe\x00image"}, "CSV"),
])  # fmt: skip
def test_unusable_zips_are_refused(tmp_path: Path, files: dict[str, str], message: str) -> None:
    real = {k: _jpeg() if v == "J" else v for k, v in files.items()}
    with pytest.raises(DataError, match=message):
        unpack(_zip(tmp_path / "x.zip", real), tmp_path / "out")


def test_a_zip_too_large_is_refused_not_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MAX_UNPACKED", 9000)
    files: dict[str, bytes | str] = {f"nv/{k}.jpg": _jpeg() for k in range(9)}
    with pytest.raises(DataError, match="register the data as a folder"):
        unpack(_zip(tmp_path / "x.zip", files), tmp_path / "out")


def test_what_is_no_zip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"PK\x03\x04 no")
    with pytest.raises(ImageError, match="zip"):
        unpack(tmp_path / "x.zip", tmp_path / "out")


def test_a_bomb_is_left_out(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("nv/bomb.jpg", b"\0" * (1 << 24))
        archive.writestr("nv/a.jpg", _jpeg())
    problems = unpack(tmp_path / "x.zip", tmp_path / "out")
    assert problems[0].count == 1 and "expands" in problems[0].examples[0]


@given(st.text(max_size=300))
def test_a_safe_name_is_one_harmless_part(text: str) -> None:
    for name in (safe_name(text), image_key(text)):
        assert len(name) <= 100 and not set(name) & set("/\\.\0 ") and name == safe_name(name)
