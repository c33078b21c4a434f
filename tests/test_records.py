"""Records: frozen, comparable, and the same after a trip through JSON."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reet_hf.records import Compressed, Entity, Fact, Mention, Piece, Receipt, Span, TokenCounts, Turn, Unit

MENTION = Mention("Acme", "NAME", 0, 0, 4)
RECORDS = [
    Span(0, 1, 2),
    Unit(0, 1, 2),
    Piece(0, 1, 2, 0.5),
    MENTION,
    Entity("Acme", "NAME", (0, 2), True),
    Fact("founded in 1985", 0, 5, 20),
    Receipt(kept=(MENTION,)),
    TokenCounts(10, 5, 6),
    Turn("q", "a"),
]
FULL = Compressed(
    text="user: Acme é 你好",
    messages=({"role": "user", "content": "Acme é 你好"}, {"role": "assistant", "content": None, "tool_calls": []}),
    pieces=(Piece(0, 0, 4, 0.25), Piece(0, 5, 9, 0.75)),
    tokens=TokenCounts(10, 5, 6),
    entities=(Entity("Acme", "NAME", (0, 2), True),),
    facts={"Acme": (Fact("founded in 1985", 0, 5, 20), Fact("in 1984", 0, 5, 20, current=False))},
    receipt=Receipt(
        kept=(MENTION,), in_ledger=(Mention("7", "NUMBER", 1, 0, 1),), dropped=(Mention("x", "ID", 2, 0, 1),)
    ),
)
EMPTY = Compressed("", (), (), TokenCounts(0, 0, 0))
SPANS = st.builds(
    lambda m, a, b: Span(m, min(a, b), max(a, b)), st.integers(0, 1), st.integers(0, 9), st.integers(0, 9)
)


@pytest.mark.parametrize("record", [*RECORDS, FULL], ids=lambda record: type(record).__name__)
def test_records_are_frozen(record):
    name = record._fields[0] if isinstance(record, tuple) else dataclasses.fields(record)[0].name
    with pytest.raises(AttributeError):  # `dataclasses.FrozenInstanceError` is one
        setattr(record, name, getattr(record, name))


@pytest.mark.parametrize("record", [FULL, EMPTY], ids=["full", "empty"])
def test_a_result_is_the_same_after_json(record):
    data = json.loads(json.dumps(record.to_dict()))
    assert Compressed.from_dict(data) == record
    assert Compressed.from_dict(data).to_dict() == data


def test_a_result_has_the_documented_keys_and_a_schema_version():
    data = FULL.to_dict()
    assert set(data) == {
        "text",
        "messages",
        "pieces",
        "tokens",
        "entities",
        "facts",
        "receipt",
        "omitted",
        "schema_version",
    }
    assert set(data["tokens"]) == {"original", "compressed", "budget"}
    assert set(data["receipt"]) == {"kept", "in_ledger", "dropped"}
    assert set(data["pieces"][0]) == {"message", "start", "end", "importance"}
    assert set(data["entities"][0]) == {"text", "type", "turns", "kept"}
    assert set(data["facts"]["Acme"][0]) == {"text", "message", "start", "end", "current"}
    assert isinstance(data["schema_version"], int)


@pytest.mark.parametrize("version", [0, 99, None, "1"])
def test_another_schema_version_is_refused(version):
    with pytest.raises(ValueError, match="schema_version"):
        Compressed.from_dict({**FULL.to_dict(), "schema_version": version})


def test_a_missing_schema_version_is_refused():
    data = FULL.to_dict()
    del data["schema_version"]
    with pytest.raises(ValueError, match="schema_version"):
        Compressed.from_dict(data)


@given(a=SPANS, b=SPANS)
def test_spans_relate_as_sets_of_characters(a, b):
    mine, yours = ({(s.message, n) for n in range(s.start, s.end)} for s in (a, b))
    if mine and yours:
        assert a.overlaps(b) == b.overlaps(a) == bool(mine & yours)
        assert a.contains(b) == (yours <= mine)
    assert a.contains(a)


def test_spans_and_units_are_in_reading_order():
    spans = [Span(1, 0, 2), Span(0, 5, 6), Span(0, 1, 9), Span(0, 1, 4)]
    assert sorted(spans) == [Span(0, 1, 4), Span(0, 1, 9), Span(0, 5, 6), Span(1, 0, 2)]
    units = [Unit(1, 0, 2, "word"), Unit(0, 5, 6, "code", 3)]
    assert sorted(units)[0].span == Span(0, 5, 6)
