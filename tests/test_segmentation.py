"""Units of real text: exact offsets, every character accounted for, nothing cut that must stay whole."""

from __future__ import annotations

import json

import pytest
import regex
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reet_hf.conversation import Conversation, Message, parse_request
from reet_hf.errors import ReetError
from reet_hf.records import Unit
from reet_hf.segmentation import MAX_SENTENCE, UNITS, sentences, units, words

FINE = ("word", "clause", "sentence")
CODE = "```python\nx = 1  # a, b; c.\n\nprint(x)\n```"
TABLE = "| name | price |\n| --- | ---: |\n| tea. Hot | 1.50 |"

REAL = {
    "abbreviations": "Dr. Smith of Acme Inc. met Mr. Jones, e.g. at noon. The U.S. team left.",
    "decimals": "Pi is 3.14159, not 3.2. It cost $1,234.50; cheap!",
    "url": "See https://example.com/a.b?c=d.e,f#g. Then mail a.b@c.io (see www.x.org/y.html).",
    "versions": "Upgrade v2.10.3 before 1.0.0-rc.1 ships. Python 3.11 is fine.",
    "bullets": "Steps:\n- one thing\n* another, longer thing\n  • nested\n1. Install it.\n2) Run it.\n",
    "table": f"Prices:\n\n{TABLE}\n\nAll in euro.",
    "code": f"Run this:\n{CODE}\nThen wait. Done.",
    "tilde code": "Before.\n~~~\nlet a = `b`;\n```\nstill code\n~~~\nAfter.",
    "unclosed code": "Look:\n```js\nlet a = 1;\n\nlet b = 2;\n",
    "json": json.dumps({"a": [1, 2.5, None], "b": "x. y, z"}, indent=2),
    "wrapped": "This paragraph was wrapped at a margin by an editor and so it\ncontinues in lower case on "
    "the following line, as prose in mail\nmessages does. It has two sentences.\n\nA second paragraph, here.",
    "chinese": "今天天气很好。我们去公园吧！你觉得呢？好的，走。",
    "japanese": "これはペンです。あれは何ですか？ＡＢＣ１２３です。",
    "arabic": "هل أنت بخير؟ نعم، أنا بخير. شكراً!",
    "hindi": "यह एक वाक्य है। यह दूसरा है।",
    "thai": "สวัสดีครับ ฉันดื่มน้ำทำงานที่กรุงเทพฯ 123",
    "emoji": "great 👩‍💻👍🏽 and 🇩🇪🇫🇷, family 👨‍👩‍👧‍👦! 你好👨‍👩‍👧好 e\u0301 ☎️",
    "crlf": "First one.\r\nSecond one.\rThird one.\r\n\r\nFourth, and last, one.",
    "control": "a\x00b\u200bc\u00a0d\u2028e\x0bf\ufeffg",
    "one long word": "x" * 5000,
    "long without punctuation": "lorem ipsum dolor " * 400,
    "long chinese": "天气" * 2000,
    "empty": "",
    "blank": " \t\r\n\u3000\n ",
    "only punctuation": "... !? -- ,,, 。。",
}
SIGNS = "ab 1.,;:!?\n\r\t|{}[]\"'-#>—，。؟\u0301\u200d\ufe0f\x00\x1f"
MARKS = ["\r\n", "e.g. ", "```\n", "~~~", "\n| a | b |\n", "- x\n", "Dr. ", "3.14", "https://a.b/c?d=e", "1. ", "word "]
SCRIPTS = ["น้ำ", "กำ", "👨‍👩‍👧", "👍🏽", "🇩🇪", "漢字", "かな", "한글", "نعم؟ ", "é", "e\u0301"]
FRAGMENTS = st.sampled_from([*SIGNS, *MARKS, *SCRIPTS])
MIXED = st.lists(FRAGMENTS | st.text(max_size=8), max_size=30).map("".join)


def segment(text: str, unit: str, borders: tuple[int, ...] = ()) -> list[Unit]:
    return units(Conversation((Message("user", text, borders=borders),)), unit)


