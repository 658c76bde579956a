"""The audit counts what is there, what is missing, and what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dermdemo.data.audit import audit
from dermdemo.data.sources import load_source
from tests.data.layouts import ROWS, encoded, write_csv, write_images

IDS = tuple(row["image_id"] for row in ROWS)


def folder_with(root: Path, ages: tuple[str, ...]) -> Path:
    """The four images of `ROWS`, with other ages."""
    write_csv(root / "metadata.csv", [{**row, "age": age} for row, age in zip(ROWS, ages, strict=True)])
    write_images(root / "images", (f"{name}.jpg" for name in IDS))
    return root


@pytest.mark.parametrize(("ages", "missing"), [
    (("40", "50", "60", "70"), 0), (("40", "50", "", "70"), 1),  # numbers, of which one is a gap
    (("40", "unknown", "", " NA "), 3), (("", "", "", ""), 4)])
def test_missing_cells_are_counted_whatever_the_column_is_read_as(tmp_path: Path, ages: tuple[str, ...], missing: int
                                                                  ) -> None:
    found = audit(load_source(folder_with(tmp_path, ages)))
    assert dict(found.missing) == {"age": missing, "sex": 0}
    assert f"  age                 {missing:>7}" in found.to_text()


def test_images_and_lesions_are_counted_by_class_and_split(tmp_path: Path) -> None:
    found = audit(load_source(folder_with(tmp_path, ("1", "2", "3", "4"))))
    assert (found.images, found.groups) == (4, 3)
    assert found.classes["nv"] == {"images": 2, "groups": 1}
    assert found.classes["mel"] == found.classes["bcc"] == {"images": 1, "groups": 1}
    assert found.classes["df"] == {"images": 0, "groups": 0}
    assert sum(row["groups"] for row in found.split_table.values()) == 3
    assert sum(n for row in found.split_table.values() for key, n in row.items() if key != "groups") == 4
    assert found.problems == () and json.loads(found.to_json())["data_hash"] == found.data_hash


def test_unreadable_images_and_near_duplicates_are_named(tmp_path: Path) -> None:
    root = folder_with(tmp_path, ("1", "2", "3", "4"))
    (root / "images" / "I3.jpg").write_bytes(b"no image")
    (root / "images" / "I4.jpg").write_bytes(encoded(0, "JPEG"))  # I1, another lesion's
    found = {p.kind: p for p in audit(load_source(root)).problems}
    assert set(found) == {"unreadable", "near-duplicate"}
    assert found["unreadable"].count == 1 and found["unreadable"].examples[0].startswith("I3: ")
    assert found["near-duplicate"].examples == ("I1 = I4",)
