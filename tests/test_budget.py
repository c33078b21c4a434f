"""Budgets in every unit of account: what counts tokens, what a budget may be, what the smallest one is."""

from __future__ import annotations

import copy
import json
import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reet_hf.budget import checked_tools, resolve_counter, resolve_limit, tool_tokens
from reet_hf.errors import ReetError

TEXT = "Dr. Lee flew to Oslo on 3 May 2024. The visa expires in June, order AB-12 is paid. When does it start?"
CHAT = [
    {"role": "system", "content": "Answer briefly. Never guess a date."},
    {"role": "user", "content": "When does the visa expire? I think in June."},
    {"role": "assistant", "content": "The visa expires in June. The order is AB-12."},
    {"role": "user", "content": "And the order? It was about seven boxes of tea."},
    {"role": "assistant", "content": "It ships on Monday with the other boxes."},
]
TEMPLATE = (
    "{% for m in messages %}[SEP] {{ m['role'] }} : {{ m['content'] }} [SEP] {% endfor %}"
    "{% if add_generation_prompt %}assistant :{% endif %}"
)
ALTERNATING = (
    "{% set rest = messages[1:] if messages[0]['role'] == 'system' else messages %}"
    "{% for m in rest %}{% if not loop.first and m['role'] == rest[loop.index0 - 1]['role'] %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}[SEP] {{ m['content'] }} {% endfor %}"
)
CALL = {"id": "call_1", "type": "function", "function": {"name": "find", "arguments": '{"order": "AB-12"}'}}
AGENT = [
    {"role": "system", "content": "Answer briefly."},
    {"role": "user", "name": "Ann", "content": [{"type": "text", "text": "Where is order AB-12?"}, {"type": "image"}]},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "call_1", "content": '{"city": "Oslo"}'},
    {"role": "assistant", "content": "In Oslo."},
]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "find",
            "description": "Where an order is.",
            "parameters": {"type": "object", "properties": {"order": {"type": "string"}}, "required": ["order"]},
        },
    }
]
WITH_TOOLS = "{% for t in tools or [] %}[SEP] tool {{ t['function'] | tojson }} {% endfor %}" + TEMPLATE
WITH_CALLS = (
    "{% for m in messages %}[SEP] {{ m['role'] }} : {{ m['content'] }}{% for c in m['tool_calls'] or [] %}"
    " {{ c['function']['name'] }}{% for key, value in c['function']['arguments'].items() %} {{ key }} {{ value }}"
    "{% endfor %}{% endfor %} {% endfor %}"
)


def count_words(text: str) -> int:
    return len(text.split())


def with_template(tokenizer, template: str):
    copied = copy.deepcopy(tokenizer)
    copied.chat_template = template
    return copied


def chat_tokens(tokenizer, messages, tools=None) -> int:
    """Tokens of rendered messages, counted without `reet_hf`."""
    rendered = tokenizer.apply_chat_template(list(messages), tools=tools, tokenize=False)
    return len(tokenizer(rendered, add_special_tokens=False)["input_ids"])


def published_estimate(encoding, messages) -> int:
    """Tokens of plain chat messages as the OpenAI cookbook counts them."""
    total = 3
    for message in messages:
        total += 3 + sum(len(encoding.encode(value)) for value in message.values()) + ("name" in message)
    return total


@pytest.fixture(scope="session")
def encoding():
    """A tiktoken encoding made by hand: all bytes and a few merges."""
    tiktoken = pytest.importorskip("tiktoken")
    ranks = {bytes([byte]): byte for byte in range(256)}
    for merge in (b"th", b"the", b" v", b"is", b" is", b"in", b" in"):
        ranks[merge] = len(ranks)
    return tiktoken.Encoding(
        "tiny", pat_str=r"\s?\p{L}+|\s?\p{N}+|\s?[^\s\p{L}\p{N}]+|\s+", mergeable_ranks=ranks, special_tokens={}
    )


@pytest.fixture(params=["object", "folder", "path", "tiktoken", "callable", "default", "counter"])
def counting(request, tokenizer, tiny_folder, encoding):
    """What a caller may pass as `tokenizer`, and the same count done by hand."""

    def by_tokenizer(text: str) -> int:
        return len(tokenizer(text, add_special_tokens=False)["input_ids"])

    return {
        "object": (tokenizer, by_tokenizer),
        "folder": (str(tiny_folder), by_tokenizer),
        "path": (tiny_folder, by_tokenizer),
        "tiktoken": (encoding, lambda text: len(encoding.encode_ordinary(text))),
        "callable": (count_words, count_words),
        "default": (None, by_tokenizer),
        "counter": (resolve_counter(len), len),
    }[request.param]


