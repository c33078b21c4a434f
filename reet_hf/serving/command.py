"""The commands `reet serve` and `reet mcp`: their options, and the servers they describe, run until told to end."""

from __future__ import annotations

import argparse
import gc
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..errors import ReetError
from ..integrations.loading import missing
from .settings import LOOPBACK, Settings, check_reach
from .tenants import Tenants, read_tenants

LEVELS = ("debug", "info", "warning", "error")


def add_serve(commands: Any) -> argparse.ArgumentParser:
    """The command `serve`, added to those of a parser."""
    serve = commands.add_parser(
        "serve",
        help="serve HTTP: compression, sessions, a proxy for chat requests",
        description="Serve compression, extraction and sessions over HTTP, and with --upstream a proxy that shortens "
        "chat requests. One process has one model and all sessions of its folder.",
    )
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    serve.add_argument("--port", type=int, default=8000, help="default: %(default)s")
    add_sessions(serve)
    serve.add_argument("--open", action="store_true", help="let everybody in who can reach the host, without tokens")
    serve.add_argument("--upstream", metavar="URL", help="OpenAI-compatible provider, such as https://host/v1")
    serve.add_argument(
        "--upstream-key-env", metavar="NAME", help="environment variable with the provider's key (default: none)"
    )
    serve.add_argument("--budget", type=int, default=Settings.budget, help="tokens of a chat request (%(default)s)")
    serve.add_argument("--threads", type=int, metavar="N", help="requests worked on at once (default: 4 a core)")
    serve.add_argument("--waiting", type=int, default=Settings.waiting, help="requests that may wait (%(default)s)")
    serve.add_argument("--seconds", type=float, default=Settings.seconds, help="time for a request (%(default)s)")
    serve.add_argument("--body-bytes", type=int, default=Settings.body_bytes, help="size of a request (%(default)s)")
    serve.add_argument(
        "--cached-tokens", type=int, default=Settings.cached_tokens, help="of idle sessions, in memory (%(default)s)"
    )
    serve.add_argument("--log-level", choices=LEVELS, default="info", help="default: %(default)s")
    return serve


def add_mcp(commands: Any) -> argparse.ArgumentParser:
    """The command `mcp`, added to those of a parser."""
    mcp = commands.add_parser(
        "mcp",
        help="serve agents: tools and resources of the Model Context Protocol",
        description="Serve compression, extraction and sessions to agents by the Model Context Protocol, over standard "
        "input and output, or with --http over streamable HTTP under /mcp.",
    )
    mcp.add_argument("--http", action="store_true", help="serve streamable HTTP")
    mcp.add_argument("--host", default="127.0.0.1", help="address to listen on with --http (default: %(default)s)")
    mcp.add_argument("--port", type=int, default=8001, help="default: %(default)s")
    add_sessions(mcp)
    mcp.add_argument("--open", action="store_true", help="let everybody in who can reach the host, without tokens")
    return mcp


def add_sessions(command: argparse.ArgumentParser) -> None:
    """Add to a command what servers of sessions have in common."""
    command.add_argument(
        "--sessions",
        type=Path,
        default=Settings.sessions,
        metavar="FOLDER",
        help="where sessions are kept (default: %(default)s)",
    )
    command.add_argument("--tokens", metavar="FILE", help="bearer tokens: a tenant's name and a token on each line")
    command.add_argument(
        "--tokenizer",
        action="append",
        default=[],
        metavar="NAME=ID",
        help="a tokenizer that clients may name, and its id or folder; repeatable",
    )


def tokenizers(given: list[str]) -> Mapping[str, str]:
    """Names of tokenizers and where they are, from `NAME=ID`.

    Raises:
        ReetError: If one has another form.
    """
    pairs = [entry.partition("=") for entry in given]
    for entry, (name, sign, where) in zip(given, pairs, strict=True):
        if not (name and sign and where):
            raise ReetError(
                f"--tokenizer must be NAME=ID, got {entry!r:.200}; for example llama=meta-llama/Llama-3.1-8B."
            )
    return {name: where for name, _, where in pairs}


def settings_of(arguments: argparse.Namespace, environment: Mapping[str, str]) -> Settings:
    """The settings that a command line describes.

    Raises:
        ReetError: If one of them cannot be honoured.
    """
    name = arguments.upstream_key_env
    if name is not None and not environment.get(name):
        raise ReetError(f"--upstream-key-env names {name!r}, but there is no such environment variable; set it first.")
    tenants = read_tenants(arguments.tokens) if arguments.tokens else Tenants()
    check_reach(arguments.host, tenants, arguments.open)
    alike = ("sessions", "waiting", "seconds", "body_bytes", "cached_tokens", "budget")
    return Settings(
        **{name: getattr(arguments, name) for name in alike},
        **({} if arguments.threads is None else {"threads": arguments.threads}),
        tenants=tenants,
        tokenizers=tokenizers(arguments.tokenizer),
        upstream=arguments.upstream or None,
        upstream_key=environment[name] if name is not None else None,
        hosts=() if tenants or arguments.open else LOOPBACK,
    )


def serve(arguments: argparse.Namespace, environment: Mapping[str, str], load: Callable[[], Any]) -> None:
    """Serve until SIGINT or SIGTERM; requests that have begun are answered, then sessions are closed.

    Args:
        arguments: Of the command line.
        environment: With the provider's key.
        load: Returns the pipeline; called when all else is in order.

    Raises:
        ReetError: If an option cannot be honoured, or the model cannot be loaded.
    """
    settings = settings_of(arguments, environment)
    try:
        import uvicorn

        from .app import create_app
        from .telemetry import log_as_json
    except ImportError as error:
        raise ReetError(str(missing("server", error))) from error
    log_as_json(arguments.log_level)
    signal.signal(signal.SIGTERM, _end)  # the server hands the signal on when it has ended
    app = create_app(settings, load())
    gc.freeze()  # what is there now stays: collections need not look at it again
    uvicorn.run(
        app,
        host=arguments.host,
        port=arguments.port,
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=int(settings.seconds) + 1,
        lifespan="on",
    )


def serve_mcp(arguments: argparse.Namespace, load: Callable[[], Any]) -> None:
    """Serve the Model Context Protocol until a signal comes, or standard input ends; then sessions are closed.

    Args:
        arguments: Of the command line.
        load: Returns the pipeline; called when all else is in order.

    Raises:
        ReetError: If an option cannot be honoured, or the model cannot be loaded.
    """
    tenants = read_tenants(arguments.tokens) if arguments.tokens else Tenants()
    if arguments.http:
        check_reach(arguments.host, tenants, arguments.open)
    elif tenants:
        raise ReetError("--tokens needs --http: over standard input and output there is one client, who needs none.")
    try:
        from . import mcp_server
    except ImportError as error:  # which says what to install
        raise ReetError(str(error)) from error
    settings = Settings(
        sessions=arguments.sessions,
        tenants=tenants,
        seconds=mcp_server.SECONDS,
        tokenizers=tokenizers(arguments.tokenizer),
    )
    mcp_server.serve(settings, load, (arguments.host, arguments.port) if arguments.http else None)


def _end(number: int, frame: Any) -> None:
    sys.exit(0)
