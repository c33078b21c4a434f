"""Measures of retention: values worked out by hand, and what must hold whatever is kept."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reet_hf import ReetError
from reet_hf.conversation import Conversation, parse_messages
from reet_hf.mentions import find_mentions
from reet_hf.metrics import (
    KeptText,
    answer_survival,
    degradation,
    entity_survival,
    evidence_recall,
    latest_value,
    mean_measured,
    prefix_stability,
    provenance_fidelity,
    rate_adherence,
    retention_at_turn,
    stale_as_current,
)
from reet_hf.receipt import entities_of, inside, make_receipt, merged_places
from reet_hf.records import Mention, Span
from reet_hf.rendering import render_messages, render_text
from reet_hf.segmentation import span_array

CONVERSATION = Conversation(
    parse_messages(
        [
            {"role": "user", "content": "Please book a table at Luigi for 19:00. Never seat us at the door."},
            {"role": "assistant", "content": "A table at Luigi, 4 guests, order B-77."},
            {"role": "user", "content": "Change it to 20:30, please. The order of the Blue Door Club is B-78."},
        ]
    )
)
TEXTS = [message.text for message in CONVERSATION.messages]


def span_of(text: str, message: int) -> Span:
    start = TEXTS[message].index(text)
    return Span(message, start, start + len(text))


def place(text: str, message: int) -> dict[str, int]:
    span = span_of(text, message)
    return {"message": span.message, "start": span.start, "end": span.end}


# Kept pieces


def test_pieces_may_come_in_any_order_touch_and_overlap():
    kept = KeptText([Span(1, 10, 20), Span(0, 5, 9), Span(0, 2, 5), Span(1, 12, 14), Span(1, 22, 25)])
    assert kept.holds(0, 2, 9) and kept.holds(1, 10, 20)
    assert (
        not kept.holds(0, 1, 9) and not kept.holds(1, 10, 21) and not kept.holds(1, 19, 23) and not kept.holds(2, 0, 1)
    )


# Answers and evidence


def test_an_answer_survives_by_its_content_words_at_one_of_its_places():
    spans = [place("at Luigi for 19:00", 0), place("Luigi", 1)]
    assert answer_survival(TEXTS, spans, [span_of("Luigi", 1)]) == 1.0
    assert answer_survival(TEXTS, spans, [span_of("Luigi", 0), span_of("19:00", 0)]) == 1.0  # "at", "for" do not count
    assert answer_survival(TEXTS, spans, [span_of("Luigi", 0), span_of("19", 0)]) == 0.0  # 00 is gone
    assert answer_survival(TEXTS, spans, [span_of("Luig", 1)]) == 0.0
    assert answer_survival(TEXTS, [], [Span(0, 0, 40)]) == 0.0
    assert answer_survival(["yes ?!"], [{"message": 0, "start": 4, "end": 6}], [Span(0, 0, 6)]) == 0.0  # no words


def test_evidence_recall_counts_content_words():
    evidence = [place("A table at Luigi, 4 guests", 1), place("Change it to 20:30", 2)]
    # table, Luigi, 4, guests; Change, 20, 30
    assert evidence_recall(TEXTS, evidence, [span_of("table at Luigi", 1), span_of("30", 2)]) == pytest.approx(3 / 7)
    assert evidence_recall(TEXTS, evidence, [Span(n, 0, len(text)) for n, text in enumerate(TEXTS)]) == 1.0
    assert evidence_recall(TEXTS, evidence, []) == 0.0


# Entities


def test_entities_are_counted_once_and_survive_at_any_mention_or_in_the_ledger():
    mentions = [
        Mention("Luigi", "NAME", 0, 23, 28),
        Mention("LUIGI", "NAME", 1, 11, 16),
        Mention("Luigi", "IDENTIFIER", 1, 11, 16),
        Mention("19:00", "DATE", 0, 33, 38),
        Mention("4", "NUMBER", 1, 18, 19),
        Mention("Never seat us at the door.", "CONSTRAINT", 0, 40, 66),
    ]
    # Four: luigi the name, luigi the identifier, 19:00, 4.
    assert entity_survival(mentions, []) == 0.0
    assert entity_survival(mentions, [Span(0, 23, 28)]) == 0.25
    assert entity_survival(mentions, [Span(1, 11, 16)]) == 0.5
    assert entity_survival(mentions, [Span(0, 34, 38)]) == 0.0
    ledger = [Mention("19:00", "DATE", 0, 33, 38), Mention("4", "DATE", 2, 0, 1), Mention("Rome", "NAME", 2, 0, 4)]
    assert entity_survival(mentions, [Span(0, 23, 28)], ledger) == 0.5
    assert entity_survival(mentions, [Span(0, 23, 28), Span(0, 33, 38)], ledger) == 0.5
    assert entity_survival([], []) == 1.0


def test_white_space_inside_an_entity_need_not_lie_in_a_piece():
    mentions = [Mention("Blue Door Club", "NAME", 2, 45, 59)]
    assert TEXTS[2][45:59] == "Blue Door Club"
    assert entity_survival(mentions, [Span(2, 45, 49), Span(2, 50, 54), Span(2, 55, 59)]) == 1.0
    assert entity_survival(mentions, [Span(2, 45, 49), Span(2, 55, 59)]) == 0.0


# Values that changed


def test_the_latest_value_must_be_kept_and_stand_last():
    current, stale = [place("20:30", 2)], [place("19:00", 0)]
    old, now = span_of("19:00", 0), span_of("20:30", 2)
    cases = {(): (0, 0), (old,): (0, 1), (now,): (1, 0), (old, now): (1, 0), (Span(2, now.start, now.end - 1),): (0, 0)}
    for pieces, (latest, misleading) in cases.items():
        assert latest_value(TEXTS, current, stale, pieces) == latest
        assert stale_as_current(TEXTS, current, stale, pieces) == misleading


def test_a_former_value_that_is_kept_after_the_current_one_is_taken_for_current():
    text = ["Now B-2. It was B-1 before. So B-2."]
    current = [{"message": 0, "start": 4, "end": 7}, {"message": 0, "start": 31, "end": 34}]
    stale = [{"message": 0, "start": 16, "end": 19}]
    assert latest_value(text, current, stale, [Span(0, 0, 27)]) == 0.0
    assert stale_as_current(text, current, stale, [Span(0, 0, 27)]) == 0.0
    assert latest_value(text, current, stale, [Span(0, 0, 35)]) == 1.0
    assert latest_value(text, current, [], [Span(0, 4, 7)]) == 1.0
    assert latest_value(text, [], [], [Span(0, 0, 35)]) == 0.0


def test_a_former_value_inside_the_current_one_is_no_rival():
    text = ["San Jose Airport"]
    current = [{"message": 0, "start": 0, "end": 16}]
    for start, end in ((0, 8), (4, 8), (9, 16)):
        stale = [{"message": 0, "start": start, "end": end}]
        assert latest_value(text, current, stale, [Span(0, 0, 16)]) == 1.0
        assert latest_value(text, current, stale, [Span(0, start, end)]) == 0.0


# Turns

SCORES = [[1.0, 0.5, 0.0], [1.0], [0.0, None, 0.5], [None, 1.0, 1.0], []]


def test_retention_at_a_turn_is_a_mean_over_the_rows_that_have_it():
    assert retention_at_turn(SCORES, 1) == pytest.approx(2 / 3)
    assert retention_at_turn(SCORES, 2) == 0.75
    assert retention_at_turn(SCORES, 3) == 0.5
    assert retention_at_turn(SCORES, 4) is None
    assert retention_at_turn([], 1) is None
    assert mean_measured([None, 0.0, 1.0]) == 0.5


def test_degradation_is_paired():
    assert degradation(SCORES, 1, 3) == 0.25  # rows 0 and 2: 1 and -0.5
    assert degradation(SCORES, 1, 2) == 0.5  # row 0 only
    assert degradation(SCORES) is None
    assert degradation([[0.9] * 9 + [0.4], [0.7] * 12]) == pytest.approx(0.25)


@pytest.mark.parametrize("turn", [0, -1])
def test_turns_begin_at_one(turn):
    with pytest.raises(ReetError, match=f"`turn` must be at least 1, got {turn}"):
        retention_at_turn(SCORES, turn)
    with pytest.raises(ReetError, match="at least 1"):
        degradation(SCORES, 1, turn)


# Budgets


def test_rates_targets_and_overruns():
    found = rate_adherence(compressed=[20, 30, 55, 8], budgets=[20, 40, 50, 5], originals=[100, 200, 100, 4])
    # Rates .2 .15 .55 2, targets .2 .2 .5 1, differences 0 .05 .05 1.
    assert found == pytest.approx(
        {"rate": 0.725, "target": 0.475, "rate_error": 0.275, "overruns": 2, "worst_overrun": 5}
    )
    assert rate_adherence([3], [5], [10]) == pytest.approx(
        {"rate": 0.3, "target": 0.5, "rate_error": 0.2, "overruns": 0, "worst_overrun": 0}
    )


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        (([], [], []), "above 0, got 0, 0 and 0"),
        (([1], [1, 2], [3]), "got 1, 2 and 1"),
        (([0], [0], [0]), "`originals` must be at least 1 token each, got 0"),
    ],
)
def test_rates_of_nothing_are_refused(numbers, message):
    with pytest.raises(ReetError, match=message):
        rate_adherence(*numbers)


# Outputs


def test_pieces_must_stand_verbatim_and_in_order():
    texts = ["alpha beta gamma", "delta"]
    pieces = [Span(0, 0, 5), Span(0, 11, 16), Span(1, 0, 5)]
    assert provenance_fidelity(texts, pieces, "user: alpha gamma\nassistant: delta") == 1.0
    assert provenance_fidelity(texts, pieces, ["alpha gamma", "delta"]) == 1.0
    assert provenance_fidelity(texts, pieces, "alpha Gamma delta") == pytest.approx(2 / 3)
    assert provenance_fidelity(texts, pieces, "delta alpha gamma") == pytest.approx(2 / 3)
    assert provenance_fidelity(texts, pieces, "alpha") == pytest.approx(1 / 3)
    assert provenance_fidelity(texts, [Span(0, 0, 5)] * 2, "alpha") == 0.5
    assert provenance_fidelity(["a\nb"], [Span(0, 0, 3)], ["a", "b"]) == 0.0
    assert provenance_fidelity(texts, [], "anything") == 1.0


def test_prefix_stability_is_what_a_cache_can_use_again():
    assert prefix_stability("abcd", "abcdef") == 1.0
    assert prefix_stability("abcd", "abXd") == 0.5
    assert prefix_stability("abcd", "ab") == 0.5
    assert prefix_stability("abcd", "Xabcd") == 0.0
    assert prefix_stability("", "abc") == 1.0


# Whatever is kept

PLACES = st.integers(0, len(TEXTS) - 1).flatmap(
    lambda n: st.tuples(st.just(n), st.integers(0, len(TEXTS[n])), st.integers(0, len(TEXTS[n])))
)
SPANS = PLACES.map(lambda place: Span(place[0], *sorted(place[1:])))
KEPT = st.lists(SPANS, max_size=12)
GOLD = st.lists(SPANS.map(lambda span: {"message": span.message, "start": span.start, "end": span.end}), max_size=4)
SCORE = st.none() | st.floats(0, 1)


@given(KEPT, KEPT, GOLD, GOLD)
@settings(deadline=None, max_examples=200)
def test_keeping_more_never_lowers_survival(kept, more, gold, stale):
    mentions = find_mentions(CONVERSATION)
    for before, after in (
        (answer_survival(TEXTS, gold, kept), answer_survival(TEXTS, gold, kept + more)),
        (evidence_recall(TEXTS, gold, kept), evidence_recall(TEXTS, gold, kept + more)),
        (entity_survival(mentions, kept), entity_survival(mentions, kept + more)),
        (entity_survival(mentions, kept), entity_survival(mentions, kept, mentions[:3])),
    ):
        assert 0.0 <= before <= after <= 1.0
    assert latest_value(TEXTS, gold, stale, kept) <= answer_survival(TEXTS, gold, kept)
    assert latest_value(TEXTS, gold, stale, kept) + stale_as_current(TEXTS, gold, stale, kept) <= 1.0
    assert latest_value(TEXTS, gold, [], kept) == answer_survival(TEXTS, gold, kept)


@given(KEPT, st.randoms())
@settings(deadline=None, max_examples=100)
def test_a_stretch_of_pieces_holds_what_its_characters_hold(kept, random):
    held = {(span.message, place) for span in kept for place in range(span.start, span.end)}
    shuffled = random.sample(kept, len(kept))
    for number, text in enumerate(TEXTS):
        for start in range(0, len(text), 7):
            for end in (start + 1, start + 5, len(text)):
                characters = {(number, place) for place in range(start, end)}
                assert KeptText(shuffled).holds(number, start, end) == (characters <= held)


@given(st.lists(SPANS, max_size=12))
@settings(deadline=None, max_examples=100)
def test_entities_survive_as_the_receipt_says(spans):
    kept: list[Span] = []
    for span in sorted(spans):
        if not kept or not kept[-1].overlaps(span):
            kept.append(span)
    mentions = find_mentions(CONVERSATION)
    survives = inside(span_array(mentions), merged_places(CONVERSATION, kept))
    entities = entities_of(mentions, make_receipt(mentions, survives, np.zeros(len(mentions), dtype=bool)))
    assert len(entities) >= 5
    assert entity_survival(mentions, kept) == pytest.approx(sum(entity.kept for entity in entities) / len(entities))
    assert provenance_fidelity(TEXTS, kept, render_text(CONVERSATION, kept)) == 1.0
    rendered = [message["content"] for message in render_messages(CONVERSATION, kept)]
    assert provenance_fidelity(TEXTS, kept, rendered) == 1.0


@given(st.lists(st.lists(SCORE, max_size=12), max_size=8), st.integers(1, 12), st.integers(1, 12))
@settings(deadline=None)
def test_turns_are_in_range_and_degradation_changes_sign_with_its_direction(scores, first, last):
    found = retention_at_turn(scores, first)
    assert found is None or 0.0 <= found <= 1.0 + 1e-9
    loss, gain = degradation(scores, first, last), degradation(scores, last, first)
    assert loss == (None if gain is None else pytest.approx(-gain))
    if all(len(row) >= max(first, last) and None not in row for row in scores) and scores:
        assert loss == pytest.approx(retention_at_turn(scores, first) - retention_at_turn(scores, last))


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300), st.integers(1, 300)), min_size=1, max_size=8))
@settings(deadline=None)
def test_rates_agree_with_overruns(rows):
    found = rate_adherence(*(list(column) for column in zip(*rows, strict=True)))
    assert abs(found["rate"] - found["target"]) <= found["rate_error"] + 1e-9
    assert (found["overruns"] > 0) == (found["worst_overrun"] > 0)
    assert 0.0 <= found["target"] <= 1.0 and 0 <= found["overruns"] <= len(rows)


@given(st.text("ab", max_size=9), st.text("ab", max_size=9), st.text("ab", max_size=9))
def test_stable_prefixes(shared, before, after):
    found = prefix_stability(shared + before, shared + after)
    assert 0.0 <= found <= 1.0
    assert found * len(shared + before) >= len(shared) - 1e-9
    assert prefix_stability(shared, shared + after) == 1.0
