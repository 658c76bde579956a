"""What administration says when something is refused: JSON with a sentence, whatever raised it."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.encoders import jsonable_encoder
from fastapi.exception_handlers import http_exception_handler, request_validation_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException

from dermdemo.errors import AuthError, DermdemoError, JobError
from dermdemo.ui.admin.door import LoginError
from dermdemo.ui.wording import access as words

PAGE = "/administration"


def is_ours(path: str) -> bool:
    """Whether a path belongs to administration."""
    return path == PAGE or path.startswith(PAGE + "/")


def add_error_answers(app: FastAPI) -> None:
    """Answer errors of the routes below administration in JSON; those of others stay as they are."""
    app.add_exception_handler(DermdemoError, _refused)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _unreadable)
    app.add_exception_handler(Exception, _failed)


def refusal(error: DermdemoError) -> JSONResponse:
    """An expected error: 403, 409 or 400, its sentence, its class, and what else it carries."""
    status = 403 if isinstance(error, AuthError) else 409 if isinstance(error, JobError) else 400
    extra = dict(vars(error))
    seconds = None
    if isinstance(error, LoginError):
        status, seconds = error.status, error.seconds
        extra = {"seconds": seconds} if seconds else {}
    headers = {"Retry-After": str(seconds)} if seconds else None
    return _said(status, str(error), type(error).__name__, extra=extra, headers=headers)


async def _refused(request: Request, error: Exception) -> Response:
    if not isinstance(error, DermdemoError):
        raise error
    return refusal(error)


async def _http(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    if not is_ours(request.url.path):
        return await http_exception_handler(request, error)
    return _said(error.status_code, str(error.detail), "HTTPException", headers=error.headers)


async def _unreadable(request: Request, error: Exception) -> Response:
    """A body or a parameter of another form; what was sent is not repeated."""
    if not isinstance(error, RequestValidationError):
        raise error
    if not is_ours(request.url.path):
        return await request_validation_exception_handler(request, error)
    first: Any = next(iter(error.errors()), {})
    where = ".".join(str(part) for part in first.get("loc", ())[1:]) or "body"
    return _said(400, words.BAD_REQUEST.format(where=where, why=f"({first.get('msg', 'unknown')})"), "RequestError")


async def _failed(request: Request, error: Exception) -> Response:
    """What nobody expected; the server's log gets the traceback."""
    if not is_ours(request.url.path):
        return PlainTextResponse("Internal Server Error", status_code=500)
    return _said(500, words.FAILED, "ServerError")


def _said(status: int, sentence: str, kind: str, *, extra: Any = None, headers: Any = None) -> JSONResponse:
    content = {**jsonable_encoder(extra or {}), "error": sentence, "kind": kind}
    return JSONResponse(content, status_code=status, headers=headers)
