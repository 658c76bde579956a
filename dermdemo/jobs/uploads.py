"""Data sets written into the state folder: out of a zip that somebody sent, or out of a table with changed labels.

Of an image only its pixels are kept, decoded and written anew; of a name only what is harmless in a file name;
of a CSV only its cells. Nothing in a zip decides where anything is written.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import pandas as pd

from dermdemo.data.archives import Entry, entries
from dermdemo.data.images import MAX_BYTES, decode_image
from dermdemo.data.sources import ID_COLUMNS, IMAGE_SUFFIXES, LABEL_COLUMNS, LesionTable, Problem
from dermdemo.errors import DataError, ImageError

MAX_FILES = 20_000
MAX_UNPACKED = 16 << 30  # bytes
MAX_COLUMNS = 40
TABLE, IMAGES = "lesions.csv", "images"
DRIVE = re.compile(r"[A-Za-z]:[\\/]")
UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")


def safe_name(text: str) -> str:
    """A name that is one harmless part of a path: letters, digits, ``_`` and ``-``, at most 100 of them."""
    return UNSAFE.sub("_", text).strip("_")[-100:]


def image_key(name: str) -> str:
    """Key of an image by its name, with or without folders and suffix."""
    path = PurePosixPath(name.replace("\\", "/"))
    return safe_name(path.stem if path.suffix.lower() in IMAGE_SUFFIXES else path.name)


def leaves(name: str) -> bool:
    """Whether a name in a zip leads out of it: absolute, with a drive letter, or upwards."""
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or bool(DRIVE.match(name))


def write_image(data: bytes, folder: Path, key: str) -> None:
    """Decode an image of unknown origin and write its pixels as ``<key>.png``. Raises ImageError."""
    decode_image(data, name=key).pixels.save(folder / f"{key}.png", compress_level=3)


def unpack(archive: Path, folder: Path) -> tuple[Problem, ...]:
    """Write the images of a zip, and the table of them, into an empty folder; returns what was left out.

    The zip holds one CSV with an image and a label column, or a folder per class.

    Raises:
        DataError: no such CSV or folders, two images of one name, or nothing that can be read.
        ImageError: not a zip.
    """
    (folder / IMAGES).mkdir(parents=True)
    bad: list[str] = []
    seen: dict[str, str] = {}  # key -> name in the zip
    tables: list[pd.DataFrame] = []
    for entry in entries(archive, limit=MAX_FILES, total=MAX_UNPACKED):
        if isinstance(entry.data, ImageError) and entry.data.reason == "too-many":
            raise DataError(f"The zip holds more than {MAX_FILES:,} files; register the data as a folder.")
        if isinstance(entry.data, ImageError) and entry.data.reason == "too-large":  # never a part in silence
            raise DataError(f"The zip holds more than {MAX_UNPACKED / 1e9:.2g} GB; register the data as a folder.")
        if entry.name.lower().endswith(".csv"):
            tables += _table(entry)
        elif Path(entry.name).suffix.lower() in IMAGE_SUFFIXES or isinstance(entry.data, ImageError):
            _take(entry, folder / IMAGES, seen, bad)
    if not seen:
        raise DataError(f"The zip holds no image that can be read{f': {bad[0]}' if bad else '.'}")
    if len(tables) > 1:
        raise DataError(f"The zip holds {len(tables)} CSV files with an image and a label column; send one.")
    frame = tables[0] if tables else _class_folders(seen)
    frame = frame[frame["image_id"].isin(seen)] if tables else frame
    frame.to_csv(folder / TABLE, index=False)
    return (Problem("unreadable", len(bad), tuple(bad[:5]), "files of the zip that are left out"),) if bad else ()


def _take(entry: Entry, folder: Path, seen: dict[str, str], bad: list[str]) -> None:
    """Write one image, or note why not. Raises DataError: its name was there before."""
    key = image_key(entry.name)
    try:
        if isinstance(entry.data, ImageError):
            raise entry.data
        if leaves(entry.name):
            raise ImageError("its path leads out of the zip")
        if not key:
            raise ImageError("the file has no usable name")
        if key in seen:
            raise DataError(f"Two images in the zip are called '{key}': '{seen[key]}' and '{entry.name}'.")
        write_image(entry.data, folder, key)
    except ImageError as error:
        bad.append(f"{entry.name}: {error}")
        return
    seen[key] = entry.name


def _table(entry: Entry) -> list[pd.DataFrame]:
    """The table of a CSV with an image and a label column, images named by key; [] for other CSVs."""
    if isinstance(entry.data, ImageError):
        raise DataError(f"The table '{entry.name}' cannot be read: {entry.data}")
    if len(entry.data) > MAX_BYTES:
        raise DataError(f"The table '{entry.name}' is larger than {MAX_BYTES >> 20} MB.")
    try:
        frame = pd.read_csv(io.BytesIO(entry.data), dtype=str, keep_default_na=True)
    except (ValueError, UnicodeDecodeError) as error:
        raise DataError(f"The table '{entry.name}' cannot be read as a CSV: {error}.") from error
    image = next((c for c in ID_COLUMNS if c in frame), None)
    if image is None or not any(c in frame for c in LABEL_COLUMNS):
        return []
    if len(frame.columns) > MAX_COLUMNS or frame[image].isna().any():
        raise DataError(f"The table '{entry.name}' has rows without an image, or more than {MAX_COLUMNS} columns.")
    frame = frame.drop(columns=[c for c in ID_COLUMNS if c in frame and c != image])
    return [frame.rename(columns={image: "image_id"}).assign(image_id=[image_key(v) for v in frame[image]])]


def _class_folders(seen: dict[str, str]) -> pd.DataFrame:
    labels = {key: PurePosixPath(name).parent.name for key, name in seen.items()}
    if not all(labels.values()):
        raise DataError("The zip holds neither a CSV with an image and a label column nor a folder per class.")
    return pd.DataFrame({"image_id": list(labels), "label": list(labels.values())})


def write_table(table: LesionTable, folder: Path) -> None:
    """Write a table with its images into an empty folder, as a source of its own; groups and metadata stay.

    Raises:
        DataError: two image ids become the same file name.
        ImageError: an image cannot be decoded.
    """
    (folder / IMAGES).mkdir(parents=True)
    keys = [image_key(v) for v in table.frame["image_id"].astype(str)]
    if len(set(keys)) != len(keys) or not all(keys):
        raise DataError(f"The image ids of '{table.name}' are not distinct as file names: rename them.")
    for row, key in enumerate(keys):
        write_image(table.read(row), folder / IMAGES, key)
    kept = _written(table.frame.columns)
    table.frame[kept].assign(image_id=keys).to_csv(folder / TABLE, index=False)


def _written(columns: Iterable[str]) -> list[str]:
    return [c for c in columns if c != "locator"]
