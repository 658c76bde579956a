"""Files that must be refused: with an ImageError in plain words, and with nothing else."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dermdemo.data import images
from dermdemo.data.images import MAX_BYTES, decode_file, decode_image
from dermdemo.errors import ImageError
from tests.data.samples import KINDS, encode, picture

NAME = "lesion 7.jpg"


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_claiming(width: int, height: int) -> bytes:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + png_chunk(b"IDAT", zlib.compress(bytes(1000)))
        + png_chunk(b"IEND", b"")
    )


def bmp_claiming(width: int, height: int) -> bytes:
    return (
        b"BM"
        + struct.pack("<IIIIiiHHIIIIII", 1054, 0, 54, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
        + bytes(999)
    )


def tiff_with(tags: list[tuple[int, int, int, int]], tail: bytes = b"") -> bytes:
    """A TIFF that is a directory of (tag, type, count, value) and `tail`."""
    entries = b"".join(struct.pack("<HHII", *tag) for tag in sorted(tags))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + tail


def tiff_claiming(width: int, height: int, *more: tuple[int, int, int, int]) -> bytes:
    plain = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1)]
    return tiff_with(
        [*plain, (273, 4, 1, 0), (277, 3, 1, 1), (278, 4, 1, height), (279, 4, 1, 9), *more], bytes(99)
    )


def webp_claiming(width: int, height: int) -> bytes:
    canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + canvas
    return b"RIFF" + struct.pack("<I", len(body)) + body


def jpeg_claiming(width: int, height: int) -> bytes:
    data = encode(picture(), "JPEG")
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


def jpeg_of_many_passes() -> bytes:
    data = encode(picture(), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * 5000 + b"\xff\xd9"


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.png", encode(picture(), "PNG"))
    return buffer.getvalue()


HEIC_TYPE = struct.pack(">I4s4sI4s", 20, b"ftyp", b"heic", 0, b"mif1")
REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "empty"),
    "one-byte": (lambda: b"\xff", "unsupported-format"),
    "text": (lambda: b"Dear colleague, the picture is attached.\n", "unsupported-format"),
    "zeros": (lambda: bytes(5000), "unsupported-format"),
    "noise": (lambda: np.random.default_rng(1).bytes(5000), "unsupported-format"),
    "svg": (lambda: b"<?xml version='1.0'?><svg onload='alert(1)'/>", "unsupported-format"),
    "html": (lambda: b"\xef\xbb\xbf<!DOCTYPE html><script>alert(1)</script>", "unsupported-format"),
    "zip": (zipped, "unsupported-format"),
    "pdf": (lambda: b"%PDF-1.7\n%\xe2\xe3", "unsupported-format"),
    "gif": (lambda: encode(picture(), "GIF"), "unsupported-format"),
    "avif": (lambda: encode(picture(), "AVIF"), "unsupported-format"),
    "jpeg-2000": (lambda: encode(picture(), "JPEG2000"), "unsupported-format"),
    "ico": (lambda: encode(picture(), "ICO"), "unsupported-format"),
    "eps": (lambda: encode(picture(), "EPS"), "unsupported-format"),
    "ppm": (lambda: encode(picture(), "PPM"), "unsupported-format"),
    "dicom": (lambda: bytes(128) + b"DICM" + bytes(200), "unsupported-format"),
    "video": (lambda: struct.pack(">I8s", 20, b"ftypmp42") + bytes(200), "unsupported-format"),
    "one-pixel": (lambda: encode(Image.new("RGB", (1, 1)), "PNG"), "too-small"),
    "one-by-5000": (lambda: encode(Image.new("RGB", (5000, 1)), "PNG"), "too-small"),
    "fifteen": (lambda: encode(Image.new("RGB", (200, 15)), "JPEG"), "too-small"),
    "strip": (lambda: encode(Image.new("RGB", (16, 5000)), "JPEG"), "aspect"),
    "just-too-long": (lambda: encode(Image.new("RGB", (801, 100)), "BMP"), "aspect"),
    "too-many-bytes": (lambda: encode(picture(), "PNG") + bytes(MAX_BYTES), "too-large"),
    "png-bomb": (lambda: png_claiming(100_000, 100_000), "too-many-pixels"),
    "png-above-the-limit": (lambda: png_claiming(10_000, 5_001), "too-many-pixels"),
    "png-at-pillows-warning": (lambda: png_claiming(10_000, 10_000), "too-many-pixels"),
    "png-negative": (lambda: png_claiming(2**32 - 1, 2**32 - 1), "too-many-pixels"),
    "bmp-bomb": (lambda: bmp_claiming(50_000, 50_000), "too-many-pixels"),
    "bmp-upside-down-bomb": (lambda: bmp_claiming(50_000, -50_000), "too-many-pixels"),
    "tiff-bomb": (lambda: tiff_claiming(60_000, 60_000), "too-many-pixels"),
    "tiff-tile-bomb": (lambda: tiff_claiming(64, 64, (322, 4, 1, 2**15), (323, 4, 1, 2**15)), "bomb"),
    "tiff-strip-bomb": (lambda: tiff_with([(273, 4, 2**20, 8)]), "bomb"),
    "webp-bomb": (lambda: webp_claiming(16_383, 16_383), "too-many-pixels"),
    "jpeg-bomb": (lambda: jpeg_claiming(65_000, 65_000), "too-many-pixels"),
    "jpeg-of-many-passes": (jpeg_of_many_passes, "bomb"),
    "heic-header-bomb": (lambda: HEIC_TYPE + struct.pack(">I4s", 400_000, b"meta") + bytes(400_000), "bomb"),
    "heic-without-header": (lambda: HEIC_TYPE + bytes(300), "truncated"),
    "jpeg-header-only": (lambda: b"\xff\xd8\xff\xe0", "corrupt"),
    "png-signature-only": (lambda: b"\x89PNG\r\n\x1a\n", "corrupt"),
    "tiff-signature-only": (lambda: b"II*\0", "truncated"),
    "tiff-endless": (lambda: tiff_with([(256, 4, 2**32 - 1, 0)]), "bomb"),
    "tiff-of-nothing": (lambda: tiff_with([]), "corrupt"),
    "webp-signature-only": (lambda: b"RIFF\x04\0\0\0WEBP", "too-small"),
}


def refusal(data: bytes, name: str = NAME) -> ImageError:
    with pytest.raises(ImageError) as caught:
        decode_image(data, name=name)
    return caught.value


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_picture_is_refused_in_plain_words(kind: str) -> None:
    make, reason = REFUSED[kind]
    error = refusal(make())
    assert error.reason == reason
    message = str(error)
    assert message.startswith(f"{NAME}: ")
    assert message.endswith(".")
    assert message.isprintable()
    assert len(message) < 250
    assert not any(word in message for word in ("b'", "\\x", "BytesIO", "Traceback", "alert", "colleague"))


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.8])
@pytest.mark.parametrize(
    "kind", ["jpeg", "jpeg-progressive", "png", "webp", "tiff", "tiff-lzw", "bmp", "heic"]
)
def test_truncated_files_are_refused(kind: str, share: float) -> None:
    data = KINDS[kind][0]()
    assert refusal(data[: int(share * len(data))]).reason in ("truncated", "corrupt", "unsupported-format")


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "tiff", "bmp", "heic"])
def test_a_cut_in_the_pixels_is_called_truncated(kind: str) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    data = encode(noise, {"heic": "HEIF"}.get(kind, kind.upper()))
    assert refusal(data[: int(0.8 * len(data))]).reason == "truncated"


@pytest.mark.parametrize(("name", "shown"), [
    ("/home/anna/IMG 1.jpg", "IMG 1.jpg"), ("C:\\Users\\anna\\IMG 1.jpg", "IMG 1.jpg"),
    ("a\x00\x1b[31m\u202eb\n.jpg", "a[31mb.jpg"), ("", "image"), ("\ud800", "image"),
    ("x" * 5000 + ".jpg", "xxxxxxxxxxxxxxxxxxxxxxxx...xxxxxxxx.jpg"),
])  # fmt: skip
def test_names_are_shown_short_and_printable(name: str, shown: str) -> None:
    assert str(refusal(b"", name)).startswith(f"{shown}: the file is empty")


@pytest.mark.parametrize(
    "raised", [RuntimeError("b'\\x00'"), MemoryError(), RecursionError(), KeyError(1), EOFError()]
)
def test_whatever_a_decoder_raises_becomes_an_image_error(
    raised: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise raised

    monkeypatch.setattr(images.Image, "open", fail)
    error = refusal(encode(picture(), "PNG"))
    assert error.__cause__ is raised
    assert "\\x00" not in str(error)


@pytest.mark.parametrize(
    "make", [lambda p: p / "none.jpg", lambda p: p, lambda p: p / "a\0b", lambda p: p / ("x" * 5000)]
)
def test_a_path_without_a_file_is_refused(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    with pytest.raises(ImageError) as caught:
        decode_file(make(tmp_path))
    assert caught.value.reason in ("missing", "unreadable")
    assert str(tmp_path.parent) not in str(caught.value)


def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied", str(tmp_path))

    (tmp_path / "a.png").write_bytes(encode(picture(), "PNG"))
    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(ImageError, match=r"^a\.png: the file cannot be read") as caught:
        decode_file(tmp_path / "a.png")
    assert caught.value.reason == "unreadable"


def test_a_file_that_is_too_large_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    with path.open("wb") as file:
        file.truncate(2**40)  # sparse: a terabyte that takes no room
    with pytest.raises(ImageError, match="50 MB") as caught:
        decode_file(path)
    assert caught.value.reason == "too-large"
