"""`data audit`: what a source holds and what is wrong with it, before anything is trained on it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from dermdemo.data.sources import SPLITS, LesionTable, Problem
from dermdemo.data.splits import fingerprint, make_split
from dermdemo.diagnoses import full_name

UNKNOWN = {"", "unknown", "nan", "none", "na"}
RESERVED = {"image_id", "label", "group", "locator", "split"}


@dataclass(frozen=True)
class Audit:
    """Counts of a source, its problems, and the split it would get.

    `classes` and `split_table` count images and groups; `missing` counts empty or unknown cells.
    """

    name: str
    images: int
    groups: int
    classes: Mapping[str, Mapping[str, int]]
    missing: Mapping[str, int]
    problems: tuple[Problem, ...]
    split_table: Mapping[str, Mapping[str, int]]
    split_hash: str
    data_hash: str

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2)

    def to_text(self) -> str:
        lines = [f"{self.name}: {self.images} images of {self.groups} groups", "", "classes"]
        lines += [f"  {k:<8}{full_name(k):<40}{v['images']:>7} images{v['groups']:>7} groups"
                  for k, v in self.classes.items()]
        lines += ["", "missing metadata"]
        lines += [f"  {k:<20}{v:>7}" for k, v in self.missing.items()] or ["  no metadata columns"]
        lines += ["", "problems"]
        lines += [f"  {p.count:>6} {p.message} (e.g. {', '.join(p.examples[:3])})" for p in self.problems]
        lines += [] if self.problems else ["  none"]
        lines += ["", "split (images by class)", " " * 10 + "".join(f"{c:>8}" for c in self.classes) + "  groups"]
        for split, row in self.split_table.items():
            counts = "".join(f"{row.get(c, 0):>8}" for c in self.classes)
            lines.append(f"  {split:<8}{counts}{row['groups']:>8}")
        return "\n".join([*lines, "", f"split hash {self.split_hash[:16]}, data hash {self.data_hash[:16]}"])


def audit(table: LesionTable, *, split_seed: int = 0) -> Audit:
    """Decode every image once, look for duplicates, and count."""
    prints = fingerprint(table)
    split = make_split(table, seed=split_seed, prints=prints)
    frame, ids = table.frame, table.frame["image_id"]
    problems = list(table.problems)
    if prints.unreadable:
        examples = [f"{ids.iat[r]}: {message}" for r, message in list(prints.unreadable.items())[:5]]
        problems.append(Problem("unreadable", len(prints.unreadable), tuple(examples), "unreadable images"))
    if split.duplicates:
        pairs = tuple(f"{ids.iat[d.first]} = {ids.iat[d.second]}" for d in split.duplicates[:5])
        problems.append(Problem("near-duplicate", len(split.duplicates), pairs,
                                "near-duplicate pairs across groups; they are kept on one side of the split"))
        torn = [d for d in split.duplicates if split.names[d.first] != split.names[d.second]]
        if torn:
            problems.append(Problem("duplicate-across-splits", len(torn), pairs,
                                    "near-duplicate pairs that the given split column tears apart"))
    by_class = {c: frame[frame["label"] == c] for c in table.classes}
    return Audit(
        table.name, len(frame), int(frame["group"].nunique()),
        {c: {"images": len(part), "groups": int(part["group"].nunique())} for c, part in by_class.items()},
        missing_metadata(table), tuple(problems), _split_table(table, split.names), split.hash, table.data_hash())


def missing_metadata(table: LesionTable) -> dict[str, int]:
    """Empty or unknown cells per metadata column."""
    columns = [c for c in table.frame.columns if c not in RESERVED]
    cells = {c: table.frame[c].astype(object).where(table.frame[c].notna(), "") for c in columns}
    return {c: int(v.astype(str).str.strip().str.lower().isin(UNKNOWN).sum()) for c, v in cells.items()}


def _split_table(table: LesionTable, names: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    frame = table.frame.assign(split=list(names))
    out = {}
    for split in SPLITS:
        part = frame[frame["split"] == split]
        out[split] = {**part["label"].value_counts().to_dict(), "groups": int(part["group"].nunique())}
    return out
