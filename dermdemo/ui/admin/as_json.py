"""Answers as JSON straight from dataclasses: what is asked every two seconds is walked through once."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from fastapi import Response


def as_json(value: object) -> Response:
    """An answer that nobody keeps. Raises ValueError: a number that JSON does not know."""
    text = json.dumps(value, default=_fields, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return Response(text.encode("utf-8", errors="replace"), media_type="application/json",
                    headers={"Cache-Control": "no-store"})


def _fields(value: object) -> Any:
    """The fields of a dataclass, as they are. Raises TypeError for anything else."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} cannot be answered as JSON")
