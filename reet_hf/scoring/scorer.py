"""Importance of a conversation's tokens from a `ReetForCompression` model, with token states kept between turns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from typing import Any, Protocol, cast

import numpy as np
import torch
from tqdm.auto import tqdm

from ..conversation import Conversation, Message
from ..modeling.turn_head import Queries, TokenIndex, TurnContext
from ..recall import brings_back, recall_calls
from ..records import Turn
from ..segmentation import blocks_of, sentences
from ..windows import TokenTable, plan_windows, query_tokens, rarity, special_frame, tokenize
from .collator import padded
from .lookup import named_records
from .rows import GrowingTensor

BATCH_TOKENS = {"cpu": 1024}  # tokens that go through the encoder together: more are no faster there, and take room
DEVICE_BATCH_TOKENS = 4096  # on any other device
CACHED = ("states", "keys", "prior")  # the fields of `TokenIndex`

Ids = list[int]


@dataclass(frozen=True)
class TokenScores:
    """Importance of spans of text, in reading order; higher means kept first.

    Attributes:
        messages, starts, ends: Place of each span, of shape `(spans,)`.
        importance: Logits or any other real score, of shape `(spans,)`.
        chances: Chance, in [0, 1], that the span is needed, of shape `(spans,)`; `None` where scores say no chance.
        prior: With a query the chance that any question needs it, of the same shape; `None` where that is not known.
    """

    messages: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    importance: np.ndarray
    chances: np.ndarray | None = None
    prior: np.ndarray | None = None


class Scorer(Protocol):
    """What a compressor asks of a model: state is kept by the caller and only ever grows."""

    def encode(self, conversation: Conversation, state: Any | None) -> Any:
        """The state for `conversation`, which extends the one that `state` was made for; `state` may be changed."""

    def score(self, state: Any, query: str | None, history: Sequence[Turn]) -> TokenScores:
        """Importance for `query` after `history`, or of the conversation as such without a query."""

    def load(self, arrays: dict[str, np.ndarray], conversation: Conversation) -> Any:
        """The state that was saved as `arrays`."""


@dataclass
class ScorerState:
    """Cached tokens of one conversation.

    Attributes:
        table: Its tokens.
        ages: Age of each message in turns.
        messages: Messages that are in the table.
        records: Whether each of them holds records, see `lookup`.
        calls: Those of the last tool exchange that have no result yet, see `recall.recall_calls`.
        closed: Tokens that lie in final windows, whose states never change.
        words: Place of each token's word among the `vocabulary` of the conversation.
        vocabulary: Word identities, each once.
        rarity: How rare each token's word is.
        states, keys, prior: The rows of `TokenIndex`.
    """

    table: TokenTable
    ages: np.ndarray
    messages: int
    closed: int
    states: GrowingTensor
    keys: GrowingTensor
    prior: GrowingTensor
    records: list[bool] = field(default_factory=list)
    calls: list[tuple[str, bool]] = field(default_factory=list)
    words: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    vocabulary: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    rarity: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.float32))

    def count_words(self) -> None:
        """Bring `words`, `vocabulary` and `rarity` up to the table."""
        self.vocabulary, self.words, counts = np.unique(self.table.words, return_inverse=True, return_counts=True)
        self.rarity = rarity(self.vocabulary, counts, len(self.table))[self.words]

    @property
    def index(self) -> TokenIndex:
        """The cached rows as the head takes them."""
        return TokenIndex(*(cast(torch.Tensor, getattr(self, name).read) for name in CACHED))

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything as arrays that can be saved; states are float32, or float16 where they are kept so."""
        table = {f"table.{name}": getattr(self.table, name) for name in TokenTable.__dataclass_fields__}
        kept = {name: getattr(self, name).rows.cpu() for name in CACHED}
        cached = {n: (rows.float() if rows.dtype == torch.bfloat16 else rows).numpy() for n, rows in kept.items()}
        counts = {"closed": np.array([self.closed]), "messages": np.array([self.messages])}
        return {**table, **cached, **counts}


