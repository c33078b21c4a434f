"""Peers through their own packages, with tiny random weights: places, measures and clear errors, not quality."""

from __future__ import annotations

import importlib
import json
import sys

import numpy as np
import pytest
import torch
from conftest import make_tokenizer
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import (
    BertConfig,
    BertForTokenClassification,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
    XLMRobertaConfig,
    XLMRobertaForTokenClassification,
)

from eval.align import parts
from eval.revision import revision
from eval.systems import gliner_entities, kompress, llmlingua2, longllmlingua, openprovence
from eval.systems.prompt_compressor import load
from reet_hf.budget import resolve_counter
from reet_hf.errors import ReetError

MESSAGES = [
    {"role": "document", "content": "The visa expires in June. The order is abc. Is the order in June? " * 4},
    {"role": "user", "name": "ann", "content": "When does the visa expire? The order, the visa. " * 3},
    {"role": "assistant", "content": "In June: the visa expires in June. " * 6},
]
TEXTS = [message["content"] for message in MESSAGES]
BUDGETS = (0.5, 0.33, 0.1, 20)
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


@pytest.fixture(scope="module")
def counter(tokenizer):
    return resolve_counter(tokenizer)


def kept_words(kept) -> list[str]:
    """Words of the pieces, each word for word in the conversation."""
    shown = [TEXTS[piece.message][piece.start : piece.end] for piece in kept.pieces]
    return [text[slice(*part)].casefold() for text in shown for part in parts(text)]


def check_measured(system, query: str | None = None) -> list:
    """What every system that returns text owes, and what it kept."""
    kept = system.compress(system.open(MESSAGES), query, (), BUDGETS)
    for each in kept:
        assert each.tokens == system.counter.count(each.text)
        assert list(each.pieces) == sorted(each.pieces)
        words = iter(each.text[slice(*part)].casefold() for part in parts(each.text))
        assert all(word in words for word in kept_words(each))  # pieces are a subsequence of the text
    whole = system.compress(system.open(MESSAGES), query, (), [1.0, 10_000])
    assert [each.text for each in whole] == [system.open(MESSAGES).source.text] * 2
    return kept


