"""What holds for any input, budget and way of counting, with a tiny model and with a scorer that needs none."""

from __future__ import annotations

import copy
import json
import zlib
from typing import Any

import numpy as np
import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from reet_hf import Compressed, Compressor
from reet_hf.conversation import parse_request
from reet_hf.mentions import find_mentions
from reet_hf.scoring.scorer import TokenScores

BLANKS = ("[…]", '"…"')  # what stands for a text of which nothing is kept
UNITS = ["word", "clause", "sentence", "message", "auto"]
TEMPLATE = "{% for m in messages %}[SEP] {{ m['role'] }} : {{ m['content'] }} . {% endfor %}"


class WordLengthScorer:
    """Long words matter more; with a query, its words matter most."""

    def encode(self, conversation: Any, state: Any = None) -> Any:
        return conversation

    def score(self, state: Any, query: str | None, history: Any) -> TokenScores:
        asked = set((query or "").split())
        rows = [
            (number, word.start(), word.end(), len(word.group()) + 20.0 * (word.group() in asked))
            for number, message in enumerate(state.messages)
            for word in regex.finditer(r"\S+", message.text)
        ]
        columns = np.array(rows, dtype=float).reshape(-1, 4).T
        return TokenScores(*(column.astype(np.int64) for column in columns[:3]), columns[3])

    def load(self, arrays: dict[str, np.ndarray], conversation: Any) -> Any:
        return conversation


COUNTERS = {
    "characters": len,
    "words": lambda text: len(text.split()),
    "bytes": lambda text: len(text.encode()),
    "sawtooth": lambda text: len(text) % 7 + len(text) // 3,
    "special tokens": lambda text: len(text.split()) + 2,
    "hash": lambda text: zlib.crc32(text.encode()) % 50,
    "nothing": lambda text: 0,
    "tokenizer": None,
    "template": None,
}
WORDS = ["Ann Lee", "must never", "3 May 2024", "C:\\a b c ", ". ", "\n"]
WORDS += ["Oslo", "AB-12", "https://a.b/c", "你好", "น้ำ", "👩‍💻", "e.g.", "؟", "the"]
TEXT = st.one_of(
    st.text(max_size=60),
    st.lists(st.sampled_from(WORDS) | st.text(max_size=3), max_size=25).map(" ".join),
    st.sampled_from(
        ["```\ncode, code\n```\nAfter it. Done.", '{"a": 1}', "| a | b |\n| c | d |\nThen.", "\x00\x1c\x85"]
    ),
).filter(lambda text: not any(blank in text for blank in BLANKS))
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}


def message(role: str, content: Any, **fields: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **fields}


TURNS = st.one_of(
    st.builds(lambda a, b: [message("user", a), message("assistant", b)], TEXT, TEXT),
    st.builds(lambda a, b: [message("user", a, name="Ann"), message("assistant", b)], TEXT, TEXT),
    st.builds(
        lambda a, b, c: [
            message("user", a),
            message("assistant", b, tool_calls=[copy.deepcopy(CALL)]),
            message("tool", c, tool_call_id="c"),
        ],
        TEXT,
        st.none() | TEXT,
        TEXT,
    ),
    st.builds(
        lambda a, b: [
            message("user", [{"type": "text", "text": a}, {"type": "image", "url": "x"}, {"type": "text", "text": b}])
        ],
        TEXT,
        TEXT,
    ),
)
MESSAGES = st.lists(TURNS, max_size=3).map(lambda turns: [m for turn in turns for m in turn])
INPUTS = st.one_of(
    TEXT,
    MESSAGES,
    st.builds(lambda m, q: {"messages": m, "query": q}, MESSAGES, st.none() | TEXT),
    st.builds(lambda c, q: {"context": c, "query": q}, st.lists(TEXT, max_size=3), st.none() | TEXT),
)
BUDGETS = st.integers(1, 80) | st.floats(0.01, 1.0)


@pytest.fixture(scope="session", params=["tiny model", "word length"])
def compressor(request, compress) -> Compressor:
    tiny = compress.compressor
    return tiny if request.param == "tiny model" else Compressor(WordLengthScorer(), tiny.counter)


@pytest.fixture(scope="session", params=COUNTERS)
def counting(request, tokenizer) -> Any:
    if request.param == "template":
        copied = copy.deepcopy(tokenizer)
        copied.chat_template = TEMPLATE
        return copied
    return tokenizer if request.param == "tokenizer" else COUNTERS[request.param]


def recount(out: dict[str, Any], counting: Any, inputs: Any) -> int:
    """Tokens of what the caller gets, counted without `reet_hf`."""
    if not out["pieces"] and not out["messages"]:
        return 0
    if not hasattr(counting, "apply_chat_template"):
        return counting(out["text"])
    as_messages = counting.chat_template and parse_request(inputs).conversation.form == "messages"
    text = counting.apply_chat_template(out["messages"], tokenize=False) if as_messages else out["text"]
    return len(counting(text, add_special_tokens=False)["input_ids"])


def visible(text: str) -> str:
    return "".join(text.split())


def written(content: Any) -> str:
    """The text of a rendered message, nothing for one of which only the place was kept."""
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content)
    return "" if content in BLANKS else content or ""


def calls_and_results(messages: Any) -> list[Any]:
    """Tool calls, and tool results with their text, in order."""
    return [m.get("tool_calls") or dict(m) for m in messages if m.get("tool_calls") or m["role"] == "tool"]


