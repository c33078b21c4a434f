"""REET models: a query-blind encoder whose token states are cached, and a turn-aware head over them.

Late interaction follows ColBERT (arXiv:2004.12832): query and text meet only after the encoder. All scores are
logits; higher means kept first.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import AutoModel, PreTrainedModel
from transformers.utils import ModelOutput

from .checkpoints import find_adapter, load_adapted
from .configuration_reet import ReetConfig
from .cross_head import CrossHead
from .extraction_head import EXTRACTION_LOSSES, ExtractionHead, Words, entity_loss, fact_loss, link_loss
from .scoring_loss import LOSS_WEIGHTS, scoring_loss
from .turn_head import Queries, TokenIndex, TurnContext, TurnHead, TurnScores


@dataclass
class ReetModelOutput(ModelOutput):
    """Token states of shape `(windows, tokens, width)`: what is cached for the life of a conversation."""

    token_states: torch.Tensor | None = None


@dataclass
class ReetScoringOutput(ModelOutput):
    """Scores of a batch of conversations, padded with zeros.

    Attributes:
        loss: Scalar, where labels were given.
        prior: Query-blind importance, of shape `(conversations, tokens)`.
        importance: Importance for each query, of shape `(conversations, queries, tokens)`.
        token_states: What the scores were made from, of shape `(windows, window_tokens, width)`.
    """

    loss: torch.Tensor | None = None
    prior: torch.Tensor | None = None
    importance: torch.Tensor | None = None
    token_states: torch.Tensor | None = None


@dataclass
class ReetExtractionOutput(ModelOutput):
    """Scores of a batch of windows.

    Attributes:
        loss: Scalar, where labels were given.
        entities: Logits of spans by first word and width, of shape `(windows, words, entity_words, channels)`.
        facts: Logits of what is said of each subject, `(windows, subjects, words, fact_words)`, if there are subjects.
        links: Logits of the subject of each fact of the labels, `(windows, facts, subjects)`.
    """

    loss: torch.Tensor | None = None
    entities: torch.Tensor | None = None
    facts: torch.Tensor | None = None
    links: torch.Tensor | None = None


class ReetPreTrainedModel(PreTrainedModel):
    """Loading, saving and initialisation shared by all REET models."""

    config_class = ReetConfig
    base_model_prefix = "reet"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *model_args: Any, **kwargs: Any) -> Any:
        """The model of a folder or Hub id; of an adapter, its base with the adapter merged in."""
        adapter = find_adapter(pretrained_model_name_or_path, kwargs)
        if adapter is None:
            return super().from_pretrained(pretrained_model_name_or_path, *model_args, **kwargs)
        whole: Any = ReetForTokenScoring if issubclass(cls, ReetModel) else cls  # adapters are of models with a head
        model = load_adapted(whole, pretrained_model_name_or_path, adapter, kwargs)
        return model if whole is cls else model.reet

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, TurnHead | CrossHead | ExtractionHead):
            module.reset_parameters()


class ReetModel(ReetPreTrainedModel):
    """The encoder, and a projection of its states where the configuration asks for one."""

    def __init__(self, config: ReetConfig) -> None:
        super().__init__(config)
        encoder_class: Any = AutoModel._model_mapping[type(config.encoder)]
        poolable = "add_pooling_layer" in inspect.signature(encoder_class).parameters
        options = {"add_pooling_layer": False} if poolable else {}
        self.encoder = AutoModel.from_config(config.encoder, **options)
        self.projection = (
            nn.Linear(config.encoder.hidden_size, config.projection_dim) if config.projection_dim else None
        )
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """The encoder's word embeddings."""
        return self.encoder.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the encoder's word embeddings."""
        self.encoder.set_input_embeddings(value)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, **kwargs) -> ReetModelOutput:
        """Token states of windows.

        Args:
            input_ids: Vocabulary ids with special tokens, of shape `(windows, tokens)`.
            attention_mask: 1 for tokens, 0 for padding, of the same shape.
            **kwargs: What else the encoder takes.
        """
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask, **kwargs).last_hidden_state
        return ReetModelOutput(token_states=self.projection(states) if self.projection is not None else states)


