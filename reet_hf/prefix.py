"""A view that only grows: what was sent once stays as it is until it no longer fits, so that prompt caches hold.

Providers keep what they computed for the beginning of a prompt and charge little for it when the next prompt begins
with the same bytes. A compression that chooses anew for every request changes bytes far in front. Here new messages
are added in full behind what was sent before, up to the budget; only then everything is compressed again (a re-base),
down to a part of the budget, so that it is long before the next time.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from .budget import is_number
from .conversation import Conversation
from .errors import ReetError
from .records import Span
from .rendering import whole

REBASE_TO = 0.5
Messages = Sequence[Mapping[str, Any]]


class Select(Protocol):
    """What a re-base compresses with."""

    def __call__(self, limit: int, last: bool, /) -> Sequence[Span]:
        """Spans of the whole conversation, in order, that cost at most `limit` tokens.

        With `last` the last message (and the tool group that it belongs to) must be among them, whole: what is
        appended later is then a valid continuation, whatever it is.

        Raises:
            ReetError: With `floor` if what must be kept needs more than `limit`.
        """


@dataclass(frozen=True)
class Prefix:
    """What was sent so far, and stays.

    Attributes:
        spans: Its places in the conversation, in order.
        digests: A digest of each rendered message.
        covered: Messages of the conversation that it accounts for; what is not in `spans` was left out.
        key: The options that it was made with.
        rebases: How often something that had been sent was changed.
    """

    spans: tuple[Span, ...] = ()
    digests: tuple[str, ...] = ()
    covered: int = 0
    key: str = ""
    rebases: int = 0

    def to_dict(self) -> dict[str, Any]:
        """The same as plain JSON types."""
        spans = [[span.message, span.start, span.end] for span in self.spans]
        rest = {"covered": self.covered, "key": self.key, "rebases": self.rebases}
        return {"spans": spans, "digests": list(self.digests), **rest}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Prefix:
        """The value that `to_dict` wrote.

        Raises:
            ReetError: If `data` is no such thing.
        """
        try:
            spans = tuple(Span(int(message), int(start), int(end)) for message, start, end in data["spans"])
            digests = tuple(map(str, data["digests"]))
            return cls(spans, digests, int(data["covered"]), str(data["key"]), int(data["rebases"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ReetError(f"`data` must be what Prefix.to_dict wrote, but {error!r}; start with Prefix().") from error

    @property
    def is_open(self) -> bool:
        """Whether new messages may follow: the last message that it accounts for is there, at least in part."""
        return not self.covered or bool(self.spans) and self.spans[-1].message == self.covered - 1


@dataclass(frozen=True, slots=True)
class Stability:
    """What a step left as it was.

    Attributes:
        stable_messages: Messages at the beginning that are the same, byte for byte, as the last time.
        stable_tokens: Tokens of these.
        rebased: Whether anything that had been sent was changed.
        resent_tokens: If so, tokens from the first changed message on; else 0.
        rebases: How often that has happened so far.
    """

    stable_messages: int
    stable_tokens: int
    rebased: bool
    resent_tokens: int
    rebases: int

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain JSON types."""
        return asdict(self)


def checked_rebase_to(share: Any, strategy: str = "extractive") -> float:
    """The share of the budget that a re-base compresses to.

    Raises:
        ReetError: If it is no number between 0 and 1, or `strategy` writes texts that no message can be added to.
    """
    if strategy != "extractive":
        raise ReetError(
            f"`stable_prefix` needs strategy='extractive', got {strategy!r}: facts are written anew for each request; "
            "leave `stable_prefix` out."
        )
    if not is_number(share) or not 0.0 < share < 1.0:
        raise ReetError(
            f"`rebase_to` must be a share of the budget between 0 and 1, both excluded, got {share!r}; "
            f"the default is {REBASE_TO}."
        )
    return float(share)


def first_recent(conversation: Conversation, tokens: int, count: Callable[[Sequence[Span]], int]) -> int:
    """Number of the first of the last messages that take at most so many tokens in full, with all of a tool's results.

    A re-base that keeps them keeps what the next turns most likely go on with. The last message, and the tool call that
    it belongs to, are always among them.

    Args:
        conversation: All messages, at least one.
        tokens: Room for them.
        count: Exact tokens of rendered spans.
    """
    spans = whole(conversation)
    first = home = conversation.homes[-1]
    room = tokens - count(spans[home:])
    for number in range(home - 1, -1, -1):
        room -= count(spans[number : number + 1])
        if room < 0:
            break
        if conversation.homes[number] == number:
            first = number
    return first


