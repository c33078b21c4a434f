"""How long the work on a request may go on; seen by what does the work, wherever it is."""

from __future__ import annotations

import time
from contextvars import ContextVar

from .failures import TooLate

_until: ContextVar[float | None] = ContextVar("until", default=None)


def set_deadline(until: float) -> None:
    """Let the work of this context end at `until`, a time of `time.monotonic`."""
    _until.set(until)


def check_deadline() -> None:
    """Nothing, while there is time.

    Raises:
        TooLate: Afterwards.
    """
    until = _until.get()
    if until is not None and time.monotonic() > until:
        raise TooLate("The request took longer than this server allows; send less, or append it in parts.")
