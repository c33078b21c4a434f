"""Facts under a budget: never above it, best first, nothing that no longer holds."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reet_hf.facts import choose_facts, render_facts, sources_of, weighted
from reet_hf.ledger import Ledger
from reet_hf.records import Mention, Span, Statement

COUNTERS = [
    lambda text: len(text.split()),
    len,
    lambda text: len(text) % 7 + len(text) // 3,
    lambda text: zlib.crc32(text.encode()) % 50,
]


def ledger_of(*said: tuple[str, str]) -> Ledger:
    """A message for each (entity, fact)."""
    ledger = Ledger()
    for number, (name, fact) in enumerate(said):
        text = f"{name} {fact}."
        place = Span(number, 0, len(name))
        statement = Statement(place, fact, number, len(name) + 1, len(name) + 1 + len(fact))
        ledger.add(text, [Mention(name, "ORGANIZATION", number, 0, len(name))], [statement])
    return ledger


SAID = (
    ("Acme Corp", "was founded in 1985"),
    ("Oslo Bank", "has 12 branches"),
    ("Acme Corp", "makes boats"),
    ("Oslo Bank", "has 14 branches"),
    ("Acme Corp", "is based in\n Bergen"),
)
LEDGER = ledger_of(*SAID)


def test_facts_stand_behind_their_entity_in_the_order_of_the_ledger():
    assert render_facts(LEDGER, [4, 3, 0]) == (
        "Acme Corp: was founded in 1985 | is based in Bergen\nOslo Bank: has 14 branches"
    )


def test_the_best_facts_are_kept_and_what_was_superseded_is_never_shown():
    worth = [0.1, 0.9, 0.5, 0.4, 0.3]
    everything = choose_facts(LEDGER, worth, 1000, COUNTERS[0])
    assert everything.facts == (0, 2, 3, 4) and "12 branches" not in everything.text
    few = choose_facts(LEDGER, worth, 9, COUNTERS[0])
    assert few.facts == (2, 3) and few.tokens == 9
    texts = [f"{name} {fact}." for name, fact in SAID]
    names = [Span(0, 0, 9), Span(1, 0, 9)]
    assert sources_of(LEDGER, few.facts, texts) == [*names, Span(2, 10, 21), Span(3, 10, 25)]


def test_a_fact_that_fits_is_not_lost_behind_one_that_does_not():
    lines = choose_facts(LEDGER, [0.9, 0, 0.5, 0.1, 0.8], 4, COUNTERS[0])
    assert lines.facts == (2,) and lines.text == "Acme Corp: makes boats"


def test_references_make_an_entity_weigh_more():
    assert weighted(LEDGER, [1.0] * 5) == pytest.approx([1.4, 1.2, 1.4, 1.2, 1.4])


@given(st.lists(st.floats(0, 1), min_size=5, max_size=5), st.integers(0, 60), st.sampled_from(range(len(COUNTERS))))
def test_the_budget_holds_for_any_way_of_counting(worth, limit, counter):
    lines = choose_facts(LEDGER, worth, limit, COUNTERS[counter])
    assert lines.tokens <= limit and lines.tokens == (COUNTERS[counter](lines.text) if lines.facts else 0)
    assert all(LEDGER.facts[number].current for number in lines.facts)


def test_an_empty_ledger_gives_an_empty_text():
    lines = choose_facts(Ledger(), [], 10, COUNTERS[0])
    assert (lines.text, lines.facts, lines.tokens) == ("", (), 0)
