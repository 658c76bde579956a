"""Many visitors at once, and what is left of an upload once its life has ended."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from dermdemo.data.synthetic import synthetic_lesion
from dermdemo.ui import text
from dermdemo.ui.examples import list_examples
from tests.data.test_archives import packed
from tests.ui.chromium import CHROMIUM, FLAGS, MARKS, STILL, WAIT, chromium, open_tab, upload, visitor
from tests.ui.conftest import jpeg, start

VISITORS, BROWSERS = 16, 4
PIXELS = b"PIXELMARKER-4711-of-a-patient--!"  # 33 bytes are 11 pixels; the last byte is padded below
EXIF, NAME = "EXIFMARKER-4711", "NAMEMARKER-4711"
GRACE = 2

pytestmark = MARKS


def picture(k: int) -> bytes:
    return jpeg("nv" if k % 2 else "mel", 100 + k)


async def ask(client: httpx.AsyncClient, k: int) -> dict[str, Any]:
    """What the API says of a visitor's picture."""
    sent = await client.post("/gradio_api/upload", files={"files": ("lesion.jpg", picture(k))})
    asked = {"data": [{"path": sent.json()[0], "meta": {"_type": "gradio.FileData"}}]}
    event = (await client.post("/gradio_api/call/analyse", json=asked)).json()["event_id"]
    answer = (await client.get(f"/gradio_api/call/analyse/{event}")).text
    return dict(json.loads(answer.partition("event: complete\ndata: ")[2].splitlines()[0])[0]["arms"])


async def look(browser: Any, app: str, k: int) -> str:
    """The reconstruction that a visitor's page shows."""
    context = await browser.new_context(**STILL)
    context.set_default_timeout(2 * WAIT)
    page = await context.new_page()
    await page.goto(app)
    await page.get_by_text(text.EMPTY_TITLE).wait_for()
    await page.locator("#dd-upload input[type=file]").first.set_input_files(
        {"name": "lesion.jpg", "mimeType": "image/jpeg", "buffer": picture(k)})
    await page.wait_for_selector("#dd-result .dd-verdict, #dd-result .dd-failure")
    said = str(await page.locator("#dd-result img").first.get_attribute("src"))
    assert await page.locator(".dd-failure, .toast-body.error").count() == 0
    await context.close()
    return said


@pytest.mark.slow
def test_sixteen_visitors_at_once_all_get_their_own_answer(app: str) -> None:
    """Some look at the page, the others ask by program; what these are told in the crowd they are told alone."""
    from playwright.async_api import async_playwright

    async def everyone() -> tuple[list[str], list[dict[str, Any]], list[dict[str, Any]]]:
        async with (async_playwright() as driver, httpx.AsyncClient(base_url=app, timeout=2 * WAIT / 1000) as client):
            browser = await driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            looks = [look(browser, app, k) for k in range(BROWSERS)]
            asks = [ask(client, k) for k in range(BROWSERS, VISITORS)]
            answers = await asyncio.gather(*looks, *asks)
            await browser.close()
            alone = [await ask(client, k) for k in range(BROWSERS, VISITORS)]
        return answers[:BROWSERS], answers[BROWSERS:], alone

    seen, told, alone = asyncio.run(everyone())
    assert len(set(seen)) == BROWSERS
    assert told == alone and len({json.dumps(t) for t in told}) == VISITORS - BROWSERS


def marked_bmp() -> bytes:
    """A lesion whose pixels spell a marker, uncompressed: it can be found in any raw copy."""
    pixels = np.array(synthetic_lesion("nv", 7))
    text_pixels = np.frombuffer(PIXELS.ljust(33, b"."), np.uint8).reshape(-1, 3)
    pixels[40:60, 40 : 40 + len(text_pixels)] = text_pixels
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="BMP")
    return buffer.getvalue()


def marked_jpeg() -> bytes:
    """A lesion with a marker in its metadata."""
    exif = Image.Exif()
    exif[0x010E] = EXIF
    exif[0x9286] = EXIF
    buffer = io.BytesIO()
    synthetic_lesion("mel", 8).save(buffer, format="JPEG", exif=exif, comment=EXIF.encode())
    return buffer.getvalue()


