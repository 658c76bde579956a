"""The administrator's password: an argon2id hash in one file, or in the environment; never the password.

Unusual here: fail closed. Without a usable hash nobody is an administrator, and `verify` is False for
whatever is given; a hash that cannot be used is said in words by `problem`, not treated as none.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import Type

from dermdemo.config import Environment, environment
from dermdemo.errors import AuthError

HASH_FILE = "admin.hash"
MIN_LENGTH, MAX_LENGTH = 12, 1024  # characters; the upper end keeps one request from costing much
_HASHER = PasswordHasher()  # argon2id, RFC 9106's second recommendation: 64 MiB, 3 passes


def configured(settings: Environment) -> bool:
    """Whether there is a hash that a password can be verified against."""
    return problem(settings) is None and _stored(settings) is not None


def problem(settings: Environment) -> str | None:
    """Why a credential that is there cannot be used, in a sentence; None without one, or if it can."""
    where = "DERMDEMO_ADMIN_HASH" if settings.admin_hash else f"'{_path(settings)}'"
    try:
        stored = _stored(settings)
        if stored is None or extract_parameters(stored).type is Type.ID:
            return None
    except (OSError, UnicodeDecodeError):
        return f"{where} cannot be read: administration stays closed."
    except InvalidHashError:
        pass
    return (f"{where} holds no argon2id hash: administration stays closed. Make one with `python -m dermdemo admin "
            "set-password`.")


def verify(password: str, settings: Environment | None = None) -> bool:
    """Whether this is the administrator's password; False where none is configured. Takes some 50 ms."""
    found = settings or environment()
    stored = _stored(found) if configured(found) else None
    if stored is None or len(password) > MAX_LENGTH:
        return False
    try:
        return _HASHER.verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False


def set_password(password: str, settings: Environment) -> Path:
    """Hash a password into the state folder, readable by its owner alone. Returns the file.

    Raises:
        AuthError: the password is too short or too long, or the file cannot be written.
    """
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        raise AuthError(f"The password must have {MIN_LENGTH} to {MAX_LENGTH} characters; nothing was changed.")
    path = _path(settings)
    temporary = path.with_name(f".{HASH_FILE}.{secrets.token_hex(8)}")
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


def _path(settings: Environment) -> Path:
    return settings.home / HASH_FILE


def _stored(settings: Environment) -> str | None:
    """The hash as it is stored, the environment first; None without one. Raises OSError, UnicodeDecodeError."""
    if settings.admin_hash:
        return settings.admin_hash
    try:
        return _path(settings).read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None
