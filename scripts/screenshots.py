"""Take the pictures of README and docs from the running app: `python -m scripts.screenshots [ADDRESS]`.

Only synthetic examples are shown: no data-set image ships with this repository, in pictures neither.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "screenshots"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
EXAMPLE = "melanoma"


def shoot(page: Page, address: str, name: str, *, whole: bool) -> None:
    """Analyse the example and save what is seen."""
    page.goto(address)
    page.get_by_role("button", name=EXAMPLE).click()
    page.wait_for_selector(".dd-verdict", timeout=60_000)
    page.mouse.move(0, 0)
    page.wait_for_timeout(800)
    page.screenshot(path=FOLDER / f"{name}.png", full_page=whole)


def main() -> int:
    """Light, dark and phone."""
    address = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:7860"
    FOLDER.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        for name, width, height, theme, whole in (("analyse", 1280, 980, "light", False),
                                                  ("analyse-dark", 1280, 980, "dark", False),
                                                  ("analyse-phone", 390, 844, "light", False)):
            page = chromium.new_page(viewport={"width": width, "height": height})
            shoot(page, f"{address}/?__theme={theme}", name, whole=whole)
        chromium.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
