"""Bodies of requests: one small JSON object, and nothing that would surprise later."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from dermdemo.errors import DataError
from dermdemo.ui.admin.bodies import MAX_BODY, Body, parse


@pytest.mark.parametrize("data", [
    b"", b"[]", b"3", b"null", b"{", b'{"a": NaN}', b'{"a": Infinity}', b'{"a": 1, "a": 2}',
    b'{"a": {"b": 1, "b": 1}}',
    b'{"a": "\\ud800"}', b'{"\\udfff": 1}', b"\xff{}", b'{"a":' + b"[" * 30_000, b'{"a": ' + b"9" * 5000 + b"}",
])  # fmt: skip
def test_other_bodies_are_refused(data: bytes) -> None:
    with pytest.raises(DataError, match="request"):
        parse(data)


@given(st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text()),
                       max_size=5))
def test_objects_arrive_as_they_were_sent(value: dict[str, Any]) -> None:
    assert parse(json.dumps(value).encode()) == value


@given(st.binary(max_size=50))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    with contextlib.suppress(DataError):
        assert isinstance(parse(data), dict)


@pytest.mark.parametrize("chunked", [True, False])
def test_a_large_body_is_refused(chunked: bool) -> None:
    router = APIRouter()

    @router.post("/x")
    def handler(body: Body) -> None:
        raise AssertionError("not reached")

    def blocks() -> Any:
        for _ in range(100):
            yield b" " * MAX_BODY

    app = FastAPI()
    app.include_router(router)
    answer = TestClient(app).post("/x", content=blocks() if chunked else b" " * (MAX_BODY + 1))
    assert answer.status_code == 413 and "64 KiB" in answer.json()["detail"]
