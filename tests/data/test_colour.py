"""Colours: ICC profiles, transparency, deep grey and ink, all to 8-bit sRGB."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from dermdemo.data.images import decode_image
from dermdemo.errors import ImageError
from tests.data.samples import RED, corners, encode, picture, swapped_profile


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "HEIF"])
def test_a_sound_icc_profile_is_applied_and_gone(form: str) -> None:
    decoded = decode_image(encode(Image.new("RGB", (64, 48), RED), form, icc_profile=swapped_profile()))
    red, green, _ = np.asarray(decoded.pixels)[24, 32].astype(int)
    assert green > 180 > red
    assert decoded.pixels.info == {}


@pytest.mark.parametrize("profile", [b"nonsense", swapped_profile()[:200], bytes(3000)])
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_broken_icc_profile_is_ignored(form: str, profile: bytes) -> None:
    decoded = decode_image(encode(picture(), form, icc_profile=profile))
    assert np.abs(corners(decoded.pixels) - corners(picture())).max() <= 12


def test_a_profile_of_another_colour_space_is_ignored() -> None:
    decoded = decode_image(encode(picture().convert("L"), "PNG", icc_profile=swapped_profile()))
    assert np.array_equal(np.asarray(decoded.pixels), np.asarray(picture().convert("L").convert("RGB")))


def test_transparency_is_laid_on_white() -> None:
    image = picture().convert("RGBA")
    image.putalpha(Image.new("L", image.size, 0))
    assert np.all(np.asarray(decode_image(encode(image, "PNG")).pixels) == 255)
    image.putalpha(Image.new("L", image.size, 128))
    half = (corners(picture()) * 128 + 255 * 127) // 255
    assert np.abs(corners(decode_image(encode(image, "PNG")).pixels) - half).max() <= 1


def test_a_transparent_palette_entry_and_a_transparent_colour_are_white() -> None:
    palette = picture().quantize(4)
    hidden = palette.getpixel((5, 5))
    for data in (
        encode(palette, "PNG", transparency=hidden),
        encode(picture(), "PNG", transparency=RED),
    ):
        seen = corners(decode_image(data).pixels)
        assert seen[0].tolist() == [255, 255, 255]
        assert np.abs(seen[1:] - corners(picture())[1:]).max() <= 3


def test_deep_grey_uses_the_range_that_its_values_need() -> None:
    ramp = np.linspace(0, 1, 64)[None, :].repeat(48, axis=0)
    expected = np.round(ramp * 255)
    for values, form in [
        ((ramp * 65535).astype(np.uint16), "PNG"),
        ((ramp * 4095).astype(np.uint16), "PNG"),  # 12 bits in a 16-bit file
        ((ramp * 2**31 * 0.9).astype(np.int32), "TIFF"),
        (ramp.astype(np.float32), "TIFF"),
        ((ramp * 255).astype(np.float32), "TIFF"),
    ]:
        seen = np.asarray(decode_image(encode(Image.fromarray(values), form)).pixels)[..., 0]
        assert np.abs(seen.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_pixels_without_a_value_are_refused(value: float) -> None:
    values = np.full((48, 64), 0.5, np.float32)
    values[10, 10] = value
    with pytest.raises(ImageError, match="without a value"):
        decode_image(encode(Image.fromarray(values), "TIFF"))


def test_cmyk_ink_becomes_light() -> None:
    inks = {(0, 0, 0, 255): (0, 0, 0), (255, 0, 0, 0): (0, 255, 255), (0, 0, 0, 0): (255, 255, 255)}
    for ink, colour in inks.items():
        for form in ("JPEG", "TIFF"):
            seen = np.asarray(decode_image(encode(Image.new("CMYK", (32, 32), ink), form)).pixels)
            assert np.abs(seen[16, 16].astype(int) - colour).max() <= 3
