"""Splits by lesion: nothing leaks, every class is everywhere, and the same table gives the same split."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dermdemo.data.readable import prepare
from dermdemo.data.sources import SPLITS, LesionTable
from dermdemo.data.splits import (
    FRACTIONS,
    Fingerprints,
    NearDuplicate,
    Split,
    _apportion,
    fingerprint,
    join_groups,
    label_subset,
    make_split,
    near_duplicates,
)
from dermdemo.errors import DataError
from tests.data.layouts import encoded, table_of, table_of_images, write_images

CLASSES = ("a", "b", "c")


@st.composite
def tables(draw: st.DrawFn, *, pure: bool = True, least: int = 1) -> LesionTable:
    """Groups of one to three images; `pure`: one label per group."""
    counts = [draw(st.integers(least, least + 12)) for _ in CLASSES]
    rows = []
    for label, count in zip(CLASSES, counts, strict=True):
        for k in range(count):
            for _ in range(draw(st.integers(1, 3))):
                rows.append((f"{label}{k}", label if pure else draw(st.sampled_from(CLASSES))))
    groups, labels = zip(*draw(st.permutations(rows)), strict=True)
    return table_of(groups, labels)


def homes(table: LesionTable, split: Split) -> dict[str, set[str]]:
    """Splits in which each group stands."""
    found: dict[str, set[str]] = {}
    for group, name in zip(table.frame["group"], split.names, strict=True):
        found.setdefault(group, set()).add(name)
    return found


@settings(max_examples=40)
@given(tables(pure=False), st.integers(0, 5))
def test_no_group_stands_in_two_splits(table: LesionTable, seed: int) -> None:
    split = make_split(table, seed=seed)
    assert all(len(where) == 1 for where in homes(table, split).values())
    assert set(split.names) <= set(SPLITS)
    assert sorted(i for s in SPLITS for i in split.rows(s)) == list(range(len(table)))


@settings(max_examples=40)
@given(tables(least=4), st.integers(0, 5))
def test_every_class_is_in_every_split_from_four_groups_on(table: LesionTable, seed: int) -> None:
    split = make_split(table, seed=seed)
    found = set(zip(table.frame["label"], split.names, strict=True))
    assert found == {(c, s) for c in CLASSES for s in SPLITS}


@settings(max_examples=40)
@given(tables(), st.integers(0, 5), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(table: LesionTable, seed: int, random: object) -> None:
    order = list(range(len(table)))
    random.shuffle(order)  # type: ignore[attr-defined]
    frame = table.frame.iloc[order].reset_index(drop=True)
    turned = LesionTable(table.name, frame, table.classes, table.reader)
    split, again = make_split(table, seed=seed), make_split(turned, seed=seed)
    assert again.hash == split.hash
    assert again.names == tuple(split.names[i] for i in order)
    rows = [r for r in range(len(table)) if split.names[r] == "train"]
    turned_rows = [k for k, i in enumerate(order) if split.names[i] == "train"]
    subset = {table.frame["image_id"].iat[r] for r in label_subset(table, rows, 0.5, seed=seed)}
    assert subset == {frame["image_id"].iat[k] for k in label_subset(turned, turned_rows, 0.5, seed=seed)}


@given(st.integers(0, 500), st.lists(st.floats(0.05, 1.0), min_size=1, max_size=6))
def test_shares_add_up_and_stay_near_their_fraction(total: int, fractions: list[float]) -> None:
    counts = _apportion(total, fractions)
    assert sum(counts) == total
    assert min(counts) >= (1 if total >= len(counts) else 0)
    for count, fraction in zip(counts, fractions, strict=True):
        assert abs(count - total * fraction / sum(fractions)) < len(fractions)


def test_shares_of_a_large_table_are_the_documented_ones() -> None:
    table = table_of([f"g{i}" for i in range(1000)], ["a", "b"] * 500)
    split = make_split(table)
    assert Counter(split.names) == {s: round(1000 * f) for s, f in FRACTIONS.items()}


def test_seeds_give_different_splits_and_hashes() -> None:
    table = table_of([f"g{i}" for i in range(60)], ["a"] * 60)
    splits = [make_split(table, seed=s) for s in range(4)]
    assert len({s.hash for s in splits}) == 4
    assert make_split(table, seed=0).hash == splits[0].hash


def test_the_hash_follows_every_assignment() -> None:
    table = table_of(["g0", "g1"], ["a", "a"], split=["train", "test"])
    other = table_of(["g0", "g1"], ["a", "a"], split=["train", "val"])
    assert make_split(table).hash != make_split(other).hash


def test_a_split_column_is_respected() -> None:
    wanted = ["test", "train", "val", "calib", "train"]
    table = table_of([f"g{i}" for i in range(5)], ["a"] * 5, split=wanted)
    assert make_split(table, seed=3).names == tuple(wanted)


def test_unknown_split_names_are_refused() -> None:
    split = make_split(table_of(["g"], ["a"]))
    with pytest.raises(DataError, match="Unknown split dev"):
        split.rows("train", "dev")


def test_a_split_is_saved_with_ids_and_groups(tmp_path: Path) -> None:
    table = table_of(["g0", "g0", "g1"], ["a", "a", "b"])
    split = make_split(table)
    split.save(tmp_path / "split.csv", table)
    with (tmp_path / "split.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [r["image_id"] for r in rows] == table.frame["image_id"].tolist()
    assert tuple(r["split"] for r in rows) == split.names


# -- near-duplicates
def test_the_same_picture_in_two_groups_is_found() -> None:
    table = table_of_images([1, 2, 1, 3, 2, 2], ["A", "B", "C", "D", "B", "E"], ["a"] * 6)
    found = near_duplicates(fingerprint(table), table.frame["group"])
    assert {(d.first, d.second) for d in found} == {(0, 2), (1, 5), (4, 5)}  # 1 and 4 share a group
    assert all(d.distance == 0 and d.correlation == pytest.approx(1.0, abs=1e-4) for d in found)


@pytest.mark.parametrize("chunk", [1, 2, 5, 256])
def test_the_search_does_not_depend_on_its_chunks(chunk: int) -> None:
    table = table_of_images([1, 2, 1, 3, 2], [f"g{i}" for i in range(5)], ["a"] * 5)
    found = near_duplicates(fingerprint(table), table.frame["group"], chunk=chunk)
    assert [(d.first, d.second) for d in found] == [(0, 2), (1, 4)]


def test_near_duplicates_of_other_groups_stay_on_one_side() -> None:
    seeds = [i // 2 for i in range(60)]  # pairs of groups with the same picture
    table = table_of_images(seeds, [f"g{i}" for i in range(60)], ["a", "b", "c"] * 20)
    alone = make_split(table, seed=1)
    torn = sum(alone.names[2 * k] != alone.names[2 * k + 1] for k in range(30))
    assert torn > 0  # without fingerprints they would be torn apart
    split = make_split(table, seed=1, prints=fingerprint(table))
    assert len(split.duplicates) == 30
    assert all(split.names[2 * k] == split.names[2 * k + 1] for k in range(30))


def test_duplicates_across_a_given_split_are_reported_not_moved() -> None:
    table = table_of_images([7, 7], ["g0", "g1"], ["a", "a"])
    table.frame["split"] = ["train", "test"]
    split = make_split(table, prints=fingerprint(table))
    assert split.names == ("train", "test")
    assert [(d.first, d.second) for d in split.duplicates] == [(0, 1)]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=12))
def test_joining_groups_is_an_equivalence(pairs: list[tuple[int, int]]) -> None:
    groups = [f"g{i}" for i in range(10)]
    joined = join_groups(groups, [NearDuplicate(a, b, 0, 1.0) for a, b in pairs])
    components: list[set[int]] = [{i} for i in range(10)]
    for a, b in pairs:
        left, right = (next(c for c in components if x in c) for x in (a, b))
        if left is not right:
            components.remove(right)
            left |= right
    for component in components:
        assert len({joined[i] for i in component}) == 1
    assert len(set(joined)) == len(components)


def test_unreadable_images_are_listed_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_images(tmp_path, [f"nv/{i}.jpg" for i in range(6)])
    (tmp_path / "nv" / "3.jpg").write_bytes(b"\xff\xd8\xff\xe0 broken")
    table, split = prepare(str(tmp_path), split_seed=0)
    assert "1 unreadable images are left out" in capsys.readouterr().err
    assert len(table) == len(split.names) == 5
    assert "nv/3.jpg" not in set(table.frame["image_id"])
    for name in ("0", "1", "2", "4", "5"):
        (tmp_path / "nv" / f"{name}.jpg").write_bytes(b"")
    with pytest.raises(DataError, match="None of the 6 images"):
        prepare(str(tmp_path), split_seed=0)


def test_fingerprints_of_kept_rows_are_renumbered() -> None:
    table = table_of_images([1, 2, 3, 4], list("abcd"), ["a"] * 4)
    prints = fingerprint(table)
    marked = Fingerprints(prints.hashes, prints.thumbs, {2: "broken"})
    kept = marked.take([False, True, True, True])
    assert kept.unreadable == {1: "broken"}
    assert np.array_equal(kept.hashes, prints.hashes[1:])
    assert np.array_equal(kept.take([True, False, True]).thumbs, prints.thumbs[[1, 3]])


def test_unreadable_rows_are_no_duplicates_of_each_other() -> None:
    table = table_of(["a", "b", "c"], ["x"] * 3)  # nothing can be read
    prints = fingerprint(table)
    assert set(prints.unreadable) == {0, 1, 2}
    assert near_duplicates(prints, table.frame["group"]) == []


def test_a_jpeg_of_the_same_picture_is_a_near_duplicate() -> None:
    bytes_of = {"0": encoded(5, "PNG", (200, 150)), "1": encoded(5, "JPEG", (100, 75))}
    made = table_of_images([0, 1], ["A", "B"], ["a", "a"])
    table = LesionTable("x", made.frame, made.classes, bytes_of.__getitem__)
    assert len(near_duplicates(fingerprint(table), table.frame["group"])) == 1


# -- label subsets
@settings(max_examples=40)
@given(tables(), st.lists(st.floats(0.01, 1.0), min_size=2, max_size=4), st.integers(0, 5))
def test_label_subsets_are_nested_and_hold_every_class(
    table: LesionTable, fractions: list[float], seed: int
) -> None:
    rows = list(range(len(table)))
    subsets = [set(label_subset(table, rows, f, seed=seed)) for f in sorted(fractions)]
    for smaller, larger in zip(subsets, subsets[1:], strict=False):
        assert smaller <= larger
    for subset in subsets:
        assert {table.frame["label"].iat[r] for r in subset} == set(table.frame["label"])
        groups = {table.frame["group"].iat[r] for r in subset}
        assert subset == {r for r in rows if table.frame["group"].iat[r] in groups}  # whole groups


def test_the_whole_fraction_is_everything_in_order() -> None:
    table = table_of(["g0", "g1", "g0"], ["a", "b", "a"])
    assert label_subset(table, [2, 0, 1], 1.0) == [2, 0, 1]


@pytest.mark.parametrize("fraction", [0.0, -0.5, 1.01])
def test_fractions_outside_their_range_are_refused(fraction: float) -> None:
    with pytest.raises(DataError, match="label fraction"):
        label_subset(table_of(["g"], ["a"]), [0], fraction)
