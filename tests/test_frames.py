"""What stands beside what is kept: calls with their results, roles in order, and markers of what is gone."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reet_hf.conversation import parse_request
from reet_hf.frames import framed
from reet_hf.omissions import SMALL, Markers, gaps, omission_id, omissions
from reet_hf.records import Span
from reet_hf.rendering import render_messages, render_text, whole

RECORDS = [{"id": f"KX-{number}", "city": "Oslo", "note": "by the door"} for number in range(20)]
LONG = "The visa of Ann Lee expires in June. Her order was shipped on Monday. " * 6


def call(*ids: str) -> dict:
    calls = [{"id": i, "type": "function", "function": {"name": "find", "arguments": '{"q": 1}'}} for i in ids]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def result(name: str, content: str) -> dict:
    return {"role": "tool", "tool_call_id": name, "content": content}


CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Find the orders. Please."},
    call("a", "b"),
    result("a", json.dumps(RECORDS)),
    result("b", LONG),
    {"role": "assistant", "content": "There are twenty. Which one?"},
    {"role": "user", "content": "Thanks. The last one."},
    call("c"),
    result("c", "Done."),
    {"role": "assistant", "content": "It is done."},
    {"role": "user", "content": "And the visa? When is it?"},
]
CONVERSATION = parse_request(CHAT).conversation


def slices(draw) -> list[Span]:
    """Any kept characters, in order, without overlap."""
    found = []
    for number, message in enumerate(CONVERSATION.messages):
        cuts = sorted(draw(st.sets(st.integers(0, len(message.text)), max_size=4)))
        found.extend(Span(number, a, b) for a, b in zip(cuts[::2], cuts[1::2], strict=False))
    return found


@given(data=st.data(), prompt=st.booleans())
@settings(deadline=None, max_examples=150)
def test_what_is_framed_is_a_valid_conversation_and_framing_it_again_changes_nothing(data, prompt):
    kept = slices(data.draw)
    spans = framed(CONVERSATION, kept, prompt)
    assert framed(CONVERSATION, spans, prompt) == spans
    assert all(any(s.contains(k) for s in spans) for k in kept if k.message not in (3,)) or not kept
    messages = render_messages(CONVERSATION, spans)
    assert bool(messages) == bool(kept)
    asked = [c["id"] for m in messages for c in m.get("tool_calls", ())]
    answered = [m["tool_call_id"] for m in messages if m["role"] == "tool"]
    assert asked == answered
    usual = set(pairwise(m["role"] for m in CHAT))
    spoken = [m["role"] for m in messages if m["role"] != "system"]
    assert set(pairwise(spoken)) <= usual
    assert spoken[:1] in ([], ["user"])
    if prompt and messages:
        assert messages[-1]["role"] == "user"
    for m in messages:
        if m.get("tool_call_id") == "a":
            assert all(item in RECORDS or item == "…" or "item" in item for item in json.loads(m["content"]))
        if m.get("tool_call_id") == "c":
            assert m["content"] == "Done."
        assert m["content"] or m.get("tool_calls")


@pytest.mark.parametrize(
    ("kept", "numbers"),
    [
        ([Span(5, 0, 17)], [1, 5]),
        ([Span(6, 0, 7), Span(9, 0, 11)], [6, 9]),
        ([Span(8, 0, 5)], [6, 7, 8]),
        ([Span(4, 0, 37), Span(6, 0, 7)], [1, 2, 3, 4, 5, 6]),
        ([Span(1, 0, 16), Span(6, 0, 7)], [1, 6]),
        ([Span(0, 0, 9)], [0]),
        ([], []),
    ],
)
def test_messages_that_must_stand_beside_the_kept_ones_keep_their_place(kept, numbers):
    assert sorted({span.message for span in framed(CONVERSATION, kept)}) == numbers


def test_a_message_of_which_only_the_place_is_kept_says_so():
    messages = render_messages(CONVERSATION, framed(CONVERSATION, [Span(4, 0, 37), Span(6, 0, 7)]))
    assert [m["content"] for m in messages][:4] == ["[…]", None, '"…"', CHAT[4]["content"][:37]]
    assert messages[4]["content"] == "[…]"


def test_documents_are_framed_by_nothing():
    documents = parse_request({"context": ["One. Two.", "Three."]}).conversation
    assert framed(documents, [Span(1, 0, 6)]) == [Span(1, 0, 6)]


@given(data=st.data())
@settings(deadline=None, max_examples=100)
def test_omissions_and_kept_spans_are_everything_and_share_nothing(data):
    spans = framed(CONVERSATION, slices(data.draw))
    left = gaps(CONVERSATION, spans)
    found = omissions(left, lambda places: [span.end - span.start for span in places])
    places = [span for omission in found for span in omission.spans]
    assert len({omission.id for omission in found}) == len(found)
    assert all(omission.tokens == sum(s.end - s.start for s in omission.spans) for omission in found)
    for number, message in enumerate(CONVERSATION.messages):
        marks = [0] * len(message.text)
        for span in [s for s in [*spans, *places] if s.message == number]:
            for place in range(span.start, span.end):
                marks[place] += 1
        assert all(count == 1 or (count == 0 and message.text[n].isspace()) for n, count in enumerate(marks))


def test_ids_name_places_and_are_the_same_in_any_call():
    assert omission_id([Span(3, 0, 99)]) == omission_id([Span(3, 0, 99)]) != omission_id([Span(3, 0, 98)])
    assert len(omission_id([Span(3, 0, 99)])) == 6


def test_markers_stand_where_something_long_was_left_out():
    spans = framed(CONVERSATION, [Span(4, 0, 37), Span(4, 300, 336), Span(9, 0, 11)])
    left = gaps(CONVERSATION, spans)
    found = omissions(left, lambda places: [span.end - span.start for span in places])
    markers = Markers.of(left, found)
    by_place = {omission.spans[0]: omission for omission in found}
    text = render_text(CONVERSATION, spans, markers)
    messages = render_messages(CONVERSATION, spans, markers)
    gap = by_place[Span(4, 37, 300)]
    assert f"[… {gap.tokens:,} tokens, id {gap.id}]" in messages[3]["content"]
    assert json.loads(messages[2]["content"]).startswith("… ")
    assert all(marker in text for marker in markers.inside[4].values())
    assert SMALL < 300 - 37


def test_everything_kept_leaves_nothing_out():
    assert gaps(CONVERSATION, whole(CONVERSATION)).places == ()
    assert framed(CONVERSATION, whole(CONVERSATION)) == whole(CONVERSATION)
    assert render_messages(CONVERSATION, whole(CONVERSATION)) == CHAT
