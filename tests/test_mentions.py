"""What rules find in a text, each with its type, and that no text takes them long."""

from __future__ import annotations

import time

import pytest

from reet_hf.conversation import Conversation, parse_messages
from reet_hf.mentions import find_mentions, states_constraint, typed_spans


@pytest.mark.parametrize(
    ("kind", "examples"),
    [
        ("URL", ["https://a.b/c?d=e#f", "www.example.org"]),
        ("EMAIL", ["ann.lee+x@mail.example.org"]),
        ("PATH", ["src/train.py", "~/notes/today.txt", "/usr/local/bin", "config.yaml"]),
        ("DATE", ["12 June 2027", "June 12, 2027", "12th of June", "June 2027", "2027-06-12", "12.6.2027", "Q3 2027"]),
        ("DATE", ["6 pm", "10.30 am", "11:30", "11:30:05", "8 o'clock", "half past 11", "next Friday", "1990s"]),
        ("IDENTIFIER", ["KX-4471", "AB12", "#553", "v1.2.3", "10.0.0.1", "550e8400-e29b-41d4-a716-446655440000"]),
        ("IDENTIFIER", ["+49 30 901820", "(555) 123-4567", "555-123-4567", "@anna", "MAX_LEN", "--dry-run"]),
        ("IDENTIFIER", ["parseRequest", "os.path.join()", "reet_hf.ledger", "user_id"]),
        (
            "NUMBER",
            ["$1,200.50", "500 EUR", "30 %", "5km", "3 weeks", "2 people", "4471", "5th", "3.5 million", "-5 °C"],
        ),
        ("NAME", ["Ann Lee", "Bank of England", "NATO", "O'Brien"]),
    ],
)
def test_the_whole_of_it_is_one_mention_of_its_type(kind, examples):
    for example in examples:
        text = f"he saw {example} there"
        found = [(name, text[start:end]) for name, start, end in typed_spans(text)]
        assert found == [(kind, example)], example


def test_the_fourteenth_is_a_date_and_the_fifth_floor_is_not():
    def kinds(text: str) -> dict[str, str]:
        return {text[start:end]: kind for kind, start, end in typed_spans(text)}

    assert kinds("no, the 14th.") == {"14th": "DATE"}
    assert kinds("on the 5th floor") == {"5th": "NUMBER"}
    assert kinds("Then she may go in May.") == {"May": "NAME"}
    assert kinds("a well-known man - and so on") == {}


def test_mentions_are_in_order_and_apart():
    text = "Ann Lee paid $5 for KX-4471 on 3 May 2024 at 6 pm, see a/b.txt or www.a.org. +49 30 901820 x_y.z()"
    spans = [(start, end) for _, start, end in typed_spans(text)]
    assert len(spans) == 9 and all(a[1] <= b[0] for a, b in zip(spans, spans[1:], strict=False))


CONSTRAINTS = (
    """
Always answer in French.|You must never share it.|Don't use bullet points.|Avoid seafood.|I'm allergic to peanuts.
From now on, reply in one sentence.|I prefer aisle seats.|I'd prefer to fly.|Stick to the budget of 500 dollars.
Under no circumstances book it.|The total cannot exceed 2,000 euros.|Make sure the hotel has parking.|We don't eat pork.
Ensure that every date is in ISO format.|Remember to sign each mail.|You should not say it.|You shouldn't mention it.
It may not be longer than 100 words.|Keep it to no longer than two pages.|Please use only British spelling.
Could you please never use emojis?|Can you make sure it has wifi?|I don't want any layovers.|Respond only in JSON.
""".replace("\n", "|")
    .strip("|")
    .split("|")
)
NO_CONSTRAINTS = (
    """
Must I pay in advance?|I don't know.|I don't think so.|I don't mind.|Don't worry about it.|I don't care which one.
Never mind.|Why don't you try it?|Why does it always crash?|I cannot find my order.|Don't you think it is late?
Do I have to pay at least once?|Do you remember that day?|He didn't come.|We do not know yet.|What time does it open?
""".replace("\n", "|")
    .strip("|")
    .split("|")
)


def test_what_is_demanded_is_a_constraint_and_what_is_asked_or_told_is_none():
    assert [text for text in CONSTRAINTS if not states_constraint(text)] == []
    assert [text for text in NO_CONSTRAINTS if states_constraint(text)] == []


def test_constraints_are_those_of_who_may_state_them():
    text = "It rains. You must never open it. Why?"
    chat = [{"role": role, "content": text} for role in ("system", "developer", "user", "assistant", "document")]
    found = [m for m in find_mentions(Conversation(parse_messages(chat))) if m.type == "CONSTRAINT"]
    assert [(m.message, m.text) for m in found] == [(n, "You must never open it.") for n in range(3)]


def test_people_who_talk_with_each_other_state_no_constraints():
    def stated(names: list[str]) -> list[int]:
        chat = [{"role": "user", "content": "You must never open it.", **({"name": n} if n else {})} for n in names]
        found = find_mentions(Conversation(parse_messages(chat)))
        return [m.message for m in found if m.type == "CONSTRAINT"]

    assert stated(["", "", ""]) == stated(["Ann", "Ann", "Ann"]) == stated(["", "Ann", "Ann"]) == [0, 1, 2]
    assert stated(["Ann", "Bob", "Ann"]) == [0]


@pytest.mark.parametrize("part", ["Aa-", "I do ", "must ", "don't ", "please ", "remember ", "do not you "])
def test_constraints_take_linear_time(part):
    def seconds(count: int) -> float:
        begun = time.process_time()
        states_constraint(part * count + "?")
        typed_spans(part * count + "1")
        return time.process_time() - begun

    seconds(100)
    assert seconds(20_000) < 60 * max(seconds(1_000), 0.01)


@pytest.mark.parametrize("part", ["a.", "1-", "a_", "A ", "a/b", "1,", "+1 ", "-", "1a-", "(1", "@", "#", "."])
def test_no_text_takes_more_than_linear_time(part):
    def seconds(count: int) -> float:
        begun = time.process_time()
        typed_spans(part * count)
        return time.process_time() - begun

    seconds(100)
    assert seconds(20_000) < 60 * max(seconds(1_000), 0.01)