def images(messages: Any) -> int:
    return sum(part["type"] == "image" for m in messages if isinstance(m["content"], list) for part in m["content"])


def check_pieces(out: dict[str, Any], inputs: Any) -> None:
    """Pieces are ordered, disjoint, verbatim, and together all that the messages and the text say."""
    texts = [m.text for m in parse_request(inputs).conversation.messages]
    last, found, place = (0, 0), "", 0
    for piece in out["pieces"]:
        assert (piece["message"], piece["start"]) >= last
        assert piece["start"] < piece["end"] <= len(texts[piece["message"]])
        assert 0.0 < piece["importance"] < 1.0
        part = texts[piece["message"]][piece["start"] : piece["end"]]
        place = out["text"].index(part, place) + len(part)
        found += part
        last = (piece["message"], piece["end"])
    assert visible(found) == visible("".join(written(m["content"]) for m in out["messages"]))


def check_receipt(out: dict[str, Any], inputs: Any) -> None:
    """Each mention stands under one heading, under `kept` exactly if all that is visible of it was kept."""
    conversation = parse_request(inputs).conversation
    kept = {(p["message"], n) for p in out["pieces"] for n in range(p["start"], p["end"])}
    listed = []
    for heading, mentions in out["receipt"].items():
        for m in mentions:
            text = conversation.messages[m["message"]].text
            assert text[m["start"] : m["end"]] == m["text"]
            places = {(m["message"], n) for n in range(m["start"], m["end"]) if not text[n].isspace()}
            assert (heading == "kept") == (places <= kept), (heading, m)
            listed.append((m["type"], m["message"], m["start"], m["end"]))
    assert sorted(listed) == sorted((m.type, m.message, m.start, m.end) for m in find_mentions(conversation))
    names = {m["text"].casefold() for m in out["receipt"]["kept"] if m["type"] != "CONSTRAINT"}
    assert all(entity["kept"] == (entity["text"].casefold() in names) for entity in out["entities"])


@given(inputs=INPUTS, budget=BUDGETS, unit=st.sampled_from(UNITS))
@settings(deadline=None, max_examples=25)
def test_the_budget_is_never_exceeded_and_the_count_is_true(compressor, counting, inputs, budget, unit):
    out = compressor.compress(inputs, budget=budget, unit=unit, tokenizer=counting).to_dict()
    assert out["tokens"]["compressed"] <= out["tokens"]["budget"]
    assert out["tokens"]["compressed"] == recount(out, counting, inputs)
    if isinstance(budget, int):
        assert out["tokens"]["budget"] == budget


@given(inputs=INPUTS, budget=BUDGETS, unit=st.sampled_from(UNITS))
@settings(deadline=None, max_examples=60)
def test_pieces_are_verbatim_and_in_order(compressor, inputs, budget, unit):
    check_pieces(compressor.compress(inputs, budget=budget, unit=unit).to_dict(), inputs)


@given(inputs=INPUTS, budget=BUDGETS, unit=st.sampled_from(UNITS))
@settings(deadline=None, max_examples=60)
def test_each_mention_is_accounted_for_once(compressor, inputs, budget, unit):
    check_receipt(compressor.compress(inputs, budget=budget, unit=unit).to_dict(), inputs)


@given(inputs=INPUTS, unit=st.sampled_from(UNITS))
@settings(deadline=None, max_examples=25)
def test_the_whole_budget_keeps_everything(compressor, counting, inputs, unit):
    out = compressor.compress(inputs, budget=1.0, unit=unit, tokenizer=counting).to_dict()
    request = parse_request(inputs)
    everything = visible("".join(m.text for m in request.conversation.messages))
    assert visible("".join(written(m["content"]) for m in out["messages"])) == everything
    assert out["receipt"]["dropped"] == []
    for told in (calls_and_results, images):
        assert told(out["messages"]) == told([m.raw for m in request.conversation.messages])


@given(inputs=INPUTS, budget=BUDGETS, unit=st.sampled_from(UNITS))
@settings(deadline=None, max_examples=60)
def test_a_result_survives_json(compressor, inputs, budget, unit):
    result = compressor.compress(inputs, budget=budget, unit=unit)
    data = json.loads(json.dumps(result.to_dict()))
    assert data == result.to_dict()
    assert Compressed.from_dict(data) == result


@given(inputs=INPUTS, budget=BUDGETS, unit=st.sampled_from(UNITS))
@settings(deadline=None, max_examples=30)
def test_the_same_call_gives_the_same_result_and_leaves_its_input_alone(compressor, inputs, budget, unit):
    before = copy.deepcopy(inputs)
    first = compressor.compress(inputs, budget=budget, unit=unit)
    assert inputs == before
    assert compressor.compress(inputs, budget=budget, unit=unit) == first


@given(data=st.data(), unit=st.sampled_from(UNITS), budget=st.integers(5, 60))
@settings(deadline=None, max_examples=40)
def test_tool_pairs_are_whole_or_gone(compressor, data, unit, budget):
    messages = data.draw(MESSAGES)
    out = compressor.compress(messages, budget=budget, unit=unit).to_dict()
    told, original = calls_and_results(out["messages"]), calls_and_results(messages)
    assert len(told) % 2 == 0
    pairs = list(zip(original[::2], original[1::2], strict=True))
    assert all(pair in pairs for pair in zip(told[::2], told[1::2], strict=True))
