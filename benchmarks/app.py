"""`python -m benchmarks.app`: the app as a visitor meets it, in Debian's Chromium: seconds and memory.

Needs requirements-dev.txt (playwright) and Chromium. The pictures are synthetic lesions. Every round starts the
app anew; `--cold` asks the kernel to forget cached files first (root only), once.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from dermdemo.config import environment
from dermdemo.data.synthetic import synthetic_lesion
from dermdemo.ui import text

ROOT = Path(__file__).resolve().parent.parent
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]
LIMIT_MS = 180_000


@dataclass(frozen=True)
class Settings:
    """What is measured."""

    rounds: int = 3
    """Starts of the app."""
    images: int = 200
    """Images of the tab for several images; 0 leaves it out."""
    checkpoints: Path = environment().checkpoints
    """Store to serve."""
    cold: bool = False
    """Drop the kernel's file cache before the first round."""
    json: bool = False
    """Print JSON."""


def picture(seed: int) -> dict[str, object]:
    """A synthetic lesion as an upload."""
    buffer = io.BytesIO()
    synthetic_lesion(("nv", "mel", "bcc", "bkl")[seed % 4], seed).save(buffer, format="JPEG")
    return {"name": f"lesion-{seed}.jpg", "mimeType": "image/jpeg", "buffer": buffer.getvalue()}


def peak(pid: int) -> float:
    """Peak resident memory of a process in MB (10^6 bytes)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError(f"process {pid} tells no peak memory")


def visit(browser: Any, address: str, pid: int, images: int) -> dict[str, float]:
    """Seconds until usable (from `started`, set by the caller), to the answer, to the map; memory after each."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(LIMIT_MS)
    port = int(address.rsplit(":", 1)[1])
    while True:  # a browser that retries would take the processor from the app that starts
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    page.goto(address)
    page.locator("#dd-upload input[type=file]").first.wait_for(state="attached")
    found, begun = {"usable_at": time.monotonic()}, time.monotonic()
    page.locator("#dd-upload input[type=file]").first.set_input_files(picture(1))
    page.wait_for_selector("#dd-result .dd-verdict")
    found |= {"first_answer_s": time.monotonic() - begun, "peak_after_answer_mb": peak(pid)}
    begun = time.monotonic()
    page.get_by_role("tab", name=text.TAB_LATENT, exact=True).click()
    page.wait_for_selector("#dd-map[data-painted]")
    found |= {"map_painted_s": time.monotonic() - begun, "peak_after_map_mb": peak(pid)}
    for name in (text.TAB_RECONSTRUCTION, text.TAB_ATTRIBUTION, text.TAB_MODELS):
        page.get_by_role("tab", name=name, exact=True).click()
        page.wait_for_timeout(1500)
    if images:
        page.get_by_role("tab", name=text.TAB_SEVERAL, exact=True).click()
        begun = time.monotonic()
        page.locator("#dd-several-upload input[type=file]").first.set_input_files(
            [picture(100 + k) for k in range(images)])
        page.wait_for_selector(".dd-list")
        found["several_images_s"] = time.monotonic() - begun
    found["peak_at_the_end_mb"] = peak(pid)
    page.close()
    return found


def measure(settings: Settings) -> list[dict[str, float]]:
    """One record per round."""
    from playwright.sync_api import sync_playwright

    records = []
    if settings.cold:
        subprocess.run(["sync"], check=True)
        Path("/proc/sys/vm/drop_caches").write_text("3")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        for _ in range(settings.rounds):
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = int(probe.getsockname()[1])
            started = time.monotonic()
            with tempfile.TemporaryFile() as log, subprocess.Popen(
                    [sys.executable, "app.py", "--port", str(port), "--checkpoints", str(settings.checkpoints)],
                    cwd=ROOT, stdout=log, stderr=log, env=os.environ) as process:
                try:
                    found = visit(browser, f"http://127.0.0.1:{port}", process.pid, settings.images)
                finally:
                    process.terminate()
                records.append({"usable_s": found.pop("usable_at") - started, **found})
        browser.close()
    return records


def main() -> int:
    """Print the median and range of every figure."""
    settings = tyro.cli(Settings, prog="python -m benchmarks.app")
    records = measure(settings)
    if settings.json:
        print(json.dumps(records, indent=2))
        return 0
    for name in records[0]:
        values = sorted(r[name] for r in records)
        spread = f"({values[0]:.2f} to {values[-1]:.2f}, {len(values)} starts)"
        print(f"{name:<24}{values[len(values) // 2]:>10.2f}   {spread}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
