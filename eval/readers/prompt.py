"""What generative readers are asked, and how what they say becomes an answer."""

from __future__ import annotations

import re
from collections.abc import Sequence

from eval.readers.base import Answer

NOTHING = "unanswerable"
PROMPT = (
    "Answer the question from the text below and from nothing else. Write only the answer: a short phrase, copied from "
    f"the text where possible, or yes or no. If the text does not tell, write: {NOTHING}\n\n"
    "Text:\n{text}\n\nQuestion: {question}"
)
_LABEL = re.compile(r"\s*answer\s*:", re.IGNORECASE)


def prompt(question: str, text: str) -> str:
    """The message that asks `question` about `text`."""
    return PROMPT.format(question=question.strip(), text=text.strip())


def ended(said: str, stop: Sequence[str]) -> str:
    """`said` up to the first of `stop` in it."""
    places = [said.find(mark) for mark in stop if mark and mark in said]
    return said[: min(places)] if places else said


def thought(said: str) -> Answer:
    """What a model said, word by word, without its thoughts before it."""
    text = said.rpartition("</think>")[2]
    if "<think>" in text:
        return Answer(error="the model was still thinking when it was cut: raise max_new_tokens or switch thinking off")
    return Answer(text)


def heard(said: str) -> Answer:
    """The answer in what a model said, without white space around it, a leading "Answer:" or its thoughts before it.

    A model that says it found nothing gives an empty answer; one that was cut while it was thinking gives a failure.
    """
    without = thought(said)
    if without.error is not None:
        return without
    text = without.text
    text = _LABEL.sub("", text, count=1) if _LABEL.match(text) else text
    return Answer("" if text.strip(" \n\t\"'.").lower() == NOTHING else text.strip())