class ReetForTokenScoring(ReetPreTrainedModel):
    """Turn-aware importance of every token of conversations, for each of their queries.

    Attributes:
        loss_weights: Of each term of `turn_head.scoring_loss`; a choice of training that is not saved.
    """

    def __init__(self, config: ReetConfig) -> None:
        super().__init__(config)
        self.loss_weights = dict(LOSS_WEIGHTS)
        self.reet = ReetModel(config)
        self.scorer = CrossHead(config) if config.interaction == "cross" else TurnHead(config)
        self.post_init()

    def index(self, token_states: torch.Tensor) -> TokenIndex:
        """What the head reads of a token at every turn, computed once from states of shape `(tokens, width)`."""
        return self.scorer.index(token_states)

    def read(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, words: torch.Tensor) -> Queries:
        """Queries of shape `(queries, tokens)`, as all three arguments are.

        Tokens with a negative word are what was only read before a query: they change its states and are left out.
        """
        states = self.reet(input_ids, attention_mask).token_states
        own = attention_mask.bool() & (words >= 0)
        order = own.long().argsort(dim=-1, descending=True, stable=True)[:, : int(own.sum(-1).max())]
        return Queries(states.take_along_dim(order.unsqueeze(-1), 1), own.gather(1, order), words.gather(1, order))

    def read_together(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
        """States of windows as the encoder reads them behind a query, of shape `(windows, window_tokens, width)`.

        Args:
            input_ids: Windows with special tokens, of shape `(windows, window_tokens)`.
            attention_mask: Of the same shape.
            query: Its ids with special tokens, of shape `(query_tokens,)`.
        """
        asked = query.expand(len(input_ids), -1)
        ids = torch.cat((asked, input_ids[:, 1:]), 1)
        mask = torch.cat((torch.ones_like(asked), attention_mask[:, 1:]), 1)
        options = {}
        if getattr(self.config.encoder, "type_vocab_size", 0) > 1:
            options["token_type_ids"] = torch.cat((torch.zeros_like(asked), torch.ones_like(input_ids[:, 1:])), 1)
        return self.reet(ids, mask, **options).token_states[:, len(query) - 1 :]

    def score(self, index: TokenIndex, context: TurnContext) -> TurnScores:
        """Scores of one conversation's cached tokens for the queries of `context`."""
        return self.scorer(index, context)

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        token_positions: torch.Tensor,
        token_units: torch.Tensor,
        token_words: torch.Tensor,
        token_rarity: torch.Tensor,
        token_ages: torch.Tensor,
        token_mentions: torch.Tensor,
        query_ids: torch.Tensor | None = None,
        query_words: torch.Tensor | None = None,
        relevance_labels: torch.Tensor | None = None,
        prior_labels: torch.Tensor | None = None,
        **kwargs,
    ) -> ReetScoringOutput:
        """Scores of conversations, all windows of which are encoded in one pass.

        Args:
            input_ids: Windows of all conversations, of shape `(windows, window_tokens)`.
            attention_mask: Of the same shape.
            token_positions: Places of a conversation's tokens in the flattened windows, in reading order, -1 for
                padding, of shape `(conversations, tokens)`; the other `token_*` arguments share the shape.
            token_units: Sentence number of each token, never falling.
            token_words: Word identities, 0 for none.
            token_rarity: How rare the word is in its conversation, in [0, 1].
            token_ages: Age of each token's message in turns.
            token_mentions: 1 for tokens of names, numbers and the like.
            query_ids: Queries, of shape `(conversations, queries, query_tokens)`, padded with -1; rows of -1 alone
                are no query.
            query_words: Word identities of the same shape, negative for what is only read before a query.
            relevance_labels: Targets in [0, 1], -1 for ignored, of shape `(conversations, queries, tokens)`.
            prior_labels: Targets in [0, 1], -1 for ignored, of shape `(conversations, tokens)`.
        """
        token_states = self.reet(input_ids, attention_mask).token_states
        states = token_states.flatten(0, 1)
        together = self.config.interaction == "cross"
        queries = None if together else self._queries(query_ids, query_words)
        outputs, losses = [], []
        for row, positions in enumerate(token_positions):
            real = positions >= 0
            vocabulary, words = torch.unique(token_words[row][real], return_inverse=True)
            context = TurnContext(
                units=token_units[row][real],
                words=words,
                vocabulary=vocabulary,
                rarity=token_rarity[row][real],
                ages=token_ages[row][real],
                mentions=token_mentions[row][real],
            )
            if queries is not None:
                context.queries = queries[row]
            if together and query_ids is not None:
                own, places = _windows_of(positions[real], input_ids.shape[1])
                read = (
                    self.read_together(input_ids[own], attention_mask[own], ids[ids >= 0])
                    if (ids >= 0).any()
                    else token_states[own]  # a row of padding, whose column nothing reads
                    for ids in query_ids[row]
                )
                context.together = [found.flatten(0, 1)[places] for found in read]
            scores = self.score(self.index(states[positions[real]]), context)
            outputs.append(scores)
            if relevance_labels is not None and prior_labels is not None:
                targets = relevance_labels[row][:, real]
                prior_targets = prior_labels[row][real]
                losses.append(scoring_loss(scores, context.units, targets, prior_targets, self.loss_weights))
        return ReetScoringOutput(
            loss=torch.stack(losses).mean() if losses else None,
            prior=_padded([scores.prior for scores in outputs], token_positions.shape[1]),
            importance=_padded([scores.importance.T for scores in outputs], token_positions.shape[1]),
            token_states=token_states,
        )

    def _queries(self, ids: torch.Tensor | None, words: torch.Tensor | None) -> list[Queries] | None:
        """The queries of each conversation, given as `(conversations, queries, tokens)`, -1 for padding."""
        if ids is None or words is None or ids.numel() == 0:
            return None
        flat = ids.flatten(0, 1)
        mask = flat >= 0
        real = mask.any(-1, keepdim=True)
        # a row of padding alone would make attention divide by zero; its first place is read and ignored
        readable = mask.index_fill(1, torch.zeros(1, dtype=torch.long, device=mask.device), True)
        padding = self.config.encoder.pad_token_id or 0
        read = self.read(flat.where(mask, padding), readable.long(), words.flatten(0, 1))
        parts = (part.unflatten(0, ids.shape[:2]) for part in (read.states, read.mask & real, read.words))
        return [Queries(*row) for row in zip(*parts, strict=True)]


