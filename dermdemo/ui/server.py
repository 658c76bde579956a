"""The web server: our own FastAPI app with the pages mounted in it, and the headers that keep them closed.

Unusual here: Gradio is mounted, not launched, so that every answer carries a content security policy that
lets nothing leave this host, and so that files of our own (plotly's script, the map's points) have routes
that never touch a visitor's upload.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import gradio as gr
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import FileResponse
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dermdemo.config import environment
from dermdemo.ui.admin.guard import AdminGuard
from dermdemo.ui.admin.routes import add_admin_routes
from dermdemo.ui.admin.site import open_site, visitors_door
from dermdemo.ui.admin.visitors import VisitorsOnly, add_visitor_routes
from dermdemo.ui.known_map import ASSETS as ASSETS
from dermdemo.ui.known_map import KnownMap, Packed
from dermdemo.ui.layout import MAX_FILE_SIZE, build
from dermdemo.ui.live import FixedModels, LiveModels
from dermdemo.ui.map_routes import add_map_routes, packed_answer
from dermdemo.ui.theme import build_theme, styles

if TYPE_CHECKING:
    from dermdemo.analysis.analyser import Analyser
    from dermdemo.analysis.known import KnownImages

STATIC = Path(__file__).with_name("static")
POLICY = "; ".join([
    "default-src 'self'", "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:", "style-src 'self' 'unsafe-inline'",
    "img-src 'self' data: blob:", "font-src 'self' data:", "connect-src 'self' data: blob:",
    "media-src 'self' data: blob:", "worker-src 'self' blob:", "object-src 'none'", "base-uri 'self'",
    "form-action 'self'", "frame-ancestors 'self'",
])  # fmt: skip
HEADERS = {
    "Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "SAMEORIGIN", "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "geolocation=(), microphone=()",
}  # fmt: skip
DAY = "public, max-age=86400"


def plotly_script() -> Path:
    """plotly.min.js of the installed plotly package.

    Raises:
        FileNotFoundError: plotly is not installed, or ships without it.
    """
    spec = find_spec("plotly")
    script = Path(spec.origin).parent / "package_data" / "plotly.min.js" if spec and spec.origin else None
    if script is None or not script.is_file():
        raise FileNotFoundError("plotly.min.js is not installed: pip install -r requirements.txt")
    return script


def private_uploads() -> None:
    """Give this process an upload folder of its own, readable by its user alone, unless GRADIO_TEMP_DIR names one.

    Gradio's default is one folder for all apps of the machine, and an app that ends empties it.
    """
    if "GRADIO_TEMP_DIR" not in os.environ:
        os.environ["GRADIO_TEMP_DIR"] = folder = tempfile.mkdtemp(prefix="dermdemo-uploads-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)


def create_app(analyser: Analyser | None, *, problem: str | None = None, images: KnownImages | None = None,
               live: LiveModels | None = None) -> FastAPI:
    """The whole server. Without an analyser the pages say why in the words of `problem`.

    Args:
        images: the data set, where it is on this machine: known lesions are then shown as their real images.
        live: serve what these serve, also after a promotion, in place of `analyser` and `problem`.
    """
    private_uploads()
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    models = live or FixedModels(analyser, problem)
    _add_access(app, models)
    _add_assets(app)
    known = KnownMap(lambda: models.now().analyser, images)
    if live:
        live.after.append(known.current)
    add_map_routes(app, ASSETS, known)
    return gr.mount_gradio_app(
        app, build(models, known), "/", theme=build_theme(), css_paths=styles(),
        show_error=False, max_file_size=MAX_FILE_SIZE, allowed_paths=[], run_history=False, enable_monitoring=False,
        pwa=False, mcp_server=False, ssr_mode=False, footer_links=[],
        app_kwargs={"openapi_url": None, "docs_url": None, "redoc_url": None},
    )  # fmt: skip


def _add_access(app: FastAPI, models: LiveModels | FixedModels) -> None:
    """Administration and the visitors' login, as the environment says at the start; the last added is asked first."""
    settings = environment()
    app.state.visitors = visitors_door(settings)
    app.add_middleware(VisitorsOnly)
    app.add_middleware(AdminGuard)
    app.add_middleware(ClosedHeaders)
    add_visitor_routes(app)
    add_admin_routes(app, open_site(settings, models), settings)


class ClosedHeaders:
    """ASGI middleware: the headers above on every answer; streamed answers pass through as they come."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def closed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if "/file=" in scope["path"]:
                    headers["Cache-Control"] = "no-store"
            await send(message)

        await self.app(scope, receive, closed if scope["type"] == "http" else send)


def _add_assets(app: FastAPI) -> None:
    """plotly's script, packed once when first asked for, and our own by name."""
    known = {path.name: path for path in sorted(STATIC.glob("*.js"))}
    script_file = plotly_script()

    @lru_cache(1)
    def plotly() -> Packed:
        return Packed.of(script_file.read_bytes())

    @app.get("/gradio_api/openapi.json")
    def nothing() -> None:
        raise HTTPException(404)  # Gradio would list every public listener here

    @app.get(ASSETS + "/{name}.js")
    def script(name: str, request: Request) -> Response:
        if name == "plotly.min":
            return packed_answer(plotly(), request, "text/javascript", DAY)
        path = known.get(f"{name}.js")
        if path is None:
            raise HTTPException(404)
        return FileResponse(path, media_type="text/javascript", headers={"Cache-Control": "no-cache"})
