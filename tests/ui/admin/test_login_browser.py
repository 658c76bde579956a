"""The logins in a real browser: what its headers, cookies and policies make of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.ui.admin.conftest import PASSWORD, VISITORS, Server
from tests.ui.chromium import MARKS, chromium, open_tab, visitor

pytestmark = MARKS
LOGIN = """async ([name, password]) => (await fetch("/administration/login", {
    method: "POST", body: JSON.stringify({ name, password }) })).status"""
OUT = """async (address) => {
    for (const mode of ["no-cors", "cors"]) {
        const options = { method: "POST", mode, credentials: "include" };
        await fetch(address + "/administration/logout", options).catch(() => 0);
    }
    const form = document.createElement("form");
    Object.assign(form, { method: "post", action: address + "/administration/logout" });
    document.body.append(form);
    form.submit();
}"""


class _Elsewhere(BaseHTTPRequestHandler):
    """Another server on this machine: same site, same cookies, other origin."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><body>elsewhere</body>")

    def log_message(self, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def elsewhere() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Elsewhere) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{other.server_port}"
        other.shutdown()


def test_a_visitor_logs_in_and_out(server: Server) -> None:
    server.ask_visitors()
    with chromium() as browser, visitor(browser) as page:
        page.goto(server.address)
        assert page.url == server.address + "/login"
        page.get_by_label("Password").fill("not the password")
        page.get_by_role("button", name="Log in").click()
        page.get_by_role("alert").get_by_text("not the password").wait_for()
        page.get_by_label("Password").fill(VISITORS)
        page.get_by_role("button", name="Log in").click()
        open_tab(page, "Administration")
        with page.expect_popup() as opened:
            page.get_by_role("link", name="Open administration").click()
        opened.value.wait_for_load_state()
        assert opened.value.url == server.address + "/administration"
        page.goto(server.address + "/login")
        page.get_by_role("button", name="Log out").click()
        page.get_by_label("Password").wait_for()
        page.goto(server.address)
        assert page.url == server.address + "/login"


def test_a_page_of_another_server_acts_for_nobody(server: Server, elsewhere: str) -> None:
    with chromium() as browser, visitor(browser) as page:
        page.goto(server.address + "/administration")
        assert page.evaluate(LOGIN, ["Ada", PASSWORD]) == 200
        assert page.evaluate("document.cookie") == ""
        page.goto(elsewhere)
        page.evaluate(OUT, server.address)
        page.wait_for_url(server.address + "/administration/logout")
        assert page.evaluate("document.body.innerText").startswith('{"')
        page.goto(server.address + "/administration")
        assert page.evaluate("async () => (await (await fetch('/administration/api/session')).json()).who") == "Ada"


def test_no_page_may_frame_administration(server: Server, elsewhere: str) -> None:
    with chromium() as browser, visitor(browser) as page:
        page.goto(elsewhere)
        page.evaluate("""async (address) => { const frame = document.createElement("iframe");
            frame.src = address; document.body.append(frame);
            await new Promise((done) => { frame.onload = done; }); }""", server.address + "/administration")
        assert all("dermdemo" not in frame.content() for frame in page.frames[1:])
