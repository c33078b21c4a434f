"""Importance of a conversation's tokens from a `ReetForCompression` model, with token states kept between turns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from hashlib import sha256
from typing import Any, Protocol

import numpy as np
import torch
from tqdm.auto import tqdm

from ..budget import is_number
from ..conversation import Conversation, Message
from ..encoders.backends import WindowEncoder
from ..encoders.packed import PackedEncoder
from ..errors import ReetError
from ..modeling.turn_head import Queries, TokenIndex, TurnContext
from ..recall import brings_back, recall_calls
from ..records import Turn
from ..segmentation import blocks_of, sentences
from ..windows import TokenTable, plan_windows, query_tokens, special_frame, tokenize
from .bounded import BoundedRows
from .collator import padded
from .lookup import named_records
from .rows import GrowingTensor, Rows, StateRows
from .token_cache import ScorerState

BATCH_TOKENS = {"cpu": 1024}  # tokens that go through the encoder together: more are no faster there, and take room
DEVICE_BATCH_TOKENS = 4096  # on any other device
REFINED_TOKENS = 8192  # that are looked at one by one for a query; of a longer conversation those of its best sentences
MESSAGE = 1 << 32  # characters that a message has room for where places are told by one number
LEAST_STATE_TOKENS = 2 * REFINED_TOKENS

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

    @cached_property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """First character of each span and the one after its last as numbers that rise through all messages."""
        return self.messages * MESSAGE + self.starts, self.messages * MESSAGE + self.ends


class Scorer(Protocol):
    """What a compressor asks of a model: state is kept by the caller and only ever grows."""

    def encode(self, conversation: Conversation, state: Any | None) -> Any:
        """The state for `conversation`, which extends the one that `state` was made for; `state` may be changed."""

    def score(self, state: Any, query: str | None, history: Sequence[Turn]) -> TokenScores:
        """Importance for `query` after `history`, or of the conversation as such without a query."""

    def load(self, arrays: dict[str, np.ndarray], conversation: Conversation) -> Any:
        """The state that was saved as `arrays`."""


class ReetScorer:
    """A `Scorer` that encodes each token once.

    Args:
        model: A `ReetForTokenScoring` or subclass, in evaluation mode.
        tokenizer: The encoder's fast tokenizer.
        progress: Whether to show a progress bar while more than a few windows are encoded.
        encoder: What reads windows; default: the model's own encoder, see `PackedEncoder`.
        state_tokens: Tokens of a conversation whose states are kept at the most, all if `None`. Those that matter least
            are given up first, and read again where a query needs them.

    Attributes:
        reader: What reads windows without a query: `read_windows`, or what reads those of several conversations
            together by it.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        progress: bool = False,
        encoder: WindowEncoder | None = None,
        state_tokens: int | None = None,
    ) -> None:
        if state_tokens is not None and not (is_number(state_tokens) and state_tokens >= LEAST_STATE_TOKENS):
            raise ReetError(
                f"`state_tokens` must be at least {LEAST_STATE_TOKENS} tokens, which are looked at for one query, or "
                f"None for no bound, got {state_tokens!r}."
            )
        self.model, self.state_tokens = model, state_tokens
        self.encoder = PackedEncoder(model.reet) if encoder is None else encoder
        self.tokenizer = tokenizer
        self.progress = progress
        self.reader: Callable[[Sequence[Ids]], list[torch.Tensor]] = self.read_windows
        self._before, self._after = special_frame(tokenizer)
        self._capacity = model.config.window_tokens - len(self._before) - len(self._after)

    @cached_property
    def revision(self) -> str:
        """Hex digits that tell apart models and tokenizers: of configuration, vocabulary and some of each weight."""
        told = sha256(self.config.to_json_string().encode())
        told.update(
            f"{self.encoder.identity} {self.model.dtype} {type(self.tokenizer).__name__} {len(self.tokenizer)}".encode()
        )
        for name, weights in sorted(self.model.state_dict().items()):
            some = weights.detach().flatten()[:: max(1, weights.numel() // 64)].float().cpu().numpy()
            told.update(f"{name} {tuple(weights.shape)}".encode() + some.tobytes())
        return told.hexdigest()[:16]

    @property
    def config(self) -> Any:
        """The model's configuration."""
        return self.model.config

    def _empty(self) -> ScorerState:
        width = self.config.width if self.config.interaction == "late" else 0
        options = {"dtype": self.model.dtype, "device": self.model.device}
        states = StateRows(width, **options)
        if self.state_tokens is not None and width:
            states = BoundedRows(width, **options, bound=self.state_tokens)
        return ScorerState(
            states=states,
            prior=GrowingTensor(dtype=torch.float32, device=self.model.device),
            unit_states=StateRows(width, **options, bits=8),
        )

    def load(self, arrays: dict[str, np.ndarray], conversation: Conversation) -> ScorerState:
        """The state that `ScorerState.arrays` saved."""
        state = self._empty()
        state.fill(arrays)
        state.ages = np.array(conversation.ages(), dtype=np.int64)
        state.records = hold_records(conversation.messages, state.calls)
        return state

    def encode(self, conversation: Conversation, state: ScorerState | None = None) -> ScorerState:
        """Encode the messages that `state` does not have yet, and the open window before them again."""
        state = state or self._empty()
        known = len(state.tokens)
        first_unit = int(state.tokens.column("units")[-1]) + 1 if known else 0
        fresh = tokenize(conversation, self.tokenizer, state.messages, first_unit)
        if len(fresh):
            state.tokens.append(fresh)
            try:
                self._encode_open(state, fresh.words)
            except BaseException:
                state.tokens.truncate(known)
                raise
        state.records.extend(hold_records(conversation.messages[state.messages :], state.calls))
        state.messages = len(conversation.messages)
        state.ages = np.array(conversation.ages(), dtype=np.int64)
        return state

    @torch.inference_mode()
    def _encode_open(self, state: ScorerState, words: np.ndarray) -> None:
        """Read the windows that are not final; the state changes only when all of them were read.

        Args:
            state: With the tokens that are new.
            words: Of these.
        """
        ids, opened = state.tokens.column("ids"), state.closed
        windows = plan_windows(state.tokens.column("units"), self._capacity, opened)
        late = self.config.interaction == "late"
        for rows in (state.states, state.prior):
            rows.reserve(len(ids))
        total = len(ids) - opened
        with tqdm(total=total, desc="encoding", unit="tok", disable=not self.progress or len(windows) < 32) as bar:
            for batch in self._batches(windows):
                states = self._read(ids, batch)
                state.states.stage(batch[0][0], states if late else states[:, :0])
                state.prior.stage(batch[0][0], self.model.scorer.blind(states))
                bar.update(batch[-1][1] - batch[0][0])
        for rows in (state.states, state.prior):
            rows.publish(len(ids))
        state.closed = windows[-1][0]
        state.vocabulary.append(words)
        state.summarize_units(opened)
        if isinstance(state.states, BoundedRows):
            state.states.read_again = partial(self._read_again, ids)
            state.states.close(windows[:-1], state.prior.rows.cpu().numpy())

    def _read_again(self, ids: np.ndarray, windows: Sequence[tuple[int, int]]) -> Iterator[torch.Tensor]:
        """States of windows that were given up."""
        for batch in self._batches(windows):
            yield from self.reader([ids[start:end].tolist() for start, end in batch])

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
        hidden: Sequence[torch.Tensor]
        if query is None:
            hidden = self.encoder.read(framed)
        else:
            inputs = [part.to(self.model.device) for part in padded(framed, self.tokenizer.pad_token_id or 0)]
            hidden = self.model.read_together(*inputs, query=query)
        lead = len(self._before)
        return [states[lead : lead + len(row)] for states, row in zip(hidden, rows, strict=True)]

    @torch.inference_mode()
    def score(self, state: ScorerState, query: str | None = None, history: Sequence[Turn] = ()) -> TokenScores:
        """Importance of every token for `query`, read after the last turns of `history`.

        Without a query: what any later turn may need.
        """
        tokens = state.tokens
        body = tokens.column("starts") >= 0
        if not body.any():
            nowhere = np.zeros(0, dtype=np.int64)
            nothing = np.zeros(0, dtype=np.float32)
            return TokenScores(nowhere, nowhere, nowhere, nothing, nothing, nothing)
        rarity = state.vocabulary.rarity()[state.vocabulary.places.rows]
        context = TurnContext(
            units=self._tensor(tokens.column("units")),
            words=self._tensor(state.vocabulary.places.rows),
            vocabulary=self._tensor(state.vocabulary.identities.rows),
            rarity=self._tensor(rarity),
            ages=self._tensor(state.ages[tokens.column("messages")]),
            mentions=self._tensor(tokens.column("mentions")),
            lengths=self._tensor(state.lengths()),
        )
        prior_logits = self.model.scorer.prior(state.prior.rows.to(self.model.dtype), context)
        logits = self._importance(state, context, query, history) if query else prior_logits
        values = logits.float().cpu().numpy()
        chances = calibrated(values[body], self.config, asked=bool(query))
        prior = calibrated(prior_logits.float().cpu().numpy()[body], self.config, asked=False) if query else None
        if query:
            chances = np.maximum(chances, self._named(state, query)[body])
        messages, starts, ends = (tokens.column(n)[body].astype(np.int64) for n in ("messages", "starts", "ends"))
        return TokenScores(messages, starts, ends, values[body], chances, prior)

    def _importance(
        self, state: ScorerState, context: TurnContext, query: str, history: Sequence[Turn]
    ) -> torch.Tensor:
        """Logits of all tokens for a query, of shape `(tokens,)`."""
        if self.config.interaction == "cross":
            context.together = [self._together(state.table, query, history)]
            nothing = state.states.read(slice(0, len(state.tokens)))
            index = TokenIndex(nothing, nothing, state.prior.rows.to(self.model.dtype))
            return self.model.score(index, context).importance[:, -1]
        head, queries = self.model.scorer, self._queries(query, history)

        def look(rows: Rows, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return head.look(*state.states.take(rows), targets)

        def look_at_units(units: Rows, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return head.look(*state.unit_states.take(units), targets)

        if len(state.tokens) <= REFINED_TOKENS:
            return head.importance(look, context, queries)[:, -1]
        return head.coarse_to_fine(look, look_at_units, context, queries, REFINED_TOKENS)[:, -1]

    def _named(self, state: ScorerState, query: str) -> np.ndarray:
        """Chance of each token that its record is one that the query names, of shape `(tokens,)`."""
        tokens = state.tokens
        chances = np.zeros(len(tokens))
        units = tokens.column("units")
        rows = np.flatnonzero(np.array(state.records)[tokens.column("messages")] & (tokens.column("starts") >= 0))
        if not len(rows):
            return chances
        asked = [query, *(query[start:end] for start, end in sentences(query))]
        words = [
            np.array(query_tokens(part, self.tokenizer, self.config.query_tokens)[1]) for part in dict.fromkeys(asked)
        ]
        own = state.vocabulary.identities.rows[state.vocabulary.places.rows[rows]]
        records, found = named_records(units[rows], own, words)
        if len(records):
            place = np.minimum(np.searchsorted(records, units[rows]), len(records) - 1)
            chances[rows] = np.where(records[place] == units[rows], found[place], 0.0)
        return chances

    def _queries(self, query: str, history: Sequence[Turn]) -> Queries:
        """The query as one row; what was only read before it is left out."""
        ids, words = (column[0] for column in self._query(query, history))
        own = words >= 0
        states = self.encoder.read([ids.tolist()])[0]
        return Queries(states[own].unsqueeze(0), own[own].unsqueeze(0), words[own].unsqueeze(0))

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


def pool(scores: TokenScores, places: np.ndarray, values: np.ndarray | None = None) -> np.ndarray:
    """Mean of values of the scored spans that overlap each place, of shape `(places,)`.

    Args:
        scores: The scored spans.
        places: `(message, start, end)` of each place, of shape `(places, 3)`. One that overlaps no scored span gets
            the lowest value there is.
        values: Of the scored spans; default: their chances, where there are, else their importance.
    """
    if values is None:
        values = scores.importance if scores.chances is None else scores.chances
    if not len(places):
        return np.zeros(0)
    if not len(scores.starts):
        return np.full(len(places), 0.0 if scores.chances is None else 0.5)
    firsts, lasts = scores.bounds
    low = np.searchsorted(lasts, places[:, 0] * MESSAGE + places[:, 1], side="right")
    high = np.searchsorted(firsts, places[:, 0] * MESSAGE + places[:, 2], side="left")
    sums = np.concatenate(([0.0], np.cumsum(values, dtype=np.float64)))
    found = high > low
    means = (sums[np.maximum(high, low)] - sums[low]) / np.maximum(high - low, 1)
    return np.where(found, means, values.min())
