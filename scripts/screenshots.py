"""Take the pictures of README and docs from the running app: `python -m scripts.screenshots [ADDRESS] [NAME ...]`.

Only synthetic examples are shown: no data-set image ships with this repository, in pictures neither. Start the
app without `--data`, so that known lesions are shown as their reconstructions. The picture of a job is taken where
`DERMDEMO_ADMIN_PASSWORD` holds the administrator's password and job 0001 is there (trained on synthetic lesions).
"""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from dermdemo.ui import text

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "screenshots"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
PASSWORD = "DERMDEMO_ADMIN_PASSWORD"
EXAMPLE = text.SHORT_LABELS["mel"]


def analyse(page: Page) -> None:
    """Analyse the example: what every tab then shows."""
    page.get_by_role("button", name=EXAMPLE).click()
    page.wait_for_selector("#dd-result .dd-verdict", timeout=60_000)


def tab(name: str, ready: str, seconds: float = 1.0) -> Callable[[Page], None]:
    """Go to a tab once the example is analysed, and wait for what it shows."""
    def go(page: Page) -> None:
        analyse(page)
        label = page.get_by_role("tab", name=name, exact=True)
        if label.count() and label.first.is_visible():
            label.first.click()
        else:
            page.locator(".overflow-menu > button").first.click()
            page.locator(".overflow-dropdown").get_by_role("button", name=name, exact=True).click()
        page.wait_for_selector(ready, timeout=60_000)
        page.wait_for_timeout(1000 * seconds)
    return go


def several(page: Page) -> None:
    """Analyse all examples as a list."""
    page.get_by_role("tab", name=text.TAB_SEVERAL, exact=True).click()
    files = sorted((ROOT / "assets" / "examples").glob("*.jpg"))
    page.locator("#dd-several-upload input[type=file]").first.set_input_files(files)
    page.wait_for_selector(".dd-list", timeout=60_000)


def job(page: Page) -> None:
    """Log in as administrator and open the first job."""
    page.goto(page.url.split("/?")[0] + "/administration")
    page.get_by_label("Your name").fill("Dr. Ada")
    page.get_by_label("Administrator password").fill(os.environ[PASSWORD])
    page.keyboard.press("Enter")
    page.wait_for_selector("#nav")
    page.evaluate("location.hash = '/jobs/0001'")
    page.wait_for_selector("main svg", timeout=60_000)


class Shot(NamedTuple):
    """One picture: its name, what is done first, and the screen."""

    name: str
    act: Callable[[Page], None]
    width: int = 1280
    height: int = 980
    theme: str = "light"


SHOTS = (
    Shot("analyse", analyse),
    Shot("analyse-dark", analyse, theme="dark"),
    Shot("analyse-phone", analyse, 390, 844),
    Shot("several", several, height=640),
    Shot("reconstruction", tab(text.TAB_RECONSTRUCTION, ".dd-subject img")),
    Shot("attribution", tab(text.TAB_ATTRIBUTION, ".dd-subject img")),
    Shot("latent", tab(text.TAB_LATENT, "#dd-map[data-painted]", 2)),
    Shot("latent-phone", tab(text.TAB_LATENT, "#dd-map[data-painted]", 2), 390, 844, "dark"),
    Shot("models", tab(text.TAB_MODELS, ".dd-models")),
    Shot("administration", tab(text.TAB_ADMINISTRATION, "#dd-admin"), height=640),
    Shot("job", job, height=1130),
)


def save(data: bytes, path: Path) -> None:
    """With 256 colours: a third of the size, and no eye sees it."""
    Image.open(io.BytesIO(data)).convert("RGB").quantize(256).save(path, optimize=True)


def main() -> int:
    """Every tab, one picture each; the first also dark and on a phone; with names only those."""
    address = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:7860"
    names = [shot.name for shot in SHOTS if shot.act is not job or PASSWORD in os.environ]
    FOLDER.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        for shot in SHOTS:
            if shot.name not in (sys.argv[2:] or names):
                continue
            page = chromium.new_page(viewport={"width": shot.width, "height": shot.height})
            page.goto(f"{address}/?__theme={shot.theme}")
            shot.act(page)
            page.evaluate("window.scrollTo(0, 0)")
            page.mouse.move(0, 0)
            page.wait_for_timeout(800)
            save(page.screenshot(), FOLDER / f"{shot.name}.png")
            page.close()
        chromium.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
