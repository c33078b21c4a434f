"""Units of real text: exact offsets, every character accounted for, nothing cut that must stay whole."""

from __future__ import annotations

import json
import time

import pytest
import regex
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reet_hf.conversation import Conversation, Message, parse_messages, parse_request
from reet_hf.errors import ReetError
from reet_hf.frames import framed
from reet_hf.records import Span, Unit
from reet_hf.rendering import render_messages
from reet_hf.segmentation import MAX_SENTENCE, UNITS, blocks, sentences, units, words

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


DIFF = "--- a/x.py\n+++ b/x.py\n@@ -1,3 +1,3 @@\n a = 1\n-b = 2\n+b = 3\n ```"
LOG = "\n".join(
    f"2024-03-0{i} 10:00:00,123 INFO api: request {i}\n  body: empty\n" + "java.io.IOException: no" * (i == 3)
    for i in range(1, 7)
)
TRACE = (
    'Traceback (most recent call last):\n  File "a.py", line 1, in <module>\n    f()\n  File "b.py", line 7, in f\n'
    "    raise KeyError\nKeyError"
)
JAVA = (
    "java.lang.IllegalStateException: no\n\tat a.B.c(B.java:1)\n\tat a.B.d(B.java:2)\n"
    "Caused by: x.Y: z\n\tat q.R.s(R.java:3)"
)
GO = "panic: oh no\n\ngoroutine 1 [running]:\nmain.main()\n\t/srv/main.go:12 +0x1d\nexit status 2"
CSV = "name,price,kind,note\n" + "\n".join(f'tea {i},{i}.5,green,"a, b"' for i in range(6))
OBJECT = json.dumps({"items": [{"id": i, "name": "n. m"} for i in range(20)]}, indent=1)
STRUCTURED = {
    "diff": (DIFF, "diff"),
    "git diff": (f"diff --git a/x.py b/x.py\nindex 1..2 100644\n{DIFF}\n{DIFF}", "diff"),
    "rename": ("diff --git a/x b/y\nsimilarity index 100%\nrename from x\nrename to y", "diff"),
    "log": (LOG.strip(), "log"),
    "syslog": ("\n".join(f"Mar  {i} 06:25:41 host sshd[{i}]: Accepted key" for i in range(1, 7)), "log"),
    "access log": ("\n".join(f'10.0.0.{i} - - [10/Oct/2024:13:55:36 +0000] "GET /" 200' for i in range(5)), "log"),
    "levels": ("\n".join(f"[{level}] step done" for level in ("INFO", "WARN", "INFO", "ERROR", "INFO")), "log"),
    "python": (TRACE, "trace"),
    "chained": (f"{TRACE}\n\nDuring handling of the above exception, another exception occurred:\n\n{TRACE}", "trace"),
    "java": (JAVA, "trace"),
    "go": (GO, "trace"),
    "javascript": (
        "TypeError: x is not a function\n    at f (/srv/a.js:1:2)\n    at node:internal/main:23:47",
        "trace",
    ),
    "csv": (CSV, "table"),
    "tsv": ("\n".join("a b\tc. d\te\tf" for _ in range(4)), "table"),
    "json": (OBJECT, "json"),
    "fields": ("\n\n".join(f"id: {i}\nname: a. b\nnote: {'long ' * 9}on" for i in range(4)), "listing"),
    "commits": (
        "\n\n".join(f"commit {i:040x}\nAuthor: A\nDate: May\n\n    Title {i}\n\n    Body." for i in range(4)),
        "listing",
    ),
    "results": ("\n".join(f"{i}. A title\n   a link\n   {'text ' * 20}end" for i in range(4)), "listing"),
    "json lines": ("\n".join(json.dumps({"id": i, "text": "one. two"}) for i in range(9)), "json"),
    "fence with a diff": (f"```diff\n{DIFF[:-5]}\n```", "code"),
    "fence in a quote": ("> ```\n> a. b\n> ```", "code"),
    "fence with loose lines in a list": ("```sh\npip install x\n   ```", "code"),
    "fence after a tag": ("```py\na = 1\n\nb = 2\n```", "code"),
    "table without outer bars": ("a | b\n--- | ---\nx. y | 2", "table"),
}


