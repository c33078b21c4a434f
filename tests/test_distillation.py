"""A smaller scorer that learns from a larger one."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from reet_hf import ReetError, ReetForCompression
from reet_hf.conversation import Conversation, parse_messages
from reet_hf.scoring.collator import ScoringCollator, ScoringExample
from reet_hf.training.distillation import distillation_loss, keep_layers
from reet_hf.windows import tokenize


@pytest.fixture
def teacher(tiny_model):
    """A model whose layers do something, as those of the tiny one hardly do."""
    torch.manual_seed(3)
    model = copy.deepcopy(tiny_model).eval()
    for parameter in model.reet.encoder.encoder.layer.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


@pytest.fixture
def batch(tokenizer):
    conversation = Conversation(
        parse_messages([{"role": "user", "content": "the visa expires in june. order from rome."}])
    )
    table = tokenize(conversation, tokenizer)
    queries = ["when does the visa expire?", "where is the order?"]
    example = ScoringExample(table, np.zeros(len(table), dtype=np.int64), queries, ["june", "rome"])
    shorter = ScoringExample(table, np.zeros(len(table), dtype=np.int64), queries[:1], ["june"])
    return ScoringCollator(tokenizer, window_tokens=16, query_tokens=16)([example, shorter])


def test_a_smaller_model_has_the_layers_that_were_named(tiny_model):
    count = tiny_model.config.encoder.num_hidden_layers
    smaller = keep_layers(tiny_model, [count - 1])
    kept, whole = smaller.reet.encoder.encoder.layer, tiny_model.reet.encoder.encoder.layer
    assert len(kept) == smaller.config.encoder.num_hidden_layers == 1
    assert tiny_model.config.encoder.num_hidden_layers == len(whole) == count
    assert all(torch.equal(a, b) for a, b in zip(kept[0].parameters(), whole[count - 1].parameters(), strict=True))


def test_a_smaller_model_is_saved_and_loaded(tiny_model, tmp_path):
    smaller = keep_layers(tiny_model, [0])
    smaller.save_pretrained(tmp_path)
    again = ReetForCompression.from_pretrained(tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(smaller.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize("layers", [[], [1, 0], [0, 0], [-1], [99]])
def test_layers_that_are_not_there_are_refused(tiny_model, layers):
    with pytest.raises(ReetError, match="`layers` must be rising numbers from 0"):
        keep_layers(tiny_model, layers)


def test_the_distance_to_oneself_is_nothing_and_to_a_smaller_model_something(teacher, batch):
    with torch.no_grad():
        wanted = teacher(**batch)
        assert distillation_loss(teacher(**batch), wanted, batch).item() == pytest.approx(0.0, abs=1e-5)
        assert distillation_loss(keep_layers(teacher, [0]).eval()(**batch), wanted, batch) > 1e-3


def test_learning_from_a_teacher_brings_a_smaller_model_closer(teacher, batch):
    student = keep_layers(teacher, [0]).eval()
    with torch.no_grad():
        wanted = teacher(**batch)
        start = distillation_loss(student(**batch), wanted, batch).item()
    optimizer = torch.optim.AdamW(student.parameters(), lr=3e-3)
    for _ in range(20):
        optimizer.zero_grad()
        loss = distillation_loss(student(**batch), wanted, batch)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.7 * start


def test_padding_does_not_count(teacher, batch):
    """The second conversation has one query less: its padded column must not matter."""
    student = keep_layers(teacher, [0]).eval()
    with torch.no_grad():
        wanted, said = teacher(**batch), student(**batch)
        before = distillation_loss(said, wanted, batch)
        said.importance[1, 1] += 100.0
        assert torch.equal(distillation_loss(said, wanted, batch), before)
        said.importance[0, 1] += 100.0
        assert distillation_loss(said, wanted, batch) > before + 1.0
