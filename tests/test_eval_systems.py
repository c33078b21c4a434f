"""One contract for every system that runs offline: budgets, provenance, use of the query, and what each one is."""

from __future__ import annotations

import hashlib
import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForTokenClassification, BertConfig, BertModel

from eval.adapters import base_model
from eval.revision import revision
from eval.systems import full, last_k, lexrank, minilm, random, reet, reet_no_history, stopwords_idf
from eval.systems.base import Kept, System
from reet_hf.budget import resolve_counter, resolve_limit
from reet_hf.conversation import Conversation, parse_messages
from reet_hf.records import Turn
from reet_hf.rendering import render_text, whole

MESSAGES = [
    {
        "role": "document",
        "content": "The visa of Ann expires in June 2027. It was issued in Rome. Rome is old, so old.",
    },
    {"role": "user", "name": "Ann", "content": "When does the visa expire? My order is A-77, and the order is late."},
    {
        "role": "assistant",
        "content": "In June. The order was sent.\n\n```\nprint('order')\n```\n| id | city |\n|--|--|",
    },
    {"role": "user", "name": "Ben", "content": "東京の天気は良い。The weather in Tokyo is good. Nothing else."},
    {"role": "assistant", "content": ""},
    {"role": "user", "content": "Is the visa of Ben valid? He was in Rome, in Tokyo; and he was in June in Oslo."},
    {
        "role": "document",
        "content": "A visa is paper. An order is a number.\nA city is a place, and June is a month.\n...\n" * 2,
    },
]
QUERY, OTHER = "When does the visa expire?", "Which city is in the order?"
BUDGETS = (0.5, 0.2, 0.06, 40, 1)

SPOKEN = Conversation(parse_messages([message for message in MESSAGES if message["content"]]))
ALL = render_text(SPOKEN, whole(SPOKEN)).strip()

# One row a system: its file, and its options, where a string names the fixture with the value.
CASES: dict[str, dict[str, Any]] = {
    "full": {},
    "last_k": {},
    "random": {"seed": 1},
    "stopwords_idf": {},
    "lexrank": {},
    "tfidf": {},
    "bm25": {},
    "minilm": {"encoder": "encoder"},
    "reet": {"model": "tiny_folder"},
    "reet_prior": {"model": "tiny_folder"},
    "reet_sentences": {"model": "tiny_folder"},
    "reet_no_history": {"model": "tiny_folder"},
    "reet_small": {"model": "tiny_folder"},
    "llmlingua2_recipe": {"encoder": "encoder", "adapter": "labels"},
    "cross_encoder": {"encoder": "encoder", "adapter": "labels"},
    "maxsim": {"encoder": "encoder", "adapter": "vectors"},
}
WEIGHTS = ("model", "adapter", "encoder")  # the option that tells the weights of a system, the first that it has


