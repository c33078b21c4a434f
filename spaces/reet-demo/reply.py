"""The model on this page: loaded once, asked under a lock; conversations that were read are kept for the next click."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, TypeVar

from inputs import parse_input
from transformers import pipeline

from reet_hf import ReetError
from reet_hf.conversation import Message, Request, parse_request
from reet_hf.protection import protected_spans
from reet_hf.records import Span
from reet_hf.segmentation import units

Job = TypeVar("Job", bound=Callable[..., Any])
try:
    from spaces import GPU as on_gpu  # ZeroGPU lends a device while a function that is marked so runs
except ImportError:

    def on_gpu(job: Job) -> Job:
        """The function as it is, where nobody lends devices."""
        return job


MODEL = os.environ.get("REET_MODEL")  # none: the weights in the package
OPENED = 8  # conversations whose encoded states are kept
LENT_DEVICE = "SPACES_ZERO_GPU" in os.environ  # what was computed on a device does not outlive the call there
IN_TURN = threading.Lock()  # the model answers one call after the other


@dataclass(frozen=True)
class Reply:
    """One compression with what the page tells of it.

    Attributes:
        messages: The original.
        query: What was asked, empty for any later question.
        protected: What had to stay, by the pattern that says so.
        result: The pipeline's dictionary.
        sentences: `{"message", "start", "end", "importance"}` of every sentence of the original for this query.
        prior: The same without a query: the chance that any later question needs it.
        seconds: Time that it took.
        read_before: Whether it had been read for an earlier question, so that the time is that of choosing alone.
    """

    messages: tuple[Message, ...]
    query: str
    protected: Mapping[str, Sequence[Span]]
    result: dict[str, Any]
    sentences: Sequence[Mapping[str, Any]]
    prior: Sequence[Mapping[str, Any]]
    seconds: float
    read_before: bool

    @property
    def texts(self) -> list[str]:
        """The text of each message."""
        return [message.text for message in self.messages]

    @property
    def kept(self) -> list[Span]:
        """What was kept."""
        return [Span(piece["message"], piece["start"], piece["end"]) for piece in self.result["pieces"]]


@cache
def load() -> Any:
    """The compression pipeline, made at the first call."""
    return pipeline("reet-compression", model=MODEL) if MODEL else pipeline("reet-compression")


@lru_cache(maxsize=OPENED)
def _opened(inputs: str) -> tuple[Request, Any]:
    """A conversation that was read, and its encoded state; only called under the lock."""
    request = parse_request(json.loads(inputs))
    return request, load().compressor.encode(request.conversation)


def budget_of(value: float | None) -> float | int:
    """A budget as the library takes it: a share of the tokens up to 1, above it a number of tokens.

    Raises:
        ReetError: If it is none, or not above 0.
    """
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not value > 0:
        raise ReetError(
            f"`budget` must be a share of the tokens up to 1, or a number of tokens above it, got {value!r}."
        )
    return float(value) if value <= 1 else int(value)


def patterns(protect: str) -> tuple[str, ...]:
    """What must stay: a pattern on each line that is not empty."""
    return tuple(line.strip() for line in protect.splitlines() if line.strip())


@on_gpu
def compress(text: str, query: str, budget: float, unit: str, protect: str = "") -> Reply:
    """A conversation compressed for a query.

    Args:
        text: Text or JSON, see `inputs.parse_input`.
        query: What is asked; empty: what any later question may need.
        budget: See `budget_of`.
        unit: What is kept or dropped as a whole.
        protect: A regex of what must stay on each line.

    Raises:
        ReetError: For whatever cannot be honoured.
    """
    inputs, rules = parse_input(text, query), patterns(protect)
    limit = budget_of(budget)
    key = json.dumps({name: value for name, value in inputs.items() if name not in ("query", "history")})
    with IN_TURN:
        ask = load().compressor.compress_turn
        start = time.perf_counter()
        asked = parse_request(inputs)
        read = _opened.cache_info().misses
        request, state = _opened(key)
        read_before = _opened.cache_info().misses == read
        result = ask(state, asked.query, asked.history, budget=limit, unit=unit, protect=rules).to_dict()
        seconds = time.perf_counter() - start
        whole = {"budget": 1.0, "unit": "sentence"}
        sentences = ask(state, asked.query, asked.history, **whole).to_dict()["pieces"]
        prior = ask(state, None, ask_last=False, **whole).to_dict()["pieces"]
        if LENT_DEVICE:
            _opened.cache_clear()
    parts = units(request.conversation, "sentence") if rules else []
    protected = {rule: protected_spans(request.conversation, parts, [rule]) for rule in rules}
    return Reply(
        messages=request.conversation.messages,
        query=asked.query or "",
        protected=protected,
        result=result,
        sentences=sentences,
        prior=prior,
        seconds=seconds,
        read_before=read_before,
    )


def readable(error: Exception) -> str:
    """What the page says of an error: the library's own words, the smallest budget where there is one."""
    floor = getattr(error, "floor", None)
    told = str(error).strip() or type(error).__name__
    return (
        f"{told} The smallest budget that would do is {floor:,} tokens." if floor and str(floor) not in told else told
    )
