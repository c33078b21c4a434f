"""Which entity a mention refers to: the same name, a part of it, its initials, a pronoun, "the one from before".

Rules in the order of how sure they are, as in multi-pass coreference (Lee et al., Computational Linguistics 39:4,
2013); what several entities would fit goes to the one that was mentioned last.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial

import regex

from .lexicon import FUNCTION_WORDS, WORD
from .records import Entity, Span
from .undo import UndoLog

UNTYPED = frozenset({"OTHER", "NAME", ""})
LITERAL = frozenset({"DATE", "NUMBER", "IDENTIFIER", "URL", "EMAIL", "PATH"})  # only ever the same by their text
_PRONOUNS = (
    ("he him his himself she her hers herself", {"PERSON"}),
    ("they them their theirs themselves", {"PERSON", "ORGANIZATION"}),
    ("it its itself", {"ORGANIZATION", "LOCATION", "EVENT", "WORK", "PRODUCT"}),
    ("there", {"LOCATION"}),
)
PRONOUNS = {word: frozenset(types) for words, types in _PRONOUNS for word in words.split()}
_TYPE_NOUNS = {
    "PERSON": "man woman person guy girl boy lady author writer doctor teacher singer actor president manager customer",
    "ORGANIZATION": "company firm organization organisation agency bank university school team party band airline",
    "LOCATION": "city town country place village hotel restaurant station airport river island street building venue",
    "EVENT": "event meeting conference war concert election festival ceremony match game appointment interview",
    "WORK": "book film movie song album novel poem play paper article show series report",
    "PRODUCT": "product device car phone software app tool model machine plane ship",
}
TYPE_NOUNS = {noun: kind for kind, nouns in _TYPE_NOUNS.items() for noun in nouns.split()}
_DETERMINERS = r"(?:the|this|that|these|those|a|an|my|your|his|her|its|our|their)"
_LEADING = regex.compile(rf"^(?:{_DETERMINERS}\s+)+", regex.IGNORECASE)
_POSSESSIVE = regex.compile(r"['’]s?$")
_EARLIER = regex.compile(
    r"\bthe (?:other|previous|earlier|former|first) one\b|\bthe one (?:from )?(?:before|earlier)\b|\bthe former\b",
    regex.IGNORECASE,
)
_REFERRING = regex.compile(
    rf"\b(?:{'|'.join(PRONOUNS)})\b|\b(?:the|this|that) (?:{'|'.join(TYPE_NOUNS)})\b|{_EARLIER.pattern}",
    regex.IGNORECASE,
)
_SMALL = frozenset({"of", "the", "and", "for", "in", "de", "du", "la"})


@dataclass
class Known:
    """An entity of a ledger.

    Attributes:
        type: Of its mentions, the first that says more than `OTHER`.
        names: The texts it was called by, each once, as they were first written; pronouns are none.
        mentions: Where, in order, pronouns included.
        messages: Those that mention it, each once, in order.
        last: Message, first character and character after the last of its last mention.
    """

    type: str
    names: list[str] = field(default_factory=list)
    mentions: list[Span] = field(default_factory=list)

    messages: list[int] = field(default_factory=list, init=False, repr=False, compare=False)
    last: tuple[int, int, int] = field(default=(-1, 0, 0), init=False, repr=False, compare=False)
    _name: str = field(default="", init=False, repr=False, compare=False)
    _entities: dict[bool, Entity] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.messages.extend(dict.fromkeys(span.message for span in self.mentions))
        for span in self.mentions[-1:]:
            self.last = span.message, span.start, span.end

    @property
    def name(self) -> str:
        """The first of its longest names, articles and the like not counted."""
        if not self._name:
            self._name = max(self.names, key=lambda name: len(name_key(name)))
        return self._name

    def as_entity(self, kept: bool) -> Entity:
        """The entity as results have it."""
        if kept not in self._entities:
            self._entities[kept] = Entity(self.name, self.type, tuple(self.messages), kept)
        return self._entities[kept]

    def changed(self) -> None:
        """Forget what was made of it."""
        self._name = ""
        self._entities.clear()


class NameIndex:
    """Which entities have a name that a mention could share in whole or in part, by words and initials."""

    def __init__(self, undo: UndoLog) -> None:
        self._numbers: dict[tuple[str, str], list[int]] = {}
        self._undo = undo

    def add(self, number: int, name: str) -> None:
        """Entity `number` is also called `name`."""
        key = name_key(name)
        entries = [("key", key), ("short", _letters(name)), ("full", _initials(name))]
        for entry in dict.fromkeys([*entries, *(("word", word) for word in key.split())]):
            own = self._numbers.setdefault(entry, [])
            if entry[1] and number not in own[-1:]:
                own.append(number)
                self._undo.note(own.pop)

    def called(self, key: str) -> Sequence[int]:
        """Those with a name of this `name_key`."""
        return self._numbers.get(("key", key), ())

    def with_word(self, word: str) -> Sequence[int]:
        """Those with this word in a name."""
        return self._numbers.get(("word", word), ())

    def near(self, text: str, key: str) -> set[int]:
        """Those that have a word in common with `text`, or are its initials, or have it as theirs."""
        found = {number for word in key.split() for number in self.with_word(word)}
        for kind, letters in (("full", _letters(text)), ("short", _initials(text))):
            found |= set(self._numbers.get((kind, letters), ()) if letters else ())
        return found


def referring_spans(text: str) -> Iterator[tuple[int, int]]:
    """Characters of pronouns and descriptions that stand for something mentioned before."""
    for match in _REFERRING.finditer(text):
        yield match.start(), match.end()


@lru_cache(maxsize=1 << 16)
def name_key(text: str) -> str:
    """What two writings of one name have in common: no case, article, possessive or punctuation."""
    bare = _POSSESSIVE.sub("", _LEADING.sub("", text.strip()))
    return " ".join(match.group().casefold() for match in WORD.finditer(bare))


def refers_only(text: str) -> bool:
    """Whether a mention names nothing itself."""
    return _REFERRING.fullmatch(text.strip()) is not None


class Directory:
    """Entities, found by what a mention says; every change of them can be taken back.

    Args:
        known: Entities by number, to which new ones are added.
        undo: Where it is noted how to take back what was entered.
    """

    def __init__(self, known: list[Known], undo: UndoLog) -> None:
        self._known, self._undo, self._names = known, undo, NameIndex(undo)
        self._recent: dict[str, list[tuple[Span, int]]] = {}  # by type, as they were mentioned
        for number, each in enumerate(known):
            for name in each.names:
                self._names.add(number, name)
        said = ((span, number) for number, each in enumerate(known) for span in each.mentions)
        for span, number in sorted(said, key=lambda place: (place[0].message, place[0].start, -place[0].end)):
            self._recent.setdefault(known[number].type, []).append((span, number))

    def enter(self, kind: str, name: str) -> int:
        """The number of a new entity."""
        number = len(self._known)
        self._known.append(Known(kind, [name]))
        self._undo.note(self._known.pop)
        self._names.add(number, name)
        return number

    def name(self, number: int, name: str) -> None:
        """Entity `number` is also called `name`."""
        names = self._known[number].names
        names.append(name)
        self._undo.note(names.pop)
        self._names.add(number, name)

    def mention(self, number: int, place: Span) -> None:
        """Entity `number` is mentioned at a place that is not before any other."""
        known = self._known[number]
        known.changed()
        self._undo.note(known.changed)
        known.mentions.append(place)
        self._undo.note(known.mentions.pop)
        self._undo.note(partial(setattr, known, "last", known.last))
        known.last = place.message, place.start, place.end
        if known.messages[-1:] != [place.message]:
            known.messages.append(place.message)
            self._undo.note(known.messages.pop)
        recent = self._recent.setdefault(known.type, [])
        recent.append((place, number))
        self._undo.note(recent.pop)

    def resolve(self, text: str, kind: str) -> int | None:
        """The number of the entity that a mention refers to; `None` if it is a new one.

        Args:
            text: Of the mention.
            kind: Its type.
        """
        key, known, names = name_key(text), self._known, self._names
        same = names.called(key)
        if kind in LITERAL:
            return self._latest(number for number in same if known[number].type == kind)
        word = text.strip().lower()
        if word in PRONOUNS:
            return self._last_of(PRONOUNS[word])
        if _EARLIER.fullmatch(text.strip()):
            return self._before_the_last()
        found = self._latest(number for number in same if _fits(known[number].type, kind))
        if found is not None or not key:
            return found
        noun = key.split()[-1]
        if noun in TYPE_NOUNS and _LEADING.match(text.strip()):
            named = names.with_word(noun)
            if named or not refers_only(text):
                return self._latest(named)
            return self._last_of((TYPE_NOUNS[noun],))
        if not text.strip()[:1].isupper():
            return None
        near = [number for number in names.near(text, key) if _fits(known[number].type, kind)]
        near.sort(key=lambda number: known[number].last, reverse=True)
        return next((number for number in near if _alike(text, key, known[number].names)), None)

    def _latest(self, numbers: Iterable[int]) -> int | None:
        return max(numbers, key=lambda number: self._known[number].last, default=None)

    def _last_of(self, types: Iterable[str], other_than: int | None = None) -> int | None:
        """Of the entities of some types the one that was mentioned last."""
        return self._latest({number for kind in types for number in self._tail(kind, other_than)})

    def _tail(self, kind: str, other_than: int | None) -> Iterator[int]:
        """The entities of a type whose last mention begins where that of the last one does."""
        start: tuple[int, int] | None = None
        for place, number in reversed(self._recent.get(kind, ())):
            if number == other_than or self._known[number].type != kind:
                continue
            if start is not None and start != (place.message, place.start):
                return
            start = place.message, place.start
            yield number

    def _before_the_last(self) -> int | None:
        """Of the entities of the last one's type, the one mentioned before it; the only one there is, if so."""
        last = self._last_of([kind for kind in self._recent if kind not in LITERAL])
        if last is None:
            return None
        other = self._last_of([self._known[last].type], last)
        return last if other is None else other


