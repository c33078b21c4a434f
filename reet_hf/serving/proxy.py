"""OpenAI's chat route: messages are shortened to a budget and sent on; the provider's answer comes back as it is."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Coroutine, Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Annotated, Any

import httpx
from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import StreamingResponse
from opentelemetry import propagate

from . import schemas
from .problems import documented, problem
from .routes import ALWAYS, StrictRoute, Tenant, work
from .settings import Settings
from .telemetry import span, tell

logger = logging.getLogger(__name__)
proxy = APIRouter(
    prefix="/v1", tags=["provider"], route_class=StrictRoute, responses=documented(*ALWAYS, 409, 502, 504)
)

# of one connection, or written by this server itself
NOT_PASSED = {
    "connection",
    "content-length",
    "date",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "server",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-request-id",
}
ORGANISATION = ("openai-organization", "openai-project")
PASSED_ON = ("accept", "idempotency-key", *ORGANISATION, "user-agent")
BROKEN = {"error": {"code": "upstream_broken", "message": "The provider broke off.", "type": "server_error"}}
Budget = Annotated[int | None, Header(alias="x-reet-budget", ge=1, le=schemas.MOST, description="Tokens to send on")]
InSession = Annotated[
    str | None,
    Header(
        alias="x-reet-session",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,119}$",
        description="Keeps these messages in the session chat.NAME: what was sent stays until the budget is reached",
    ),
]


@proxy.post("/chat/completions", response_class=Response)
async def chat(
    request: Request, body: schemas.Chat, tenant: Tenant, budget: Budget = None, session: InSession = None
) -> Response:
    """Answer a chat request by the provider, from messages that cost at most the budget."""
    settings: Settings = request.app.state.settings
    limit = settings.budget if budget is None else budget
    told = await work(request, "sent_on", tenant, body.messages, limit, body.model, body.tools, session)
    tell(request.state, original=told["original"], compressed=told["sent"])
    headers = {f"x-reet-{name.replace('_', '-')}": str(value) for name, value in told.items() if name != "messages"}
    sent = {**body.model_dump(exclude_unset=True), "messages": told["messages"]}
    return await _passed(request, "POST", "/chat/completions", headers, json.dumps(sent).encode())


@proxy.get("/models", response_class=Response)
async def models(request: Request, tenant: Tenant) -> Response:
    """The models of the provider."""
    return await _passed(request, "GET", "/models", {})


async def _passed(
    request: Request, method: str, path: str, own: Mapping[str, str], content: bytes | None = None
) -> Response:
    """The provider's answer to a request, piece by piece as it comes, with headers of our own."""
    settings: Settings = request.app.state.settings
    client: httpx.AsyncClient = request.app.state.client
    asked = client.build_request(method, f"{settings.upstream}{path}", content=content, headers=_headers(request))
    started = time.monotonic()
    try:
        with span("upstream"):
            answer = await _unless_gone(request, client.send(asked, stream=True))
    except httpx.TimeoutException:
        return problem(504, "upstream_timeout", f"The provider did not answer in {settings.upstream_seconds:g} s.")
    except httpx.HTTPError as error:
        logger.warning("The provider cannot be reached: %r", error)
        return problem(502, "upstream_unreachable", "The provider cannot be reached; the log of the server says why.")
    if answer is None:
        return Response(status_code=499)  # nobody reads it
    request.app.state.metrics.upstream.observe(time.monotonic() - started)
    kept = {name: value for name, value in answer.headers.items() if name not in NOT_PASSED}
    return StreamingResponse(_pieces(answer), answer.status_code, {**kept, **own})


async def _unless_gone(request: Request, sending: Coroutine[Any, Any, httpx.Response]) -> httpx.Response | None:
    """The provider's answer, `None` if the client leaves before it begins: nobody pays for what nobody reads."""
    answering = asyncio.create_task(sending)
    leaving = asyncio.create_task(_gone(request))
    try:
        await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return await answering if answering.done() else None
    finally:
        leaving.cancel()
        answering.cancel()


async def _gone(request: Request) -> None:
    """Return when the client has left."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _headers(request: Request) -> dict[str, str]:
    """Headers for the provider: its key, or where nobody needs a token of ours the client's; what traces a request."""
    settings: Settings = request.app.state.settings
    headers = {name: request.headers[name] for name in PASSED_ON if name in request.headers}
    headers["content-type"] = "application/json"
    headers["accept-encoding"] = "identity"  # what comes is passed on as it is, to whoever may not read it otherwise
    if settings.upstream_key is not None:
        headers["authorization"] = f"Bearer {settings.upstream_key}"
        if "idempotency-key" in headers:  # of one tenant it must not meet that of another
            headers["idempotency-key"] = f"{request.state.told['tenant']}-{headers['idempotency-key']}"
        for name in ORGANISATION:  # whose budget is spent is not the client's choice
            headers.pop(name, None)
    elif not settings.tenants and "authorization" in request.headers:
        headers["authorization"] = request.headers["authorization"]
    propagate.inject(headers)
    return headers


async def _pieces(answer: httpx.Response) -> AsyncIterator[bytes]:
    """What the provider sends, as it sends it; an error at the end of a stream that breaks off."""
    try:
        async for piece in answer.aiter_raw():
            yield piece
    except httpx.HTTPError as error:
        logger.warning("The provider broke off: %r", error)
        if not answer.headers.get("content-type", "").startswith("text/event-stream"):
            raise
        yield f"data: {json.dumps(BROKEN)}\n\n".encode()
    finally:
        await answer.aclose()


def new_client(settings: Settings) -> httpx.AsyncClient:
    """What speaks to the provider."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
    timeout = httpx.Timeout(settings.upstream_seconds, connect=10.0)
    nothing = CookieJar(DefaultCookiePolicy(allowed_domains=[]))  # what one tenant is sent is not for another
    return httpx.AsyncClient(timeout=timeout, limits=limits, cookies=nothing)
