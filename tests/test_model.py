"""Contracts of the model: saving, padding, batching, windows, gradients, precision, what the head is told."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import make_config
from transformers import AutoConfig, AutoModel, AutoModelForTokenClassification

from reet_hf import ReetConfig, ReetForCompression, ReetForTokenScoring, ReetModel
from reet_hf.conversation import Conversation, parse_messages
from reet_hf.modeling.scoring_loss import LOSS_WEIGHTS
from reet_hf.modeling.turn_head import Queries, TurnContext, TurnHead, _coverage, _named, segment
from reet_hf.records import Turn
from reet_hf.scoring.collator import ScoringCollator, ScoringExample
from reet_hf.scoring.labels import prior_targets, relevance_targets
from reet_hf.scoring.scorer import ReetScorer
from reet_hf.windows import tokenize

HEADS = (ReetForTokenScoring, ReetForCompression)


def example(tokenizer, words: int, queries: int = 2, messages: int = 3) -> ScoringExample:
    """A conversation of sentences about a visa, with questions whose answer stands in the second message."""
    chooser = np.random.default_rng(words)
    names = ["visa", "june", "order", "the", "expires", "abc", "d3", "when"]
    texts = [
        " ".join(str(chooser.choice(names)) + ("." if n % 6 == 5 else "") for n in range(words))
        for _ in range(messages)
    ]
    conversation = Conversation(parse_messages([{"role": "user", "content": text} for text in texts]))
    table = tokenize(conversation, tokenizer)
    questions = [
        {"answer_spans": [{"message": 1, "start": 0, "end": 6}], "evidence": [{"message": 1, "start": 0, "end": 12}]}
    ] * queries
    relevance = np.stack([relevance_targets(table, question) for question in questions])
    return ScoringExample(
        table=table,
        ages=np.array(conversation.ages())[table.messages],
        queries=["when does the visa expires?", "the order?"][:queries],
        answers=["june", "abc"][:queries],
        relevance=relevance,
        prior=prior_targets(list(relevance)),
    )


@pytest.fixture(scope="module")
def collator(tokenizer) -> ScoringCollator:
    return ScoringCollator(tokenizer, window_tokens=32, query_tokens=24, history_tokens=40)


@pytest.mark.parametrize("head", HEADS)
def test_saved_and_loaded_model_scores_the_same(head, tokenizer, collator, tmp_path):
    torch.manual_seed(1)
    model = head(make_config(len(tokenizer))).eval()
    model.save_pretrained(tmp_path)
    again = head.from_pretrained(tmp_path).eval()
    batch = collator([example(tokenizer, 40)])
    with torch.no_grad():
        # The last bits of a product may depend on where in memory the weights lie.
        torch.testing.assert_close(model(**batch).importance, again(**batch).importance)
    saved, loaded = model.state_dict(), again.state_dict()
    assert saved.keys() == loaded.keys() and all(torch.equal(saved[name], loaded[name]) for name in saved)


def test_auto_classes_give_the_backbone_and_the_heads(tiny_folder):
    assert isinstance(AutoConfig.from_pretrained(tiny_folder), ReetConfig)
    assert type(AutoModel.from_pretrained(tiny_folder)) is ReetModel
    assert type(AutoModelForTokenClassification.from_pretrained(tiny_folder)) is ReetForCompression


def test_a_conversation_scores_the_same_alone_and_in_a_padded_batch(tiny_model, tokenizer, collator):
    short, long = example(tokenizer, 9, queries=1), example(tokenizer, 70, queries=2)
    with torch.no_grad():
        together = tiny_model(**collator([short, long]))
        alone = tiny_model(**collator([short]))
        other = tiny_model(**collator([long]))
    size = len(short.table)
    assert torch.allclose(together.importance[0, :1, :size], alone.importance[0], atol=1e-5)
    assert torch.allclose(together.prior[0, :size], alone.prior[0], atol=1e-5)
    assert torch.allclose(together.importance[1], other.importance[0], atol=1e-5)
    assert not together.importance[0, :, size:].any()


def test_later_queries_do_not_change_earlier_scores(tiny_model, tokenizer, collator):
    both, first = example(tokenizer, 30, queries=2), example(tokenizer, 30, queries=1)
    with torch.no_grad():
        assert torch.allclose(
            tiny_model(**collator([both])).importance[0, 0],
            tiny_model(**collator([first])).importance[0, 0],
            atol=1e-5,
        )


def test_gradients_reach_every_trained_parameter(tokenizer, collator):
    torch.manual_seed(0)
    model = ReetForCompression(make_config(len(tokenizer), dropout=0.0, projection_dim=24)).train()
    model(**collator([example(tokenizer, 40), example(tokenizer, 12)])).loss.backward()
    missing = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or (not parameter.grad.any() and "key.bias" not in name)
    ]
    assert missing == []


def test_training_lowers_the_loss(tokenizer, collator):
    torch.manual_seed(0)
    model = ReetForCompression(make_config(len(tokenizer), dropout=0.0))
    batch = collator([example(tokenizer, 40)])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(30):
        loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]


def test_bfloat16_scores_are_finite_and_near(tiny_model, tokenizer, collator):
    batch = collator([example(tokenizer, 60)])
    half = ReetForCompression(tiny_model.config).eval()
    half.load_state_dict(tiny_model.state_dict())
    half.bfloat16()
    with torch.no_grad():
        low, full = half(**batch), tiny_model(**batch)
    assert torch.isfinite(low.importance.float()).all() and torch.isfinite(low.loss.float())
    assert (low.importance.float() - full.importance).abs().max() < 0.25


def test_a_query_of_padding_alone_gives_no_gradient_and_no_nan(tiny_model, tokenizer, collator):
    batch = collator([example(tokenizer, 20, queries=1), example(tokenizer, 20, queries=2)])
    loss = tiny_model(**batch).loss
    assert torch.isfinite(loss)


def test_earlier_turns_change_what_is_important(tiny_model, tokenizer):
    scorer = ReetScorer(tiny_model, tokenizer)
    conversation = Conversation(parse_messages([{"role": "user", "content": "the visa expires in june. order abc."}]))
    state = scorer.encode(conversation)
    fresh = scorer.score(state, "when?", ())
    after = scorer.score(state, "when?", (Turn("the order?"),))
    again = scorer.score(state, "when?", ())
    assert fresh.importance.shape == after.importance.shape
    assert not np.allclose(fresh.importance, after.importance)
    assert np.array_equal(fresh.importance, again.importance)  # nothing but the history tells turns apart


def head_inputs(config: ReetConfig) -> tuple[torch.Tensor, TurnContext]:
    """States of six sentences of three tokens, and a query that has two words of the first sentence."""
    torch.manual_seed(2)
    words = torch.tensor([1, 2, 3] + [0] * 15)
    queries = Queries(
        torch.randn(1, 4, config.width), torch.ones(1, 4, dtype=torch.bool), torch.tensor([[11, 12, 0, 0]])
    )
    context = TurnContext(
        units=torch.arange(6).repeat_interleave(3),
        words=words,
        vocabulary=torch.tensor([0, 11, 12, 13]),
        rarity=(words > 0).float(),
        ages=torch.zeros(18, dtype=torch.long),
        mentions=torch.zeros(18),
        queries=queries,
    )
    return torch.randn(18, config.width), context


@pytest.mark.parametrize(("lexical", "matters"), [(True, True), (False, False)])
def test_repeated_words_matter_unless_lexical_match_is_off(tokenizer, lexical, matters):
    config = make_config(len(tokenizer), lexical_match=lexical)
    head = TurnHead(config).eval()
    states, context = head_inputs(config)
    with torch.no_grad():
        named = head(head.index(states), context).importance
        context.queries.words = torch.zeros_like(context.queries.words)
        unnamed = head(head.index(states), context).importance
    assert (not torch.equal(named, unnamed)) is matters


@pytest.mark.parametrize(("neighbours", "reached"), [(0, {2}), (1, {1, 2, 3}), (2, {0, 1, 2, 3, 4})])
def test_a_sentence_reaches_as_many_neighbours_as_configured(tokenizer, neighbours, reached):
    config = make_config(len(tokenizer), neighbours=neighbours)
    head = TurnHead(config).eval()
    states, context = head_inputs(config)
    with torch.no_grad():
        before = head(head.index(states), context).importance
        states[7] += 1.0
        after = head(head.index(states), context).importance
    changed = (before != after).any(-1).view(6, 3).any(-1)
    assert set(changed.nonzero().flatten().tolist()) == reached


def test_loss_terms_add_up_by_their_weights(tiny_model, tokenizer, collator, monkeypatch):
    batch = collator([example(tokenizer, 40)])

    def loss(**weights: float) -> float:
        monkeypatch.setattr(tiny_model, "loss_weights", {**dict.fromkeys(LOSS_WEIGHTS, 0.0), **weights})
        with torch.no_grad():
            return tiny_model(**batch).loss.item()

    parts = {name: loss(**{name: weight or 1.0}) for name, weight in LOSS_WEIGHTS.items()}
    assert min(parts.values()) > 0 and loss() == 0
    assert loss(**LOSS_WEIGHTS) == pytest.approx(sum(parts[name] for name, weight in LOSS_WEIGHTS.items() if weight))


def test_segment_means_and_maxima_agree_with_loops():
    torch.manual_seed(0)
    values, lengths = torch.randn(9, 3, 2), torch.tensor([2, 1, 4, 2])
    parts = values.split(lengths.tolist())
    assert torch.allclose(segment(values, lengths, "mean"), torch.stack([part.mean(0) for part in parts]))
    assert torch.allclose(segment(values, lengths, "max"), torch.stack([part.amax(0) for part in parts]))


def test_coverage_weighs_query_words_by_rarity():
    vocabulary, words = torch.unique(torch.tensor([5, 0, 7, 7, 9]), return_inverse=True)
    rarity = torch.tensor([0.9, 0.0, 0.5, 0.5, 0.9])
    named = _named(vocabulary, torch.tensor([[5, 7, 0, 11]]))
    covered = _coverage(named, words, rarity, torch.tensor([0, 0, 0, 1, 1]), 2)
    assert covered[:, 0].tolist() == pytest.approx([1.0, 0.5 / 1.4])


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"token_dim": 0}, "token_dim"),
        ({"window_tokens": 128}, "window_tokens"),
        ({"history_turns": -1}, "history"),
        ({"neighbours": -1}, "neighbours"),
    ],
)
def test_wrong_sizes_are_refused_by_name(tokenizer, options, named):
    with pytest.raises(Exception, match=named):
        make_config(len(tokenizer), **options)
