"""REET for agents: tools and resources of the Model Context Protocol, over standard input and output or HTTP."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from ..errors import ReetError
from ..integrations.loading import compressor_of, missing
from ..version import __version__
from .failures import Damaged, Failure, TooLate
from .service import Service
from .settings import Settings
from .shared_reader import Read, SharedReader
from .tenants import EVERYBODY, Tenants
from .workers import Workers

try:
    import anyio
    import uvicorn
    from mcp import MCPError, types
    from mcp.server import Server, ServerRequestContext
    from mcp.server.auth.middleware.auth_context import get_access_token
    from mcp.server.auth.provider import AccessToken
    from mcp.server.auth.settings import AuthSettings
    from mcp.server.stdio import stdio_server
    from mcp.server.transport_security import TransportSecuritySettings
    from pydantic import AnyHttpUrl, ValidationError

    from .mcp_tools import SESSIONS, TOOLS, resource
except ImportError as error:
    raise missing("mcp", error) from error

logger = logging.getLogger(__name__)
SECONDS = 600.0  # that a call may take: long conversations take minutes on a CPU
BETWEEN = 0.5  # seconds from one progress notification to the next
TEMPLATES = (
    ("session", "/{name}", "How much a session holds: messages, turns, cached tokens."),
    ("messages", "/{name}/messages", "All messages of a session exactly as they were appended."),
    ("facts", "/{name}/facts", "Entities of a session and what is said of each."),
)
BROKEN = "Something went wrong in the server; its log says what."
ABOUT = (
    "REET shortens texts and conversations to a token budget: it keeps the wording, prefers what a query needs, and "
    "says what it left out. `compress` is for one text or conversation. For a conversation that grows use a session: "
    "`session_append` adds messages, `session_compress` gives the part that a question needs, `session_recall` brings "
    "back what was left out, by the id in a marker such as [… 412 tokens, id 7f3a1c] or by a question."
)

Context = ServerRequestContext[Any, Any]


@dataclass
class Reading:
    """How many tokens were read for a call, and whether anybody still waits for its result."""

    tokens: int = 0
    wanted: bool = True


_reading: ContextVar[Reading | None] = ContextVar("reading", default=None)


def watched(read: Read) -> Read:
    """What reads windows, counts their tokens for the call that they are read for, and ends what nobody wants.

    Raises:
        TooLate: If nobody waits for the result any more.
    """

    def reader(rows: Sequence[list[int]]) -> Any:
        reading = _reading.get() or Reading()
        if not reading.wanted:
            raise TooLate("Nobody waits for this any more.")
        states = read(rows)
        reading.tokens += sum(map(len, rows))
        return states

    return reader


class Answers:
    """What is answered to the requests of the protocol; blocking work is done in threads.

    Args:
        compress: A `reet-compression` pipeline or a `Compressor`; the bundled weights if `None`. Until `close` its
            scorer reads the windows of all calls together.
        settings: What whoever runs the server has chosen.

    Raises:
        ReetError: If one of the settings' tokenizers cannot be loaded.
    """

    def __init__(self, compress: Any, settings: Settings) -> None:
        compressor = compressor_of(compress)
        self.service = Service.of(compressor, settings)
        self.tenants = settings.tenants
        scorer: Any = compressor.scorer
        self._scorer, self._alone = scorer, scorer.reader
        self._reader = SharedReader(self._alone)
        scorer.reader = watched(self._reader)
        self._workers = Workers(settings.threads, settings.waiting, settings.seconds)

    def close(self) -> None:
        """Close the sessions and the threads when all work is done; it may be called again."""
        self._workers.close()
        self.service.close()
        self._reader.close()
        self._scorer.reader = self._alone

    @property
    def tenant(self) -> str:
        """The tenant that the present request is from.

        Raises:
            MCPError: If it is from nobody who may use the server.
        """
        token = get_access_token()
        if self.tenants and token is None:
            raise MCPError(code=types.INVALID_REQUEST, message="This server needs a bearer token that it knows.")
        return EVERYBODY if token is None else token.client_id

    async def list_tools(self, context: Context, params: Any) -> types.ListToolsResult:
        """All tools."""
        return types.ListToolsResult(tools=[tool.definition for tool in TOOLS.values()])

    async def call_tool(self, context: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        """What a tool gives, or an error that the model can read.

        Raises:
            MCPError: If there is no such tool.
        """
        tool = TOOLS.get(params.name)
        if tool is None:
            known = ", ".join(TOOLS)
            raise MCPError(code=types.INVALID_PARAMS, message=f"There is no tool {params.name!r:.80}, but {known}.")
        try:
            asked = tool.takes.model_validate(params.arguments or {})
            made = await self._work(context, tool.work, asked)
        except (ReetError, ValidationError) as error:
            return types.CallToolResult(content=[_text(told(error))], is_error=True)
        except MCPError:
            raise
        except Exception:
            logger.exception("The tool %s failed", params.name)
            return types.CallToolResult(content=[_text(BROKEN)], is_error=True)
        return types.CallToolResult(content=[_text(_json(made))], structured_content=made)

    async def list_resources(self, context: Context, params: Any) -> types.ListResourcesResult:
        """The list of sessions, from which all else can be found."""
        listed = types.Resource(
            uri=SESSIONS, name="sessions", description="Names of all sessions.", mime_type="application/json"
        )
        return types.ListResourcesResult(resources=[listed])

    async def list_templates(self, context: Context, params: Any) -> types.ListResourceTemplatesResult:
        """What can be read of each session."""
        templates = [
            types.ResourceTemplate(
                uri_template=SESSIONS + path, name=name, description=about, mime_type="application/json"
            )
            for name, path, about in TEMPLATES
        ]
        return types.ListResourceTemplatesResult(resource_templates=templates)

    async def read_resource(
        self, context: Context, params: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult:
        """What a resource holds, as JSON.

        Raises:
            MCPError: If there is no such resource, or it cannot be read.
        """
        uri = str(params.uri)
        try:
            made = await self._work(context, resource, uri)
        except ReetError as error:
            ours = isinstance(error, Failure) and error.status >= 500
            code = types.INTERNAL_ERROR if ours else types.INVALID_PARAMS
            raise MCPError(code=code, message=told(error), data={"uri": uri}) from error
        except MCPError:
            raise
        except Exception as error:
            logger.exception("A resource cannot be read")
            raise MCPError(code=types.INTERNAL_ERROR, message=BROKEN, data={"uri": uri}) from error
        contents = types.TextResourceContents(uri=uri, text=_json(made), mime_type="application/json")
        return types.ReadResourceResult(contents=[contents])

    async def _work(self, context: Context, work: Callable[..., dict[str, Any]], asked: Any) -> dict[str, Any]:
        """What `work` returns, done in a thread; the client is told meanwhile how many tokens were read."""
        reading = Reading()
        _reading.set(reading)
        telling = asyncio.create_task(_tell(context, reading))
        try:
            return await self._workers.run(work, self.service, self.tenant, asked)
        finally:
            reading.wanted = False
            telling.cancel()


async def _tell(context: Context, reading: Reading) -> None:
    """Tell a client that wants to know how many tokens have been read, whenever there are more."""
    last = 0
    while True:
        await asyncio.sleep(BETWEEN)
        if reading.tokens > last:
            last = reading.tokens
            await context.session.report_progress(last, message=f"{last} tokens read")


def _json(made: Any) -> str:
    """JSON in as few tokens as it takes."""
    return json.dumps(made, ensure_ascii=False, separators=(",", ":"))


def _text(told: str) -> types.TextContent:
    return types.TextContent(type="text", text=told)


def told(error: ReetError | ValidationError) -> str:
    """What a client is told of an error; of arguments the first that is wrong, and how it could have been right."""
    if isinstance(error, Damaged):
        logger.error("A session cannot be opened", exc_info=error.__cause__ or error)
    if isinstance(error, ReetError):
        return str(error)
    problems = error.errors(include_url=False, include_input=False)
    wrong = [".".join(map(str, problem["loc"][:1])) for problem in problems]
    ways = dict.fromkeys(problem["msg"] for problem, name in zip(problems, wrong, strict=True) if name == wrong[0])
    more = f" ({len(set(wrong)) - 1} more)" if len(set(wrong)) > 1 else ""
    return f"`{wrong[0]:.200}` is not as it must be: {'; or: '.join(ways):.500}{more}."


def make_server(answers: Answers) -> Server[Any]:
    """The server of the protocol; when it ends, `answers` is closed."""

    @asynccontextmanager
    async def lifespan(server: Server[Any]) -> AsyncIterator[dict[str, Any]]:
        try:
            yield {}
        finally:
            answers.close()

    return Server(
        "reet",
        version=__version__,
        title="REET",
        instructions=ABOUT,
        lifespan=lifespan,
        on_list_tools=answers.list_tools,
        on_call_tool=answers.call_tool,
        on_list_resources=answers.list_resources,
        on_list_resource_templates=answers.list_templates,
        on_read_resource=answers.read_resource,
    )


@contextmanager
def _stdout_diverted() -> Iterator[None]:
    """Whatever is written to standard output goes to standard error."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def serve(settings: Settings, load: Callable[[], Any], address: tuple[str, int] | None = None) -> None:
    """Serve until a signal comes or, over standard input and output, the input ends; then sessions are closed.

    Args:
        settings: What whoever runs it has chosen.
        load: Returns the pipeline.
        address: Host and port for streamable HTTP; without one, standard input and output serve one client.

    Raises:
        ReetError: If the model or a tokenizer cannot be loaded.
    """
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="reet: %(message)s")
    with _stdout_diverted():
        answers = Answers(load(), settings)
    if address is None:
        _serve_stdio(answers)
    else:
        _serve_http(answers, settings, *address)


