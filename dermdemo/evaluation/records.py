"""Frozen dataclasses to plain JSON values and back, strictly: no NaN, no unknown or missing keys."""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from dermdemo.errors import DataError

T = TypeVar("T")


def encode(value: object) -> Any:
    """Turn dataclasses, mappings, tuples and scalars into values that JSON can hold.

    Raises:
        DataError: a number is NaN or infinite (results say None and give a reason instead), or a value
            has a type that JSON cannot hold.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: encode(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [encode(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise DataError("A result is not a finite number and cannot be stored.")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise DataError(f"A result of type {type(value).__name__} cannot be stored as JSON.")


def decode(cls: type[T], data: object) -> T:
    """Rebuild a dataclass of type `cls` from what `encode` made of it.

    Raises:
        DataError: a key is missing or unknown, or a value does not have the declared type.
    """
    if not isinstance(data, Mapping):
        raise DataError(f"Expected the fields of {cls.__name__}, found {type(data).__name__}.")
    hints = get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(data) - set(fields))
    if unknown:
        raise DataError(f"{cls.__name__} has no field called {', '.join(unknown)}.")
    missing = sorted(name for name, f in fields.items() if name not in data and _required(f))
    if missing:
        raise DataError(f"{cls.__name__} lacks {', '.join(missing)}.")
    values = {name: _decode(hints[name], item, f"{cls.__name__}.{name}") for name, item in data.items()}
    return cls(**values)


def _required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _decode(hint: Any, value: object, where: str) -> Any:
    """One value as the type `hint` declares it; `where` names the field in messages."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in get_args(hint):
            return None
        inner = next(a for a in get_args(hint) if a is not type(None))
        return _decode(inner, value, where)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return decode(hint, value)
    if origin is Literal:
        return _one_of(get_args(hint), value, where)
    if origin is tuple and isinstance(value, list):
        return tuple(_decode(get_args(hint)[0], item, where) for item in value)
    if origin in (dict, Mapping) and isinstance(value, Mapping):
        return {str(k): _decode(get_args(hint)[1], item, where) for k, item in value.items()}
    return _scalar(hint, value, where)


def _one_of(allowed: tuple[Any, ...], value: object, where: str) -> object:
    if value not in allowed:
        raise DataError(f"{where} holds a value that is none of {', '.join(map(str, allowed))}.")
    return value


def _scalar(hint: Any, value: object, where: str) -> Any:
    """A bool, int, float, str or one of a Literal; whole numbers are accepted where a float is declared."""
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:  # a whole number with hundreds of digits
            number = math.inf
        if not math.isfinite(number):
            raise DataError(f"{where} is not a finite number.")
        return number
    if get_origin(hint) is Literal and value in get_args(hint):
        return value
    if hint in (int, str, bool) and type(value) is hint:
        return value
    raise DataError(f"{where} holds a value of type {type(value).__name__}, which does not fit.")
