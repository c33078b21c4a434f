"""Windows of several conversations in the same passes of the encoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from ..compressor import Compressor
from ..conversation import Conversation
from ..windows import plan_windows, special_frame, tokenize

PASS_TOKENS = {"cpu": 1024}  # of a pass, the longest window of it counted for each
DEVICE_PASS_TOKENS = 16384  # on any other device
LONG = 1 << 15  # characters from which on a conversation fills passes of its own

Ids = Sequence[int]


@contextmanager
def read_together(compressor: Compressor, conversations: Sequence[Conversation]) -> Iterator[None]:
    """Inside, `compressor.encode` finds the windows of these conversations read, in passes that they share.

    Windows of like length are read together, so the passes depend on the conversations and their order alone. States
    are those of a conversation read by itself up to floating-point rounding. Long conversations are left to be read by
    themselves, so that states of about `LONG` characters for each of the others are in memory at most. For one thread
    at a time, as it stands in for the scorer's `reader` meanwhile.

    Args:
        compressor: With any scorer; one that has no `reader` reads each conversation by itself.
        conversations: What will be encoded.
    """
    scorer: Any = compressor.scorer
    before = getattr(scorer, "reader", None)
    if before is None or len(conversations) < 2:
        yield
        return
    states = _states(scorer, [each for each in conversations if _length(each) < LONG])

    def reader(rows: Sequence[Ids]) -> list[torch.Tensor]:
        missing = [row for row in rows if tuple(row) not in states]
        read = iter(before(missing) if missing else ())
        return [found if (found := states.get(tuple(row))) is not None else next(read) for row in rows]

    scorer.reader = reader
    try:
        yield
    finally:
        scorer.reader = before


def passes(rows: Sequence[Ids], tokens: int) -> list[list[Ids]]:
    """Windows of like length together, the shortest first, as many as make `tokens` if each were as long as the last.

    A window that is longer than that is alone.
    """
    found: list[list[Ids]] = []
    for row in sorted(rows, key=len):
        if found and (len(found[-1]) + 1) * len(row) <= tokens:
            found[-1].append(row)
        else:
            found.append([row])
    return found


@torch.inference_mode()
def _states(scorer: Any, conversations: Sequence[Conversation]) -> dict[tuple[int, ...], torch.Tensor]:
    """States of all windows, of shape `(tokens, width)` each; windows that are alike are read once."""
    before, after = special_frame(scorer.tokenizer)
    capacity = scorer.config.window_tokens - len(before) - len(after)
    rows: dict[tuple[int, ...], None] = {}
    for conversation in conversations:
        table = tokenize(conversation, scorer.tokenizer)
        rows.update(dict.fromkeys(tuple(table.ids[a:b].tolist()) for a, b in plan_windows(table.units, capacity)))
    states: dict[tuple[int, ...], torch.Tensor] = {}
    for group in passes(list(rows), PASS_TOKENS.get(scorer.model.device.type, DEVICE_PASS_TOKENS)):
        read = scorer.reader([list(row) for row in group])
        states.update((tuple(row), found) for row, found in zip(group, read, strict=True))
    return states


def _length(conversation: Conversation) -> int:
    return sum(len(message.text) for message in conversation.messages)
