"""Budgets in tokens of the model that will read the result, counted with that model's own tokenizer."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import Any

import numpy as np

from .errors import ReetError

Offsets = tuple[int, int]


@dataclass(frozen=True)
class TokenCounter:
    """Counts tokens in one way.

    Attributes:
        name: How the counter is called in messages.
        counts: Tokens of each of several texts; what an empty text costs is part of every text's count.
        starts: First characters of the tokens of each of several texts, in order, where the tokenizer can tell.
        chat: Tokens of rendered chat messages with the chat template's overhead, where there is a template.
    """

    name: str
    counts: Callable[[Sequence[str]], list[int]]
    starts: Callable[[Sequence[str]], list[Sequence[int]]] | None = None
    chat: Callable[[Sequence[Mapping[str, Any]]], int] | None = None
    source: Any = field(default_factory=object)

    def is_same(self, other: TokenCounter | None) -> bool:
        """Whether both count alike: made of one object, or of one name."""
        if other is None or isinstance(self.source, str):
            return other is not None and self.source == other.source
        return self.source is other.source

    def count(self, text: str) -> int:
        """Tokens of one text."""
        return self.counts([text])[0]

    def costs(self, texts: Sequence[str], spans: Sequence[Sequence[Offsets]]) -> np.ndarray:
        """Estimated tokens of slices of texts, one after the other: exact up to what joins two slices.

        Args:
            texts: The whole texts.
            spans: For each text half-open characters, in order.
        """
        if not texts:
            return np.zeros(0, dtype=np.int64)
        if self.starts is None:
            slices = [text[start:end] for text, own in zip(texts, spans, strict=True) for start, end in own]
            empty, *counts = self.counts(["", *slices])  # special tokens come once, not with each slice
            return np.maximum(np.array(counts, dtype=np.int64) - empty, 0)
        found = []
        for starts, own in zip(self.starts(texts), spans, strict=True):
            borders = np.asarray(own, dtype=np.int64).reshape(-1, 2)
            places = np.searchsorted(np.asarray(starts, dtype=np.int64), borders)
            found.append(np.maximum(places[:, 1] - places[:, 0], 1))
        return np.concatenate(found)


def resolve_counter(tokenizer: Any, default: TokenCounter | None = None) -> TokenCounter:
    """A counter for what the caller named.

    Args:
        tokenizer: A Hugging Face tokenizer, its Hub id or folder; a tiktoken encoding or its name; a callable from
            text to a number of tokens; or `None` for `default`.
        default: The counter used for `None`.

    Raises:
        ReetError: If it is none of these or cannot be loaded.
    """
    if tokenizer is None and default is not None:
        return default
    if isinstance(tokenizer, TokenCounter):
        return tokenizer
    if isinstance(tokenizer, (str, os.PathLike)):
        return _named(str(tokenizer))
    if hasattr(tokenizer, "apply_chat_template"):
        return _hugging_face(tokenizer)
    if hasattr(tokenizer, "encode_ordinary") and hasattr(tokenizer, "decode_with_offsets"):
        return _tiktoken(tokenizer)
    if callable(tokenizer):
        return TokenCounter(getattr(tokenizer, "__name__", "callable"), partial(_called, tokenizer), source=tokenizer)
    raise ReetError(
        "`tokenizer` must be a Hugging Face tokenizer, its id or folder, a tiktoken encoding or its name, or a "
        f"callable from text to a number of tokens, got {type(tokenizer).__name__}."
    )


@lru_cache(maxsize=8)
def _named(name: str) -> TokenCounter:
    if not os.path.isdir(name):
        counter = _tiktoken_by_name(name)
        if counter is not None:
            return counter
    from transformers import AutoTokenizer

    try:
        return replace(_hugging_face(AutoTokenizer.from_pretrained(name)), source=name)
    except (OSError, ValueError) as error:
        raise ReetError(
            f"`tokenizer` must name a Hub repository, a folder or a tiktoken encoding that can be loaded, got {name!r} "
            f"({error.__class__.__name__}); pass a tokenizer object, or a folder when there is no network."
        ) from error


def _tiktoken_by_name(name: str) -> TokenCounter | None:
    try:
        import tiktoken
    except ImportError:
        return None
    if name not in tiktoken.list_encoding_names():
        return None
    try:
        return _tiktoken(tiktoken.get_encoding(name))
    except (OSError, ValueError) as error:
        raise ReetError(
            f"`tokenizer` names the tiktoken encoding {name!r}, whose vocabulary could not be fetched "
            f"({error.__class__.__name__}); set TIKTOKEN_CACHE_DIR to a filled cache or pass a tokenizer object."
        ) from error


def _called(function: Callable[[str], int], texts: Sequence[str]) -> list[int]:
    values = [function(text) for text in texts]
    for value in values:
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0:
            raise ReetError(f"`tokenizer` must return a number of tokens of at least 0, got {value!r} for a text.")
    return [int(value) for value in values]


def _hugging_face(tokenizer: Any) -> TokenCounter:
    def encode(texts: Sequence[str], **options: Any) -> Any:
        return tokenizer(list(texts), add_special_tokens=False, verbose=False, **options)

    def counts(texts: Sequence[str]) -> list[int]:
        return [len(ids) for ids in encode(texts)["input_ids"]] if texts else []

    def starts(texts: Sequence[str]) -> list[Sequence[int]]:
        mapped = encode(texts, return_offsets_mapping=True)["offset_mapping"] if texts else []
        return [[start for start, _ in offsets] for offsets in mapped]

    def rendered(messages: Sequence[Mapping[str, Any]]) -> int:
        return len(tokenizer.apply_chat_template(list(messages), tokenize=True, return_dict=False))

    def chat(messages: Sequence[Mapping[str, Any]]) -> int:
        if not messages:
            return 0
        try:
            return rendered(messages)
        except Exception as error:  # a template may raise anything about an order of roles that it does not know
            try:
                # a part of a valid conversation may break the template's alternation: message by message, with what
                # the template puts around each, never counts less
                return sum(rendered([_renderable(message)]) for message in messages)
            except Exception:
                raise ReetError(
                    f"The chat template of the counting tokenizer {tokenizer.name_or_path!r} cannot render these "
                    f"messages ({error}); pass a tokenizer whose template knows their roles, or a callable that counts "
                    "text."
                ) from error

    return TokenCounter(
        name=getattr(tokenizer, "name_or_path", "") or type(tokenizer).__name__,
        counts=counts,
        starts=starts if getattr(tokenizer, "is_fast", False) else None,
        chat=chat if getattr(tokenizer, "chat_template", None) else None,
        source=tokenizer,
    )


def _renderable(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """An assistant's message as a user's, which every template takes alone; any other message as it is."""
    return {**message, "role": "user"} if message["role"] == "assistant" else message


def _tiktoken(encoding: Any) -> TokenCounter:
    return TokenCounter(
        name=encoding.name,
        counts=lambda texts: [len(encoding.encode_ordinary(text)) for text in texts],
        starts=lambda texts: [encoding.decode_with_offsets(encoding.encode_ordinary(text))[1] for text in texts],
        source=encoding,
    )


def is_number(value: Any) -> bool:
    """Whether a value is an integer or a float, of Python or NumPy, and no truth value."""
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, (bool, np.bool_))


def resolve_limit(budget: Any, original: int) -> int:
    """Tokens that may be used: an integer as it is, a rate as that share of `original`, rounded down.

    Args:
        budget: A float in (0, 1] or an integer of at least 1.
        original: Tokens of the whole input.

    Raises:
        ReetError: If it is neither.
    """
    if not is_number(budget):
        raise ReetError(
            f"`budget` must be a float in (0, 1] or an integer number of tokens, got {budget!r} "
            f"({type(budget).__name__})."
        )
    if isinstance(budget, (int, np.integer)):
        if budget < 1:
            raise ReetError(f"`budget` must be at least 1 token, got {budget}; the smallest is 1.", floor=1)
        return int(budget)
    if math.isnan(budget) or not 0.0 < budget <= 1.0:
        raise ReetError(
            f"`budget` as a float is a keep rate in (0, 1], got {budget!r}; give an integer for a number of tokens.",
            floor=1,
        )
    return math.floor(float(budget) * original + 1e-9)