@pytest.fixture(scope="module")
def bert(tokenizer, tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("bert")
    BertForTokenClassification(BertConfig(vocab_size=len(tokenizer), **SIZES)).save_pretrained(folder)
    tokenizer = make_tokenizer()
    tokenizer.backend_tokenizer.decoder = decoders.WordPiece()
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def xlm_roberta(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("xlmr")
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    pieces = ["▁", "▁the", "▁visa", "▁june", *"abcdefghijklmnopqrstuvwxyzIJTW:.?,"]
    backend = Tokenizer(models.Unigram([(piece, -1.0) for piece in [*special, *pieces]], unk_id=3))
    backend.normalizer = normalizers.Replace("\n", " ")
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    names = ("bos_token", "pad_token", "eos_token", "unk_token", "mask_token")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, **dict(zip(names, special, strict=True)))
    tokenizer.save_pretrained(folder)
    config = XLMRobertaConfig(vocab_size=len(tokenizer), max_position_embeddings=514, **SIZES)
    XLMRobertaForTokenClassification(config).save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("folder", ["bert", "xlm_roberta"])
def test_llmlingua2_drops_words_within_the_budget(folder, counter, request):
    model = request.getfixturevalue(folder)
    system = llmlingua2.build(counter, model=model, force_tokens=())
    kept = check_measured(system)
    assert all(0 < each.tokens <= each.budget for each in kept)  # it counts with our tokenizer
    assert all(each.foreign_words == 0 for each in kept)
    assert kept[0].tokens > 0.8 * kept[0].budget
    assert system.revision == revision(model) != ""
    asked = system.compress(system.open(MESSAGES), "When?", (), BUDGETS)
    assert [each.text for each in asked] == [each.text for each in kept]


def test_the_package_counts_as_we_do(bert, counter):
    tokens = load(bert, counter, "cpu", llmlingua2=True).oai_tokenizer
    assert len(tokens.encode("▁abc")) == len(tokens.encode("abc")) == counter.count("abc") == 3


def test_llmlingua2_keeps_what_it_is_forced_to_and_the_overrun_is_recorded(bert, counter):
    system = llmlingua2.build(counter, model=bert)
    kept = system.compress(system.open(MESSAGES), None, (), [0.5, 4])
    assert [each.text.count("?") for each in kept] == [sum(text.count("?") for text in TEXTS)] * 2
    assert kept[1].tokens > kept[1].budget


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("gpt2")
    letters = {letter: number for number, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    backend = Tokenizer(models.BPE({**letters, "<end>": 256}, []))
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<end>").save_pretrained(folder)
    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 512}
    GPT2LMHeadModel(GPT2Config(vocab_size=257, bos_token_id=256, eos_token_id=256, **sizes)).save_pretrained(folder)
    return str(folder)


def test_longllmlingua_drops_what_the_question_leaves_out(gpt2, counter):
    system = longllmlingua.build(counter, model=gpt2)
    found = {query: check_measured(system, query) for query in ("When does the visa expire?", "Is it Ann?")}
    one, other = ([each.text for each in kept] for kept in found.values())
    assert one != other
    source = system.open(MESSAGES).source.text
    for kept in found["Is it Ann?"]:
        letters = iter(source)
        assert all(letter in letters for letter in "".join(kept.text.split()))  # it drops parts of words
    assert np.diff([len(text) for text in one[:3]]).max() < 0
    assert found["Is it Ann?"][0].foreign_words > 0
    with pytest.raises(ReetError, match="`query` must be a question"):
        system.compress(system.open(MESSAGES), None, (), [0.5])


def test_the_cache_as_pairs_is_the_cache_of_the_model(gpt2, counter):
    compressor = load(gpt2, counter, "cpu", llmlingua2=False)
    ids = torch.arange(12)[None]
    with torch.no_grad():
        whole = compressor.model(ids, use_cache=True)
        half = compressor.model(ids[:, :7], use_cache=True)
        rest = compressor.model(ids[:, 7:], past_key_values=half.past_key_values, use_cache=True)
    assert [key.shape[2] for key, _ in half.past_key_values] == [7, 7]
    assert torch.allclose(whole.logits[:, 7:], rest.logits, atol=1e-5)


@pytest.fixture(scope="module")
def gliner(tokenizer, tmp_path_factory):
    package = pytest.importorskip("gliner", reason="GLiNER needs its package")
    torch.manual_seed(0)
    backbone, folder = tmp_path_factory.mktemp("backbone"), tmp_path_factory.mktemp("gliner")
    tokenizer.save_pretrained(backbone)
    encoder = {"model_type": "bert", "vocab_size": len(tokenizer), "max_position_embeddings": 128, **SIZES}
    sizes = {"hidden_size": 32, "max_width": 3, "max_len": 12, "num_rnn_layers": 0, "dropout": 0.0}
    config = package.GLiNERConfig(model_name=str(backbone), encoder_config=encoder, **sizes)
    package.GLiNER.from_config(config, backbone_from_pretrained=False).save_pretrained(folder)
    return str(folder)


def test_gliner_prefers_sentences_with_many_entities_for_their_length(gliner, counter):
    system = gliner_entities.build(counter, model=gliner, labels=["visa", "order"], threshold=0.02)
    opened = system.open(MESSAGES)
    kept = system.compress(opened, None, (), BUDGETS)
    assert all(0 < each.tokens <= each.budget for each in kept)
    units, density = opened.scored
    assert density.max() > 0 and density.min() < density.max()
    place = int(density.argmax())
    text = TEXTS[units[place].message][units[place].start : units[place].end]
    entities = system.scorer.scorer.model.inference([text], ["visa", "order"], threshold=0.02)[0]
    assert density[place] == len({entity["text"].casefold() for entity in entities}) / counter.count(text)
    assert system.revision == revision(gliner) != ""


@given(st.text(alphabet="ab. \n,", max_size=60), st.integers(1, 7))
def test_stretches_hold_every_word_and_none_too_many(text, most):
    found = gliner_entities.stretches(text, most)
    words = [piece[slice(*part)] for piece in found for part in parts(piece)]
    assert words == [text[slice(*part)] for part in parts(text)]
    assert all(1 <= len(parts(piece)) <= most for piece in found)


REMOTE = """
from transformers import PreTrainedConfig, PreTrainedModel
import torch

class StandInConfig(PreTrainedConfig):
    model_type = "stand_in"
    missing: int = 0
    outdated: bool = False

class StandIn(PreTrainedModel):
    config_class = StandInConfig

    def __init__(self, config):
        super().__init__(config)
        self.layer = torch.nn.Linear(1, 1)
        self.post_init()

    def process(self, question, context, title, return_sentence_metrics, **options):
        if self.config.outdated:
            raise AttributeError("no attribute 'build_inputs_with_special_tokens'")
        words = set(question.lower().strip("?").split())
        shared = [len(words & set(sentence.lower().strip(" .?").split())) for sentence in context[0]]
        return {"sentence_probabilities": [[s / len(words) for s in shared][self.config.missing:]]}
"""


@pytest.fixture
def stand_in(tmp_path):
    """A repository with code that offers what OpenProvence's does; the real one cannot be had in a test."""

    def make(**options) -> str:
        (tmp_path / "modeling_stand_in.py").write_text(REMOTE)
        classes = {"AutoConfig": "modeling_stand_in.StandInConfig", "AutoModel": "modeling_stand_in.StandIn"}
        config = {"model_type": "stand_in", "architectures": ["StandIn"], "auto_map": classes, **options}
        (tmp_path / "config.json").write_text(json.dumps(config))
        torch.save({"layer.weight": torch.ones(1, 1), "layer.bias": torch.zeros(1)}, tmp_path / "pytorch_model.bin")
        return str(tmp_path)

    return make


def test_openprovence_orders_our_sentences_by_its_probabilities(stand_in, counter):
    system = openprovence.build(counter, model=stand_in(), trust_remote_code=True)
    kept = system.compress(system.open(MESSAGES), "Is the order in June?", (), [24, 0.5])
    assert kept[0].text.count("Is the order in June?") >= 1
    assert all(each.tokens <= each.budget for each in kept)
    assert system.revision != ""


def test_openprovence_runs_foreign_code_only_when_told_to(stand_in, counter):
    with pytest.raises(ReetError, match="trust_remote_code=True"):
        openprovence.build(counter, model=stand_in())
    with pytest.raises(ReetError, match="does not run with this version of transformers"):
        openprovence.build(counter, model=stand_in(outdated=True), trust_remote_code=True)
    with pytest.raises(ReetError, match="one probability"):
        openprovence.build(counter, model=stand_in(missing=1), trust_remote_code=True)


MISSING = [
    (llmlingua2, "llmlingua", "pip install 'llmlingua"),
    (longllmlingua, "llmlingua", "pip install 'llmlingua"),
    (gliner_entities, "gliner", "pip install 'gliner"),
    (kompress, "headroom", "pip install 'headroom-ai"),
]


@pytest.mark.parametrize(("module", "package", "line"), MISSING, ids=[module.__name__ for module, *_ in MISSING])
def test_a_missing_package_is_named_with_its_install_line(module, package, line, counter, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ReetError, match=line):
        module.build(counter)


@pytest.mark.parametrize("name", ["llmlingua2", "longllmlingua", "gliner_entities", "openprovence"])
def test_weights_that_cannot_be_had_say_what_to_do(name, counter):
    options = {"trust_remote_code": True} if name == "openprovence" else {}
    with pytest.raises(ReetError, match="hf download nobody/nothing"):
        importlib.import_module(f"eval.systems.{name}").build(counter, model="nobody/nothing", **options)


@pytest.fixture
def kompress_cache(tokenizer, tmp_path, monkeypatch):
    """A Hub cache with tiny weights in the place of Kompress'."""
    package = pytest.importorskip("headroom.transforms.kompress_compressor", reason="Kompress needs Headroom")
    from headroom.onnx_runtime import _PINNED_REVISIONS as commits
    from huggingface_hub import constants
    from transformers import ModernBertConfig, ModernBertModel

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HEADROOM_KOMPRESS_BACKEND", "pytorch")
    folders = {}
    for name in ("answerdotai/ModernBERT-base", kompress.MODEL):
        folders[name] = tmp_path / f"models--{name.replace('/', '--')}" / "snapshots" / commits[name]
        folders[name].mkdir(parents=True)
        (folders[name].parents[1] / "refs").mkdir()
    backbone, weights = folders.values()
    special = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3}
    ModernBertModel(ModernBertConfig(vocab_size=len(tokenizer), **SIZES, **special)).save_pretrained(backbone)
    tokenizer.save_pretrained(backbone)
    (backbone.parents[1] / "refs" / "main").write_text(backbone.name)
    model = package._get_model_class()(allow_download=False)
    parts_of_it = {"encoder": model.encoder, "token_head": model.token_head, "span_conv": model.span_conv}
    states = {f"{name}_state_dict": part.state_dict() for name, part in parts_of_it.items()}
    torch.save(states, weights / "merged.pt")
    return weights.name


def test_kompress_drops_words(kompress_cache, counter):
    system = kompress.build(counter)
    kept = check_measured(system)
    assert system.revision == kompress_cache
    assert all(each.foreign_words == 0 for each in kept)
    assert np.diff([each.tokens for each in kept[:3]]).max() < 0