class ExtractionMixin:
    """What a model with a backbone `reet` and an extraction head `extractor` says of windows."""

    reet: ReetModel
    extractor: ExtractionHead
    extraction_weights: dict[str, float]

    def extract(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        word_first: torch.Tensor,
        word_last: torch.Tensor,
        word_shapes: torch.Tensor,
        word_units: torch.Tensor,
        subjects: torch.Tensor | None = None,
        fact_kinds: torch.Tensor | None = None,
        channel_groups: torch.Tensor | None = None,
        entity_labels: torch.Tensor | None = None,
        fact_labels: torch.Tensor | None = None,
        **kwargs,
    ) -> ReetExtractionOutput:
        """Logits of all spans and, with labels, their loss.

        Args:
            input_ids: Windows of shape `(windows, window_tokens)`.
            attention_mask: Of the same shape.
            word_first: Place of each word's first token in its window, -1 for padding, of shape `(windows, words)`; the
                other `word_*` arguments share the shape.
            word_last: Place of its last token.
            word_shapes: How it is written, see `windows.word_shape`.
            word_units: Number of its sentence, never falling.
            subjects: First and last word of mentions, -1 for padding, of shape `(windows, subjects, 2)`.
            fact_kinds: How facts are marked in each window, -1 if they are not, of shape `(windows,)`.
            channel_groups: Group of each channel in a window's guide, -1 for none, of shape `(windows, channels)`.
            entity_labels: First word, last word and group, -1 for what trains nothing, -2 for padding, of shape
                `(windows, entities, 3)`.
            fact_labels: First and last word of a subject, then of a fact, -1 for padding, `(windows, facts, 4)`.
        """
        mask = word_first >= 0
        words = Words(word_first.clamp(min=0), word_last, word_shapes, word_units, mask)
        states = nn.functional.normalize(self.reet(input_ids, attention_mask).token_states, dim=-1)
        known = self.extractor.read(states, words)
        entities = self.extractor.entities(known, mask)
        output = ReetExtractionOutput(entities=entities)
        losses = {}
        if entity_labels is not None and channel_groups is not None:
            losses["entity"] = entity_loss(entities, channel_groups, entity_labels, mask)
        if subjects is not None and fact_kinds is not None and subjects.shape[1]:
            inside = subjects.clamp(min=0)
            output.facts = self.extractor.facts(known, words, subjects, fact_kinds.clamp(min=0))
            if fact_labels is not None and fact_labels.shape[1]:
                output.links = self.extractor.links(known, words, inside, fact_labels[..., 2:].clamp(min=0))
                marked = mask & (fact_kinds >= 0).unsqueeze(-1)
                losses["fact"] = fact_loss(output.facts, subjects, fact_labels, marked)
                losses["link"] = link_loss(output.links, subjects, fact_labels)
        if losses:
            output.loss = torch.stack([self.extraction_weights[name] * loss for name, loss in losses.items()]).sum()
        return output


