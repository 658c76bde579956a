"""Every layout a data set may arrive in, and every way one can be unusable."""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from dermdemo.data.sources import LesionTable, ZipReader, load_source
from dermdemo.diagnoses import HAM10000_CLASSES
from dermdemo.errors import DataError
from tests.data.layouts import ROWS, encoded, pixels, write_csv, write_images, write_zip

NAMES = [f"{row['image_id']}.jpg" for row in ROWS]


def groups_of(table: LesionTable) -> dict[str, str]:
    return dict(zip(table.frame["image_id"], table.frame["group"], strict=True))


def labels_of(table: LesionTable) -> dict[str, str]:
    return dict(zip(table.frame["image_id"], table.frame["label"], strict=True))


def problem(table: LesionTable, kind: str) -> tuple[int, tuple[str, ...]]:
    (found,) = [p for p in table.problems if p.kind == kind]
    return found.count, found.examples


def assert_readable(table: LesionTable, seeds: list[int]) -> None:
    """Each row gives the bytes that were written for it."""
    for row, seed in enumerate(seeds):
        assert table.read(row) == encoded(seed, "JPEG")


# -- HAM10000 and ISIC
def make_loose(folder: Path) -> Path:
    write_images(folder, NAMES)
    write_csv(folder / "meta.csv", ROWS)
    return folder


def make_nested(folder: Path) -> Path:
    write_images(folder, [f"part_{i % 2}/deep/{name}" for i, name in enumerate(NAMES)])
    write_csv(folder / "meta.csv", ROWS)
    return folder


def make_zip_folder(folder: Path) -> Path:
    write_zip(folder / "images.zip", NAMES)
    write_csv(folder / "meta.csv", ROWS)
    return folder


def make_zip_nested(folder: Path) -> Path:
    write_zip(folder / "images.zip", [f"HAM/part 1/{name}" for name in NAMES])
    write_csv(folder / "meta.csv", ROWS)
    return folder / "images.zip"


