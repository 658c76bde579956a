"""Which requests count: encrypted or local, from a page of this server, with the cookie that goes with it."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.requests import HTTPConnection

from dermdemo.config import Environment
from dermdemo.ui.admin.transport import came_from_here, cookie_name, is_trusted, token_of

HERE = {"host": "derm.example"}


def conn(client: str | None = "127.0.0.1", scheme: str = "http", **headers: str) -> HTTPConnection:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return HTTPConnection({"type": "http", "scheme": scheme, "headers": raw, "path": "/", "query_string": b"",
                           "client": (client, 1) if client else None, "server": ("127.0.0.1", 7860)})


@pytest.fixture
def settings(tmp_path: Path) -> Environment:
    return Environment(home=tmp_path, checkpoints=tmp_path)


@pytest.mark.parametrize(("client", "host", "trusted"), [
    ("127.0.0.1", "127.0.0.1:7860", True), ("127.8.8.8", "localhost", True), ("::1", "[::1]:7860", True),
    ("::ffff:127.0.0.1", "app.localhost:80", True), ("192.0.2.7", "127.0.0.1:7860", False),
    ("127.0.0.1", "rebound.example", False), ("127.0.0.1", "192.0.2.1:7860", False), ("127.0.0.1", "", False),
    ("127.0.0.1", "localhost.evil.example", False), ("127.0.0.1", "evil@localhost", False),
    (None, "localhost", False), ("172.17.0.1", "localhost:7860", False)])  # fmt: skip
def test_plain_http_counts_only_inside_this_machine(settings: Environment, client: str | None, host: str,
                                                    trusted: bool) -> None:  # fmt: skip
    assert is_trusted(conn(client, host=host), settings) is trusted
    assert is_trusted(conn(client, "https", host=host), settings)
    assert is_trusted(conn(client, host=host), Environment(home=settings.home, checkpoints=settings.home,
                                                           admin_http=True))


@pytest.mark.parametrize(("headers", "reads", "acts"), [
    ({}, True, False),
    ({"origin": "https://derm.example"}, True, True),
    ({"origin": "https://derm.example:443"}, True, True),
    ({"origin": "https://DERM.example"}, True, True),
    ({"sec_fetch_site": "same-origin"}, True, True),
    ({"sec_fetch_site": "none"}, True, False),
    ({"sec_fetch_site": "same-site"}, False, False),
    ({"sec_fetch_site": "cross-site"}, False, False),
    ({"sec_fetch_site": "cross-site", "origin": "https://derm.example"}, False, False),
    ({"sec_fetch_site": "same-origin", "origin": "https://evil.example"}, False, False),
    ({"sec_fetch_site": "same-origin", "origin": "null"}, True, True),
    ({"origin": "null"}, False, False),
    ({"origin": ""}, False, False),
    ({"origin": "http://derm.example"}, False, False),
    ({"origin": "https://derm.example:8443"}, False, False),
    ({"origin": "https://derm.example.evil.example"}, False, False),
    ({"origin": "https://derm.example/path"}, False, False),
    ({"origin": "https://x@derm.example"}, False, False),
    ({"origin": "https://[derm.example"}, False, False),
    ({"origin": "ftp://derm.example"}, False, False)])  # fmt: skip
def test_where_a_request_came_from(headers: dict[str, str], reads: bool, acts: bool) -> None:
    one = conn("192.0.2.7", "https", **HERE, **headers)
    assert came_from_here(one, acts=False) is reads
    assert came_from_here(one, acts=True) is acts


def test_a_request_with_two_hosts_or_origins_is_from_nowhere() -> None:
    one = conn("192.0.2.7", "https", **HERE, origin="https://derm.example")
    for name in (b"host", b"origin"):
        one.scope["headers"].append((name, b"https://derm.example" if name == b"origin" else b"derm.example"))
        doubled = HTTPConnection(one.scope)
        assert not came_from_here(doubled, acts=True)
        one.scope["headers"].pop()


def test_each_kind_and_each_transport_has_a_cookie_of_its_own(settings: Environment) -> None:
    cookies = "dermdemo-admin=plain; __Host-dermdemo-admin=secure; dermdemo-visitor=guest"
    plain = conn(host="localhost", cookie=cookies)
    secure = conn("192.0.2.7", "https", host="derm.example", cookie=cookies)
    assert token_of(plain, "admin", settings) == "plain" and token_of(plain, "visitor", settings) == "guest"
    assert token_of(secure, "admin", settings) == "secure" and token_of(secure, "visitor", settings) is None
    assert token_of(conn("192.0.2.7", host="localhost", cookie=cookies), "admin", settings) is None
    assert {cookie_name(c, k) for c in (plain, secure) for k in ("admin", "visitor")} == {  # type: ignore[arg-type]
        "dermdemo-admin", "dermdemo-visitor", "__Host-dermdemo-admin", "__Host-dermdemo-visitor"}
