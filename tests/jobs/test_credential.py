"""The administrator's password: only a hash is kept, closed whenever anything is wrong."""

from __future__ import annotations

import io
import stat
from pathlib import Path

import pytest
from argon2 import PasswordHasher, Type

from dermdemo.cli import main
from dermdemo.config import Environment, environment
from dermdemo.errors import AuthError
from dermdemo.jobs.credential import (
    HASH_FILE,
    MAX_LENGTH,
    VISITOR_FILE,
    configured,
    present,
    problem,
    set_password,
    stamp,
    verify,
)

PASSWORD = "correct horse battery"
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    monkeypatch.delenv("DERMDEMO_ADMIN_HASH", raising=False)
    monkeypatch.delenv("DERMDEMO_VISITOR_HASH", raising=False)
    monkeypatch.setenv("DERMDEMO_HOME", str(tmp_path / "state"))
    return environment()


def test_nobody_is_administrator_without_a_credential(settings: Environment) -> None:
    assert not configured(settings)
    assert problem(settings) is None
    assert not verify("")
    assert not verify(PASSWORD)


def test_a_password_that_was_set_is_verified(settings: Environment) -> None:
    path = set_password(PASSWORD, settings)
    assert path == settings.home / HASH_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text().startswith("$argon2id$") and PASSWORD not in path.read_text()
    assert configured(settings)
    assert verify(PASSWORD) and verify(PASSWORD, settings)
    assert not verify(PASSWORD + " ")
    assert not verify("x" * (MAX_LENGTH + 1))
    assert list(settings.home.iterdir()) == [path]


def test_the_environment_goes_before_the_file(settings: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    set_password(PASSWORD, settings)
    monkeypatch.setenv("DERMDEMO_ADMIN_HASH", CHEAP.hash("another one here"))
    assert verify("another one here") and not verify(PASSWORD)
    assert "argon2" not in repr(environment())


@pytest.mark.parametrize("stored", [PASSWORD, "", "$argon2id$", PasswordHasher(
    time_cost=1, memory_cost=8, parallelism=1, type=Type.I).hash(PASSWORD)],
    ids=["the password itself", "empty", "cut off", "argon2i"])  # fmt: skip
def test_a_file_without_an_argon2id_hash_closes_administration(settings: Environment, stored: str) -> None:
    settings.home.mkdir()
    (settings.home / HASH_FILE).write_text(stored)
    assert not configured(settings)
    assert not verify(PASSWORD)
    said = problem(settings)
    assert said is not None and "holds no argon2id hash" in said and PASSWORD not in said


def test_an_unreadable_file_closes_administration(settings: Environment) -> None:
    (settings.home / HASH_FILE).mkdir(parents=True)
    said = problem(settings)
    assert said is not None and "cannot be read" in said
    assert not configured(settings)
    assert not verify(PASSWORD)


@pytest.mark.parametrize("password", ["", "eleven char", "x" * (MAX_LENGTH + 1)])
def test_short_and_endless_passwords_are_refused(settings: Environment, password: str) -> None:
    with pytest.raises(AuthError, match="12 to 1024 characters"):
        set_password(password, settings)
    assert not settings.home.exists()


def test_a_folder_that_cannot_be_written_is_said(settings: Environment) -> None:
    settings.home.write_text("a file")
    with pytest.raises(AuthError, match="was not set"):
        set_password(PASSWORD, settings)


def test_the_command_reads_standard_input(
    settings: Environment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(PASSWORD + "\nmore\n"))
    assert main(["admin", "set-password", "--stdin"]) == 0
    assert verify(PASSWORD)
    captured = capsys.readouterr()
    assert PASSWORD not in captured.out + captured.err
    monkeypatch.setattr("sys.stdin", io.StringIO("short\n"))
    assert main(["admin", "set-password", "--stdin"]) == 1
    assert "nothing was changed" in capsys.readouterr().err
    assert verify(PASSWORD)


def test_the_command_asks_twice(
    settings: Environment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert main(["admin", "set-password"]) == 1
    assert "no terminal" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    answers = iter([PASSWORD, "something else here", PASSWORD, PASSWORD])
    monkeypatch.setattr("getpass.getpass", lambda prompt: next(answers))
    assert main(["admin", "set-password"]) == 1
    assert "differ" in capsys.readouterr().err
    assert not configured(settings)
    monkeypatch.setenv("DERMDEMO_ADMIN_HASH", CHEAP.hash("another one here"))
    assert main(["admin", "set-password"]) == 0
    assert "goes before this file" in capsys.readouterr().err
    assert verify(PASSWORD, settings)


def test_the_passwords_of_visitors_and_administrator_are_apart(
    settings: Environment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not present(settings, "visitor")
    monkeypatch.setattr("sys.stdin", io.StringIO("visitors are welcome\n"))
    assert main(["admin", "set-password", "--visitors", "--stdin"]) == 0
    assert capsys.readouterr().out.strip().endswith(VISITOR_FILE)
    assert present(settings, "visitor") and configured(settings, "visitor") and not configured(settings)
    assert verify("visitors are welcome", settings, "visitor") and not verify("visitors are welcome", settings)
    set_password(PASSWORD, settings)
    assert verify(PASSWORD, settings) and not verify(PASSWORD, settings, "visitor")
    monkeypatch.setenv("DERMDEMO_VISITOR_HASH", CHEAP.hash("another one here"))
    assert verify("another one here", environment(), "visitor")
    assert not verify("visitors are welcome", environment(), "visitor") and verify(PASSWORD)


def test_a_hash_that_cannot_be_used_is_present_all_the_same(settings: Environment) -> None:
    settings.home.mkdir()
    (settings.home / VISITOR_FILE).write_text("no hash")
    assert present(settings, "visitor") and not configured(settings, "visitor")
    said = problem(settings, "visitor")
    assert said is not None and "--visitors" in said and "closed to visitors" in said


def test_the_stamp_changes_with_the_credential_and_gives_it_away_to_nobody(
    settings: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stamp(settings) is None
    path = set_password(PASSWORD, settings)
    first = stamp(settings)
    assert first and first == stamp(settings) and first not in path.read_text()
    set_password(PASSWORD, settings)  # the same password, salted anew
    assert stamp(settings) not in (None, first)
    for broken in ("", "no hash", "$argon2id$", "\u00e9"):
        path.write_text(broken)
        assert stamp(settings) is None
    path.unlink()
    path.mkdir()
    assert stamp(settings) is None
    monkeypatch.setenv("DERMDEMO_ADMIN_HASH", CHEAP.hash(PASSWORD))
    assert stamp(environment()) is not None


def test_half_a_character_is_nobodys_password(settings: Environment) -> None:
    set_password(PASSWORD, settings)
    assert not verify("half\ud800 a surrogate", settings)
