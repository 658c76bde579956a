"""Procedural lesions: repeatable, distinct, and written as a data set that the package reads."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dermdemo.data.images import decode_file
from dermdemo.data.sources import load_source
from dermdemo.data.synthetic import COLUMNS, synthetic_lesion, write_synthetic
from dermdemo.diagnoses import HAM10000_CLASSES
from dermdemo.errors import ConfigError


def features(label: str, seed: int) -> np.ndarray:
    """(189,) colours of a 9 x 7 thumbnail."""
    thumbnail = synthetic_lesion(label, seed, (96, 72)).resize((9, 7), Image.Resampling.BOX)
    return np.asarray(thumbnail, dtype=float).ravel()


@pytest.mark.parametrize("label", HAM10000_CLASSES)
def test_a_lesion_is_repeatable_and_stands_out_from_its_skin(label: str) -> None:
    first, again = synthetic_lesion(label, 3), synthetic_lesion(label, 3)
    assert (first.mode, first.size) == ("RGB", (200, 150))
    assert np.array_equal(np.asarray(first), np.asarray(again))
    assert not np.array_equal(np.asarray(first), np.asarray(synthetic_lesion(label, 4)))
    contrasts = []
    for seed in range(6):
        pixels = np.asarray(synthetic_lesion(label, seed), dtype=float)
        skin = np.median(pixels[50:100, [*range(12), *range(188, 200)]], axis=(0, 1))
        contrasts.append(np.abs(pixels[50:100, 70:130] - skin).mean())
    assert np.median(contrasts) > 8


def test_the_same_seed_gives_other_pictures_for_other_labels() -> None:
    pictures = [np.asarray(synthetic_lesion(label, 0)).tobytes() for label in HAM10000_CLASSES]
    assert len(set(pictures)) == len(HAM10000_CLASSES)


def test_classes_can_be_learned_but_not_from_one_example() -> None:
    train = {c: np.stack([features(c, s) for s in range(15)]) for c in HAM10000_CLASSES}
    centres = np.stack([train[c].mean(axis=0) for c in HAM10000_CLASSES])
    hits = [
        HAM10000_CLASSES[int(np.linalg.norm(centres - features(c, s), axis=1).argmin())] == c
        for c in HAM10000_CLASSES
        for s in range(100, 112)
    ]
    assert 0.4 < np.mean(hits) < 1  # chance is 0.14
    within = np.mean([train[c].std(axis=0).mean() for c in HAM10000_CLASSES])
    assert within > 5  # grey levels: no class is one picture


@pytest.mark.parametrize("size", [(16, 16), (64, 48), (48, 64), (300, 40), (450, 450)])
def test_any_size(size: tuple[int, int]) -> None:
    for label in HAM10000_CLASSES:
        assert synthetic_lesion(label, 1, size).size == size


def test_what_cannot_be_drawn_is_named() -> None:
    with pytest.raises(ConfigError, match="'wart'"):
        synthetic_lesion("wart", 0)
    with pytest.raises(ConfigError, match="16 pixels"):
        synthetic_lesion("nv", 0, (200, 15))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_synthetic(tmp_path_factory.mktemp("ham") / "new" / "folder", n_lesions=120, seed=5)


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "HAM10000_metadata.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_metadata_is_laid_out_like_ham10000(dataset: Path) -> None:
    rows = rows_of(dataset)
    assert tuple(rows[0]) == COLUMNS
    assert [r["image_id"] for r in rows] == [f"SYN_{i:07d}" for i in range(len(rows))]
    assert len({r["lesion_id"] for r in rows}) == 120
    ages = [r["age"] for r in rows]
    assert 0 < ages.count("") < len(ages) / 4
    assert all(0 < float(a) <= 85 and float(a) % 5 == 0 for a in ages if a)
    for column in ("dx", "age", "sex", "localization"):  # one lesion, one description
        assert len({(r["lesion_id"], r[column]) for r in rows}) == 120


def test_frequencies_are_skewed_with_five_lesions_of_each_class(dataset: Path) -> None:
    lesions = Counter({r["lesion_id"]: r["dx"] for r in rows_of(dataset)}.values())
    assert set(lesions) == set(HAM10000_CLASSES)
    assert min(lesions.values()) >= 5
    assert lesions.most_common(1)[0][0] == "nv"
    assert lesions["nv"] > 0.4 * 120


def test_some_lesions_have_two_or_three_images_that_differ(dataset: Path) -> None:
    rows = rows_of(dataset)
    shots = Counter(r["lesion_id"] for r in rows)
    assert set(shots.values()) == {1, 2, 3}
    twice = next(lesion for lesion, n in shots.items() if n > 1)
    ids = [r["image_id"] for r in rows if r["lesion_id"] == twice]
    first, second = (np.asarray(decode_file(dataset / "images" / f"{i}.jpg").pixels, float) for i in ids[:2])
    assert 2 < np.abs(first - second).mean() < 60


def test_the_package_reads_what_it_wrote(dataset: Path) -> None:
    table = load_source(dataset)
    assert table.classes == HAM10000_CLASSES
    assert len(table.frame) == len(rows_of(dataset)) == len(list((dataset / "images").iterdir()))
    assert table.frame["group"].nunique() == 120


@pytest.mark.parametrize(("n_lesions", "smallest"), [(7, 1), (20, 2), (70, 5)])
def test_class_folders(tmp_path: Path, n_lesions: int, smallest: int) -> None:
    folder = write_synthetic(tmp_path, n_lesions=n_lesions, layout="folders")
    assert sorted(p.name for p in folder.iterdir()) == sorted(HAM10000_CLASSES)
    assert min(len(list(p.iterdir())) for p in folder.iterdir()) >= smallest
    assert set(load_source(folder).frame["label"]) == set(HAM10000_CLASSES)


def test_writing_is_repeatable(tmp_path: Path) -> None:
    first, again, other = (
        write_synthetic(tmp_path / name, n_lesions=8, seed=seed)
        for name, seed in [("a", 1), ("b", 1), ("c", 2)]
    )
    files = sorted(p.relative_to(first) for p in first.rglob("*") if p.is_file())
    assert len(files) >= 9
    for path in files:
        assert (first / path).read_bytes() == (again / path).read_bytes()
    image = Path("images/SYN_0000000.jpg")
    assert (first / image).read_bytes() != (other / image).read_bytes()


def test_impossible_requests_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least 7"):
        write_synthetic(tmp_path, n_lesions=6)
    with pytest.raises(ConfigError, match="'zip'"):
        write_synthetic(tmp_path, n_lesions=7, layout="zip")  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
