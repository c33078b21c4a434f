"""The cross-encoder formulation: what it reads, that training and use agree, and that it learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import city_rows, make_config
from huggingface_hub.errors import StrictDataclassClassValidationError

from reet_hf import ReetForCompression
from reet_hf.compressor import Compressor
from reet_hf.conversation import Conversation, parse_messages
from reet_hf.scoring.collator import ScoringCollator, ScoringExample
from reet_hf.scoring.scorer import ReetScorer
from reet_hf.session import Session
from reet_hf.training.dataset import ScoringDataset
from reet_hf.windows import tokenize

CROSS = {"interaction": "cross", "window_tokens": 32, "query_tokens": 16, "history_turns": 0}


@pytest.fixture(scope="module")
def model(tokenizer) -> ReetForCompression:
    torch.manual_seed(0)
    return ReetForCompression(make_config(len(tokenizer), **CROSS)).eval()


def example(rows: int, tokenizer) -> ScoringExample:
    return ScoringDataset({"a-train": city_rows(rows)}, tokenizer, {"a-train": 1}, vary=False)[0]


def test_the_encoder_reads_query_and_window_as_two_segments(model, tokenizer):
    seen = {}

    def note(module, args, kwargs):
        seen.update(kwargs)

    handle = model.reet.encoder.register_forward_pre_hook(note, with_kwargs=True)
    window = torch.tensor([[2, 5, 6, 7, 3], [2, 8, 3, 0, 0]])
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    states = model.read_together(window, mask, torch.tensor([2, 9, 3]))
    handle.remove()
    assert states.shape == (2, 5, model.config.width)
    assert seen["input_ids"].tolist() == [[2, 9, 3, 5, 6, 7, 3], [2, 9, 3, 8, 3, 0, 0]]
    assert seen["attention_mask"].tolist() == [[1] * 7, [1] * 5 + [0] * 2]
    assert seen["token_type_ids"].tolist() == [[0, 0, 0, 1, 1, 1, 1]] * 2
    alone = model.reet.encoder(**{key: value[:1] for key, value in seen.items()}).last_hidden_state
    assert torch.allclose(states[0, 1:4], alone[0, 3:6], atol=1e-5)


def test_scores_are_those_of_training_whatever_stands_beside(model, tokenizer):
    first, second = example(2, tokenizer), example(3, tokenizer)
    collator = ScoringCollator.of(tokenizer, model.config)
    alone, both = model(**collator([first])), model(**collator([first, second]))
    count = len(first.table)
    assert torch.allclose(alone.importance[0, :, :count], both.importance[0, : len(first.queries), :count], atol=1e-5)
    conversation = Conversation(parse_messages(city_rows(2)[0]["messages"]))
    scorer = ReetScorer(model, tokenizer)
    state = scorer.encode(conversation)
    body = tokenize(conversation, tokenizer).starts >= 0
    for number, query in enumerate(first.queries):
        found = scorer.score(state, query).importance
        assert np.allclose(found, alone.importance[0, number].detach().numpy()[body], atol=1e-4)


def test_another_query_gives_other_scores_and_nothing_but_the_prior_is_cached(model, tokenizer):
    conversation = Conversation(parse_messages(city_rows(1)[0]["messages"]))
    scorer = ReetScorer(model, tokenizer)
    state = scorer.encode(conversation)
    assert state.states.held.values.shape[1] == 0 and len(state.prior.rows)
    one, other = (scorer.score(state, query).importance for query in ("the visa", "the order"))
    assert not np.allclose(one, other)
    assert scorer.score(state).chances is not None


def test_a_session_goes_on_where_it_was_saved(model, tokenizer, tmp_path):
    compressor = Compressor(ReetScorer(model, tokenizer), tokenizer)
    messages = city_rows(1)[0]["messages"]
    session = Session(compressor)
    session.append(messages[:1])
    session.save(tmp_path / "s")
    again = Session.load(tmp_path / "s", compressor)
    for each in (session, again):
        each.append(messages[1:])
    assert session.compress(query="the visa", budget=0.5) == again.compress(query="the visa", budget=0.5)


def test_it_learns(tokenizer):
    torch.manual_seed(1)
    model = ReetForCompression(make_config(len(tokenizer), **CROSS))
    dataset = ScoringDataset({"a-train": city_rows(8)}, tokenizer, {"a-train": 1})
    collator, optimizer = ScoringCollator.of(tokenizer, model.config), torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(4):
        for number in range(len(dataset)):
            loss = model(**collator([dataset[number]])).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
    assert np.mean(losses[-4:]) < 0.7 * np.mean(losses[:4])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"interaction": "both"}, "`interaction` must be one of late, cross"),
        (
            {**CROSS, "extraction": True},
            "`extraction` reads cached states",
        ),
        ({**CROSS, "window_tokens": 60}, "positions, together"),
    ],
)
def test_options_that_do_not_go_together_are_refused(tokenizer, options, said):
    with pytest.raises(StrictDataclassClassValidationError, match=said):
        make_config(len(tokenizer), **options)
