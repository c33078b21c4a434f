"""Errors as answers of the HTTP server, in the form that OpenAI's clients read."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from ..errors import DeadlineError, ReetError
from .failures import Failure, TooLate
from .schemas import Error

logger = logging.getLogger(__name__)
CODES = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    408: "body_timeout",
    413: "too_large",
}
STATUSES = {
    400: "The body is no JSON",
    401: "No token, or one that is not known",
    403: "The tenant keeps as many sessions as it may",
    404: "No such session",
    408: "The body did not come in time",
    409: "The session is not as the request takes it to be",
    413: "The body is too large",
    422: "The input or an option cannot be honoured",
    500: "An error of the server",
    502: "The provider cannot be reached, or breaks off",
    503: "Too many requests are waiting, or this one took too long",
    504: "The provider takes too long",
}


def problem(
    status: int, code: str, message: str, floor: int | None = None, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """An answer that says what was wrong."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    told: dict[str, Any] = {"code": code, "message": message, "type": kind}
    if floor is not None:
        told["floor"] = floor
    return JSONResponse({"error": told}, status, dict(headers or {}))


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The errors of a route, for the OpenAPI document."""
    return {status: {"model": Error, "description": STATUSES[status]} for status in sorted(statuses)}


def add_handlers(app: FastAPI) -> None:
    """Let all errors of an application be told in one form."""

    @app.exception_handler(ReetError)
    async def refused(request: Request, error: ReetError) -> JSONResponse:
        if isinstance(error, DeadlineError):
            error = TooLate(str(error))
        status, code = (error.status, error.code) if isinstance(error, Failure) else (422, "invalid_request")
        if status == 500:
            logger.error("A session cannot be opened", exc_info=error.__cause__ or error)
        wait = error.wait if isinstance(error, Failure) else None
        return problem(status, code, str(error), error.floor, {"Retry-After": str(wait)} if wait else None)

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            return problem(
                400, "bad_request", f"The body must be JSON, but is not from character {first['loc'][-1]} on."
            )
        where = ".".join(str(part) for part in first["loc"] if part != "body" and str(part).isidentifier()) or "body"
        more = f" ({len(error.errors()) - 1} more)" if len(error.errors()) > 1 else ""
        return problem(422, "invalid_request", f"`{where:.200}` is not as it must be: {first['msg']:.300}{more}.")

    @app.exception_handler(HTTPException)
    async def plain(request: Request, error: HTTPException) -> JSONResponse:
        code, headers = CODES.get(error.status_code, "error"), error.headers
        if error.status_code == 405:
            headers = {**(headers or {}), "Allow": ", ".join(sorted(_methods(app, request)))}
        return problem(error.status_code, code, str(error.detail), headers=headers)

    @app.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> JSONResponse:
        return problem(500, "server_error", "Something went wrong here; the log of the server says what.")


def _methods(app: FastAPI, request: Request) -> set[str]:
    """All methods that a path of the application has, in whichever routes."""
    found: set[str] = set()
    for path, operations in app.openapi()["paths"].items():
        pattern = re.sub(r"\\{[^}]*\\}", "[^/]+", re.escape(path))
        if re.fullmatch(pattern, request.url.path):
            found |= {method.upper() for method in operations}
    return found
