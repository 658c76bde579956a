"""The Administration entry as HTML: how to open it, or the way to its page."""

from __future__ import annotations

from collections.abc import Sequence

from dermdemo.ui.figures import escape
from dermdemo.ui.wording import administration as words


def render(configured: bool, problem: str | None = None) -> str:
    """The page of a server with or without a usable credential.

    Args:
        configured: as `jobs.credential.configured` says.
        problem: as `jobs.credential.problem` says: why a credential that is there cannot be used.
    """
    return f'<div class="dd-result dd-admin">{opened() if configured else closed(problem)}</div>'


def closed(problem: str | None = None) -> str:
    """How to set a password; `problem` is said first."""
    title = words.PROBLEM_TITLE if problem else words.CLOSED_TITLE
    return _card(title, f"<p>{escape(problem or words.CLOSED_TEXT)}</p>{_steps(words.STEPS)}")


def opened() -> str:
    """The way to the page, which opens beside this one and so keeps what is open here, and the commands."""
    link = (f'<a class="dd-open" href="{words.OPEN_ADDRESS}" target="_blank" rel="noopener">'
            f"{escape(words.OPEN_LINK)}</a>")
    first = _card(words.OPEN_TITLE, f"<p>{escape(words.OPEN_TEXT)}</p><p>{link}</p>")
    return first + _card(words.COMMANDS_TITLE, _steps(words.COMMANDS))


def _card(title: str, body: str) -> str:
    return f'<section class="dd-card"><h2>{escape(title)}</h2>{body}</section>'


def _steps(steps: Sequence[tuple[str, str]]) -> str:
    """Numbered steps, each with what to type."""
    items = "".join(f'<li>{escape(said)}<code class="dd-command">{escape(command)}</code></li>'
                    for said, command in steps)  # fmt: skip
    return f'<ol class="dd-steps">{items}</ol>'