@pytest.mark.parametrize("budget", [0.25, 0.6, 1.0, 12, np.int64(9), np.float32(0.5)])
def test_each_way_to_count_is_honoured(compress, counting, budget):
    given_tokenizer, count = counting
    out = compress(TEXT, budget=budget, tokenizer=given_tokenizer)
    tokens = out["tokens"]
    assert tokens["original"] == count(TEXT)
    assert tokens["compressed"] == count(out["text"]) <= tokens["budget"]
    expected = budget if isinstance(budget, (int, np.integer)) else math.floor(float(budget) * count(TEXT) + 1e-9)
    assert tokens["budget"] == expected
    assert type(tokens["budget"]) is int


@pytest.mark.parametrize("form", ["messages", "bare"])
def test_each_way_to_count_is_honoured_for_messages(compress, counting, form):
    given_tokenizer, count = counting
    inputs = CHAT if form == "bare" else {"messages": CHAT, "query": "When does it ship?"}
    out = compress(inputs, budget=0.5, tokenizer=given_tokenizer)
    is_openai = hasattr(given_tokenizer, "encode_ordinary")
    expected = published_estimate(given_tokenizer, out["messages"]) if is_openai else count(out["text"])
    assert 0 < out["tokens"]["compressed"] == expected <= out["tokens"]["budget"]


@pytest.mark.parametrize("budget", [0.2, 0.4, 0.7, 1.0, 20, 60])
@pytest.mark.parametrize("unit", ["word", "sentence", "message", "auto"])
def test_a_chat_template_is_part_of_the_count(compress, tokenizer, budget, unit):
    chat = with_template(tokenizer, TEMPLATE)
    out = compress(CHAT, budget=budget, tokenizer=chat, unit=unit)
    assert out["tokens"]["original"] == chat_tokens(chat, CHAT)
    expected = chat_tokens(chat, out["messages"]) if out["messages"] else 0
    assert out["tokens"]["compressed"] == expected <= out["tokens"]["budget"]


def test_a_template_counts_more_than_the_text_and_only_for_messages(compress, tokenizer):
    chat = with_template(tokenizer, TEMPLATE)
    count = len(chat(TEXT, add_special_tokens=False)["input_ids"])
    for inputs in (TEXT, {"context": TEXT}, {"context": [TEXT]}):
        assert compress(inputs, tokenizer=chat)["tokens"]["original"] == count
    with_overhead = compress([{"role": "user", "content": TEXT}], tokenizer=chat)["tokens"]["original"]
    assert with_overhead > count


def test_parts_are_counted_with_a_chat_template(compress, tokenizer):
    template = (
        "{% for m in messages %}[SEP] {% if m['content'] is string %}{{ m['content'] }}"
        "{% else %}{% for p in m['content'] %}{{ p['text'] }} {% endfor %}{% endif %}{% endfor %}"
    )
    chat = with_template(tokenizer, template)
    parts = [{"role": "user", "content": [{"type": "text", "text": TEXT}, {"type": "text", "text": "Thank you."}]}]
    out = compress(parts, budget=1.0, tokenizer=chat)
    assert out["tokens"]["original"] == chat_tokens(chat, parts)
    assert out["messages"] == parts


@pytest.mark.parametrize("budget", [0.2, 0.35, 0.5, 0.65, 0.8, 0.95])
@pytest.mark.parametrize("unit", ["word", "clause", "sentence", "message"])
def test_a_template_that_demands_alternating_roles_never_refuses_the_result(compress, tokenizer, budget, unit):
    chat = with_template(tokenizer, ALTERNATING)
    out = compress({"messages": CHAT, "query": "order"}, budget=budget, tokenizer=chat, unit=unit)
    assert out["tokens"]["compressed"] <= out["tokens"]["budget"]


def test_a_template_that_refuses_the_input_is_reported(compress, tokenizer):
    chat = with_template(tokenizer, "{{ raise_exception('no system role') }}")
    with pytest.raises(ReetError, match="template.*no system role.*pass a tokenizer"):
        compress(CHAT, tokenizer=chat)


