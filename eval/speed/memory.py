"""What a session of many tokens takes, and how long a question over a million of them does, in a process of its own."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import psutil
import torch

from eval.speed import subject
from eval.speed.clock import spread
from eval.speed.material import Material, passages
from eval.speed.turns import BUDGET, EVEN, Growing, one_turn
from reet_hf.session import Session

MEGABYTE = 2**20
STEP = 8_000  # tokens that are appended together on the way to a million


def apart(work: Callable[..., dict[str, Any]], data: str, model: str, threads: int, *given: Any) -> dict[str, Any]:
    """What `session` or `million` finds in a fresh process."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_answer, args=(theirs, work, data, model, threads, *given), daemon=True)
    process.start()
    theirs.close()
    try:
        found: dict[str, Any] = ours.recv()
        return found
    finally:
        process.join()


def _answer(
    connection: Connection, work: Callable[..., dict[str, Any]], data: str, model: str, threads: int, *given: Any
) -> None:
    torch.set_num_threads(threads)
    compressor = subject.load(model).compressor
    connection.send(work(compressor, Material(passages(data), compressor.scorer.tokenizer), *given))


def session(compressor: Any, material: Material, tokens: int) -> dict[str, Any]:
    """Bytes a token of a session that grew turn by turn, compressed at each.

    Cached states by kind, as the session counts them; and how much more the process holds than before and than in the
    middle, everything that a session keeps included, and what the allocator does.

    Args:
        compressor: What compresses.
        material: Where text comes from.
        tokens: Of the session.
    """
    subject.warm(compressor)
    grown = Growing(compressor, material, EVEN)
    held, counts = [_resident()], [0]
    for share in (0.5, 1.0):
        while grown.tokens < share * tokens:
            grown.turn()
        held.append(_resident())
        counts.append(grown.tokens)
    count = grown.tokens
    kinds = {kind: round(size / count, 2) for kind, size in grown.session._state.scored.nbytes.items()}
    return {
        "tokens": count,
        "state_bytes_per_token": {**kinds, "sum": round(sum(kinds.values()), 2)},
        "rss_bytes_per_token": round((held[2] - held[0]) / count),
        "rss_bytes_per_token_second_half": round((held[2] - held[1]) / max(count - counts[1], 1)),
        "rss_mb": [round(size / MEGABYTE) for size in held],
        "repetitions": 1,
    }


def _resident() -> int:
    """Bytes that this process holds, once what nobody needs is gone."""
    gc.collect()
    return int(psutil.Process().memory_info().rss)


def million(compressor: Any, material: Material, tokens: int, repetitions: int = 5) -> dict[str, Any]:
    """Milliseconds of a question and of a turn over very many cached tokens, all of them read from different text.

    Args:
        compressor: What compresses.
        material: Where text comes from.
        tokens: That are appended, `STEP` at a time.
        repetitions: Of questions and of turns.
    """
    subject.warm(compressor)
    own, begun = Session(compressor), time.perf_counter()
    while own.cached_tokens < tokens:
        own.append(material.conversation(min(STEP, tokens)).messages)
    read = time.perf_counter() - begun
    first, *asked = [_question(own, material) for _ in range(repetitions + 1)]
    turns = [one_turn(own, material.exchange(EVEN[0])) for _ in range(repetitions)]
    return {
        "tokens": own.cached_tokens,
        "append_seconds": round(read, 1),
        "first_question_milliseconds": round(first, 1),
        "question_milliseconds": spread(asked),
        "turn_milliseconds": spread(turns),
        "budget": BUDGET,
        "rss_mb": round(psutil.Process().memory_info().rss / MEGABYTE),
    }


def _question(own: Session, material: Material) -> float:
    query, start = material.take(1).question, time.perf_counter()
    own.compress(query, budget=BUDGET)
    return 1000 * (time.perf_counter() - start)
