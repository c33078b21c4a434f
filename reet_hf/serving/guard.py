"""What is refused before the body of a request is read: unknown tokens, and more requests than may wait."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from .problems import problem, unauthorized
from .telemetry import QUIET

OPEN = (*QUIET, "/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json")  # for these nobody needs a token


class Guarded:
    """Lets nobody send a body who may not use the server, or whom it has no room for.

    Args:
        app: What serves the others; its outermost application has settings and workers in its state.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = None
        if scope["type"] == "http" and scope["path"] not in OPEN:
            state = Request(scope).app.state
            if state.settings.tenants.of(Headers(scope=scope).get("authorization")) is None:
                refused = unauthorized()
            elif scope["method"] == "POST" and state.workers.is_full:
                told = f"{state.workers.pending} requests are being worked on or waiting, as many as this server takes."
                refused = problem(503, "busy", told, headers={"Retry-After": "1"})
        await (refused or self.app)(scope, receive, send)
