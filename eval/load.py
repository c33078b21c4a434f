"""A served REET under load: python -m eval.load [--clients N] [--seconds S] [--think LOW HIGH] [--output FILE]

Starts `reet serve` with the bundled weights and lets clients hold agent conversations with it, each in a session of its
own: append the user's message, compress for it, report the answer with the tool exchange that led to it, wait as a user
does, go on. A client that is done with its conversation deletes the session and begins another. Clients and server
share the machine. Measured at the clients: seconds of each request from the first byte sent to the last one read, and
answers other than success; of the server: resident memory, every second.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil

from eval import records
from eval.agents.histories import agent_run
from eval.tables import table

FOLDER = records.FOLDER / "serving"
PACKAGES = ("reet-hf", "torch", "transformers", "fastapi", "uvicorn")
TURNS, BUDGET = 16, 1500
WANTED = {"budget": BUDGET, "markers": True}
CACHED_TOKENS = 60_000  # that the server may hold for sessions nobody is using
MEGABYTE = 2**20
ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "MALLOC_ARENA_MAX": "2"}  # as in the image
Messages = list[dict[str, Any]]


@dataclass
class Seen:
    """What the clients and the watch over the server have seen.

    Attributes:
        seconds: Of each request that was answered, by route.
        errors: Route and status, or kind of exception, of each other one.
        memory: Seconds since the start and resident bytes.
        sessions, turns: Conversations begun, and turns that were compressed.
        tokens: Before and after, summed over all compressions.
    """

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: list[str] = field(default_factory=list)
    memory: list[tuple[float, int]] = field(default_factory=list)
    sessions: int = 0
    turns: int = 0
    tokens: list[int] = field(default_factory=lambda: [0, 0])


def turns_of(messages: Messages) -> Iterator[tuple[Messages, Messages]]:
    """For each turn what comes up to the user's message, and what follows until the next one."""
    asked = [number for number, message in enumerate(messages) if message["role"] == "user"]
    for number, place in enumerate(asked):
        first = 0 if not number else place
        last = asked[number + 1] if number + 1 < len(asked) else len(messages)
        yield messages[first : place + 1], messages[place + 1 : last]


async def asked(client: httpx.AsyncClient, seen: Seen, route: str, name: str, body: Any = None) -> Any:
    """The answer to one request, `None` if it failed."""
    method, _, path = route.partition(" ")
    started = time.perf_counter()
    try:
        answer = await client.request(method, path.format(name=name), json=body)
    except httpx.HTTPError as error:
        seen.errors.append(f"{route}: {type(error).__name__}")
        return None
    seen.seconds[route].append(time.perf_counter() - started)
    if answer.status_code >= 400:
        seen.errors.append(f"{route}: {answer.status_code} {answer.text[:200]}")
        return None
    return answer.json() if answer.content else {}


async def talks(client: httpx.AsyncClient, seen: Seen, number: int, until: float, think: Sequence[float]) -> None:
    """One client, conversation after conversation."""
    chance = random.Random(number)
    await asyncio.sleep(chance.uniform(0.0, think[1]))
    for count in range(1_000_000):
        run = agent_run(100_000 + 1000 * number + count, TURNS, plain=False)
        name = f"client-{number}-{count}"
        await asked(client, seen, "POST /sessions", name, {"name": name})
        seen.sessions += 1
        for before, after in turns_of(run.messages):
            if time.monotonic() > until:
                return
            await asked(client, seen, "POST /sessions/{name}/messages", name, {"messages": before})
            out = await asked(client, seen, "POST /sessions/{name}/compress", name, WANTED)
            if out is not None:
                seen.turns += 1
                seen.tokens[0] += out["tokens"]["original"]
                seen.tokens[1] += out["tokens"]["compressed"]
            if after:
                await asked(client, seen, "POST /sessions/{name}/messages", name, {"messages": after})
            await asyncio.sleep(chance.uniform(*think))
        await asked(client, seen, "DELETE /sessions/{name}", name)


async def watched(seen: Seen, process: int) -> None:
    """Note the memory of a process every second, until cancelled."""
    begun, own = time.monotonic(), psutil.Process(process)
    while True:
        seen.memory.append((time.monotonic() - begun, own.memory_info().rss))
        await asyncio.sleep(1.0)


async def load(address: str, process: int, clients: int, seconds: float, think: Sequence[float]) -> tuple[Seen, str]:
    """What was seen while so many clients talked, and the server's metrics in the end."""
    seen, until = Seen(), time.monotonic() + seconds
    limits = httpx.Limits(max_connections=clients, max_keepalive_connections=clients)
    async with httpx.AsyncClient(base_url=address, timeout=120.0, limits=limits) as client:
        watch = asyncio.create_task(watched(seen, process))
        await asyncio.gather(*(talks(client, seen, number, until, think) for number in range(clients)))
        watch.cancel()
        metrics = (await client.get("/metrics")).text
    return seen, metrics


