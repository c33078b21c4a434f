"""Scores and costs of one row: what the task measures, what every task measures, what a reader makes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import numpy as np

from eval.readers.base import Answer
from eval.records import RowScores
from eval.regimes import Asked
from eval.task import Task
from reet_hf.budget import TokenCounter
from reet_hf.conversation import Conversation, parse_messages
from reet_hf.mentions import find_mentions
from reet_hf.metrics import entity_survival, prefix_stability, provenance_fidelity, rate_adherence
from reet_hf.rendering import rendered_tokens, whole

DIGITS = 3

Scores = list[float | None]


@dataclass
class Spent:
    """What one row cost, output by output, before it is summed up over a data set.

    Attributes:
        tokens, budgets, originals: Tokens of each output, of its budget, and of the whole conversation.
        verbatim: Share of each output's pieces that stand in it word for word and in order.
        foreign_words: Words of each output that do not come from the conversation.
        turn_ms: Milliseconds of each output.
        open_ms: Milliseconds to read the conversation.
    """

    tokens: list[int] = field(default_factory=list)
    budgets: list[int] = field(default_factory=list)
    originals: list[int] = field(default_factory=list)
    verbatim: list[float] = field(default_factory=list)
    foreign_words: list[int] = field(default_factory=list)
    turn_ms: list[float] = field(default_factory=list)
    open_ms: list[float] = field(default_factory=list)


class RowMeasures:
    """Measures the outputs of any system for one row; what depends on the row alone is computed once.

    Args:
        row: The row.
        turns: At most so many of its questions.
        task: What it is scored by.
        counter: What counts tokens.
    """

    def __init__(self, row: Mapping[str, Any], turns: int, task: Task, counter: TokenCounter) -> None:
        self.row = row
        self.questions = row["questions"][:turns]
        self.task = task
        self.texts = [message["content"] or "" for message in row["messages"]]
        conversation = Conversation(parse_messages(row["messages"]))
        self.original = rendered_tokens(conversation, whole(conversation), counter)
        self.mentions = find_mentions(conversation)

    def scores(self, asked: Asked, place: int) -> RowScores:
        """Scores of every question under the budget at `place`."""
        kept = [turn[place] for turn in asked.turns]
        found = [self.task.score(self.row, question, each) for question, each in zip(self.questions, kept, strict=True)]
        entities: dict[int, float] = {}
        for number, each in enumerate(kept):
            if self.mentions:
                if id(each) not in entities:  # one output may serve all turns
                    entities[id(each)] = entity_survival(self.mentions, each.pieces)
                found[number]["entity_survival"] = entities[id(each)]
            if number and each is not kept[number - 1]:
                found[number]["prefix_stability"] = prefix_stability(kept[number - 1].text, each.text)
        return RowScores(str(self.row["id"]), columns(found), asked.ages, self.places())

    def places(self) -> list[float]:
        """Where what answers each question begins, as a share of the text; empty if the task asks for none."""
        if not self.task.placed:
            return []
        before = [0, *accumulate(len(text) for text in self.texts)]
        firsts = [
            min(before[span["message"]] + span["start"] for span in question["answer_spans"] or question["evidence"])
            for question in self.questions
        ]
        return [round(first / before[-1], DIGITS) for first in firsts]

    def answered(self, answers: Mapping[int, Answer], reader: str) -> dict[str, Scores]:
        """Scores of a reader's answers, by the number of the question; failed calls and questions not asked are `None`.

        A call that failed is no wrong answer.
        """
        found: list[dict[str, float]] = [{} for _ in self.questions]
        for number, answer in answers.items():
            if answer.error is None:
                scores = self.task.grade(self.row, self.questions[number], answer.text)
                found[number] = {f"{reader}.{name}": value for name, value in scores.items()}
        return columns(found)

    def spent(self, asked: Asked, place: int) -> Spent:
        """What the outputs under the budget at `place` cost; one output for all turns counts once."""
        kept = list({id(turn[place]): turn[place] for turn in asked.turns}.values())
        return Spent(
            tokens=[each.tokens for each in kept],
            budgets=[each.budget for each in kept],
            originals=[self.original] * len(kept),
            verbatim=[provenance_fidelity(self.texts, each.pieces, each.text) for each in kept],
            foreign_words=[each.foreign_words for each in kept],
            turn_ms=[each.milliseconds for each in kept],
            open_ms=[asked.open_ms],
        )


def columns(turns: Sequence[Mapping[str, float]]) -> dict[str, Scores]:
    """Scores by measure instead of by turn, rounded, `None` where a turn has none."""
    names = sorted({name for turn in turns for name in turn})
    return {name: [_short(turn.get(name)) for turn in turns] for name in names}


def _short(value: float | None) -> float | None:
    if value is None:
        return None
    short = round(float(value), DIGITS)
    return int(short) if short.is_integer() else short


def mean_rows(rows: Sequence[RowScores]) -> RowScores:
    """One row's scores as means over several seeds."""
    first = rows[0]
    if len(rows) == 1:
        return first
    scores: dict[str, Scores] = {}
    none: Scores = [None] * max(len(column) for row in rows for column in row.scores.values())
    for name in sorted({name for row in rows for name in row.scores}):  # calls of a reader may all fail at one seed
        seeds = zip(*(row.scores.get(name, none) for row in rows), strict=True)
        scores[name] = [None if None in turn else _short(np.mean(turn)) for turn in seeds]
    return RowScores(first.id, scores, first.ages, first.places)


def costs(spent: Sequence[Spent]) -> dict[str, float]:
    """What the rows of a data set cost together.

    `rate` and its `target` are means over outputs, `overruns` counts outputs over their budget, `foreign_words`
    those of all outputs; `turn_ms_p50` and `_p95` are milliseconds an output, `cold_ms` those of the first output and
    of reading the conversation.
    """
    together = {name: [v for row in spent for v in getattr(row, name)] for name in Spent.__dataclass_fields__}
    if not together["tokens"]:
        return {}
    found = dict(rate_adherence(together["tokens"], together["budgets"], together["originals"]))
    cold = [row.open_ms[0] + row.turn_ms[0] for row in spent if row.turn_ms]
    found["verbatim"] = float(np.mean(together["verbatim"]))
    found["foreign_words"] = sum(together["foreign_words"])
    found["outputs"] = len(together["tokens"])
    for name, values in (("turn", together["turn_ms"]), ("cold", cold)):
        found[f"{name}_ms_p50"], found[f"{name}_ms_p95"] = np.quantile(values, (0.5, 0.95))
    return {name: round(float(value), 4) for name, value in found.items()}
