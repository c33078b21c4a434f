"""Every accepted form of input becomes the same records; every other is refused with a reason."""

from __future__ import annotations

import copy

import pytest

from reet_hf.conversation import (
    ROLES,
    Conversation,
    is_batch,
    parse_history,
    parse_messages,
    parse_query,
    parse_request,
)
from reet_hf.errors import ReetError
from reet_hf.records import Turn

CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
USER = {"role": "user", "content": "Hi"}
IMAGE = {"type": "image_url", "image_url": {"url": "data:,x"}}


def texts(inputs) -> list[tuple[str, str]]:
    return [(message.role, message.text) for message in parse_request(inputs).conversation.messages]


@pytest.mark.parametrize(
    ("inputs", "expected", "form"),
    [
        ("plain", [("document", "plain")], "text"),
        ("", [("document", "")], "text"),
        ({"context": "one"}, [("document", "one")], "context"),
        ({"context": ["one", "two"]}, [("document", "one"), ("document", "two")], "context"),
        ({"context": ("one", ""), "query": None, "history": None}, [("document", "one"), ("document", "")], "context"),
        ({"context": []}, [], "context"),
        ({"messages": [USER], "query": "q"}, [("user", "Hi")], "messages"),
        ({"messages": []}, [], "messages"),
        ([USER, {"role": "assistant", "content": "Yo"}], [("user", "Hi"), ("assistant", "Yo")], "messages"),
        ((USER,), [("user", "Hi")], "messages"),
        (USER, [("user", "Hi")], "messages"),
        ([], [], "messages"),
    ],
)
def test_each_form_is_read(inputs, expected, form):
    assert texts(inputs) == expected
    assert parse_request(inputs).conversation.form == form


@pytest.mark.parametrize("role", ROLES)
def test_each_role_is_read(role):
    assert texts([{"role": role, "content": "x"}]) == [(role, "x")]


@pytest.mark.parametrize(
    ("query", "expected"), [(None, None), ("", None), ("  \n", None), (" when? ", "when?"), ("when?", "when?")]
)
def test_a_blank_query_is_none(query, expected):
    assert parse_query(query) == expected
    assert parse_request({"context": "c", "query": query}).query == expected


def test_history_is_read_with_and_without_answers():
    history = [{"query": "a", "answer": "b"}, {"query": "c"}, {"query": "d", "answer": None}, Turn("e", "f")]
    assert parse_history(history) == (Turn("a", "b"), Turn("c"), Turn("d"), Turn("e", "f"))
    assert parse_request({"messages": [USER], "history": history}).history == parse_history(history)


@pytest.mark.parametrize(
    ("content", "text", "borders"),
    [
        (None, "", ()),
        ("Hi", "Hi", ()),
        ([], "", ()),
        ([{"type": "text", "text": "Hi"}], "Hi", ()),
        ([{"type": "text", "text": "Hi"}, IMAGE, {"type": "text", "text": "there"}], "Hithere", (2,)),
        ([{"type": "input_text", "text": "a"}, {"type": "output_text", "text": "b"}, "c"], "abc", (1, 2)),
        ([IMAGE], "", ()),
    ],
)
def test_each_form_of_content_is_read(content, text, borders):
    (message,) = parse_messages([{"role": "user", "content": content}])
    assert (message.text, message.borders) == (text, borders)
    assert message.raw["content"] == content


def test_a_missing_content_is_no_text():
    assert texts([{"role": "assistant", "tool_calls": [CALL]}]) == [("assistant", "")]


def test_what_a_message_says_without_text():
    call, result, image, empty = parse_messages(
        [
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "c1", "content": ""},
            {"role": "user", "content": [IMAGE]},
            {"role": "assistant", "content": ""},
        ]
    )
    assert call.keeps_without_text and result.keeps_without_text and image.keeps_without_text
    assert not empty.keeps_without_text
    assert call.calls == ("c1",) and result.answers == "c1" and image.answers is None


def test_names_label_messages_and_documents_have_no_label():
    named, plain = parse_messages([{"role": "user", "name": "Ann", "content": "x"}, USER])
    (document,) = parse_request("x").conversation.messages
    assert (named.label, plain.label, document.label) == ("Ann", "user", "")


def test_tool_groups_hold_a_call_and_all_of_its_results():
    legacy = {"role": "assistant", "content": None, "function_call": {"name": "g", "arguments": "{}"}}
    conversation = Conversation(
        parse_messages(
            [
                {"role": "tool", "tool_call_id": "c0", "content": "orphan"},
                USER,
                {"role": "assistant", "content": "Wait", "tool_calls": [CALL, {**CALL, "id": "c2"}]},
                {"role": "tool", "tool_call_id": "c1", "content": "1"},
                {"role": "tool", "tool_call_id": "c2", "content": "2"},
                {"role": "assistant", "content": "Done", "tool_calls": None},
                legacy,
                {"role": "function", "name": "g", "content": "3"},
            ]
        )
    )
    groups = [conversation.tool_group(number) for number in range(8)]
    assert groups[1] is None and groups[5] is None
    assert groups[2] == groups[3] == groups[4] != groups[6] == groups[7]
    assert groups[0] is not None and groups[0] not in groups[1:]


def test_ages_count_later_user_turns():
    roles = ["system", "user", "assistant", "user", "assistant", "user"]
    conversation = Conversation(parse_messages([{"role": role, "content": "x"} for role in roles]))
    assert conversation.ages() == [3, 2, 2, 1, 1, 0]
    assert parse_request({"context": ["a", "b"]}).conversation.ages() == [0, 0]