@contextmanager
def served(root: Path, threads: int | None) -> Iterator[tuple[str, int]]:
    """Address and process of a server over a new folder, ready; it is told to end afterwards."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    command = [sys.executable, "-m", "reet_hf.cli", "serve", "--port", str(port), "--sessions", str(root / "sessions")]
    command += ["--cached-tokens", str(CACHED_TOKENS), "--log-level", "warning"]
    command += [] if threads is None else ["--threads", str(threads)]
    process = subprocess.Popen(command, env={**os.environ, **ENVIRONMENT})
    address = f"http://127.0.0.1:{port}"
    try:
        while process.poll() is None:
            try:
                if httpx.get(f"{address}/health/ready").is_success:
                    break
            except httpx.TransportError:
                time.sleep(0.2)
        yield address, process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(120)


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """How many there are, and milliseconds of the middle one and of slow ones."""
    points = {"p50": 50, "p95": 95, "p99": 99, "max": 100}
    found = {name: round(1000 * float(np.percentile(values, point)), 1) for name, point in points.items()}
    return {"requests": len(values), **found}


def metric(metrics: str, name: str) -> float:
    """A number of the server's metrics."""
    return next(float(line.split()[-1]) for line in metrics.splitlines() if line.startswith(f"{name} "))


def told(seen: Seen, metrics: str, seconds: float) -> dict[str, Any]:
    """The record of one load."""
    memory = [size for _, size in seen.memory]
    half = len(memory) // 2
    return {
        "requests": sum(map(len, seen.seconds.values())),
        "requests_per_second": round(sum(map(len, seen.seconds.values())) / seconds, 1),
        "turns": seen.turns,
        "sessions": seen.sessions,
        "errors": len(seen.errors),
        "kinds_of_errors": sorted(set(seen.errors))[:20],
        "tokens": {"original": seen.tokens[0], "compressed": seen.tokens[1]},
        "milliseconds": {route: percentiles(values) for route, values in sorted(seen.seconds.items())},
        "memory_mb": {
            "start": round(memory[0] / MEGABYTE),
            "half_time": round(max(memory[:half]) / MEGABYTE),
            "max": round(max(memory) / MEGABYTE),
            "end": round(memory[-1] / MEGABYTE),
        },
        "windows_per_encoder_pass": round(
            metric(metrics, "reet_encoder_windows_sum") / metric(metrics, "reet_encoder_windows_count"), 2
        ),
        "requests_per_encoder_pass": round(
            metric(metrics, "reet_encoder_requests_sum") / metric(metrics, "reet_encoder_requests_count"), 2
        ),
    }


def page(folder: Path = FOLDER) -> str:
    """Markdown of every load that was measured, empty if there is none."""
    found = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("load*.json"))]
    return "\n\n".join(_section(record) for record in found)


def _section(record: dict[str, Any]) -> str:
    rows = [
        [f"`{route}`", f"{own['requests']:,}", *(f"{own[name]:,.0f}" for name in ("p50", "p95", "p99", "max"))]
        for route, own in record["milliseconds"].items()
    ]
    low, high = record["think_seconds"]
    memory, tokens = record["memory_mb"], record["tokens"]
    return (
        f"{record['clients']} clients for {record['seconds']:g} seconds, each in an agent conversation of its own "
        f"({record['turns_of_a_conversation']} turns, compressed to {record['budget']:,} tokens in each), {low:g} to "
        f"{high:g} seconds between an answer and the next turn; server and clients on {record['hardware']['cores']} "
        f"cores. {record['requests']:,} requests, {record['turns']:,} turns ({tokens['original']:,} tokens in, "
        f"{tokens['compressed']:,} out), {record['errors']} errors. Memory of the server: {memory['start']} MB before, "
        f"{memory['half_time']} MB at most in the first half, {memory['max']} MB in all. "
        f"{record['windows_per_encoder_pass']:g} windows in a pass of the encoder. `python -m eval.load`\n\n"
        + table(["request", "number", "p50 ms", "p95 ms", "p99 ms", "max ms"], rows)
    )


def line(folder: Path = FOLDER) -> str:
    """The main figures in a sentence, empty if nothing was measured."""
    file = folder / "load.json"
    if not file.is_file():
        return ""
    record = json.loads(file.read_text(encoding="utf-8"))
    own, append = (record["milliseconds"][f"POST /sessions/{{name}}/{route}"] for route in ("compress", "messages"))
    return (
        f"Served: {record['clients']} concurrent sessions for {record['seconds']:g} seconds on "
        f"{record['hardware']['cores']} cores shared with the clients, {record['turns']:,} turns, {record['errors']} "
        f"errors; a compression took {own['p50']:,.0f} ms (p50) and {own['p95']:,.0f} ms (p95), appending messages, "
        f"which encodes them, {append['p50']:,.0f} and {append['p95']:,.0f} ms; the server took "
        f"{record['memory_mb']['max']:,} MB at most."
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and write the record."""
    parser = argparse.ArgumentParser(description="Measure a served REET under load.")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--think", type=float, nargs=2, default=(20.0, 40.0), metavar=("LOW", "HIGH"))
    parser.add_argument("--threads", type=int, help="of the server (default: its own)")
    parser.add_argument("--output", type=Path, default=FOLDER / "load.json")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as root, served(Path(root), arguments.threads) as (address, process):
        given = (arguments.clients, arguments.seconds, arguments.think)
        seen, metrics = asyncio.run(load(address, process, *given))
    record = {
        "clients": arguments.clients,
        "seconds": arguments.seconds,
        "think_seconds": list(arguments.think),
        "budget": BUDGET,
        "turns_of_a_conversation": TURNS,
        "cached_tokens": CACHED_TOKENS,
        **told(seen, metrics, arguments.seconds),
        "hardware": records.hardware(1, os.cpu_count() or 1),
        "packages": records.packages(PACKAGES),
    }
    text = json.dumps(record, indent=1, ensure_ascii=False)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
