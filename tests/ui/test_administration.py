"""The Administration entry says what is so: closed, unusable, or open, with the way to its page."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from dermdemo.cli import parse
from dermdemo.config import Environment
from dermdemo.jobs.credential import set_password
from dermdemo.ui.administration import render
from dermdemo.ui.tabs import administration
from dermdemo.ui.wording import administration as words
from tests.ui.conftest import make_context
from tests.ui.evidence_samples import Checked, Drawn


def test_without_a_credential_the_steps_are_told() -> None:
    page = Checked(render(False))
    assert words.CLOSED_TITLE in page.text
    assert "python -m dermdemo admin set-password" in page.text and "DERMDEMO_ADMIN_HASH" in page.text
    assert "restart" in page.text
    assert not {"form", "input", "button"} & set(page.tags)


def test_a_credential_that_cannot_be_used_is_said() -> None:
    page = render(False, "'<x>' holds no argon2id hash.")
    assert words.PROBLEM_TITLE in Checked(page).text and "&lt;x&gt;" in page


def test_with_a_credential_the_page_leads_there() -> None:
    page = render(True)
    assert 'href="/administration"' in page and words.OPEN_LINK in Checked(page).text
    assert not {"form", "input", "button", "script"} & set(Checked(page).tags)
    assert "/administration" not in render(False)


@pytest.mark.parametrize("command", [
    line for _, lines in words.COMMANDS for line in lines.splitlines() if "-m dermdemo" in line])
def test_every_command_that_is_listed_is_understood(command: str) -> None:
    assert parse(command.split()[3:])  # SystemExit if it is not


@pytest.mark.parametrize("configured", [False, True])
def test_the_tab_follows_the_credential(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, configured: bool) -> None:
    settings = Environment(home=tmp_path, checkpoints=tmp_path)
    if configured:
        set_password("correct horse battery", settings)
    drawn = Drawn()
    monkeypatch.setattr(administration, "gr", drawn)
    administration.build(dataclasses.replace(make_context(None, tmp_path), settings=settings))
    assert drawn.values == [render(configured)]
