"""The HTTP server as an ASGI application."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from starlette.concurrency import run_in_threadpool

from ..integrations.loading import compressor_of, missing
from ..version import __version__
from .service import Service
from .settings import Settings
from .shared_reader import SharedReader
from .workers import Workers

try:
    from fastapi import FastAPI
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    from .guard import Guarded
    from .problems import add_handlers
    from .proxy import new_client, proxy
    from .routes import router, sessions, watching
    from .telemetry import Metrics, Observed, tracing
except ImportError as error:
    raise missing("server", error) from error

logger = logging.getLogger(__name__)
ABOUT = """Compresses conversations to a token budget, keeps what later turns will need, and says where every kept word
came from. A session grows by messages and is compressed for one question after the other; what was left out can be
recalled, and everything restored."""


def create_app(settings: Settings | None = None, compress: Any = None) -> FastAPI:
    """The application: everything under `/compress`, `/extract`, `/sessions`, `/v1`, `/health` and `/metrics`.

    Args:
        settings: What whoever runs it has chosen.
        compress: A `reet-compression` pipeline or a `Compressor`; the bundled weights if left out. While the
            application runs, its scorer reads the windows of all requests together.

    Raises:
        ReetError: If one of the settings' tokenizers cannot be loaded.
    """
    chosen = settings or Settings()
    compressor = compressor_of(compress)
    service = Service.of(compressor, chosen)
    held = service.sessions
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            scorer: Any = compressor.scorer
            alone = scorer.reader
            scorer.reader = reader = SharedReader(alone, watch=metrics.passed)
            stack.callback(setattr, scorer, "reader", alone)
            stack.push_async_callback(run_in_threadpool, reader.close)
            stack.push_async_callback(run_in_threadpool, service.close)
            app.state.workers = workers = Workers(chosen.threads, chosen.waiting, chosen.seconds)
            stack.push_async_callback(run_in_threadpool, workers.close)
            metrics.watch("reet_requests_pending", "Requests worked on or waiting.", lambda: float(workers.pending))
            if chosen.upstream is not None:
                app.state.client = await stack.enter_async_context(new_client(chosen))
            await workers.run(service.compress, "Ready to serve.", {})
            logger.info("ready")
            yield
            logger.info("shutting down")

    app = FastAPI(title="REET", description=ABOUT, version=__version__, lifespan=lifespan, telemetry=tracing())
    app.state.settings, app.state.service, app.state.metrics = chosen, service, metrics
    metrics.watch("reet_sessions_open", "Sessions in memory.", lambda: float(len(held)))
    metrics.watch("reet_tokens_cached", "Tokens whose states are in memory.", lambda: float(held.tokens))
    add_handlers(app)
    for routes in (router, sessions, watching, *([proxy] if chosen.upstream is not None else [])):
        app.include_router(routes)
    if not chosen.tenants:
        _open_to_all(app)
    if chosen.hosts:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*chosen.hosts, "[::1]"], www_redirect=False)
    app.add_middleware(Guarded)
    app.add_middleware(Observed, metrics=metrics, body_bytes=chosen.body_bytes, seconds=chosen.seconds)
    return app


def _open_to_all(app: FastAPI) -> None:
    """Let the OpenAPI document say that nobody needs a token."""
    written = app.openapi

    def openapi() -> dict[str, Any]:
        document = written()
        document.get("components", {}).pop("securitySchemes", None)
        for path in document["paths"].values():
            for operation in path.values():
                operation.pop("security", None)
        return document

    app.openapi = openapi  # type: ignore[method-assign]
