"""The whole app as a process that switches when told to: lines such as ``promote 1`` on stdin, answered on stdout.

    python -m tests.ui.live_server PORT
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
import uvicorn

from dermdemo.errors import DermdemoError
from dermdemo.jobs.registry import Registry, registry
from dermdemo.ui.live import LiveModels
from dermdemo.ui.server import create_app
from tests.ui.conftest import ROOT, free_port


class Server(NamedTuple):
    """A running app that switches when told to, and the registry it serves from."""

    registry: Registry
    address: str
    process: subprocess.Popen[str]

    def switch(self, action: str, number: int) -> str:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(f"{action} {number}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()


@pytest.fixture(scope="module")
def server(make_set: Callable[[int], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Version 0 is served, 1 and 2 are candidates."""
    folder = tmp_path_factory.mktemp("live")
    registry = Registry(folder / "home", make_set(0))
    for seed in (50, 60):
        registry.add(make_set(seed), who="ada")
    port, log = free_port(), folder / "app.log"
    env = os.environ | {"GRADIO_TEMP_DIR": str(folder / "uploads"), "DERMDEMO_HOME": str(folder / "home"),
                        "DERMDEMO_CHECKPOINTS": str(registry.shipped), "HOME": str(folder), "TMPDIR": str(folder)}
    with log.open("w") as stream:
        process = subprocess.Popen([sys.executable, "-m", "tests.ui.live_server", str(port)], cwd=ROOT, env=env,
                                   text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stream)
    address, end = f"http://127.0.0.1:{port}", time.monotonic() + 300
    while time.monotonic() < end and process.poll() is None:
        try:
            if httpx.get(address, timeout=30).status_code == 200:
                break
        except httpx.TransportError:
            time.sleep(0.3)
    yield Server(registry, address, process)
    process.terminate()
    try:
        process.communicate(timeout=30)
    except subprocess.TimeoutExpired:  # a page is still open
        process.kill()
        process.communicate()
    assert "Traceback" not in log.read_text()


def obey(live: LiveModels) -> None:
    """Switch as an admin's route does, in a thread of the server's process."""
    for line in sys.stdin:
        action, number = line.split()
        try:
            live.switch(int(number), action, "ada")  # type: ignore[arg-type]
            print(f"served {live.status().number}", flush=True)
        except DermdemoError as error:
            print(f"refused {error}", flush=True)


def main() -> None:
    live = LiveModels(registry(), device="cpu")
    live.check()
    live.follow()
    app = create_app(None, live=live)
    threading.Thread(target=obey, args=(live,), daemon=True).start()
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
