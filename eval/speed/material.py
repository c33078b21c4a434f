"""Exchanges of a user and an assistant, of any number of tokens, from the texts of a folder of parquet files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from reet_hf.errors import ReetError

USER_SHARE = 0.2  # of the tokens of an exchange
LABELS = 4  # tokens of the labels of a user and an assistant, with their colons
EXCHANGE = 400  # tokens of the exchanges that a conversation is made of

Messages = list[dict[str, Any]]


@dataclass(frozen=True)
class Passage:
    """A text, and a question about what it is from."""

    text: str
    question: str


@dataclass(frozen=True)
class Exchange:
    """What a user said and an assistant answered, and what is asked after it."""

    messages: Messages
    query: str


def passages(folder: str | Path) -> Iterator[Passage]:
    """All texts, one row of each file in turn, endlessly.

    Args:
        folder: Of parquet files with the columns `messages` and `questions`, or one such file.

    Raises:
        ReetError: If there is no text.
    """
    path = Path(folder)
    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path] * path.is_file()
    while True:
        found = False
        for row in _in_turn([_rows(file) for file in files]):
            questions = row["questions"] or [{"question": "What was decided?"}]
            for number, message in enumerate(row["messages"]):
                if (message["content"] or "").strip():
                    found = True
                    yield Passage(message["content"].strip(), questions[number % len(questions)]["question"])
        if not found:
            raise ReetError(f"`data` must be a folder of parquet files with messages, got {path.name!r}.")


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    for batch in pq.ParquetFile(file).iter_batches(50, columns=["messages", "questions"]):
        yield from batch.to_pylist()


def _in_turn(sources: Iterable[Iterator[dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    return (row for rows in zip_longest(*sources) for row in rows if row is not None)


class Material:
    """Text that is taken piece by piece, none twice before all was taken.

    Args:
        source: Texts.
        tokenizer: A fast tokenizer; tokens are its.
    """

    def __init__(self, source: Iterator[Passage], tokenizer: Any) -> None:
        self._source, self._tokenizer = source, tokenizer
        self._rest = Passage("", "")

    def take(self, tokens: int) -> Passage:
        """About so many tokens of text, cut between tokens."""
        parts, missing = [], tokens
        while missing > 0:
            if not self._rest.text:
                self._rest = next(self._source)
            text = self._rest.text
            known = self._tokenizer(text[: 16 * missing], add_special_tokens=False, verbose=False).encodings[0]
            cut = known.offsets[missing - 1][1] if len(known.ids) >= missing else min(len(text), 16 * missing)
            parts.append(text[:cut].strip())
            missing -= min(len(known.ids), missing) or missing
            self._rest = Passage(text[cut:].strip(), self._rest.question)
        return Passage("\n".join(filter(None, parts)), self._rest.question)

    def exchange(self, tokens: int) -> Exchange:
        """A user's message and an answer of about so many tokens together, labels included."""
        room = max(tokens - LABELS, 2)
        said = self.take(max(int(USER_SHARE * room), 1))
        answer = self.take(room - max(int(USER_SHARE * room), 1))
        messages = [{"role": "user", "content": said.text}, {"role": "assistant", "content": answer.text}]
        return Exchange(messages, answer.question)

    def conversation(self, tokens: int) -> Exchange:
        """As many exchanges as have about so many tokens together, and the question after the last one."""
        found = Exchange([], "")
        while tokens > 0:
            last = self.exchange(min(tokens, EXCHANGE) if tokens > 1.1 * EXCHANGE else tokens)
            found = Exchange([*found.messages, *last.messages], last.query)
            tokens -= EXCHANGE if tokens > 1.1 * EXCHANGE else tokens
        return found