class ReetScorer:
    """A `Scorer` that encodes each token once.

    Args:
        model: A `ReetForTokenScoring` or subclass, in evaluation mode.
        tokenizer: The encoder's fast tokenizer.
        progress: Whether to show a progress bar while more than a few windows are encoded.

    Attributes:
        reader: What reads windows without a query: `read_windows`, or what reads those of several conversations
            together by it.
    """

    def __init__(self, model: Any, tokenizer: Any, progress: bool = False) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.progress = progress
        self.reader: Callable[[Sequence[Ids]], list[torch.Tensor]] = self.read_windows
        self._before, self._after = special_frame(tokenizer)
        self._capacity = model.config.window_tokens - len(self._before) - len(self._after)

    @cached_property
    def revision(self) -> str:
        """Hex digits that tell apart models and tokenizers: of configuration, vocabulary and some of each weight."""
        told = sha256(self.config.to_json_string().encode())
        told.update(f"{self.model.dtype} {type(self.tokenizer).__name__} {len(self.tokenizer)}".encode())
        for name, weights in sorted(self.model.state_dict().items()):
            some = weights.detach().flatten()[:: max(1, weights.numel() // 64)].float().cpu().numpy()
            told.update(f"{name} {tuple(weights.shape)}".encode() + some.tobytes())
        return told.hexdigest()[:16]

    @property
    def config(self) -> Any:
        """The model's configuration."""
        return self.model.config

    def _empty(self) -> ScorerState:
        options = {"dtype": self.model.dtype, "device": self.model.device}
        late = self.config.interaction == "late"
        return ScorerState(
            table=TokenTable.from_rows([]),
            ages=np.zeros(0, dtype=np.int64),
            messages=0,
            closed=0,
            states=GrowingTensor(self.config.width if late else 0, may_halve=True, **options),
            keys=GrowingTensor(self.config.token_dim if late else 0, may_halve=True, **options),
            prior=GrowingTensor(**options),
        )

    def load(self, arrays: dict[str, np.ndarray], conversation: Conversation) -> ScorerState:
        """The state that `ScorerState.arrays` saved."""
        state = self._empty()
        state.table = TokenTable(*(arrays[f"table.{name}"] for name in TokenTable.__dataclass_fields__))
        state.closed, state.messages = int(arrays["closed"][0]), int(arrays["messages"][0])
        state.ages = np.array(conversation.ages(), dtype=np.int64)
        for name in CACHED:
            rows = torch.from_numpy(np.ascontiguousarray(arrays[name]))
            getattr(state, name).write(0, rows.to(self.model.device))
        state.records = hold_records(conversation.messages, state.calls)
        state.count_words()
        return state

    def encode(self, conversation: Conversation, state: ScorerState | None = None) -> ScorerState:
        """Encode the messages that `state` does not have yet, and the open window before them again."""
        state = state or self._empty()
        first_unit = int(state.table.units[-1]) + 1 if len(state.table) else 0
        fresh = tokenize(conversation, self.tokenizer, state.messages, first_unit)
        if len(fresh):
            table = state.table.extend(fresh)
            self._encode_open(state, table)
            state.table = table
            state.count_words()
        state.records.extend(hold_records(conversation.messages[state.messages :], state.calls))
        state.messages = len(conversation.messages)
        state.ages = np.array(conversation.ages(), dtype=np.int64)
        return state

    @torch.inference_mode()
    def _encode_open(self, state: ScorerState, table: TokenTable) -> None:
        """Read the windows of `table` that are not final; the state changes only when all of them were read."""
        windows = plan_windows(table.units, self._capacity, state.closed)
        total = table.ids.size - state.closed
        cached: list[GrowingTensor] = [getattr(state, name) for name in CACHED]
        for rows in cached:
            rows.reserve(table.ids.size)
        with tqdm(total=total, desc="encoding", unit="tok", disable=not self.progress or len(windows) < 32) as bar:
            for batch in self._batches(windows):
                read = self.model.index(self._read(table.ids, batch))
                for name, rows in zip(CACHED, cached, strict=True):
                    rows.stage(batch[0][0], getattr(read, name))
                bar.update(batch[-1][1] - batch[0][0])
        for rows in cached:
            rows.publish(table.ids.size)
        state.closed = windows[-1][0]

    def _batches(self, windows: Sequence[tuple[int, int]]) -> Iterator[Sequence[tuple[int, int]]]:
        """Windows of about `BATCH_TOKENS` tokens together."""
        tokens = BATCH_TOKENS.get(self.model.device.type, DEVICE_BATCH_TOKENS)
        size = -(-tokens // self.config.window_tokens)
        return (windows[first : first + size] for first in range(0, len(windows), size))

    def _read(
        self, ids: np.ndarray, windows: Sequence[tuple[int, int]], query: torch.Tensor | None = None
    ) -> torch.Tensor:
        """States of the tokens of windows, behind a query if there is one, of shape `(tokens, width)`."""
        rows = [ids[start:end].tolist() for start, end in windows]
        return torch.cat(self.reader(rows) if query is None else self.read_windows(rows, query))

    def read_windows(self, rows: Sequence[Ids], query: torch.Tensor | None = None) -> list[torch.Tensor]:
        """States of the tokens of windows, of shape `(tokens, width)` each, in one pass of the encoder.

        Args:
            rows: Token ids of each window, without special tokens.
            query: Token ids of shape `(query_tokens,)` that each is read behind.
        """
        framed = [[*self._before, *row, *self._after] for row in rows]
        inputs = [part.to(self.model.device) for part in padded(framed, self.tokenizer.pad_token_id or 0)]
        hidden = (
            self.model.reet(*inputs).token_states if query is None else self.model.read_together(*inputs, query=query)
        )
        lead = len(self._before)
        return [hidden[number, lead : lead + len(row)] for number, row in enumerate(rows)]

    @torch.inference_mode()
    def score(self, state: ScorerState, query: str | None = None, history: Sequence[Turn] = ()) -> TokenScores:
        """Importance of every token for `query`, read after the last turns of `history`.

        Without a query: what any later turn may need.
        """
        table = state.table
        body = table.starts >= 0
        if not body.any():
            nowhere = np.zeros(0, dtype=np.int64)
            nothing = np.zeros(0, dtype=np.float32)
            return TokenScores(nowhere, nowhere, nowhere, nothing, nothing, nothing)
        context = TurnContext(
            units=self._tensor(table.units),
            words=self._tensor(state.words),
            vocabulary=self._tensor(state.vocabulary),
            rarity=self._tensor(state.rarity),
            ages=self._tensor(state.ages[table.messages]),
            mentions=self._tensor(table.mentions),
        )
        if query and self.config.interaction == "cross":
            context.together = [self._together(table, query, history)]
        elif query:
            context.queries = self._queries(query, history)
        scores = self.model.score(state.index, context)
        logits = scores.importance[:, -1] if query else scores.prior
        values = logits.float().cpu().numpy()
        chances = calibrated(values[body], self.config, asked=bool(query))
        prior = calibrated(scores.prior.float().cpu().numpy()[body], self.config, asked=False) if query else None
        if query:
            chances = np.maximum(chances, self._named(state, query)[body])
        places = (table.messages[body], table.starts[body], table.ends[body])
        return TokenScores(*places, values[body], chances, prior)

    def _named(self, state: ScorerState, query: str) -> np.ndarray:
        """Chance of each token that its record is one that the query names, of shape `(tokens,)`."""
        table = state.table
        chances = np.zeros(len(table))
        rows = np.flatnonzero(np.array(state.records)[table.messages] & (table.starts >= 0))
        if not len(rows):
            return chances
        asked = [query, *(query[start:end] for start, end in sentences(query))]
        words = [
            np.array(query_tokens(part, self.tokenizer, self.config.query_tokens)[1]) for part in dict.fromkeys(asked)
        ]
        records, found = named_records(table.units[rows], state.table.words[rows], words)
        if len(records):
            place = np.minimum(np.searchsorted(records, table.units[rows]), len(records) - 1)
            chances[rows] = np.where(records[place] == table.units[rows], found[place], 0.0)
        return chances

    def _queries(self, query: str, history: Sequence[Turn]) -> Queries:
        """The query as one row."""
        ids, words = self._query(query, history)
        return self.model.read(ids, torch.ones_like(ids), words)

    def _together(self, table: TokenTable, query: str, history: Sequence[Turn]) -> torch.Tensor:
        """States of all tokens as they are read behind the query, of shape `(tokens, width)`."""
        ids, _ = self._query(query, history)
        windows = plan_windows(table.units, self._capacity)
        return torch.cat([self._read(table.ids, batch, ids[0]) for batch in self._batches(windows)])

    def _query(self, query: str, history: Sequence[Turn]) -> list[torch.Tensor]:
        """Ids and words of the query and what is read before it, each of shape `(1, query_tokens)`."""
        config = self.config
        seen = list(history)[-config.history_turns :] if config.history_turns else []
        turns = [f"{turn.query} {turn.answer}".strip() for turn in seen]
        row = query_tokens(query, self.tokenizer, config.query_tokens, turns, config.history_tokens)
        return [torch.tensor([part], device=self.model.device) for part in row]

    def _tensor(self, values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.model.device)


def hold_records(messages: Sequence[Message], calls: list[tuple[str, bool]]) -> list[bool]:
    """For each message whether it is a tool result or has structured text in it.

    What was recalled stands elsewhere already, mixed with what users asked, so it counts as no record.

    Args:
        messages: In order.
        calls: Of the last exchange, see `recall.recall_calls`; brought up to the last message.
    """
    found = []
    for message in messages:
        if message.answers is not None:
            found.append(not brings_back(message, calls))
        else:
            calls[:] = recall_calls(message)
            found.append(any(kind != "text" for _, _, kind in blocks_of(message)))
    return found


def loudest(found: Sequence[TokenScores]) -> TokenScores:
    """Of several scores of the same spans the highest each."""
    first, *others = found
    if not others:
        return first
    chances = [scores.chances for scores in found if scores.chances is not None]
    return replace(
        first,
        importance=np.maximum.reduce([scores.importance for scores in found]),
        chances=np.maximum.reduce(chances) if chances else None,
    )


def chance(logits: np.ndarray, scale: float = 1.0, shift: float = 0.0) -> np.ndarray:
    """Chances in (0, 1) of logits that are scaled and shifted, of the shape of `logits`, in float64."""
    return 1.0 / (1.0 + np.exp(-np.clip(scale * logits.astype(np.float64) + shift, -30, 30)))


def calibrated(logits: np.ndarray, config: Any, asked: bool) -> np.ndarray:
    """Chances that tokens are needed, of the shape of `logits`, by Platt scaling (Platt, 1999).

    Args:
        logits: Importance for a query, or the prior.
        config: A `ReetConfig`, which has a scale and a shift for each of the two.
        asked: Whether there was a query.
    """
    kind = "importance" if asked else "prior"
    return chance(logits, getattr(config, f"{kind}_scale"), getattr(config, f"{kind}_shift"))


def pool(scores: TokenScores, places: np.ndarray) -> np.ndarray:
    """Mean importance of the scored spans that overlap each place, of shape `(places,)`; of chances, where there are.

    Args:
        scores: The scored spans.
        places: `(message, start, end)` of each place, of shape `(places, 3)`. One that overlaps no scored span gets
            the lowest value there is.
    """
    values = scores.importance if scores.chances is None else scores.chances
    if not len(places):
        return np.zeros(0)
    if not len(scores.starts):
        return np.full(len(places), 0.0 if scores.chances is None else 0.5)
    scale = int(max(scores.ends.max(), places[:, 2].max())) + 1
    firsts, lasts = scores.messages * scale + scores.starts, scores.messages * scale + scores.ends
    low = np.searchsorted(lasts, places[:, 0] * scale + places[:, 1], side="right")
    high = np.searchsorted(firsts, places[:, 0] * scale + places[:, 2], side="left")
    sums = np.concatenate(([0.0], np.cumsum(values, dtype=np.float64)))
    found = high > low
    means = (sums[np.maximum(high, low)] - sums[low]) / np.maximum(high - low, 1)
    return np.where(found, means, values.min())
