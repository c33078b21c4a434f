"""Facts under a budget: never above it, best first, nothing that no longer holds."""

from __future__ import annotations

import zlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reet_hf.conversation import Conversation, Message
from reet_hf.facts import Lines, Saying, choose_lines, render_lines, sayings, weighted
from reet_hf.ledger import Ledger
from reet_hf.records import Mention, Span, Statement, Unit
from reet_hf.segmentation import units

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
TEXTS = [f"{name} {fact}." for name, fact in SAID]


def told(ledger: Ledger, texts: list[str], labels: list[str] | None = None) -> list[Saying]:
    """What lines can hold of messages."""
    found = [Unit(n, u.start, u.end, u.kind) for n, text in enumerate(texts) for u in units(one(text), "sentence")]
    return sayings(ledger, found, texts, labels or [""] * len(texts))


def one(text: str) -> Conversation:
    return Conversation((Message("document", text),))


def chosen(worth: list[float], limit: int, counter=COUNTERS[0]) -> Lines:
    """Lines of the current facts of `LEDGER`, by their worth."""
    found = [replace(said, worth=value) for said, value in zip(told(LEDGER, TEXTS), worth, strict=True)]
    return choose_lines(found, limit, counter)


def test_facts_stand_behind_their_entity_in_the_order_of_the_ledger():
    assert render_lines(told(LEDGER, TEXTS)) == (
        "Acme Corp: was founded in 1985 | makes boats | is based in Bergen\nOslo Bank: has 14 branches"
    )


def test_what_was_superseded_is_in_no_line():
    found = told(LEDGER, TEXTS)
    assert [said.text for said in found] == [
        "was founded in 1985",
        "makes boats",
        "is based in Bergen",
        "has 14 branches",
    ]
    assert [said.unit for said in found] == [0, 2, 4, 3]


def test_a_sentence_that_no_fact_stands_for_is_told_behind_who_said_it():
    texts = [*TEXTS, "Shall we   meet again? The bank has closed."]
    ledger = ledger_of(*SAID)
    start = texts[5].index("has closed")
    subject = Span(5, texts[5].index("The bank"), texts[5].index(" has"))
    ledger.add(texts[5], [], [Statement(subject, "has closed", 5, start, start + len("has closed"))])
    found = told(ledger, texts, [*[""] * 5, "user"])
    assert [(said.heading, said.text) for said in found if said.line[0]] == [
        ("user", "Shall we meet again?"),
    ]
    assert render_lines(found).splitlines()[-2:] == [
        "Oslo Bank: has 14 branches | has closed",
        "user: Shall we meet again?",
    ]
    more = texts[5].replace("The bank", "The bank, as I heard on local radio yesterday,")
    ledger = ledger_of(*SAID)
    start = more.index("has closed")
    subject = Span(5, more.index("The bank"), more.index(","))
    ledger.add(more, [], [Statement(subject, "has closed", 5, start, start + len("has closed"))])
    found = told(ledger, [*TEXTS, more], [*[""] * 5, "user"])
    assert [said.text for said in found if said.line[0]] == ["Shall we meet again?", more[more.index("The bank") :]]
    assert not any(said.text == "has closed" for said in found)  # its sentence says it


def test_what_is_never_cut_keeps_its_lines():
    code = "```python\nif a:\n    b()\n```"
    found = sayings(Ledger(), [Unit(0, 0, len(code), "code")], [code], ["assistant"])
    assert render_lines(found) == f"assistant: {code}"
    assert sayings(Ledger(), [Unit(0, 0, len(code))], [code], [""])[0].text == "```python if a: b() ```"
    ledger = ledger_of(("Acme", "pays 12 USD"), ("Acme", "pays 14 USD"))
    texts = ["Acme pays 12 USD.", "Acme pays 14 USD."]
    table = sayings(ledger, [Unit(n, 0, len(text), "table") for n, text in enumerate(texts)], texts, ["", ""])
    assert [said.text for said in table] == texts  # what is no sentence is told whatever facts say


def test_the_best_is_kept_with_its_sources():
    few = chosen([0.1, 0.5, 0.3, 0.4], 9)
    assert few.text == "Acme Corp: makes boats\nOslo Bank: has 14 branches" and few.tokens == 9
    assert few.sources == (Span(0, 0, 9), Span(1, 0, 9), Span(2, 10, 21), Span(3, 10, 25))


def test_a_fact_that_fits_is_not_lost_behind_one_that_does_not():
    assert chosen([0.9, 0.5, 0.8, 0.1], 4).text == "Acme Corp: makes boats"


def test_references_make_an_entity_weigh_more_and_no_sentence():
    texts = [*TEXTS, "Hm?"]
    ledger = ledger_of(*SAID)
    ledger.add("Hm?")
    worth = [said.worth for said in weighted(told(ledger, texts), [1.0] * 5, ledger)]
    assert worth == pytest.approx([1.4, 1.4, 1.4, 1.2, 1.0])
    assert [said.worth for said in weighted(told(ledger, texts), [0.5] * 5)] == [0.5] * 5


@given(st.lists(st.floats(0, 1), min_size=4, max_size=4), st.integers(0, 60), st.sampled_from(range(len(COUNTERS))))
def test_the_budget_holds_for_any_way_of_counting(worth, limit, counter):
    lines = chosen(worth, limit, COUNTERS[counter])
    assert lines.tokens <= limit and lines.tokens == (COUNTERS[counter](lines.text) if lines.text else 0)
    assert "12 branches" not in lines.text


def test_an_empty_ledger_gives_an_empty_text():
    assert choose_lines([], 10, COUNTERS[0]) == Lines("", (), 0)
