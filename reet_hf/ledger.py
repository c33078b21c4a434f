"""What a conversation has said of its entities, and which of it still holds.

A ledger is a fold over messages: what it says depends on them and their order alone, so one that grew message by
message equals one made at once. Sources are only ever added. A fact whose text holds values (a date, a number, an
identifier …) has an *attribute*; a later value of the same attribute closes the earlier one, which stays with its place
and with what closed it. A correction ("no, the 14th", "actually …") closes what has values of the same kinds and was
said last. A question states nothing: what stands in one is mentioned, not said.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import regex

from .errors import ReetError
from .lexicon import WORD, word_identity
from .mentions import typed_spans
from .records import EntityMention, Fact, Mention, Span, Statement
from .references import LITERAL, Directory, Known, referring_spans, refers_only
from .segmentation import sentences
from .undo import UndoLog

SCHEMA_VERSION = 1
_CORRECTION = regex.compile(
    r"\b(?:actually|instead|rather|correction|i meant|i mean|scratch that|make (?:it|that)|change(?:d)? (?:it|that|to)"
    r"|(?:moved|postponed|rescheduled|updated) to|not .{1,40}? but)\b|^\s*(?:no|sorry|wait|oh)\b[ ,.:]",
    regex.IGNORECASE,
)
_ASKED = regex.compile(r"[?？؟]['\"”’)\]]*\s*$|\b(?:please|let me|let['’]s) confirm\b", regex.IGNORECASE)
_CHANGE_WORDS = """
actually instead rather correction meant mean now no sorry wait new newly updated update changed change moved move
postponed rescheduled still also currently make made set again please thanks okay yes right
"""
CHANGES = frozenset(word_identity(word) for word in _CHANGE_WORDS.split())
_CLOCK = regex.compile(r"\d[:.]\d\d(?![./\d])|\d\s?[ap]\.?m\b|o['’]clock|\b(?:half|quarter)\b", regex.IGNORECASE)
REACH = 6  # messages back to which a correction that names nothing can mean a value
Attribute = tuple[tuple[int, ...], tuple[str, ...]]  # what is said, as word identities; the kind of its value


@dataclass
class Entry:
    """A fact of a ledger.

    Attributes:
        entity: Number of its entity.
        text: As it was first said.
        score: The highest of its statements.
        sources: Where it was said, in order.
        attribute: Which facts it competes with, of the same entity; `None` if it has no value.
        closed: Number of the fact that took its place.
        closed_in: Message in which that was said.
    """

    entity: int
    text: str
    score: float
    sources: list[Span]
    attribute: Attribute | None = None
    closed: int | None = None
    closed_in: int | None = None

    _fact: Fact | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def current(self) -> bool:
        """Whether it still holds."""
        return self.closed is None

    def as_fact(self) -> Fact:
        """The fact as results have it, at its last source."""
        place, made = self.sources[-1], self._fact
        if made is None or (made.message, made.start, made.end, made.current) != (
            place.message,
            place.start,
            place.end,
            self.current,
        ):
            made = self._fact = Fact(self.text, place.message, place.start, place.end, self.current)
        return made


@dataclass
class Ledger:
    """Entities and facts of the messages so far.

    A message costs what it says, however long the ledger is.

    Attributes:
        entities: In the order of their first mention; numbers in facts and in JSON are places here.
        facts: In the order in which they were first said.
        messages: How many messages were added.
        said: Place and number of the fact each time that one was said, in the order of the messages.
    """

    entities: list[Known] = field(default_factory=list)
    facts: list[Entry] = field(default_factory=list)
    messages: int = 0
    _directory: Directory = field(init=False, repr=False, compare=False)
    _undo: UndoLog = field(default_factory=UndoLog, init=False, repr=False, compare=False)
    _said_of: dict[int, list[int]] = field(default_factory=dict, init=False, repr=False, compare=False)
    said: list[tuple[Span, int]] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._undo.first = self.messages
        self._directory = Directory(self.entities, self._undo)
        for number, fact in enumerate(self.facts):
            self._said_of.setdefault(fact.entity, []).append(number)
        places = ((span, number) for number, fact in enumerate(self.facts) for span in fact.sources)
        self.said.extend(sorted(places, key=lambda said: said[0].message))

    def rewind(self, messages: int) -> None:
        """Take back the last messages, so that `messages` are left.

        Raises:
            IndexError: If these were settled.
        """
        self._undo.rewind(messages)
        self.messages = min(self.messages, messages)

    def settle(self, messages: int) -> None:
        """Give up taking back any of the first `messages`; what is kept for that is freed."""
        self._undo.settle(messages)

    def add(
        self, text: str, mentions: Iterable[Mention | EntityMention] = (), statements: Iterable[Statement] = ()
    ) -> dict[tuple[int, int], int]:
        """The next message.

        Args:
            text: Of the message.
            mentions: What extraction found in it; constraints are passed over.
            statements: What it says of them; the subject may be a mention, or any span of the message.

        Returns:
            Numbers of the entities that are mentioned, by the half-open characters of the mentions.

        Raises:
            ReetError: If a mention or statement is not of this message or its text does not stand there. Then nothing
                was added.
        """
        found = sorted((m for m in mentions if m.type != "CONSTRAINT"), key=lambda m: (m.start, -m.end))
        said = sorted(statements, key=lambda s: (s.start, s.end))
        items: list[Mention | EntityMention | Statement] = [*found, *said]
        for item in items:
            heading = "statements" if isinstance(item, Statement) else "mentions"
            if item.message != self.messages or text[item.start : item.end] != item.text or not item.text:
                raise ReetError(
                    f"`{heading}` must be verbatim spans of message {self.messages}, got "
                    f"{item.text!r} for characters {item.start} to {item.end} of message {item.message}."
                )
        for statement in said:
            subject = statement.subject
            if subject.message != self.messages or not text[subject.start : subject.end]:
                raise ReetError(
                    f"`statements` must have subjects in message {self.messages}, got characters {subject.start} to "
                    f"{subject.end} of message {subject.message}."
                )
        self._undo.begin()
        places = self._mention(text, found, said)
        parts = sentences(text)
        asked = [(start, end) for start, end in parts if _ASKED.search(text, start, end)]
        said = [s for s in said if not any(start <= s.start < end for start, end in asked)]
        corrected = [(start, end) for start, end in parts if _CORRECTION.search(text, start, end)]
        for statement in said:
            correcting = any(start <= statement.start < end for start, end in corrected)
            self._state(statement, places[(statement.subject.start, statement.subject.end)], correcting)
        for start, end in corrected:
            self._correct(text, start, end, said)
        self.messages += 1
        return places

    def skip(self) -> None:
        """The next message says nothing that is known."""
        self._undo.begin()
        self.messages += 1

    def current(self) -> list[Entry]:
        """The facts that still hold."""
        return [fact for fact in self.facts if fact.current]

    def references(self, entity: int) -> int:
        """In how many messages after its first an entity was mentioned."""
        return len(self.entities[entity].messages) - 1

    def as_facts(self) -> dict[str, tuple[Fact, ...]]:
        """All facts by the name of their entity, the superseded ones marked, each at its last source."""
        found: dict[str, list[Fact]] = {}
        for entry in self.facts:
            found.setdefault(self.entities[entry.entity].name, []).append(entry.as_fact())
        return {name: tuple(facts) for name, facts in found.items()}

    def to_dict(self) -> dict[str, Any]:
        """The ledger as plain JSON types."""
        return {
            "schema_version": SCHEMA_VERSION,
            "messages": self.messages,
            "entities": [
                {
                    "type": known.type,
                    "names": list(known.names),
                    "mentions": [_place(span) for span in known.mentions],
                }
                for known in self.entities
            ],
            "facts": [
                {
                    "entity": fact.entity,
                    "text": fact.text,
                    "score": fact.score,
                    "sources": [_place(span) for span in fact.sources],
                    "attribute": None if fact.attribute is None else [list(part) for part in fact.attribute],
                    "closed": fact.closed,
                    "closed_in": fact.closed_in,
                }
                for fact in self.facts
            ],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Ledger:
        """The ledger that `to_dict` wrote.

        Raises:
            ReetError: If `data` has another `schema_version`.
        """
        version = data.get("schema_version")
        if version != SCHEMA_VERSION:
            raise ReetError(
                f"`data` must be a ledger of schema_version {SCHEMA_VERSION}, got {version!r}; "
                "read it with the version of reet-hf that wrote it."
            )
        entities = [
            Known(e["type"], list(e["names"]), [Span(*span) for span in e["mentions"]]) for e in data["entities"]
        ]
        facts = [
            Entry(
                entity=fact["entity"],
                text=fact["text"],
                score=fact["score"],
                sources=[Span(*span) for span in fact["sources"]],
                attribute=_attribute(fact["attribute"]),
                closed=fact["closed"],
                closed_in=fact["closed_in"],
            )
            for fact in data["facts"]
        ]
        return cls(entities, facts, data["messages"])

    def _mention(
        self, text: str, mentions: Sequence[Mention | EntityMention], statements: Sequence[Statement]
    ) -> dict[tuple[int, int], int]:
        """Entity of each mention and subject of the message, all of them entered in the order of the text."""
        kinds = {(m.start, m.end): m.type for m in reversed(mentions)}
        for start, end in ((s.subject.start, s.subject.end) for s in statements):
            kinds.setdefault((start, end), "OTHER")
        taken = sorted(kinds)
        for start, end in referring_spans(text):
            if not any(start < b and a < end for a, b in taken):
                kinds[start, end] = ""
        places: dict[tuple[int, int], int] = {}
        for start, end in sorted(kinds, key=lambda place: (place[0], -place[1])):
            number = self._entity(Span(self.messages, start, end), text[start:end], kinds[start, end])
            if number is not None:
                places[start, end] = number
        return places

    def _entity(self, place: Span, text: str, kind: str) -> int | None:
        """The entity of a mention, entered; `None` for a pronoun that stands for nothing known."""
        number = self._directory.resolve(text, kind)
        if number is None:
            if kind == "":
                return None
            number = self._directory.enter(kind, text)
        known = self.entities[number]
        if known.type in ("OTHER", "NAME") and kind not in ("", "OTHER", "NAME"):
            self._undo.note(partial(setattr, known, "type", known.type))
            known.type = kind
        if not refers_only(text) and text not in known.names:
            self._directory.name(number, text)
        self._directory.mention(number, place)
        return number

    def _state(self, statement: Statement, entity: int, correcting: bool) -> None:
        place = Span(statement.message, statement.start, statement.end)
        attribute = attribute_of(statement.text)
        own = self._facts_of(entity)
        for number, fact in own:
            if fact.current and _same(fact, statement.text, attribute):
                self._undo.note(fact.sources.pop)
                fact.sources.append(place)
                self._undo.note(partial(setattr, fact, "score", fact.score))
                fact.score = max(fact.score, statement.score)
                self._note_said(number)
                return
        corrected: list[int] = []
        if correcting and attribute is not None and not any(_competes(fact, entity, attribute) for _, fact in own):
            kinds = attribute[1]
            valued = ((n, f) for n, f in own if f.current and f.attribute)
            corrected = self._last(n for n, f in valued if (f.attribute or ((), ()))[1] == kinds)
            attribute = self.facts[corrected[0]].attribute if corrected else attribute
        self._enter(Entry(entity, statement.text, statement.score, [place], attribute), corrected)

    def _facts_of(self, entity: int) -> list[tuple[int, Entry]]:
        """Numbers and facts of an entity."""
        return [(number, self.facts[number]) for number in self._said_of.get(entity, ())]

    def _note_said(self, fact: int) -> None:
        self.said.append((self.facts[fact].sources[-1], fact))
        self._undo.note(self.said.pop)

    def _correct(self, text: str, start: int, end: int, statements: Sequence[Statement]) -> None:
        """A corrected value that no statement holds takes the place of the last one of its kind.

        One that was said lately; where the sentence says what it is about, one that is about the same.
        """
        about = set(_identities(text, start, end)) - CHANGES
        values = _values(text[start:end])
        about -= {word for _, a, b in values for word in _identities(text, start + a, start + b)}
        for kind, first, last in values:
            first, last = first + start, last + start
            covered = any(s.start < last and first < s.end for s in statements)
            if covered or _denied(text, start, first):
                continue
            near = [n for n in self._lately() if (self.facts[n].attribute or ((), ()))[1] == (kind,)]
            closed = self._last([n for n in near if not about or about & self._words(self.facts[n])])
            if closed:
                before = self.facts[closed[0]]
                if values_of(before.text) == values_of(text[first:last]):
                    continue
                place = Span(self.messages, first, last)
                self._enter(Entry(before.entity, text[first:last], before.score, [place], before.attribute), closed)

    def _lately(self) -> list[int]:
        """The facts that hold and were said in one of the last messages, in the order of their numbers."""
        found = set()
        for place, number in reversed(self.said):
            if place.message < self.messages - REACH:
                break
            if self.facts[number].current:
                found.add(number)
        return sorted(found)

    def _words(self, fact: Entry) -> set[int]:
        """Words of weight of a fact and of the names of its entity, as identities."""
        texts = [fact.text, *self.entities[fact.entity].names]
        return {word for text in texts for word in _identities(text)}

    def _last(self, facts: Iterable[int]) -> list[int]:
        """The one of these that was said last, if there are any."""
        return sorted(facts, key=lambda n: self.facts[n].sources[-1])[-1:]

    def _enter(self, fact: Entry, corrected: Sequence[int]) -> None:
        """A new fact, which closes those it corrects and the one whose attribute it has."""
        own = {number for number, other in self._facts_of(fact.entity) if _competes(other, fact.entity, fact.attribute)}
        for other in (self.facts[number] for number in own.union(corrected)):
            self._undo.note(partial(_reopen, other, other.closed, other.closed_in))
            other.closed, other.closed_in = len(self.facts), self.messages
        of = self._said_of.setdefault(fact.entity, [])
        of.append(len(self.facts))
        self._undo.note(of.pop)
        self.facts.append(fact)
        self._undo.note(self.facts.pop)
        self._note_said(len(self.facts) - 1)


def _reopen(fact: Entry, closed: int | None, closed_in: int | None) -> None:
    fact.closed, fact.closed_in = closed, closed_in


def attribute_of(text: str) -> Attribute | None:
    """What a statement gives a value to: its words of weight but those of change, and the kind of its first value.

    Where words lead up to a date or time these say it, and what comes after is beside it ("leaves at 9:40 from gate
    B12"); else the words up to the next value do ("has 12 branches in 3 towns").
    """
    values = _values(text)
    if not values:
        return None
    kind, first, after = values[0]
    end = values[1][1] if len(values) > 1 else len(text)
    before, rest = (set(_identities(text, *part)) - CHANGES for part in ((0, first), (after, end)))
    words = before if before and kind in ("DATE", "TIME") else before | rest
    return tuple(sorted(words)), (kind,)


def _identities(text: str, start: int = 0, end: int | None = None) -> Iterator[int]:
    """Words of weight in a part of a text."""
    found = (word_identity(match.group()) for match in WORD.finditer(text, start, end))
    return (word for word in found if word)


def _attribute(said: Sequence[Sequence[Any]] | None) -> Attribute | None:
    return None if said is None else (tuple(said[0]), tuple(said[1]))


def values_of(text: str) -> tuple[str, ...]:
    """The values in a text, without case and white space."""
    return tuple("".join(text[start:end].casefold().split()) for _, start, end in _values(text))


def _values(text: str) -> list[tuple[str, int, int]]:
    """Kind and characters of dates, numbers and the like; a time of day is no date."""
    found = ((kind, start, end) for kind, start, end in typed_spans(text) if kind in LITERAL)
    return [("TIME" if kind == "DATE" and _CLOCK.search(text, a, b) else kind, a, b) for kind, a, b in found]


def _same(fact: Entry, text: str, attribute: Attribute | None) -> bool:
    """Whether a statement repeats a fact: its attribute and no other value, or its words."""
    if attribute is not None:
        return fact.attribute == attribute and set(values_of(text)) <= set(values_of(fact.text))
    return " ".join(fact.text.casefold().split()) == " ".join(text.casefold().split())


def _competes(fact: Entry, entity: int, attribute: Attribute | None) -> bool:
    return fact.current and attribute is not None and fact.entity == entity and fact.attribute == attribute


def _denied(text: str, start: int, place: int) -> bool:
    """Whether the value at `place` is what a correction takes back: "not the 12th but the 14th"."""
    return regex.search(r"\b(?:not|isn['’]t|than)\s+(?:\w+\s+){0,2}$", text[start:place], regex.IGNORECASE) is not None


def _place(span: Span) -> list[int]:
    return [span.message, span.start, span.end]
