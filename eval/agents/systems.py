"""What agents do today when a history grows too long: simple ways that keep calls and results together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from eval.agents.checks import LEADING, text_of
from reet_hf.budget import TokenCounter
from reet_hf.conversation import Conversation, parse_messages
from reet_hf.rendering import rendered_tokens, whole

Message = dict[str, Any]
CLEARED = "[result cleared]"


def tokens_of(messages: Sequence[Message], counter: TokenCounter) -> int:
    """Tokens of messages as they are sent."""
    conversation = Conversation(parse_messages(messages))
    return rendered_tokens(conversation, whole(conversation), counter)


@dataclass(frozen=True)
class Block:
    """Messages that stay together, a call with its results or any other one alone, and their tokens."""

    messages: tuple[Message, ...]
    tokens: int

    @property
    def role(self) -> str:
        """Of the first message."""
        return self.messages[0]["role"]

    @property
    def calls(self) -> bool:
        """Whether these are calls with results."""
        return len(self.messages) > 1


def blocks_of(messages: Sequence[Message], counter: TokenCounter) -> list[Block]:
    """A history in blocks, in order."""
    groups: list[list[Message]] = []
    for message in messages:
        if message["role"] == "tool" and groups:
            groups[-1].append(message)
        else:
            groups.append([message])
    return [Block(tuple(group), tokens_of(group, counter)) for group in groups]


def last_messages(messages: Sequence[Message], limit: int, counter: TokenCounter, rng: Random) -> list[Message]:
    """Instructions and the last messages that fit, from a user's on."""
    return _flat(_window(blocks_of(messages, counter), limit))


def random_pairs(messages: Sequence[Message], limit: int, counter: TokenCounter, rng: Random) -> list[Message]:
    """All that was said, and calls with their results as they are drawn, as many as fit."""
    blocks = blocks_of(messages, counter)
    said = _window([block for block in blocks if not block.calls], limit)
    left = limit - sum(block.tokens for block in said)
    chosen = {id(block) for block in said}
    first = next((n for n, b in enumerate(blocks) if id(b) in chosen and b.role not in LEADING), len(blocks))
    for block in rng.sample(blocks, len(blocks)):
        if block.calls and block.tokens <= left and blocks.index(block) > first:
            chosen.add(id(block))
            left -= block.tokens
    return _flat([block for block in blocks if id(block) in chosen])


def result_heads(messages: Sequence[Message], limit: int, counter: TokenCounter, rng: Random) -> list[Message]:
    """Each result cut to as many first tokens as all can have; where none is left, the last messages of that."""
    low, high = 0, max((counter.count(text_of(m)) for m in messages if m["role"] == "tool"), default=0)
    while low < high:
        middle = (low + high + 1) // 2
        if tokens_of(_headed(messages, middle, counter), counter) <= limit:
            low = middle
        else:
            high = middle - 1
    return last_messages(_headed(messages, low, counter), limit, counter, rng)


def cleared_results(messages: Sequence[Message], limit: int, counter: TokenCounter, rng: Random) -> list[Message]:
    """The oldest results replaced by a note until the rest fits; where that is not enough, the last messages."""
    kept = list(messages)
    excess = tokens_of(kept, counter) - limit
    for number, message in enumerate(kept):
        if excess <= 0:
            break
        if message["role"] == "tool":
            gain = counter.count(text_of(message)) - counter.count(CLEARED)
            if gain > 0:
                kept[number] = {**message, "content": CLEARED}
                excess -= gain
    return last_messages(kept, limit, counter, rng)


def _window(blocks: Sequence[Block], limit: int) -> list[Block]:
    """Instructions and the last blocks that fit, from a user's on; the first blocks that are not needed go."""
    leading = [block for block in blocks if block.role in LEADING]
    left = limit - sum(block.tokens for block in leading)
    kept: list[Block] = []
    for block in reversed([block for block in blocks if block.role not in LEADING]):
        left -= block.tokens
        if left < 0:
            break
        kept.insert(0, block)
    while kept and kept[0].role != "user":
        kept.pop(0)
    return [*leading, *kept]


def _flat(blocks: Sequence[Block]) -> list[Message]:
    return [message for block in blocks for message in block.messages]


def _headed(messages: Sequence[Message], tokens: int, counter: TokenCounter) -> list[Message]:
    """Messages whose results end after so many tokens."""
    found = []
    for message in messages:
        text = text_of(message)
        if message["role"] == "tool" and counter.starts is not None:
            starts = counter.starts([text])[0]
            if len(starts) > tokens:
                message = {**message, "content": text[: starts[tokens]]}
        found.append(message)
    return found


Simple = Callable[[Sequence[Message], int, TokenCounter, Random], list[Message]]
SIMPLE: dict[str, Simple] = {
    "last messages": last_messages,
    "random tool pairs": random_pairs,
    "heads of results": result_heads,
    "oldest results cleared": cleared_results,
}
