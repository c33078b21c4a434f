"""Configuration of the REET models."""

from __future__ import annotations

from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

TYPES = ("PERSON", "ORGANIZATION", "LOCATION", "DATE", "NUMBER", "EVENT", "WORK", "PRODUCT", "OTHER")
CHANNELS = (*((kind, name) for kind in ("named", "nominal", "term") for name in TYPES), ("argument", "OTHER"))
"""Kind and type. A name, number or date; a description ("the old man"); a technical term; an argument of a verb."""
FACT_KINDS = ("relation", "clause")

INTERACTIONS = ("late", "cross")
SIZES = (
    "token_dim",
    "unit_dim",
    "window_tokens",
    "query_tokens",
    "extraction_dim",
    "span_dim",
    "entity_words",
    "fact_words",
)


@strict
class ReetConfig(PreTrainedConfig):
    """Architecture of `ReetModel` and its heads.

    Args:
        encoder_config: Configuration of any encoder that `AutoModel` builds; a small BERT if left out.
        projection_dim: Width of the cached token states; `None` keeps the encoder's own width and geometry.
        token_dim: Width of the head's part that runs over every token at every turn.
        unit_dim: Width of its part that runs over sentences.
        window_tokens: Tokens of one encoder window, special tokens included.
        query_tokens: Tokens of a query that are read, special tokens included.
        history_turns: Earlier queries and answers that the encoder reads before a query.
        history_tokens: Tokens of them that are read.
        dropout: Dropout probability in the head.
        lexical_match: Whether the head sees which words of a query a token or sentence repeats.
        neighbours: Sentences on either side that a sentence's part of the score sees.
        interaction: `late`: query and text meet after the encoder, whose states are cached. `cross`: the encoder reads
            `[CLS] earlier turns, query [SEP] context [SEP]` anew for every query.
        entity_gate: Whether tokens of names, numbers and the like weigh more by a learned factor.
        extraction: Whether `ReetForCompression` has an extraction head.
        extraction_dim: Width of the extraction head's view of a word.
        span_dim: Width of its views of a span's ends.
        entity_words: Words of the longest entity that is found.
        fact_words: Words of the longest fact.
        channels: Kind and type of entity mentions that are told apart: `[["named", "PERSON"], ...]`.
        fact_kinds: Ways of marking facts that are told apart.
        importance_scale: Factor of an importance logit in the Platt scaling (Platt, 1999) that makes a chance of it.
        importance_shift: What is added to it.
        prior_scale: Factor of a prior logit in the same.
        prior_shift: What is added to it.
    """

    model_type = "reet"
    sub_configs = {"encoder_config": AutoConfig}  # type: ignore[dict-item]

    encoder_config: dict | PreTrainedConfig | None = None
    projection_dim: int | None = None
    token_dim: int = 64
    unit_dim: int = 192
    window_tokens: int = 256
    query_tokens: int = 64
    history_turns: int = 0
    history_tokens: int = 96
    dropout: float = 0.1
    lexical_match: bool = False
    neighbours: int = 0
    entity_gate: bool = False
    interaction: str = "late"
    extraction: bool = False
    extraction_dim: int = 256
    span_dim: int = 48
    entity_words: int = 16
    fact_words: int = 40
    channels: list[list[str]] | None = None
    fact_kinds: list[str] | None = None
    importance_scale: float = 1.0
    importance_shift: float = 0.0
    prior_scale: float = 1.0
    prior_shift: float = 0.0

    def __post_init__(self, **kwargs):
        if not type(self).__module__.startswith("transformers_modules."):
            # keys of a published folder for users without the package; here they would ask for trust_remote_code
            kwargs = {key: value for key, value in kwargs.items() if key not in ("auto_map", "custom_pipelines")}
        if self.encoder_config is None:
            self.encoder_config = CONFIG_MAPPING["bert"]()
        elif isinstance(self.encoder_config, dict):
            fields = dict(self.encoder_config)
            self.encoder_config = CONFIG_MAPPING[fields.pop("model_type", "bert")](**fields)
        if self.channels is None:
            self.channels = [list(channel) for channel in CHANNELS]
        if self.fact_kinds is None:
            self.fact_kinds = list(FACT_KINDS)
        super().__post_init__(**kwargs)

    @property
    def encoder(self) -> Any:
        """The encoder's configuration, whose class depends on the encoder."""
        return self.encoder_config

    @property
    def mention_kinds(self) -> list[str]:
        """Kinds of mention, in the order of `channels`."""
        return list(dict.fromkeys(kind for kind, _ in self.channels or ()))

    @property
    def width(self) -> int:
        """Width of a token state."""
        return self.projection_dim or self.encoder.hidden_size

    def validate_sizes(self):
        """Every size must be positive, and a window must fit the encoder's positions."""
        for name in SIZES:
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, got {getattr(self, name)}.")
        for name in ("history_turns", "history_tokens", "neighbours"):
            if getattr(self, name) < 0:
                raise ValueError(f"`{name}` must be at least 0, got {getattr(self, name)}.")
        if self.projection_dim is not None and self.projection_dim < 1:
            raise ValueError(f"`projection_dim` must be at least 1 or None, got {self.projection_dim}.")
        if self.interaction not in INTERACTIONS:
            raise ValueError(f"`interaction` must be one of {', '.join(INTERACTIONS)}, got {self.interaction!r}.")
        if self.interaction == "cross" and self.extraction:
            raise ValueError("`extraction` reads cached states, so `interaction` must be 'late' with it, got 'cross'.")
        positions = getattr(self.encoder_config, "max_position_embeddings", None)
        history = self.history_tokens if self.history_turns else 0
        query = self.query_tokens + history
        together = self.interaction == "cross"
        longest = self.window_tokens + query if together else max(self.window_tokens, query)
        if positions is not None and longest > positions:
            raise ValueError(
                f"`window_tokens` ({self.window_tokens}) and `query_tokens` ({self.query_tokens}) with "
                f"`history_tokens` ({history}) must not exceed the encoder's {positions} positions"
                f"{', together' if together else ''}."
            )
