"""Small data sets in every layout, and tables without files, for the tests of this folder."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from dermdemo.data.sources import LesionTable, finish_table
from dermdemo.errors import DataError

ROWS = (  # a lesion with two images, one without an age, one of another class
    {"lesion_id": "L1", "image_id": "I1", "dx": "nv", "age": "40.0", "sex": "male"},
    {"lesion_id": "L1", "image_id": "I2", "dx": "nv", "age": "40.0", "sex": "male"},
    {"lesion_id": "L2", "image_id": "I3", "dx": "mel", "age": "", "sex": "female"},
    {"lesion_id": "L3", "image_id": "I4", "dx": "bcc", "age": "unknown", "sex": "female"},
)


def pixels(seed: int, size: tuple[int, int] = (24, 20)) -> Image.Image:
    """A smooth picture that no other seed looks like."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    return coarse.resize(size, Image.Resampling.BICUBIC)


def encoded(seed: int, kind: str = "PNG", size: tuple[int, int] = (24, 20)) -> bytes:
    stream = io.BytesIO()
    pixels(seed, size).save(stream, kind)
    return stream.getvalue()


def write_csv(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_images(folder: Path, names: Iterable[str]) -> None:
    """One picture per name; names may hold folders."""
    for seed, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(encoded(seed, "JPEG" if name.lower().endswith("jpg") else "PNG"))


def write_zip(path: Path, names: Iterable[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for seed, name in enumerate(names):
            archive.writestr(name, encoded(seed, "JPEG"))
    return path


def table_of(groups: Sequence[str], labels: Sequence[str], **columns: Sequence[object]) -> LesionTable:
    """A table without files: reading a row is a DataError."""

    def nothing(locator: str) -> bytes:
        raise DataError(f"{locator} has no bytes.")

    ids = [f"img-{i:04d}" for i in range(len(groups))]
    frame = pd.DataFrame({"image_id": ids, "label": list(labels), "group": list(groups), "locator": ids, **columns})
    return finish_table("made", frame, nothing, [])


def table_of_images(seeds: Sequence[int], groups: Sequence[str], labels: Sequence[str]) -> LesionTable:
    """A table whose pictures come from seeds: the same seed is the same picture."""
    ids = [f"img-{i:04d}" for i in range(len(groups))]
    frame = pd.DataFrame({"image_id": ids, "label": list(labels), "group": list(groups),
                          "locator": [str(s) for s in seeds]})  # fmt: skip
    return finish_table("made", frame, lambda seed: encoded(int(seed), size=(48, 40)), [])
