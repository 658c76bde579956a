"""The only decoder of untrusted bytes in the product.

Bytes go in, pixels come out: upright 8-bit sRGB rebuilt from an array, with no metadata left. Whatever
the bytes are, the one exception that leaves is `ImageError`, whose text is fit for the screen.

Memory: with the default `max_side` a file of the largest accepted size (50 MB, 50 million pixels) takes
some 500 MB for a moment; a photograph of 12 million pixels about 60 MB. With `max_side=None` the largest
takes up to 1 GB.

Importing this module registers the HEIC plugin and makes two process-wide settings of Pillow firm: its
decompression bomb warning is an error, and truncated files are never padded.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import pillow_heif
from PIL import Image, ImageFile

from dermdemo.data.colour import to_8_bit, to_srgb, unpalette
from dermdemo.data.formats import SUPPORTED, Format, recognise
from dermdemo.data.stripping import strip
from dermdemo.errors import ConfigError, ImageError
from dermdemo.types import DecodedImage, InputSpec

MAX_BYTES = 50 * 1024**2
MAX_PIXELS = 50_000_000
MIN_SIDE = 16
MAX_ASPECT = 8.0
MAX_SIDE = 2048

_PLUGINS: dict[Format, str] = {"HEIC": "HEIF"}
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)
ImageFile.LOAD_TRUNCATED_IMAGES = False


def decode_image(data: bytes, *, name: str = "image", max_side: int | None = MAX_SIDE) -> DecodedImage:
    """Pixels of an image file held in memory.

    JPEG, PNG, WebP, TIFF, BMP and HEIC, told apart by content. The first frame is taken, turned by its
    EXIF orientation, converted to sRGB by its ICC profile if that is sound, and laid on white where it is
    transparent. Deeper than 8 bits is scaled down, see `colour.to_8_bit`.

    Args:
        data: the file.
        name: what messages call it; only a short printable part is shown.
        max_side: longest side of the result in pixels, at least 16; None keeps the size.

    Raises:
        ImageError: the only exception whatever the bytes. Reasons: ``empty``, ``unsupported-format``,
            ``too-large`` (bytes), ``too-many-pixels``, ``too-small``, ``aspect``, ``truncated``,
            ``corrupt``, ``bomb``.
        ConfigError: `max_side` is below 16.
    """
    if max_side is not None and max_side < MIN_SIDE:
        raise ConfigError(f"max_side must be at least {MIN_SIDE} pixels, not {max_side}.")
    try:
        _check_bytes(len(data))
        return _decode(data, max_side)
    except ImageError as error:
        raise ImageError(f"{_label(name)}: {error}", reason=error.reason) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageError(f"{_label(name)}: {_too_many()}", reason="too-many-pixels") from None
    except Exception as error:  # decoder libraries may raise anything: this is where it ends
        reason, what = _diagnose(error)
        raise ImageError(f"{_label(name)}: {what}", reason=reason) from error


def decode_file(path: Path, *, name: str | None = None, max_side: int | None = MAX_SIDE) -> DecodedImage:
    """`decode_image` of a file; one that is too large is refused before it is read.

    Raises:
        ImageError: as `decode_image`, and ``missing`` or ``unreadable``.
    """
    label = path.name if name is None else name
    try:
        if not path.is_file():
            what = "this is a folder, not an image" if path.is_dir() else "there is no such file"
            raise ImageError(f"{_label(label)}: {what}. Check the path.", reason="missing")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)  # one more than allowed is enough to be refused
    except OSError as error:
        raise ImageError(
            f"{_label(label)}: the file cannot be read. Check that it exists and may be opened.",
            reason="unreadable",
        ) from error
    return decode_image(data, name=label, max_side=max_side)


def to_input(image: Image.Image, spec: InputSpec) -> np.ndarray:
    """The square a model sees: the same for training data and for uploads.

    ``center``: the short side is resized to `spec.size` (bicubic, antialiased), the centre cut out.
    ``squash``: both sides are resized to `spec.size`, whatever the aspect ratio.

    Returns:
        (size, size, 3) uint8 RGB, contiguous and writable.
    """
    size = spec.size
    image = image if image.mode == "RGB" else image.convert("RGB")
    width, height = image.size
    if spec.crop == "squash":
        width = height = size
    elif spec.crop == "center":
        short = min(width, height)
        width, height = round(width * size / short), round(height * size / short)
    else:
        raise ConfigError(f"crop must be 'center' or 'squash', not {spec.crop!r}.")
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - size) // 2, (height - size) // 2
    return np.array(image.crop((left, top, left + size, top + size)), dtype=np.uint8)


def _decode(data: bytes, max_side: int | None) -> DecodedImage:
    """The whole way from bytes to pixels; any exception may come out."""
    kind = recognise(data)
    bare = strip(data, kind)
    if bare.size is not None:
        _check_size(bare.size)
    with Image.open(io.BytesIO(bare.data), formats=(_PLUGINS.get(kind, kind),)) as file:
        _check_size(file.size)
        width, height = file.size
        if kind == "JPEG" and max_side is not None:
            file.draft(file.mode, _fit(file.size, max_side))  # decodes at 1/2, 1/4 or 1/8
        file.load()
        _check_size(file.size)  # a HEIC stream may differ from its header
        profile = file.info.get("icc_profile")
        image = to_srgb(to_8_bit(_reduce(unpalette(file), max_side)), profile)
    if bare.orientation in _TURNS:
        image = image.transpose(_TURNS[bare.orientation])
    if bare.orientation >= 5:
        width, height = height, width
    pixels = Image.fromarray(np.array(image, dtype=np.uint8), "RGB")
    return DecodedImage(pixels=pixels, format=kind, original_size=(width, height))


def _check_bytes(count: int) -> None:
    if count > MAX_BYTES:
        raise ImageError(
            f"the file is larger than {MAX_BYTES // 1024**2} MB. Save it smaller, for example as JPEG.",
            reason="too-large",
        )


def _too_many() -> str:
    return f"the image has more than {MAX_PIXELS // 10**6} million pixels. Crop it or save it smaller."


def _check_size(size: tuple[int, int]) -> None:
    """Refuses sizes that cannot be a picture of a lesion, before its pixels are decoded."""
    width, height = size
    if width * height > MAX_PIXELS:
        raise ImageError(_too_many(), reason="too-many-pixels")
    if min(width, height) < MIN_SIDE:
        raise ImageError(
            f"the image is only {width} x {height} pixels; each side needs at least {MIN_SIDE}. "
            "Upload the original rather than a thumbnail.",
            reason="too-small",
        )
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ImageError(
            f"the image is {width} x {height} pixels, a strip rather than a picture "
            f"(at most {MAX_ASPECT:g} to 1). Crop it to the lesion.",
            reason="aspect",
        )


def _fit(size: tuple[int, int], max_side: int) -> tuple[int, int]:
    """Largest size of the same aspect ratio whose sides do not exceed `max_side`; never an enlargement."""
    scale = min(1.0, max_side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _reduce(image: Image.Image, max_side: int | None) -> Image.Image:
    size = image.size if max_side is None else _fit(image.size, max_side)
    if size == image.size:
        return image
    return image.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)


def _diagnose(error: Exception) -> tuple[str, str]:
    """Reason and sentence for what a decoder raised; its own text may hold raw bytes and is not shown."""
    text = str(error).lower()
    if isinstance(error, EOFError) or any(s in text for s in ("truncated", "end of file", "too short")):
        return "truncated", "the file ends too early. Copy or download it again."
    return "corrupt", f"the file is damaged or of a rare kind. Open it and save it again as {SUPPORTED}."


def _label(name: str) -> str:
    """A short printable form of a file name that a stranger chose."""
    clean = "".join(c for c in name[-200:].replace("\\", "/").rsplit("/", 1)[-1] if c.isprintable()).strip()
    return clean if 0 < len(clean) <= 40 else f"{clean[:24]}...{clean[-12:]}" if clean else "image"