@pytest.mark.parametrize("name", STRUCTURED)
def test_structured_text_is_found_between_prose(name):
    atom, kind = STRUCTURED[name]
    for before, after in (
        ("", ""),
        ("Look at this, please. It fails:\n", ""),
        ("See below.\n\n", "\n\nWhy? Help me.\n"),
    ):
        if name == "fence with loose lines in a list":
            before = f"{before}1. Install:\n\n   "
        if name == "fence after a tag":
            before, after = f"{before}<answer>\n", "\n</answer>" + after
        text = before + atom + after
        assert [(text[a:b], k) for a, b, k in blocks(text) if k != "text"] == [(atom, kind)]
        shifted = [(a - 3, b - 3, k) for a, b, k in blocks("a.\n" + text, (3,))]
        assert [block for block in shifted if block[2] != "text"] == [
            block for block in blocks(text) if block[2] != "text"
        ]


PROSE = {
    "chat": "Hi! Are you there?\nYes: I am, what is up?\nNot much... you?\nSame, same, same.\nok\nok\nbye",
    "chat with times": "\n".join(f"[2024-03-05 10:0{i}:00] Caroline: Hey Mel, how are you, {i}?" for i in range(6)),
    "chat with clocks": "\n".join(f"10:0{i}:21 <anna> did you see it? I, well, I did" for i in range(6)),
    "exported chat": "\n".join(f"12/03/2024, 14:0{i} - Bob: see you at {i}, ok?" for i in range(6)),
    "transcript": "\n".join(f"00:0{i}:12 so today we will talk about tea, and, well, more" for i in range(6)),
    "subtitles": "\n\n".join(f"{i}\n00:00:0{i},000 --> 00:00:0{i},900\nIt was the best of times" for i in range(6)),
    "diary": "\n".join(f"2024-03-0{i}: We went to the sea, and it rained." for i in range(1, 7)),
    "contract": "\n\n".join(
        f"{i}.{i + 1} The Supplier (as defined in Section {i}) shall, without limitation, deliver [the Goods];\n"
        f"provided that: (a) the Buyer has paid, (b) no Error or Exception has been notified."
        for i in range(1, 7)
    ),
    "notices": "WARNING: hot.\nThe oven is hot, and stays so, an hour.\nERROR in the bill? Call us.\nNever touch it.",
    "story": '"Where?" she asked.\n"At the café (the old one)."\n"At the café?"\n"Yes."\n--- \nIt rained.\n+++\nEnd.',
    "rhyme": "Row, row, row your boat\nGently down the stream\nMerrily, merrily, merrily, merrily\nLife is but a dream",
    "addresses": "\n".join(f"Anna Smith, {i} Main Street, Springfield, Illinois" for i in range(6)),
    "sources": "\n".join(f"[{i}] A. Author, B. Author. A title. 2024." for i in range(6)),
    "outline": "# Plan\n\n- buy tea\n- [ ] call Bob\n- {later}\n\n---\n\n1. one\n2. two\n> a quote | with a bar\n",
    "a word on diffs": "The line @@ -1,3 +1,3 @@ tells where.\n--- a\nthat is the old file,\n+++ b\nis the new one.",
    "a word on errors": "ValueError: bad.\nAt home (late) I\n   at it (late).\nTraceback (most recent call last) is.",
    "python literal": "[1] is a list.\n{'a': 1} is a dict,\n[x for x in y] too.\n{\"a\" is not closed\n[1, 2, 3\n"
    + "x " * 150,
    "manual": "\n".join(f":set name{i} =\t\t\tSet the option.\n\t\t\tIt is kept, as is, in a file." for i in range(6)),
    "settings": "DEBUG = logging.DEBUG\nINFO = logging.INFO\nWARN = logging.WARN\nERROR = logging.ERROR",
    "code words": "Use `a | b`, or ```c```, or ~~d~~, and | e.\nThen stop | there.",
    "chinese": "他说：“好的，我们走吧，现在，马上。”\n她说：“不，等一下，再等，再等。”\n他等，等。\n完，了，吗，？",
}


@pytest.mark.parametrize("name", PROSE)
def test_prose_is_text(name):
    for text in (PROSE[name], PROSE[name].replace("\n", "\r\n"), f"Read this.\n\n{PROSE[name]}\n\nWhat now?"):
        assert blocks(text) == [(0, len(text), "text")]