def step(
    prefix: Prefix,
    conversation: Conversation,
    limit: int,
    count: Callable[[Sequence[Span]], int],
    render: Callable[[Sequence[Span]], Messages],
    select: Select,
    *,
    key: str = "",
    rebase_to: float = REBASE_TO,
) -> tuple[Prefix, Stability]:
    """The view of a conversation that grew, as like the last one as can be.

    What was sent stays and new messages follow in full, if `key` is the same and they fit. Else, and if the last view
    ends in what no message can follow, the view is made anew: the whole conversation if it fits, else what `select`
    keeps within `rebase_to` of the limit; if what must be kept needs more, within more of it.

    Args:
        prefix: What the last step returned; `Prefix()` at first.
        conversation: All messages.
        limit: The budget in tokens.
        count: Exact tokens of rendered spans.
        render: Spans as chat messages.
        select: What a re-base compresses with.
        key: Names all options that, when they change, ask for a new view; a rate as budget, not the limit from it.
        rebase_to: Share of the limit, between 0 and 1.

    Raises:
        ReetError: If `rebase_to` is no such share, or what must be kept exceeds the limit.
    """
    share = checked_rebase_to(rebase_to)
    spans = _appended(prefix, conversation, key)
    messages = render(spans) if spans is not None else ()
    if spans is None or _digests(messages)[: len(prefix.digests)] != prefix.digests or count(spans) > limit:
        spans = _base(conversation, limit, share, count, select)
        messages = render(spans)
    digests = _digests(messages)
    same = _common(prefix.digests, digests)
    rebased = same < len(prefix.digests)
    stable = count(_unchanged(prefix.spans, spans)) if same else 0
    resent = count(spans) - stable if rebased else 0
    rebases = prefix.rebases + rebased
    made = Prefix(tuple(spans), digests, len(conversation.messages), key, rebases)
    return made, Stability(same, stable, rebased, resent, rebases)


def _appended(prefix: Prefix, conversation: Conversation, key: str) -> list[Span] | None:
    """What was sent and all new messages in full; `None` where they cannot follow."""
    if not prefix.covered:
        return None
    if prefix.key != key or not prefix.is_open or prefix.covered > len(conversation.messages):
        return None
    return [*prefix.spans, *whole(conversation, prefix.covered)]


def _base(
    conversation: Conversation,
    limit: int,
    share: float,
    count: Callable[[Sequence[Span]], int],
    select: Select,
) -> list[Span]:
    """Everything if it fits, else what `select` keeps within the lowest limit that will do."""
    everything = whole(conversation)
    if count(everything) <= limit:
        return everything
    try:
        return _selected(limit, share, count([]), select)
    except ReetError as error:
        if error.floor is None:
            raise
    return list(select(limit, False))  # a last message that does not fit whole takes all the room there is


def _selected(limit: int, share: float, fixed: int, select: Select) -> list[Span]:
    """What is kept, the last message whole, within what is fixed and the share of what is left of the limit.

    Where more must be kept, that counts as fixed.
    """
    for _ in range(2):
        target = min(fixed + max(1, math.floor(share * (limit - fixed))), limit)
        try:
            return list(select(target, True))
        except ReetError as error:
            if error.floor is None or not target < error.floor <= limit:
                raise
            fixed = error.floor
    return list(select(limit, True))


def _digests(messages: Messages) -> tuple[str, ...]:
    """A digest of every message, by its fields in their order."""
    written = (json.dumps(message, ensure_ascii=False, default=str) for message in messages)
    return tuple(hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16] for text in written)


def _common(before: Sequence[Any], after: Sequence[Any]) -> int:
    """How many items are the same at the beginning of both."""
    pairs = enumerate(zip(before, after, strict=False))
    return next((number for number, (a, b) in pairs if a != b), min(len(before), len(after)))


def _unchanged(before: Sequence[Span], after: Sequence[Span]) -> list[Span]:
    """The spans of those messages in front of which nothing differs."""
    same = _common(before, after)
    changed = [spans[same].message for spans in (before, after) if same < len(spans)]
    return [span for span in after if not changed or span.message < min(changed)]
