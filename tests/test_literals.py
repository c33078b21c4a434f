"""Literals and ranks that a query names, against plain twins; and what a compression makes of them."""

from __future__ import annotations

import json
import random
import re

import numpy as np
import pytest
from conftest import laid_out
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import pipeline

from reet_hf.scoring.extremes import ranked_places
from reet_hf.scoring.literals import (
    LINK,
    MOST_LINKS,
    MOST_SEARCHES,
    MOST_UNITS,
    NAMED,
    identifiers,
    lifted,
    named_units,
    quoted,
)
from reet_hf.scoring.scorer import TokenScores

NAMES = ["ord-1", "ord-2", "cu_7", "PAYMENT", "x9z8", "20417"]


def twin(messages: list[list[str]], query: str) -> dict[int, float]:
    """Chances of the units, all names looked for in all of them."""
    units = [set(re.findall(r"[\w-]+", unit)) for own in messages for unit in own]
    having = {name: [n for n, words in enumerate(units) if name in words] for name in NAMES}
    having = {name: found for name, found in having.items() if len(found) <= MOST_UNITS}
    asked = [name for name in NAMES if name in re.findall(r"[\w-]+", query)]
    counts = {n: sum(n in having.get(name, []) for name in asked) for n in range(len(units))}
    best = max(counts.values(), default=0)
    found = {n: NAMED for n, count in counts.items() if best and count == best}
    seen, link = set(asked), 0
    while True:
        link += 1
        names = {name for n in found for name in units[n] if name in NAMES} - seen
        seen |= names
        fresh = {n for name in names for n in having.get(name, [])} - set(found)
        if not fresh:
            return found
        found |= dict.fromkeys(fresh, NAMED * LINK**link)


SENTENCES = st.lists(st.sampled_from([*NAMES, "the", "red"]), min_size=1, max_size=4).map(" ".join)


@given(messages=st.lists(st.lists(SENTENCES, max_size=4), min_size=1, max_size=4), query=SENTENCES)
@settings(deadline=None, max_examples=300)
def test_named_units_are_those_of_the_twin(messages, query):
    texts, places = laid_out(messages)
    units, chances = named_units(texts, query, places)
    assert dict(zip(units.tolist(), chances.tolist(), strict=True)) == pytest.approx(twin(messages, query))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Where is order KX-4471, and ord_12?", ["KX-4471", "ord_12"]),
        ("Is 3f2a-99 the id of myValue or of ABCDE?", ["3f2a-99", "myValue", "ABCDE"]),
        ("In 2019 the 21st of 300 guests paid 10km, NASA too.", []),
        ("The code is 20417, the year 1984, the flight LH441.", ["20417", "LH441"]),
    ],
)
def test_words_that_name_one_thing(text, found):
    assert identifiers(text) == found


def test_what_is_quoted():
    assert quoted('Who said "never again" and \'so be it\', isn\'t it, in `run.py`, "never again"?') == [
        "never again",
        "so be it",
        "run.py",
    ]


def test_what_stands_often_names_nothing():
    texts, places = laid_out([["ab-1 is one"] * (MOST_UNITS + 1)])
    assert not len(named_units(texts, "Where is ab-1?", places)[0])
    texts, places = laid_out([["ab-1 is one"] * MOST_UNITS])
    assert len(named_units(texts, "Where is ab-1?", places)[0]) == MOST_UNITS


def test_a_pasted_log_asks_for_no_more_than_a_question():
    rows = [f"id-{number} and id-{number + 1}" for number in range(500)]
    texts, places = laid_out([rows])
    units, _ = named_units(texts, " ".join(f"id-{number}" for number in range(0, 400, 3)), places)
    assert 0 < len(units) <= 2 * MOST_SEARCHES
    assert len(named_units(texts, "Where is id-1?", places)[0]) == 2 + MOST_LINKS, "a chain has an end"


def test_a_literal_inside_another_word_is_not_meant():
    texts, places = laid_out([["see ab-12 here", "see xab-1 here", "see ab-1-c here", "see ab-1, here"]])
    assert named_units(texts, "Where is ab-1?", places)[0].tolist() == [3]


@pytest.mark.parametrize(
    ("query", "unit"),
    [
        ('Which string begins with "qwe" and ends with "rty"?', 1),
        ("Prefix: qwe\nSuffix: rty", 1),
        ('What starts with "zzz"?', 3),
        ('Which one ends with "zzz"?', 3),
        ("What is between qwe and rty?", None),  # nothing says that these are parts of a word
    ],
)
def test_beginnings_and_ends_of_words(query, unit):
    texts, places = laid_out([["the label qweklmxyz.", "the label qweabcrty."], ["it is xyzabcrty.", "a zzzkm then."]])
    assert named_units(texts, query, places)[0].tolist() == ([] if unit is None else [unit])


