"""A session: the same result however it grew, every message back as it was, nothing changed by an error."""

from __future__ import annotations

import json

import pytest

from reet_hf import ReetError, Session
from reet_hf.records import Turn

CALL = {"id": "c1", "type": "function", "function": {"name": "track", "arguments": '{"order": "AB-12", "é": "你好"}'}}
CHAT = [
    {"role": "system", "content": "Answer briefly. Never guess a date."},
    {"role": "user", "name": "Ann", "content": "When does the visa of Ann Lee expire?  \r\nI think in June. 👩‍💻"},
    {"role": "assistant", "content": "The visa expires on 3 June 2024. You must renew it in Oslo."},
    {"role": "user", "content": [{"type": "text", "text": "See the label."}, {"type": "image", "url": "data:,x"}]},
    {"role": "assistant", "content": None, "tool_calls": [CALL], "refusal": None},
    {"role": "tool", "tool_call_id": "c1", "content": "Order AB-12: shipped, 7 boxes."},
    {"role": "assistant", "content": ""},
    {"role": "user", "content": "Thanks. And what does the order cost? It was about $12.50 a box, or so I was told."},
    {"role": "assistant", "content": "It costs $87.50 in total; see https://a.b/c for the invoice."},
]
QUERY = "When does the visa expire?"
OPTIONS = [
    {"budget": 0.4},
    {"budget": 0.5, "query": QUERY},
    {"budget": 60, "query": QUERY, "unit": "clause"},
    {"budget": 0.6, "unit": "message"},
    {"budget": 0.5, "protect": ["system", r"\$\d+\.\d+"]},
    {"budget": 1.0},
]


def comparable(out: dict) -> dict:
    """A result without the last digits of its importances."""
    return {**out, "pieces": [{**piece, "importance": None} for piece in out["pieces"]]}


def assert_same(one: dict, other: dict) -> None:
    assert comparable(one) == comparable(other)
    for a, b in zip(one["pieces"], other["pieces"], strict=True):
        assert a["importance"] == pytest.approx(b["importance"], abs=1e-4)


def at_once(compress, messages=CHAT) -> Session:
    session = Session(compress)
    session.append(messages)
    return session


def by_message(compress) -> Session:
    session = Session(compress)
    for message in CHAT:
        session.append(message)
    return session


def by_message_with_questions(compress) -> Session:
    session = Session(compress)
    for number in range(0, len(CHAT), 2):
        session.append(CHAT[number : number + 2])
        session.compress(budget=0.3, unit="sentence")
        session.compress(budget=0.3, tokenizer=len)
    return session


@pytest.fixture(params=[at_once, by_message, by_message_with_questions], ids=lambda grow: grow.__name__)
def session(request, compress) -> Session:
    return request.param(compress)


def test_every_message_comes_back_byte_for_byte(session):
    assert json.dumps(session.restore(), ensure_ascii=False) == json.dumps(CHAT, ensure_ascii=False)


def test_what_is_restored_is_a_copy(session):
    session.restore()[4]["tool_calls"][0]["id"] = "changed"
    assert session.restore() == CHAT


@pytest.mark.parametrize("options", OPTIONS)
def test_growth_does_not_change_the_result(compress, session, options):
    query = options.get("query")
    rest = {name: value for name, value in options.items() if name != "query"}
    assert_same(session.compress(query=query, **rest), compress({"messages": CHAT, "query": query}, **rest))


@pytest.mark.parametrize("options", OPTIONS)
def test_a_loaded_session_continues_with_the_same_result(compress, tmp_path, options):
    first = at_once(compress, CHAT[:5])
    first.compress(query="What is the order?", budget=0.5)
    first.answer("AB-12")
    first.save(tmp_path / "deep" / "folder")
    second = Session.load(tmp_path / "deep" / "folder", compress)
    assert second.turns == first.turns == (Turn("What is the order?", "AB-12"),)
    assert second.restore() == first.restore()
    for session in (first, second):
        session.append(CHAT[5:])
    assert second.restore() == CHAT
    assert_same(second.compress(**options), first.compress(**options))