@pytest.mark.parametrize(
    "budget",
    [0, -1, -5, 0.0, -0.5, 1.5, 1.0001, math.nan, math.inf, -math.inf, np.int64(0), np.float64("nan")],
)
def test_a_budget_out_of_range_is_refused_with_the_smallest_that_would_do(compress, budget):
    with pytest.raises(ReetError, match="`budget`.*got") as caught:
        compress(TEXT, budget=budget)
    assert str(budget).removesuffix(".0") in str(caught.value)
    assert caught.value.floor == 1
    assert compress(TEXT, budget=caught.value.floor)["tokens"]["compressed"] <= 1


@pytest.mark.parametrize("budget", [True, False, "0.3", "100", [0.3], Decimal("0.3"), 1j, np.bool_(True)])
def test_what_is_no_number_is_no_budget(compress, budget):
    with pytest.raises(ReetError, match=r"`budget` must be a float in \(0, 1\] or an integer"):
        compress(TEXT, budget=budget)


@given(original=st.integers(0, 10_000), rate=st.floats(0, 1, exclude_min=True))
@settings(deadline=None, max_examples=100)
def test_a_rate_is_a_share_rounded_down(original, rate):
    limit = resolve_limit(rate, original)
    assert 0 <= limit <= rate * original + 1e-6
    assert limit > rate * original - 1
    assert resolve_limit(1.0, original) == original


@given(budget=st.integers(1, 10_000), original=st.integers(0, 100))
def test_a_number_of_tokens_is_taken_as_it_is(budget, original):
    assert resolve_limit(budget, original) == budget


@pytest.mark.parametrize("value", [-1, 1.5, "3", None, True, math.nan])
def test_a_callable_must_return_a_number_of_tokens(compress, value):
    with pytest.raises(ReetError, match="`tokenizer` must return a number of tokens"):
        compress(TEXT, tokenizer=lambda text: value)


@pytest.mark.parametrize("wrong", [5, 0.5, [], {}, object(), True])
def test_what_cannot_count_is_refused(compress, wrong):
    with pytest.raises(ReetError, match="`tokenizer` must be a Hugging Face tokenizer.*callable.*got"):
        compress(TEXT, tokenizer=wrong)


@pytest.mark.parametrize("name", ["no-such-owner/no-such-tokenizer", "not a valid / id", ""])
def test_a_tokenizer_that_cannot_be_loaded_is_named(compress, name):
    with pytest.raises(ReetError, match="`tokenizer` must name.*pass a tokenizer object") as caught:
        compress(TEXT, tokenizer=name)
    assert repr(name) in str(caught.value)


def test_a_folder_without_a_tokenizer_is_named(compress, tmp_path):
    with pytest.raises(ReetError, match="`tokenizer` must name"):
        compress(TEXT, tokenizer=tmp_path)


@given(text=st.text(max_size=60), data=st.data())
@settings(deadline=None, max_examples=60)
def test_costs_of_slices_add_up_to_the_count(tokenizer, encoding, text, data):
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=6)) | {0, len(text)})
    spans = [(a, b) for a, b in zip(cuts, cuts[1:], strict=False) if b > a]
    for source in (tokenizer, encoding, len, count_words):
        counter = resolve_counter(source)
        costs = counter.costs([text], [spans])
        assert len(costs) == len(spans)
        assert costs.sum() >= 0
        if counter.starts is not None and spans:
            assert (costs >= 1).all()
            assert counter.count(text) <= costs.sum() <= counter.count(text) + len(spans)


def test_parts_of_a_conversation_are_counted_under_a_strict_template(compress, tokenizer):
    strict = copy.deepcopy(tokenizer)
    strict.chat_template = (
        "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('roles must alternate') }}{% endif %}[CLS] {{ m['content'] }} [SEP]{% endfor %}"
    )
    messages = [
        {"role": role, "content": text}
        for role, text in (("user", "hi."), ("assistant", "the visa expires in june."), ("user", "ok the order. abc."))
    ]
    out = compress({"messages": messages, "query": "when does the visa expire?"}, budget=14, tokenizer=strict)
    assert 0 < out["tokens"]["compressed"] <= 14


def test_openai_messages_are_counted_as_published(encoding):
    chat = resolve_counter(encoding).chat
    assert chat([]) == 0
    for messages in (CHAT, CHAT[:1], [{"role": "user", "name": "Ann", "content": TEXT}]):
        assert chat(messages) == published_estimate(encoding, messages)