def test_the_given_objects_are_neither_changed_nor_shared():
    given = [{"role": "assistant", "content": [{"type": "text", "text": "x"}], "tool_calls": [copy.deepcopy(CALL)]}]
    before = copy.deepcopy(given)
    (message,) = parse_messages(given)
    assert given == before
    given[0]["content"][0]["text"] = "changed"
    given[0]["tool_calls"][0]["id"] = "changed"
    assert message.raw == before[0]


@pytest.mark.parametrize(
    ("inputs", "batch"),
    [
        ("text", False),
        ([], False),
        ([USER, USER], False),
        (USER, False),
        ({"messages": [USER]}, False),
        (["a", "b"], True),
        ([[USER], [USER]], True),
        ([{"messages": [USER]}, {"context": "c"}, "text", [USER]], True),
    ],
)
def test_a_list_is_a_batch_unless_it_holds_messages(inputs, batch):
    assert is_batch(inputs) is batch


@pytest.mark.parametrize(
    ("inputs", "named"),
    [
        (5, ["input", "string", "messages", "context", "int"]),
        (None, ["input", "NoneType"]),
        (b"bytes", ["input", "bytes"]),
        ({}, ["exactly one of", "'messages' and 'context'"]),
        ({"query": "q"}, ["exactly one of", "'query'"]),
        ({"messages": [USER], "context": "c"}, ["exactly one of 'messages' and 'context'", "'context', 'messages'"]),
        ({"text": "c"}, ["'text'", "'messages'", "'context'"]),
        ({"context": "c", "question": "q"}, ["'question'", "'query'"]),
        ({"messages": [USER], "budget": 1}, ["'budget'"]),
        ({"context": 5}, ["`context`", "string or a list", "int"]),
        ({"context": None}, ["`context`", "NoneType"]),
        ({"context": ["a", 5]}, ["`context[1]`", "string", "int", "convert"]),
        ({"context": b"a"}, ["`context`", "bytes"]),
        ({"context": [b"a"]}, ["`context[0]`", "bytes", "decode"]),
        ({"context": "c", "query": 5}, ["`query`", "string", "int"]),
        ({"context": "c", "query": b"q"}, ["`query`", "bytes", "decode"]),
        ({"messages": "hi"}, ["`messages`", "list of messages", "str"]),
        ({"messages": USER}, ["`messages`", "list of messages", "dict"]),
        ({"messages": None}, ["`messages`", "NoneType"]),
        ({"messages": [USER, "hi"]}, ["`messages[1]`", "'role' and 'content'", "'hi'"]),
        ([{"role": "robot", "content": "x"}], ["`messages[0]['role']`", "user, assistant", "'robot'"]),
        ([USER, {"role": None, "content": "x"}], ["`messages[1]['role']`", "None"]),
        ([{"role": ["user"], "content": "x"}], ["`messages[0]['role']`", "['user']"]),
        ([{"role": "user", "content": 5}], ["`messages[0]['content']`", "string, a list of parts or None", "int"]),
        ([{"role": "user", "content": b"x"}], ["`messages[0]['content']`", "bytes"]),
        ([{"role": "user", "content": {"text": "x"}}], ["`messages[0]['content']`", "dict"]),
        ([{"role": "user", "content": [5]}], ["messages[0]['content']", "[0]", "5"]),
        ([{"role": "user", "content": [{"type": "text", "text": 5}]}], ["messages[0]['content']", "'text'", "int"]),
        ([{"role": "user", "content": [{"type": "text"}]}], ["messages[0]['content']", "'text'", "NoneType"]),
        ("a\ud800", ["`input`", "lone surrogate", "character 1", "errors='replace'"]),
        ({"context": ["\udfff"]}, ["`context[0]`", "lone surrogate", "character 0"]),
        ([{"role": "user", "content": "ab\ud83d"}], ["messages[0]", "lone surrogate", "character 2"]),
        ({"context": "c", "query": "\ud800"}, ["`query`", "lone surrogate"]),
        ([{"role": "user", "name": "\ud800", "content": "x"}], ["messages[0]", "name", "surrogate"]),
        (
            [{"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "\ud800"}}]}],
            ["messages[0]", "surrogate"],
        ),
        ({"context": "c", "history": "q"}, ["`history`", "{'query', 'answer'}", "str"]),
        ({"context": "c", "history": {"query": "q"}}, ["`history`", "list", "dict"]),
        ({"context": "c", "history": ["q"]}, ["`history[0]`", "'query'", "'q'"]),
        ({"context": "c", "history": [{"answer": "a"}]}, ["`history[0]`", "'query'", "'answer': 'a'"]),
        ({"context": "c", "history": [{"query": "q", "time": 1}]}, ["`history[0]`", "'time': 1"]),
        ({"context": "c", "history": [{"query": "q"}, {"query": 5}]}, ["history[1]", "'query'", "int"]),
        ({"context": "c", "history": [{"query": "q", "answer": 5}]}, ["history[0]", "'answer'", "int"]),
    ],
)
def test_what_cannot_be_read_is_named_with_the_rule_and_the_value(inputs, named):
    with pytest.raises(ReetError) as caught:
        parse_request(inputs)
    for part in named:
        assert part in str(caught.value)
