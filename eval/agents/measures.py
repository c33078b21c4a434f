"""What a compressed history still has of what later turns need."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from eval.agents.checks import text_of
from eval.agents.histories import AgentRun, Change, Use

NEAR = 300  # characters around an identifier in which what it is of must stand
AGES = ((1, 2), (3, 5), (6, 10), (11, 99))
"""Turns between what shows an identifier and the call that uses it, first and last of each group."""


def said(messages: Iterable[Mapping[str, Any]]) -> str:
    """Contents and arguments of messages."""
    lines = []
    for message in messages:
        lines.append(text_of(message))
        lines += [call["function"]["arguments"] for call in message.get("tool_calls") or ()]
    return "\n".join(lines)


def facts_of(out: Mapping[str, Any]) -> str:
    """The facts of an output's ledger that still hold, each with its entity."""
    return "\n".join(f"{name}: {fact['text']}" for name, own in out["facts"].items() for fact in own if fact["current"])


def names_of(out: Mapping[str, Any]) -> str:
    """The entities of an output."""
    return "\n".join(entity["text"] for entity in out["entities"])


def usable(use: Use, text: str) -> bool:
    """Whether an identifier stands near what the user calls it by."""
    for match in re.finditer(re.escape(use.identifier), text):
        around = text[max(0, match.start() - NEAR) : match.end() + NEAR]
        if all(name in around for name in use.about):
            return True
    return False


def age_of(turns: int) -> str:
    """The group of `AGES` that so many turns belong to."""
    first, last = next(group for group in AGES if turns <= group[1])
    return f"{first} or more" if last == AGES[-1][1] else f"{first} to {last}"


def identifier_scores(uses: Sequence[Use], text: str, facts: str = "", names: str = "") -> list[dict[str, float]]:
    """For each use whether its identifier survives: in the text, near what it is of, in a fact, as an entity."""
    found = []
    for use in uses:
        there = use.identifier in text
        known = there or use.identifier in facts
        found.append(
            {
                "text": float(there),
                "text, with owner and subject": float(there and usable(use, text)),
                "text or facts": float(known),
                "text, facts or entities": float(known or use.identifier in names),
            }
        )
    return found


def value_scores(changes: Sequence[Change], before: int, text: str) -> list[dict[str, float]]:
    """For each value that has changed before message number `before` whether a text has it and whether only an old one.

    Args:
        changes: Of the history.
        before: Number of messages that were there.
        text: What was kept of them.
    """
    found = []
    for change in changes:
        values = [value for value, place in zip(change.values, change.messages, strict=True) if place < before]
        if len(values) > 1:
            there = values[-1] in text
            stale = not there and any(value in text for value in values[:-1])
            found.append({"current": float(there), "only an old one": float(stale)})
    return found


def uses_at(run: AgentRun, turn: int) -> list[Use]:
    """What the calls of one turn need, each identifier once."""
    return list({use.identifier: use for use in run.uses if use.turn == turn}.values())