def slices(text: str, unit: str) -> list[str]:
    return [text[found.start : found.end] for found in segment(text, unit)]


def assert_sound(text: str, unit: str, borders: tuple[int, ...] = ()) -> None:
    """Units are in order without overlap, not surrounded by white space, and hold every other character."""
    last, held = 0, []
    for found in segment(text, unit, borders):
        assert last <= found.start < found.end <= len(text)
        part = text[found.start : found.end]
        assert part == part.strip(), f"{unit} {part!r} has surrounding white space"
        held.append(part)
        last = found.end
    assert "".join("".join(held).split()) == "".join(text.split())


def assert_graphemes_whole(text: str, unit: str) -> None:
    """No border lies between two visible characters of one grapheme cluster."""
    borders = {place for found in segment(text, unit) for place in (found.start, found.end)}
    for cluster in regex.finditer(r"\X", text):
        if not any(character.isspace() for character in cluster.group()):
            inside = borders & set(range(cluster.start() + 1, cluster.end()))
            assert not inside, f"{unit} border inside {cluster.group()!r}"


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("name", REAL)
def test_real_text_is_covered_exactly(name, unit):
    assert_sound(REAL[name], unit)
    assert_graphemes_whole(REAL[name], unit)


@pytest.mark.parametrize("unit", UNITS)
@given(text=MIXED)
@settings(deadline=None, max_examples=80)
def test_any_text_is_covered_exactly(unit, text):
    assert_sound(text, unit)


@pytest.mark.parametrize("unit", UNITS)
@given(text=MIXED)
@example(text="น้ำ")
@example(text="So it is.\u0301 And then")
@example(text="今天天气非常好，\ufe0f走得很远很远")
@settings(deadline=None, max_examples=80)
def test_no_border_lies_inside_a_grapheme(unit, text):
    assert_graphemes_whole(text, unit)


@given(text=MIXED, data=st.data())
@settings(deadline=None, max_examples=40)
def test_no_unit_crosses_the_border_of_a_content_part(text, data):
    borders = tuple(sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=3))))
    for unit in UNITS:
        assert_sound(text, unit, borders)
        for found in segment(text, unit, borders):
            assert not any(found.start < border < found.end for border in borders)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("Dr. Smith met Mr. Jones at Acme Inc. on Monday. They signed.", 2),
        ("Use a linter, e.g. ruff, i.e. a fast one. It helps.", 2),
        ("The U.S. economy grew by 3.5 percent. Prices fell.", 2),
        ("Pi is 3.14159 and e is 2.71828. Both are irrational.", 2),
        ("See https://example.com/a.b?c=d.e for details. Then reply.", 2),
        ("Upgrade to v2.10.3 before 1.0.0-rc.1 ships. Restart it.", 2),
        ("今天天气很好。我们去公园吧！你觉得呢？", 3),
        ("これはペンです。あれは何ですか？", 2),
        ("هل أنت بخير؟ نعم أنا بخير.", 2),
        ("यह एक वाक्य है। यह दूसरा है।", 2),
        ("First one.\r\nSecond one.\rThird one.", 3),
        ("no punctuation at all", 1),
    ],
)
def test_sentences_end_where_a_reader_ends_them(text, count):
    assert len(sentences(text)) == count, slices(text, "sentence")


def test_list_items_are_sentences_with_their_markers():
    text = "Steps:\n1. Install it.\n2. Run it.\n\n- one thing\n- another thing\na) last\n"
    assert slices(text, "sentence") == [line for line in text.splitlines() if line]


def test_hard_wrapped_lines_are_one_sentence_and_short_lines_are_not():
    assert [" ".join(part.split()) for part in slices(REAL["wrapped"], "sentence")] == [
        "This paragraph was wrapped at a margin by an editor and so it continues in lower case on the following "
        "line, as prose in mail messages does.",
        "It has two sentences.",
        "A second paragraph, here.",
    ]
    assert slices("roses are red\nviolets are blue", "sentence") == ["roses are red", "violets are blue"]


