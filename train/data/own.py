"""Your own conversations as rows of the multi-turn schema: what may be left out is filled in, the rest is checked.

A row needs `messages` of `{role, content}` and `questions` of `{question, answers}`. Where an answer stands is looked
up if it is not said, and `evidence` may name messages alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reet_hf import ReetError
from reet_hf.conversation import Conversation, parse_messages
from reet_hf.segmentation import units
from reet_hf.training.dataset import NOT_STATED

from .schema import Record, validate

FIXES = {
    "answer_spans": "count characters from 0, `end` is the place behind the last one, or leave `answer_spans` out",
    "evidence": "count characters from 0, `end` is the place behind the last one, or name messages alone as "
    '{"message": 0}',
    "must have exactly the fields": "remove the others",
    "must be one of": "use one of these",
    "must be a string": "write text in quotes",
}
"""What mends a row, by what the error says; the first that fits."""


def own_row(row: Any, path: Path, number: int) -> Record:
    """A row of a user's file with all fields of the schema.

    Args:
        row: As it was read.
        path: Its file.
        number: Of its line or row, from 1.

    Raises:
        ReetError: If it breaks a rule, naming the file, the place, the field, the rule, the value and the way out.
    """
    try:
        whole = _completed(row, f"{path.stem}:{number}", path.stem)
        validate(whole)
    except ValueError as error:
        fix = next((fix for words, fix in FIXES.items() if words in str(error)), "see docs/how-to/fine-tune.md")
        place = "line" if path.suffix == ".jsonl" else "row"
        raise ReetError(f"{path.name}, {place} {number}: {error}; {fix}.") from error
    return whole


def _completed(row: Any, name: str, source: str) -> Record:
    """The row with what was left out.

    Raises:
        ValueError: If it cannot be filled in.
    """
    given = _given("row", row)
    whole = {"id": name, "source": source, "license": NOT_STATED, **given}
    messages = [{"name": "", **_given(f"messages[{n}]", m)} for n, m in _listed("messages", given.get("messages"))]
    if not all(isinstance(message.get("content"), str) for message in messages):
        number = next(n for n, message in enumerate(messages) if not isinstance(message.get("content"), str))
        raise ValueError(
            f"row {name!r}: messages[{number}].content must be a string, but is {messages[number].get('content')!r}"
        )
    questions = [
        _question(f"questions[{n}]", _given(f"questions[{n}]", question), messages)
        for n, question in _listed("questions", given.get("questions"))
    ]
    return {**whole, "messages": messages, "questions": questions}


def _question(field: str, given: Record, messages: Sequence[Record]) -> Record:
    """A question with its kind, the places of its answers, and its evidence."""
    question = {"answers": [], **given}
    answers = [text for _, text in _listed(f"{field}.answers", question["answers"])]
    texts = [message["content"] for message in messages]
    for key in ("answer_spans", "evidence"):
        if key in question:
            spans = _listed(f"{field}.{key}", question[key])
            question[key] = [_span(_given(f"{field}.{key}[{n}]", span), texts) for n, span in spans]
    if not answers or not all(isinstance(answer, str) and answer.strip() for answer in answers):
        return {"kind": "unanswerable", "answer_spans": [], "evidence": [], **question}
    if "answer_spans" not in question and question.get("kind") != "abstractive":
        question["answer_spans"] = _found(field, answers, question.get("evidence"), texts)
    spans = question.setdefault("answer_spans", [])
    if "evidence" not in question:
        if not spans:
            raise ValueError(
                f"{field}.evidence must say which messages answer {question.get('question')!r}, but is missing"
            )
        question["evidence"] = _sentences(messages, spans)
    return {"kind": "extractive" if spans else "abstractive", **question}


def _found(field: str, answers: Sequence[str], evidence: Any, texts: Sequence[str]) -> list[Record]:
    """Where the answers stand: inside the evidence, or at the one place where they do."""
    within = evidence or [{"message": n, "start": 0, "end": len(text)} for n, text in enumerate(texts)]
    places: dict[str, list[Record]] = {answer: [] for answer in answers}
    for span in within:
        if not all(type(span.get(key)) is int for key in ("message", "start", "end")):
            continue  # which the check refuses
        text = texts[span["message"]] if 0 <= span["message"] < len(texts) else ""
        for answer in answers:
            pattern = re.compile(rf"(?<!\w){re.escape(answer)}(?!\w)", re.IGNORECASE)
            for match in pattern.finditer(text, max(span["start"], 0), max(span["end"], 0)):
                places[answer].append({"message": span["message"], "start": match.start(), "end": match.end()})
    count = sum(map(len, places.values()))
    if not evidence and count != 1:
        raise ValueError(
            f"{field}.evidence must say which message answers the question if the answers {list(answers)} do not stand "
            f"at exactly one place, but is missing, and they stand at {count}"
        )
    return [found[0] for found in places.values() if found]


def _sentences(messages: Sequence[Record], spans: Sequence[Record]) -> list[Record]:
    """The sentence around each span, or the part of the message that holds it."""
    sentences = units(Conversation(parse_messages([dict(message) for message in messages])), "sentence")
    found = []
    for span in spans:
        if not all(type(span.get(key)) is int for key in ("message", "start", "end")):
            continue  # which the check refuses
        own = [u for u in sentences if u.message == span["message"] and u.start < span["end"] and span["start"] < u.end]
        start = min([span["start"], *(unit.start for unit in own)])
        found.append({"message": span["message"], "start": start, "end": max([span["end"], *(u.end for u in own)])})
    return found


def _span(given: Record, texts: Sequence[str]) -> Record:
    """A span, the whole message where it says no more than its number."""
    number = given.get("message")
    length = len(texts[number]) if type(number) is int and 0 <= number < len(texts) else 0
    return {"start": 0, "end": length, **given}


def _given(field: str, value: Any) -> Record:
    """The fields of an object that are not null."""
    if not isinstance(value, Mapping):
        raise ValueError(f"{field} must be an object, but is {value!r:.120}")
    return {key: item for key, item in value.items() if item is not None}


def _listed(field: str, value: Any) -> list[tuple[int, Any]]:
    """The items of a list with their numbers."""
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"{field} must be a list, but is {value!r:.120}")
    return list(enumerate(value))
