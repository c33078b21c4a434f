"""Frozen records that the stages hand to each other; all offsets are half-open characters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

from .uncollected import uncollected

SCHEMA_VERSION = 1


class Span(NamedTuple):
    """Characters `start` to `end` (half-open) of the text of message number `message`."""

    message: int
    start: int
    end: int

    @classmethod
    def of(cls, rows: Iterable[Sequence[int]]) -> list[Span]:
        """The spans of many `(message, start, end)`."""
        return list(map(partial(tuple.__new__, cls), rows))  # without a call of Python for each

    def overlaps(self, other: Span) -> bool:
        """Whether the two spans share at least one character."""
        return self.message == other.message and self.start < other.end and other.start < self.end

    def contains(self, other: Span) -> bool:
        """Whether every character of `other` lies in this span."""
        return self.message == other.message and self.start <= other.start and other.end <= self.end

    def part(self, start: int, end: int) -> Span:
        """Characters `start` to `end` of the same message."""
        return Span(self.message, start, end)


@dataclass(frozen=True, order=True, slots=True)
class Unit:
    """A span that is kept or dropped as a whole.

    `kind` is `"word"`, `"clause"`, `"sentence"`, `"message"`, or, for what is never cut, `"tool"` (a sentence of a tool
    result) or the kind of the structured block that it is a part of (a row, an item, a line), `"repeat"` for lines that
    say again what stands above. Units of one `group` are kept or dropped together.
    """

    message: int
    start: int
    end: int
    kind: str = "sentence"
    group: int | None = None

    @property
    def span(self) -> Span:
        """The unit's place without its kind."""
        return Span(self.message, self.start, self.end)

    def part(self, start: int, end: int) -> Unit:
        """Characters `start` to `end` of the same message, as a unit of the same kind and group."""
        return replace(self, start=start, end=end)


@dataclass(frozen=True, order=True, slots=True)
class Piece:
    """A verbatim slice that was kept; `importance` lies in (0, 1), higher means kept first."""

    message: int
    start: int
    end: int
    importance: float


@dataclass(frozen=True, slots=True)
class Mention:
    """One occurrence in the text of something worth accounting for: a name, number, date, identifier, constraint."""

    text: str
    type: str
    message: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class EntityMention:
    """A mention that a model found: `kind` is named or nominal, `score` a chance in [0, 1]."""

    text: str
    type: str
    kind: str
    message: int
    start: int
    end: int
    score: float = 1.0


@dataclass(frozen=True, slots=True)
class Statement:
    """A span that says something of the entity mentioned at `subject`; `score` is a chance in [0, 1]."""

    subject: Span
    text: str
    message: int
    start: int
    end: int
    score: float = 1.0


@dataclass(frozen=True, slots=True)
class Entity:
    """Something mentioned, the messages it was mentioned in, and whether a mention was kept."""

    text: str
    type: str
    turns: tuple[int, ...]
    kept: bool


@dataclass(frozen=True, slots=True)
class Fact:
    """What is said of an entity at a span; `current` is false once a later value has superseded it."""

    text: str
    message: int
    start: int
    end: int
    current: bool = True


@dataclass(frozen=True, slots=True)
class Omission:
    """A part that was left out, in one place or several, under an id that recalls it; `tokens` is an estimate."""

    id: str
    tokens: int
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Receipt:
    """Every detected name, number, identifier and constraint, each under exactly one of three headings."""

    kept: tuple[Mention, ...] = ()
    in_ledger: tuple[Mention, ...] = ()
    dropped: tuple[Mention, ...] = ()


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """Tokens of the counting tokenizer, markers included; `compressed <= budget` always holds."""

    original: int
    compressed: int
    budget: int


@dataclass(frozen=True, slots=True)
class Turn:
    """One earlier question of the conversation's user and, where known, its answer."""

    query: str
    answer: str = ""


def _fields(record: Any) -> dict[str, Any]:
    """The fields of a flat record; those of which a result has thousands are written out, which is faster."""
    return {name: getattr(record, name) for name in record.__slots__}


@dataclass(frozen=True)
class Compressed:
    """What a compression returns; `text` and `messages` are two renderings of the same `pieces`."""

    text: str
    messages: tuple[Mapping[str, Any], ...]
    pieces: tuple[Piece, ...]
    tokens: TokenCounts
    entities: tuple[Entity, ...] = ()
    facts: Mapping[str, tuple[Fact, ...]] = field(default_factory=dict)
    receipt: Receipt = field(default_factory=Receipt)
    omitted: tuple[Omission, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The same content as plain JSON types, with a `schema_version`."""
        with uncollected():
            return self._as_dict()

    def _as_dict(self) -> dict[str, Any]:
        return {
            "text": self.text,
            "messages": [dict(message) for message in self.messages],
            "pieces": [
                {"message": p.message, "start": p.start, "end": p.end, "importance": p.importance} for p in self.pieces
            ],
            "tokens": _fields(self.tokens),
            "entities": [
                {"text": e.text, "type": e.type, "turns": list(e.turns), "kept": e.kept} for e in self.entities
            ],
            "facts": {
                name: [
                    {"text": f.text, "message": f.message, "start": f.start, "end": f.end, "current": f.current}
                    for f in facts
                ]
                for name, facts in self.facts.items()
            },
            "receipt": {
                heading: [
                    {"text": m.text, "type": m.type, "message": m.message, "start": m.start, "end": m.end}
                    for m in mentions
                ]
                for heading, mentions in (
                    ("kept", self.receipt.kept),
                    ("in_ledger", self.receipt.in_ledger),
                    ("dropped", self.receipt.dropped),
                )
            },
            "omitted": [
                {"id": left.id, "tokens": left.tokens, "spans": [span._asdict() for span in left.spans]}
                for left in self.omitted
            ],
            "schema_version": SCHEMA_VERSION,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Compressed:
        """The record that `to_dict` wrote.

        Raises:
            ValueError: If `data` carries another `schema_version`.
        """
        if data.get("schema_version") != SCHEMA_VERSION:
            raise ValueError(
                f"`data` must have schema_version {SCHEMA_VERSION}, got {data.get('schema_version')!r}; "
                "read it with the version of reet-hf that wrote it."
            )
        headings = {name: tuple(Mention(**item) for item in data["receipt"][name]) for name in data["receipt"]}
        return cls(
            text=data["text"],
            messages=tuple(data["messages"]),
            pieces=tuple(Piece(**piece) for piece in data["pieces"]),
            tokens=TokenCounts(**data["tokens"]),
            entities=tuple(Entity(**{**item, "turns": tuple(item["turns"])}) for item in data["entities"]),
            facts={name: tuple(Fact(**fact) for fact in facts) for name, facts in data["facts"].items()},
            receipt=Receipt(**headings),
            omitted=tuple(
                Omission(left["id"], left["tokens"], tuple(Span(**span) for span in left["spans"]))
                for left in data.get("omitted", ())
            ),
        )
