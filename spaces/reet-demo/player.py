"""A conversation as it goes on: at each question what a session sends to the model, and what it brings back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import rivals
from answers import places, survives
from curves import Series, chart
from inputs import parse_input
from markup import percent, shown, tile, tiles
from reply import IN_TURN, budget_of, load, on_gpu, patterns

from reet_hf import ReetError, Session
from reet_hf.conversation import Message, parse_request
from reet_hf.records import Span

MOST_QUESTIONS = 12  # of a conversation whose questions are what its users said
MOST_SHOWN = 8  # messages of which it is shown what was sent


@dataclass(frozen=True)
class Sent:
    """What of one message is sent for a question.

    Attributes:
        message: Its number.
        label: Who said it.
        back: User turns since.
        text: The kept words.
        chance: The highest chance of its pieces.
        returned: Whether nothing of it was sent for the question before, though it was there.
    """

    message: int
    label: str
    back: int
    text: str
    chance: float
    returned: bool


@dataclass(frozen=True)
class Step:
    """One question of a conversation that goes on.

    Attributes:
        question: What is asked.
        answer: What is to be found, `None` where that is not known.
        messages: How many messages there are by then.
        original, sent: Tokens of all of them, and of what is sent.
        parts: What is sent, of the likeliest messages first.
        found: Whether the answer stands in what is sent.
        found_by_truncation: Whether it stands in the last tokens of as many.
    """

    question: str
    answer: str | None
    messages: int
    original: int
    sent: int
    parts: tuple[Sent, ...]
    found: bool | None
    found_by_truncation: bool | None


def questions_of(inputs: Mapping[str, Any], known: Sequence[Mapping[str, Any]] = ()) -> list[dict[str, Any]]:
    """`{"after", "question", "answer"}` for each question: those that are known, else what the users said last.

    Raises:
        ReetError: If nobody asks anything.
    """
    if known:
        return [dict(asked) for asked in known]
    messages = parse_request(inputs).conversation.messages
    said = [
        {"after": number, "question": message.text, "answer": None}
        for number, message in enumerate(messages)
        if message.role == "user" and message.text.strip() and number
    ]
    query = inputs.get("query")
    if query:
        said.append({"after": len(messages) - 1, "question": query, "answer": None})
    if not said:
        raise ReetError("The player needs a conversation with turns of a user, or a query.")
    return said[-MOST_QUESTIONS:]


def play(
    text: str, query: str, budget: float, unit: str, protect: str, known: Sequence[Mapping[str, Any]] = ()
) -> tuple[Step, ...]:
    """Every question of a conversation, asked of one session that grows.

    Args:
        text: As for `reply.compress`, as are `query`, `budget`, `unit` and `protect`.
        known: The questions of an example; none for any other conversation.

    Raises:
        ReetError: For whatever cannot be honoured.
    """
    inputs = parse_input(text, "" if known else query)
    questions = questions_of(inputs, known)
    messages = [raw_message(message) for message in parse_request(inputs).conversation.messages]
    key = json.dumps([messages, questions], default=str)
    return _played(key, budget_of(budget), unit, patterns(protect))


def raw_message(message: Message) -> dict[str, Any]:
    """A message as a session takes it; a part of a document is one that nobody said."""
    return dict(message.raw) if message.raw.get("role") else {"role": "document", "content": message.text}


@lru_cache(maxsize=32)
def _played(conversation: str, budget: float | int, unit: str, rules: tuple[str, ...]) -> tuple[Step, ...]:
    messages, questions = json.loads(conversation)
    return _ask_in_turn(messages, questions, {"budget": budget, "unit": unit, "protect": rules})


@on_gpu
def _ask_in_turn(
    messages: list[dict[str, Any]], questions: list[dict[str, Any]], options: dict[str, Any]
) -> tuple[Step, ...]:
    steps: list[Step] = []
    with IN_TURN:
        session = Session(load())
        before: set[int] = set()
        for asked in questions:
            there = messages[: asked["after"] + 1]
            session.append(there[session.message_count :])
            out = session.compress(query=asked["question"], **options)
            steps.append(make_step(asked, there, out, before, steps[-1].messages if steps else 0))
            before = {piece["message"] for piece in out["pieces"]}
            if asked["answer"]:
                session.answer(asked["answer"])
    return tuple(steps)


def make_step(
    asked: Mapping[str, Any], messages: list[dict[str, Any]], out: Mapping[str, Any], before: set[int], known: int
) -> Step:
    """One question with what was sent for it.

    Args:
        asked: The question.
        messages: All there are by then.
        out: What the session returned.
        before: Numbers of the messages of which something was sent for the question before.
        known: How many messages there were by then.
    """
    conversation = parse_request(messages).conversation
    texts, ages = [message.text for message in conversation.messages], conversation.ages()
    pieces: dict[int, list[Mapping[str, Any]]] = {}
    for piece in out["pieces"]:
        pieces.setdefault(piece["message"], []).append(piece)
    parts = [
        Sent(
            message=number,
            label=conversation.messages[number].label,
            back=ages[number],
            text=" ".join(texts[number][piece["start"] : piece["end"]] for piece in own),
            chance=max(piece["importance"] for piece in own),
            returned=bool(before) and number < known and number not in before,
        )
        for number, own in pieces.items()
    ]
    answer, kept = asked["answer"], [Span(p["message"], p["start"], p["end"]) for p in out["pieces"]]
    truncated = rivals.truncated(messages, out["tokens"]["budget"], load().compressor.counter) if answer else []
    return Step(
        question=asked["question"],
        answer=answer,
        messages=len(messages),
        original=out["tokens"]["original"],
        sent=out["tokens"]["compressed"],
        parts=tuple(sorted(parts, key=lambda part: -part.chance)),
        found=survives(answer, texts, kept) if answer and places(answer, texts) else None,
        found_by_truncation=survives(answer, texts, truncated) if answer and places(answer, texts) else None,
    )


def running_share(found: Sequence[bool | None]) -> list[float | None]:
    """After each question the share of those so far whose answer was kept; `None` while none is known."""
    shares: list[float | None] = []
    kept = asked = 0
    for outcome in found:
        if outcome is not None:
            kept, asked = kept + outcome, asked + 1
        shares.append(kept / asked if asked else None)
    return shares


def question_html(steps: Sequence[Step], at: int) -> str:
    """The question that is shown, and whether its answer is sent."""
    step = steps[at]
    verdict = ""
    if step.answer is not None:
        stands = "is in what is sent" if step.found else "was lost at this budget"
        verdict = f'<p class="verdict {"good" if step.found else "bad"}">“{shown(step.answer)}” {stands}.</p>'
    return (
        f'<div class="reet"><p class="count">Question {at + 1} of {len(steps)}, after message {step.messages}</p>'
        f'<p class="question">{shown(step.question)}</p>{verdict}</div>'
    )


def sent_html(steps: Sequence[Step], at: int) -> str:
    """What is sent for the question that is shown, and what of that comes back."""
    step = steps[at]
    rows = "".join(part_html(part) for part in step.parts[:MOST_SHOWN])
    more = len(step.parts) - MOST_SHOWN
    rest = f'<p class="note">and words of {more} more messages</p>' if more > 0 else ""
    returned = sum(part.returned for part in step.parts)
    recalled = (
        f" {returned} of {len(step.parts)} messages come back: nothing of them was sent the time before." if at else ""
    )
    return (
        f'<div class="reet"><p class="note">Sent for this question, the likeliest first.{recalled}</p>'
        f'<ol class="sent">{rows}</ol>{rest}</div>'
    )


def part_html(part: Sent) -> str:
    """What is sent of one message."""
    ago = "this turn" if not part.back else f"{part.back} turn{'s' * (part.back > 1)} back"
    label = f"{part.message + 1} {part.label}".strip()
    badge = '<span class="badge">comes back</span>' if part.returned else ""
    return (
        f'<li><div class="who"><b>{shown(label)}</b> · {ago} · {percent(part.chance)} chance {badge}</div>'
        f'<div class="said">{shown(part.text)}</div></li>'
    )


def curves_html(steps: Sequence[Step], at: int) -> str:
    """What was saved and what was kept, over all questions."""
    saved = sum(step.original - step.sent for step in steps[: at + 1])
    everything = sum(step.original for step in steps[: at + 1])
    known = [step for step in steps[: at + 1] if step.found is not None]
    figures = [
        tile(f"{saved:,}", f"tokens saved so far, of {everything:,}", "good"),
        tile(
            f"{saved / everything:.0%}".replace("%", " %") if everything else "–",
            "fewer tokens than sending everything",
        ),
    ]
    if known:
        figures.append(tile(f"{sum(bool(s.found) for s in known)} of {len(known)}", "answers kept so far"))
        figures.append(tile(f"{sum(bool(s.found_by_truncation) for s in known)} of {len(known)}", "by truncation"))
    tokens = [
        Series("everything", [step.original for step in steps], "other"),
        Series("sent by REET", [step.sent for step in steps], "ours"),
    ]
    charts = chart("Tokens for each question", tokens, at)
    if any(step.found is not None for step in steps):
        survival = [
            Series("truncation", running_share([step.found_by_truncation for step in steps]), "other"),
            Series("REET", running_share([step.found for step in steps]), "ours"),
        ]
        charts += chart("Answers kept so far (survival)", survival, at, share=True)
    else:
        charts += '<p class="note">Survival is measured where answers are known: pick one of the examples.</p>'
    return f'{tiles(*figures)}<div class="reet charts">{charts}</div>'
