"""Processes that compress one conversation after the other, each with one system, so that memory is told apart."""

from __future__ import annotations

import resource
import sys
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from eval.speed.material import Exchange
from eval.speed.peers import build

MEGABYTE = 2**20
FAREWELL = 2.0  # seconds in which an idle process ends by itself
STATUS = Path("/proc/self/status")
SHORT: list[dict[str, Any]] = [{"role": "user", "content": "Ann Lee lives in Oslo. Her visa expires in June. " * 12}]


def peak_megabytes() -> float:
    """The most memory that this process ever had resident.

    Read where Linux says it of this program alone: `getrusage` counts what the parent had before the program began.
    """
    if STATUS.is_file():
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (MEGABYTE if sys.platform == "darwin" else 1024)


def serve(connection: Connection, name: str, model: str, folder: Path, threads: int) -> None:
    """Answer each conversation that comes with seconds and peak memory, until `None` comes."""
    torch.set_num_threads(threads)
    compress = build(name, model, folder)
    compress(SHORT, "Where does Ann live?")
    connection.send(peak_megabytes())
    while (exchange := connection.recv()) is not None:
        seconds = compress(exchange.messages, exchange.query)
        connection.send((seconds, peak_megabytes()))


class Worker:
    """A process with one system; it loads it while others are made.

    Args:
        name: One of `names.NAMES`.
        model: Checkpoint of REET.
        folder: Of the peer's weights.
        threads: Of PyTorch.
    """

    def __init__(self, name: str, model: str, folder: Path, threads: int) -> None:
        context = get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, name, model, folder, threads), daemon=True)
        self._process.start()
        theirs.close()

    def ready(self) -> float:
        """Wait until it is loaded; the most megabytes that it had resident until then."""
        loaded: float = self._connection.recv()
        return loaded

    def ask(self, exchange: Exchange, patience: float) -> tuple[float, float] | None:
        """Seconds and peak megabytes; `None` if there is no answer within some seconds, after which there is none."""
        self._connection.send(exchange)
        if not self._connection.poll(patience):
            self.end()
            return None
        seconds, peak = self._connection.recv()
        return seconds, peak

    def end(self) -> None:
        """End the process: it is asked to, and made to if it is busy."""
        if self._connection.closed:
            return
        self._connection.send(None)
        self._process.join(FAREWELL)
        self._process.terminate()
        self._process.join()
        self._connection.close()
