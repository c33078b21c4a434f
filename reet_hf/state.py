"""A conversation and what is computed of it once a message: units, shorter forms, what a counter says of them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import Any

import numpy as np

from .accounts import Accounts, reported
from .budget import TokenCounter
from .candidates import Forms, shown_forms
from .conversation import Conversation, Message
from .coverage import Mentioned
from .demonstrations import Demonstrations
from .frames import is_short_exchange
from .growth import GrowingArray
from .openings import Containers, prices
from .records import EntityMention, Mention, Span, Unit
from .rendering import calls_text, render_messages, render_text, whole
from .segmentation import UNITS, span_array, units
from .shortening import FORMS, is_prose, short_forms
from .unit_table import UnitTable

ADDRESSED = ("system", "developer", "assistant")  # roles of conversations in which what is demanded binds the reader
CALL_FRAME = 8  # tokens of a message's tool calls beside their names and arguments
Slices = tuple[tuple[tuple[int, int], ...], ...]


@dataclass
class Counts:
    """What one counter said of a conversation's messages; each part grows with them."""

    counter: TokenCounter
    lines: list[int] = field(default_factory=list)
    overheads: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    bases: GrowingArray = field(default_factory=lambda: GrowingArray(np.int64))  # characters before each message
    starts: GrowingArray = field(default_factory=lambda: GrowingArray(np.int64))  # first characters of all tokens
    costs: dict[str, np.ndarray] = field(default_factory=dict)
    forms: dict[str, np.ndarray] = field(default_factory=dict)  # costs of the forms of each unit, (forms, units)
    frames: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))  # costs of containers' frames


@dataclass
class State:
    """A conversation and everything that is computed once a message; it only grows."""

    conversation: Conversation
    scored: Any = None
    found: Any = None  # what an extractor found, if there is one
    accounts: Accounts = field(default_factory=Accounts)  # of messages so far, see `accounts_of`
    accounted: bool = False  # whether these are of the conversation as it is
    mentioned: Mentioned | None = None  # what is to be covered, once it was asked for
    mentions: list[Mention] = field(default_factory=list)
    units: dict[str, UnitTable] = field(default_factory=dict)
    slices: dict[str, list[Slices]] = field(default_factory=dict)  # the forms of each unit
    shows: dict[str, np.ndarray] = field(default_factory=dict)  # whether there is anything in each, (forms, units)
    containers: Containers = field(default_factory=Containers)
    demonstrations: Demonstrations = field(default_factory=Demonstrations)  # among the sentences
    counts: Counts | None = None

    def grow(self, conversation: Conversation) -> None:
        """Go on with a conversation that this one's is the beginning of."""
        self.conversation, self.accounted, self.mentioned = conversation, False, None

    def counted(self, counter: TokenCounter) -> Counts:
        """Counts of `counter`: those there are, or empty ones if another counter was used last."""
        if self.counts is None or not counter.is_same(self.counts.counter):
            self.counts = Counts(counter)
        return self.counts


def original_tokens(conversation: Conversation, counts: Counts) -> int:
    """Tokens of the whole conversation: exact with a chat template, else line by line as they were appended."""
    if not conversation.messages:
        return 0
    counter, lines = counts.counter, counts.lines
    if counter.chat is not None and conversation.form == "messages":
        return counter.chat(render_messages(conversation, whole(conversation)))
    spans = whole(conversation, len(lines))
    fresh = [render_text(conversation, [span]) + "\n" for span in spans[:-1]]
    empty, *more, last = counter.counts(["", *fresh, render_text(conversation, spans[-1:])])
    lines.extend(max(count - empty, 0) for count in more)  # special tokens come once
    return sum(lines) + last


def overheads(state: State, counts: Counts) -> np.ndarray:
    """Estimated tokens of every opening (see `openings`) beside the text that is kept in it.

    A message costs its label, line break, chat markers and tool calls; a tool call and its results cost theirs
    together, at the number of the call, with the texts that come with them (`comes_along`). A container costs its frame
    and a marker.
    """
    conversation = state.conversation
    fresh = conversation.messages[len(counts.overheads) :]
    frame = np.array([CALL_FRAME if message.calls else 0 for message in fresh], dtype=np.int64)
    more = labels_and_calls(fresh, counts.counter) + frame + (4 if counts.counter.chat is not None else 0)
    first = len(counts.overheads)
    along = [Span(n, 0, len(m.text)) for n, m in enumerate(fresh, first) if is_short_exchange(m)]
    if along:
        more[[span.message - first for span in along]] += unit_costs(conversation, along, counts)
    counts.overheads = np.concatenate((counts.overheads, more))
    alone = np.bincount(conversation.homes, counts.overheads, len(conversation.messages))
    return prices(alone, _frame_costs(state, counts))


