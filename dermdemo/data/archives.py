"""Images out of a zip that a stranger sent: entry by entry, in memory, never unpacked to disk.

A name inside the archive is only ever shown; it never becomes a path. Sizes in the directory are not
believed: an entry is read up to the limit and no further.
"""

from __future__ import annotations

import lzma
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from dermdemo.data.images import MAX_BYTES
from dermdemo.errors import ImageError

MAX_TOTAL = 1 << 30  # bytes read from one archive at most
MAX_RATIO = 200  # an entry that shrinks further is no photograph
SKIPPED = ("__MACOSX/",)
SHOWN_NAME = 120
_BROKEN = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, NotImplementedError, RuntimeError,
           ValueError)


class Entry(NamedTuple):
    """One file of an archive: its bytes, or why it is not read."""

    name: str
    data: bytes | ImageError


def is_archive(path: Path) -> bool:
    """True for a zip, whatever it is called."""
    with path.open("rb") as stream:
        return stream.read(4) in (b"PK\x03\x04", b"PK\x05\x06")


def entries(path: Path, *, limit: int, total: int = MAX_TOTAL) -> Iterator[Entry]:
    """Files of a zip in the order they are stored; folders and hidden files are left out.

    Args:
        limit: files at most; what comes after is reported as one last entry.
        total: bytes at most, unpacked; each file after that is reported as ``too-large``.

    Raises:
        ImageError: the file is not a zip that can be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            wanted = [info for info in archive.infolist() if _counts(info)]
            left = total
            for info in wanted[:limit]:
                entry = _read(archive, info, left, total)
                left -= len(entry.data) if isinstance(entry.data, bytes) else 0
                yield entry
            if len(wanted) > limit:
                yield Entry(f"{len(wanted) - limit} further files", ImageError(
                    f"Only the first {limit} files are analysed at once; send the rest separately.",
                    reason="too-many"))
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise ImageError("This zip cannot be read: it is damaged or not a zip. Pack the images again.",
                         reason="bad-archive") from error


def _counts(info: zipfile.ZipInfo) -> bool:
    name = info.filename
    return not info.is_dir() and not name.startswith(SKIPPED) and not Path(name).name.startswith(".")


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, left: int, total: int) -> Entry:
    name = info.filename[-SHOWN_NAME:]
    if info.flag_bits & 0x1:
        return Entry(name, ImageError("The file is encrypted; send it without a password.", reason="encrypted"))
    if info.compress_size and info.file_size / info.compress_size > MAX_RATIO:
        return Entry(name, ImageError("The file expands far more than a photograph does; it is not opened.",
                                      reason="bomb"))
    if left <= 0:
        return Entry(name, ImageError(f"The archive holds more than {total / 2**30:.3g} GB; send fewer images at "
                                      "once.", reason="too-large"))
    try:
        with archive.open(info) as stream:
            return Entry(name, stream.read(min(MAX_BYTES + 1, left)))
    except _BROKEN:
        return Entry(name, ImageError("The file inside the zip is damaged. Pack it again.", reason="corrupt"))
