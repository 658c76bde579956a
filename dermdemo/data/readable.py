"""A source made ready for work: unreadable images left out, split by lesion."""

from __future__ import annotations

import sys

from dermdemo.data.sources import LesionTable, load_source
from dermdemo.data.splits import Split, fingerprint, make_split
from dermdemo.errors import DataError


def prepare(source: str, *, split_seed: int) -> tuple[LesionTable, Split]:
    """Load a source without its unreadable images (said on stderr), and split it by lesion.

    Raises:
        DataError: nothing there, or nothing readable.
    """
    table = load_source(source)
    prints = fingerprint(table)
    if prints.unreadable:
        if len(prints.unreadable) == len(table):
            raise DataError(f"None of the {len(table)} images of '{table.name}' can be decoded.")
        print(f"{len(prints.unreadable)} unreadable images are left out; `data audit` lists them.", file=sys.stderr)
        keep = [i not in prints.unreadable for i in range(len(table))]
        table, prints = table.take(keep), prints.take(keep)
    return table, make_split(table, seed=split_seed, prints=prints)
