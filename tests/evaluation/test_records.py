"""Strict encoding of results: what is not JSON is refused, what was written is read back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pytest

from dermdemo.errors import DataError
from dermdemo.evaluation.records import decode, encode


@dataclass(frozen=True)
class Inner:
    value: float
    label: str | None = None


@dataclass(frozen=True)
class Outer:
    n: int
    flag: bool
    rows: tuple[tuple[int, ...], ...]
    by_name: Mapping[str, Inner]
    maybe: Inner | None


OUTER = Outer(1, True, ((1, 2), ()), {"x": Inner(0.1), "y": Inner(2.0, "two")}, None)


def test_round_trip():
    assert decode(Outer, encode(OUTER)) == OUTER


def test_whole_numbers_are_read_as_floats_where_declared():
    assert isinstance(decode(Inner, {"value": 1}).value, float)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float32(1.0), np.zeros(2), object()])
def test_what_json_cannot_hold_is_refused(value):
    with pytest.raises(DataError):
        encode({"a": (value,)})


@pytest.mark.parametrize(
    "change",
    [
        {"n": 1.5},
        {"n": True},
        {"flag": 1},
        {"rows": 3},
        {"by_name": {"x": {}}},
        {"maybe": {"value": float("nan")}},
    ],
)
def test_values_of_another_type_are_refused(change):
    with pytest.raises(DataError):
        decode(Outer, {**encode(OUTER), **change})


@dataclass(frozen=True)
class Choice:
    kind: Literal["one", "two"]


def test_a_choice_is_held_to_its_values():
    assert decode(Choice, encode(Choice("two"))) == Choice("two")
    with pytest.raises(DataError, match="none of one, two"):
        decode(Choice, {"kind": "three"})
