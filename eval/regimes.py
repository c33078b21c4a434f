"""What a compressor gets to see, and when: the regimes of the multi-turn retention protocol."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from eval.systems.base import Kept, System
from reet_hf.budget import TokenCounter, resolve_limit
from reet_hf.conversation import Conversation, parse_messages
from reet_hf.records import Span, Turn
from reet_hf.rendering import joint, render_text, rendered_tokens, whole

REGIMES = ("session", "once", "first_query", "rolling")
CHUNKS = 10

Messages = Sequence[Mapping[str, Any]]


@dataclass
class Asked:
    """What was kept of one row in one regime.

    Attributes:
        turns: For each question in order what was kept under each budget.
        open_ms: Milliseconds to read the conversation, before any question.
        ages: In regime `rolling`, how many chunks came after what answers each question; empty in the others.
    """

    turns: list[list[Kept]] = field(default_factory=list)
    open_ms: float = 0.0
    ages: list[int] = field(default_factory=list)


def regimes_of(system: System, wanted: Sequence[str] = REGIMES) -> list[str]:
    """Those regimes that a system can take part in: without a query a system that requires one keeps nothing."""
    without_query = {"once", "rolling"}
    return [name for name in wanted if not (system.query == "required" and name in without_query)]


def ask(
    system: System,
    row: Mapping[str, Any],
    regimes: Sequence[str],
    rates: Sequence[float],
    turns: int,
    counter: TokenCounter,
) -> dict[str, Asked]:
    """What `system` keeps of a row for its first `turns` questions, by regime.

    Where two regimes must lead to the same output it is made once: without use of the query `session` and
    `first_query` keep what `once` keeps, and `first_query` keeps what `session` keeps at its first turn.
    """
    questions = row["questions"][:turns]
    found: dict[str, Asked] = {}
    if set(regimes) - {"rolling"}:
        start = time.perf_counter()
        opened = system.open(row["messages"])
        open_ms = 1000 * (time.perf_counter() - start)
        blind = system.query == "unused"
        if "once" in regimes or blind:
            kept = system.compress(opened, None, (), rates)
            found["once"] = Asked([kept] * len(questions), open_ms)
        if blind:
            found["session"] = found["first_query"] = found["once"]
        elif {"session", "first_query"} & set(regimes):
            asked = questions if "session" in regimes else questions[:1]
            found["session"] = Asked(list(_session(system, opened, asked, rates)), open_ms)
            found["first_query"] = Asked([found["session"].turns[0]] * len(questions), open_ms)
    if "rolling" in regimes:
        found["rolling"] = _rolling(system, row, questions, rates, counter)
    return {name: found[name] for name in regimes}


def _session(
    system: System, opened: Any, questions: Sequence[Mapping[str, Any]], rates: Sequence[float]
) -> Iterator[list[Kept]]:
    """The queries in order, each with the earlier ones and their gold answers as history."""
    history: list[Turn] = []
    for question in questions:
        yield system.compress(opened, question["question"], tuple(history), rates)
        history.append(Turn(question["question"], (question["answers"] or [""])[0]))


def _rolling(
    system: System,
    row: Mapping[str, Any],
    questions: Sequence[Mapping[str, Any]],
    rates: Sequence[float],
    counter: TokenCounter,
) -> Asked:
    """Chunk after chunk is added to what was kept so far and cut to the budget; the questions come at the end."""
    messages = row["messages"]
    conversation = Conversation(parse_messages(messages))
    original = rendered_tokens(conversation, whole(conversation), counter)
    chunks = chunks_of(messages)
    last = [roll(system, messages, chunks, resolve_limit(rate, original), counter) for rate in rates]
    chunk_of = {number: place for place, chunk in enumerate(chunks) for number in chunk}
    ages = [len(chunks) - 1 - chunk_of[_place(question)] for question in questions]
    return Asked([last] * len(questions), 0.0, ages)


def _place(question: Mapping[str, Any]) -> int:
    spans = question["answer_spans"] or question["evidence"]
    return max((span["message"] for span in spans), default=0)


def chunks_of(messages: Messages, count: int = CHUNKS) -> list[range]:
    """At most `count` chunks of neighbouring messages with about equally much text, as message numbers."""
    sizes = [len(message["content"] or "") + 1 for message in messages]
    total = sum(sizes)
    places = [count * (end - size) // total for size, end in zip(sizes, accumulate(sizes), strict=True)]
    borders = [number for number in range(len(places)) if number == 0 or places[number] != places[number - 1]]
    return [range(start, end) for start, end in zip(borders, [*borders[1:], len(places)], strict=True)]


def roll(system: System, messages: Messages, chunks: Sequence[range], budget: int, counter: TokenCounter) -> Kept:
    """The output after the last chunk, its pieces at their places in the original messages.

    What fits the budget is not compressed; `milliseconds` is the mean over the compressions.
    """
    kept: list[Span] = []
    text, tokens = "", 0
    times: list[float] = []
    for chunk in chunks:
        kept += (Span(number, 0, len(messages[number]["content"] or "")) for number in chunk)
        shown, origins = rendered(messages, kept)
        conversation = Conversation(parse_messages(shown))
        text = render_text(conversation, whole(conversation))
        tokens = rendered_tokens(conversation, whole(conversation), counter)
        if tokens <= budget:
            continue
        start = time.perf_counter()
        result = system.compress(system.open(shown), None, (), [budget])[0]
        times.append(1000 * (time.perf_counter() - start))
        text, tokens = result.text, result.tokens
        kept = [span for piece in result.pieces for span in _traced(piece, origins[piece.message])]
    return Kept(text, tuple(kept), tokens, budget, sum(times) / max(len(times), 1))


def rendered(messages: Messages, held: Sequence[Span]) -> tuple[list[dict[str, Any]], list[list[tuple[int, Span]]]]:
    """Held slices as messages, and for each message where its slices stand: (first character, original place).

    Slices that only white space parts become one; between others stands what `reet_hf.rendering.joint` says.
    """
    shown: list[dict[str, Any]] = []
    origins: list[list[tuple[int, Span]]] = []
    previous: Span | None = None
    for span in held:
        text = messages[span.message]["content"] or ""
        if previous is None or previous.message != span.message:
            shown.append({**messages[span.message], "content": ""})
            origins.append([])
        else:
            gap = text[previous.end : span.start]
            if not gap or gap.isspace():
                first, before = origins[-1].pop()
                shown[-1]["content"] = shown[-1]["content"][:first]
                span = Span(span.message, before.start, span.end)
            else:
                shown[-1]["content"] += joint(gap)
        origins[-1].append((len(shown[-1]["content"]), span))
        shown[-1]["content"] += text[span.start : span.end]
        previous = span
    return shown, origins


def _traced(piece: Span, origins: Sequence[tuple[int, Span]]) -> Iterator[Span]:
    """The original places of a piece of a rendered message."""
    for first, span in origins:
        start = max(piece.start, first)
        end = min(piece.end, first + span.end - span.start)
        if start < end:
            yield Span(span.message, span.start + start - first, span.start + end - first)
