"""Models that tests share: tiny ones made from a configuration, and the bundled weights."""

from __future__ import annotations

import os
import random
import socket
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
# OpenVINO 2026.4 gives NaN or crashes with AMX at the sizes of tiny models on one thread
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoModel, BertConfig, PreTrainedTokenizerFast

from reet_hf import ReetConfig, ReetForCompression

ROOT = Path(__file__).resolve().parent.parent
THREADS = torch.get_num_threads()
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


@pytest.fixture(autouse=True, scope="module")
def same_threads():
    """As many threads for each file: scripts that tests call set them, and rounding depends on them."""
    torch.set_num_threads(THREADS)


def laid_out(messages: list[list[str]], end: str = " ") -> tuple[list[str], np.ndarray]:
    """Texts of messages of units, and `(message, start, end)` of each unit, of shape `(units, 3)`."""
    texts, places = [], []
    for number, units in enumerate(messages):
        text = ""
        for unit in units:
            places.append((number, len(text), len(text) + len(unit)))
            text += unit + end
        texts.append(text)
    return texts, np.array(places, dtype=np.int64).reshape(-1, 3)


def make_tokenizer() -> PreTrainedTokenizerFast:
    """A fast WordPiece tokenizer that knows single letters and a few words."""
    words = ["the", "visa", "expires", "in", "june", "when", "does", "order", "user", "assistant", ":", ".", "?", ","]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words, *LETTERS, *(f"##{c}" for c in LETTERS)]
    tokenizer = Tokenizer(models.WordPiece({word: number for number, word in enumerate(vocabulary)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


SIZES = {"window_tokens": 32, "query_tokens": 24, "history_tokens": 40, "token_dim": 16, "unit_dim": 24}


def make_config(vocabulary: int, **options) -> ReetConfig:
    """A configuration small enough to train in a test."""
    encoder = BertConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    parts = {"lexical_match": True, "neighbours": 2, "entity_gate": True, "history_turns": 3}
    return ReetConfig(encoder_config=encoder, **{**SIZES, **parts, **options})


CITIES = ["rome", "oslo", "lima", "cairo", "paris", "delhi"]


def city_rows(count: int, license: str = "CC BY 4.0") -> list[dict]:
    """Conversations in which each friend says where the order is, and a question for each."""
    made = []
    for number in range(count):
        messages, questions = [], []
        for friend in range(5):
            city = CITIES[(number + 2 * friend) % len(CITIES)]
            text = f"the visa {friend} expires in june. the order {friend} is in {city}. when does the visa expires?"
            start = text.index(city)
            span = {"message": friend, "start": start, "end": start + len(city)}
            sentence = {"message": friend, "start": text.index("the order"), "end": start + len(city) + 1}
            messages.append({"role": "user", "name": f"friend {friend}", "content": text})
            question = {"question": f"where is the order {friend}?", "answers": [city], "kind": "extractive"}
            questions.append({**question, "answer_spans": [span], "evidence": [sentence]})
        made.append(
            {"id": f"r{number}", "source": "test", "license": license, "messages": messages, "questions": questions}
        )
    return made


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return make_tokenizer()


@pytest.fixture(scope="session")
def encoder(tokenizer, tmp_path_factory) -> Path:
    """A folder with an untrained encoder and its tokenizer."""
    folder = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(0)
    AutoModel.from_config(make_config(len(tokenizer)).encoder).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_model(tokenizer) -> ReetForCompression:
    torch.manual_seed(0)
    return ReetForCompression(make_config(len(tokenizer))).eval()


@pytest.fixture(scope="session")
def tiny_folder(tiny_model, tokenizer, tmp_path_factory) -> Path:
    """A saved tiny model."""
    folder = tmp_path_factory.mktemp("tiny-reet")
    tiny_model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def compress(tiny_folder):
    """The pipeline over the tiny model."""
    from transformers import pipeline

    return pipeline("reet-compression", model=str(tiny_folder))


@pytest.fixture(scope="session")
def bundled() -> Path:
    """Folder of the bundled weights."""
    return ROOT / "reet" / "reet-base"


def in_two_processes(port: str, *argv: str) -> tuple[list[str], dict[str, str]]:
    """Command and environment of a script and its arguments, or of `-m` and a module, in two CPU processes.

    They are started by torch's own launcher, as `accelerate launch` ends up doing it: tests/test_training.py and
    tests/test_many_processes.py go that way, with two more processes that import everything.
    """
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", port, *argv]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    environment.pop("WORLD_SIZE", None)
    return command, environment


@pytest.fixture
def free_port() -> str:
    """A port of this machine that nobody listens on, none that the system hands out to connections meanwhile."""
    for port in random.sample(range(20_000, 30_000), 100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return str(port)
    raise OSError("every port that was tried is taken")
