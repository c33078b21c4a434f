"""Regimes show a compressor what they say, and what was kept is traced to where it stood first."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval import regimes
from eval.regimes import ask, chunks_of, regimes_of, rendered
from eval.systems.base import Kept, System
from eval.systems.last_k import LastK
from reet_hf.budget import TokenCounter, resolve_counter
from reet_hf.conversation import Conversation, parse_messages
from reet_hf.records import Span, Turn
from reet_hf.rendering import render_text, whole
from reet_hf.segmentation import words


def tokens(text: str) -> int:
    return len(words(text))


COUNTER = resolve_counter(tokens)


class Recorder(System):
    """Keeps the first words that fit and writes down what it was shown."""

    def __init__(self, query: str) -> None:
        self.query = query  # type: ignore[misc]
        self.calls: list[tuple[int, str | None, tuple[Turn, ...], tuple]] = []

    def open(self, messages):
        return Conversation(parse_messages(messages))

    def compress(self, opened, query, history, budgets):
        self.calls.append((len(opened.messages), query, tuple(history), tuple(budgets)))
        return [self._first(opened, budget) for budget in budgets]

    def _first(self, opened: Conversation, budget) -> Kept:
        places = [Span(n, start, end) for n, m in enumerate(opened.messages) for start, end in words(m.text)]
        limit = budget if isinstance(budget, int) else int(budget * COUNTER.count(render_text(opened, whole(opened))))
        kept = places[:limit]
        while COUNTER.count(render_text(opened, kept)) > limit:
            kept = kept[:-1]
        text = render_text(opened, kept)
        return Kept(text, tuple(kept), COUNTER.count(text), limit, 1.0)


def make_row(messages: int = 20, questions: int = 3) -> dict:
    found = [{"role": "user", "name": "", "content": f"fact{n:02} says value{n:02} here."} for n in range(messages)]
    asked = [
        {
            "question": f"What does fact{n:02} say?",
            "answers": [f"value{n:02}"],
            "kind": "extractive",
            "answer_spans": [{"message": n, "start": 12, "end": 19}],
            "evidence": [{"message": n, "start": 0, "end": len(found[n]["content"])}],
        }
        for n in range(questions)
    ]
    return {"id": "row", "messages": found, "questions": asked}


def test_a_session_sees_earlier_queries_and_answers_and_never_later_ones():
    system, row = Recorder("optional"), make_row()
    ask(system, row, ["session"], [0.5, 0.2], 20, COUNTER)
    queries = [question["question"] for question in row["questions"]]
    turns = tuple(Turn(question["question"], question["answers"][0]) for question in row["questions"])
    assert [(call[1], call[2], call[3]) for call in system.calls] == [
        (query, turns[:number], (0.5, 0.2)) for number, query in enumerate(queries)
    ]


def test_once_shows_no_query_and_its_one_output_answers_all_turns():
    system = Recorder("optional")
    asked = ask(system, make_row(), ["once"], [0.5], 20, COUNTER)["once"]
    assert [(call[1], call[2]) for call in system.calls] == [(None, ())]
    assert len(asked.turns) == 3 and len({id(turn[0]) for turn in asked.turns}) == 1


def test_first_query_shows_the_first_one_only_and_is_reused():
    system, row = Recorder("required"), make_row()
    asked = ask(system, row, ["first_query"], [0.5], 20, COUNTER)["first_query"]
    assert [call[1] for call in system.calls] == [row["questions"][0]["question"]]
    assert len({id(turn[0]) for turn in asked.turns}) == 1
    both = ask(Recorder("required"), row, ["session", "first_query"], [0.5], 20, COUNTER)
    assert both["first_query"].turns[2] == both["session"].turns[0]


def test_what_ignores_the_query_is_asked_once_for_three_regimes():
    system = Recorder("unused")
    asked = ask(system, make_row(), ["session", "once", "first_query"], [0.5], 20, COUNTER)
    assert len(system.calls) == 1
    assert asked["session"] == asked["once"] == asked["first_query"]


def test_what_requires_a_query_has_no_part_where_there_is_none():
    assert regimes_of(Recorder("required")) == ["session", "first_query"]
    assert regimes_of(Recorder("optional")) == list(regimes.REGIMES)


def test_turns_are_cut_at_what_was_asked_for():
    asked = ask(Recorder("unused"), make_row(questions=9), ["once"], [0.5], 4, COUNTER)
    assert len(asked["once"].turns) == 4


def test_chunks_end_at_message_borders_and_hold_about_equally_much():
    row = make_row(messages=40)
    chunks = chunks_of(row["messages"])
    assert [number for chunk in chunks for number in chunk] == list(range(40))
    assert len(chunks) == 10 and {len(chunk) for chunk in chunks} <= {3, 4, 5}
    assert [len(chunk) for chunk in chunks_of(row["messages"][:3])] == [1, 1, 1]


def test_rolling_drops_for_good_and_traces_to_the_original():
    system, row = Recorder("unused"), make_row(messages=20, questions=20)
    asked = ask(system, row, ["rolling"], [0.5], 20, COUNTER)["rolling"]
    kept = asked.turns[0][0]
    total = COUNTER.count(render_text(system.open(row["messages"]), whole(system.open(row["messages"]))))
    assert kept.tokens <= kept.budget == total // 2
    # the system keeps the first words, so that later chunks never get in
    assert {span.message for span in kept.pieces} <= set(range(11))
    for span in kept.pieces:
        assert row["messages"][span.message]["content"][span.start : span.end] in kept.text
    # the first five of ten chunks fit, so only the rest needs compressing
    assert len(system.calls) == 5 and all(call[3] == (total // 2,) for call in system.calls)


def test_ages_count_the_chunks_that_came_after_the_answer():
    row = make_row(messages=20, questions=20)
    asked = ask(Recorder("unused"), row, ["rolling"], [0.5], 20, COUNTER)["rolling"]
    assert asked.ages == [9 - number // 2 for number in range(20)]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_rendered_slices_stand_where_they_say(seed):
    chooser = random.Random(seed)
    messages = make_row(messages=5)["messages"]
    for message in messages:
        message["content"] = " ".join(chooser.choice(("alpha", "b.", "gamma,\n", "d")) for _ in range(12))
    places = [Span(n, start, end) for n, m in enumerate(messages) for start, end in words(m["content"])]
    held = [place for place in places if chooser.random() < 0.5]
    shown, origins = rendered(messages, held)
    assert len(shown) == len({span.message for span in held})
    for message, traced in zip(shown, origins, strict=True):
        for first, span in traced:
            original = messages[span.message]["content"][span.start : span.end]
            assert message["content"][first : first + len(original)] == original
    covered = [span for traced in origins for _, span in traced]
    assert all(any(whole.contains(span) for whole in covered) for span in held)


@pytest.mark.parametrize("rate", [0.5, 0.33, 0.2, 0.1, 0.06])
def test_rolling_never_exceeds_its_budget(rate):
    kept = ask(Recorder("unused"), make_row(30, 2), ["rolling"], [rate], 20, COUNTER)["rolling"].turns[0][0]
    assert kept.tokens <= kept.budget


def test_a_chat_template_counts_in_rolling_as_everywhere():
    per_message = 3
    chat = TokenCounter(
        "chat",
        lambda texts: [tokens(text) for text in texts],
        chat=lambda messages: sum(tokens(message["content"]) + per_message for message in messages),
    )
    row = make_row(messages=20, questions=1)
    kept = ask(LastK(chat), row, ["rolling"], [0.5], 20, chat)["rolling"].turns[0][0]
    original = sum(tokens(message["content"]) + per_message for message in row["messages"])
    assert kept.budget == original // 2
    shown = {span.message for span in kept.pieces}
    text = sum(tokens(row["messages"][span.message]["content"][span.start : span.end]) for span in kept.pieces)
    assert kept.tokens == text + per_message * len(shown) <= kept.budget