def traces(folder: Path, chunks: dict[str, bytes]) -> list[str]:
    """Files below `folder` that hold a marker in their name, their bytes or, if they are images, their pixels."""
    found = []
    for path in (Path(above, name) for above, _, names in os.walk(folder) for name in names):
        try:
            data = path.read_bytes()
        except OSError:  # it went while it was searched for, or is no regular file
            continue
        with contextlib.suppress(Exception):  # not an image: its bytes are enough
            data += np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).tobytes()
        found += [f"{path}: {name}" for name, chunk in chunks.items() if chunk in data]
        found += [f"{path}: name"] if NAME in str(path) else []
    return found


@contextlib.contextmanager
def watched(folder: Path, chunks: dict[str, bytes]) -> Iterator[list[str]]:
    """Search again and again while the block runs: an upload may be gone once its answer is there."""
    found: list[str] = []
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.05):
            found.extend(traces(folder, chunks))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield found
    finally:
        ended.set()
        watcher.join()


@pytest.fixture
def lonely(shared_store: Path, tmp_path: Path) -> Iterator[tuple[str, Path, Any]]:
    os.environ["DERMDEMO_UPLOAD_SECONDS"] = str(GRACE)
    process, address, log = start(shared_store, tmp_path)
    del os.environ["DERMDEMO_UPLOAD_SECONDS"]
    yield address, tmp_path, process
    process.terminate()
    process.wait(30)
    assert "Traceback" not in log.read_text()


def test_nothing_of_an_upload_is_left_when_its_life_has_ended(lonely: tuple[str, Path, Any]) -> None:
    address, folder, process = lonely
    bmp, photo = marked_bmp(), marked_jpeg()
    row = PIXELS.ljust(33, b".")
    bgr = np.frombuffer(row, np.uint8).reshape(-1, 3)[:, ::-1].tobytes()
    chunks = {"exif": EXIF.encode(), "name": NAME.encode(), "pixels": row[:33], "pixels, BGR": bgr,
              "photo": photo[len(photo) // 2 : len(photo) // 2 + 48]}
    example = list_examples()[0].path.read_bytes()
    chunks["example"] = example[len(example) // 2 : len(example) // 2 + 48]
    assert bgr in bmp and EXIF.encode() in photo
    with chromium() as browser, visitor(browser) as page:
        page.goto(address)
        page.get_by_text(text.EMPTY_TITLE).wait_for()
        with watched(folder, chunks) as seen:
            upload(page, bmp, f"{NAME}.bmp", "image/bmp")
        assert seen, "the search finds nothing even while the upload is there"
        page.get_by_label("Clear").or_(page.get_by_label("Remove Image")).first.click()
        page.get_by_text(text.EMPTY_TITLE).wait_for()
        upload(page, photo, f"{NAME}.jpg")
        shown = page.locator("#dd-result").inner_html()
        assert EXIF not in shown and NAME not in shown
        open_tab(page, text.TAB_SEVERAL)
        page.locator("#dd-several-upload input[type=file]").first.set_input_files(
            [{"name": f"{NAME}.zip", "mimeType": "application/zip", "buffer": packed({f"{NAME}.jpg": photo})},
             {"name": f"{NAME}-2.jpg", "mimeType": "image/jpeg", "buffer": b"broken" + photo},
             {"name": "example.jpg", "mimeType": "image/jpeg", "buffer": example}])
        page.wait_for_selector(".dd-list")
    deadline = time.monotonic() + 60
    while traces(folder, chunks) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert traces(folder, chunks) == []
    assert process.poll() is None, "the app is still running: its memory is not what was searched"
    pictures = set(re.findall(r'"(http[^"]*file=[^"]*synthetic_[^"]*)"', httpx.get(f"{address}/config").text))
    assert len(pictures) == len(list_examples())
    assert {httpx.get(url).status_code for url in pictures} == {200}, "an example has gone with the upload of it"
