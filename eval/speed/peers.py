"""Other compressors at their own size with random weights: how long they take does not depend on what the weights say.

LLMLingua-2 runs through its own package. Its vocabularies cannot be had without a network, so both models read REET's,
filled up to the size of theirs: fewer tokens a text than their own would make, which is in their favour.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import (
    AutoModelForTokenClassification,
    AutoTokenizer,
    BertConfig,
    BertForTokenClassification,
    PreTrainedTokenizerFast,
    XLMRobertaConfig,
    XLMRobertaForTokenClassification,
)

from eval.speed import subject
from eval.speed.material import Messages
from eval.speed.names import BM25, LARGE, REET, SMALL
from eval.systems import llmlingua2
from eval.systems.base import QueryRequired
from eval.systems.bm25 import Bm25
from eval.systems.cross_encoder import CrossEncoder
from reet_hf import ReetConfig
from reet_hf.budget import resolve_counter
from reet_hf.registration import bundled_model

RATE = 0.33  # of the tokens that is kept
SHAPES: dict[str, dict[str, Any]] = {
    LARGE: {
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
        "vocab_size": 250_002,
        "max_position_embeddings": 514,
    },
    SMALL: {
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
        "vocab_size": 119_547,
        "max_position_embeddings": 512,
    },
}
SPECIAL = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>", "mask_token": "<mask>"}
PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"

Compress = Callable[[Messages, str], float]


def save_random(name: str, folder: Path, model: str, shape: dict[str, Any] | None = None) -> None:
    """Write random weights of a peer's shape with a tokenizer to a folder.

    Args:
        name: `LARGE` or `SMALL`.
        folder: Where to.
        model: Checkpoint of REET whose vocabulary is used.
        shape: Another shape than that of `SHAPES`.
    """
    shape = SHAPES[name] if shape is None else shape
    torch.manual_seed(0)
    own = AutoTokenizer.from_pretrained(bundled_model(model))
    if name == LARGE:
        made: Any = XLMRobertaForTokenClassification(XLMRobertaConfig(type_vocab_size=1, **shape))
        _with_space_signs(own, shape["vocab_size"]).save_pretrained(folder)
    else:
        made = BertForTokenClassification(BertConfig(**shape))
        _as_it_is(own, shape["vocab_size"]).save_pretrained(folder)
    made.save_pretrained(folder)


def _with_space_signs(own: Any, size: int) -> PreTrainedTokenizerFast:
    """The same pieces as SentencePiece writes them: a sign before the first of a word, none before the others."""
    known = [piece for piece in own.get_vocab() if piece not in own.all_special_tokens]
    pieces = [piece.removeprefix("##") if piece.startswith("##") else f"▁{piece}" for piece in known]
    whole = list(dict.fromkeys([*SPECIAL.values(), "▁", *PUNCTUATION, *pieces]))
    vocabulary = {piece: number for number, piece in enumerate(_filled(whole, size))}
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token="<unk>", continuing_subword_prefix=""))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    return PreTrainedTokenizerFast(tokenizer_object=backend, cls_token="<s>", sep_token="</s>", **SPECIAL)


def _as_it_is(own: Any, size: int) -> PreTrainedTokenizerFast:
    """The same vocabulary, filled up."""
    ordered = sorted(own.get_vocab(), key=own.get_vocab().__getitem__)
    vocabulary = {piece: number for number, piece in enumerate(_filled(ordered, size))}
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.BertPreTokenizer(), decoders.WordPiece()
    names = ("unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
    return PreTrainedTokenizerFast(tokenizer_object=backend, **{name: getattr(own, name) for name in names})


def _filled(pieces: list[str], size: int) -> list[str]:
    """Pieces, and as many more that stand in no text as make up the size of a vocabulary."""
    return [*pieces, *(f"\x00{number}" for number in range(size - len(pieces)))]


def build(name: str, model: str, folder: Path) -> Compress:
    """What compresses messages for a query to `RATE` of their tokens and returns the seconds that it took.

    Args:
        name: One of `names.NAMES`.
        model: Checkpoint of REET.
        folder: Where `save_random` wrote the peer's weights, if it has any there.
    """
    if name == REET:
        pipeline = subject.load(model)
        return lambda messages, query: _seconds(lambda: pipeline({"messages": messages, "query": query}, budget=RATE))
    tokenizer = AutoTokenizer.from_pretrained(bundled_model(model))
    counter = resolve_counter(tokenizer)
    if name in SHAPES:
        system = llmlingua2.build(counter, model=str(folder))

        def shorten(messages: Messages, query: str) -> float:
            text = system.open(messages).source.text
            return _seconds(lambda: system.shorten(text, None, RATE))

        return shorten
    if name == BM25:
        ranker = QueryRequired(Bm25(), counter)
    else:
        config = ReetConfig.from_pretrained(bundled_model(model)).encoder
        config.num_labels = 2
        torch.manual_seed(0)
        judge = AutoModelForTokenClassification.from_config(config, dtype=torch.float32).eval()
        ranker = QueryRequired(CrossEncoder(judge, tokenizer), counter)
    return lambda messages, query: _seconds(lambda: ranker.compress(ranker.open(messages), query, (), [RATE]))


def _seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
