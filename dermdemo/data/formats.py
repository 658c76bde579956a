"""Which format a file is in, from its first bytes: never from its name, and before any decoder sees it."""

from __future__ import annotations

import re
from typing import Literal

from dermdemo.errors import ImageError

Format = Literal["JPEG", "PNG", "WEBP", "TIFF", "BMP", "HEIC"]
SUPPORTED = "JPEG, PNG, WebP, TIFF, BMP or HEIC"

_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
_FOREIGN: tuple[tuple[int, bytes, str], ...] = (
    (0, b"GIF8", "a GIF"),
    (0, b"%PDF", "a PDF document"),
    (0, b"PK", "a ZIP archive or an office document"),
    (0, b"\x1f\x8b", "a compressed archive"),
    (0, b"Rar!", "a compressed archive"),
    (0, b"7z\xbc\xaf", "a compressed archive"),
    (0, b"8BPS", "a Photoshop file"),
    (0, b"II+\0", "a BigTIFF"),
    (0, b"MM\0+", "a BigTIFF"),
    (0, b"\xff\x0a", "a JPEG XL"),
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL"),
    (0, b"\0\0\0\x0cjP  ", "a JPEG 2000"),
    (0, b"\xffO\xffQ", "a JPEG 2000"),
    (128, b"DICM", "a DICOM file"),
    (4, b"ftypavif", "an AVIF"),
    (4, b"ftyp", "a video"),
    (0, b"\x7fELF", "a program"),
    (0, b"MZ", "a program"),
)


def recognise(data: bytes) -> Format:
    """Format of a file from its first bytes. Raises: ImageError ``empty``, ``unsupported-format``."""
    if not data:
        raise ImageError("the file is empty. Save or download it again.", reason="empty")
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WEBP"
    if data.startswith((b"II*\0", b"MM\0*")):
        return "TIFF"
    if data.startswith(b"BM"):
        return "BMP"
    if data[4:8] == b"ftyp" and data[8:12] in _HEIC_BRANDS:
        return "HEIC"
    what = _foreign_kind(data)
    raise ImageError(
        f"this is {what}, not an image of a supported kind. Save the picture as {SUPPORTED} and try again.",
        reason="unsupported-format",
    )


def _foreign_kind(data: bytes) -> str:
    """What a file that is not a supported image looks like, in words."""
    for offset, magic, what in _FOREIGN:
        if data.startswith(magic, offset):
            return what
    head = data[:1024].lower()
    if b"<svg" in head:
        return "an SVG drawing"
    if b"<!doctype html" in head or b"<html" in head:
        return "a web page"
    if not re.search(rb"[\x00-\x08\x0e-\x1a\x7f]", head):
        return "a text file"
    return "a file of an unknown kind"