def labels_and_calls(messages: Sequence[Message], counter: TokenCounter) -> np.ndarray:
    """Estimated tokens of the label and the tool calls of each message, of shape `(messages,)`."""
    labels = sorted({message.label for message in messages})
    empty, *sizes = counter.counts(["", *(f"{label}: " if label else "" for label in labels)])
    label_size = {label: max(size - empty, 0) for label, size in zip(labels, sizes, strict=True)}
    calling = [message for message in messages if message.calls]
    none, *told = counter.counts(["", *map(calls_text, calling)])
    calls = {id(message): size - none for message, size in zip(calling, told, strict=True)}
    return np.array([label_size[message.label] + calls.get(id(message), 0) for message in messages], dtype=np.int64)


def _frame_costs(state: State, counts: Counts) -> np.ndarray:
    """Estimated tokens of the frame of each container, of shape `(containers,)`, brought up to the last message."""
    state.containers.read(state.conversation.messages)
    known, total = len(counts.frames), len(state.containers.frames)
    if total > known:  # some of which may have no frame at all
        slices = list(state.containers.slices(known))
        costs = unit_costs(state.conversation, [span for _, span in slices], counts)
        owners = np.array([number for number, _ in slices], dtype=np.int64) - known
        counts.frames = np.concatenate((counts.frames, np.bincount(owners, costs, total - known).astype(np.int64)))
    return counts.frames


def comes_along(conversation: Conversation, places: np.ndarray) -> np.ndarray:
    """Whether units cost nothing once their tool exchange is opened, being all of a short part of it: `(units,)`.

    Args:
        conversation: The messages.
        places: `(message, start, end)` of each unit, of shape `(units, 3)`.
    """
    short = np.array([is_short_exchange(message) for message in conversation.messages], dtype=bool)
    return short[places[:, 0]] if len(places) else np.zeros(0, dtype=bool)


def forms_of(state: State, counts: Counts, unit: str) -> Forms:
    """The forms of all units of one kind, brought up to the last message."""
    found = state.units[unit]
    known = state.slices.setdefault(unit, [])
    shows = state.shows.get(unit, np.zeros((len(FORMS), 0), dtype=bool))
    if len(known) < len(found):
        fresh = list(_slices(state, found[len(known) :]))
        shows = state.shows[unit] = np.concatenate((shows, shown_forms(fresh, len(FORMS))), axis=1)
        known.extend(fresh)
    costs = counts.forms.get(unit, np.zeros((len(FORMS), 0), dtype=np.int64))
    first = costs.shape[1]
    if first < len(found):
        short = _form_costs(state.conversation, found[first:], known[first:], counts)
        more = np.vstack((short, counts.costs[unit][first:]))
        costs = np.concatenate((costs, np.minimum.accumulate(more[::-1])[::-1]), axis=1)
        counts.forms[unit] = costs
    return Forms(costs, known, shows=shows)


def measured(state: State, counts: Counts, unit: str) -> UnitTable:
    """All units of one kind, their costs in `counts` brought up to the last message."""
    found = state.units.setdefault(unit, UnitTable())
    found.extend(units(state.conversation, unit, int(found.places[-1, 0]) + 1 if len(found) else 0))
    costs = counts.costs.get(unit, np.zeros(0, dtype=np.int64))
    if len(costs) < len(found):
        costs = np.concatenate((costs, unit_costs(state.conversation, found[len(costs) :], counts)))
    counts.costs[unit] = costs
    return found


def unit_costs(conversation: Conversation, found: Sequence[Unit | Span], counts: Counts) -> np.ndarray:
    """Estimated tokens of units in reading order, of shape `(units,)`; each message is tokenized once."""
    if counts.counter.starts is None:
        grouped = [(n, [(u.start, u.end) for u in own]) for n, own in groupby(found, key=lambda u: u.message)]
        return counts.counter.costs([conversation.messages[n].text for n, _ in grouped], [own for _, own in grouped])
    return place_costs(conversation, span_array(found), counts)


