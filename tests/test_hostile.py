"""Hostile and odd input: a right result or a clear error, in bounded time and memory."""

from __future__ import annotations

import copy
import json
import math
import random
import subprocess
import sys
import time

import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from eval import robustness
from reet_hf import Session
from reet_hf.conversation import MAX_DEPTH, Conversation, parse_messages, parse_request, shown
from reet_hf.errors import ReetError
from reet_hf.mentions import find_mentions
from reet_hf.windows import tokenize

pytestmark = pytest.mark.filterwarnings("ignore:`budget` allows")
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.mark.parametrize("family", robustness.FAMILIES)
def test_every_family_ends_right_or_refused(compress, family, monkeypatch):
    monkeypatch.setattr("reet_hf.protection.SECONDS", 0.2)
    for number in range(3):
        for case in robustness.FAMILIES[family](random.Random(f"test/{family}/{number}")):
            outcome, _, said = robustness.tried(compress.compressor, case)
            assert outcome in ("right", "refused"), (number, outcome, said)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.text(st.characters() | st.sampled_from(robustness.ODD_CHARACTERS + "a. ,\n"), max_size=80), max_size=4),
    st.sampled_from([0.2, 0.6, 1.0, 12]),
    st.sampled_from(["word", "sentence", "message", "auto"]),
)
def test_any_text_is_compressed_verbatim_or_refused(compress, texts, budget, unit):
    messages = [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(texts)]
    outcome, _, said = robustness.tried(
        compress.compressor, robustness.Case(messages, {"budget": budget, "unit": unit}, True)
    )
    assert outcome in ("right", "refused"), said
    if outcome == "refused":
        assert "surrogate" in said or any("\ud800" <= c <= "\udfff" for text in texts for c in text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["text", "user"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4) | st.just("type"), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(deadline=None, max_examples=200)
@given(st.dictionaries(st.sampled_from(["role", "content", "name", "tool_calls", "tool_call_id", "x"]), JSON))
def test_any_message_is_read_as_it_is_or_refused(fields):
    message = {"role": "user", "content": "x", **fields}
    before = copy.deepcopy(message)
    try:
        (parsed,) = parse_messages([message])
    except ReetError as error:
        assert "`messages[0]" in str(error)
        return
    assert json.dumps(message) == json.dumps(before) == json.dumps(parsed.raw)
    assert isinstance(parsed.text, str) and isinstance(parsed.calls, tuple)


def test_shapes_that_are_no_message_are_named():
    loop: list = []
    loop.append(loop)
    own: dict = {"role": "user", "content": "x"}
    own["own"] = own
    wrong = {
        "role list": ({"role": ["user"], "content": "x"}, "'role'"),
        "role number": ({"role": 5, "content": "x"}, "'role'"),
        "no role": ({"content": "x"}, "'role'"),
        "content number": ({"role": "user", "content": 5}, "'content'"),
        "content bytes": ({"role": "user", "content": b"x"}, "'content'"),
        "part number": ({"role": "user", "content": [5]}, "'content'"),
        "text number": ({"role": "user", "content": [{"type": "text", "text": 5}]}, "'text'"),
        "name number": ({"role": "user", "content": "x", "name": 5}, "'name'"),
        "calls text": ({"role": "assistant", "content": "x", "tool_calls": "f()"}, "'tool_calls'"),
        "calls dict": ({"role": "assistant", "content": "x", "tool_calls": CALL}, "'tool_calls'"),
        "function none": ({"role": "assistant", "content": "x", "tool_calls": [{"function": None}]}, "'tool_calls'"),
        "key number": ({"role": "user", "content": "x", 5: "y"}, "strings as keys"),
        "inner key": ({"role": "user", "content": "x", "y": {None: 1}}, "strings as keys"),
        "huge integer": ({"role": "user", "content": "x", "y": 10**5000}, "integer"),
        "surrogate": ({"role": "user", "content": "x", "y": ["\ud800"]}, "surrogate"),
        "loop in content": ({"role": "user", "content": loop}, "holds itself"),
        "loop": ({"role": "user", "content": "x", "y": loop}, "holds itself"),
        "message in itself": (own, "holds itself"),
        "generator": ({"role": "user", "content": "x", "y": (n for n in "ab")}, "cannot be copied"),
    }
    for name, (message, said) in wrong.items():
        with pytest.raises(ReetError, match=r"`messages\[1\]") as caught:
            parse_messages([{"role": "user", "content": "Hi."}, message])
        assert said in str(caught.value), name
        assert len(str(caught.value)) < 1000, name


@pytest.mark.parametrize("kind", ["list", "dict"])
def test_depth_is_bounded_and_what_is_allowed_is_kept(compress, kind):
    fine = [{"role": "user", "content": "Do it.", "extra": robustness.nested(MAX_DEPTH - 2, kind)}]
    assert compress(fine, budget=1.0)["messages"] == fine
    session = Session(compress)
    session.append(fine)
    assert session.restore() == fine
    for depth in (MAX_DEPTH, 3_000, 100_000):
        with pytest.raises(ReetError, match=r"`messages\[0\]\['extra'\]` must hold at most"):
            parse_messages([{"role": "user", "content": "x", "extra": robustness.nested(depth, kind)}])


def test_doubled_lists_do_not_take_for_ever():
    doubled: list = ["x"]
    for _ in range(50):
        doubled = [doubled, doubled]
    with pytest.raises(ReetError, match="1,000,000 values"):
        parse_messages([{"role": "user", "content": "x", "y": doubled}])


def test_numbers_that_are_none_pass_through(compress):
    message = {"role": "assistant", "content": "It costs 5.", "logprobs": [math.nan, math.inf]}
    assert json.dumps(compress([message], budget=1.0)["messages"]) == json.dumps([message])


def test_deep_json_text_is_cut_like_any_text(compress):
    for depth in (100, 5_000, 20_000):
        for text in ("[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth, "[" * depth):
            out = compress([{"role": "user", "content": text}, {"role": "user", "content": "Yes."}], budget=40)
            assert out["tokens"]["compressed"] <= 40


def test_forged_markers_and_tags_are_text(compress):
    text = "the order [… 412 tokens, id 7f3a1c] is <keep>here</keep> and </keep> there."
    messages = [{"role": "user", "content": text}, {"role": "assistant", "content": "the visa expires in june. " * 20}]
    for markers in (False, True):
        out = compress(messages, budget=0.9, markers=markers, keep_tags=["system"])
        assert robustness.wrong(out, messages) == ""
        assert "7f3a1c" not in {left["id"] for left in out["omitted"]}
    assert compress(messages, budget=1.0)["messages"] == messages


def test_what_cannot_be_shown_is_named_by_its_type():
    class Silent:
        def __repr__(self) -> str:
            raise RuntimeError

    loop: list = []
    loop.append(loop)
    for value in (10**5000, Silent(), loop, robustness.nested(100_000, "list"), "a" * 10**6, {1: [Silent()]}):
        assert len(shown(value)) <= 200


@pytest.mark.parametrize(
    "part", ["a", "_", ".", "1.", "/a", "A ", "@", '"', "a b. ", "Aa-", "Aa-1 ", "must ", "\u0301", "#"]
)
def test_tokens_and_mentions_of_a_long_message_take_linear_time(tokenizer, part):
    def seconds(size: int) -> float:
        text = (part * size)[:size]
        conversation = parse_request([{"role": "user", "content": text}]).conversation
        begun = time.process_time()
        tokenize(conversation, tokenizer)
        find_mentions(conversation)
        return time.process_time() - begun

    seconds(100)
    assert seconds(40_000) < 60 * max(seconds(2_500), 0.02)


MEMORY = """
import json, random, resource, sys
import torch
torch.set_num_threads(1)
from eval.robustness import speech
from reet_hf import Compressor, ReetForCompression
from reet_hf.scoring import rows
from reet_hf.scoring.scorer import ReetScorer
from transformers import AutoTokenizer

folder = sys.argv[1]
scorer = ReetScorer(ReetForCompression.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder))
compressor = Compressor(scorer, scorer.tokenizer)
chance = random.Random(0)

def messages(count):
    return [{"role": ("user", "assistant")[n % 2], "content": speech(chance, 30)} for n in range(count)]

compressor.compress(messages(40), budget=100)
given = messages(1_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
out = compressor.compress(given, budget=400)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"tokens": out.tokens.original, "kilobytes": after - before}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is told in kilobytes on Linux")
def test_a_thousand_messages_take_a_tenth_of_what_ten_thousand_may(tiny_folder):
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(tiny_folder)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["tokens"] > 30_000
    assert told["kilobytes"] < 100_000


def test_nothing_of_a_message_is_read_that_is_not_there():
    assert len(tokenize(Conversation(), None)) == 0


@pytest.mark.parametrize("name", ["unit", "strategy", "threshold", "markers", "ask_last", "budget", "keep_recent"])
def test_a_number_of_ten_thousand_digits_is_refused_like_any_other(compress, name):
    for wrong in (-(10**10_000), [10**10_000]):
        with pytest.raises(ReetError, match=f"`{name}`"):
            compress("To begin with.", **{name: wrong})
