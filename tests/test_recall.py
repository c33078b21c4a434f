"""What was left out comes back word for word, by id or for a question, and no model goes round in circles with it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import pipeline

from reet_hf import Compressor, ReetError, Session
from reet_hf.conversation import Conversation, parse_messages
from reet_hf.journal import JOURNAL
from reet_hf.recall import (
    TOOL,
    Omitted,
    RecallCall,
    RecallGuard,
    RecallLimits,
    clipped,
    merged,
    parse_call,
    recall_tool,
)
from reet_hf.records import Span
from reet_hf.rendering import render_text
from reet_hf.scoring.scorer import TokenScores

CALL = {"id": "c1", "type": "function", "function": {"name": "track", "arguments": '{"order": "AB-12"}'}}
CHAT = [
    {"role": "system", "content": "Answer briefly."},
    {
        "role": "user",
        "name": "Ann",
        "content": "The visa of Ann Lee expires in June. She lives in Oslo. \r\nShe likes tea.",
    },
    {"role": "assistant", "content": "Noted.  The visa expires in June;\n\nOslo it is."},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": "Order AB-12: shipped, 7 boxes, 👩‍💻 signed."},
    {"role": "user", "content": [{"type": "text", "text": "See the label."}, {"type": "text", "text": "It is red."}]},
    {"role": "assistant", "content": "The label is red."},
]
CONVERSATION = Conversation(parse_messages(CHAT))
IDS = {
    "aaaaaa": [(1, 0, 36)],
    "bbbbbb": [(1, 37, 68), (2, 0, 7)],
    "cccccc": [(3, 0, 0), (4, 0, 43)],
    "dddddd": [(5, 14, 24)],
}
OMITTED = [
    {"id": name, "tokens": 9, "spans": [{"message": m, "start": a, "end": b} for m, a, b in places]}
    for name, places in IDS.items()
]
QUESTION = "Where does Ann Lee live, in Oslo?"


class Words:
    """The words of a question matter most, else long ones."""

    def encode(self, conversation: Any, state: Any = None) -> Any:
        return conversation

    def score(self, state: Any, query: str | None, history: Any) -> TokenScores:
        asked = set((query or "").strip("?").replace(",", "").split())
        rows = [
            (number, word.start(), word.end(), len(word.group()) / 9 + 20.0 * (word.group().strip(".") in asked))
            for number, message in enumerate(state.messages)
            for word in regex.finditer(r"\S+", message.text)
        ]
        columns = np.array(rows, dtype=float).reshape(-1, 4).T
        return TokenScores(*(column.astype(np.int64) for column in columns[:3]), columns[3])

    def load(self, arrays: Any, conversation: Any) -> Any:
        return conversation


class Told:
    """A result with other omissions."""

    def __init__(self, result: Any, omitted: Any) -> None:
        self.result, self.omitted = result, omitted

    def to_dict(self) -> dict[str, Any]:
        return {**self.result.to_dict(), "omitted": self.omitted}


class Marking(Compressor):
    """A compressor that says which omissions it is told to say."""

    omitted: Any = OMITTED

    def compress_turn(self, *args: Any, **options: Any) -> Any:
        result = super().compress_turn(*args, **options)
        return Told(result, self.omitted) if args[0].conversation.form == "messages" else result


def marking(omitted: Any = OMITTED) -> Marking:
    compressor = Marking(Words(), lambda text: len(text.split()))
    compressor.omitted = omitted
    return compressor


def asked(session: Session) -> Session:
    session.append(CHAT)
    session.compress(QUESTION, budget=9)
    return session


@pytest.fixture(params=["in memory", "opened", "opened again", "saved and loaded"])
def session(request, tmp_path) -> Session:
    if request.param in ("in memory", "saved and loaded"):
        made = asked(Session(marking()))
        if request.param == "in memory":
            return made
        made.save(tmp_path)
        return Session.load(tmp_path, marking())
    opened = asked(Session.open(tmp_path, marking()))
    if request.param == "opened":
        return opened
    opened.close()
    return Session.open(tmp_path, marking())


def text_of(span: Span) -> str:
    return CONVERSATION.messages[span.message].text[span.start : span.end]


@pytest.mark.parametrize("name", IDS)
def test_an_id_brings_back_every_character(session, name):
    out = session.recall(name)
    spans = [Span(*place) for place in IDS[name]]
    assert out["pieces"] == [{"message": s.message, "start": s.start, "end": s.end} for s in spans]
    assert out["text"] == render_text(CONVERSATION, spans)
    for span in spans:
        assert text_of(span) in out["text"]
    counted = len(out["text"].split())
    assert out["tokens"] == {"original": counted, "compressed": counted, "budget": counted}
    assert [m["role"] for m in out["messages"]] == [CHAT[n]["role"] for n in sorted({s.message for s in spans})]


def test_a_tool_call_comes_back_with_its_arguments(session):
    out = session.recall("cccccc", budget=1000)
    assert out["messages"][0]["tool_calls"] == [CALL]
    assert out["messages"][1] == CHAT[4]
    assert CALL["function"]["arguments"] in out["text"]


def test_several_ids_come_back_in_order(session):
    out = session.recall(["bbbbbb", "aaaaaa", "aaaaaa"])
    places = [(p["message"], p["start"], p["end"]) for p in out["pieces"]]
    assert places == [(1, 0, 36), (1, 37, 68), (2, 0, 7)]


@pytest.mark.parametrize("budget", [1, 3, 5, 8, 12, 20, 0.3, 0.7, np.int64(4)])
@pytest.mark.parametrize("what", ["bbbbbb", list(IDS), QUESTION, "Is the label red?"])
def test_a_budget_holds_and_what_stays_is_word_for_word(session, what, budget):
    out = session.recall(what, budget=budget)
    tokens = out["tokens"]
    assert tokens["compressed"] == len(out["text"].split()) <= tokens["budget"]
    ids = IDS if isinstance(what, str) and what not in IDS else [what] if isinstance(what, str) else what
    allowed = [Span(*place) for name in ids for place in IDS[name]]
    for piece in out["pieces"]:
        span = Span(**piece)
        assert any(place.contains(span) for place in allowed)
        assert text_of(span) in out["text"]


def test_a_question_brings_back_what_it_is_about(session):
    assert "She lives in Oslo." in session.recall(QUESTION, budget=6, unit="sentence")["text"]
    assert "is red" in session.recall("Is it red?", budget=6)["text"]
    assert QUESTION not in session.recall("Is it red?")["text"]


def test_ids_that_do_not_fit_are_cut_for_the_last_question(session):
    assert "Oslo" in session.recall(["aaaaaa", "bbbbbb"], budget=6, unit="sentence")["text"]
    assert session.turns[-1].query == QUESTION


def places(out):
    return {(piece["message"], piece["start"], piece["end"]) for piece in out["pieces"]}


def test_everything_left_out_comes_back_by_its_ids_and_of_it_what_a_question_needs(session):
    everything = {place for own in IDS.values() for place in own}
    assert places(session.recall(list(IDS))) == everything
    out = session.recall("Anything?")
    assert out["tokens"]["budget"] == 1000
    assert places(out) and all(
        any(each[0] == place[0] and each[1] <= place[1] and place[2] <= each[2] for each in everything)
        for place in places(out)
    )


def test_a_question_brings_back_what_it_needs_and_not_what_else_there_was_room_for(bundled):
    from transformers import pipeline

    session = Session(pipeline("reet-compression", model=str(bundled)))
    boats = [f"The boat of person {n} lies at berth {n} and needs a new ladder before the summer." for n in range(9)]
    for text in ["The alarm code of the boathouse is 7731-K.", *boats, "Bye."]:
        session.append({"role": "user", "content": text})
    session.compress(budget=12)
    assert session.recall("What is the alarm code of the boathouse?")["text"].count("\n") == 0
    assert "7731-K" in session.answer_recall({"query": "What is the alarm code of the boathouse?"})


def test_a_question_searches_what_the_last_result_left_out(tmp_path):
    compressor = marking()
    with Session.open(tmp_path, compressor) as session:
        asked(session)
        compressor.omitted = OMITTED[:1]
        session.compress(budget=9)
    with Session.open(tmp_path, compressor) as session:
        assert session.recall("Anything?")["pieces"] == [{"message": 1, "start": 0, "end": 36}]
        assert session.recall("dddddd")["text"] == "user: It is red."
        compressor.omitted = []
        session.compress(budget=9)
    with Session.open(tmp_path, compressor) as session:
        assert session.recall("Anything?")["text"] == ""


def test_what_was_never_left_out_has_nothing_to_bring_back():
    session = Session(marking())
    out = session.recall("Anything?")
    assert (out["text"], out["messages"], out["pieces"]) == ("", [], [])
    assert out["tokens"] == {"original": 0, "compressed": 0, "budget": 1000}


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("abcdef012345", "4 ids"),
        ("eeeeee", "out['omitted']"),
        (["aaaaaa", "bbbbbc"], "'bbbbbc'"),
        (["aaaaaa", 5], "5"),
        ([], "`what` must be"),
        (5, "`what` must be"),
        (None, "`what` must be"),
        ("  ", "`what` must say"),
    ],
)
def test_what_cannot_be_recalled_is_named(session, what, said):
    with pytest.raises(ReetError, match="`what`") as caught:
        session.recall(what)
    assert said in str(caught.value)


def test_only_new_places_are_written(tmp_path):
    sizes = []
    with Session.open(tmp_path, marking()) as session:
        for _ in range(4):
            session.append(CHAT if not sizes else [])
            session.compress(budget=9)
            sizes.append((tmp_path / JOURNAL).stat().st_size)
        session.compress("What?", budget=9)
        record = json.loads((tmp_path / JOURNAL).read_bytes().splitlines()[-1])["record"]
    assert sizes[1:] == sizes[:1] * 3
    assert record == {"type": "result", "query": "What?", "again": list(IDS)}


def test_two_places_of_one_id_come_back_both():
    compressor = marking()
    session = asked(Session(compressor))
    compressor.omitted = [{**OMITTED[3], "id": "aaaaaa"}]
    session.compress(budget=9)
    assert [p["message"] for p in session.recall("aaaaaa")["pieces"]] == [1, 5]


def test_a_pipeline_recalls_what_it_left_out(compress):
    plain = compress.compressor
    compressor = Marking(plain.scorer, plain.counter, plain.extractor)
    compressor.omitted = OMITTED
    session = asked(Session(compressor))
    for budget in (5, 12, 30):
        for unit in ("auto", "sentence", "word"):
            out = session.recall(QUESTION, budget=budget, unit=unit)
            assert out["tokens"]["compressed"] <= budget
            for piece in out["pieces"]:
                assert text_of(Span(**piece)) in out["text"]
    assert session.recall("bbbbbb")["text"] == render_text(CONVERSATION, [Span(*place) for place in IDS["bbbbbb"]])


def test_every_id_of_every_result_brings_back_its_places(compress, tmp_path):
    told = {}
    with Session.open(tmp_path, compress) as session:
        session.append(CHAT)
        for budget in (15, 40, 70):
            out = session.compress(QUESTION, budget=budget, keep_recent=0, keep_system=False, markers=True)
            told |= {omission["id"]: omission["spans"] for omission in out["omitted"]}
    assert len(told) > 2
    with Session.open(tmp_path, compress) as session:
        for name, spans in told.items():
            out = session.recall(name)
            assert out["pieces"] == spans
            assert all(text_of(Span(**span)) in out["text"] for span in spans)


SPANS = st.lists(
    st.integers(0, len(CHAT) - 1).flatmap(
        lambda n: st.tuples(*[st.integers(0, len(CONVERSATION.messages[n].text))] * 2).map(
            lambda ends: Span(n, min(ends), max(ends))
        )
    ),
    max_size=8,
)


@given(SPANS, SPANS)
def test_what_is_clipped_is_what_both_have(found, spans):
    own, parts = list(merged(found)), list(merged(spans))
    inside = clipped(own, parts)
    characters = [{(s.message, n) for s in each for n in range(s.start, s.end)} for each in (own, parts, inside)]
    assert characters[2] == characters[0] & characters[1]
    assert inside == sorted(inside)
    assert {s for s in inside if s.start == s.end} == {s for s in own if s.start == s.end} & set(parts)


ROWS = [{"order": f"KX-{4000 + n}", "customer": f"Customer {n}", "item": "oak chair"} for n in range(40)]
FOUND = {"id": "c2", "type": "function", "function": {"name": "list_orders", "arguments": "{}"}}
LISTED = [
    {"role": "user", "content": "Which orders are open?"},
    {"role": "assistant", "content": None, "tool_calls": [FOUND]},
    {"role": "tool", "tool_call_id": "c2", "content": json.dumps(ROWS)},
    {"role": "assistant", "content": "There are forty."},
    {"role": "user", "content": "Thank you. What is the weather like?"},
]


def test_a_number_that_was_said_is_a_question_and_no_id():
    compressor = marking()
    session = Session(compressor)
    session.append([{"role": "user", "content": "Order 44719317 is late."}, *CHAT[1:]])
    compressor.omitted = [{"id": "aaaaaa", "tokens": 9, "spans": [{"message": 0, "start": 0, "end": 23}]}]
    session.compress("What?", budget=9)
    assert "44719317" in session.recall("44719317")["text"]
    assert "44719317" in session.answer_recall({"query": "44719317"})
    with pytest.raises(ReetError, match="44719318"):
        session.recall("44719318")


def test_the_budget_of_a_recall_holds_even_if_it_is_nothing(session):
    out = session.recall("dddddd", budget=0.1)
    assert out["tokens"]["compressed"] <= out["tokens"]["budget"] == 0 and out["text"] == ""


def test_a_threshold_of_zero_leaves_nothing_out(bundled):
    session = Session(pipeline("reet-compression", model=str(bundled)))
    session.append(LISTED)
    session.compress(budget=110)
    asked = "Which order has Customer 31?"
    few, many = (session.recall(asked, budget=300, **told)["tokens"]["compressed"] for told in ({}, {"threshold": 0.0}))
    assert few < 150 and many > 200


def test_rows_come_back_whole_and_alone(bundled):
    session = Session(pipeline("reet-compression", model=str(bundled)))
    session.append(LISTED)
    out = session.compress(budget=110)
    assert "KX-4031" not in json.dumps(out["messages"])
    told = session.recall("Which order has Customer 31?", budget=120)
    assert json.dumps(ROWS[31]) in told["text"]
    assert sum(json.dumps(row) in told["text"] for row in ROWS) < 4


def test_the_tool_is_one_of_openai():
    tool = recall_tool()
    assert tool["type"] == "function" and tool["function"]["name"] == TOOL
    parameters = tool["function"]["parameters"]
    assert set(parameters["properties"]) == {"id", "query", "budget"}
    assert all(len(about["description"]) > 20 for about in parameters["properties"].values())
    assert json.loads(json.dumps(tool)) == tool


@pytest.mark.parametrize(
    ("arguments", "call"),
    [
        ('{"id": "7f3a1c"}', RecallCall("7f3a1c")),
        ({"id": " 7F3A1C "}, RecallCall("7f3a1c")),
        ({"id": "[… 412 tokens, id 7f3a1c]"}, RecallCall("7f3a1c")),
        ({"id": "[… 412345 tokens, id 7f3a1c]"}, RecallCall("7f3a1c")),
        ({"id": "", "query": " when? ", "budget": None}, RecallCall("", "when?")),
        ({"query": "when?", "budget": "300"}, RecallCall("", "when?", 300)),
        ({"query": "when?", "budget": 300.0, "more": 1}, RecallCall("", "when?", 300)),
        (b'{"query": "when?"}', RecallCall("", "when?")),
    ],
)
def test_calls_are_read_as_models_write_them(arguments, call):
    assert parse_call(arguments) == call


BAD = [
    "",
    "{",
    "null",
    "[]",
    '"when?"',
    "{}",
    '{"id": ""}',
    '{"id": 5}',
    '{"query": ["x"]}',
    '{"query": "\\ud800"}',
    "[" * 99_999,
]
BAD += [None, 5, [], {}, {"query": "x", "budget": 0}, {"query": "x", "budget": True}, {"query": "x", "budget": 1.5}]
BAD += [
    {"id": "eeeeee"},
    {"id": "nowhere"},
    {"query": "eeeeee"},
    b"\xff",
    {"query": "x", "budget": float("inf")},
    {5: 6},
]


@pytest.mark.parametrize("arguments", BAD, ids=range(len(BAD)))
def test_bad_arguments_are_told_not_raised(session, arguments):
    assert isinstance(parse_call(arguments), (str, RecallCall))
    said = session.answer_recall(arguments)
    assert len(said) > 20 and said[0] in "TSWN`"
    assert "Oslo" not in said


@settings(deadline=None, max_examples=60)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda v: st.lists(v) | st.dictionaries(st.sampled_from(["id", "query", "budget"]), v),
    )
)
def test_any_arguments_get_an_answer(arguments):
    session = asked(Session(marking()))
    assert isinstance(session.answer_recall(arguments), str)
    assert isinstance(session.answer_recall(json.dumps(arguments)), str)


def test_a_call_brings_text_back(session):
    assert session.answer_recall('{"id": "aaaaaa"}') == "Ann: The visa of Ann Lee expires in June."
    cut = session.answer_recall({"query": "Is it red?", "budget": 6})
    assert "is red" in cut
    cut = session.answer_recall({"id": "cccccc", "budget": 4})
    assert "tokens; ask with `query`" in cut.splitlines()[-1]


def test_options_of_the_caller_are_the_callers(session):
    with pytest.raises(ReetError, match="`tokenizer`"):
        session.answer_recall({"id": "aaaaaa"}, tokenizer=5)
    with pytest.raises(TypeError):
        session.answer_recall({"id": "aaaaaa", "budget": 2}, markers=True)
    assert session.answer_recall({"id": "aaaaaa"}, tokenizer=len)


def again(session: Session, tmp_path: Any) -> Session:
    """The session as it is after a save, or after it was opened again."""
    if session._journal is None:
        session.save(tmp_path / "again")
        return Session.load(tmp_path / "again", session.compressor)
    folder = session._journal.folder
    session._journal.close()
    return Session.open(folder, session.compressor)


def test_the_same_again_is_refused_until_something_new_is_said(session, tmp_path):
    first = session.answer_recall({"id": "aaaaaa"})
    session = again(session, tmp_path)
    assert "already recalled above" in session.answer_recall('{"id": "AAAAAA", "budget": 7}')
    session.append([{"role": "assistant", "content": None, "tool_calls": [recall_call("r1")]}, result("r1")])
    assert "already recalled above" in session.answer_recall({"id": "aaaaaa"})
    assert "red" in session.answer_recall({"query": "Is it  RED?"})
    assert "already recalled above" in session.answer_recall({"query": "is it red?"})
    session = again(session, tmp_path)
    assert "already recalled above" in session.answer_recall({"query": "is it red?"})
    session.append({"role": "assistant", "content": "Let me see."})
    assert session.answer_recall({"id": "aaaaaa"}) == first


def recall_call(number: str, name: str = TOOL) -> dict[str, Any]:
    return {"id": number, "type": "function", "function": {"name": name, "arguments": "{}"}}


def result(number: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": number, "content": "text"}


def test_a_turn_has_so_many_recalls(session, tmp_path):
    for number in range(5):
        if number == 3:
            session = again(session, tmp_path)
        assert "Answer now" not in session.answer_recall({"id": "eeeeee"} if number % 2 else {"query": f"{number}?"})
    assert "recalled 5 times" in session.answer_recall({"id": "aaaaaa"})
    session.append({"role": "assistant", "content": "Well."})
    session = again(session, tmp_path)
    assert "Answer now" in session.answer_recall({"id": "aaaaaa"})
    session.append({"role": "user", "content": "Go on."})
    session = again(session, tmp_path)
    assert session.answer_recall({"id": "aaaaaa"}).startswith("Ann:")


def test_a_turn_has_so_many_tokens():
    session = asked(Session(marking(), RecallLimits(recalls=9, tokens=12, budget=8)))
    used = 0
    for number in range(9):
        said = session.answer_recall({"query": f"Is it red, number {number}?", "budget": 500 if number else None})
        if "Answer now" in said:
            break
        used += len(said.split())
        assert number or len(said.split()) <= 8
    assert 6 < used <= 12
    assert session._guard.tokens == used


def test_the_guard_knows_its_own_messages():
    guard = RecallGuard()
    guard.recalled("k", 10, True)

    def refused(*messages: dict[str, Any]) -> bool:
        guard.appended(parse_messages(messages))
        return guard.refusal("k") is not None

    assert refused()
    assert refused({"role": "assistant", "content": None, "tool_calls": [recall_call("a"), recall_call("b")]})
    assert refused(result("b"), result("a"))
    assert not refused(
        {"role": "assistant", "content": None, "tool_calls": [recall_call("c"), recall_call("d", "track")]}
    )
    guard.recalled("k", 10, True)
    assert not refused(result("z"))
    assert (guard.recalls, guard.tokens, guard.left) == (2, 20, 3980)
    guard.recalled("other", 4000, False)
    assert guard.left == 0 and "Answer now" in (guard.refusal("k") or "")
    assert not refused({"role": "user", "content": "And?"})
    assert guard.to_dict() == {"recalls": 0, "tokens": 0, "seen": [], "own": []}


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "5", None])
def test_limits_are_whole_numbers(wrong):
    for name in ("recalls", "tokens", "budget"):
        with pytest.raises(ReetError, match=f"`{name}`"):
            RecallLimits(**{name: wrong})


def test_what_was_left_out_survives_as_json():
    omitted = Omitted()
    omitted.add(omitted.entry(OMITTED))
    assert Omitted.from_dict(json.loads(json.dumps(omitted.to_dict()))) == omitted
    assert omitted.entry(OMITTED) == {"again": list(IDS)}


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9), st.integers(0, 9)), max_size=9))
def test_merged_spans_cover_the_same_characters(places):
    spans = [Span(m, min(a, b), max(a, b)) for m, a, b in places]
    found = merged(spans)
    characters = {(s.message, n) for s in spans for n in range(s.start, s.end)}
    assert [(s.message, n) for s in found for n in range(s.start, s.end)] == sorted(characters)
    assert {s.message for s in found} == {s.message for s in spans}
