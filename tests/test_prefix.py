"""A view that only grows: what was sent stays byte for byte until it no longer fits, and what follows is valid."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import pipeline

from reet_hf.budget import TokenCounter, resolve_counter
from reet_hf.candidates import Candidates
from reet_hf.conversation import Conversation, parse_messages
from reet_hf.errors import ReetError
from reet_hf.frames import framed
from reet_hf.prefix import REBASE_TO, Prefix, Stability, checked_rebase_to, first_recent, step
from reet_hf.protection import protected_spans
from reet_hf.records import Span
from reet_hf.rendering import render_messages, render_text, rendered_tokens, whole
from reet_hf.scoring.scorer import TokenScores, pool
from reet_hf.segmentation import span_array
from reet_hf.selection import fit
from reet_hf.state import State, measured, overheads


def count_words(text: str) -> int:
    return len(text.split())


def long_words(conversation: Conversation) -> TokenScores:
    """Long words matter more."""
    rows = [
        (number, word.start(), word.end(), len(word.group()))
        for number, message in enumerate(conversation.messages)
        for word in regex.finditer(r"\S+", message.text)
    ]
    columns = np.array(rows, dtype=np.int64).reshape(-1, 4).T
    return TokenScores(columns[0], columns[1], columns[2], columns[3].astype(float))


class View:
    """A conversation that grows and the view of it; what selects is the real selection with simple scores."""

    def __init__(self, limit: int, counter: TokenCounter | None = None, rebase_to: float = REBASE_TO) -> None:
        self.limit, self.rebase_to, self.key = limit, rebase_to, ""
        self.counter = counter or resolve_counter(count_words)
        self.conversation, self.prefix = Conversation(), Prefix()
        self.asked: list[tuple[int, bool]] = []

    def count(self, spans: Sequence[Span]) -> int:
        return rendered_tokens(self.conversation, spans, self.counter)

    def count_framed(self, spans: Sequence[Span]) -> int:
        return self.count(framed(self.conversation, spans, True))

    def render(self, spans: Sequence[Span]) -> list[dict[str, Any]]:
        return render_messages(self.conversation, spans)

    def select(self, limit: int, last: bool) -> list[Span]:
        self.asked.append((limit, last))
        state = State(self.conversation)
        counts = state.counted(self.counter)
        found = measured(state, counts, "sentence")
        scores = pool(long_words(self.conversation), span_array(found))
        protected = protected_spans(self.conversation, found, [-1] if last else [])
        candidates = Candidates(found, scores, counts.costs["sentence"])
        spans = fit(candidates, overheads(state, counts), limit, protected, self.count_framed, [])
        return framed(self.conversation, spans, True)

    def step(self, *messages: dict[str, Any]) -> Stability:
        self.conversation = self.conversation.extend(parse_messages(messages))
        self.asked = []
        self.prefix, stability = step(
            self.prefix,
            self.conversation,
            self.limit,
            self.count,
            self.render,
            self.select,
            key=self.key,
            rebase_to=self.rebase_to,
        )
        return stability

    @property
    def messages(self) -> list[dict[str, Any]]:
        return self.render(self.prefix.spans)


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def assistant(text: str | None, *calls: str) -> dict[str, Any]:
    made = [{"id": call, "type": "function", "function": {"name": "f", "arguments": "{}"}} for call in calls]
    return {"role": "assistant", "content": text} | ({"tool_calls": made} if made else {})


def tool(call: str, text: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call, "content": text}


def lines(messages: Sequence[Any]) -> list[str]:
    """Messages as the bytes that would be sent, one by one."""
    return [json.dumps(message, ensure_ascii=False) for message in messages]


def check_pairs(messages: Sequence[dict[str, Any]]) -> None:
    """Results follow their calls directly, and only the calls at the end may be without."""
    waiting: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            waiting.remove(message["tool_call_id"])
            continue
        assert not waiting
        waiting = [call["id"] for call in message.get("tool_calls", ())]


TEXT = st.lists(st.sampled_from(["one", "three", "eleven. ", "seventeen", "Oslo. ", "AB-12", "\n"]), min_size=1).map(
    " ".join
)


@st.composite
def histories(draw: Callable[..., Any]) -> list[dict[str, Any]]:
    """A valid history with parallel tool calls, in which a speaker may speak twice."""
    messages: list[dict[str, Any]] = [{"role": "system", "content": draw(TEXT)}] if draw(st.booleans()) else []
    for turn in range(draw(st.integers(1, 6))):
        messages.append(user(draw(TEXT)))
        for loop in range(draw(st.integers(0, 2))):
            calls = [f"{turn}-{loop}-{number}" for number in range(draw(st.integers(1, 2)))]
            messages.append(assistant(draw(st.none() | TEXT), *calls))
            messages.extend(tool(call, draw(TEXT)) for call in calls)
        messages.extend(assistant(draw(TEXT)) for _ in range(draw(st.integers(0, 2))))
    return messages


CHAT = [message for turn in range(30) for message in (user(f"Question {turn} about thing {turn * turn}."),)]


@given(history=histories(), limit=st.integers(12, 90), sizes=st.data(), rebase_to=st.floats(0.05, 0.95))
@settings(deadline=None, max_examples=200)
def test_what_was_sent_stays_until_a_rebase(history, limit, sizes, rebase_to):
    view = View(limit, rebase_to=rebase_to)
    place, before, rebases = 0, [], 0
    while place < len(history):
        size = sizes.draw(st.integers(1, 4))
        old = view.prefix
        try:
            stability = view.step(*history[place : place + size])
        except ReetError as error:
            assert error.floor is not None
            return
        place += size
        sent = lines(view.messages)
        same = next(
            (n for n, (a, b) in enumerate(zip(before, sent, strict=False)) if a != b), min(len(before), len(sent))
        )
        rebases += same < len(before)
        assert stability.rebased == (same < len(before))
        assert (stability.stable_messages, stability.rebases) == (same, rebases)
        assert view.count(view.prefix.spans) <= limit
        assert 0 <= stability.stable_tokens <= view.count(view.prefix.spans)
        if not stability.rebased:
            assert stability.resent_tokens == 0
            assert render_text(view.conversation, view.prefix.spans).startswith(
                render_text(view.conversation, old.spans)
            )
        else:
            assert stability.resent_tokens == view.count(view.prefix.spans) - stability.stable_tokens
        if old.covered and not view.asked and sent[: len(before)] == before:
            assert sent[len(before) :] == lines(history[old.covered : place])
        check_pairs(view.messages)
        assert Prefix.from_dict(json.loads(json.dumps(view.prefix.to_dict()))) == view.prefix
        again = view.step()
        assert lines(view.messages) == sent
        assert again == Stability(len(sent), view.count(view.prefix.spans), False, 0, rebases)
        before = sent


@given(history=histories(), limit=st.integers(20, 90))
@settings(deadline=None, max_examples=100)
def test_the_pair_at_the_border_is_one_of_the_history(history, limit):
    view = View(limit)
    for number, message in enumerate(history):
        covered, sent = view.prefix.covered, len(view.prefix.digests)
        try:
            stability = view.step(message)
        except ReetError:
            return
        if covered == number and sent and not stability.rebased and not view.asked:
            pair = [each["role"] for each in view.messages[sent - 1 : sent + 1]]
            assert pair == [history[number - 1]["role"], message["role"]]


def test_everything_is_kept_as_long_as_it_fits():
    view = View(1000)
    for number, message in enumerate(CHAT):
        assert view.step(message) == Stability(number, view.count(whole(view.conversation)[:-1]), False, 0, 0)
    assert view.messages == CHAT
    assert not view.asked


def test_rebases_are_rare_and_end_at_the_low_mark():
    view = View(60)
    found = [view.step(message) for message in CHAT]
    rebases = [number for number, stability in enumerate(found) if stability.rebased]
    assert 3 <= len(rebases) <= 7
    assert all(later - earlier >= 4 for earlier, later in zip(rebases, rebases[1:], strict=False))
    assert [stability.rebases for stability in found][-1] == len(rebases)
    low = View(60)
    low.step(*CHAT)
    assert low.asked == [(30, True)]
    assert low.count(low.prefix.spans) <= 30


def test_what_must_be_kept_moves_the_low_mark():
    view = View(100)
    view.step(*CHAT)
    view.step(user("word " * 70))
    assert view.asked[0] == (50, True)
    assert view.asked[1][0] == 71 + (100 - 71) // 2
    assert view.messages[-1]["content"].endswith(("word " * 70).strip())


def test_a_last_message_that_never_fits_is_compressed():
    view = View(20)
    view.step(user("Hello there."), assistant("Good. " * 4))
    stability = view.step(user("Short one. Considerably lengthier sentence. " + "word " * 40 + ". End."))
    assert view.asked == [(10, True), (20, False)]  # then it takes all the room there is
    assert 0 < view.count(view.prefix.spans) <= 20
    assert stability.rebases == 1
    view.step(assistant("Fine."))
    assert view.count(view.prefix.spans) <= 20


def test_tokens_that_no_choice_changes_are_no_part_of_what_a_share_is_taken_of():
    from reet_hf.prefix import Prefix, step

    conversation = Conversation(tuple(parse_messages([user("One. " * 30), user("Two.")])))
    asked = []

    def select(limit, last):
        asked.append(limit)
        return [Span(1, 0, 4)]

    def count(spans):
        return 100 + sum(span.end - span.start for span in spans)

    step(Prefix(), conversation, 140, count, lambda spans: [], select)
    assert asked == [100 + 20]


def test_a_view_without_its_last_message_is_made_anew():
    """Two messages of one speaker would become one over the border if the view stayed."""
    view = View(20)
    view.step(user("Considerably lengthier words everywhere."), assistant("a " * 40))
    assert not view.prefix.is_open
    view.step(user("More."))
    assert view.asked
    assert view.count(view.prefix.spans) <= 20


def test_other_options_make_a_new_view():
    view = View(60)
    for message in CHAT:
        view.step(message)
    rebases = view.prefix.rebases
    view.key, view.limit = "a larger budget", 80
    stability = view.step()
    assert stability.rebased and stability.rebases == rebases + 1
    assert stability.resent_tokens > 0
    view.limit = 10_000  # a limit of its own changes nothing: what was sent still fits
    sent = lines(view.messages)
    view.step()
    assert lines(view.messages) == sent
    view.key = "everything"
    view.step()
    assert view.messages == CHAT


def test_other_options_change_nothing_where_everything_fits():
    view = View(1000)
    view.step(*CHAT)
    view.key = "other"
    assert view.step() == Stability(len(CHAT), view.count(whole(view.conversation)), False, 0, 0)


def test_a_smaller_limit_is_kept_at_once():
    view = View(1000)
    view.step(*CHAT)
    view.limit = 50
    stability = view.step()
    assert stability.rebased
    assert view.count(view.prefix.spans) <= 50


def test_results_may_come_after_the_view_was_made():
    view = View(30)
    view.step(user("Find the considerably lengthy identifiers. " * 6), assistant(None, "a", "b"))
    assert view.messages[-1]["tool_calls"]
    view.step(tool("a", "Oslo"))
    view.step(tool("b", "AB-12"))
    check_pairs(view.messages)
    assert [message["role"] for message in view.messages][-3:] == ["assistant", "tool", "tool"]


def test_what_must_be_kept_and_does_not_fit_is_the_callers_business():
    view = View(20)

    def select(limit: int, last: bool) -> list[Span]:
        raise ReetError("`budget` allows too little.", floor=500)

    view.select = select  # type: ignore[method-assign]
    with pytest.raises(ReetError, match="too little") as caught:
        view.step(*CHAT)
    assert caught.value.floor == 500
    assert view.prefix == Prefix()


def test_another_rendering_of_what_was_sent_counts_as_sent_anew():
    view = View(1000)
    view.step(*CHAT)
    render = view.render
    view.render = lambda spans: [{**message, "note": ""} for message in render(spans)]  # type: ignore[method-assign]
    stability = view.step()
    assert stability.rebased
    assert (stability.stable_messages, stability.stable_tokens) == (0, 0)
    assert stability.resent_tokens == view.count(view.prefix.spans)


def test_nothing_is_kept_of_nothing():
    view = View(10)
    assert view.step() == Stability(0, 0, False, 0, 0)
    assert view.messages == []
    assert view.step(user("Hello.")).rebased is False


def test_a_chat_template_is_part_of_the_count(tokenizer):
    strict = copy.deepcopy(tokenizer)
    strict.chat_template = "{% for m in messages %}[SEP] {{ m['role'] }} : {{ m['content'] }} . {% endfor %}"
    view = View(150, resolve_counter(strict))
    for message in CHAT:
        view.step(message)
        ids = strict.apply_chat_template(view.messages, tokenize=True, return_dict=False)
        assert len(ids) == view.count(view.prefix.spans) <= 150
    assert view.prefix.rebases > 0


@given(history=histories(), room=st.integers(0, 80))
@settings(deadline=None, max_examples=60)
def test_the_last_messages_are_whole_exchanges_that_fit(history, room):
    view = View(1000)
    view.step(*history)
    first = first_recent(view.conversation, room, view.count)
    assert history[first]["role"] != "tool"
    spans = whole(view.conversation)
    alone = view.conversation.homes[-1]
    assert first <= alone
    assert first == alone or sum(view.count([span]) for span in spans[first:]) <= room
    everything = sum(view.count([span]) for span in spans)
    assert first_recent(view.conversation, everything, view.count) == 0


@pytest.mark.parametrize("share", [0, 1, 0.0, 1.0, -0.5, 2, "0.5", None, True, float("nan")])
def test_a_share_must_lie_between_0_and_1(share):
    with pytest.raises(ReetError, match="`rebase_to` must be a share.*got"):
        checked_rebase_to(share)
    with pytest.raises(ReetError, match="`rebase_to`"):
        View(10, rebase_to=share).step(user("Hello."))


def test_facts_are_refused():
    assert checked_rebase_to(0.25) == checked_rebase_to(np.float32(0.25)) == 0.25
    with pytest.raises(ReetError, match="`stable_prefix` needs strategy='extractive', got 'facts'.*leave"):
        checked_rebase_to(0.5, "facts")


@pytest.mark.parametrize(
    "data", [{}, {"spans": 1}, {"spans": [[1, 2]], "digests": [], "covered": 0, "key": "", "rebases": 0}]
)
def test_what_is_no_saved_prefix_is_refused(data):
    with pytest.raises(ReetError, match=r"`data` must be what Prefix.to_dict wrote"):
        Prefix.from_dict(data)


@pytest.mark.parametrize("markers", [False, True])
@pytest.mark.parametrize("seed", [0, 1, 3, 5])
def test_an_agents_history_stays_valid_while_its_view_grows(compress, seed, markers):
    """Through the compressor itself, with structured tool results, a word counter and a budget that is too small."""
    pytest.importorskip("openai")
    from eval.agents.checks import problems
    from eval.agents.histories import agent_run

    compressor, options = compress.compressor, {"budget": 400, "tokenizer": count_words, "markers": markers}
    history = agent_run(seed, 8, 60, plain=seed % 2 == 0).messages
    prefix, state, before, sizes = Prefix(), None, [], (1, 2, 3)
    place = 0
    while place < len(history):
        place = min(len(history), place + sizes[place % 3])
        state = compressor.encode(Conversation(parse_messages(history[:place])), state)
        query = None if place % 2 else "Which order is it?"
        prefix = Prefix.from_dict(json.loads(json.dumps(prefix.to_dict())))
        made, prefix, stability = compressor.compress_stable(state, query, (), prefix, 0.5, **options)
        sent = lines(made.messages)
        assert made.tokens.compressed <= 400
        assert sent[: stability.stable_messages] == before[: stability.stable_messages]
        assert stability.rebased == (stability.stable_messages < len(before))
        if not problems(history[:place]):
            assert problems(made.messages, history[:place]) == []
        again, same, told = compressor.compress_stable(state, None, (), prefix, 0.5, **options)
        assert (lines(again.messages), same, told.rebased) == (sent, prefix, False)
        assert again.text == made.text
        before = sent
    assert prefix.rebases <= 6


def test_an_empty_last_message_does_not_end_a_stable_prefix(bundled):
    from reet_hf import Session

    session = Session(pipeline("reet-compression", model=str(bundled)))
    talk = [
        {"role": ("user", "assistant")[n % 2], "content": f"Point {n}: the harbour lights go out one by one, said Ann."}
        for n in range(24)
    ]
    session.append([*talk, {"role": "user", "content": "Thanks."}, {"role": "assistant", "content": ""}])
    first = session.compress(budget=150, stable_prefix=True)
    session.append([{"role": "user", "content": "And now?"}, {"role": "assistant", "content": "Sleep."}])
    second = session.compress(budget=150, stable_prefix=True)
    assert not second["stability"]["rebased"]
    assert second["messages"][: len(first["messages"])] == first["messages"]


def test_a_stable_prefix_sends_what_was_asked_where_the_last_result_does_not_fit(bundled):
    from transformers import pipeline

    from reet_hf import Session, recall_tool

    session = Session(pipeline("reet-compression", model=str(bundled)))
    rows = "\n".join(
        f"The boat of person {n} lies at berth {n} and has a broken ladder since spring." for n in range(60)
    )
    call = {"id": "c", "type": "function", "function": {"name": "recall_context", "arguments": "{}"}}
    question = "Where does the boat of person 7 lie?"
    session.append(
        [
            {"role": "user", "content": question},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c", "content": rows},
        ]
    )
    for budget in (560, 600, 640, 800):
        out = session.compress(budget=budget, stable_prefix=True, tools=[recall_tool()], ask_last=True)
        assert [message["role"] for message in out["messages"]] == ["user", "assistant", "tool"]
        assert "person 7" in out["messages"][2]["content"] and out["tokens"]["compressed"] <= budget
        assert out["messages"][0]["content"] == question
