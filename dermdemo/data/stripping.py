"""Metadata cut out of an image file before any decoder sees it.

Comments, EXIF, GPS, XMP, further frames and anything after the picture go, for privacy and because
parsing them is where small files become large: a 1 MB TIFF directory may name the same megabytes
65 535 times. What the pixels need is kept (ICC profile, palette, transparency), and the EXIF
orientation is read out. Nothing here imports a decoder.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import NamedTuple

from dermdemo.data.formats import Format
from dermdemo.errors import ImageError

MAX_JPEG_SCANS = 100  # progressive files have about 10; each costs a pass over the whole picture
MAX_HEIC_HEADER = 256 * 1024  # bytes of the `meta` box; phones write 2 to 10 kB
MAX_TILE_PIXELS = 50_000_000  # of one TIFF tile, which is unpacked in one piece


class Bare(NamedTuple):
    """A file reduced to its picture.

    Attributes:
        data: the file's bytes without metadata.
        orientation: EXIF orientation, 1 to 8, still to be applied; always 1 for HEIC, whose decoder turns.
        size: (width, height) as declared, where the decoder must not be asked (WebP); else None.
    """

    data: bytes
    orientation: int = 1
    size: tuple[int, int] | None = None


def strip(data: bytes, kind: Format) -> Bare:
    """`data` without metadata, and its orientation.

    Raises:
        ImageError: ``truncated``, ``corrupt`` or ``bomb``, when the structure itself is not sound.
    """
    try:
        return _STRIPPERS[kind](data) if kind in _STRIPPERS else Bare(data)
    except (struct.error, IndexError):
        raise ImageError(
            f"the {kind} file ends too early. Copy or download it again.", reason="truncated"
        ) from None


def _bomb(what: str) -> ImageError:
    return ImageError(
        f"{what}, as no camera writes it. Open it in a photo program and save it again.", reason="bomb"
    )


# JPEG -----------------------------------------------------------------------------------------------

_JPEG_MARKER = re.compile(rb"\xff([\x02-\xcf\xd8-\xfe])")  # not stuffing (00), fill (ff), TEM, restarts
_JPEG_METADATA = {*range(0xE0, 0xF0), 0xFE}


def _strip_jpeg(data: bytes) -> Bare:
    """Drops APPn (but JFIF, Adobe, ICC) and comments before the first scan, and all after EOI."""
    parts, orientation, scans, start, pos = [b"\xff\xd8"], 1, 0, 0, 2
    while (found := _JPEG_MARKER.search(data, pos)) is not None:
        code = found[1][0]
        if code == 0xD9:
            break
        if code == 0xD8:
            pos = found.end()
            continue
        end = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
        body = data[found.end() + 2 : min(end, found.end() + 16)]
        if code == 0xDA:
            start = start or found.start()
            scans += 1
        elif not start and code == 0xE1 and body.startswith(b"Exif\0\0"):
            orientation = _orientation(data[found.end() + 8 : end])
        keep = code not in _JPEG_METADATA or body.startswith((b"JFIF", b"Adobe", b"ICC_PROFILE"))
        if not start and keep:
            parts.append(data[found.start() : end])
        pos = max(end, found.end())
    if scans > MAX_JPEG_SCANS:
        raise _bomb(f"the JPEG draws its picture in {scans} passes")
    parts.append(data[start : found.end() if found else len(data)] if start else b"")
    return Bare(b"".join(parts), orientation)


# PNG ------------------------------------------------------------------------------------------------

_PNG_CHUNKS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"iCCP"}


def _strip_png(data: bytes) -> Bare:
    """Keeps the chunks that make pixels; text, time, EXIF and animation go."""
    parts, orientation, pos = [data[:8]], 1, 8
    while pos + 8 <= len(data):
        kind, end = data[pos + 4 : pos + 8], pos + 12 + int.from_bytes(data[pos : pos + 4], "big")
        if kind in _PNG_CHUNKS:
            parts.append(data[pos:end])
        elif kind == b"eXIf":
            orientation = _orientation(data[pos + 8 : end - 4])
        pos = end
        if kind == b"IEND":
            break
    return Bare(b"".join(parts), orientation)


# WebP -----------------------------------------------------------------------------------------------


def _inspect_webp(data: bytes) -> Bare:
    """Reads the canvas size: Pillow's WebP plugin allocates the canvas as soon as it opens a file."""
    if struct.unpack_from("<I", data, 4)[0] + 8 > len(data):
        raise struct.error
    size, orientation, pos = None, 1, 12
    while pos + 8 <= len(data):
        kind, length = data[pos : pos + 4], struct.unpack_from("<I", data, pos + 4)[0]
        body = pos + 8
        if kind == b"EXIF":
            orientation = _orientation(data[body : body + length].removeprefix(b"Exif\0\0"))
        elif size is None and kind == b"VP8X":
            wide, high = data[body + 4 : body + 7], data[body + 7 : body + 10]
            size = int.from_bytes(wide, "little") + 1, int.from_bytes(high, "little") + 1
        elif size is None and kind == b"VP8 ":
            w, h = struct.unpack_from("<HH", data, body + 6)
            size = w & 0x3FFF, h & 0x3FFF
        elif size is None and kind == b"VP8L":
            bits = struct.unpack_from("<I", data, body + 1)[0]
            size = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        pos = body + length + length % 2
    return Bare(data, orientation, size or (0, 0))


