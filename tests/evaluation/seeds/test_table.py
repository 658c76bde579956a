"""The table: what is written is read back, to six digits, and written again to the same bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dermdemo.errors import DataError
from dermdemo.evaluation.seeds.table import COLUMNS, Row, Table, from_csv, to_csv

FIGURES = st.none() | st.floats(allow_nan=False, allow_infinity=False, width=32)
COUNTS = st.none() | st.integers(0, 10**6)
TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=12)
ROWS = st.builds(Row, arm=TEXT, seed=TEXT, split=TEXT, metric=TEXT, scope=TEXT, value=FIGURES, low=FIGURES,
                 high=FIGURES, n_images=COUNTS, n_lesions=COUNTS, epoch=FIGURES)


@given(st.lists(ROWS, max_size=6))
def test_writing_and_reading_agree(rows: list[Row]) -> None:
    text = to_csv(rows)
    again = from_csv(text)
    assert to_csv(again.rows) == text
    for a, b in zip(rows, again.rows, strict=True):
        assert (a.arm, a.scope, a.n_images) == (b.arm, b.scope, b.n_images)
        assert (a.value is None) == (b.value is None)
        assert a.value is None or b.value == pytest.approx(a.value, rel=1e-5)


def test_figures_are_found_and_curves_kept_apart() -> None:
    rows = (Row(arm="vae", seed="mean", split="test", metric="accuracy", scope="all", value=0.5),
            Row(arm="vae", seed="mean", split="test", metric="mcc", scope="all", value=None),
            Row(arm="vae", seed="0", split="val", metric="loss", scope="epoch", value=2.0, epoch=1.0))
    table = Table(rows)
    assert table.find("vae", "test", "accuracy") == rows[0]
    assert table.find("vae", "test", "mcc") is None
    assert table.curve("vae", "val", "loss") == {"0": [(1.0, 2.0)]}


@pytest.mark.parametrize("text", ["", "a,b\n", ",".join(COLUMNS) + "\nx,y\n",
                                  ",".join(COLUMNS) + "\na,b,c,d,e,half,,,,,\n"])
def test_another_file_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="The table"):
        from_csv(text)