def ranked(texts: list[str], query: str) -> list[str]:
    return [re.match(r"-?[\d.]+", texts[message][start:]).group() for message, start in ranked_places(texts, query)]


@given(numbers=st.lists(st.integers(-500, 500), min_size=16, max_size=60, unique=True), rank=st.integers(1, 8))
@settings(deadline=None, max_examples=100)
def test_ranks_are_those_of_sorting(numbers, rank):
    text = f"Here they are: {json.dumps(numbers)}"
    ordinal = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth"][rank - 1]
    low = sorted(numbers)
    assert ranked([text], f"What is the {ordinal} largest number?") == [str(low[-rank])]
    assert ranked([text], f"the {ordinal} smallest, please") == [str(low[rank - 1])]
    middle = {str(low[(len(low) - 1) // 2]), str(low[len(low) // 2])}
    assert set(ranked([text], "And the median?")) == middle


def test_ranks_of_a_field_of_records():
    rows = [{"id": n, "total price": p, "n": 100 - p} for n, p in enumerate([30, 70.5, 10])]
    texts = ["Nothing 1, 2, 3 here.", json.dumps(rows)]
    assert ranked(texts, "Which order has the highest total price?") == ["70.5"]
    assert ranked(texts, "the lowest price in total, and the second lowest?") == ["10", "30"]
    assert ranked(texts, "Which is the highest weight?") == []
    assert ranked(texts, "What is the total price?") == []
    assert ranked(texts, "What is the 4th highest total price?") == []


def test_equal_numbers_count_once_and_short_lists_are_no_lists():
    numbers = [5, 9, 9, *range(-20, 0)]
    assert ranked([str(numbers)], "the second largest") == ["5"]
    assert ranked_places([str(numbers)], "the largest") == [(0, 4)]
    assert ranked(["[1, 2, 3]"], "the largest") == []


def test_scores_are_lifted_where_it_is_named():
    texts, places = laid_out([["red", "the ord-1"], ["ord-1 is x9z8"], ["x9z8 red"], ["blue"]])
    words = [(n, m.start(), m.end()) for n, text in enumerate(texts) for m in re.finditer(r"\S+", text)]
    columns = np.array(words).T
    chances = np.full(len(words), 0.2)
    chances[2] = 0.99
    scores = TokenScores(*columns, importance=np.zeros(len(words)), chances=chances, prior=chances)
    units, raised = named_units(texts, "Where is ord-1?", places)
    found = lifted(scores, places[units], raised)
    assert found.chances == pytest.approx([0.2, NAMED, 0.99, NAMED, NAMED, NAMED, NAMED * LINK, NAMED * LINK, 0.2])
    assert found.prior is chances and lifted(scores, places[:0], raised[:0]) is scores
    silent = TokenScores(*columns, importance=np.zeros(len(words)))
    assert lifted(silent, places[units], raised) is silent


@pytest.fixture(scope="module")
def compress(bundled):
    return pipeline("reet-compression", model=str(bundled))


def test_a_chain_of_ids_is_kept_whole(compress):
    chooser = random.Random(3)
    filler = [
        f"Mr {chooser.choice('ABCDEFG')}. asked for the {chooser.choice(['red', 'blue'])} lamp." for _ in range(60)
    ]
    links = [
        "Order ord-881 belongs to cus_4410.",
        "The payment of cus_4410 went through as PY77120.",
        "PY77120 failed.",
    ]
    said = [*filler[:20], links[2], *filler[20:40], links[0], *filler[40:], links[1]]
    messages = [{"role": "user", "content": text} for text in said]
    out = compress({"messages": messages, "query": "What became of the payment for ord-881?"}, budget=0.1)
    assert "PY77120 failed" in out["text"] and "cus_4410" in out["text"]


def test_the_row_with_the_highest_value_is_kept(compress):
    rows = [{"id": f"ord-{n}", "total": (n * 7919) % 9973, "name": "Ann"} for n in range(1, 80)]
    best = max(rows, key=lambda row: row["total"])
    out = compress({"context": json.dumps(rows), "query": "Which order has the highest total?"}, budget=0.15)
    assert best in json.loads(out["text"])
