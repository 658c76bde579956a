"""Damaged files of every format: an ImageError or a sound picture, never anything else."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dermdemo.data.images import decode_image
from dermdemo.errors import ImageError
from tests.data.samples import KINDS, encode, exif, picture

NAME = "lesion 7.jpg"
VALID = [
    *(KINDS[k][0]() for k in ("jpeg", "jpeg-progressive", "jpeg-cmyk", "png", "png-palette", "png-16bit")),
    *(KINDS[k][0]() for k in ("webp", "webp-lossless", "webp-animated", "tiff", "tiff-lzw", "tiff-jpeg")),
    *(KINDS[k][0]() for k in ("tiff-palette", "bmp", "bmp-palette", "heic", "heic-alpha")),
    *(encode(picture(), form, exif=exif(6)) for form in ("JPEG", "PNG", "WEBP", "TIFF")),
]  # fmt: skip
PLACE = st.one_of(st.integers(0, 200), st.integers(0, 20_000))
EDIT = st.tuples(
    st.sampled_from(["flip", "cut", "splice", "insert", "end"]), PLACE, PLACE, st.binary(max_size=12)
)


def mutate(data: bytes, edits: list[tuple[str, int, int, bytes]]) -> bytes:
    """Bit flips, overwritten or inserted bytes, missing stretches, moved stretches, early ends."""
    for kind, a, b, extra in edits:
        a, b = a % (len(data) + 1), b % (len(data) + 1)
        data = {
            "flip": data[:a] + bytes(x ^ 1 << b % 8 for x in data[a : a + 1]) + data[a + 1 :],
            "cut": data[: min(a, b)] + data[max(a, b) :],
            "splice": data[:a] + data[b : b + 64] + data[a:],
            "insert": data[:a] + extra + data[a + (b % 2) * len(extra) :],
            "end": data[:a],
        }[kind]
    return data


@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.sampled_from(VALID), edits=st.lists(EDIT, min_size=1, max_size=4))
def test_damaged_files_give_an_image_or_an_image_error(
    data: bytes, edits: list[tuple[str, int, int, bytes]]
) -> None:
    try:
        decoded = decode_image(mutate(data, edits), name=NAME, max_side=256)
    except ImageError as error:
        assert error.reason in {
            "empty", "unsupported-format", "too-many-pixels", "too-small", "aspect", "truncated", "corrupt", "bomb",
        }  # fmt: skip
        assert str(error).startswith(f"{NAME}: ")
    else:
        assert decoded.pixels.mode == "RGB"
        assert decoded.pixels.info == {}
        assert 2 <= min(decoded.pixels.size) <= max(decoded.pixels.size) <= 256
        assert decoded.pixels.tobytes()


@settings(max_examples=100, deadline=None)
@given(head=st.sampled_from([d[:n] for d in VALID for n in (4, 12, 40)]), tail=st.binary(max_size=400))
def test_a_true_beginning_with_any_end(head: bytes, tail: bytes) -> None:
    try:
        decode_image(head + tail)
    except ImageError as error:
        assert error.reason
