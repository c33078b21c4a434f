"""Kept spans as text and as messages: verbatim, fields untouched, roles alternating where they did."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reet_hf.conversation import Conversation, Message, parse_request
from reet_hf.records import Span
from reet_hf.rendering import joined, render_messages, render_text, whole

CALL = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"q": "tea"}'}}
IMAGE = {"type": "image_url", "image_url": {"url": "data:,x"}}
CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "name": "Ann", "content": "Find tea. Please.", "metadata": {"id": 7}},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "name": "find", "content": "Green tea."},
    {"role": "assistant", "content": "Here it is."},
]


def conversation(messages) -> Conversation:
    return parse_request(messages).conversation


def kept(messages, numbers) -> list[Span]:
    """Spans that keep the given messages whole, part by part."""
    spans = []
    for number, message in enumerate(conversation(messages).messages):
        if number in numbers:
            cuts = [0, *message.borders, len(message.text)]
            parts = [Span(number, a, b) for a, b in zip(cuts, cuts[1:], strict=False) if b > a]
            spans.extend(parts or [Span(number, 0, 0)])
    return spans


@pytest.mark.parametrize(
    ("text", "spans", "expected"),
    [
        ("a b c", [(0, 1), (2, 3)], "a b"),
        ("a \t b c", [(0, 1), (4, 5)], "a \t b"),
        ("a b c", [(0, 1), (4, 5)], "a c"),
        ("a b\nc d", [(0, 1), (6, 7)], "a\nd"),
        ("a\r\nb", [(0, 1), (3, 4)], "a\r\nb"),
        ("abc", [(0, 1), (1, 2)], "ab"),
        ("abc", [(0, 1), (2, 3)], "a c"),
        ("abc", [], ""),
    ],
)
def test_slices_are_joined_with_the_white_space_that_was_there(text, spans, expected):
    assert joined(Message("user", text), spans) == expected


@given(text=st.text(alphabet="ab \n", max_size=30), data=st.data())
@settings(deadline=None, max_examples=60)
def test_joining_adds_nothing_but_white_space(text, data):
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=8)))
    spans = list(zip(cuts[::2], cuts[1::2], strict=False))
    result = joined(Message("user", text), spans)
    assert "".join(result.split()) == "".join("".join(text[a:b] for a, b in spans).split())


def test_everything_kept_renders_the_messages_as_they_were():
    assert render_messages(conversation(CHAT), whole(conversation(CHAT))) == CHAT


def test_everything_kept_renders_parts_as_they_were():
    parts = [{"role": "user", "content": [{"type": "text", "text": "See"}, IMAGE, {"type": "text", "text": " this."}]}]
    assert render_messages(conversation(parts), whole(conversation(parts))) == parts


def test_content_given_as_a_tuple_keeps_its_parts():
    parts = [{"role": "user", "content": ({"type": "text", "text": "See"}, IMAGE)}]
    (message,) = render_messages(conversation(parts), kept(parts, {0}))
    assert list(message["content"]) == [{"type": "text", "text": "See"}, IMAGE]


def test_text_has_a_line_a_message_after_the_label_of_its_speaker():
    lines = render_text(conversation(CHAT), kept(CHAT, {0, 1, 2, 3, 4})).split("\n")
    assert lines[0] == "system: Be brief."
    assert lines[1] == "Ann: Find tea. Please."
    assert lines[2].startswith("assistant: ") and "find" in lines[2] and '{"q": "tea"}' in lines[2]
    assert lines[3].endswith(": Green tea.")
    assert len(lines) == len(CHAT)


def test_documents_have_no_label_and_become_user_messages():
    made = conversation({"context": ["One text.", "Another."]})
    assert render_text(made, whole(made)) == "One text.\nAnother."
    assert render_messages(made, whole(made)) == [
        {"role": "user", "content": "One text."},
        {"role": "user", "content": "Another."},
    ]


def test_fields_beside_the_content_are_untouched():
    (message,) = render_messages(conversation(CHAT), [Span(1, 0, 9)])
    assert message == {**CHAT[1], "content": "Find tea."}


def test_a_rendered_message_shares_nothing_with_the_original():
    given_messages = copy.deepcopy(CHAT)
    made = conversation(given_messages)
    rendered = render_messages(made, whole(made))
    rendered[1]["metadata"]["id"] = "changed"
    rendered[2]["tool_calls"][0]["function"]["name"] = "changed"
    assert given_messages == CHAT
    assert render_messages(made, whole(made)) == CHAT


def test_parts_that_are_no_text_stay_and_text_parts_are_cut():
    parts = [
        {"role": "user", "content": [{"type": "text", "text": "See this."}, IMAGE, {"type": "text", "text": "Now."}]}
    ]
    (message,) = render_messages(conversation(parts), [Span(0, 4, 9)])
    assert message["content"] == [{"type": "text", "text": "this."}, IMAGE]


def test_messages_that_come_to_stand_side_by_side_become_one():
    chat = [
        {"role": "user", "content": "First."},
        {"role": "assistant", "content": "Well."},
        {"role": "user", "content": "Second."},
    ]
    assert render_messages(conversation(chat), kept(chat, {0, 2})) == [{"role": "user", "content": "First.\nSecond."}]


def test_messages_that_stood_side_by_side_before_stay_apart():
    chat = [{"role": "user", "content": "First."}, {"role": "user", "content": "Second."}]
    assert render_messages(conversation(chat), kept(chat, {0, 1})) == chat


def test_speakers_with_different_names_stay_apart():
    chat = [
        {"role": "user", "name": "Ann", "content": "First."},
        {"role": "assistant", "content": "Well."},
        {"role": "user", "name": "Bob", "content": "Second."},
    ]
    assert render_messages(conversation(chat), kept(chat, {0, 2})) == [chat[0], chat[2]]


TURN = {
    "plain": [{"role": "user", "content": "Question."}, {"role": "assistant", "content": "Answer."}],
    "parts": [
        {"role": "user", "content": [{"type": "text", "text": "Look."}, IMAGE]},
        {"role": "assistant", "content": "Seen."},
    ],
    "tool": [
        {"role": "user", "content": "Find it."},
        {"role": "assistant", "content": "Wait.", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": "Found."},
        {"role": "assistant", "content": "Here."},
    ],
}


@pytest.mark.parametrize("kinds", [("plain",), ("plain", "parts"), ("plain", "tool")])
@given(data=st.data())
@settings(deadline=None, max_examples=60)
def test_roles_alternate_where_they_did(kinds, data):
    turns = data.draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=4))
    messages = [message for kind in turns for message in copy.deepcopy(TURN[kind])]
    made = conversation(messages)
    numbers = data.draw(st.sets(st.integers(0, len(messages) - 1)))
    for number in tuple(numbers):  # a tool pair is kept or dropped as a whole
        group = made.tool_group(number)
        numbers |= {n for n in range(len(messages)) if group is not None and made.tool_group(n) == group}
    roles = [message["role"] for message in render_messages(made, kept(messages, numbers))]
    assert all(a != b for a, b in zip(roles, roles[1:], strict=False)), roles


@given(numbers=st.sets(st.integers(0, 3)))
def test_no_part_of_a_kept_message_is_lost(numbers):
    messages = [message for kind in ("parts", "parts") for message in copy.deepcopy(TURN[kind])]
    rendered = render_messages(conversation(messages), kept(messages, numbers))
    images = sum(part == IMAGE for m in rendered if isinstance(m["content"], list) for part in m["content"])
    assert images == len(numbers & {0, 2})


def test_nothing_kept_renders_nothing():
    assert render_messages(conversation(CHAT), []) == []
    assert render_text(conversation(CHAT), []) == ""
