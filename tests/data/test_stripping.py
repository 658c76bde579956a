"""Metadata goes before any decoder runs, and small files stay small in memory."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from dermdemo.data.formats import recognise
from dermdemo.data.images import decode_image
from dermdemo.data.stripping import strip
from tests.data.samples import KINDS, MARKER, corners, encode, exif, picture


@pytest.mark.parametrize("kind", KINDS)
def test_stripping_twice_is_stripping_once(kind: str) -> None:
    data = KINDS[kind][0]()
    form = recognise(data)
    once = strip(data, form)
    assert strip(once.data, form).data == once.data
    assert len(once.data) <= len(data)


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_metadata_is_not_in_the_bytes_that_are_decoded(form: str) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", MARKER)
    data = encode(picture(), form, exif=exif(3), comment=MARKER, pnginfo=info) + MARKER.encode()
    bare = strip(data, recognise(data))
    assert data.count(MARKER.encode()) >= 3
    assert MARKER.encode() not in bare.data
    assert bare.orientation == 3


def test_what_pixels_need_is_kept() -> None:
    profile = b"x" * 200_000  # spans several JPEG segments
    for form in ("JPEG", "PNG", "TIFF"):
        data = encode(picture(), form, icc_profile=profile, exif=exif())
        with Image.open(io.BytesIO(strip(data, recognise(data)).data)) as image:
            assert image.info["icc_profile"] == profile
            assert np.abs(corners(image) - corners(picture())).max() <= 12


def repeated_tags(count: int, size: int, at: int) -> bytes:
    """Directory entries that all name the same `size` bytes."""
    return b"".join(struct.pack("<HHII", 50_000 + i, 7, size, at) for i in range(count))


def jpeg_with_exif_bomb() -> bytes:
    """EXIF over many segments, which Pillow joins, with 400 tags of the same 3 MB."""
    size, count = 3_000_000, 400
    block = b"II*\0" + struct.pack("<IH", 8, count) + repeated_tags(count, size, 0) + bytes(size)
    parts = [b"Exif\0\0" + block[i : i + 65_000] for i in range(0, len(block), 65_000)]
    data = encode(picture(), "JPEG")
    return data[:2] + b"".join(b"\xff\xe1" + struct.pack(">H", len(p) + 2) + p for p in parts) + data[2:]


def tiff_with_tag_bomb() -> bytes:
    """A sound TIFF whose directory has 400 more tags, all of the same 3 MB."""
    data = encode(picture(), "TIFF") + bytes(3_000_000)
    start = struct.unpack_from("<I", data, 4)[0]
    count = struct.unpack_from("<H", data, start)[0]
    entries = data[start + 2 : start + 2 + 12 * count] + repeated_tags(400, 3_000_000, 0)
    head = data[:4] + struct.pack("<I", len(data))
    return head + data[8:] + struct.pack("<H", count + 400) + entries + bytes(4)


def png_with_text_bomb() -> bytes:
    text = b"Comment\0\0" + zlib.compress(bytes(60_000_000))
    chunk = struct.pack(">I", len(text)) + b"zTXt" + text + struct.pack(">I", zlib.crc32(b"zTXt" + text))
    data = encode(picture(), "PNG")
    return data[:33] + chunk + data[33:]


@pytest.mark.parametrize("make", [jpeg_with_exif_bomb, tiff_with_tag_bomb, png_with_text_bomb])
def test_bombs_in_the_metadata_do_not_go_off(make: object) -> None:
    assert callable(make)
    data = make()
    tracemalloc.start()
    try:
        decoded = decode_image(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert np.abs(corners(decoded.pixels) - corners(picture())).max() <= 12
    assert peak < 5 * len(data) + 20_000_000


CHILD = """
import resource, struct, sys, zlib
from dermdemo.data.images import decode_image

def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

side = 6324  # 40 million pixels, RGBA
packer, row = zlib.compressobj(1), bytes(1 + 4 * side)
pixels = b"".join([packer.compress(row) for _ in range(side)] + [packer.flush()])
data = b"\\x89PNG\\r\\n\\x1a\\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 6, 0, 0, 0))
data += chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
size = decode_image(data).pixels.size
print(len(data), size, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kB on Linux only")
def test_forty_million_pixels_in_a_small_file_take_bounded_memory() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHILD], capture_output=True, text=True, check=True, timeout=120
    )
    size_of_file, _, rest = done.stdout.partition(" ")
    side, megabytes = rest.rsplit(" ", 1)
    assert int(size_of_file) < 2_000_000
    assert side == "(2048, 2048)"
    assert int(megabytes) < 450