def _serve_stdio(answers: Answers) -> None:
    server = make_server(answers)

    def leave(status: int = 0) -> None:
        """End at once: a thread may wait for a line that never comes, and clients kill who takes two seconds."""
        try:
            answers.close()
        finally:
            os._exit(status)

    async def run() -> None:
        async with stdio_server() as (read, write):
            await server.run(read, write, server.create_initialization_options())

    _on_signals(lambda: threading.Thread(target=leave).start())
    try:
        anyio.run(run)
    except Exception:
        logger.exception("The connection to the client broke")
        leave(1)
    leave()


def _on_signals(act: Callable[[], Any]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: act())


class Verifier:
    """Whose a bearer token is, for the protocol's own check.

    Args:
        tenants: Tokens that are known.
    """

    def __init__(self, tenants: Tenants) -> None:
        self._tenants = tenants

    async def verify_token(self, token: str) -> AccessToken | None:
        """The tenant's access, or `None` for a token that nobody has."""
        name = self._tenants.of(f"Bearer {token}")
        return None if name is None else AccessToken(token=token, client_id=name, scopes=[])


def http_app(server: Server[Any], settings: Settings, host: str) -> Any:
    """The ASGI application: the protocol under `/mcp`, for nobody without a token where there are any.

    What browsers ask of a server on this machine is checked for the host that they name, unless it takes a token:
    foreign pages have none.
    """
    options: dict[str, Any] = {"host": host, "max_request_body_size": settings.body_bytes}
    if settings.tenants:
        options["auth"] = AuthSettings(issuer_url=AnyHttpUrl("http://localhost"), resource_server_url=None)
        options["token_verifier"] = Verifier(settings.tenants)
        options["transport_security"] = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    return server.streamable_http_app(streamable_http_path="/mcp", **options)


def _serve_http(answers: Answers, settings: Settings, host: str, port: int) -> None:
    app = http_app(make_server(answers), settings, host)
    _on_signals(lambda: None)  # uvicorn has its own and ends in order, then raises again what made it end
    print(f"reet: serving http://{host}:{port}/mcp", file=sys.stderr, flush=True)
    quiet: dict[str, Any] = {"access_log": False, "log_config": None, "server_header": False}
    uvicorn.run(app, host=host, port=port, timeout_graceful_shutdown=5, **quiet)
