"""What the agents of the histories work on: orders, tickets, commits and the like, each with an identifier.

A thing is described by its owner and its subject ("Ann Lee's order for the blue lamp"), which no other thing of its
kind has in the same history, so that a request can mean it without saying the identifier.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from reet_hf.errors import ReetError

LETTERS = "BCDFGHJKLMNPQRSTVWXZ"
HEX = "0123456789abcdef"


def split(text: str) -> tuple[str, ...]:
    """What stands between the bars of a text."""
    return tuple(part.strip() for part in text.split("|"))


FIRST = split(
    "Ann|Tomás|Yuki|Farid|Ingrid|Chidi|Léa|Marek|Priya|Owen|Salma|Björn|Keiko|Dario|Nadia|Ruben|Aoife|Teodor|Wanjiru|"
    "Hamza|Elif|Jonas|Mei|Pilar"
)
LAST = split(
    "Lee|Okafor|Lindqvist|Moreau|Tanaka|Novák|Haddad|Castellano|Brandt|Iyer|Fitzgerald|Kowalczyk|Demir|Aaltonen|"
    "Pereira|Njoroge|Whitlock|Sandoval|Grünwald|Ferrari|Mbeki|Larsen|Quiroga|Ó'Hara"
)
FIRMS = split(
    "Fernhill Foods|Quayside Print|Torrin Freight|Ashgrove Dental|Meridian Tiles|Bluewater Optics|Kestrel Cycles|"
    "Pinecrest Dairy|Halden Robotics|Saffron Travel|Orchard Lane Books|Norrland Timber"
)
SERVICES = split("checkout|billing|search|catalogue|payments|identity|mailer|inventory|reports|gateway")
STREETS = split("Larch|Birch|Chapel|Mill|Harbour|Quarry|Station|Willow|Castle|Orchard|Cedar|Abbey|Meadow|Tannery")
CITIES = split("Oslo|Dublin|Porto|Kraków|Lyon|Tampere|Graz|Leeds|Izmir|Malmö")
STEMS = split("ledger|totals|batch|retry|invoice|parser|cache|worker|schema|export|locale|token")


def digits(rng: Random, count: int) -> str:
    """A number of so many digits as text; the first is no zero."""
    return str(rng.randrange(10 ** (count - 1), 10**count))


def word(rng: Random, count: int, among: str = HEX) -> str:
    """So many letters."""
    return "".join(rng.choice(among) for _ in range(count))


def uuid(rng: Random) -> str:
    """32 hexadecimal digits in five groups."""
    return "-".join(word(rng, count) for count in (8, 4, 4, 4, 12))


def date(rng: Random) -> str:
    """A day of 2025 as in ISO 8601."""
    return f"2025-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"


def clock(rng: Random) -> str:
    """A time of the day."""
    return f"{rng.randint(7, 19):02d}:{rng.randint(0, 59):02d}"


def amount(rng: Random) -> str:
    """A sum of money with two decimals."""
    return f"{rng.randint(113, 4987)}.{rng.randint(11, 98)}"


def path(rng: Random) -> str:
    """A source file."""
    folder = f"{rng.choice(['src', 'lib', 'internal'])}/{rng.choice(['core', 'shared', 'adapters', 'rules'])}"
    return f"{folder}/{'_'.join(rng.sample(STEMS, 2))}_{digits(rng, 3)}.py"


def email(rng: Random) -> str:
    """An address that nothing but itself tells."""
    name = f"{word(rng, 2, 'abcdefghklmnprst')}.{rng.choice(STREETS).lower()}{digits(rng, 4)}"
    return f"{name}@{rng.choice(['post', 'mail', 'office'])}-{word(rng, 4, 'aeiouklmnrst')}.example"


@dataclass(frozen=True)
class Act:
    """What an agent can do with a thing.

    Attributes:
        tool: The tool's name.
        requests: How a user asks for it, with `{owner}` and `{subject}`.
        uses: Fields of the thing besides its identifier that the call needs.
        more: Arguments that are no matter of the thing.
    """

    tool: str
    requests: Sequence[str]
    uses: Sequence[str] = ()
    more: Mapping[str, Callable[[Random], Any]] | None = None


@dataclass(frozen=True)
class Kind:
    """A kind of things.

    Attributes:
        name, plural: What one and several are called.
        key: The field of the identifier.
        identifier: Draws one.
        owner, subject: The fields of both.
        owners, subjects: What they are drawn from; `people` stands for persons.
        fields: The other fields and how they are drawn.
        acts: What can be done with one.
    """

    name: str
    plural: str
    key: str
    identifier: Callable[[Random], str]
    owner: str
    subject: str
    owners: str
    subjects: Sequence[str]
    fields: Mapping[str, Callable[[Random], Any]]
    acts: Sequence[Act]

    @property
    def lookup(self) -> str:
        """The tool that lists them."""
        return f"list_{self.plural.replace(' ', '_')}"


@dataclass(frozen=True)
class Thing:
    """One of a kind: its identifier, whose it is, what it is about, and all its fields, these included."""

    kind: Kind
    identifier: str
    owner: str
    subject: str
    fields: Mapping[str, Any]


class World:
    """The things of one history; no identifier comes twice, nor is one part of another."""

    def __init__(self, rng: Random, people: int = 10) -> None:
        self.rng = rng
        self._seen: set[str] = set()
        self._described: set[tuple[str, str, str]] = set()
        names = [f"{first} {last}" for first in FIRST for last in LAST]
        self.owners = {"people": tuple(rng.sample(names, people)), "firms": FIRMS, "services": SERVICES}

    def fresh(self, draw: Callable[[Random], str]) -> str:
        """A text that no earlier one of this world has in common with it.

        Raises:
            ReetError: If none is left.
        """
        for _ in range(1000):
            found = draw(self.rng)
            if not any(found in other or other in found for other in self._seen):
                self._seen.add(found)
                return found
        raise ReetError("`draw` must have more values than a history needs, got none left in 1,000 draws; widen it.")

    def thing(self, kind: Kind) -> Thing | None:
        """A new thing, `None` if there is none left to describe."""
        for _ in range(50):
            owner, subject = self.rng.choice(self.owners[kind.owners]), self.rng.choice(kind.subjects)
            if (kind.name, owner, subject) not in self._described:
                self._described.add((kind.name, owner, subject))
                break
        else:
            return None
        identifier = self.fresh(kind.identifier)
        used = {name for act in kind.acts for name in act.uses}
        drawn = {
            name: self.fresh(draw) if name in used or draw is amount else draw(self.rng)
            for name, draw in kind.fields.items()
        }
        fields = {kind.key: identifier, kind.owner: owner, kind.subject: subject, **drawn}
        return Thing(kind, identifier, owner, subject, fields)

    def things(self, kind: Kind, count: int) -> list[Thing]:
        """New things, as many as there are left."""
        return [thing for _ in range(count) if (thing := self.thing(kind)) is not None]
