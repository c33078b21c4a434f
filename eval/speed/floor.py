"""What the machine could do at best, and what a turn needs of it: FLOPs and bytes, counted from the configuration."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from eval.speed.clock import percentile

ROWS = 512  # tokens of a turn
SECONDS = 0.4  # that each rate is measured for
MEGABYTES = 256  # that are read for the bandwidth, more than any cache holds
ROW = 21  # bytes of a token's row that scoring reads: prior, word, message, begin and mention
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Need:
    """What a piece of work needs at least: bytes, and FLOPs, of which a product that is added to a sum has two."""

    flops: float
    bytes: float

    def __add__(self, other: Need) -> Need:
        return Need(self.flops + other.flops, self.bytes + other.bytes)

    def milliseconds(self, gflops: float, gigabytes: float) -> float:
        """The least time on a machine of so many GFLOP/s that reads so many GB/s, neither waiting for the other."""
        return 1000 * max(self.flops / (1e9 * gflops), self.bytes / (1e9 * gigabytes))


def shapes(config: Any) -> dict[str, tuple[int, int, int, int]]:
    """The encoder's matrix products for `ROWS` tokens: rows, inner and outer width, how many there are in a layer."""
    width, inner = config.encoder.hidden_size, config.encoder.intermediate_size
    found = [(width, width, 4), (width, inner, 1), (inner, width, 1)]
    return {f"{ROWS}x{a}x{b}": (ROWS, a, b, count) for a, b, count in found}


def rates(config: Any, seconds: float = SECONDS) -> dict[str, Any]:
    """GFLOP/s of `torch.matmul` at the encoder's shapes, by precision; `layer` is of a layer's products together."""
    found: dict[str, Any] = {}
    for name, dtype in DTYPES.items():
        own, spent, total = {}, 0.0, 0.0
        for shape, (rows, a, b, count) in shapes(config).items():
            left, right = torch.randn(rows, a, dtype=dtype), torch.randn(a, b, dtype=dtype)
            times = timed(lambda left=left, right=right: torch.matmul(left, right), seconds)  # type: ignore[misc]
            flops = 2.0 * rows * a * b
            own[shape] = {
                "p50": round(flops / percentile(times, 0.5) / 1e9, 1),
                "best": round(flops / min(times) / 1e9, 1),
                "repetitions": len(times),
            }
            spent, total = spent + count * min(times), total + count * flops
        found[name] = {"shapes": own, "layer": round(total / spent / 1e9, 1)}
    return found


def bandwidth(seconds: float = SECONDS, megabytes: int = MEGABYTES) -> dict[str, float]:
    """GB/s at which memory is read, by summing float32 numbers."""
    values = torch.ones(megabytes * 2**18)
    times = timed(values.sum, seconds)
    size = values.numel() * values.element_size() / 1e9
    return {
        "p50": round(size / percentile(times, 0.5), 1),
        "best": round(size / min(times), 1),
        "repetitions": len(times),
    }


def timed(work: Callable[[], Any], seconds: float) -> list[float]:
    """Seconds of each of as many calls as go into some seconds, five at least, after two that are not counted."""
    work(), work()
    times: list[float] = []
    until = time.perf_counter() + seconds
    while len(times) < 5 or time.perf_counter() < until:
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return times


def encoder_need(config: Any, passes: Sequence[Sequence[int]], bytes_each: int) -> Need:
    """Of passes of the encoder.

    Args:
        config: A `ReetConfig` with a BERT or the like.
        passes: Tokens of each window of each pass, special tokens included.
        bytes_each: Of a weight; weights are read once a pass, token embeddings once a token.
    """
    own = config.encoder
    width, inner, layers = own.hidden_size, own.intermediate_size, own.num_hidden_layers
    weights = layers * (4 * width * width + 2 * width * inner)
    windows = [size for windows in passes for size in windows]
    flops = sum(2 * weights * size + layers * 4 * width * size * size for size in windows)
    return Need(flops, bytes_each * (weights * len(passes) + width * sum(windows)))


def extraction_need(config: Any, windows: Sequence[int], subjects: int, sentence: float, states: float) -> Need:
    """Of the extraction head.

    Args:
        config: A `ReetConfig`.
        windows: Words of each window.
        subjects: Mentions of which facts are looked for.
        sentence: Words of the sentence that a mention stands in.
        states: Bytes of the cached states that are read.
    """
    width, dim, narrow = config.width, config.extraction_dim, config.span_dim
    kinds, channels, words = len(config.mention_kinds), len(config.channels), sum(windows)
    half = dim // 2
    entity = 2 * width * dim + 8 * half * (dim + half) + 2 * dim * (kinds * narrow + channels)
    band = config.entity_words * (kinds * narrow + channels)
    fact = 2 * dim * 2 * narrow * words + subjects * (6 * dim * narrow + sentence * 4 * narrow)
    weights = entity + 2 * dim * 2 * narrow + 6 * dim * narrow
    return Need(2 * (words * (entity + band) + fact), 4 * weights + states)


def scoring_need(config: Any, history: int, sentences: int, read: int, query: int, state: float) -> Need:
    """Of the scoring head without reading the query: sentences as one token each, then the tokens of the best ones.

    Args:
        config: A `ReetConfig`.
        history: Tokens of the conversation; of each the prior, its word, its message and the rest of its row are read.
        sentences: Of the conversation.
        read: Tokens that are looked at one by one.
        query: Tokens of the query.
        state: Bytes of a cached state.
    """
    width, narrow, wide = config.width, config.token_dim, config.unit_dim
    token = width * narrow + width * (query + 1) + 5 * narrow + query * 2 * narrow + 2 * narrow
    sentence = (narrow + 5) * wide + (2 * config.neighbours + 1) * wide + wide * wide + wide + 5
    exact = 0 if read >= history else read
    looked = history if read >= history else read + sentences
    rows = sentences * (2 if exact else 1)
    return Need(2 * (looked * token + rows * sentence), looked * state + history * ROW)
