"""Labels, windows and the scorer's incremental state."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from conftest import make_config
from hypothesis import given, settings
from hypothesis import strategies as st

from reet_hf import ReetForCompression
from reet_hf.conversation import Conversation, parse_messages
from reet_hf.encoders.packed import PackedEncoder
from reet_hf.errors import ReetError
from reet_hf.metrics import answer_survival, evidence_recall
from reet_hf.modeling.processor import byte_product
from reet_hf.records import Span, Turn
from reet_hf.scoring.collator import ScoringCollator, ScoringExample
from reet_hf.scoring.labels import prior_targets, relevance_targets
from reet_hf.scoring.rows import GrowingTensor, StateRows, packed, unpacked
from reet_hf.scoring.scorer import ReetScorer, TokenScores, pool
from reet_hf.scoring.token_cache import Runs
from reet_hf.windows import BEFORE, plan_windows, query_tokens, token_rarity, tokenize

MESSAGES = [
    {"role": "system", "content": "the order is abc. 12 visa in june."},
    {"role": "user", "name": "ann", "content": "when does the visa expires? " * 6},
    {"role": "assistant", "content": "the visa expires in june. order abc. " * 9},
    {"role": "user", "content": "ok. the order?"},
]


def test_answer_tokens_outweigh_their_sentence_and_other_evidence(tokenizer):
    text = "the visa expires in june. order abc. the order."
    table = tokenize(Conversation(parse_messages([{"role": "document", "content": text}])), tokenizer)
    start = text.index("june")
    question = {
        "answer_spans": [{"message": 0, "start": start, "end": start + 4}],
        "evidence": [{"message": 0, "start": 0, "end": text.index(" the order")}],
    }
    targets = relevance_targets(table, question)
    by_character = {int(s): float(t) for s, t in zip(table.starts, targets, strict=True)}
    assert by_character[start] == 1.0
    assert by_character[0] == pytest.approx(0.6)
    assert by_character[text.index("order abc")] == pytest.approx(0.15)
    assert by_character[text.index("the order")] == 0.0


def test_abstractive_answers_make_evidence_relevant_and_unanswerable_ones_nothing(tokenizer):
    table = tokenize(Conversation(parse_messages([{"role": "user", "content": "the visa. order abc."}])), tokenizer)
    evidence = [{"message": 0, "start": 0, "end": 9}]
    some = relevance_targets(table, {"answer_spans": [], "evidence": evidence})
    assert set(np.round(some, 2)) == {0.0, np.float32(0.6)}
    assert not relevance_targets(table, {"answer_spans": [], "evidence": []}).any()


def test_prior_compounds_evidence_of_later_turns_only():
    first, second = np.array([0.6, 0.0, 1.0]), np.array([0.6, 0.6, 0.0])
    assert prior_targets([first, second]).tolist() == pytest.approx([1 - 0.7 * 0.7, 0.3, 1.0])
    assert prior_targets([second]).tolist() == pytest.approx([0.3, 0.3, 0.0])


@given(st.lists(st.integers(1, 40), min_size=1, max_size=30), st.integers(2, 25))
@settings(deadline=None, max_examples=200)
def test_windows_cover_everything_once_and_break_inside_long_sentences_only(lengths, capacity):
    units = np.repeat(np.arange(len(lengths)), lengths)
    windows = plan_windows(units, capacity)
    assert [n for start, end in windows for n in range(start, end)] == list(range(len(units)))
    assert all(0 < end - start <= capacity for start, end in windows)
    for _, end in windows[:-1]:
        inside = units[end - 1] == units[end]
        assert not inside or lengths[units[end]] > capacity


@given(st.lists(st.integers(1, 12), min_size=2, max_size=25), st.integers(4, 20), st.data())
@settings(deadline=None, max_examples=200)
def test_windows_that_were_final_stay_when_sentences_are_appended(lengths, capacity, data):
    units = np.repeat(np.arange(len(lengths)), lengths)
    cut = data.draw(st.integers(1, len(lengths) - 1))
    early = plan_windows(units[units < cut], capacity)
    final = early[:-1]
    later = plan_windows(units, capacity, start=early[-1][0])
    assert final + later == plan_windows(units, capacity)


def test_growing_by_message_gives_the_states_of_one_pass(tiny_model, tokenizer):
    scorer = ReetScorer(tiny_model, tokenizer)
    messages = parse_messages(MESSAGES)
    whole = scorer.encode(Conversation(messages))
    grown = None
    for count in range(1, len(messages) + 1):
        grown = scorer.encode(Conversation(messages[:count]), grown)
    assert torch.equal(whole.states.held.values, grown.states.held.values)
    history = (Turn("the order?", "abc"),)
    assert np.allclose(
        scorer.score(whole, "visa?", history).importance, scorer.score(grown, "visa?", history).importance, atol=1e-4
    )


def test_final_windows_are_not_encoded_again(tiny_model, tokenizer, monkeypatch):
    scorer = ReetScorer(tiny_model, tokenizer)
    messages = parse_messages(MESSAGES)
    state = scorer.encode(Conversation(messages[:3]))
    read = []
    windows = scorer.encoder.read
    monkeypatch.setattr(scorer.encoder, "read", lambda rows: read.extend(map(len, rows)) or windows(rows))
    scorer.encode(Conversation(messages), state)
    assert 0 < sum(read) <= 2 * tiny_model.config.window_tokens


def test_rows_are_kept_when_a_growing_tensor_grows():
    rows = GrowingTensor(2, dtype=torch.float32, device=torch.device("cpu"))
    rows.write(0, torch.ones(3, 2))
    rows.write(2, torch.full((5, 2), 2.0))
    assert rows.rows[:, 0].tolist() == [1, 1, 2, 2, 2, 2, 2]


def test_staged_rows_are_unseen_until_they_are_published():
    rows = GrowingTensor(1, dtype=torch.float32, device=torch.device("cpu"))
    rows.write(0, torch.zeros(4, 1))
    rows.reserve(9)
    rows.stage(2, torch.full((3, 1), 1.0))
    rows.stage(5, torch.full((4, 1), 2.0))
    assert rows.rows[:, 0].tolist() == [0, 0, 0, 0]
    rows.reserve(9)  # whoever staged has given up
    rows.stage(3, torch.full((2, 1), 3.0))
    rows.publish(5)
    assert rows.rows[:, 0].tolist() == [0, 0, 0, 3, 3]


@pytest.mark.parametrize(("bits", "alike", "kept"), [(8, 0.9998, 384), (7, 0.999, 336)])
def test_states_are_kept_in_few_bits_and_read_close_to_what_they_were(bits, alike, kept):
    device = torch.device("cpu")
    given = torch.randn(20, 384) * torch.logspace(-2, 2, 20).unsqueeze(-1)
    given[3] = 0.0
    rows = StateRows(384, torch.float32, device, bits)
    rows.write(0, given[:12])
    rows.write(10, given[10:])
    assert rows.held.values.dtype == torch.int8 and rows.read(slice(0, 20)).dtype == torch.float32
    assert rows.held.values.shape == (20, kept) and rows.take(slice(0, 20)).values.shape == (20, 384)
    cosines = torch.nn.functional.cosine_similarity(rows.read(slice(0, 20)), given, dim=-1)
    assert cosines[given.any(-1)].min() > alike and not rows.read(slice(3, 4)).any()
    assert torch.allclose(rows.read(slice(0, 20)).norm(dim=-1), given.norm(dim=-1), rtol=2e-3, atol=1e-6)
    lengths = rows.take(slice(0, 20)).values.float().norm(dim=-1)
    assert torch.allclose(lengths, rows.held.norms.float(), rtol=1e-3)
    some = torch.tensor([19, 2, 7])
    assert torch.equal(rows.read(some), rows.read(slice(0, 20))[some])


@pytest.mark.parametrize("width", [0, 1, 32, 64, 100, 384, 768])
@pytest.mark.parametrize("rows", [0, 1, 9])
def test_what_was_packed_is_the_same_again(rows, width):
    values = 2 * torch.randint(-64, 64, (rows, width), dtype=torch.int8)
    kept = packed(values)
    assert kept.shape == (rows, width - width // 64 * 8)
    assert torch.equal(unpacked(kept, width), values)


def test_states_that_an_earlier_version_saved_are_not_taken_for_those_of_this_one(tiny_model, tokenizer):
    scorer = ReetScorer(tiny_model, tokenizer)
    conversation = Conversation(parse_messages(MESSAGES))
    arrays = scorer.encode(conversation).arrays()
    arrays["values"] = arrays.pop("packed")
    with pytest.raises(KeyError, match="packed"):  # of which a session makes them again
        scorer.load(arrays, conversation)


def test_runs_are_rows_that_were_appended_and_truncated():
    rows, chance = Runs(), np.random.default_rng(0)
    column = np.repeat(np.array([7, 3, 3, 4, 9]), [4, 1, 2, 300, 5])
    for start, end in ((0, 0), (0, 2), (2, 5), (5, 200), (200, 312)):
        rows.append(column[start:end])
    for count in (312, 307, 306, 5, 4, 1, 0):
        rows.truncate(count)
        assert np.array_equal(rows.part(slice(None)), column[:count])
        assert rows.lengths.sum() == count and (rows.lengths > 0).all()
        for start, end in chance.integers(0, 320, (20, 2)).tolist():
            assert np.array_equal(rows.part(slice(start, max(start, end))), column[:count][start : max(start, end)])
    rows.append(column)
    assert rows.starts.rows.tolist() == [0, 4, 7, 307] and np.array_equal(rows.part(slice(None)), column)


def test_a_cache_that_grew_was_saved_and_loaded_is_the_same(tiny_model, tokenizer):
    scorer = ReetScorer(tiny_model, tokenizer)
    conversation = Conversation(parse_messages(MESSAGES * 2))
    whole = scorer.encode(conversation)
    grown = None
    for count in range(1, len(conversation.messages) + 1):
        grown = scorer.encode(Conversation(conversation.messages[:count]), grown)
    loaded = scorer.load(whole.arrays(), conversation)
    for state in (grown, loaded):
        for name, rows in whole.arrays().items():
            assert np.array_equal(state.arrays()[name], rows), name
        assert torch.equal(state.unit_states.held.values, whole.unit_states.held.values)
        assert np.array_equal(state.unit_starts.rows, whole.unit_starts.rows)
        rare = whole.vocabulary.rarity()[whole.vocabulary.places.rows]
        assert np.array_equal(state.vocabulary.rarity()[state.vocabulary.places.rows], rare)
        for query in (None, "when does the visa expires?"):
            assert np.array_equal(scorer.score(state, query).importance, scorer.score(whole, query).importance)


def test_a_long_conversation_is_read_coarse_to_fine(tiny_model, tokenizer, monkeypatch):
    """With room for everything it is the whole head, with less the best sentences are as they were."""
    scorer = ReetScorer(tiny_model, tokenizer)
    conversation = Conversation(parse_messages([{"role": "user", "content": m["content"]} for m in MESSAGES] * 3))
    state = scorer.encode(conversation)
    query = "when does the visa expires?"
    everything = scorer.score(state, query)
    head, context = scorer.model.scorer, []
    monkeypatch.setattr(
        head, "importance", lambda read, turn, queries: context.append((read, turn, queries)) or everything_logits
    )
    everything_logits = torch.zeros(len(state.tokens), 1)
    scorer.score(state, query)
    monkeypatch.undo()
    look, turn, queries = context[0]

    def look_at_units(units, targets):
        taken = state.unit_states.take(units)
        return head.look(taken.values, taken.scales, taken.norms, targets)

    with torch.inference_mode():
        full = head.importance(look, turn, queries)[:, 0]
        same = head.coarse_to_fine(look, look_at_units, turn, queries, len(state.tokens))[:, 0]
        some = head.coarse_to_fine(look, look_at_units, turn, queries, len(state.tokens) // 2)[:, 0]
    assert torch.allclose(full, same, atol=1e-5)
    assert 0 < (some - full).abs().gt(1e-4).float().mean() < 0.75
    assert everything.importance.shape == full.numpy()[state.table.starts >= 0].shape


def test_states_beyond_a_bound_are_given_up_and_read_again(tiny_model, tokenizer, monkeypatch):
    monkeypatch.setattr("reet_hf.scoring.scorer.LEAST_STATE_TOKENS", 1)
    monkeypatch.setattr("reet_hf.scoring.scorer.REFINED_TOKENS", 40)
    messages = parse_messages(MESSAGES * 6)
    whole, bounded = ReetScorer(tiny_model, tokenizer), ReetScorer(tiny_model, tokenizer, state_tokens=200)
    full = kept = None
    for count in range(3, len(messages) + 1, 3):
        conversation = Conversation(messages[:count])
        full, kept = whole.encode(conversation, full), bounded.encode(conversation, kept)
        for query in ("when does the visa expires?", "order abc", None):
            assert np.array_equal(bounded.score(kept, query).importance, whole.score(full, query).importance)
    open_tokens = len(kept.tokens) - kept.closed
    assert len(kept.tokens) > 500 and len(kept.states) == len(kept.tokens)
    assert len(kept.states.held.scales) <= 200 + open_tokens
    assert torch.equal(kept.states.read(slice(None)), full.states.read(slice(None)))
    assert kept.arrays() is None and full.arrays() is not None


@pytest.mark.parametrize("bound", [0, 100, "many", True])
def test_a_bound_that_is_too_low_is_refused(tiny_model, tokenizer, bound):
    with pytest.raises(ReetError, match="`state_tokens` must be at least 16384"):
        ReetScorer(tiny_model, tokenizer, state_tokens=bound)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_an_encoder_goes_to_another_process_and_reads_the_same(tiny_model, precision):
    encoder = PackedEncoder(tiny_model.reet, precision)
    windows = [[5, 6, 7, 8], [9, 10]]
    for other in (pickle.loads(pickle.dumps(encoder)), copy.deepcopy(encoder)):
        assert other.identity == encoder.identity
        for one, same in zip(encoder.read(windows), other.read(windows), strict=True):
            assert torch.equal(one, same)


def test_reading_that_fails_leaves_what_was_read(tiny_model, tokenizer, monkeypatch):
    scorer = ReetScorer(tiny_model, tokenizer)
    messages = parse_messages(MESSAGES * 3)
    state = scorer.encode(Conversation(messages[:3]))
    before = [state.states.read(slice(None)).clone(), state.prior.rows.clone()]
    read, calls = scorer._read, []

    def fail(*arguments):
        calls.append(arguments)
        if len(calls) > 1:
            raise MemoryError
        return read(*arguments)

    monkeypatch.setattr("reet_hf.scoring.scorer.BATCH_TOKENS", {"cpu": 32})
    monkeypatch.setattr(scorer, "_read", fail)
    with pytest.raises(MemoryError):
        scorer.encode(Conversation(messages), state)
    after = [state.states.read(slice(None)), state.prior.rows]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True)) and len(state.table) == len(after[0])
    monkeypatch.undo()
    grown, whole = scorer.encode(Conversation(messages), state), scorer.encode(Conversation(messages))
    assert torch.equal(grown.states.held.values, whole.states.held.values)


def test_pooling_is_the_mean_of_overlapping_tokens():
    scores = TokenScores(np.array([0, 0, 1]), np.array([0, 4, 0]), np.array([3, 8, 5]), np.array([1.0, 3.0, -2.0]))
    assert pool(scores, np.array([(0, 0, 3), (0, 0, 8), (1, 2, 4), (0, 8, 9)])).tolist() == pytest.approx(
        [1, 2, -2, -2]
    )


def test_long_queries_keep_both_ends(tokenizer):
    ids, words = query_tokens("the " + "x " * 50 + "june", tokenizer, 12)
    full = tokenizer("the june", add_special_tokens=True).input_ids
    assert len(ids) == len(words) == 12 and ids[1] == full[1] and ids[-2] == full[-2]


def test_turns_before_a_query_are_read_with_it_newest_first_as_far_as_they_fit(tokenizer):
    ids, words = query_tokens("when?", tokenizer, 24)
    turns = ["visa " * 3, "order abc " * 20, "in june"]
    lengths = [len(tokenizer(turn, add_special_tokens=False).input_ids) + 1 for turn in turns]
    assert lengths[0] <= 8 < 40 < lengths[1] and lengths[2] == 3
    expected = {0: [], 1: [], 3: [2], 7: [3, 3], 40: [3, 20, lengths[0]], 200: [3, lengths[1], lengths[0]]}
    for context, shown in expected.items():
        read, marked = query_tokens("when?", tokenizer, 24, turns, context)
        before = len(read) - len(ids)
        assert before == sum(shown) <= context
        assert read[0] == ids[0] and read[1 + before :] == ids[1:]
        assert marked == [words[0], *[BEFORE] * before, *words[1:]]
        if context >= 7:
            assert read[before - 2 : before] == tokenizer(turns[2], add_special_tokens=False).input_ids


@pytest.mark.parametrize(
    "options",
    [{"history_turns": 0}, {"history_turns": 2}, {"history_turns": 1, "history_tokens": 9}],
)
def test_a_session_scores_what_the_model_scores_in_training(tokenizer, options):
    """Turn by turn from cached states, or all queries of a conversation in one pass."""
    torch.manual_seed(3)
    model = ReetForCompression(make_config(len(tokenizer), **options)).eval()
    conversation = Conversation(parse_messages(MESSAGES))
    asked = [Turn("when does the visa expires?", "june"), Turn("the order?", "abc"), Turn("in june?", "ok")]
    scorer = ReetScorer(model, tokenizer, encoder=PackedEncoder(model.reet, "float32"))
    state = scorer.encode(conversation)
    example = ScoringExample(
        table=state.table,
        ages=state.ages[state.table.messages],
        queries=[turn.query for turn in asked],
        answers=[turn.answer for turn in asked],
    )
    with torch.no_grad():
        expected = model(**ScoringCollator.of(tokenizer, model.config)([example])).importance[0]
    body = state.table.starts >= 0
    for place, turn in enumerate(asked):
        scores = scorer.score(state, turn.query, asked[:place])
        assert np.allclose(scores.importance, expected[place].numpy()[body], atol=0.03)


def test_what_was_read_before_a_query_changes_it_and_is_no_part_of_it(tokenizer):
    torch.manual_seed(3)
    model = ReetForCompression(make_config(len(tokenizer), history_turns=2)).eval()
    alone = query_tokens("when?", tokenizer, 24)
    found = []
    for turns in ((), ("the visa",), ("order abc",)):
        ids, words = (torch.tensor([row]) for row in query_tokens("when?", tokenizer, 24, turns, 20))
        with torch.no_grad():
            found.append(model.read(ids, torch.ones_like(ids), words))
    assert all(queries.words.tolist() == [alone[1]] and queries.mask.all() for queries in found)
    assert {queries.states.shape for queries in found} == {(1, len(alone[0]), model.config.width)}
    assert not torch.allclose(found[1].states, found[2].states) and not torch.allclose(found[0].states, found[1].states)


def test_rarity_is_zero_without_content_and_one_for_a_single_occurrence():
    values = token_rarity(np.array([0, 4, 4, 9]))
    assert values[0] == 0 and values[3] == pytest.approx(1.0) and 0 < values[1] < 1


def test_survival_needs_every_content_word_of_one_answer():
    texts = ["It expires on 5 June 2027 in Rome."]
    spans = [{"message": 0, "start": 11, "end": 25}, {"message": 0, "start": 29, "end": 33}]
    assert texts[0][11:25] == "on 5 June 2027"
    assert answer_survival(texts, spans[:1], [Span(0, 14, 25)]) == 1.0
    assert answer_survival(texts, spans[:1], [Span(0, 14, 24)]) == 0.0
    assert answer_survival(texts, spans, [Span(0, 29, 33)]) == 1.0
    assert answer_survival(texts, spans[:1], []) == 0.0
    assert evidence_recall(texts, spans[:1], [Span(0, 16, 20)]) == pytest.approx(1 / 3)


@pytest.mark.parametrize("natively", [True, False])
def test_bytes_are_multiplied_as_real_numbers_are(natively, monkeypatch):
    monkeypatch.setattr("reet_hf.modeling.processor.multiplies_bytes", lambda: natively)
    values = torch.randint(-127, 128, (50, 384), dtype=torch.int8, generator=torch.Generator().manual_seed(1))
    directions = torch.randn(9, 384, generator=torch.Generator().manual_seed(2)) * torch.logspace(-6, 3, 9)[:, None]
    directions[4] = 0.0
    found, exact = byte_product(values, directions), values.double() @ directions.double().T
    size = values.double().norm(dim=-1, keepdim=True) * directions.double().norm(dim=-1)
    assert found.dtype == torch.float32
    assert ((found - exact).abs() <= 1e-5 * size).all()
    assert byte_product(values[:0], directions).shape == (0, 9)
