"""What a task file says beside its rows: how what was kept is scored, and how a reader is asked and graded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from eval.readers.base import Prompt
from eval.readers.scores import score as answer_score
from eval.systems.base import Kept

Row = Mapping[str, Any]
Question = Mapping[str, Any]
TaskScore = Callable[[Row, Question, Kept], dict[str, float]]
TaskPrompt = Callable[[Row, int, str], Prompt]
TaskGrade = Callable[[Row, Question, str], dict[str, float]]


def by_answers(row: Row, question: Question, said: str) -> dict[str, float]:
    """The usual scores of an answer, see `eval.readers.scores.score`."""
    return answer_score(question, said)


@dataclass(frozen=True)
class Task:
    """The functions of a file of `eval/tasks`.

    Attributes:
        score: Its `score(row, question, kept)`: measures of what was kept, each in [0, 1], without any reader.
        placed: Whether results say where what answers a question stands, its `PLACED`.
        prompt: Its `prompt(row, number, text)`, if it has one: what a generative reader is asked of `text`, in the
            benchmark's own words, for the question of that number.
        grade: Its `grade(row, question, said)`, if it has one: scores of what a reader said, as the benchmark's own
            code computes them, in [0, 1].
    """

    score: TaskScore
    placed: bool = False
    prompt: TaskPrompt | None = None
    grade: TaskGrade = by_answers

    @classmethod
    def of(cls, module: Any) -> Task:
        """The functions of the module."""
        return cls(
            module.score,
            getattr(module, "PLACED", False),
            getattr(module, "prompt", None),
            getattr(module, "grade", by_answers),
        )
