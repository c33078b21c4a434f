"""The questions of `mtr` as a conversation asks them: a pronoun stands for what the turn before has named.

The longest expression that a question shares with the question before it or its answer is replaced
(`reet_hf.training.variation.follow_up`); who does not know the turn before has to find the answer without it. Questions
that share nothing stay as they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from eval.tasks import mtr
from reet_hf.training.variation import follow_up

VERSION = "1"
Row = mtr.Row
score = mtr.score


def load(data: str = "", sets: str | None = None, rows: int | None = None, seed: int = 0) -> dict[str, list[Row]]:
    """Rows by name of their set; see `mtr.load`.

    Args:
        data, sets, rows: What is read.
        seed: Of the choice between pronouns.
    """
    found = mtr.load(data, sets, rows)
    chooser = np.random.default_rng(seed)
    return {
        name: [{**row, "questions": _leaning(row["questions"], chooser)} for row in own] for name, own in found.items()
    }


def _leaning(questions: list[dict[str, Any]], chooser: np.random.Generator) -> list[dict[str, Any]]:
    before = ["", *(f"{each['question']} {(each['answers'] or [''])[0]}" for each in questions)]
    asked = [follow_up(each["question"], turn, chooser) for each, turn in zip(questions, before, strict=False)]
    return [{**each, "question": text} for each, text in zip(questions, asked, strict=True)]
