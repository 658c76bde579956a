"""The square a model sees, from any picture."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from dermdemo.data.images import decode_image, to_input
from dermdemo.errors import ConfigError
from dermdemo.types import InputSpec


def stripes(width: int, height: int) -> Image.Image:
    """Left third red, middle green, right blue."""
    pixels = np.zeros((height, width, 3), np.uint8)
    for i in range(3):
        pixels[:, i * width // 3 : (i + 1) * width // 3, i] = 255
    return Image.fromarray(pixels)


@pytest.mark.parametrize("crop", ["center", "squash"])
@pytest.mark.parametrize(
    "size", [(600, 450), (450, 600), (101, 99), (33, 32), (16, 128), (64, 64), (2048, 257)]
)
@pytest.mark.parametrize("side", [32, 224])
def test_shape_and_type(size: tuple[int, int], side: int, crop: str) -> None:
    out = to_input(stripes(*size), InputSpec(size=side, crop=crop))
    assert (out.shape, out.dtype) == ((side, side, 3), np.uint8)
    assert out.flags.c_contiguous
    assert out.flags.writeable


def test_center_keeps_the_middle_and_squash_keeps_all() -> None:
    wide = stripes(300, 100)
    middle = to_input(wide, InputSpec(size=96))[:, 4:-4]
    assert middle[..., 1].min() > 240
    assert middle[..., [0, 2]].max() < 15
    squashed = to_input(wide, InputSpec(size=96, crop="squash"))
    assert [int(squashed[48, x].argmax()) for x in (10, 48, 85)] == [0, 1, 2]


def test_center_is_in_the_middle_to_half_a_pixel() -> None:
    ramp = np.linspace(0, 255, 257)[None, :, None].repeat(64, 0).repeat(3, 2)
    out = to_input(Image.fromarray(ramp.round().astype(np.uint8)), InputSpec(size=64)).astype(float)
    assert abs(out[..., 0].mean() - 127.5) <= 1


def test_a_picture_of_the_right_size_is_untouched() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for crop in ("center", "squash"):
        out = to_input(Image.fromarray(pixels), InputSpec(size=64, crop=crop))
        assert np.array_equal(out, pixels)


def test_reduction_is_antialiased() -> None:
    fine = np.indices((512, 512)).sum(axis=0) % 2 * 255
    out = to_input(Image.fromarray(fine.astype(np.uint8)), InputSpec(size=64))
    assert np.abs(out.astype(int) - 128).max() <= 3


def test_training_file_and_upload_are_the_same_array() -> None:
    buffer = io.BytesIO()
    stripes(600, 450).save(buffer, "JPEG")
    spec = InputSpec(size=96)
    first = to_input(decode_image(buffer.getvalue()).pixels, spec)
    second = to_input(decode_image(buffer.getvalue(), name="other").pixels, spec)
    assert np.array_equal(first, second)


def test_the_picture_itself_is_not_changed() -> None:
    image = stripes(64, 64)
    before = np.array(image)
    to_input(image, InputSpec(size=64))[:] = 7
    assert np.array_equal(np.asarray(image), before)


def test_an_unknown_crop_is_named() -> None:
    with pytest.raises(ConfigError, match="'stretch'"):
        to_input(stripes(64, 64), InputSpec(size=32, crop="stretch"))  # type: ignore[arg-type]
