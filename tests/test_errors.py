"""One error for everything that cannot be honoured: it says what, why and what to do instead."""

from __future__ import annotations

import re

import pytest

import reet_hf
from reet_hf.errors import ReetError

TEXT = "Ann Lee lives in Oslo. Her visa expires on 3 May 2024. She must never miss the date."
CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": TEXT}]

WRONG = {
    "unit": ({"unit": "page"}, ["`unit`", "word, clause, sentence, message or auto", "'page'"]),
    "no unit": ({"unit": None}, ["`unit`", "None"]),
    "strategy": ({"strategy": "abstractive"}, ["`strategy`", "'extractive'", "'abstractive'"]),
    "protect is no list": ({"protect": None}, ["`protect`", "roles, regexes, message numbers or spans", "None"]),
    "protect has no rule": ({"protect": [1.5]}, ["`protect`", "(message, start, end)", "1.5"]),
    "protect has a truth value": ({"protect": [True]}, ["`protect`", "True"]),
    "protect has no regex": ({"protect": ["("]}, ["`protect`", "neither a role nor a valid regex", "'('"]),
    "message after the end": ({"protect": [2]}, ["`protect`", "message 2", "there are 2"]),
    "message before the start": ({"protect": [-3]}, ["`protect`", "message -3", "there are 2"]),
    "span of no message": ({"protect": [(2, 0, 1)]}, ["`protect`", "(2, 0, 1)", "outside"]),
    "span after the end": ({"protect": [(0, 0, 10)]}, ["`protect`", "(0, 0, 10)", "outside"]),
    "span turned around": ({"protect": [(0, 5, 2)]}, ["`protect`", "(0, 5, 2)"]),
    "span with a word": ({"protect": [("user", 0, 2)]}, ["`protect`", "(message, start, end)", "'user'"]),
    "budget": ({"budget": 0}, ["`budget`", "at least 1", "got 0"]),
    "rate": ({"budget": 1.5}, ["`budget`", "(0, 1]", "1.5", "integer"]),
    "text budget": ({"budget": "0.3"}, ["`budget`", "'0.3'", "str"]),
    "tokenizer": ({"tokenizer": 5}, ["`tokenizer`", "callable", "int"]),
}


def test_the_error_is_a_value_error_with_a_floor():
    assert issubclass(ReetError, ValueError)
    assert reet_hf.ReetError is ReetError
    assert ReetError("why").floor is None
    assert ReetError("why", floor=7).floor == 7
    assert str(ReetError("why", floor=7)) == "why"


@pytest.mark.parametrize(("options", "named"), WRONG.values(), ids=WRONG.keys())
def test_every_entry_point_names_argument_rule_and_value(compress, options, named):
    session = reet_hf.Session(compress)
    session.append(CHAT)
    for call in (
        lambda: compress(CHAT, **options),
        lambda: compress([CHAT, CHAT], **options),
        lambda: compress.compressor.compress(CHAT, **options),
        lambda: session.compress(**options),
    ):
        with pytest.raises(ReetError) as caught:
            call()
        for part in named:
            assert part in str(caught.value)


@pytest.mark.parametrize("unit", ["word", "clause", "sentence", "message", "auto"])
@pytest.mark.parametrize("query", [None, "When does the visa expire?"])
@pytest.mark.parametrize("protect", [["user"], ["user", 0], [r"visa .*2024"], [(1, 3, 40)], [-1, r"Be"], "system"])
def test_a_protected_part_over_the_budget_names_a_floor_that_works(compress, unit, query, protect):
    inputs = {"messages": CHAT, "query": query}
    with pytest.raises(ReetError, match="`budget` allows 1 tokens, but the protected parts alone need") as caught:
        compress(inputs, budget=1, protect=protect, unit=unit)
    floor = caught.value.floor
    assert floor is not None and str(floor) in str(caught.value)
    assert compress(inputs, budget=floor, protect=protect, unit=unit)["tokens"]["compressed"] <= floor
    with pytest.raises(ReetError) as again:
        compress(inputs, budget=floor - 1, protect=protect, unit=unit)
    assert again.value.floor == floor


def test_a_rate_that_the_protected_parts_exceed_names_the_floor_in_tokens(compress):
    with pytest.raises(ReetError) as caught:
        compress(CHAT, budget=0.1, protect=["user"])
    assert compress(CHAT, budget=caught.value.floor, protect=["user"])["messages"][-1]["content"] == TEXT


def test_a_batch_with_one_wrong_input_says_what_is_wrong(compress):
    with pytest.raises(ReetError, match=re.escape("`messages[0]['role']`")):
        compress([CHAT, [{"role": "robot", "content": "x"}]])


@pytest.mark.parametrize("wrong", [5, object(), "reet/reet-base", None])
def test_a_session_needs_a_compressor(wrong):
    with pytest.raises(ReetError, match="`compressor` must be"):
        reet_hf.Session(wrong)
