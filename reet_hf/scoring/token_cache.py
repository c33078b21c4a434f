"""What is kept of a conversation's tokens between turns: their rows, their words, their states, their sentences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from ..growth import GrowingArray
from ..windows import TokenTable, rarity
from .rows import GrowingTensor, Quantized, StateRows

_COLUMNS = {
    "ids": np.int32,
    "starts": np.int32,
    "ends": np.int32,
    "mentions": np.int8,
    "begins": np.int8,
    "shapes": np.int8,
}
_RUNS = ("messages", "units")  # of all tokens of a message or of a sentence the same
_NAMES = (*_COLUMNS, *_RUNS)
_SAVED = ("packed", "scales", "norms")  # of states; in "values" an earlier version had eight bits


class Runs:
    """A column of whole numbers of which equal ones stand together: each is kept once.

    Attributes:
        starts: Row of the first of each run, of shape `(runs,)`.
        values: What all of the run are, of the same shape.
    """

    def __init__(self) -> None:
        self.starts, self.values = GrowingArray(np.int32), GrowingArray(np.int32)
        self._count = 0

    def append(self, rows: np.ndarray) -> None:
        """Add rows at the end."""
        known = self.values.rows[-1:]
        firsts = np.flatnonzero(np.diff(rows, prepend=known if len(known) else rows[:1] - 1))
        self.values.append(rows[firsts])
        self.starts.append(firsts + self._count)
        self._count += len(rows)

    def truncate(self, count: int) -> None:
        """Keep the first `count` rows."""
        runs = int(np.searchsorted(self.starts.rows, count))
        self.starts.truncate(runs)
        self.values.truncate(runs)
        self._count = min(self._count, count)

    @property
    def lengths(self) -> np.ndarray:
        """Rows of each run, of shape `(runs,)`."""
        return np.diff(self.starts.rows, append=self._count).astype(np.int64)

    def part(self, rows: slice) -> np.ndarray:
        """Some of the rows, of shape `(rows,)`."""
        first, last, _ = rows.indices(self._count)
        starts = self.starts.rows
        low, high = np.searchsorted(starts, (first, last), side="right").tolist()
        ends = np.append(starts[low:high], last)
        return np.repeat(self.values.rows[max(low - 1, 0) : high], np.diff(ends, prepend=first))

    @property
    def nbytes(self) -> int:
        """Bytes of the runs."""
        return self.starts.rows.nbytes + self.values.rows.nbytes


class GrowingTable:
    """The columns of a `TokenTable` but its words, in types that are just wide enough; it grows."""

    def __init__(self) -> None:
        self._columns = {name: GrowingArray(dtype) for name, dtype in _COLUMNS.items()}
        self._runs = {name: Runs() for name in _RUNS}

    def __len__(self) -> int:
        return len(self._columns["ids"])

    def column(self, name: str, rows: slice = slice(None)) -> np.ndarray:
        """One column, of shape `(tokens,)`, of all tokens or of some that stand together."""
        return self._columns[name].rows[rows] if name in _COLUMNS else self._runs[name].part(rows)

    def _held(self, name: str) -> GrowingArray | Runs:
        return self._columns[name] if name in _COLUMNS else self._runs[name]

    @property
    def units(self) -> Runs:
        """The sentences, as runs of tokens."""
        return self._runs["units"]

    def append(self, table: TokenTable) -> None:
        """Add the rows of another table."""
        for name in _NAMES:
            self._held(name).append(getattr(table, name))

    def truncate(self, count: int) -> None:
        """Keep the first `count` rows."""
        for name in _NAMES:
            self._held(name).truncate(count)

    @property
    def nbytes(self) -> int:
        """Bytes of the rows."""
        plain = sum(column.rows.nbytes for column in self._columns.values())
        return plain + sum(runs.nbytes for runs in self._runs.values())


class Vocabulary:
    """The words of a conversation with how often each occurs.

    Attributes:
        places: Of each token the place of its word, of shape `(tokens,)`.
        identities: Of the words, each once, in the order of their first occurrence, of shape `(words,)`.
        counts: Tokens of each word, of the same shape.
    """

    def __init__(self) -> None:
        self.places = GrowingArray(np.int32)
        self.identities = GrowingArray(np.int64)
        self.counts = GrowingArray(np.int64)
        self._known: dict[int, int] = {}

    def append(self, words: np.ndarray) -> None:
        """The words of further tokens, by `lexicon.word_identity`."""
        found, places, counts = np.unique(words, return_inverse=True, return_counts=True)
        fresh = [word for word in found.tolist() if word not in self._known]
        self._known.update(zip(fresh, range(len(self._known), len(self._known) + len(fresh)), strict=True))
        self.identities.append(np.array(fresh, dtype=np.int64))
        self.counts.append(np.zeros(len(fresh), dtype=np.int64))
        own = np.array([self._known[word] for word in found.tolist()], dtype=np.int64)
        self.counts.rows[own] += counts
        self.places.append(own[places])

    def rarity(self) -> np.ndarray:
        """How rare each word is in the conversation, of shape `(words,)`, see `windows.rarity`."""
        return rarity(self.identities.rows, self.counts.rows, len(self.places))


@dataclass
class ScorerState:
    """Cached tokens of one conversation.

    Attributes:
        states: Their states.
        prior: What the head says of them whatever is asked, see `PriorHead.blind`.
        unit_states: Mean of the states of each sentence.
        tokens: Their table.
        vocabulary: Their words.
        ages: Age of each message in turns.
        messages: Messages that are in the table.
        closed: Tokens that lie in final windows, whose states never change.
        records: Whether each message holds records, see `lookup`.
        calls: Those of the last tool exchange that have no result yet, see `recall.recall_calls`.
    """

    states: StateRows
    prior: GrowingTensor
    unit_states: StateRows
    tokens: GrowingTable = field(default_factory=GrowingTable)
    vocabulary: Vocabulary = field(default_factory=Vocabulary)
    ages: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    messages: int = 0
    closed: int = 0
    records: list[bool] = field(default_factory=list)
    calls: list[tuple[str, bool]] = field(default_factory=list)

    @property
    def table(self) -> TokenTable:
        """The tokens, those that are being encoded left out."""
        return self.part(slice(None))

    def part(self, rows: slice) -> TokenTable:
        """Some of the tokens."""
        words = self.vocabulary.identities.rows[self.vocabulary.places.rows[rows]]
        known = slice(*rows.indices(len(self.vocabulary.places)))
        columns = {name: self.tokens.column(name, known).astype(np.int64) for name in _NAMES}
        return TokenTable(**columns, words=words)

    @property
    def nbytes(self) -> dict[str, int]:
        """Bytes by what they are for: `states` with scales and prior, `units` the means, `table` all else of tokens."""
        parts = {"states": [*self.states.held, self.prior.rows], "units": list(self.unit_states.held)}
        found = {name: sum(part.nbytes for part in own) for name, own in parts.items()}
        return {**found, "table": self.tokens.nbytes + self.vocabulary.places.rows.nbytes}

    @property
    def unit_starts(self) -> GrowingArray:
        """First token of each sentence."""
        return self.tokens.units.starts

    def lengths(self) -> np.ndarray:
        """Tokens of each sentence, of shape `(units,)`."""
        return self.tokens.units.lengths

    def summarize_units(self, opened: int) -> None:
        """Means of the sentences from the one on that token `opened` stands in."""
        if not len(self.tokens):
            return
        unit = int(np.searchsorted(self.unit_starts.rows, opened, side="right")) - 1
        start = int(self.unit_starts.rows[unit])
        states = self.states.read(slice(start, None))
        lengths = torch.from_numpy(self.lengths()[unit:]).to(states.device)
        rows = torch.arange(len(states), device=states.device)
        means = torch.nn.functional.embedding_bag(rows, states, lengths.cumsum(0) - lengths, mode="mean")
        self.unit_states.write(unit, means)

    def arrays(self) -> dict[str, np.ndarray] | None:
        """What cannot be made again but by encoding, as arrays that can be saved; `None` where states were given up."""
        held = self.states.held
        if len(held.scales) < len(self.tokens):
            return None
        table = self.table
        found = {f"table.{name}": getattr(table, name) for name in (*_NAMES, "words")}
        found |= {name: part.cpu().numpy() for name, part in zip(_SAVED, held, strict=True)}
        found["prior"] = self.prior.rows.cpu().numpy()
        return {**found, "closed": np.array([self.closed]), "messages": np.array([self.messages])}

    def fill(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Everything that `arrays` saved, in a state that is empty; ages and records are left to the caller."""
        device = self.prior.rows.device
        self.tokens.append(TokenTable(**{name: arrays[f"table.{name}"] for name in (*_NAMES, "words")}))
        read = {name: torch.from_numpy(np.ascontiguousarray(array)).to(device) for name, array in arrays.items()}
        self.states.fill(Quantized(*(read[name] for name in _SAVED)))
        self.prior.write(0, read["prior"])
        self.closed, self.messages = int(arrays["closed"][0]), int(arrays["messages"][0])
        self.vocabulary.append(arrays["table.words"])
        self.summarize_units(0)
