"""Small histories for checks: cut anywhere that is valid, with the irregularities that real agents have."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from eval.agents.histories import AgentRun, Message, agent_run


def small_run(seed: int) -> AgentRun:
    """A history of mostly 1 to 25 messages, now and then more; `uses` and `changes` are left out.

    It may end after a user's message, after results that were not read yet or after an answer.
    """
    rng = Random(f"small {seed}")
    most = rng.randint(1, 25) if rng.random() < 0.9 else rng.randint(26, 80)
    run = agent_run(seed, turns=1 + most // 3, plain=rng.random() < 0.7, result_tokens=rng.choice([40, 80, 160]))
    messages = _cut(run.messages, rng.randint(0, 3) if most > 3 and rng.random() < 0.1 else 0, most)
    for chance, change in IRREGULARITIES:
        if rng.random() < chance:
            messages = change(messages, rng)
    starts = [number for number, message in enumerate(messages) if message["role"] == "user"]
    return AgentRun(messages, run.tools, [], [], starts)


def _cut(messages: Sequence[Message], first: int, most: int) -> list[Message]:
    """Messages from `first` on, at most so many, without calls or results that lost the other."""
    kept = list(messages[first : first + most])
    while kept and kept[0]["role"] == "tool":
        kept.pop(0)
    waiting = len(kept)
    while waiting and messages[first + most :][:1] and messages[first + most]["role"] == "tool":
        waiting -= 1
        if kept[waiting]["role"] != "tool":
            break
    else:
        waiting = len(kept)
    kept = kept[:waiting]
    if kept and kept[-1].get("tool_calls"):
        kept.pop()
    return copy.deepcopy(kept) or [{"role": "user", "content": "Hello"}]


def _same_ids(messages: list[Message], rng: Random) -> list[Message]:
    """Ids that begin anew with each round, as some servers give them."""
    names: dict[str, str] = {}
    for message in messages:
        for place, call in enumerate(message.get("tool_calls") or ()):
            names[call["id"]] = f"call_{place}"
            call["id"] = f"call_{place}"
        if message["role"] == "tool":
            message["tool_call_id"] = names[message["tool_call_id"]]
    return messages


def _out_of_order(messages: list[Message], rng: Random) -> list[Message]:
    """Results of one round in the order in which they came."""
    done: list[Message] = []
    for message in messages:
        place = len(done)
        while message["role"] == "tool" and done[place - 1]["role"] == "tool" and rng.random() < 0.5:
            place -= 1
        done.insert(place, message)
    return done


def _in_parts(messages: list[Message], rng: Random) -> list[Message]:
    """Texts of users, tools and instructions as lists of text parts."""
    for message in messages:
        text = message["content"]
        if isinstance(text, str) and text and rng.random() < 0.4:
            one_block = text.lstrip()[:1] in "[{" or "```" in text
            cut = message["role"] == "tool" and not one_block and rng.random() < 0.5
            border = text.find("\n") + 1 if cut else 0
            parts = [text[:border], text[border:]] if 0 < border < len(text) else [text]
            message["content"] = [{"type": "text", "text": part} for part in parts]
    return messages


def _greeting(messages: list[Message], rng: Random) -> list[Message]:
    """The assistant speaks first."""
    place = next((n for n, m in enumerate(messages) if m["role"] not in ("system", "developer")), len(messages))
    return [*messages[:place], {"role": "assistant", "content": "Hello, what can I do for you?"}, *messages[place:]]


def _twice(messages: list[Message], rng: Random) -> list[Message]:
    """A user who sends another message at once."""
    starts = [n for n, m in enumerate(messages) if m["role"] == "user"]
    if not starts:
        return messages
    place = rng.choice(starts)
    return [*messages[: place + 1], {"role": "user", "content": "Please be quick about it."}, *messages[place + 1 :]]


def _interrupted(messages: list[Message], rng: Random) -> list[Message]:
    """A user who goes on before the assistant has answered results."""
    ends = [n for n, m in enumerate(messages[:-1]) if m["role"] == "tool" and messages[n + 1]["role"] == "assistant"]
    ends = [n for n in ends if not messages[n + 1].get("tool_calls")]
    if not ends:
        return messages
    place = rng.choice(ends)
    return [*messages[: place + 1], *messages[place + 2 :]]


def _named(messages: list[Message], rng: Random) -> list[Message]:
    """Users with names."""
    for message in messages:
        if message["role"] == "user":
            message["name"] = rng.choice(["ann", "tomas"])
    return messages


def _late_system(messages: list[Message], rng: Random) -> list[Message]:
    """An instruction between two turns."""
    starts = [n for n, m in enumerate(messages) if m["role"] == "user"]
    place = rng.choice(starts or [0])
    return [*messages[:place], {"role": "system", "content": "The shop closes in ten minutes."}, *messages[place:]]


def _spaced(messages: list[Message], rng: Random) -> list[Message]:
    """Line breaks of another system, white space around, characters that are no letters."""
    for message in messages:
        if isinstance(message["content"], str) and message["content"] and rng.random() < 0.4:
            text = message["content"]
            changed = [text.replace("\n", "\r\n"), f"\n\n{text}\n", f"  {text}  "]
            changed += [f"\u200b{text}\t…"] if message["role"] != "tool" else []
            message["content"] = rng.choice(changed)
    return messages


Irregularity = Callable[[list[Message], Random], list[Message]]
IRREGULARITIES: tuple[tuple[float, Irregularity], ...] = (
    (0.1, _same_ids),
    (0.15, _out_of_order),
    (0.05, _interrupted),
    (0.05, _twice),
    (0.05, _greeting),
    (0.04, _late_system),
    (0.1, _named),
    (0.1, _spaced),
    (0.1, _in_parts),
)
"""What real histories have, each with the share of histories that have it."""


def as_query(messages: Sequence[dict[str, Any]]) -> str | None:
    """The text of the last message of the user, `None` without one."""
    for message in reversed(messages):
        if message["role"] == "user":
            content = message["content"]
            parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
            return " ".join(part["text"] for part in parts if part["type"] == "text") or None
    return None
