"""The documented example of the API runs as it is written, and says what the analysis says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.ui.conftest import ROOT, jpeg

PAGE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.S)[0]


def test_the_python_example_runs(app: str, tmp_path: Path) -> None:
    (tmp_path / "lesion.jpg").write_bytes(jpeg("mel", 5))
    code = block("python").replace("http://127.0.0.1:7860", app).replace("Client(", "Client(verbose=False, src=")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert {line.split()[0] for line in said} == {"vae", "imagenet", "novelty:"}
    assert all(0 <= float(line.rsplit(" ", 1)[1]) <= 1 for line in said[:2])


def test_the_http_example_runs(app: str, tmp_path: Path) -> None:
    (tmp_path / "lesion.jpg").write_bytes(jpeg("nv", 6))
    script = block("bash").replace("http://127.0.0.1:7860", app)
    done = subprocess.run(["bash", "-euc", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "event: complete" in done.stdout and '"probabilities"' in done.stdout
