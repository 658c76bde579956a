"""The Dockerfile, read: no container runs here."""

from __future__ import annotations

import json
import re
import shlex
import urllib.error
import urllib.request
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

ROOT = Path(__file__).resolve().parent.parent
SECRET = re.compile(r"(passw|secret|token|api_?key|credential|BEGIN [A-Z ]*PRIVATE)", re.I)


def _instructions() -> list[tuple[str, str]]:
    """(INSTRUCTION, arguments), continuation lines joined and comments dropped."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    pairs = [line.split(None, 1) for line in joined.splitlines() if line.strip()]
    return [(name.upper(), rest) for name, rest in pairs]


def _final_stage() -> list[tuple[str, str]]:
    found = _instructions()
    start = max(i for i, (name, _) in enumerate(found) if name == "FROM")
    return found[start:]


def _values(name: str, stage: list[tuple[str, str]]) -> list[str]:
    return [rest for instruction, rest in stage if instruction == name]


def _environment() -> dict[str, str]:
    words = [w for rest in _values("ENV", _final_stage()) for w in shlex.split(rest)]
    return dict(w.split("=", 1) for w in words)  # type: ignore[misc]


def test_every_stage_is_a_slim_python() -> None:
    images = [rest.split()[0] for rest in _values("FROM", _instructions())]
    assert images
    assert all(re.fullmatch(r"python:3\.\d+-slim(-\w+)?", image) for image in images)


def test_the_app_runs_as_a_user_without_rights() -> None:
    stage = _final_stage()
    names = [name for name, _ in stage]
    assert _values("USER", stage) == ["app"]
    assert names.index("USER") < names.index("CMD")
    assert "RUN" not in names[names.index("USER"):]
    assert any("useradd" in run and " app" in run for run in _values("RUN", stage))
    assert not any("sudo" in run for run in _values("RUN", _instructions()))


def test_the_server_listens_on_the_exposed_port() -> None:
    env = _environment()
    assert env["GRADIO_SERVER_NAME"] == "0.0.0.0"
    assert _values("EXPOSE", _final_stage()) == [env["GRADIO_SERVER_PORT"]]
    assert json.loads(_values("CMD", _final_stage())[0]) == ["python", "app.py"]


def test_the_state_folder_is_a_volume() -> None:
    assert _values("VOLUME", _final_stage()) == [_environment()["DERMDEMO_HOME"]]


def test_the_extra_index_is_an_argument_without_a_default_and_stays_out_of_the_image() -> None:
    assert _values("ARG", _instructions()) == ["PIP_EXTRA_INDEX_URL"]
    assert _values("ARG", _final_stage()) == []
    assert "://" not in re.sub(r"http://127\.0\.0\.1:", "", (ROOT / "Dockerfile").read_text())


def test_no_secret_and_no_weights() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert not SECRET.search(text)
    assert not re.search(r"\b(curl|wget|huggingface-cli|hf download|git clone)\b", text)
    assert _environment()["HF_HUB_OFFLINE"] == "1"


def test_every_copied_path_is_let_through() -> None:
    """The build context lets in exactly what the Dockerfile copies."""
    copied = {src.rstrip("/") for rest in _values("COPY", _instructions()) if not rest.startswith("--from")
              for src in shlex.split(rest)[:-1]}  # fmt: skip
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    allowed = {rule[1:] for rule in rules if rule.startswith("!")}
    assert rules[0] == "*"
    assert copied == allowed
    assert any(fnmatch("dermdemo/.env", rule.replace("**/", "*")) for rule in rules[1:])


def _healthcheck() -> str:
    (check,) = _values("HEALTHCHECK", _final_stage())
    command = json.loads(check.split("CMD", 1)[1])
    assert command[:2] == ["python", "-c"]
    return command[2]


class _Answer(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Quiet."""


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (500, False)])
def test_the_health_check_tells_a_healthy_server(
    status: int, healthy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Handler(_Answer):
        pass

    Handler.status = status
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("GRADIO_SERVER_PORT", str(server.server_port))
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
        code = compile(_healthcheck(), "healthcheck", "exec")
        if healthy:
            assert exec(code, {}) is None
        else:
            with pytest.raises(urllib.error.HTTPError) as caught:
                exec(code, {})
            caught.value.close()
        server.shutdown()


def test_the_health_check_fails_without_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_SERVER_PORT", "1")
    with pytest.raises(urllib.error.URLError):
        exec(compile(_healthcheck(), "healthcheck", "exec"), {"urllib": urllib.request})
