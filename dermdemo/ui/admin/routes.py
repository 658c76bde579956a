"""All of administration put together: its page, its scripts, its routes, and 404 for everything else below it."""

from __future__ import annotations

import html
from pathlib import Path

from fastapi import APIRouter, FastAPI, HTTPException, Request, Response
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse

from dermdemo.config import Environment
from dermdemo.jobs.credential import problem
from dermdemo.ui.admin import (
    audit_routes,
    data_routes,
    job_routes,
    launch_routes,
    login_routes,
    model_routes,
    overview_routes,
)
from dermdemo.ui.admin.answers import PAGE, add_error_answers
from dermdemo.ui.admin.page_files import read_page
from dermdemo.ui.admin.site import AdminSite
from dermdemo.ui.known_map import ASSETS
from dermdemo.ui.wording import access as words

STATIC = Path(__file__).parents[1] / "static" / "admin"
TYPES = {".js": "text/javascript", ".css": "text/css"}
ROUTERS: tuple[APIRouter, ...] = (
    login_routes.router, overview_routes.router, data_routes.router, launch_routes.router, job_routes.router,
    model_routes.router, audit_routes.router)
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
MARK = "<!-- problem -->"  # in closed.html: where a credential that cannot be used is explained


def add_admin_routes(app: FastAPI, site: AdminSite | None, settings: Environment) -> None:
    """Everything below `/administration`; without a site only the page that says why it is closed."""
    app.state.admin = site
    add_error_answers(app)
    _add_scripts(app)
    if site is None:
        @app.get(PAGE)
        def closed() -> Response:
            return _closed(settings)
    else:
        data_routes.inbox_of(site)  # what a server that was killed left behind goes now
        site.jobs.data.sweep()
        app.get(PAGE)(_page)
        for router in ROUTERS:
            app.include_router(router)

    @app.api_route(PAGE + "/{rest:path}", methods=METHODS)
    def nothing(rest: str) -> Response:
        """Nothing below falls through to the pages that are mounted at `/`."""
        if not rest:
            return RedirectResponse(PAGE, 308)
        raise HTTPException(404, words.NOTHING_HERE)


def _page(request: Request) -> Response:
    """The workspace for those who are logged in; for all others the login, without a trace of it."""
    site: AdminSite = request.app.state.admin
    if site.door.stamp() is None:
        return _closed(site.settings)
    return _html("workspace" if site.door.session(request) else "login")


def _closed(settings: Environment) -> Response:
    found = problem(settings)
    return _html("closed", f'<p role="alert">{html.escape(found)}</p>' if found else "")


def _html(name: str, said: str = "") -> Response:
    return HTMLResponse(read_page(name).replace(MARK, said))


def _add_scripts(app: FastAPI) -> None:
    """Scripts and styles of the page, by the names that were there at the start."""
    known = {path.name: path for path in sorted(STATIC.iterdir()) if path.suffix in TYPES and path.is_file()}

    @app.get(ASSETS + "/admin/{name}")
    def admin_script(name: str) -> Response:
        path = known.get(name)
        if path is None:
            raise HTTPException(404)
        return FileResponse(path, media_type=TYPES[path.suffix], headers={"Cache-Control": "no-cache"})
