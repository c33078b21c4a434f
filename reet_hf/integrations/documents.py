"""Several texts under one budget, each coming back by itself: what retrievers of any library need."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch

from ..conversation import parse_request
from ..rendering import joined
from .loading import compressor_of

PROCESS = os.getpid()  # that this module was imported in


@dataclass(frozen=True)
class KeptText:
    """What is kept of one text.

    Attributes:
        place: Number of the text among those given.
        text: Its kept pieces, joined.
        spans: Half-open characters of each piece in the given text.
        importance: The highest chance among the pieces.
    """

    place: int
    text: str
    spans: tuple[tuple[int, int], ...]
    importance: float


def compress_texts(
    texts: Sequence[str], query: str | None, budget: float | int, compress: Any = None, **options: Any
) -> list[KeptText]:
    """What is kept of texts that share a budget, in their order; texts of which nothing is kept are left out.

    Args:
        texts: Each a document of its own.
        query: What they were retrieved for.
        budget: Tokens, or a keep rate, of all of them together.
        compress: A `reet-compression` pipeline or a `Compressor`; the bundled weights if left out.
        **options: Any other option of a compression.

    Raises:
        ReetError: If the budget or an option cannot be honoured.
        TypeError: For an unknown option.
    """
    if not texts:
        return []
    request = parse_request({"context": list(texts), "query": query})
    compressor = compressor_of(compress)
    out = compressor.compress_turn(compressor.encode(request.conversation), request.query, budget=budget, **options)
    kept = []
    for place, own in groupby(out.pieces, key=lambda piece: piece.message):
        pieces = list(own)
        spans = tuple((piece.start, piece.end) for piece in pieces)
        text = joined(request.conversation.messages[place], spans)
        kept.append(KeptText(place, text, spans, max(piece.importance for piece in pieces)))
    return kept


def compress_batch(
    batch: Mapping[str, Sequence[Any]],
    budget: float | int,
    column: str = "messages",
    query: str | None = None,
    output: str = "compressed",
    compress: Any = None,
    **options: Any,
) -> dict[str, list[Any]]:
    """A new column for `datasets.Dataset.map(..., batched=True)`: each row's text or messages compressed.

    With `num_proc` each process works with one thread.

    Args:
        batch: Columns by name.
        budget: Tokens, or a keep rate, of each row.
        column: Where the inputs are: strings, or lists of messages.
        query: The column of the queries, if there is one.
        output: The name of the new column; texts become texts, messages messages, and `None` stays.
        compress: A `reet-compression` pipeline or a `Compressor`; the bundled weights if left out.
        **options: Any other option of a compression.
    """
    if os.getpid() != PROCESS:  # a fork, as of `num_proc`: torch's threads are not there, and would be waited for
        torch.set_num_threads(1)
    compressor = compressor_of(compress)
    queries = batch[query] if query else [None] * len(batch[column])
    found: list[Any] = []
    for value, asked in zip(batch[column], queries, strict=True):
        if value is None:
            found.append(None)
        elif isinstance(value, str):
            found.append(compressor.compress({"context": value, "query": asked}, budget=budget, **options).text)
        else:
            made = compressor.compress({"messages": _filled(value), "query": asked}, budget=budget, **options)
            found.append([dict(message) for message in made.messages])
    return {output: found}


def _filled(value: Any) -> Any:
    """Messages without the fields that others of the column have, which a data set fills with `None`."""
    if isinstance(value, Mapping) or not isinstance(value, Iterable):
        return value
    return [
        {name: part for name, part in each.items() if part is not None} if isinstance(each, Mapping) else each
        for each in value
    ]
