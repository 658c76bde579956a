"""What a good file becomes: upright 8-bit sRGB and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from dermdemo.data.images import decode_file, decode_image
from dermdemo.errors import ConfigError
from tests.data.samples import KINDS, MARKER, corners, encode, exif, picture


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_becomes_upright_rgb(kind: str) -> None:
    make, form, mode = KINDS[kind]
    decoded = decode_image(make(), name="a.gif")  # the name says nothing
    assert (decoded.format, decoded.original_size) == (form, (64, 48))
    assert (decoded.pixels.mode, decoded.pixels.size) == ("RGB", (64, 48))
    expected = corners(picture().convert(mode, dither=Image.Dither.NONE).convert("RGB"))
    assert np.abs(corners(decoded.pixels) - expected).max() <= 6


TURNED: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, 1),  # shown after a quarter turn clockwise, so stored counter-clockwise
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("form", "compression"), [
    ("JPEG", None), ("PNG", None), ("WEBP", None), ("TIFF", None), ("TIFF", "tiff_lzw"),
])  # fmt: skip
def test_orientation_is_applied(form: str, compression: str | None, orientation: int) -> None:
    stored = Image.fromarray(np.ascontiguousarray(TURNED[orientation](np.asarray(picture()))))
    options = {"lossless": True} if form == "WEBP" else {"compression": compression} if compression else {}
    decoded = decode_image(encode(stored, form, exif=exif(orientation), **options))
    assert decoded.pixels.size == decoded.original_size == (64, 48)
    assert np.abs(corners(decoded.pixels) - corners(picture())).max() <= 6


def test_a_heic_that_its_decoder_turns_is_not_turned_twice() -> None:
    stored = Image.fromarray(np.ascontiguousarray(np.rot90(np.asarray(picture()))))
    stored.info["exif"] = exif(6).tobytes()  # the plugin writes both the tag and the rotation property
    decoded = decode_image(encode(stored, "HEIF", quality=95))
    assert decoded.pixels.size == (64, 48)
    assert np.abs(corners(decoded.pixels) - corners(picture())).max() <= 6


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_a_senseless_orientation_is_ignored(orientation: int) -> None:
    assert decode_image(encode(picture(), "PNG", exif=exif(orientation))).pixels.size == (64, 48)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "HEIF"])
def test_no_metadata_survives(form: str) -> None:
    options: dict[str, object] = {"exif": exif().tobytes()}
    xmp = f"<x:xmpmeta xmlns:x='adobe:ns:meta/'>{MARKER}</x:xmpmeta>".encode()
    if form == "PNG":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_text("Comment", MARKER)
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp.decode())
    else:
        options |= {"xmp": xmp, "comment": MARKER} if form == "JPEG" else {"xmp": xmp}
    data = encode(picture(), form, **options)
    assert MARKER.encode() in data
    pixels = decode_image(data).pixels
    assert type(pixels) is Image.Image
    assert pixels.info == {}
    assert not pixels.getexif()
    assert MARKER not in repr(vars(pixels))
    for again in ("PNG", "JPEG", "TIFF", "WEBP", "HEIF"):
        assert MARKER.encode() not in encode(pixels, again)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "BMP"])
def test_large_pictures_are_reduced(form: str) -> None:
    data = encode(picture(3000, 1000), form)
    decoded = decode_image(data, max_side=500)
    assert (decoded.pixels.size, decoded.original_size) == ((500, 167), (3000, 1000))
    assert np.abs(corners(decoded.pixels) - corners(picture())).max() <= 6
    assert decode_image(data).pixels.size == (2048, 683)
    assert decode_image(data, max_side=None).pixels.size == (3000, 1000)


def test_max_side_below_the_smallest_side_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ConfigError, match="max_side"):
        decode_image(encode(picture(), "PNG"), max_side=15)


def test_decoding_leaves_the_bytes_alone_and_repeats() -> None:
    data = encode(picture(300, 200), "JPEG")
    copy = bytes(bytearray(data))
    first, second = decode_image(data).pixels, decode_image(data).pixels
    assert data == copy
    assert np.array_equal(np.asarray(first), np.asarray(second))
    first.putpixel((0, 0), (1, 2, 3))  # a copy of its own, not a view


def test_decode_file_reads_the_same_pixels(tmp_path: Path) -> None:
    path = tmp_path / "mislabelled.tif"
    path.write_bytes(encode(picture(), "PNG"))
    assert np.array_equal(np.asarray(decode_file(path).pixels), np.asarray(picture()))
