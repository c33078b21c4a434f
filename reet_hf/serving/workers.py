"""Work on requests in a few threads, with a bound on how many wait and on how long each takes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar

import torch

from ..deadlines import check_deadline, set_deadline
from .failures import Busy, TooLate

Made = TypeVar("Made")


class Workers:
    """Threads for the work on requests; the encoder has one of its own, see `SharedReader`.

    Each of them computes alone: several threads that share the cores for one operation would hinder each other.

    Args:
        threads: How many there are.
        waiting: Requests that may wait for one.
        seconds: Time that a request may take, waiting included.
    """

    def __init__(self, threads: int, waiting: int, seconds: float) -> None:
        self.threads, self.waiting, self.seconds = threads, waiting, seconds
        self.pending = 0
        self._pool = ThreadPoolExecutor(threads, "reet-worker", initializer=partial(torch.set_num_threads, 1))

    @property
    def is_full(self) -> bool:
        """Whether no more requests may wait."""
        return self.pending >= self.threads + self.waiting

    async def run(self, work: Callable[..., Made], *given: Any, **named: Any) -> Made:
        """What `work` returns.

        Work that is not done in time ends at its next look at the clock, with nothing half done that a session would
        keep: what its last call has written stays.

        Raises:
            Busy: If too many are waiting.
            TooLate: If it takes too long.
        """
        if self.is_full:
            raise Busy(f"{self.pending} requests are being worked on or waiting, as many as this server takes.")
        until = time.monotonic() + self.seconds
        self.pending += 1
        task = asyncio.get_running_loop().run_in_executor(
            self._pool, copy_context().run, partial(_in_time, until, work, *given, **named)
        )
        task.add_done_callback(self._done)
        try:
            return await asyncio.wait_for(asyncio.shield(task), self.seconds + 1.0)
        except (asyncio.TimeoutError, TimeoutError):
            raise TooLate(
                f"The request took longer than the {self.seconds:g} seconds that this server allows; what it was to "
                "do to a session may still be done: look how many messages it has."
            ) from None

    def _done(self, task: asyncio.Future[Any]) -> None:
        self.pending -= 1
        if not task.cancelled():
            task.exception()  # somebody has seen it, if only the clock

    def close(self) -> None:
        """Wait until all work is done."""
        self._pool.shutdown()


def _in_time(until: float, work: Callable[..., Made], *given: Any, **named: Any) -> Made:
    set_deadline(until)
    check_deadline()
    return work(*given, **named)