def test_every_text_of_openai_messages_is_counted(encoding):
    chat = resolve_counter(encoding).chat
    size = resolve_counter(encoding).count
    roles = sum(size(message["role"]) for message in AGENT)
    texts = ["Answer briefly.", "Ann", "Where is order AB-12?", "call_1", "find", CALL["function"]["arguments"]]
    texts += ["call_1", '{"city": "Oslo"}', "In Oslo."]
    frames = 3 + 3 * len(AGENT) + 1 + 3  # the reply, each message, the name, the call
    assert chat(AGENT) == roles + sum(map(size, texts)) + frames
    legacy = [{"role": "assistant", "content": None, "function_call": CALL["function"]}]
    called = [{"role": "assistant", "content": None, "tool_calls": [CALL]}]
    assert chat(called) - chat(legacy) == size("call_1")
    as_object = copy.deepcopy(called)
    as_object[0]["tool_calls"][0]["function"]["arguments"] = {"order": "AB-12"}
    assert chat(as_object) == chat(called)


def test_openai_tools_are_counted_with_their_whole_definition(encoding):
    counter = resolve_counter(encoding)
    assert counter.chat(AGENT, TOOLS) == counter.chat(AGENT) + tool_tokens(counter, TOOLS) + 12
    assert counter.chat([], TOOLS) > tool_tokens(counter, TOOLS)
    assert counter.chat(AGENT, []) == counter.chat(AGENT, None) == counter.chat(AGENT)


def test_tools_are_counted_as_the_template_shows_them(tokenizer):
    chat = with_template(tokenizer, WITH_TOOLS)
    count = resolve_counter(chat).chat
    assert count(CHAT, TOOLS) == chat_tokens(chat, CHAT, TOOLS) > chat_tokens(chat, CHAT) == count(CHAT)


def test_tools_that_the_template_does_not_show_are_counted_as_json(tokenizer):
    counter = resolve_counter(with_template(tokenizer, TEMPLATE))
    assert counter.chat(CHAT, TOOLS) == counter.chat(CHAT) + tool_tokens(counter, TOOLS)
    assert counter.chat([], TOOLS) == tool_tokens(counter, TOOLS)
    assert counter.chat([]) == 0


@pytest.mark.parametrize("first", ["{{ tools | tojson }}", "{{ raise_exception('no tools') }}", ""])
def test_tools_are_counted_where_the_template_refuses_the_order_of_roles(tokenizer, first):
    template = "{% if tools %}" + first + " {% endif %}" + ALTERNATING
    counter = resolve_counter(with_template(tokenizer, template))
    twice = [CHAT[1], CHAT[1]]
    assert counter.chat(twice, TOOLS) - counter.chat(twice) >= tool_tokens(counter, TOOLS) - 2


def test_calls_are_counted_where_the_template_wants_objects_and_texts(tokenizer):
    chat = with_template(tokenizer, WITH_CALLS)
    plain = copy.deepcopy(AGENT)
    plain[2].update(content="", tool_calls=[{**CALL, "function": {"name": "find", "arguments": {"order": "AB-12"}}}])
    assert resolve_counter(chat).chat(AGENT) == chat_tokens(chat, plain)
    strict = with_template(
        tokenizer, "{% if messages | length > 1 %}{{ raise_exception('one') }}{% endif %}" + WITH_CALLS
    )
    assert resolve_counter(strict).chat(AGENT) >= chat_tokens(chat, plain)


def test_a_callable_counts_text_only(compress):
    counter = resolve_counter(len)
    assert counter.chat is None
    assert tool_tokens(counter, TOOLS) == len(json.dumps(TOOLS, separators=(",", ":")))
    assert tool_tokens(counter, None) == tool_tokens(counter, ()) == 0


def test_tools_stay_as_they_are():
    assert checked_tools(None) == checked_tools([]) == ()
    assert checked_tools(TOOLS) == tuple(TOOLS)


@pytest.mark.parametrize("wrong", ["find", {"name": "find"}, 5, {1, 2}, iter(TOOLS)])
def test_tools_must_be_a_list(wrong):
    with pytest.raises(ReetError, match="`tools` must be a list of tool definitions, got .*pass"):
        checked_tools(wrong)


@pytest.mark.parametrize("wrong", ["find", None, len, ["find"]])
def test_a_tool_must_be_a_definition(wrong):
    with pytest.raises(ReetError, match=r"`tools\[1\]` must be a dict"):
        checked_tools([*TOOLS, wrong])


@pytest.mark.parametrize("wrong", [len, {1}, b"a", math.nan, "\ud800", {(1,): 2}])
def test_a_definition_must_be_json(wrong):
    with pytest.raises(ReetError, match=r"`tools\[0\]` must be made of what JSON can hold, but .*; use"):
        checked_tools([{"type": "function", "function": {"name": wrong}}])
