"""What a run would ask of readers before any is asked: calls, tokens, and what an API takes for them."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from eval.offers import WHOLE, module_of, percents
from eval.readers.prompt import prompt
from eval.tables import table
from eval.task import Task
from reet_hf.budget import TokenCounter
from reet_hf.conversation import Conversation, parse_messages
from reet_hf.errors import ReetError
from reet_hf.rendering import rendered_tokens, whole

Row = Mapping[str, Any]
Build = Callable[..., Any]


@dataclass(frozen=True)
class Calls:
    """Calls of a reader, and tokens of their prompts and of the longest answers."""

    calls: int = 0
    read: int = 0
    written: int = 0

    def __add__(self, other: Calls) -> Calls:
        return Calls(self.calls + other.calls, self.read + other.read, self.written + other.written)


def row_calls(row: Row, task: Task, counter: TokenCounter, turns: int, shares: Sequence[float], length: int) -> Calls:
    """The calls for one row, one for each question with answers and each share of the text.

    Args:
        row: The row.
        task: Whose prompts are used, if it has some.
        counter: What counts tokens.
        turns: At most so many questions.
        shares: Of the text's tokens that are read.
        length: Most tokens of an answer, where the task does not say it.
    """
    conversation = Conversation(parse_messages(row["messages"]))
    text = rendered_tokens(conversation, whole(conversation), counter)
    total = Calls()
    for number, question in enumerate(row["questions"][:turns]):
        if not question["answers"]:
            continue
        written, around = length, prompt(question["question"], "")
        if task.prompt is not None:
            asked = task.prompt(row, number, "")
            written, around = asked.max_new_tokens, "\n".join(each["content"] for each in asked.messages)
        frame = counter.count(around)
        read = sum(frame + round(share * text) for share in shares)
        total += Calls(len(shares), read, written * len(shares))
    return total


def reader_length(build: Build, options: Mapping[str, Any]) -> int | None:
    """Most tokens of a reader's answers, `None` of one that generates none.

    Args:
        build: The function of its file.
        options: That it will be given.
    """
    known = inspect.signature(build).parameters
    return options.get("max_new_tokens", known["max_new_tokens"].default) if "max_new_tokens" in known else None


def is_served(reader: str) -> bool:
    """Whether a reader is one behind an address, so that its tokens may be paid for."""
    return "url" in inspect.signature(module_of("readers", reader).build).parameters


def prices(text: str) -> tuple[float, float]:
    """Dollars for a million tokens read and written.

    Raises:
        ReetError: If they are not two numbers with a comma between.
    """
    try:
        read, written = (float(part) for part in text.split(","))
    except ValueError:
        read = written = -1.0
    if read < 0 or written < 0:
        raise ReetError(
            f"`price` must be dollars for a million tokens read and written, as in 0.15,0.60, got {text!r}; see the "
            "price list of whoever serves the model."
        )
    return read, written


def page(
    arguments: argparse.Namespace,
    sets: Mapping[str, Sequence[Row]],
    task: Task,
    options: Mapping[str, Mapping[str, Any]],
    counter: TokenCounter,
) -> str:
    """What readers would be asked; no system and no reader is made.

    Args:
        arguments: Of `eval/run.py`.
        sets: Rows of the task by set.
        task: The task.
        options: Of systems and readers by name.
        counter: What counts tokens.
    """
    found = {}
    for system, reader in product(arguments.system.split(","), arguments.reader.split(",")):
        length = reader_length(module_of("readers", reader).build, options.get(reader, {}))
        own = task if length is not None else Task(task.score)
        shares = _shares(system, arguments)
        calls = Calls()
        for rows in sets.values():
            for row in rows[: arguments.reader_rows]:
                calls += row_calls(row, own, counter, arguments.turns, shares, length or 0)
        found[system, reader] = calls
    return told(found, arguments.price, arguments.counter or "the bundled model")


def _shares(system: str, arguments: argparse.Namespace) -> list[float]:
    """The shares of a text that readers see of a system, one for each regime and budget."""
    module = module_of("systems", system)
    kinds = [each for each in vars(module).values() if isinstance(each, type) and each.__module__ == module.__name__]
    if not all(getattr(kind, "budgeted", True) for kind in kinds):
        return [1.0]
    seen = percents(arguments.reader_budget)
    budgets = [budget / WHOLE for budget in percents(arguments.budget) if budget in seen]
    return budgets * len(arguments.regime.split(","))


def told(found: Mapping[tuple[str, str], Calls], price: tuple[float, float] | None, counter: str) -> str:
    """What was estimated, by system and reader.

    Args:
        found: Calls by system and reader.
        price: Dollars for a million tokens read and written; without it no price is told.
        counter: Whose tokenizer counted.
    """
    rows = []
    paid = {reader for _, reader in found if is_served(reader)}
    total = sum((calls for (_, reader), calls in found.items() if reader in paid), Calls())
    for (system, reader), calls in [*found.items(), (("all", ""), sum(found.values(), Calls()))]:
        billed = calls if reader in paid else Calls() if reader else total
        cost = [f"{(billed.read * price[0] + billed.written * price[1]) / 1e6:,.2f}"] if price else []
        rows.append([system, reader, f"{calls.calls:,}", f"{calls.read:,}", f"{calls.written:,}", *cost])
    heads = ["system", "reader", "calls", "tokens read", "tokens written", *(["dollars"] if price else [])]
    return (
        f"{table(heads, rows)}\n\nAt most: answers that are stored already, texts that two regimes share, and regimes "
        f"that a system takes no part in are not asked for. Tokens are those of {counter}; a reader's own differ."
    )
