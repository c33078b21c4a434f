"""Servers for tests: the application in this process, and `reet serve` as a user starts it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
from conftest import ROOT

TOKENS = {"ann": "ann-0123456789abcdef", "bo": "bo-0123456789abcdefg"}


@asynccontextmanager
async def serving(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application that runs in this process, errors of the server included."""
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://reet", timeout=60) as client:
            yield client


def bearer(tenant: str) -> dict[str, str]:
    """The header that a tenant of `TOKENS` sends."""
    return {"Authorization": f"Bearer {TOKENS[tenant]}"}


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@contextmanager
def served(folder: Path, *options: str, **environment: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Address and process of `reet serve`, ready; it is told to end afterwards. Its log is `folder/log`."""
    port = free_port()
    command = [sys.executable, "-m", "reet_hf.cli", "serve", "--port", str(port), *options]
    settings = {**os.environ, "HF_HUB_OFFLINE": "1", **environment}
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=settings, stderr=log, stdout=log)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            if process.poll() is not None:
                raise AssertionError((folder / "log").read_text())
            try:
                if httpx.get(f"{address}/health/ready").status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.1)
        yield address, process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
