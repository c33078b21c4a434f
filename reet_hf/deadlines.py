"""How long work may go on: set by whoever serves requests, looked at by what takes time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token

from .errors import DeadlineError

_until: ContextVar[float | None] = ContextVar("until", default=None)


def set_deadline(until: float | None) -> Token[float | None]:
    """Let the work of this context end at `until`, a time of `time.monotonic`, or never; returns what takes it back."""
    return _until.set(until)


@contextmanager
def no_deadline() -> Iterator[None]:
    """Work that is worth its time even if whoever asked for it has gone: the next one finds it done."""
    before = set_deadline(None)
    try:
        yield
    finally:
        _until.reset(before)


def time_left() -> float | None:
    """Seconds until the deadline, at least 0; `None` without one."""
    until = _until.get()
    return None if until is None else max(0.0, until - time.monotonic())


def check_deadline() -> None:
    """Nothing, while there is time.

    Raises:
        DeadlineError: Afterwards.
    """
    until = _until.get()
    if until is not None and time.monotonic() > until:
        raise DeadlineError("The request took longer than this server allows; send less, or append it in parts.")
