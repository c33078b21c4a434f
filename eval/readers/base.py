"""What every reader offers: it answers questions about a text, and a failed call is a failure, never a wrong answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from reet_hf.errors import ReetError


@dataclass(frozen=True)
class Answer:
    """What a reader said, or why it said nothing.

    Attributes:
        text: The answer; empty if the reader found none in the text.
        error: Why the call failed; then `text` is empty and counts for nothing, neither as right nor as wrong.
    """

    text: str = ""
    error: str | None = None


@dataclass(frozen=True)
class Prompt:
    """What a benchmark asks in its own words.

    Attributes:
        messages: Of a chat, each with `role` and `content`; the last one is the user's.
        max_new_tokens: Most tokens of the answer.
        plain: Whether the model goes on from the text alone, without a chat template; then there is one message.
        stop: The answer ends before the first of these.
        cut: What is left out of a text that is too long for the reader: its middle, or nothing, which is a failure.
        begins: How the answer begins: the model goes on from there, and it is no part of what it says.
    """

    messages: tuple[Mapping[str, str], ...]
    max_new_tokens: int
    plain: bool = False
    stop: tuple[str, ...] = ()
    cut: Literal["middle"] | None = None
    begins: str = ""

    def __post_init__(self) -> None:
        if not self.messages or self.messages[-1]["role"] != "user" or (self.plain and len(self.messages) > 1):
            raise ReetError(
                "`messages` must end with one of the user's, and be that one alone if `plain`, got roles "
                f"{[message['role'] for message in self.messages]}; give the text to go on from as one user message."
            )


def asked_once(text: str, max_new_tokens: int, **options: Any) -> Prompt:
    """A prompt of one message."""
    return Prompt(({"role": "user", "content": text},), max_new_tokens, **options)


class Reader(ABC):
    """A model that answers; each file of this folder has a function `build(**options)` that makes one.

    Attributes:
        name: How tables call it.
        revision: What identifies the weights or the served model.
        options: What else its answers depend on, as plain JSON types and without secrets: prompt, lengths.
        batch_size: How many pairs it works on together; who wants to lose little in a crash asks no more at a time.
        generates: Whether it can be asked in a benchmark's own words; if not, it gets question and text there too.
    """

    name: str
    revision: str
    options: Mapping[str, Any] = MappingProxyType({})
    batch_size: int = 8
    generates: bool = False

    @abstractmethod
    def answers(self, asked: Sequence[tuple[str, str]]) -> list[Answer]:
        """One answer for each pair of a question and the text to find it in, in the same order."""

    def said(self, prompts: Sequence[Prompt]) -> list[Answer]:
        """What it says to each prompt, word by word, thoughts and what is behind a `stop` left aside.

        Raises:
            NotImplementedError: If it is none that `generates`.
        """
        raise NotImplementedError(f"{self.name} answers questions about a text, and is asked by `answers`")

    def suits(self, question: Mapping[str, Any]) -> bool:
        """Whether a question of the multi-turn schema is of a kind that this reader can answer at all."""
        return bool(question["answers"])
