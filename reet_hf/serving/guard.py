"""What is refused before the body of a request is read: unknown tokens, and more requests than may wait."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from .problems import problem
from .telemetry import QUIET, tell

REALM = {"WWW-Authenticate": 'Bearer realm="reet"'}
OPEN = (*QUIET, "/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json")  # for these nobody needs a token


class Guarded:
    """Lets nobody send a body who may not use the server, or whom it has no room for; notes whose request it is.

    Args:
        app: What serves the others; its outermost application has settings and workers in its state.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = None
        if scope["type"] == "http" and scope["path"] not in OPEN:
            state = Request(scope).app.state
            tenant = state.settings.tenants.of(Headers(scope=scope).get("authorization"))
            if tenant is None:
                told = "This server needs a token that it knows: Authorization: Bearer ..."
                refused = problem(401, "unauthorized", told, headers=REALM)
            elif scope["method"] == "POST" and state.workers.is_full:
                told = f"{state.workers.pending} requests are being worked on or waiting, as many as this server takes."
                refused = problem(503, "busy", told, headers={"Retry-After": "1"})
            else:
                tell(Request(scope).state, tenant=tenant)
        await (refused or self.app)(scope, receive, send)
