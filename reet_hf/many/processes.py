"""What one of several processes that were launched together does for all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, TypeVar

from ..errors import ReetError

Found = TypeVar("Found")
WAIT = timedelta(days=7)  # for the first process, which may have a large file to look through


def first_alone(work: Callable[[], Found], environment: Mapping[str, str]) -> Found:
    """What `work` returns in the first of the processes, in all of them; alone it is just done.

    Args:
        work: Done before any process goes on. What it returns must be one that can be pickled.
        environment: Where `accelerate launch`, or any other launcher of torch's processes, leaves what they need to
            find each other.

    Raises:
        ReetError: In all of them, if the first one refuses.
    """
    if int(environment.get("WORLD_SIZE") or 1) < 2:
        return work()
    from torch import distributed

    distributed.init_process_group("gloo", timeout=WAIT)
    try:
        told: list[Any] = [None]
        if distributed.get_rank() == 0:
            try:
                told = [(work(), None)]
            except ReetError as refused:
                told = [(None, str(refused))]
        distributed.broadcast_object_list(told)
        distributed.barrier()  # the first one keeps the connection for the others
    finally:
        distributed.destroy_process_group()
    found, refusal = told[0]
    if refusal is not None:
        raise ReetError(refusal)
    return found


def own_device(environment: Mapping[str, str]) -> str | None:
    """The accelerator of this one of several processes of a machine; `None` where it has none of its own."""
    import torch

    number = environment.get("LOCAL_RANK")
    if number is None or not torch.cuda.is_available():
        return None
    return f"cuda:{int(number) % torch.cuda.device_count()}"


def shows_progress(environment: Mapping[str, str]) -> bool:
    """Whether this process is the one of its machine that shows progress."""
    return environment.get("LOCAL_RANK") in (None, "", "0")
