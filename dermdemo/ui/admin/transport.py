"""What a request must look like before a password or a session counts: its transport, its origin, its cookie.

A cookie is bound to the host that set it. Over https it carries the `__Host-` prefix, so that no other host and no
plain page of this one can plant it, and only that one is read; over plain http only the other one is.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection
from starlette.responses import Response

from dermdemo.config import Environment
from dermdemo.jobs.credential import Kind

PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
READS = ("same-origin", "none")  # none: typed, or opened from a bookmark


def is_secure(conn: HTTPConnection) -> bool:
    """Whether the browser's end of the connection is encrypted (uvicorn asks a proxy on this machine)."""
    return conn.url.scheme in ("https", "wss")


def is_trusted(conn: HTTPConnection, settings: Environment) -> bool:
    """Whether a password or a session may come this way: encrypted, or without leaving this machine.

    A plain connection counts as local only if both its ends say so. The client's address alone is not enough: a
    name of somebody else's that was made to resolve to 127.0.0.1 (DNS rebinding), or a proxy here that does not
    say whom it speaks for, would look local too.
    """
    host = conn.client.host if conn.client else ""
    local = _is_loopback(host) and _is_loopback(_host(conn)[0])
    return is_secure(conn) or settings.admin_http or local


def came_from_here(conn: HTTPConnection, *, acts: bool) -> bool:
    """Whether a request was made by a page of this server.

    Args:
        acts: it changes something: then it must say where it came from; else it must not say another place.
    """
    fetch, origins = conn.headers.get("sec-fetch-site"), conn.headers.getlist("origin")
    if len(origins) > 1 or (fetch is not None and fetch not in (READS[:1] if acts else READS)):
        return False
    if not origins:
        return fetch is not None or not acts
    if origins[0] == "null":  # a form of a page that sends no referrer
        return fetch == "same-origin"
    return _origin(origins[0]) == (_scheme(conn), *_host(conn))


def cookie_name(conn: HTTPConnection, kind: Kind) -> str:
    return f"{'__Host-' if is_secure(conn) else ''}dermdemo-{kind}"


def token_of(conn: HTTPConnection, kind: Kind, settings: Environment) -> str | None:
    """The token that a request brings, if it came a way that counts."""
    return conn.cookies.get(cookie_name(conn, kind)) if is_trusted(conn, settings) else None


def set_cookie(answer: Response, conn: HTTPConnection, kind: Kind, token: str) -> None:
    """Hand a token to the browser, until it is closed.

    The path is `/` because the visitors' check of all other pages accepts administrators as well (and the prefix
    asks for it). Without https the Secure flag would keep the browser from sending it back at all: that is left
    out only where `is_trusted` lets a plain connection pass, which on its own is one that stays on this machine.
    """
    answer.set_cookie(cookie_name(conn, kind), token, path="/", httponly=True, samesite="strict",
                      secure=is_secure(conn))


def drop_cookie(answer: Response, conn: HTTPConnection, kind: Kind) -> None:
    answer.delete_cookie(cookie_name(conn, kind), path="/", httponly=True, samesite="strict", secure=is_secure(conn))


def _scheme(conn: HTTPConnection) -> str:
    return "https" if is_secure(conn) else "http"


def _host(conn: HTTPConnection) -> tuple[str, int]:
    """Name and port of the Host header; an empty name where it cannot be read."""
    hosts = conn.headers.getlist("host")
    found = _origin(f"{_scheme(conn)}://{hosts[0]}") if len(hosts) == 1 else None
    return found[1:] if found else ("", 0)


def _origin(text: str) -> tuple[str, str, int] | None:
    """Scheme, name and port; None for what is no origin."""
    try:
        parts = urlsplit(text)
        if parts.path or parts.query or parts.fragment or "@" in parts.netloc or not parts.hostname:
            return None
        return parts.scheme, parts.hostname, parts.port or PORTS[parts.scheme]
    except (ValueError, KeyError):
        return None


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)
