"""What whoever runs a server sees of it: Prometheus metrics, OpenTelemetry spans and JSON logs, none with contents."""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from secrets import token_hex
from typing import Any

import anyio
from fastapi.telemetry import TelemetryConfig
from opentelemetry import trace
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from pythonjsonlogger.json import JsonFormatter
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .problems import problem

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
QUIET = ("/health/live", "/health/ready", "/metrics")  # routes that are asked all the time
access = logging.getLogger("reet_hf.access")


class Metrics:
    """The metrics of one server.

    Attributes:
        registry: What holds them, for `prometheus_client.generate_latest`.
        requests: Requests by route, method and status.
        seconds: Their time by route.
        tokens: Tokens that came in and that were kept, by route.
        batch: Windows of each pass of the encoder.
        shared: Requests whose windows were in it.
        upstream: Seconds until the provider began to answer.
    """

    def __init__(self) -> None:
        self.registry = kept = CollectorRegistry()
        self.requests = Counter("reet_requests", "Requests.", ["route", "method", "status"], registry=kept)
        self.seconds = Histogram("reet_request_seconds", "Time of requests.", ["route"], buckets=SECONDS, registry=kept)
        self.tokens = Counter("reet_tokens", "Tokens of conversations.", ["route", "which"], registry=kept)
        sizes = (1, 2, 4, 8, 16, 32)
        self.batch = Histogram("reet_encoder_windows", "Windows of an encoder pass.", buckets=sizes, registry=kept)
        self.shared = Histogram("reet_encoder_requests", "Requests in an encoder pass.", buckets=sizes, registry=kept)
        self.upstream = Histogram(
            "reet_upstream_seconds", "Time to the provider's answer.", buckets=SECONDS, registry=kept
        )

    def watch(self, name: str, told: str, read: Callable[[], float]) -> None:
        """A gauge that reads a number whenever it is looked at."""
        Gauge(name, told, registry=self.registry).set_function(read)

    def passed(self, windows: int, requests: int) -> None:
        """Note one pass of the encoder."""
        self.batch.observe(windows)
        self.shared.observe(requests)


def span(name: str) -> AbstractContextManager[Any]:
    """A span of a part of a request; nothing where nobody has set up OpenTelemetry."""
    return trace.get_tracer("reet_hf").start_as_current_span(name)


def tracing() -> TelemetryConfig:
    """What FastAPI's own telemetry is told: spans of requests, sent where OpenTelemetry's environment variables say."""
    return {
        "logs": False,  # they would hold what was wrong with a body
        "operation_spans": False,
        "auto_configure": True,
        "exclude": lambda scope: scope.get("path") in QUIET,
    }


def tell(scope_state: Any, **told: Any) -> None:
    """Numbers of a request for its log line and its metrics."""
    scope_state.told = {**getattr(scope_state, "told", {}), **told}


class Observed:
    """Gives each request an id, a line in the log and its place in the metrics, and bounds how its body comes in.

    Args:
        app: What serves it.
        metrics: Where it is counted.
        body_bytes: Size that its body may have.
        seconds: Time that its body may take to come in.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, body_bytes: int, seconds: float) -> None:
        self.app, self.metrics, self.body_bytes, self.seconds = app, metrics, body_bytes, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        name = given if REQUEST_ID.fullmatch(given) else token_hex(8)
        started = time.monotonic()
        status = 500

        async def send_named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = name
            await send(message)

        scope.setdefault("state", {})["told"] = {}
        length = headers.get("content-length", "")
        try:
            if length.isdecimal() and int(length[:18]) > self.body_bytes:
                await problem(413, "too_large", self._too_large())(scope, receive, send_named)
            else:
                await self.app(scope, self._bounded(receive, started + self.seconds), send_named)
        finally:
            self._note(scope, name, status, time.monotonic() - started)

    def _too_large(self) -> str:
        return f"The body has more than the {self.body_bytes} bytes that this server takes; append it in parts."

    def _bounded(self, receive: Receive, until: float) -> Receive:
        """Receives the body until it is complete; then whether the client is still there, without end."""
        complete, size = False, 0

        async def bounded() -> Message:
            nonlocal complete, size
            if complete:
                return await receive()
            try:
                with anyio.fail_after(max(0.0, until - time.monotonic())):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, "The body of the request did not come in time.") from None
            size += len(message.get("body", b""))
            if size > self.body_bytes:
                raise HTTPException(413, self._too_large())
            complete = message["type"] != "http.request" or not message.get("more_body", False)
            return message

        return bounded

    def _note(self, scope: Scope, name: str, status: int, seconds: float) -> None:
        path = getattr(scope.get("route"), "path", "unmatched")
        told = scope["state"].get("told", {})
        self.metrics.requests.labels(path, scope["method"] if path != "unmatched" else "any", status).inc()
        self.metrics.seconds.labels(path).observe(seconds)
        for which in ("original", "compressed"):
            if which in told:
                self.metrics.tokens.labels(path, which).inc(told[which])
        level = logging.DEBUG if path in QUIET else logging.INFO
        line = {"request": name, "method": scope["method"], "route": path, "status": status}
        access.log(level, "request", extra={**line, "milliseconds": round(1000 * seconds, 1), **told})


def log_as_json(level: str) -> None:
    """Write all logs as a line of JSON each, to standard error."""
    stream = logging.StreamHandler(sys.stderr)
    names = {"asctime": "time", "levelname": "level", "name": "logger"}
    stream.setFormatter(JsonFormatter("%(asctime)s %(levelname)s %(name)s %(message)s", rename_fields=names))
    logging.basicConfig(level=level.upper(), handlers=[stream], force=True)
    for noisy in ("httpx", "httpcore"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLogger().level))