@pytest.mark.parametrize("unit", FINE)
@pytest.mark.parametrize(
    ("text", "atom", "kind"),
    [
        (REAL["code"], CODE, "code"),
        (REAL["tilde code"], "~~~\nlet a = `b`;\n```\nstill code\n~~~", "code"),
        (REAL["unclosed code"], "```js\nlet a = 1;\n\nlet b = 2;", "code"),
        (REAL["code"].replace("\n", "\r\n"), CODE.replace("\n", "\r\n"), "code"),
        (
            "1. Install:\n\n    ```sh\n    pip install x\n    ```\n\n2. Done.",
            "```sh\n    pip install x\n    ```",
            "code",
        ),
        (REAL["table"], TABLE, "table"),
        (REAL["json"], REAL["json"], "json"),
        ("\n [1, 2.5, {}] \n", "[1, 2.5, {}]", "json"),
    ],
    ids=["fence", "tildes", "unclosed", "crlf", "in a list", "table", "object", "array"],
)
def test_code_tables_and_json_are_never_cut(text, atom, kind, unit):
    atoms = [(text[u.start : u.end], u.kind) for u in segment(text, unit) if u.kind not in UNITS]
    assert atoms == [(atom, kind)]


def test_two_code_blocks_are_two_units():
    text = "```\na\n```\n```\nb\n```"
    assert slices(text, "word") == ["```\na\n```", "```\nb\n```"]


def test_code_between_backticks_on_one_line_does_not_open_a_block():
    text = "```ls -la``` lists files.\nThen stop. And wait."
    assert "Then" in slices(text, "word")


def test_text_that_only_looks_like_json_is_text():
    text = "[see here] and then {this}"
    assert {found.kind for found in segment(text, "word")} == {"word"}


@pytest.mark.parametrize("unit", ["clause", "sentence"])
def test_long_text_without_punctuation_is_cut_at_words(unit):
    text = REAL["long without punctuation"]
    parts = slices(text, unit)
    assert len(parts) > 1
    assert all(len(part) <= MAX_SENTENCE and set(part.split()) <= set(text.split()) for part in parts)


@pytest.mark.parametrize(
    "chunk", ["https://a.b/c?d=1,2", "v1.2.3", "3.14159", "$1,234.50", "user_id=42", "👨‍👩‍👧‍👦", "don't", "AB-12-X"]
)
def test_identifiers_numbers_and_emoji_are_one_word(chunk):
    text = f"see {chunk} there"
    assert chunk in [text[start:end] for start, end in words(text)]


@pytest.mark.parametrize("text", [REAL["chinese"], REAL["japanese"], REAL["thai"]])
def test_scripts_without_spaces_have_several_words(text):
    assert len(words(text)) > len(text.split())


def test_clauses_are_parts_of_sentences():
    for text in REAL.values():
        whole = segment(text, "sentence")
        for clause in segment(text, "clause"):
            assert sum(sentence.span.contains(clause.span) for sentence in whole) == 1


def test_tool_calls_and_their_results_are_one_group_for_every_unit():
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "Look it up. Please."},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "Sunny. 21 degrees."},
    ]
    for unit in UNITS:
        found = units(parse_request(messages).conversation, unit)
        assert [(u.message, u.kind) for u in found if u.group is not None] == [(1, "tool"), (2, "tool")]
        assert len({u.group for u in found if u.message > 0}) == 1


@pytest.mark.parametrize("unit", UNITS)
def test_units_from_a_later_message_on_are_the_same(unit):
    conversation = Conversation(tuple(Message("user", text) for text in REAL.values()))
    everything = units(conversation, unit)
    assert units(conversation, unit, 7) == [found for found in everything if found.message >= 7]


def test_an_unknown_unit_is_named():
    with pytest.raises(ReetError, match="`unit` must be one of word, clause, sentence, message.*'page'"):
        segment("a", "page")
