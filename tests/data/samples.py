"""Image files built in memory: one of every kind that must be read."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageCms

RED, GREEN, BLUE, YELLOW = (220, 40, 30), (40, 180, 60), (30, 60, 200), (240, 220, 60)
MARKER = "SECRET4711"


def picture(width: int = 64, height: int = 48) -> Image.Image:
    """Four quadrants: red, green over blue, yellow."""
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2], pixels[: height // 2, width // 2 :] = RED, GREEN
    pixels[height // 2 :, : width // 2], pixels[height // 2 :, width // 2 :] = BLUE, YELLOW
    return Image.fromarray(pixels)


def encode(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def corners(image: Image.Image) -> np.ndarray:
    """(4, 3) centre colours of the quadrants, row by row."""
    pixels, (w, h) = np.asarray(image).astype(int), image.size
    return np.array([pixels[y, x] for y in (h // 4, 3 * h // 4) for x in (w // 4, 3 * w // 4)])


def grey_16() -> Image.Image:
    return Image.fromarray(np.asarray(picture().convert("L")).astype(np.uint16) * 257)


def frames() -> dict[str, object]:
    """Options that append a black second frame; a fresh one, for Pillow leaves encoder settings on it."""
    return {"save_all": True, "append_images": [Image.new("RGB", (64, 48), "black")]}


P = picture
# name: (file, recognised format, mode in which the quadrants must be seen)
KINDS: dict[str, tuple[Callable[[], bytes], str, str]] = {
    "jpeg": (lambda: encode(P(), "JPEG", quality=95), "JPEG", "RGB"),
    "jpeg-444": (lambda: encode(P(), "JPEG", subsampling=0), "JPEG", "RGB"),
    "jpeg-progressive": (lambda: encode(P(), "JPEG", progressive=True), "JPEG", "RGB"),
    "jpeg-grey": (lambda: encode(P().convert("L"), "JPEG"), "JPEG", "L"),
    "jpeg-cmyk": (lambda: encode(P().convert("CMYK"), "JPEG", quality=95), "JPEG", "RGB"),
    "jpeg-mpo": (lambda: encode(P(), "MPO", **frames()), "JPEG", "RGB"),
    "jpeg-trailer": (lambda: encode(P(), "JPEG") + b"\x00\xff\xd8 a video follows" * 50, "JPEG", "RGB"),
    "png": (lambda: encode(P(), "PNG"), "PNG", "RGB"),
    "png-grey": (lambda: encode(P().convert("L"), "PNG"), "PNG", "L"),
    "png-grey-alpha": (lambda: encode(P().convert("LA"), "PNG"), "PNG", "L"),
    "png-rgba": (lambda: encode(P().convert("RGBA"), "PNG"), "PNG", "RGB"),
    "png-palette": (lambda: encode(P().quantize(8), "PNG"), "PNG", "RGB"),
    "png-1bit": (lambda: encode(P().convert("1", dither=Image.Dither.NONE), "PNG"), "PNG", "1"),
    "png-16bit": (lambda: encode(grey_16(), "PNG"), "PNG", "L"),
    "png-animated": (lambda: encode(P(), "PNG", **frames()), "PNG", "RGB"),
    "webp": (lambda: encode(P(), "WEBP", quality=95), "WEBP", "RGB"),
    "webp-lossless": (lambda: encode(P(), "WEBP", lossless=True), "WEBP", "RGB"),
    "webp-alpha": (lambda: encode(P().convert("RGBA"), "WEBP", lossless=True), "WEBP", "RGB"),
    "webp-animated": (lambda: encode(P(), "WEBP", lossless=True, **frames()), "WEBP", "RGB"),
    "tiff": (lambda: encode(P(), "TIFF"), "TIFF", "RGB"),
    "tiff-lzw": (lambda: encode(P(), "TIFF", compression="tiff_lzw"), "TIFF", "RGB"),
    "tiff-deflate": (lambda: encode(P(), "TIFF", compression="tiff_adobe_deflate"), "TIFF", "RGB"),
    "tiff-packbits": (lambda: encode(P(), "TIFF", compression="packbits"), "TIFF", "RGB"),
    "tiff-jpeg": (lambda: encode(P(), "TIFF", compression="jpeg", quality=95), "TIFF", "RGB"),
    "tiff-group4": (
        lambda: encode(P().convert("1", dither=Image.Dither.NONE), "TIFF", compression="group4"),
        "TIFF",
        "1",
    ),
    "tiff-cmyk": (lambda: encode(P().convert("CMYK"), "TIFF"), "TIFF", "RGB"),
    "tiff-palette": (lambda: encode(P().quantize(8), "TIFF"), "TIFF", "RGB"),
    "tiff-rgba": (lambda: encode(P().convert("RGBA"), "TIFF"), "TIFF", "RGB"),
    "tiff-16bit": (lambda: encode(grey_16(), "TIFF"), "TIFF", "L"),
    "tiff-int32": (lambda: encode(P().convert("L").convert("I"), "TIFF"), "TIFF", "L"),
    "tiff-float": (lambda: encode(P().convert("L").convert("F"), "TIFF"), "TIFF", "L"),
    "tiff-pages": (lambda: encode(P(), "TIFF", **frames()), "TIFF", "RGB"),
    "bmp": (lambda: encode(P(), "BMP"), "BMP", "RGB"),
    "bmp-grey": (lambda: encode(P().convert("L"), "BMP"), "BMP", "L"),
    "bmp-palette": (lambda: encode(P().quantize(8), "BMP"), "BMP", "RGB"),
    "bmp-1bit": (lambda: encode(P().convert("1", dither=Image.Dither.NONE), "BMP"), "BMP", "1"),
    "heic": (lambda: encode(P(), "HEIF", quality=95), "HEIC", "RGB"),
    "heic-grey": (lambda: encode(P().convert("L"), "HEIF", quality=95), "HEIC", "L"),
    "heic-alpha": (lambda: encode(P().convert("RGBA"), "HEIF", quality=95), "HEIC", "RGB"),
}


def exif(orientation: int = 1) -> Image.Exif:
    """EXIF with the marker in a description and in the GPS directory."""
    tags = Image.Exif()
    tags[0x0112], tags[0x010E] = orientation, MARKER
    tags.get_ifd(0x8825).update({1: "N", 2: (47.0, 22.0, 1.0), 29: MARKER})
    return tags


def swapped_profile() -> bytes:
    """An sRGB profile whose red and green primaries changed places."""
    plain = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return plain.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")
