"""The passwords of administrator and visitors: argon2id hashes in files or the environment; never the passwords.

Unusual here: fail closed. Without a usable hash nobody is an administrator, and `verify` is False for
whatever is given; a hash that cannot be used is said in words by `problem`, not treated as none. The visitors'
password is optional: `present` says whether one is asked for, and a hash that cannot be used still asks.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import Type

from dermdemo.config import Environment, environment
from dermdemo.errors import AuthError

Kind = Literal["admin", "visitor"]
HASH_FILE, VISITOR_FILE = "admin.hash", "visitor.hash"
FILES: Mapping[Kind, str] = MappingProxyType({"admin": HASH_FILE, "visitor": VISITOR_FILE})
VARIABLES: Mapping[Kind, str] = MappingProxyType({"admin": "DERMDEMO_ADMIN_HASH", "visitor": "DERMDEMO_VISITOR_HASH"})
_CLOSED: Mapping[Kind, str] = MappingProxyType({
    "admin": "administration stays closed", "visitor": "the pages stay closed to visitors"})
_COMMAND: Mapping[Kind, str] = MappingProxyType({
    "admin": "python -m dermdemo admin set-password", "visitor": "python -m dermdemo admin set-password --visitors"})
MIN_LENGTH, MAX_LENGTH = 12, 1024  # characters; the upper end keeps one request from costing much
_HASHER = PasswordHasher()  # argon2id, RFC 9106's second recommendation: 64 MiB, 3 passes


def configured(settings: Environment, kind: Kind = "admin") -> bool:
    """Whether there is a hash that a password can be verified against."""
    return problem(settings, kind) is None and _stored(settings, kind) is not None


def present(settings: Environment, kind: Kind = "admin") -> bool:
    """Whether there is a credential at all, usable or not."""
    return problem(settings, kind) is not None or _stored(settings, kind) is not None


def problem(settings: Environment, kind: Kind = "admin") -> str | None:
    """Why a credential that is there cannot be used, in a sentence; None without one, or if it can."""
    where = VARIABLES[kind] if _given(settings, kind) else f"'{_path(settings, kind)}'"
    try:
        stored = _stored(settings, kind)
        if stored is None or extract_parameters(stored).type is Type.ID:
            return None
    except (OSError, UnicodeDecodeError):
        return f"{where} cannot be read: {_CLOSED[kind]}."
    except InvalidHashError:
        pass
    return f"{where} holds no argon2id hash: {_CLOSED[kind]}. Make one with `{_COMMAND[kind]}`."


def stamp(settings: Environment, kind: Kind = "admin") -> str | None:
    """What tells one credential from another: a session ends when it changes. None without a usable one."""
    try:
        stored = _stored(settings, kind)
        if stored is None or extract_parameters(stored).type is not Type.ID:
            return None
    except (OSError, UnicodeDecodeError, InvalidHashError):
        return None
    return hashlib.sha256(stored.encode()).hexdigest()


def verify(password: str, settings: Environment | None = None, kind: Kind = "admin") -> bool:
    """Whether this is the password; False where none is configured. Takes some 50 ms and 64 MiB."""
    found = settings or environment()
    if len(password) > MAX_LENGTH or not configured(found, kind):
        return False
    try:
        stored = _stored(found, kind)
        return stored is not None and _HASHER.verify(stored, password)
    except (VerificationError, InvalidHashError, OSError, UnicodeError):
        return False  # UnicodeError: half a surrogate pair, which is nobody's password


def set_password(password: str, settings: Environment, kind: Kind = "admin") -> Path:
    """Hash a password into the state folder, readable by its owner alone. Returns the file.

    Raises:
        AuthError: the password is too short or too long, or the file cannot be written.
    """
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        raise AuthError(f"The password must have {MIN_LENGTH} to {MAX_LENGTH} characters; nothing was changed.")
    path = _path(settings, kind)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as stream:
            stream.write(_HASHER.hash(password) + "\n")
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise AuthError(f"'{path}' cannot be written ({error.strerror}): the password was not set.") from error
    return path


def _path(settings: Environment, kind: Kind) -> Path:
    return settings.home / FILES[kind]


def _given(settings: Environment, kind: Kind) -> str | None:
    """The hash that the environment holds, if any."""
    return settings.admin_hash if kind == "admin" else settings.visitor_hash


def _stored(settings: Environment, kind: Kind) -> str | None:
    """The hash as it is stored, the environment first; None without one. Raises OSError, UnicodeDecodeError."""
    given = _given(settings, kind)
    if given:
        return given
    try:
        return _path(settings, kind).read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None