def test_a_pipe_table_goes_on_in_the_next_part():
    head, rest = "| a | b |\n", "| --- | --- |\n" + "\n".join(f"| {n} | the row {n} |" for n in range(30))
    assert blocks(head + rest, (len(head),)) == [(0, len(head + rest), "table")]
    assert blocks("Hello.\n" + rest, (7,))[0] == (0, 7, "text")
    message = {"role": "user", "content": [{"type": "text", "text": head}, {"type": "text", "text": rest}]}
    own = Conversation(parse_messages([message]))
    row = rest.index("| 7 |") + len(head)
    (shown,) = render_messages(own, framed(own, [Span(0, row, row + len("| 7 | the row 7 |"))]))
    (part,) = shown["content"]
    assert [line for line in part["text"].splitlines() if "…" not in line] == [
        "| a | b |",
        "| --- | --- |",
        "| 7 | the row 7 |",
    ]


def test_lines_that_repeat_are_a_log():
    text = "connection lost\n" * 40 + "done"
    assert blocks(text) == [(0, len(text), "log")]
    assert blocks("Again.\n" * 5) == [(0, 35, "text")]


HOSTILE = {
    "fences": "```\n" * 20_000,
    "backticks": "`" * 300_000,
    "bars": "|" * 300_000 + "\n" + "|-" * 100_000,
    "tables": "a|b\n-|-\n" * 10_000,
    "quotes": (">" * 40 + "\n") * 1000,
    "open brackets": "[\n" * 100_000,
    "open objects": '{"a":\n' * 50_000,
    "broken json": ("[" + "1," * 3000 + "\n") * 100,
    "deep json": "[" * 10_000 + "]" * 10_000,
    "hunks": "--- a\n+++ b\n@@ -1,99999 +1,99999 @@\n" * 10_000,
    "frames": "    at x (\n" * 50_000,
    "colons": "    at " + "x:1" * 300_000,
    "errors": "a.b" * 200_000 + "Error\n  at x (y)\n  at x (y)",
    "tracebacks": "Traceback (most recent call last):\n" * 30_000,
    "goroutines": "goroutine 1 [\n" * 50_000,
    "clocks": "10:00:00 " * 100_000 + "\n10:00:00 a" * 20_000,
    "commas": (',"' * 1000 + "\n") * 500,
    "spaces": " " * 1_000_000 + "\n" + "  \n" * 100_000,
    "breaks": "\r\n\r\n\n" * 100_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_takes_seconds(name):
    began = time.perf_counter()
    found = blocks(HOSTILE[name])
    assert time.perf_counter() - began < 15
    assert all(a < b for a, b, _ in found) and [a for a, _, _ in found] == sorted(a for a, _, _ in found)


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


def test_a_tool_call_and_its_results_are_one_group_of_messages_and_whole_while_short():
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "Look it up. Please."},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "Sunny. 21 degrees."},
    ]
    conversation = parse_request(messages).conversation
    assert conversation.homes == (0, 1, 1)
    for unit in UNITS:
        (call_unit, *result) = [u for u in units(conversation, unit) if u.message > 0]
        assert (call_unit.message, call_unit.start, call_unit.end) == (1, 0, 0)
        assert [(u.message, u.kind, u.start, u.end) for u in result] == [(2, "tool", 0, 18)]
        assert (call_unit.group is not None and call_unit.group == result[0].group) == (unit == "message")
    long = [*messages[:2], {**messages[2], "content": "Sunny. 21 degrees. " * 20}]
    assert len([u for u in units(parse_request(long).conversation, "word") if u.kind == "tool"]) == 40


@pytest.mark.parametrize("unit", UNITS)
def test_units_from_a_later_message_on_are_the_same(unit):
    conversation = Conversation(tuple(Message("user", text) for text in REAL.values()))
    everything = units(conversation, unit)
    assert units(conversation, unit, 7) == [found for found in everything if found.message >= 7]


def test_an_unknown_unit_is_named():
    with pytest.raises(ReetError, match="`unit` must be one of word, clause, sentence, message.*'page'"):
        segment("a", "page")