class ReetForEntityExtraction(ExtractionMixin, ReetPreTrainedModel):
    """Entity spans, facts of given subjects and the subjects of given facts, in windows of text.

    Attributes:
        extraction_weights: Of each term of the loss; a choice of training that is not saved.
    """

    def __init__(self, config: ReetConfig) -> None:
        super().__init__(config)
        self.extraction_weights = dict(EXTRACTION_LOSSES)
        self.reet = ReetModel(config)
        self.extractor = ExtractionHead(config)
        self.post_init()

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **windows) -> ReetExtractionOutput:
        """Logits of all spans and, with labels, their loss; see `ExtractionMixin.extract` for the arguments."""
        return self.extract(input_ids, attention_mask, **windows)


class ReetForCompression(ExtractionMixin, ReetForTokenScoring):
    """All task heads on one encoder pass: what the pipelines load.

    Attributes:
        extraction_weights: Of each term of the extraction loss; a choice of training that is not saved.
    """

    def __init__(self, config: ReetConfig) -> None:
        super().__init__(config)
        if config.extraction:
            self.extraction_weights = dict(EXTRACTION_LOSSES)
            self.extractor = ExtractionHead(config)
            self.post_init()

    def forward(  # type: ignore[override]
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        extraction: dict[str, torch.Tensor] | None = None,
        **batch,
    ) -> ReetScoringOutput | ReetExtractionOutput:
        """Scores of conversations, or of windows where the batch has words; see the other two models.

        With `extraction`, a batch of windows, the loss is that of both batches.
        """
        if "word_first" in batch:
            return self.extract(input_ids, attention_mask, **batch)
        output = super().forward(input_ids, attention_mask, **batch)
        if extraction is not None and output.loss is not None:
            other = self.extract(**extraction).loss
            output.loss = output.loss if other is None else output.loss + other
        return output


def _windows_of(positions: torch.Tensor, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The windows that tokens stand in, and where in these they do when only they are flattened."""
    own, inverse = torch.unique(positions // width, return_inverse=True)
    return own, inverse * width + positions % width


def _padded(rows: list[torch.Tensor], tokens: int) -> torch.Tensor:
    """Rows of differing last length as one tensor, zeros behind each."""
    return torch.stack([nn.functional.pad(row, (0, tokens - row.shape[-1])) for row in rows])
