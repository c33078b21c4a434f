"""SCBench's synthetic tasks, generated, at several lengths up to 128,000 tokens.

Key and value in a JSON object, prefix and suffix, chains of variables (two links to the root), many-shot examples, and
numbers by their rank, after SCBench (arXiv:2412.10319): its Retr.KV, Retr.Prefix-Suffix, Retr.MultiHop, Many-shot and
Math.Find, five questions a context as there. Each is a file of this folder that says what differs. A set holds one task
at one length and is called `<task>-<length>`.

Lengths are tokens of the bundled model's tokenizer, met within a tenth by a fixed number of tokens a word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from eval.systems.base import Kept
from eval.tasks import key_value, many_shot, math_find, prefix_suffix, variable_tracking
from eval.tasks.generated import Row
from reet_hf.errors import ReetError

VERSION = "1"
PLACED = True
LENGTHS = {"4k": 4_000, "32k": 32_000, "128k": 128_000}
WORD_TOKENS = {"key_value": 8.8, "prefix_suffix": 2.27, "variable_tracking": 1.3, "many_shot": 1.48, "math_find": 4.36}
"""Tokens a word of each task's texts."""

LOADS: dict[str, Callable[..., dict[str, list[Row]]]] = {
    "key_value": partial(key_value.load, form="json"),
    "prefix_suffix": prefix_suffix.load,
    "variable_tracking": variable_tracking.load,
    "many_shot": many_shot.load,
    "math_find": math_find.load,
}
SCORES = {
    "key_value": key_value.score,
    "prefix_suffix": prefix_suffix.score,
    "variable_tracking": variable_tracking.score,
    "many_shot": many_shot.score,
    "math_find": math_find.score,
}


def load(
    rows: int = 1,
    turns: int = 5,
    tasks: str | Iterable[str] = tuple(LOADS),
    lengths: str | Iterable[str] = tuple(LENGTHS),
    seeds: Iterable[int] = (0, 1, 2),
) -> dict[str, list[Row]]:
    """Rows of each task at each length.

    Args:
        rows, turns, seeds: See `eval.tasks.generated.generate`.
        tasks: Which of them, with commas between.
        lengths: Which of 4k, 32k and 128k tokens.

    Raises:
        ReetError: If an option is out of range, or there is no task or length of that name.
    """
    found = {}
    for task in _among("tasks", tasks, LOADS):
        for length in _among("lengths", lengths, LENGTHS):
            words = round(LENGTHS[length] / WORD_TOKENS[task])
            (made,) = LOADS[task](rows=rows, turns=turns, words=words, seeds=seeds).values()
            found[f"{task}-{length}"] = [{**row, "task": task, "id": f"{row['id']}-{length}"} for row in made]
    return found


def _among(name: str, asked: str | Iterable[str], known: Iterable[str]) -> list[str]:
    chosen = asked.split(",") if isinstance(asked, str) else list(asked)
    if not chosen or not set(chosen) <= set(known):
        raise ReetError(f"`{name}` must be among {', '.join(known)}, got {asked!r}.")
    return chosen


def score(row: Mapping[str, Any], question: Mapping[str, Any], kept: Kept) -> dict[str, float]:
    """What the row's task measures."""
    return SCORES[row["task"]](row, question, kept)
