"""Routes of the HTTP server for texts, conversations and sessions, and for whoever watches it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from ..recall import recall_tool
from . import schemas
from .problems import documented, problem
from .service import Service
from .telemetry import span, tell
from .workers import Workers

BEARER = HTTPBearer(auto_error=False, description="A token of the server's list; none is needed where it has none.")
ALWAYS = (400, 401, 408, 413, 422, 500, 503)
SessionName = Annotated[
    str, Path(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="Name of a session")
]


class StrictJson(Request):
    """A request whose body is JSON as its standard has it: no NaN, no Infinity."""

    async def json(self) -> Any:
        """The parsed body."""
        if not hasattr(self, "_json"):
            self._json = json.loads(await self.body(), parse_constant=_refused)
        return self._json


def _refused(constant: str) -> Any:
    raise json.JSONDecodeError(f"{constant} is no JSON", constant, 0)


class StrictRoute(APIRoute):
    """A route that takes JSON as its standard has it."""

    def get_route_handler(self) -> Callable[[Request], Any]:
        """What serves a request."""
        handler = super().get_route_handler()

        async def strict(request: Request) -> Response:
            return await handler(StrictJson(request.scope, request.receive))

        return strict


def tenant_of(request: Request, bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)]) -> str:
    """The tenant that a request is from, as `Guarded` has found; the bearer is named for the OpenAPI document."""
    return request.state.told["tenant"]


Tenant = Annotated[str, Depends(tenant_of)]
router = APIRouter(route_class=StrictRoute, responses=documented(*ALWAYS))
sessions = APIRouter(
    prefix="/sessions", tags=["sessions"], route_class=StrictRoute, responses=documented(*ALWAYS, 404, 409)
)
watching = APIRouter(tags=["operation"])


async def work(request: Request, name: str, *given: Any, **named: Any) -> Any:
    """What a method of the service returns, by its name, worked on in a thread."""
    service: Service = request.app.state.service
    workers: Workers = request.app.state.workers
    with span(f"reet.{name}"):
        made = await workers.run(getattr(service, name), *given, **named)
    if isinstance(made, dict) and isinstance(counts := made.get("tokens"), dict):
        tell(request.state, original=counts["original"], compressed=counts["compressed"])
    return made


@router.post("/compress", response_model=schemas.Compressed, tags=["one input"])
async def compress(request: Request, body: schemas.Compression, tenant: Tenant) -> Response:
    """Compress a text or a conversation to a budget."""
    return JSONResponse(await work(request, "compress", body.inputs(), body.chosen()))


@router.post("/extract", response_model=schemas.Extracted, tags=["one input"])
async def extract(request: Request, body: schemas.Extraction, tenant: Tenant) -> Response:
    """Find the entities of a text or a conversation and what is said of them."""
    found = await work(request, "extract", body.inputs(), body.output_format)
    return JSONResponse({"output_format": body.output_format, "result": found})


@router.get("/tools/recall_context", tags=["sessions"])
async def tool_definition(request: Request, tenant: Tenant) -> dict[str, Any]:
    """The definition of the tool by which a model brings back what was left out, in OpenAI's format."""
    return recall_tool()


@sessions.get("", response_model=schemas.SessionNames)
async def list_sessions(request: Request, tenant: Tenant) -> Response:
    """Names of all sessions of the tenant."""
    return JSONResponse({"sessions": await work(request, "names", tenant)})


@sessions.post("", response_model=schemas.SessionTold, status_code=201, responses=documented(403))
async def create(request: Request, body: schemas.NewSession, tenant: Tenant) -> Response:
    """Make a session."""
    return JSONResponse(await work(request, "create", tenant, body.name), 201)


@sessions.get("/{name}", response_model=schemas.SessionTold)
async def describe(request: Request, name: SessionName, tenant: Tenant) -> Response:
    """How much a session holds."""
    return JSONResponse(await work(request, "describe", tenant, name))


@sessions.delete("/{name}", status_code=204)
async def delete(request: Request, name: SessionName, tenant: Tenant) -> Response:
    """Delete a session with all that was kept of it."""
    await work(request, "delete", tenant, name)
    return Response(status_code=204)


@sessions.get("/{name}/messages", response_model=schemas.Messages)
async def restore(request: Request, name: SessionName, tenant: Tenant) -> Response:
    """Every message of a session exactly as it was appended."""
    return JSONResponse({"messages": await work(request, "restore", tenant, name)})


@sessions.post("/{name}/messages", response_model=schemas.SessionTold)
async def append(request: Request, name: SessionName, body: schemas.Append, tenant: Tenant) -> Response:
    """Add messages to a session; they are on disk before the answer comes."""
    return JSONResponse(await work(request, "append", tenant, name, body.messages, body.position))


@sessions.post("/{name}/compress", response_model=schemas.Compressed)
async def compress_session(
    request: Request, name: SessionName, body: schemas.SessionCompression, tenant: Tenant
) -> Response:
    """Compress a session for a query, which then counts as asked."""
    given = (body.query, body.chosen(), body.stable_prefix, body.rebase_to)
    return JSONResponse(await work(request, "compress_session", tenant, name, *given))


@sessions.post("/{name}/extract", response_model=schemas.Extracted)
async def extract_session(
    request: Request, name: SessionName, body: schemas.SessionExtraction, tenant: Tenant
) -> Response:
    """Find the entities of a session and what is said of them."""
    found = await work(request, "extract_session", tenant, name, body.query, body.output_format)
    return JSONResponse({"output_format": body.output_format, "result": found})


@sessions.post("/{name}/answer", response_model=schemas.SessionTold)
async def answer(request: Request, name: SessionName, body: schemas.Answer, tenant: Tenant) -> Response:
    """Report the answer to the last question; later questions then see it."""
    return JSONResponse(await work(request, "answer", tenant, name, body.text))


@sessions.post("/{name}/recall", response_model=schemas.Recalled)
async def recall_parts(request: Request, name: SessionName, body: schemas.Recall, tenant: Tenant) -> Response:
    """Bring back what results have left out, by ids or for a question."""
    options = body.model_dump(exclude_unset=True, exclude={"what", "budget"})
    return JSONResponse(await work(request, "recall", tenant, name, body.what, body.budget, options))


@sessions.post("/{name}/tools/recall_context", response_model=schemas.ToolResult)
async def answer_recall(request: Request, name: SessionName, body: schemas.RecallCall, tenant: Tenant) -> Response:
    """What a model gets that calls the tool `recall_context`; guarded against loops."""
    return JSONResponse({"content": await work(request, "answer_recall", tenant, name, body.arguments)})


@watching.get("/health/live", response_model=schemas.Health)
async def live(request: Request) -> Response:
    """Whether the process answers."""
    return JSONResponse({"status": "live", "version": request.app.version})


@watching.get("/health/ready", response_model=schemas.Health, responses=documented(503))
async def ready(request: Request) -> Response:
    """Whether requests would be taken: the model is loaded and there is room to wait."""
    workers: Workers = request.app.state.workers
    if workers.is_full:
        return problem(503, "busy", "As many requests are waiting as this server takes.", headers={"Retry-After": "1"})
    return JSONResponse({"status": "ready", "version": request.app.version})


@watching.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(request: Request) -> Response:
    """Metrics in Prometheus' text format."""
    return Response(generate_latest(request.app.state.metrics.registry), media_type=CONTENT_TYPE_LATEST)
