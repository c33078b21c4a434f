"""What a conversation names and says, message by message; only what new messages change is made again.

An open encoder window is read again when messages follow, so what was found in it can change: those messages are taken
back and entered anew. Everything before costs nothing at later turns but a look at arrays.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from .conversation import Conversation
from .coverage import REFERENCE_WEIGHT, Mentioned
from .growth import GrowingArray
from .ledger import Ledger
from .receipt import inside, make_receipt, merged_places
from .records import Entity, EntityMention, Mention, Receipt, Span, Statement
from .references import LITERAL
from .segmentation import span_array
from .uncollected import uncollected
from .undo import UndoLog

Key = int | tuple[str, str]  # an entity of the ledger, or a type and a text


class Accounts:
    """Everything that a result accounts for; it grows with the conversation.

    Attributes:
        ledger: Of what was found; empty where there is no extractor.
        mentions: What receipts list, in order: constraints, and what is named.
    """

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.mentions: list[Mention] = []
        self._undo = UndoLog()
        self._places = GrowingArray(np.int64, 3)  # of all mentions: message, first character, one after the last
        self._lasts = GrowingArray(np.int64)  # where each ends but for white space
        self._bound = GrowingArray(bool)  # whether a mention is a constraint
        self._entities = GrowingArray(np.int64)  # of each mention the number of its key, -1 for constraints
        self._sources = GrowingArray(np.int64, 3)  # where facts were said
        self._numbers: dict[Key, int] = {}
        self._literal: list[bool] = []  # by key
        self._turns: list[list[int]] = []  # by key, messages that mention it

    @property
    def messages(self) -> int:
        """How many messages were entered."""
        return self.ledger.messages

    def reopen(self) -> None:
        """Take back all messages that are not settled."""
        settled = self._undo.first
        self._undo.rewind(settled)
        self.ledger.rewind(settled)

    def settle(self, messages: int) -> None:
        """Give up taking back any of the first `messages`."""
        self._undo.settle(messages)
        self.ledger.settle(messages)

    def add(
        self, text: str, ruled: Sequence[Mention], found: Sequence[EntityMention], said: Sequence[Statement]
    ) -> None:
        """The next message.

        Args:
            text: Of the message.
            ruled: What rules found in it, constraints among that.
            found: What an extractor found, see `reported`.
            said: What that found to be said.
        """
        everything, before = reported(ruled, found), len(self.ledger.said)
        own = self.ledger.add(text, everything, said)
        self._undo.begin()
        self._undo.note(partial(self._sources.truncate, len(self._sources)))
        self._sources.append(span_array([span for span, _ in self.ledger.said[before:]]))
        named = [Mention(m.text, m.type, m.message, m.start, m.end) for m in everything if m.kind == "named"]
        bound = [mention for mention in ruled if mention.type == "CONSTRAINT"]
        self._enter(sorted([*named, *bound], key=lambda m: (m.message, m.start, m.end)), own)

    def add_ruled(self, ruled: Sequence[Mention]) -> None:
        """The next message of a conversation that no extractor reads."""
        self._undo.begin()
        self._enter(ruled, {})
        self.ledger.skip()

    def _enter(self, mentions: Sequence[Mention], known: Mapping[tuple[int, int], int]) -> None:
        """Mentions of one message in order, and which of them the ledger knows as which entity."""
        for column in (self._places, self._lasts, self._bound, self._entities):
            self._undo.note(partial(column.truncate, len(column)))
        self._undo.note(partial(_cut, self.mentions, len(self.mentions)))
        self.mentions.extend(mentions)
        self._places.append(span_array(mentions))
        self._lasts.append(np.array([m.start + len(m.text.rstrip()) for m in mentions], dtype=np.int64))
        self._bound.append(np.array([m.type == "CONSTRAINT" for m in mentions], dtype=bool))
        self._entities.append(np.array([self._number(m, known) for m in mentions], dtype=np.int64))

    def _number(self, mention: Mention, known: Mapping[tuple[int, int], int]) -> int:
        if mention.type == "CONSTRAINT":
            return -1
        key: Key = known.get((mention.start, mention.end), (mention.type, mention.text.casefold()))
        number = self._numbers.setdefault(key, len(self._numbers))
        if number == len(self._turns):
            self._turns.append([])
            self._literal.append(mention.type in LITERAL)
            for undo in (self._numbers.popitem, self._turns.pop, self._literal.pop):
                self._undo.note(undo)
        elif mention.type in LITERAL and not self._literal[number]:
            self._literal[number] = True
            self._undo.note(partial(self._literal.__setitem__, number, False))
        turns = self._turns[number]
        if turns[-1:] != [mention.message]:
            turns.append(mention.message)
            self._undo.note(turns.pop)
        return number

    def mentioned(self, constraints: bool = True) -> Mentioned:
        """What a choice should cover, by entity.

        Args:
            constraints: Whether what is demanded is among it.
        """
        bound = self._bound.rows
        entities = self.ledger.entities
        references = [
            len(entities[key].messages if isinstance(key, int) else turns) - 1
            for key, turns in zip(self._numbers, self._turns, strict=True)
        ]
        places = self._places.rows
        return Mentioned(
            places[~bound],
            self._entities.rows[~bound],
            1.0 + REFERENCE_WEIGHT * np.array(references, dtype=np.float64),
            np.array(self._literal, dtype=bool),
            places[bound] if constraints else places[:0],
        )

    @uncollected()
    def account(self, conversation: Conversation, kept: Sequence[Span]) -> tuple[Receipt, tuple[Entity, ...]]:
        """What became of each mention, and the entities of the ledger; kept is one of which a mention is.

        Args:
            conversation: The messages.
            kept: Spans in order, without overlap.
        """
        places = np.column_stack((self._places.rows[:, :2], self._lasts.rows))
        survives = inside(places, merged_places(conversation, kept))
        alive = set(np.unique(self._entities.rows[survives]).tolist())
        entities = {key for key, number in self._numbers.items() if number in alive}
        receipt = make_receipt(self.mentions, survives, inside(places, self._sources.rows))
        return receipt, tuple(known.as_entity(n in entities) for n, known in enumerate(self.ledger.entities))


def _cut(items: list[Any], count: int) -> None:
    del items[count:]


def reported(ruled: Sequence[Mention], found: Sequence[EntityMention]) -> list[EntityMention]:
    """All mentions in a message, in the order of the text.

    By rules what is only ever the same by its text, as named and of chance 1; the rest by the extractor, and by rules
    again where they see a name and it none.
    """
    literal = [mention for mention in ruled if mention.type in LITERAL]
    apart = _apart(found, literal)
    taken = sorted((m.message, m.start, m.end) for m in apart if m.kind == "named")
    names = [m for m in ruled if m.type == "NAME" and not _overlaps(m, taken)]
    by_rule = [EntityMention(m.text, m.type, "named", m.message, m.start, m.end) for m in literal]
    by_rule += [EntityMention(m.text, "OTHER", "named", m.message, m.start, m.end) for m in names]
    return sorted([*by_rule, *apart], key=lambda m: (m.message, m.start, m.end))


def _overlaps(mention: Mention, places: Sequence[tuple[int, int, int]]) -> bool:
    """Whether a mention shares a character with one of the ordered places, which do not overlap."""
    place = bisect_left(places, (mention.message, mention.end, -1)) - 1
    return place >= 0 and places[place][0] == mention.message and places[place][2] > mention.start


def _apart(found: Iterable[EntityMention], others: Sequence[Mention]) -> list[EntityMention]:
    """Mentions that are not inside one of `others`, which are in order and do not overlap."""
    places = [(m.message, m.start, m.end) for m in others]
    kept = []
    for mention in found:
        place = bisect_right(places, (mention.message, mention.start, mention.end)) - 1
        near = places[max(place, 0) : place + 2]
        if not any(m == mention.message and a <= mention.start and mention.end <= b for m, a, b in near):
            kept.append(mention)
    return kept