def _alike(text: str, key: str, names: Sequence[str]) -> bool:
    letters, initials = _letters(text), _initials(text)
    return any(
        _part(key, name) or (letters and letters == _initials(name)) or (initials and initials == _letters(name))
        for name in names
    )


def _fits(one: str, other: str) -> bool:
    return one == other or ((one in UNTYPED or other in UNTYPED) and not {one, other} & LITERAL)


@lru_cache(maxsize=1 << 16)
def _letters(text: str) -> str:
    """What a text is if it may be initials: two to six capitals; else nothing."""
    letters = text.replace(".", "").strip()
    return letters if 2 <= len(letters) <= 6 and letters.isupper() else ""


@lru_cache(maxsize=1 << 16)
def _initials(name: str) -> str:
    """Initials of a name whose words of weight are all capitalised; else nothing."""
    words = [word for word in WORD.findall(name) if word.lower() not in _SMALL]
    return "".join(word[0] for word in words) if all(word[0].isupper() for word in words) else ""


def _part(key: str, name: str) -> bool:
    """Whether one is the other's beginning or end, in whole words that are no function words."""
    one, other = key.split(), name_key(name).split()
    if len(one) > len(other):
        one, other = other, one
    if not one or len(one) == len(other) or all(word in FUNCTION_WORDS or len(word) < 3 for word in one):
        return False
    return other[: len(one)] == one or other[-len(one) :] == one
