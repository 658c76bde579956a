"""Checkpoints for the page (those of the analysis tests), pictures to upload, and the app as a process."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from dermdemo.analysis.analyser import Analyser
from dermdemo.data.synthetic import synthetic_lesion
from dermdemo.ui.context import Context
from dermdemo.ui.live import FixedModels
from dermdemo.ui.results import Results
from dermdemo.ui.uploads import Uploads

ROOT = Path(__file__).resolve().parents[2]


def jpeg(label: str, seed: int) -> bytes:
    """A synthetic lesion as JPEG bytes."""
    buffer = io.BytesIO()
    synthetic_lesion(label, seed).save(buffer, format="JPEG", quality=92)
    return buffer.getvalue()


def make_context(analyser: Analyser | None, folder: Path, problem: str | None = None) -> Context:
    """A context for handlers called as plain functions; uploads lie in `folder`/uploads."""
    (folder / "uploads").mkdir(exist_ok=True)
    return Context(models=FixedModels(analyser, problem), uploads=Uploads(folder / "uploads"), results=Results(),
                   key=None, tabs=None)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def served(shared_store: Path) -> Analyser:
    """The analyser of the test checkpoints, shared by the tests of the page."""
    return Analyser(shared_store, device="cpu")


@pytest.fixture
def context(served: Analyser, tmp_path: Path) -> Context:
    """What the tabs get, with nothing in it yet."""
    return make_context(served, tmp_path)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(checkpoints: Path, folder: Path, *flags: str, port: int | None = None
          ) -> tuple[subprocess.Popen[bytes], str, Path]:
    """The app on a port, by default a free one; returns when the page answers."""
    port, log = port or free_port(), folder / "app.log"
    environment = os.environ | {"GRADIO_TEMP_DIR": str(folder / "uploads"), "GRADIO_SERVER_PORT": str(port),
                                "HOME": str(folder), "DERMDEMO_HOME": str(folder / "home"), "TMPDIR": str(folder)}
    with log.open("wb") as stream:
        process = subprocess.Popen([sys.executable, "app.py", "--checkpoints", str(checkpoints), "--device", "cpu",
                                    *flags], cwd=ROOT, env=environment, stdout=stream, stderr=subprocess.STDOUT)
    address, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 180
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(address).status_code == 200:
                return process, address, log
        except httpx.TransportError:
            time.sleep(0.3)
    process.kill()
    raise AssertionError(f"the app did not start: {log.read_text()}")


@pytest.fixture(scope="session")
def app(shared_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a running app."""
    folder = tmp_path_factory.mktemp("app")
    process, address, log = start(shared_store, folder)
    yield address
    process.terminate()
    process.wait(30)
    assert "Traceback" not in log.read_text()


@pytest.fixture(scope="session")
def bare_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of an app without checkpoints."""
    folder = tmp_path_factory.mktemp("bare")
    process, address, _ = start(folder / "nothing", folder)
    yield address
    process.terminate()
    process.wait(30)
