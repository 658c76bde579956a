"""Splits by lesion, near-duplicates kept on one side, and nested label subsets.

train / val / calib / test = 60 / 10 / 10 / 20 by group, stratified by label, seeded: val chooses,
calib fits temperature and thresholds, test is read once per finished model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from dermdemo.data.images import decode_image
from dermdemo.data.sources import SPLITS, LesionTable
from dermdemo.errors import DataError, ImageError

FRACTIONS: Mapping[str, float] = {"train": 0.6, "val": 0.1, "calib": 0.1, "test": 0.2}
HASH_SIDE = 16
MAX_HASH_DISTANCE = 64
MIN_CORRELATION = 0.99


@dataclass(frozen=True)
class NearDuplicate:
    """Two rows of different groups that show the same picture."""

    first: int
    second: int
    distance: int
    correlation: float


@dataclass(frozen=True)
class Fingerprints:
    """Perceptual fingerprints of a table's rows; unreadable rows are listed, not fingerprinted.

    `hashes` is (N, 8) uint64: a difference hash of 512 bits (16 x 16, both directions).
    `thumbs` is (N, 1024) float32: 32 x 32 grey thumbnails, zero mean, unit variance.
    """

    hashes: np.ndarray
    thumbs: np.ndarray
    unreadable: dict[int, str]

    def take(self, keep: Sequence[bool]) -> Fingerprints:
        """Those of the kept rows, renumbered."""
        kept = [i for i, k in enumerate(keep) if k]
        unreadable = {new: self.unreadable[old] for new, old in enumerate(kept) if old in self.unreadable}
        return Fingerprints(self.hashes[kept], self.thumbs[kept], unreadable)


@dataclass(frozen=True)
class Split:
    """One split name per row, and a hash that identifies the whole assignment."""

    names: tuple[str, ...]
    hash: str
    seed: int
    duplicates: tuple[NearDuplicate, ...] = ()

    def rows(self, *wanted: str) -> list[int]:
        """Row numbers of the named splits, in table order."""
        unknown = set(wanted) - set(SPLITS)
        if unknown:
            raise DataError(f"Unknown split {', '.join(sorted(unknown))}: choose from {', '.join(SPLITS)}.")
        return [i for i, name in enumerate(self.names) if name in wanted]

    def save(self, path: Path, table: LesionTable) -> None:
        """Write image_id, group, split as CSV."""
        frame = table.frame[["image_id", "group"]].assign(split=list(self.names))
        frame.to_csv(path, index=False, lineterminator="\n")


def fingerprint(table: LesionTable) -> Fingerprints:
    """Decode every image once and take its difference hash and thumbnail."""
    hashes = np.zeros((len(table), HASH_SIDE * HASH_SIDE * 2 // 64), np.uint64)
    thumbs = np.zeros((len(table), 32 * 32), np.float32)
    unreadable: dict[int, str] = {}

    def one(row: int) -> None:
        try:
            image = decode_image(table.read(row), name=str(table.frame["image_id"].iat[row])).pixels.convert("L")
        except (ImageError, DataError) as error:
            unreadable[row] = str(error)
            return
        hashes[row], thumbs[row] = _hash(image), _thumb(image)

    with ThreadPoolExecutor() as pool:
        list(pool.map(one, range(len(table)), chunksize=64))
    return Fingerprints(hashes, thumbs, dict(sorted(unreadable.items())))


def _hash(image: Image.Image) -> np.ndarray:
    """Difference hash in both directions. Source: N. Krawetz, 'Kind of like that', 2013."""
    n = HASH_SIDE
    wide = np.asarray(image.resize((n + 1, n), Image.Resampling.BILINEAR), np.int16)
    tall = np.asarray(image.resize((n, n + 1), Image.Resampling.BILINEAR), np.int16)
    bits = np.concatenate([(wide[:, 1:] > wide[:, :-1]).ravel(), (tall[1:] > tall[:-1]).ravel()])
    return np.packbits(bits).view(np.uint64)


def _thumb(image: Image.Image) -> np.ndarray:
    pixels = np.asarray(image.resize((32, 32), Image.Resampling.BILINEAR), np.float32).ravel()
    pixels = pixels - pixels.mean()
    return pixels / max(float(pixels.std()), 1e-6)


def near_duplicates(prints: Fingerprints, groups: Sequence[str], *, chunk: int = 256) -> list[NearDuplicate]:
    """Pairs of rows in different groups with a close hash and an almost equal thumbnail.

    The hash alone is no proof on dermoscopy: a dark vignette around a small spot gives distances
    below 30 of 512 between strangers; the correlation of the thumbnails decides.
    """
    codes = pd.factorize(pd.Series(list(groups)))[0]
    usable = np.array([i not in prints.unreadable for i in range(len(codes))])
    found = []
    for start in range(0, len(codes), chunk):
        block = slice(start, start + chunk)
        distance = np.bitwise_count(prints.hashes[block, None] ^ prints.hashes[None]).sum(-1, dtype=np.int32)
        close = (distance <= MAX_HASH_DISTANCE) & (codes[block, None] != codes[None]) & usable[block, None] & usable
        for i, j in zip(*np.nonzero(close), strict=True):
            first, second = int(i) + start, int(j)
            if first < second:
                correlation = float((prints.thumbs[first] * prints.thumbs[second]).mean())
                if correlation >= MIN_CORRELATION:
                    found.append(NearDuplicate(first, second, int(distance[i, j]), correlation))
    return found


def make_split(table: LesionTable, *, seed: int = 0, prints: Fingerprints | None = None,
               fractions: Mapping[str, float] = FRACTIONS) -> Split:
    """Assign every row to a split.

    A split column of the source is respected as it is (a near-duplicate across it is reported, not
    moved). Otherwise groups tied by near-duplicates are joined and dealt out per label.

    Args:
        prints: fingerprints; without them near-duplicates are not looked for.
    """
    duplicates = near_duplicates(prints, table.frame["group"]) if prints else []
    if "split" in table.frame:
        names = tuple(table.frame["split"])
    else:
        joined = join_groups(table.frame["group"].tolist(), duplicates)
        names = _deal(joined, table.frame["label"].tolist(), seed, fractions)
    return Split(names, split_hash(table.frame["image_id"], names), seed, tuple(duplicates))


def split_hash(image_ids: Sequence[str] | pd.Series, names: Sequence[str]) -> str:
    """SHA-256 over sorted `image_id,split` lines."""
    lines = sorted(f"{i},{s}" for i, s in zip(image_ids, names, strict=True))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def join_groups(groups: Sequence[str], duplicates: Sequence[NearDuplicate]) -> list[str]:
    """Group name per row after merging groups that share a near-duplicate (union-find)."""
    parent = {g: g for g in groups}

    def root(g: str) -> str:
        while parent[g] != g:
            parent[g] = parent[parent[g]]
            g = parent[g]
        return g

    for pair in duplicates:
        a, b = sorted((root(groups[pair.first]), root(groups[pair.second])))
        parent[b] = a
    return [root(g) for g in groups]


def _group_labels(groups: Sequence[str], labels: Sequence[str]) -> pd.Series:
    """Most frequent label of each group (alphabetical on a tie), indexed by group, sorted."""
    counts = pd.DataFrame({"group": groups, "label": labels}).value_counts(["group", "label"]).reset_index()
    counts = counts.sort_values(["group", "count", "label"], ascending=[True, False, True])
    return counts.drop_duplicates("group").set_index("group")["label"]


def _shuffled(members: Sequence[str], seed: int, label: str, purpose: str) -> list[str]:
    """Members in a seeded order that depends on each name only: adding a group moves no other."""
    return sorted(members, key=lambda g: hashlib.sha256(f"{purpose}/{seed}/{label}/{g}".encode()).digest())


def _deal(groups: Sequence[str], labels: Sequence[str], seed: int, fractions: Mapping[str, float]
          ) -> tuple[str, ...]:
    """Per label, groups in seeded order, cut at the cumulative fractions; every split gets one if it can."""
    home: dict[str, str] = {}
    for label, part in _group_labels(groups, labels).groupby(_group_labels(groups, labels)):
        order = _shuffled(list(part.index), seed, str(label), "split")
        counts = _apportion(len(order), list(fractions.values()))
        start = 0
        for name, count in zip(fractions, counts, strict=True):
            home |= dict.fromkeys(order[start:start + count], name)
            start += count
    return tuple(home[g] for g in groups)


def _apportion(total: int, fractions: Sequence[float]) -> list[int]:
    """Whole numbers near total x fraction that add up to `total`; none is 0 while `total` allows it."""
    exact = [total * f / sum(fractions) for f in fractions]
    counts = [int(e) for e in exact]
    by_remainder = sorted(range(len(exact)), key=lambda i: counts[i] - exact[i])
    for i in by_remainder[:total - sum(counts)]:
        counts[i] += 1
    if total >= len(counts):
        for i, count in enumerate(counts):
            if count == 0:
                counts[counts.index(max(counts))] -= 1
                counts[i] = 1
    return counts


def label_subset(table: LesionTable, rows: Sequence[int], fraction: float, *, seed: int = 0) -> list[int]:
    """Rows of a fraction of the groups: nested in `fraction`, at least one group of each class.

    Raises:
        DataError: the fraction is outside (0, 1].
    """
    if not 0 < fraction <= 1:
        raise DataError(f"A label fraction must lie in (0, 1], not {fraction}.")
    groups = [table.frame["group"].iat[r] for r in rows]
    labels = [table.frame["label"].iat[r] for r in rows]
    kept: set[str] = set()
    group_labels = _group_labels(groups, labels)
    for label, part in group_labels.groupby(group_labels):
        order = _shuffled(list(part.index), seed, str(label), "subset")
        kept |= set(order[:max(1, round(fraction * len(order)))])
    return [r for r, g in zip(rows, groups, strict=True) if g in kept]
