"""Records that a query names, against a plain twin; and what a compression makes of them."""

from __future__ import annotations

import json
from math import exp, log1p, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import pipeline

from reet_hf.conversation import parse_messages
from reet_hf.recall import TOOL
from reet_hf.scoring.lookup import BEHIND, NONE, SHARPNESS, UNKNOWN, named_records
from reet_hf.scoring.scorer import hold_records

WORDS = st.integers(0, 6)


def twin(records: list[list[int]], query: list[int]) -> list[float]:
    """The chance of each record, word by word."""
    wanted = sorted({word for word in query if word > 0})
    if not wanted:
        return [0.0] * len(records)
    frequency = {word: sum(word in record for record in records) for word in wanted}
    weight = {word: log1p(len(records) / n) if n else UNKNOWN * log1p(len(records)) for word, n in frequency.items()}
    total = sum(weight.values())
    shares = [sum(weight[word] for word in wanted if word in record) / total for record in records]
    return [
        exp(BEHIND * (share - max(shares)))
        / (1 + exp(-SHARPNESS * (share - NONE)))
        / sqrt(sum(other >= share - 1e-9 for other in shares))
        if share
        else 0.0
        for share in shares
    ]


@given(
    records=st.lists(st.lists(WORDS, min_size=1, max_size=5), min_size=1, max_size=7),
    queries=st.lists(st.lists(st.integers(-1, 8), max_size=5), min_size=1, max_size=3),
)
@settings(deadline=None, max_examples=150)
def test_chances_are_those_of_the_twin(records, queries):
    numbers = np.repeat(10 + 3 * np.arange(len(records)), [len(record) for record in records])
    words = np.array([word for record in records for word in record])
    found, chances = named_records(numbers, words, [np.array(query, dtype=np.int64) for query in queries])
    told = np.zeros(len(records))
    told[(found - 10) // 3] = chances
    best = np.max([twin(records, query) for query in queries], axis=0)
    assert told == pytest.approx(best, abs=1e-8)
    assert ((told >= 0) & (told <= 1)).all()


def test_a_record_that_has_all_words_alone_is_meant():
    numbers, words = np.array([0, 0, 1, 1, 2, 2]), np.array([5, 7, 5, 8, 6, 7])
    found, chances = named_records(numbers, words, [np.array([5, 7])])
    assert dict(zip(found.tolist(), chances.tolist(), strict=True))[0] > 0.99
    assert chances[1:].max() < 0.1


def called(*pairs: tuple[str, str]) -> dict:
    calls = [{"type": "function", "function": {"name": tool, "arguments": "{}"}} for _, tool in pairs]
    named = [{**call, "id": name} if name else call for call, (name, _) in zip(calls, pairs, strict=True)]
    return {"role": "assistant", "content": None, "tool_calls": named}


def result(answered: str, **fields: str) -> dict:
    return {
        "role": "tool",
        "content": "One order: KX-4001.",
        **({"tool_call_id": answered} if answered else {}),
        **fields,
    }


EXCHANGES = {
    "ids": [called(("c1", "list"), ("c2", TOOL)), result("c2"), result("c1"), called(("c3", TOOL)), result("c3")],
    "the same ids again": [called(("c0", TOOL)), result("c0"), called(("c0", "list")), result("c0"), result("c1")],
    "no ids": [called(("", "list"), ("", TOOL)), result(""), result(""), called(("", "list")), result("")],
    "names": [called(("", "list"), ("", TOOL)), result("", name=TOOL), result("", name="list")],
}
RECORDS = {
    "ids": [False, False, True, False, False],
    "the same ids again": [False, False, False, True, True],
    "no ids": [False, True, False, False, True],
    "names": [False, False, True],
}


@pytest.mark.parametrize("name", EXCHANGES)
def test_records_are_tool_results_but_nothing_recalled(name):
    messages = parse_messages([{"role": "user", "content": "Show me the orders."}, *EXCHANGES[name]])
    assert hold_records(messages, []) == [False, *RECORDS[name]]
    calls: list[tuple[str, bool]] = []
    assert [flag for message in messages for flag in hold_records([message], calls)] == [False, *RECORDS[name]]


def test_structured_text_is_a_record_whoever_says_it():
    told = [{"role": "user", "content": "| a | b |\n|---|---|\n| 1 | 2 |"}, {"role": "user", "content": "a, b"}]
    assert hold_records(parse_messages(told), []) == [True, False]


PEOPLE = ["Ann Lee", "Bo Chen", "Cy Young", "Di Marsh", "Ed Novak", "Flo Iyer", "Gus Brandt", "Hal Demir"]
ITEMS = ["blue lamp", "oak desk", "wool blanket", "steel kettle", "folding bike", "garden hose"]
ORDERS = [
    {"order": f"KX-{4000 + 6 * p + i}", "customer": person, "item": item, "city": "Oslo", "paid": True}
    for p, person in enumerate(PEOPLE)
    for i, item in enumerate(ITEMS)
]
FORMS = {
    "json": json.dumps(ORDERS),
    "indented json": json.dumps({"status": 200, "data": {"orders": ORDERS}}, indent=2),
    "csv": "order,customer,item,city,paid\n" + "\n".join(",".join(map(str, row.values())) for row in ORDERS),
    "listing": "\n\n".join("\n".join(f"{key}: {value}" for key, value in row.items()) for row in ORDERS),
    "items": "\n".join(
        f"{n}. {row['customer']}: {row['item']}\n   order: {row['order']} · city: {row['city']}"
        for n, row in enumerate(ORDERS, 1)
    ),
}


@pytest.fixture(scope="module")
def trained(bundled):
    return pipeline("reet-compression", model=str(bundled))


@pytest.mark.parametrize("form", FORMS)
def test_the_record_that_the_user_means_is_kept(form, trained):
    call = {"id": "c1", "type": "function", "function": {"name": "list_orders", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "Which orders do we have?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": FORMS[form]},
        {"role": "assistant", "content": "There are forty-eight."},
        {"role": "user", "content": "Cancel Cy Young's order for the steel kettle. Refund Hal Demir for the oak desk."},
    ]
    out = trained(messages, budget=0.15)
    wanted = [
        row["order"]
        for row in ORDERS
        if (row["customer"], row["item"]) in (("Cy Young", "steel kettle"), ("Hal Demir", "oak desk"))
    ]
    told = out["messages"][2]["content"]
    assert all(order in told for order in wanted)
    assert sum(row["order"] in told for row in ORDERS) < len(ORDERS) / 2