# TIFF and EXIF, which is a TIFF directory -----------------------------------------------------------

_ORIENTATION, _TILE_WIDTH, _TILE_LENGTH = 274, 322, 323
_TIFF_LISTS = {273, 279, 324, 325}  # where strips and tiles lie: one entry for each
_TIFF_BLOBS = {347, 34675}  # JPEG tables, ICC profile
_TIFF_TAGS = (
    {256, 257, 258, 259, 262, 266, 277, 278, 284, 292, 293, 317, 320, 322, 323, 332, 338, 339, 340, 341}
    | {512, 513, 514, 515, 519, 520, 521, 529, 530, 531, 532, 65537}
    | _TIFF_LISTS
    | _TIFF_BLOBS
)


class _Entry(NamedTuple):
    tag: int
    kind: int
    length: int
    value: int  # read as the entry's own type if it is one BYTE, SHORT or LONG; else an offset
    at: int


def _directory(data: bytes) -> tuple[str, int, list[_Entry]]:
    """Byte order, place and entries of a TIFF's first directory. Raises: struct.error."""
    order = "<" if data[:2] == b"II" else ">"
    start = struct.unpack_from(f"{order}I", data, 4)[0]
    entries = []
    for i in range(struct.unpack_from(f"{order}H", data, start)[0]):
        at = start + 2 + 12 * i
        tag, kind, count = struct.unpack_from(f"{order}HHI", data, at)
        code = {1: "B", 3: "H"}.get(kind, "I")
        entries.append(_Entry(tag, kind, count, struct.unpack_from(order + code, data, at + 8)[0], at))
    return order, start, entries


def _orientation(exif: bytes) -> int:
    """EXIF orientation, 1 (upright) if absent, senseless or unreadable."""
    try:
        found = [e.value for e in _directory(exif)[2] if e.tag == _ORIENTATION and e.kind == 3]
    except struct.error:
        return 1
    return found[0] if found and 1 <= found[0] <= 8 else 1


def _strip_tiff(data: bytes) -> Bare:
    """Rewrites the first directory in place with the tags that make pixels, each once, and no next page."""
    order, start, entries = _directory(data)
    kept: dict[int, _Entry] = {}
    for entry in entries:
        if entry.tag in _TIFF_TAGS and entry.tag not in kept:
            limit = 2**18 if entry.tag in _TIFF_LISTS else 2**22 if entry.tag in _TIFF_BLOBS else 2**12
            if entry.length > limit:
                raise _bomb("the TIFF directory is far longer than its picture needs")
            kept[entry.tag] = entry
    tile = [kept[tag].value for tag in (_TILE_WIDTH, _TILE_LENGTH) if tag in kept]
    if len(tile) == 2 and tile[0] * tile[1] > MAX_TILE_PIXELS:
        raise _bomb("the TIFF is built of enormous tiles")
    directory = struct.pack(f"{order}H", len(kept)) + b"".join(data[e.at : e.at + 12] for e in kept.values())
    out = bytearray(data)
    out[start : start + len(directory) + 4] = directory + bytes(4)
    return Bare(bytes(out), _orientation(data))


# HEIC -----------------------------------------------------------------------------------------------


def _strip_heic(data: bytes) -> Bare:
    """Unties EXIF and XMP items from the pictures they describe, so that they are never read."""
    pos = 0
    while pos + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, pos)
        if length == 1:
            length = struct.unpack_from(">Q", data, pos + 8)[0]
        end = pos + length if length else len(data)
        if kind == b"meta":
            if end - pos > MAX_HEIC_HEADER:
                raise _bomb("the HEIC header is far longer than its picture needs")
            return Bare(data[:pos] + data[pos:end].replace(b"cdsc", b"none") + data[end:])
        pos = max(end, pos + 8)
    raise struct.error


_STRIPPERS: dict[Format, Callable[[bytes], Bare]] = {
    "JPEG": _strip_jpeg,
    "PNG": _strip_png,
    "WEBP": _inspect_webp,
    "TIFF": _strip_tiff,
    "HEIC": _strip_heic,
}
