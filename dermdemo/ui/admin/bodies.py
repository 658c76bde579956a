"""JSON bodies of requests, read strictly: small, one object, plain text and finite numbers only."""

from __future__ import annotations

import json
from typing import Annotated, Any, NoReturn

from fastapi import Depends, HTTPException, Request
from starlette.requests import ClientDisconnect

from dermdemo.errors import DataError

MAX_BODY = 64 << 10


async def json_body(request: Request) -> dict[str, Any]:
    """The object that a request carries.

    Raises:
        HTTPException: 413, more than 64 KiB; 400, broken off.
        DataError: it is no JSON object, names a key twice, or holds NaN or text that is none.
    """
    data = bytearray()
    try:
        async for chunk in request.stream():
            data += chunk
            if len(data) > MAX_BODY:
                raise HTTPException(413, f"A request may hold {MAX_BODY >> 10} KiB; this one holds more.")
    except ClientDisconnect as error:
        raise HTTPException(400, "The request was broken off.") from error
    return parse(bytes(data))


def parse(data: bytes) -> dict[str, Any]:
    """The JSON object in `data`. Raises DataError."""
    try:
        found = json.loads(data.decode(), object_pairs_hook=_distinct, parse_constant=_no_number)
        json.dumps(found, ensure_ascii=False).encode()  # lone surrogates are no text
    except (ValueError, RecursionError) as error:
        raise DataError("The request is not the JSON that is expected here.") from error
    if not isinstance(found, dict):
        raise DataError("The request must be one JSON object.")
    return found


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands there twice")
    return found


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


Body = Annotated[dict[str, Any], Depends(json_body)]
