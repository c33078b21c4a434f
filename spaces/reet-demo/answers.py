"""What the examples ask and what is to be found: whether a known answer stands in what was kept."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from reet_hf.metrics import answer_survival
from reet_hf.records import Span

EXAMPLES: list[dict[str, Any]] = json.loads(
    Path(__file__).with_name("examples.json").read_text(encoding="utf-8"),
)
TITLES = [item["title"] for item in EXAMPLES]


def named(title: str) -> dict[str, Any]:
    """The example called `title`.

    Raises:
        KeyError: If there is none.
    """
    for item in EXAMPLES:
        if item["title"] == title:
            return item
    raise KeyError(title)


def content_of(item: dict[str, Any]) -> str:
    """The conversation of an example as it stands in the text field."""
    return json.dumps(item["messages"] if "messages" in item else item["context"], ensure_ascii=False, indent=1)


def questions_of(item: dict[str, Any]) -> list[str]:
    """What is asked about an example, in the order of the conversation."""
    return [asked["question"] for asked in item["questions"]]


def places(answer: str, texts: Sequence[str]) -> list[Span]:
    """Where an answer stands, word for word."""
    found: list[Span] = []
    for number, text in enumerate(texts):
        start = text.find(answer)
        while start >= 0:
            found.append(Span(number, start, start + len(answer)))
            start = text.find(answer, start + 1)
    return found


def known_answer(query: str, texts: Sequence[str]) -> str | None:
    """The answer to a question of the examples if it stands in these texts, else `None`."""
    for item in EXAMPLES:
        pairs = [(item["query"], item["answer"])]
        pairs += [(asked["question"], asked["answer"]) for asked in item["questions"]]
        for question, answer in pairs:
            if question == query.strip() and places(answer, texts):
                return answer
    return None


def survives(answer: str, texts: Sequence[str], kept: Iterable[Span]) -> bool:
    """Whether every content word of the answer was kept at one of the places where it stands."""
    spans = [place._asdict() for place in places(answer, texts)]
    return answer_survival(texts, spans, kept) == 1.0