@pytest.fixture(scope="module")
def encoder(tokenizer, tmp_path_factory) -> str:
    """A sentence encoder, saved."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("encoder")
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=len(tokenizer), **sizes)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def adapted(model: Any, folder: Path, **options: Any) -> None:
    """Save a random adapter of a model."""
    peft = pytest.importorskip("peft", reason="the trained baselines need PEFT")
    lora = peft.LoraConfig(r=2, target_modules=["query", "value"], init_lora_weights=False, **options)
    peft.get_peft_model(model, lora).save_pretrained(folder)


@pytest.fixture(scope="module")
def labels(encoder, tmp_path_factory) -> Path:
    """An adapter that classifies tokens."""
    folder = tmp_path_factory.mktemp("labels")
    adapted(base_model(AutoModelForTokenClassification, encoder), folder, task_type="TOKEN_CLS")
    return folder


@pytest.fixture(scope="module")
def vectors(encoder, tmp_path_factory) -> Path:
    """An adapter and a projection for late interaction."""
    pytest.importorskip("sentence_transformers", minversion="6", reason="MaxSim needs sentence-transformers 6")
    maxsim = importlib.import_module("eval.systems.maxsim")
    folder = tmp_path_factory.mktemp("vectors")
    model = maxsim.untrained(encoder, width=8)
    adapted(model[0].model, folder)
    (folder / maxsim.PROJECTION).mkdir()
    model[1].save(str(folder / maxsim.PROJECTION))
    return folder


@pytest.fixture(scope="module")
def counter(tokenizer):
    return resolve_counter(tokenizer)


@pytest.fixture(scope="module", params=CASES)
def case(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def options(case, request) -> dict[str, Any]:
    given = CASES[case].items()
    return {name: request.getfixturevalue(value) if isinstance(value, str) else value for name, value in given}


@pytest.fixture(scope="module")
def system(case, options, counter) -> System:
    return importlib.import_module(f"eval.systems.{case}").build(counter, **options)


def words(text: str) -> int:
    return len(text.split())


def same(one: list[Kept], other: list[Kept]) -> bool:
    """Whether the same was kept; times may differ."""
    return [(k.text, k.pieces, k.tokens, k.budget) for k in one] == [
        (k.text, k.pieces, k.tokens, k.budget) for k in other
    ]


def test_what_is_kept_fits_the_budget_to_the_token(system, counter):
    conversation = Conversation(parse_messages(MESSAGES))
    original = counter.count(render_text(conversation, whole(conversation)))
    for kept, budget in zip(system.compress(system.open(MESSAGES), QUERY, (), BUDGETS), BUDGETS, strict=True):
        assert kept.tokens == counter.count(kept.text)
        if system.budgeted:
            assert kept.budget == resolve_limit(budget, original)
            assert kept.tokens <= kept.budget


def test_pieces_are_verbatim_and_in_order(system):
    for kept in system.compress(system.open(MESSAGES), QUERY, (), BUDGETS):
        position = 0
        for piece in kept.pieces:
            shown = MESSAGES[piece.message]["content"][piece.start : piece.end]
            position = kept.text.index(shown, position) + len(shown)  # raises where it does not follow
        assert list(kept.pieces) == sorted(kept.pieces)
        assert all(
            one.message < other.message or one.end <= other.start
            for one, other in zip(kept.pieces, kept.pieces[1:], strict=False)
        )
        assert bool(kept.pieces) == bool(kept.text)


def test_only_systems_that_use_the_query_depend_on_it(system):
    found = [system.compress(system.open(MESSAGES), query, (), BUDGETS) for query in (QUERY, OTHER)]
    if system.query == "unused":
        assert same(*found)
        assert same(found[0], system.compress(system.open(MESSAGES), None, (Turn(OTHER, "Rome"),), BUDGETS))
    else:
        assert not same(*found)


def test_several_budgets_at_once_are_the_single_ones(system):
    together = system.compress(system.open(MESSAGES), QUERY, (), BUDGETS)
    single = [system.compress(system.open(MESSAGES), QUERY, (), [budget])[0] for budget in BUDGETS]
    assert same(together, single)


def test_a_larger_budget_keeps_no_less(system):
    kept = system.compress(system.open(MESSAGES), QUERY, (), [0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0])
    sizes = [each.tokens for each in kept]
    assert sizes == sorted(sizes)
    assert kept[-1].text.strip() == ALL


def test_the_second_turn_fits_too(system):
    opened = system.open(MESSAGES)
    first = system.compress(opened, QUERY, (), BUDGETS)
    second = system.compress(opened, OTHER, (Turn(QUERY, "June 2027"),), BUDGETS)
    if system.budgeted:
        assert all(kept.tokens <= kept.budget for kept in (*first, *second))
    if system.query == "unused":
        assert same(first, second)


@pytest.mark.parametrize("messages", [[], [{"role": "user", "content": ""}], [{"role": "document", "content": " \n"}]])
def test_nothing_to_keep_is_nothing_kept(system, messages):
    for kept in system.compress(system.open(messages), QUERY, (), [0.5, 10]):
        assert (kept.pieces, kept.text.strip(), kept.tokens) == ((), "", 0)


def test_weights_have_a_revision_and_the_rest_has_none(system, options):
    model = next((options[option] for option in WEIGHTS if option in options), None)
    assert system.revision == (revision(model) if model else "")
    assert system.stochastic == ("seed" in options)


def test_the_revision_of_a_folder_is_the_digest_of_its_weights(tmp_path):
    assert revision(tmp_path) == ""
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "config.json").write_bytes(b"{}")
    assert revision(tmp_path) == hashlib.sha256(b"weights").hexdigest()[:16]
    (tmp_path / "adapter.safetensors").write_bytes(b"first ")
    assert revision(tmp_path) == hashlib.sha256(b"first weights").hexdigest()[:16]
    assert revision("nobody/nothing") == ""


@pytest.mark.parametrize(
    ("budget", "text", "tokens"),
    [
        (1, "", 0),
        (2, "assistant: six", 2),
        (5, "assistant: four five six", 4),
        (6, "user: three\nassistant: four five six", 6),
        (0.75, "user: three\nassistant: four five six", 6),
        (8, "user: one two three\nassistant: four five six", 8),
    ],
)
def test_last_k_is_the_longest_suffix_that_fits(budget, text, tokens):
    system = last_k.build(resolve_counter(words))
    messages = [{"role": "user", "content": "one two three"}, {"role": "assistant", "content": "four five six"}]
    opened = system.open(messages)
    kept = system.compress(opened, None, (), [budget])[0]
    assert (kept.text, kept.tokens) == (text, tokens)


def test_last_k_counts_the_chat_template(tokenizer):
    chat = tokenizer.__class__(tokenizer_object=tokenizer.backend_tokenizer, unk_token="[UNK]", pad_token="[PAD]")
    chat.chat_template = "{% for m in messages %}[SEP]{{ m['role'] }} : {{ m['content'] }}{% endfor %}"
    counter = resolve_counter(chat)
    system = last_k.build(counter)
    opened = system.open([{"role": "user", "content": "the order"}, {"role": "assistant", "content": "in june"}])
    kept = system.compress(opened, None, (), [1.0, 5, 4])
    assert [(each.text, each.tokens) for each in kept] == [
        ("user: the order\nassistant: in june", 10),
        ("assistant: in june", 5),
        ("assistant: june", 4),
    ]


def test_full_keeps_all_under_any_budget(counter):
    system = full.build(counter)
    kept = system.compress(system.open(MESSAGES), None, (), [0.1, 3])
    assert [each.text.strip() for each in kept] == [ALL, ALL]
    assert not system.budgeted


def test_rare_content_words_stay_longest():
    system = stopwords_idf.build(resolve_counter(words))
    text = "The visa is a visa and the Visas of June are visa orders, orders!"
    opened = system.open([{"role": "document", "content": text}])
    kept = [each.text for each in system.compress(opened, None, (), [1, 2, 3, 7])]
    assert kept == ["June", "June orders,", "June orders, orders!", "visa visa Visas June visa orders, orders!"]


def test_central_sentences_come_first():
    star = np.eye(4)
    star[0, :] = star[:, 0] = 1.0
    assert lexrank.centrality(star) == pytest.approx(np.array([37, 20, 20, 20]) / 97, abs=1e-5)
    ranks = lexrank.LexRank().fit(["June order visa.", "Oslo rain.", "The visa order.", "A June order.", "?"])
    assert np.argsort(-ranks)[0] == 0
    assert ranks[1] == pytest.approx(ranks[4])


def test_another_seed_is_another_order_and_the_same_seed_the_same(counter):
    kept = [random.build(counter, seed).compress for seed in (0, 0, 1)]
    opened = [random.build(counter, seed).open(MESSAGES) for seed in (0, 0, 1)]
    found = [compress(each, None, (), [0.3]) for compress, each in zip(kept, opened, strict=True)]
    assert same(found[0], found[1])
    assert not same(found[0], found[2])


def test_the_sentence_that_is_the_query_is_nearest(encoder):
    ranker = minilm.MiniLm(encoder)
    index = ranker.fit(["the order", "the visa expires in june", "abc"])
    scores = ranker.rank(index, "The visa expires in June")
    assert scores[1] == pytest.approx(1.0, abs=1e-5) and scores.argmax() == 1


def test_without_history_every_question_is_the_first(tiny_folder, counter):
    history = (Turn(QUERY, "June 2027"),)
    importance = {}
    for module in (reet, reet_no_history):
        system = module.build(counter, model=str(tiny_folder))
        fresh = system.compress(system.open(MESSAGES), OTHER, (), BUDGETS)
        first = system.scorer.found.importance
        opened = system.open(MESSAGES)
        system.compress(opened, QUERY, (), BUDGETS)
        later = system.compress(opened, OTHER, history, BUDGETS)
        importance[module] = np.abs(system.scorer.found.importance - first).max()
        assert module is reet or same(fresh, later)
    assert importance[reet_no_history] == 0 < importance[reet]