def make_two_zips(folder: Path) -> Path:
    for half in (0, 1):
        names = [name if i // 2 == half else f"other-{i}.jpg" for i, name in enumerate(NAMES)]
        write_zip(folder / f"part_{half}.zip", names)
    return write_csv(folder / "meta.csv", ROWS)


def make_strange_name(folder: Path) -> Path:
    write_zip(folder / "a!b" / "im!ages.zip", [f"x!y/{name}" for name in NAMES])
    write_csv(folder / "a!b" / "meta.csv", ROWS)
    return folder / "a!b"


def make_named_csv(folder: Path) -> Path:
    make_loose(folder)
    write_csv(folder / "other.csv", ROWS)
    return folder / "meta.csv"


@pytest.mark.parametrize("make", [make_loose, make_nested, make_zip_folder, make_zip_nested, make_two_zips,
                                  make_strange_name, make_named_csv])  # fmt: skip
def test_a_metadata_csv_beside_images(make: Callable[[Path], Path], tmp_path: Path) -> None:
    table = load_source(make(tmp_path / "ham"))
    assert groups_of(table) == {row["image_id"]: row["lesion_id"] for row in ROWS}
    assert labels_of(table) == {row["image_id"]: row["dx"] for row in ROWS}
    assert table.classes == HAM10000_CLASSES
    assert table.problems == ()
    assert_readable(table, [0, 1, 2, 3])


def test_metadata_is_carried_along_and_ages_are_numbers(tmp_path: Path) -> None:
    frame = load_source(make_loose(tmp_path)).frame
    assert frame["sex"].tolist() == ["male", "male", "female", "female"]
    assert frame["age"].tolist()[:2] == [40.0, 40.0]
    assert frame["age"].isna().tolist() == [False, False, True, True]


def test_isic_names_of_columns(tmp_path: Path) -> None:
    rows = [{"isic_id": "A", "diagnosis": "mel", "patient_id": "P1"}, {"isic_id": "B", "diagnosis": "nv",
                                                                      "patient_id": "P1"}]  # fmt: skip
    write_images(tmp_path, ["A.jpg", "B.jpg"])
    write_csv(tmp_path / "isic.csv", rows)
    table = load_source(tmp_path)
    assert groups_of(table) == {"A": "P1", "B": "P1"}
    assert problem(table, "mixed-labels") == (1, ("P1",))


def test_columns_that_already_have_the_tables_names_give_way(tmp_path: Path) -> None:
    rows = [{"image_id": "A", "dx": "mel", "label": "4", "lesion_id": "L1", "group": "control", "locator": "x"}]
    write_images(tmp_path, ["A.jpg"])
    write_csv(tmp_path / "meta.csv", rows)
    table = load_source(tmp_path)
    assert (labels_of(table), groups_of(table)) == ({"A": "mel"}, {"A": "L1"})
    assert table.read(0) == encoded(0, "JPEG")


def test_rows_without_an_image_are_counted(tmp_path: Path) -> None:
    write_images(tmp_path, NAMES[:2])
    write_csv(tmp_path / "meta.csv", ROWS)
    table = load_source(tmp_path)
    assert table.frame["image_id"].tolist() == ["I1", "I2"]
    assert problem(table, "missing-image") == (2, ("I3", "I4"))


# -- manifests
def manifest(folder: Path, rows: list[dict[str, str]]) -> Path:
    write_images(folder, [row["image"] for row in rows])
    return write_csv(folder / "manifest.csv", rows)


def test_a_manifest_with_paths_groups_and_splits(tmp_path: Path) -> None:
    rows = [{"image": f"a/{i}.jpg", "label": "xy"[i % 2], "group": f"g{i}", "split": s}
            for i, s in enumerate(("train", "val", "calib", "test"))]  # fmt: skip
    table = load_source(manifest(tmp_path, rows))
    assert table.classes == ("x", "y")
    assert table.frame["split"].tolist() == ["train", "val", "calib", "test"]
    assert table.labels() == [0, 1, 0, 1]
    assert_readable(table, [0, 1, 2, 3])


def test_a_manifest_without_groups_takes_every_image_for_itself(tmp_path: Path) -> None:
    table = load_source(manifest(tmp_path, [{"image": "1.jpg", "label": "a"}, {"image": "2.jpg", "label": "a"}]))
    assert groups_of(table) == {"1.jpg": "1.jpg", "2.jpg": "2.jpg"}


def test_images_without_a_label_are_counted_and_kept(tmp_path: Path) -> None:
    table = load_source(manifest(tmp_path, [{"image": "1.jpg", "label": "nv"}, {"image": "2.jpg", "label": ""}]))
    assert table.labels() == [HAM10000_CLASSES.index("nv"), -1]
    assert problem(table, "unlabelled") == (1, ("2.jpg",))


def test_a_vocabulary_can_be_given(tmp_path: Path) -> None:
    path = manifest(tmp_path, [{"image": "1.jpg", "label": "nv"}, {"image": "2.jpg", "label": "mel"}])
    assert load_source(path, classes=["mel", "nv", "scc"]).labels() == [1, 0]
    with pytest.raises(DataError, match=r"Unknown labels in .*: nv. Known: mel, bcc"):
        load_source(path, classes=["mel", "bcc"])


@pytest.mark.parametrize(("rows", "message"), [
    ([{"image": "1.jpg", "label": "a", "group": "g", "split": "train"},
      {"image": "2.jpg", "label": "a", "group": "g", "split": "test"}], "1 groups .* stand in two splits, such as g"),
    ([{"image": "1.jpg", "label": "a", "split": "dev"}], "Unknown splits .*: dev"),
    ([{"image": "1.jpg", "label": "a", "split": "train"}, {"image": "2.jpg", "label": "a", "split": ""}],
     "1 rows .* have no split"),
    ([{"image": "1.jpg", "label": "a"}, {"image": "1.jpg", "label": "b"}], "1 image ids occur twice"),
])  # fmt: skip
def test_tables_that_contradict_themselves(rows: list[dict[str, str]], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        load_source(manifest(tmp_path, rows))


# -- class folders
def test_one_folder_per_class(tmp_path: Path) -> None:
    write_images(tmp_path, ["mel/1.jpg", "nv/1.jpg", "nv/2.PNG"])
    (tmp_path / "nv" / "notes.txt").write_text("not an image")
    table = load_source(tmp_path)
    assert labels_of(table) == {"mel/1.jpg": "mel", "nv/1.jpg": "nv", "nv/2.PNG": "nv"}
    assert table.frame["group"].is_unique
    assert table.read(0) == encoded(0, "JPEG")


def test_folders_of_other_classes_give_their_own_vocabulary(tmp_path: Path) -> None:
    write_images(tmp_path, ["zebra/1.jpg", "ant/1.jpg"])
    assert load_source(tmp_path).classes == ("ant", "zebra")


# -- parquet
def parquet(path: Path, **columns: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(columns).to_parquet(path)
    return path


def test_parquet_with_bytes(tmp_path: Path) -> None:
    path = parquet(tmp_path / "d.parquet", webp=[encoded(0, "WEBP"), encoded(1, "WEBP")], wnid=["n2", "n1"],
                   file=["a", "b"], fold=[1, 2])  # fmt: skip
    table = load_source(path)
    assert (table.classes, table.labels()) == (("n1", "n2"), [1, 0])
    assert table.frame["image_id"].tolist() == ["a", "b"]
    assert table.frame["fold"].tolist() == [1, 2]
    assert table.read(1) == encoded(1, "WEBP")


def test_parquet_with_structs_and_no_ids(tmp_path: Path) -> None:
    images = [{"bytes": encoded(i), "path": None} for i in range(2)]
    table = load_source(parquet(tmp_path / "d.parquet", image=images, label=[7, 3]))
    assert table.classes == ("3", "7")
    assert table.frame["image_id"].tolist() == ["row-0", "row-1"]
    assert table.read(0) == encoded(0)


def test_shards_are_read_in_order(tmp_path: Path) -> None:
    for shard in range(3):
        parquet(tmp_path / f"s-{shard}.parquet", png=[encoded(shard)], label=[f"c{shard}"], id=[f"i{shard}"])
    table = load_source(tmp_path)
    assert table.frame["image_id"].tolist() == ["i0", "i1", "i2"]
    assert [table.read(i) for i in range(3)] == [encoded(i) for i in range(3)]


def test_lesions_in_parquet_stay_together(tmp_path: Path) -> None:
    """Without its groups a lesion with two images would leak across the split."""
    columns = {"image": [encoded(i) for i in range(3)], "image_id": ["a", "b", "c"], "dx": ["nv", "nv", "mel"]}
    table = load_source(parquet(tmp_path / "d.parquet", **columns, lesion_id=[1, 1, 2]))
    assert groups_of(table) == {"a": "1", "b": "1", "c": "2"}
    table = load_source(parquet(tmp_path / "d.parquet", **columns, lesion_id=[5.0, None, None]))
    assert groups_of(table) == {"a": "5.0", "b": "b", "c": "c"}


def test_missing_labels_in_parquet_are_no_class(tmp_path: Path) -> None:
    table = load_source(parquet(tmp_path / "d.parquet", png=[encoded(0), encoded(1)], label=["nv", None]))
    assert table.classes == HAM10000_CLASSES
    assert problem(table, "unlabelled")[0] == 1


@pytest.mark.parametrize("columns", [{"label": ["a"]}, {"png": [b"x"]}, {"other": [1]}])
def test_parquet_without_images_or_labels(columns: dict[str, list[object]], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="need encoded images"):
        load_source(parquet(tmp_path / "d.parquet", **columns))


# -- unusable
def garbage(name: str, data: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    return make


def csv_with(*rows: dict[str, str], images: tuple[str, ...] = ()) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        write_images(folder, images)
        return write_csv(folder / "meta.csv", rows)

    return make


def two_tables(folder: Path) -> Path:
    write_csv(folder / "a.csv", ROWS)
    write_csv(folder / "b.csv", ROWS)
    return folder


def unrelated_table(folder: Path) -> Path:
    write_csv(folder / "a.csv", [{"x": "1"}])
    return folder


def broken_zip(folder: Path) -> Path:
    write_csv(folder / "meta.csv", ROWS)
    (folder / "images.zip").write_bytes(b"PK\x03\x04 and no more")
    return folder


@pytest.mark.parametrize(("make", "message"), [
    (lambda folder: folder / "nowhere", "There is nothing at"),
    (lambda folder: folder, "Nothing usable in"),
    (garbage("notes.txt", b"hello"), "neither a CSV, a zip nor a parquet"),
    (garbage("d.parquet", b"PAR1 no"), "Cannot read the parquet shards"),
    (garbage("meta.csv", b""), "Cannot read meta.csv"),
    (garbage("meta.csv", b"\xff\xfe\x00\x01image\x80"), "Cannot read meta.csv|needs a column"),
    (garbage("meta.csv", b"image,label\n"), "has no usable image|is empty|No images"),
    (csv_with({"image": "1.jpg", "age": "3"}), "one for the label"),
    (csv_with({"dx": "nv"}), "needs a column for the image"),
    (csv_with({"image_id": "", "dx": "nv", "age": "3"}), "1 rows without an image"),
    (csv_with({"image_id": "I9", "dx": "nv"}), "No images in"),
    (csv_with({"image_id": "I9", "dx": "nv"}, images=("I1.jpg",)), "no usable image: rows without an image file"),
    (csv_with({"image": "1.jpg", "label": "nv"}), "no usable image"),
    (two_tables, "2 CSV files in"), (unrelated_table, "No CSV in"), (broken_zip, "not a readable zip"),
])  # fmt: skip
def test_what_cannot_be_used_says_why(make: Callable[[Path], Path], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        load_source(make(tmp_path))


# -- reading
def test_a_file_that_has_gone_is_named(tmp_path: Path) -> None:
    table = load_source(make_loose(tmp_path))
    (tmp_path / "I3.jpg").unlink()
    with pytest.raises(DataError, match=r"Cannot read .*I3\.jpg"):
        table.read(2)


def test_a_damaged_member_of_a_zip_is_named(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "images.zip", NAMES)
    write_csv(tmp_path / "meta.csv", ROWS)
    table = load_source(tmp_path)
    data = bytearray(path.read_bytes())
    at = data.index(encoded(1, "JPEG")) + 300
    data[at] ^= 255
    path.write_bytes(bytes(data))
    assert table.read(0) == encoded(0, "JPEG")
    with pytest.raises(DataError, match=r"Cannot read I2\.jpg from images\.zip"):
        table.read(1)


def test_an_encrypted_member_of_a_zip_is_named(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "images.zip", ["I1.jpg"])
    data = bytearray(path.read_bytes())
    data[6] |= 1  # the flag in the local header and in the directory
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(bytes(data))
    with pytest.raises(DataError, match="password"):
        ZipReader(path)("I1.jpg")


def test_a_zip_is_read_from_many_threads(tmp_path: Path) -> None:
    reader = ZipReader(write_zip(tmp_path / "images.zip", [f"{i}.jpg" for i in range(8)]))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: reader(f"{i % 8}.jpg"), range(64)))
    assert found == [encoded(i % 8, "JPEG") for i in range(64)]


# -- the table
def test_the_data_hash_follows_content_and_not_order(tmp_path: Path) -> None:
    table = load_source(make_loose(tmp_path))
    turned = LesionTable("x", table.frame.iloc[::-1].reset_index(drop=True), table.classes, table.reader)
    assert table.data_hash() == turned.data_hash()
    for column in ("image_id", "label", "group"):
        frame = table.frame.copy()
        frame.loc[0, column] = "other"
        assert LesionTable("x", frame, table.classes, table.reader).data_hash() != table.data_hash()


def test_take_keeps_rows_in_order(tmp_path: Path) -> None:
    table = load_source(make_loose(tmp_path)).take([False, True, False, True])
    assert table.frame["image_id"].tolist() == ["I2", "I4"]
    assert len(table) == 2
    assert_readable(table, [1, 3])


@pytest.mark.parametrize(("text", "lesions"), [("synthetic:14", 14), ("synthetic:21", 21)])
def test_synthetic_lesions_are_written_once(
    text: str, lesions: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DERMDEMO_HOME", str(tmp_path))
    table = load_source(text)
    assert table.name == f"synthetic-{lesions}"
    assert table.frame["group"].nunique() == lesions
    assert Image.open(io.BytesIO(table.read(0))).format == "JPEG"
    marker = tmp_path / "synthetic" / str(lesions) / "HAM10000_metadata.csv"
    before = marker.stat().st_mtime_ns
    assert load_source(text).data_hash() == table.data_hash()
    assert marker.stat().st_mtime_ns == before


def test_a_synthetic_source_of_nonsense_is_refused() -> None:
    with pytest.raises(DataError, match="synthetic or synthetic:210"):
        load_source("synthetic:many")


def test_pictures_of_different_seeds_differ() -> None:
    assert pixels(1).tobytes() != pixels(2).tobytes()