def place_costs(conversation: Conversation, places: np.ndarray, counts: Counts) -> np.ndarray:
    """The same for `(message, start, end)` of each unit, of shape `(units, 3)`, by a counter that says where tokens
    begin."""
    known = len(counts.bases)
    fresh = conversation.messages[known:]
    if fresh and counts.counter.starts is not None:
        lengths = np.array([len(message.text) + 1 for message in fresh], dtype=np.int64)
        first = int(counts.bases.rows[-1]) + len(conversation.messages[known - 1].text) + 1 if known else 0
        bases = first + np.cumsum(lengths) - lengths
        own = counts.counter.starts([message.text for message in fresh])
        counts.bases.append(bases)
        for base, starts in zip(bases.tolist(), own, strict=True):
            counts.starts.append(np.asarray(starts, dtype=np.int64) + base)
    borders = counts.bases.rows[places[:, 0], None] + places[:, 1:]
    low, high = np.searchsorted(counts.starts.rows, borders).T
    return np.maximum(high - low, 1)


def _slices(state: State, found: Sequence[Unit]) -> Iterator[Slices]:
    """The forms of units: what is no English prose, and what states a constraint, has none but itself."""
    if not len(found):
        return
    first = bisect_left(state.mentions, found[0].message, key=attrgetter("message"))
    mentions = _by_message(state.mentions[first:])
    for number, own in groupby(found, key=lambda unit: unit.message):
        text = state.conversation.messages[number].text
        named = [(m.start, m.end) for m in mentions.get(number, ()) if m.type != "CONSTRAINT"]
        bound = [m for m in mentions.get(number, ()) if m.type == "CONSTRAINT"]
        prose = is_prose(text)
        for unit in own:
            if not prose or unit.kind not in UNITS or any(m.start < unit.end and unit.start < m.end for m in bound):
                yield (((unit.start, unit.end),),) * len(FORMS)
            else:
                first = bisect_right(named, unit.start, key=itemgetter(1))
                last = bisect_left(named, unit.end, key=itemgetter(0))
                yield short_forms(text, unit.start, unit.end, named[first:last])


def _form_costs(
    conversation: Conversation, found: Sequence[Unit], slices: Sequence[Slices], counts: Counts
) -> np.ndarray:
    """Estimated tokens of each form but the last, which is the whole unit, of shape `(forms - 1, units)`."""
    short = len(FORMS) - 1
    parts = [
        Unit(unit.message, start, end)
        for unit, forms in zip(found, slices, strict=True)
        for form in forms[:short]
        for start, end in form
    ]
    owners = np.repeat(np.arange(short * len(found)), [len(form) for forms in slices for form in forms[:short]])
    costs = np.bincount(owners, unit_costs(conversation, parts, counts), short * len(found))
    return costs.astype(np.int64).reshape(-1, short).T


def accounts_of(state: State) -> Accounts:
    """What the conversation names and says, brought up to its last message."""
    accounts, messages = state.accounts, state.conversation.messages
    if state.accounted:
        return accounts
    accounts.reopen()
    first = accounts.messages
    ruled = _by_message(state.mentions[bisect_left(state.mentions, first, key=attrgetter("message")) :])
    if state.found is None:
        for number in range(first, len(messages)):
            accounts.add_ruled(ruled.get(number, ()))
        accounts.settle(len(messages))
    else:
        mentions, statements = map(_by_message, state.found.since(first))
        for number in range(first, len(messages)):
            own = (found.get(number, ()) for found in (ruled, mentions, statements))
            accounts.add(messages[number].text, *own)
        accounts.settle(state.found.open_message)
    state.accounted = True
    return accounts


def _by_message(found: Iterable[Any]) -> dict[int, list[Any]]:
    """What was found, in order, by its message."""
    return {number: list(own) for number, own in groupby(found, key=attrgetter("message"))}


def all_reported(state: State) -> list[EntityMention]:
    """All mentions that were found, in the order of the text, see `accounts.reported`."""
    ruled, found = _by_message(state.mentions), _by_message(state.found.mentions)
    return [
        each for number in sorted({*ruled, *found}) for each in reported(ruled.get(number, ()), found.get(number, ()))
    ]


def mentioned_in(state: State) -> Mentioned:
    """What a choice should cover, by entity. Made once for as long as no message is added.

    What people demand of each other, where no assistant takes part, is no constraint on anybody who reads on.
    """
    accounts = accounts_of(state)
    if state.mentioned is None:
        addressed = any(message.role in ADDRESSED for message in state.conversation.messages)
        state.mentioned = accounts.mentioned(constraints=addressed)
    return state.mentioned