def test_an_empty_session_can_be_compressed_saved_and_loaded(compress, tmp_path):
    session = Session(compress)
    assert session.restore() == []
    assert session.compress(budget=0.3)["text"] == ""
    session.append([])
    session.save(tmp_path)
    loaded = Session.load(tmp_path, compress)
    loaded.append(CHAT)
    assert_same(loaded.compress(budget=0.5), at_once(compress).compress(budget=0.5))


def test_questions_and_answers_are_the_history_of_the_next_question(compress):
    session = at_once(compress)
    session.compress(query="What is the order?", budget=0.5)
    session.answer("Order AB-12")
    session.compress(budget=0.5)
    assert session.turns == (Turn("What is the order?", "Order AB-12"),)
    history = [{"query": "What is the order?", "answer": "Order AB-12"}]
    expected = compress({"messages": CHAT, "query": QUERY, "history": history}, budget=0.5)
    assert_same(session.compress(query=QUERY, budget=0.5), expected)
    assert session.turns[-1] == Turn(QUERY)


def test_history_changes_importance(compress):
    asked = at_once(compress)
    asked.compress(query="What does the order cost?", budget=0.9)
    asked.answer("It costs $87.50")
    with_history, without = (s.compress(query=QUERY, budget=1.0) for s in (asked, at_once(compress)))
    assert [p["importance"] for p in with_history["pieces"]] != [p["importance"] for p in without["pieces"]]


