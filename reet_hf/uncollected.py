"""Stretches of code in which thousands of records are made and none can be garbage."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Python does not look for garbage meanwhile: it would go over all there is again and again, and find none.

    Where several threads do so at a time, the first that ends lets it look again.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
