"""What RULER's texts are made from: words, essays or the grammar of `eval.tasks.haystack`, questions with documents."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import sentencex

from eval.tasks.haystack import Haystack
from eval.tasks.public import require
from eval.tasks.ruler_qa import Library, hotpotqa, read, squad
from eval.tasks.ruler_words import Words
from reet_hf.errors import ReetError

ESSAYS = "PaulGrahamEssays.json"
FILES = {"qa_1": "squad.json", "qa_2": "hotpotqa.json"}
READERS = {"qa_1": squad, "qa_2": hotpotqa}


@dataclass(frozen=True)
class Sources:
    """Words, the words of the essays if there are any, and questions with documents by task."""

    words: Words
    essays: list[str] = field(default_factory=list)
    libraries: dict[str, Library] = field(default_factory=dict)

    @classmethod
    def of(cls, data: str, words: str) -> Sources:
        """What a folder has of the original's files.

        Raises:
            ReetError: If it is no folder, or has none of them.
        """
        if not data:
            return cls(Words.of(words))
        folder = Path(data)
        there = [name for name in (ESSAYS, *FILES.values()) if (folder / name).is_file()]
        if not there:
            raise ReetError(
                f"`data` must be a folder with any of {', '.join((ESSAYS, *FILES.values()))}, but {data} has none; "
                "fetch them with the scripts of NVIDIA/RULER, or leave `data` out to generate what needs none."
            )
        libraries = {task: READERS[task](folder / name) for task, name in FILES.items() if name in there}
        return cls(Words.of(words), _essays(folder / ESSAYS) if ESSAYS in there else [], libraries)

    def library(self, task: str) -> Library | None:
        """Questions and documents of a task, if they are there."""
        return self.libraries.get(task)

    def sentences(self, rng: Random, words: int) -> list[str]:
        """Sentences of so many words: the beginning of the essays, or new ones of about as many."""
        if not self.essays:
            return Haystack(Random(rng.getrandbits(64))).sentences(words)
        text = " ".join(self.essays[:words]).strip()
        return [sentence.strip() for sentence in sentencex.segment("en", text)]

    def name_of(self, task: str) -> str:
        """Where the text of a task comes from."""
        if task in FILES:
            return FILES[task]
        in_essays = task.startswith("niah") and task not in ("niah_single_1", "niah_multikey_2", "niah_multikey_3")
        return ESSAYS if self.essays and in_essays else "generated"


def _essays(path: Path) -> list[str]:
    data = read(path)
    require(data, ["text"], path.name)
    return re.sub(r"\s+", " ", data["text"]).split(" ")
