"""What is known of each kept piece and each sentence that was left out: only what the result itself says."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from markup import percent
from reply import Reply

from reet_hf.lexicon import content_words, word_identity
from reet_hf.records import Span

Piece = Mapping[str, Any]
Place = tuple[int, int]
NAMES = 3  # names and values of one piece that are told


class Reasons:
    """Lines that explain the pieces of one reply."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self._starts = [(said["message"], said["start"]) for said in reply.sentences]
        self._prior = {(said["message"], said["start"]): said["importance"] for said in reply.prior}
        self._asked = {word_identity(word) for word, _, _ in content_words(reply.query)} - {0}
        users = [number for number, message in enumerate(reply.messages) if message.role == "user"]
        self._last_turn = users[-1] if users else len(reply.messages)

    @cached_property
    def ranks(self) -> dict[Place, int]:
        """The rank of each piece by its chance, by message and first character, from 1."""
        pieces = sorted(self.reply.result["pieces"], key=lambda piece: -piece["importance"])
        return {(piece["message"], piece["start"]): rank for rank, piece in enumerate(pieces, 1)}

    @cached_property
    def _mentions(self) -> dict[int, list[Piece]]:
        """Names and values that were kept, by message."""
        found: dict[int, list[Piece]] = {}
        for mention in self.reply.result["receipt"]["kept"]:
            found.setdefault(mention["message"], []).append(mention)
        return found

    @cached_property
    def _copies(self) -> Counter[str]:
        """How many kept mentions have the same text."""
        return Counter(mention["text"].casefold() for mention in self.reply.result["receipt"]["kept"])

    @cached_property
    def _omitted(self) -> dict[int, list[tuple[int, int, str]]]:
        """Places that were left out with their ids, by message."""
        found: dict[int, list[tuple[int, int, str]]] = {}
        for left in self.reply.result["omitted"]:
            for span in left["spans"]:
                found.setdefault(span["message"], []).append((span["start"], span["end"], left["id"]))
        return found

    def level(self, piece: Piece) -> int:
        """The fifth of the kept pieces, by their chance, that a piece belongs to: 5 for the most important."""
        count = len(self.ranks)
        return 5 - (5 * (self.ranks[piece["message"], piece["start"]] - 1)) // max(count, 1)

    def sentence(self, message: int, start: int) -> Piece | None:
        """The sentence that a character lies in, or the last one before it."""
        place = bisect_right(self._starts, (message, start)) - 1
        found = self.reply.sentences[place] if place >= 0 else None
        return found if found and found["message"] == message else None

    def border(self, message: int, start: int, end: int) -> int:
        """Where characters from `start` to `end` of a message pass into the next sentence, `end` if they do not."""
        sentence = self.sentence(message, start)
        stop = sentence["end"] if sentence and start < sentence["end"] else start
        place = bisect_right(self._starts, (message, start))
        following = self.reply.sentences[place] if place < len(self._starts) else None
        if following is None or following["message"] != message:
            return stop if start < stop < end and self.reply.texts[message][stop:end].strip() else end
        gap = self.reply.texts[message][stop : following["start"]]
        return min(end, following["start"] if stop == start or not gap.strip() else stop)

    def of_kept(self, piece: Piece) -> list[str]:
        """What is known of a piece that was kept, the first line in short."""
        rank = self.ranks[piece["message"], piece["start"]]
        need = "for this query" if self.reply.query else "by a later question"
        lines = [f"Kept: {percent(piece['importance'])} chance of being needed {need}, no. {rank} of {len(self.ranks)}"]
        sentence = self.sentence(piece["message"], piece["start"])
        if sentence is not None:
            lines += self._of_sentence(sentence)
        return [*lines, *self._values(piece), *self._rules(piece), self._home(piece["message"])]

    def of_dropped(self, message: int, start: int, end: int) -> list[str]:
        """What is known of characters that were left out."""
        lines = ["Left out"]
        sentence = self.sentence(message, start)
        if sentence is not None:
            need = "for this query" if self.reply.query else "by a later question"
            lines = [f"Left out: {percent(sentence['importance'])} chance that its sentence is needed {need}"]
            if any(p.start < sentence["end"] and sentence["start"] < p.end for p in self._kept_in(message)):
                lines.append("Other words of the sentence were kept")
        ids = {name for first, last, name in self._omitted.get(message, ()) if first < end and start < last}
        if ids:
            lines.append(f"A session brings it back as {', '.join(sorted(ids))}")
        return [*lines, self._home(message)]

    def _kept_in(self, message: int) -> Sequence[Any]:
        return self._kept_by_message.get(message, ())

    @cached_property
    def _kept_by_message(self) -> dict[int, list[Any]]:
        found: dict[int, list[Any]] = {}
        for span in self.reply.kept:
            found.setdefault(span.message, []).append(span)
        return found

    def _of_sentence(self, sentence: Piece) -> list[str]:
        """What the sentence of a piece says: how likely any question needs it, and which words of the query it has."""
        lines = []
        prior = self._prior.get((sentence["message"], sentence["start"]))
        if self.reply.query and prior is not None:
            lines.append(f"Chance that any later question needs its sentence: {percent(prior)}")
        text = self.reply.texts[sentence["message"]][sentence["start"] : sentence["end"]]
        words = [text[a:b] for _, a, b in content_words(text) if word_identity(text[a:b]) in self._asked]
        if words:
            lines.append(f"Words of the query in its sentence: {', '.join(dict.fromkeys(words))}")
        return lines

    def _values(self, piece: Piece) -> list[str]:
        """Names and values within a piece, and those that no other kept piece has."""
        own = [
            mention
            for mention in self._mentions.get(piece["message"], ())
            if piece["start"] <= mention["start"] and mention["end"] <= piece["end"] and mention["type"] != "CONSTRAINT"
        ]
        told = [
            f"{mention['text']} ({mention['type'].lower()}"
            f"{', kept nowhere else' if self._copies[mention['text'].casefold()] == 1 else ''})"
            for mention in own[:NAMES]
        ]
        return [f"Holds {'; '.join(told)}"] if told else []

    def _rules(self, piece: Piece) -> list[str]:
        """What was to stay whatever its chance, as far as it can be told from the place."""
        message, lines = piece["message"], []
        own = Span(message, piece["start"], piece["end"])
        for rule, spans in self.reply.protected.items():
            if any(own.overlaps(span) for span in spans):
                lines.append(f"You asked for it to stay: {rule}")
        constraints = (m for m in self._mentions.get(message, ()) if m["type"] == "CONSTRAINT")
        if any(m["start"] < piece["end"] and piece["start"] < m["end"] for m in constraints):
            lines.append("Part of a stated constraint")
        if self.reply.messages[message].role == "system":
            lines.append("System messages stay where they fit")
        elif message >= self._last_turn:
            lines.append("The last turn stays where it leaves room")
        return lines

    def _home(self, number: int) -> str:
        """Where a message stands and who said it."""
        message = self.reply.messages[number]
        place = f"{'Part' if message.role == 'document' else 'Message'} {number + 1} of {len(self.reply.messages)}"
        return f"{place}, {message.label}" if message.label else place