def test_two_ways_to_count_with_one_name_do_not_mix(compress):
    session = at_once(compress)
    counters = [lambda text: len(text), lambda text: len(text.split()), lambda text: 1 + len(text) // 2]
    for unit in ("word", "sentence"):
        for counter in counters:
            expected = compress(CHAT, budget=0.5, tokenizer=counter, unit=unit)
            assert_same(session.compress(budget=0.5, tokenizer=counter, unit=unit), expected)


@pytest.mark.parametrize(
    "wrong",
    [
        [CHAT[0], {"role": "robot", "content": "x"}],
        [{"role": "user", "content": 5}],
        {"role": "user", "content": "\ud800"},
        "text",
        5,
        None,
        [[CHAT[0]]],
        {"messages": CHAT},
    ],
)
def test_messages_that_cannot_be_read_leave_the_session_unchanged(compress, wrong):
    session = at_once(compress)
    expected = session.compress(budget=0.5)
    with pytest.raises(ReetError):
        session.append(wrong)
    assert session.restore() == CHAT
    assert_same(session.compress(budget=0.5), expected)


@pytest.mark.parametrize(
    ("error", "options"),
    [
        (ReetError, {"query": QUERY, "budget": 0}),
        (ReetError, {"query": QUERY, "budget": 1, "protect": ["user"]}),
        (ReetError, {"query": 5}),
        (ReetError, {"query": QUERY, "tokenizer": lambda text: -1}),
        (TypeError, {"query": QUERY, "rate": 0.3}),
    ],
)
def test_a_question_that_fails_was_not_asked(compress, error, options):
    session, untroubled = at_once(compress), at_once(compress)
    for one in (session, untroubled):
        one.compress(query="What is the order?", budget=0.5)
        one.answer("AB-12")
    with pytest.raises(error):
        session.compress(**options)
    assert session.turns == untroubled.turns
    for query in (QUERY, "And what does it cost?"):
        assert_same(session.compress(query=query, budget=0.5), untroubled.compress(query=query, budget=0.5))


@pytest.mark.parametrize("place", ["Compressor.encode", "scoring.scorer.ReetScorer._read"])
@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
def test_an_encoder_that_fails_leaves_the_session_unchanged(compress, monkeypatch, place, error):
    session = at_once(compress, CHAT[:3])
    expected = session.compress(budget=0.5)

    def fail(*args):
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(f"reet_hf.{place}", fail)
        with pytest.raises(error):
            session.append(CHAT[3:])
    assert session.restore() == CHAT[:3]
    assert_same(session.compress(budget=0.5), expected)
    session.append(CHAT[3:])
    assert_same(session.compress(budget=0.5), at_once(compress).compress(budget=0.5))


def test_an_answer_needs_a_question(compress):
    with pytest.raises(ReetError, match="`answer` needs a question"):
        at_once(compress).answer("yes")


@pytest.mark.parametrize("wrong", [5, None, b"yes", "\ud800"])
def test_an_answer_is_text(compress, wrong):
    session = at_once(compress)
    session.compress(query=QUERY, budget=0.5)
    with pytest.raises(ReetError, match="answer"):
        session.answer(wrong)
    assert session.turns == (Turn(QUERY),)


def test_a_folder_without_a_session_is_named(compress, tmp_path):
    with pytest.raises(ReetError, match="`folder` must hold a saved session"):
        Session.load(tmp_path, compress)


def test_a_session_of_another_schema_is_refused(compress, tmp_path):
    at_once(compress).save(tmp_path)
    (tmp_path / "session.jsonl").unlink()
    (tmp_path / "session.json").write_text(json.dumps({"schema_version": 99}), encoding="utf-8")
    for read in (Session.load, Session.open):
        with pytest.raises(ReetError, match="schema_version 99"):
            read(tmp_path, compress)


@pytest.mark.parametrize("options", OPTIONS)
def test_a_session_in_a_folder_gives_the_same_results_whenever_it_is_opened(compress, tmp_path, options):
    for number in range(0, len(CHAT), 2):
        with Session.open(tmp_path, compress) as opened:
            opened.append(CHAT[number : number + 2])
    with Session.open(tmp_path, compress) as opened:
        assert json.dumps(opened.restore()) == json.dumps(CHAT)
        query = options.get("query")
        rest = {name: value for name, value in options.items() if name != "query"}
        assert_same(opened.compress(query=query, **rest), compress({"messages": CHAT, "query": query}, **rest))


def test_an_encoder_that_fails_leaves_the_folder_unchanged(compress, tmp_path, monkeypatch):
    with Session.open(tmp_path, compress) as session:
        session.append(CHAT[:3])
        before = (tmp_path / "session.jsonl").read_bytes()

        def fail(*args):
            raise MemoryError

        with monkeypatch.context() as patched:
            patched.setattr("reet_hf.scoring.scorer.ReetScorer._read", fail)
            with pytest.raises(MemoryError):
                session.append(CHAT[3:])
        assert (tmp_path / "session.jsonl").read_bytes() == before
        session.append(CHAT[3:])
        expected = at_once(compress).compress(budget=0.5)
        assert_same(session.compress(budget=0.5), expected)
    assert_same(Session.load(tmp_path, compress).compress(budget=0.5), expected)


def test_a_session_that_cannot_be_encoded_opens_later(compress, tmp_path, monkeypatch):
    with Session.open(tmp_path, compress) as session:
        session.append(CHAT)

    def fail(*args):
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr("reet_hf.scoring.scorer.ReetScorer._read", fail)
        patched.setattr("reet_hf.journal.read_states", lambda *args: None)
        with pytest.raises(MemoryError):
            Session.open(tmp_path, compress)
    with Session.open(tmp_path, compress) as session:
        assert session.restore() == CHAT


def test_a_question_that_fails_leaves_no_trace_in_what_is_saved(compress, tmp_path):
    session = Session(compress)
    session.append([{"role": "user", "content": "the visa expires in june. the order is abc. when does it expire?"}])
    with pytest.raises(ReetError):
        session.compress("when does the visa expire?", budget=2, protect=["user"])
    session.save(tmp_path)
    loaded = Session.load(tmp_path, compress)
    fresh = Session(compress)
    fresh.append(session.restore())
    results = [s.compress("the order?", budget=1.0, unit="sentence")["pieces"] for s in (session, loaded, fresh)]
    importance = [[piece["importance"] for piece in result] for result in results]
    assert importance[0] == pytest.approx(importance[2], abs=1e-5)
    assert importance[1] == pytest.approx(importance[2], abs=1e-5)
