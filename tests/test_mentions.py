"""What rules find in a text, each with its type, and that no text takes them long."""

from __future__ import annotations

import time

import pytest

from reet_hf.mentions import typed_spans


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


@pytest.mark.parametrize("part", ["a.", "1-", "a_", "A ", "a/b", "1,", "+1 ", "-", "1a-", "(1", "@", "#", "."])
def test_no_text_takes_more_than_linear_time(part):
    def seconds(count: int) -> float:
        begun = time.process_time()
        typed_spans(part * count)
        return time.process_time() - begun

    seconds(100)
    assert seconds(20_000) < 60 * max(seconds(1_000), 0.01)
