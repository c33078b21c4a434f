"""Answers kept on disk, so that a run that broke off goes on where it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from eval.readers.base import Answer, Prompt, Reader

try:
    from diskcache import Cache, JSONDisk
except ImportError as missing:
    raise ImportError("answers are kept on disk by the package diskcache: pip install diskcache") from missing

Ask = Callable[[Sequence[Any]], list[Answer]]


class CachedReader(Reader):
    """A reader that asks another one only what it was not asked before.

    An answer is stored as soon as its batch is back. Failures are never stored: the next run asks again. What is
    stored is found again under the reader's name, revision and options, the question and the text; a served model
    that changes behind the same name and address is not noticed.

    Args:
        reader: Who answers.
        folder: Where answers are kept; several processes may share it, and several readers.
    """

    def __init__(self, reader: Reader, folder: str | Path) -> None:
        self.reader = reader
        self.name = reader.name
        self.revision = reader.revision
        self.options = reader.options
        self.batch_size = reader.batch_size
        self.generates = reader.generates
        self._stored = Cache(str(folder), disk=JSONDisk, eviction_policy="none")  # by default old answers are removed

    def answers(self, asked: Sequence[tuple[str, str]]) -> list[Answer]:
        return self._all([list(pair) for pair in asked], asked, self.reader.answers)

    def said(self, prompts: Sequence[Prompt]) -> list[Answer]:
        return self._all([["said", asdict(each)] for each in prompts], prompts, self.reader.said)

    def _all(self, contents: Sequence[list[Any]], asked: Sequence[Any], ask: Ask) -> list[Answer]:
        """The answers to all that is asked, each named by its content."""
        keys = [self._key(content) for content in contents]
        found = {key: Answer(text) for key in keys if (text := self._stored.get(key)) is not None}
        open_ones = list({key: each for key, each in zip(keys, asked, strict=True) if key not in found}.items())
        for start in range(0, len(open_ones), self.batch_size):
            found |= self._ask(open_ones[start : start + self.batch_size], ask)
        return [found[key] for key in keys]

    def suits(self, question: Mapping[str, Any]) -> bool:
        return self.reader.suits(question)

    def _ask(self, open_ones: Sequence[tuple[str, Any]], ask: Ask) -> dict[str, Answer]:
        """The reader's answers by key, stored where the call did not fail."""
        given = ask([each for _, each in open_ones])
        found = {key: answer for (key, _), answer in zip(open_ones, given, strict=True)}
        for key, answer in found.items():
            if answer.error is None:
                self._stored[key] = answer.text
        return found

    def _key(self, content: list[Any]) -> str:
        told = json.dumps([self.name, self.revision, dict(self.options), *content], sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()
