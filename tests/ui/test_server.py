"""The server over raw HTTP: headers, own scripts, and nothing that was not meant to be there."""

from __future__ import annotations

import httpx
import pytest

from dermdemo.ui.server import ASSETS, POLICY, STATIC


@pytest.mark.parametrize("path", ["/", "/config", ASSETS + "/plotly.min.js", "/nothing-here"])
def test_every_answer_carries_the_policy(app: str, path: str) -> None:
    headers = httpx.get(app + path).headers
    assert headers["content-security-policy"] == POLICY
    assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"


def test_the_policy_names_no_other_host() -> None:
    assert "http" not in POLICY and "*" not in POLICY


def test_plotly_is_served_from_the_installed_package(app: str) -> None:
    answer = httpx.get(f"{app}{ASSETS}/plotly.min.js")
    assert answer.status_code == 200 and "javascript" in answer.headers["content-type"]
    assert len(answer.content) > 1_000_000


@pytest.mark.parametrize("name", ["../server.py", "..%2Fserver.py", "server.py", "x.js", "%2e%2e/app.js"])
def test_only_known_scripts_are_served(app: str, name: str) -> None:
    assert httpx.get(f"{app}{ASSETS}/{name}").status_code == 404
    assert STATIC.is_dir()


@pytest.mark.parametrize("path", ["/monitoring", "/gradio_api/openapi.json", "/gradio_api/docs"])
def test_nothing_to_look_behind_the_page(app: str, path: str) -> None:
    answer = httpx.get(app + path)
    assert answer.status_code in (401, 403, 404) or "openapi" not in answer.text
