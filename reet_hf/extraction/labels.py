"""What each data set marks as an entity, in one scheme of kinds and types; and spans of characters as spans of words.

Guides differ: some mark names only, some every noun phrase that a person or place is meant by, some the arguments of
verbs. So a span has a *kind* beside its type, each set trains and is scored on the kinds and types that it marks, and
of what it does not mark it says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import regex

from ..errors import ReetError
from ..modeling.configuration_reet import CHANNELS

Group = tuple[tuple[str, str], ...]  # channels that a guide does not tell apart

_PRONOUNS = """
i me my mine myself you your yours yourself yourselves he him his himself she her hers herself it its itself we us our
ours ourselves they them their theirs themselves this that these those there here who whom whose which what one
"""
PRONOUNS = frozenset(_PRONOUNS.split())
_AFTER_HEAD = regex.compile(
    r"\s(?:of|in|on|at|for|to|from|with|by|who|whom|that|which|whose|and|or|where|when|as)\b|[,;:(—]"
)
_REST = ("EVENT", "WORK", "PRODUCT", "OTHER")


@dataclass(frozen=True)
class Guide:
    """What a data set marks.

    Attributes:
        kinds: The kinds of mention, those with types first.
        types: Its own types as ours; several where it does not tell them apart.
    """

    kinds: tuple[str, ...]
    types: Mapping[str, tuple[str, ...]]

    @property
    def groups(self) -> tuple[Group, ...]:
        """Channels that it marks, those it does not tell apart together."""
        found: dict[Group, None] = {}
        for kind in self.kinds:
            for types in self.types.values():
                found[tuple((kind, name) for name in (types if kind != "argument" else ("OTHER",)))] = None
        return tuple(found)

    def group(self, text: str, own_type: str) -> int | None:
        """Number of the group of a marked span; `None` for a pronoun, which trains nothing.

        Raises:
            ReetError: For a type that it does not have.
        """
        if own_type not in self.types:
            raise ReetError(f"An entity's type must be one of {', '.join(self.types)}, got {own_type!r}.")
        kind = self.kind(text)
        if kind is None:
            return None
        types = self.types[own_type] if kind != "argument" else ("OTHER",)
        return self.groups.index(tuple((kind, name) for name in types))

    def kind(self, text: str) -> str | None:
        """Kind of a marked span, told by how its head is written; `None` for a pronoun."""
        if len(self.kinds) == 1:
            return self.kinds[0]
        if text.strip().lower() in PRONOUNS:
            return None
        if "term" in self.kinds:
            return "named" if any(c.isupper() or c.isdigit() for c in text) else "term"
        head = (_AFTER_HEAD.split(text.strip(), maxsplit=1)[0].split() or text.split())[-1]
        return "named" if head[:1].isupper() or any(c.isdigit() for c in head) else "nominal"


def _one(**types: str) -> dict[str, tuple[str, ...]]:
    """Own types as ours, given the other way round as words."""
    return {own: (name,) for name, words in types.items() for own in words.split()}


_CROSSNER = _one(
    PERSON="person politician writer musicalartist scientist researcher",
    ORGANIZATION="organisation politicalparty band university",
    LOCATION="location country",
    EVENT="event election conference",
    WORK="song album book magazine poem academicjournal",
    PRODUCT="product programlang",
    OTHER="misc award astronomicalobject musicgenre literarygenre algorithm field task metrics discipline theory "
    "chemicalcompound chemicalelement protein enzyme musicalinstrument",
)
_RE3D = _one(
    PERSON="Person",
    ORGANIZATION="Organisation",
    LOCATION="Location",
    DATE="Temporal",
    NUMBER="Quantity Money",
    PRODUCT="Weapon MilitaryPlatform Vehicle",
    WORK="DocumentReference",
    OTHER="Nationality CommsIdentifier Frequency Coordinates",
)
_GUM = _one(
    PERSON="person",
    ORGANIZATION="organization",
    LOCATION="place",
    EVENT="event",
    DATE="time",
    PRODUCT="object",
    OTHER="substance animal plant abstract",
)
GUIDES: Mapping[str, Guide] = {
    "btc": Guide(("named",), _one(PERSON="PER", ORGANIZATION="ORG", LOCATION="LOC")),
    "wnut17": Guide(
        ("named",),
        _one(
            PERSON="person",
            LOCATION="location",
            ORGANIZATION="group corporation",
            PRODUCT="product",
            WORK="creative-work",
        ),
    ),
    "wikigold": Guide(("named",), {**_one(PERSON="PER", LOCATION="LOC", ORGANIZATION="ORG"), "MISC": _REST}),
    "redocred": Guide(
        ("named",),
        {**_one(PERSON="PER", LOCATION="LOC", ORGANIZATION="ORG", DATE="TIME", NUMBER="NUM"), "MISC": _REST},
    ),
    "crossner": Guide(("named", "term"), _CROSSNER),
    "re3d": Guide(("named", "nominal"), _RE3D),
    "gum": Guide(("named", "nominal"), _GUM),
    "litbank": Guide(
        ("named", "nominal"), _one(PERSON="PER", LOCATION="FAC LOC GPE", ORGANIZATION="ORG", PRODUCT="VEH")
    ),
    "carb": Guide(("argument",), {"argument": ("OTHER",)}),
    "qasrlgs": Guide(("argument",), {"argument": ("OTHER",)}),
}


def guide_of(file: str) -> Guide:
    """The guide of a file of the extraction schema, by the part of its name before the hyphen.

    Raises:
        ReetError: If there is none.
    """
    name = file.partition("-")[0]
    if name not in GUIDES:
        raise ReetError(f"`mixture` must name files of {', '.join(GUIDES)}, got {file!r}; add a guide for another.")
    return GUIDES[name]


def channel_groups(guide: Guide) -> np.ndarray:
    """Group of each of `CHANNELS` in a guide, -1 for what it does not mark, of shape `(channels,)`."""
    numbers = np.full(len(CHANNELS), -1, dtype=np.int64)
    for number, group in enumerate(guide.groups):
        for channel in group:
            numbers[CHANNELS.index(channel)] = number
    return numbers


def word_spans(places: Sequence[tuple[int, int]], starts: np.ndarray, ends: np.ndarray) -> list[tuple[int, int] | None]:
    """First and last word of spans of characters; `None` where one begins or ends inside a word.

    Args:
        places: Half-open characters.
        starts: First character of each word, rising.
        ends: Character after its last.
    """
    found: list[tuple[int, int] | None] = []
    for start, end in places:
        first, last = int(np.searchsorted(starts, start)), int(np.searchsorted(ends, end))
        whole = first < len(starts) and last < len(ends) and starts[first] == start and ends[last] == end
        found.append((first, last) if whole and first <= last else None)
    return found


def marked(entity: Mapping[str, Any]) -> tuple[int, int]:
    """Characters of an entity of the extraction schema."""
    return entity["start"], entity["end"]
