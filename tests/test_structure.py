"""Structured text with any of its leaves left out: JSON parses, fences balance, headers stand, counts are true."""

from __future__ import annotations

import csv
import json
import re
import time
from collections.abc import Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reet_hf.parts import LEAF, Part
from reet_hf.structure import KINDS, closed, frame, gap_text, gaps, leaves, structure

RECORD = {
    "status": "ok",
    "count": 41,
    "log": "Starting up. " * 40 + "\n" + "line two of the log is here\n" * 5,
    "items": [{"id": i, "name": f"Item number {i}", "vector": [0.5 * j for j in range(4)]} for i in range(12)],
    "meta": {"owner": "Alice", "notes": "x y z " * 60, "k": 1},
}
CODE = (
    "```python\nimport os\n\n\ndef small(a):\n    return a\n\n\n@decorated\ndef big(a, b):\n    total = 0\n"
    + "".join(f"    total += a * {i}\n" + "\n" * (i % 7 == 6) for i in range(40))
    + "    return total\n\n\nprint(big(1, 2))\n```"
)
DIFF = (
    "diff --git a/x.py b/x.py\nindex 123..456 100644\n--- a/x.py\n+++ b/x.py\n@@ -1,7 +1,7 @@ def f():\n import os\n"
    " import sys\n \n-print(1)\n+print(2)\n a\n b\n c\n@@ -20,12 +20,13 @@ def g():\n"
    + "".join(f"     the context line number {i}\n" for i in range(6))
    + "+    added\n"
    + "".join(f"     context line number {i} of the file\n" for i in range(6))
    + "--- a/other.txt\n+++ b/other.txt\n@@ -1 +1 @@\n-old\n+new"
)
LOG = "\n".join(
    f"2024-01-0{1 + i // 10} 10:00:{i:02d},123 INFO worker: " + (f"did job {i}" if i % 5 == 0 else "heartbeat")
    for i in range(30)
)
PYTHON = (
    "Traceback (most recent call last):\n"
    + "".join(f'  File "/srv/app/m{i}.py", line {i}, in f{i}\n    call(x{i})\n' for i in range(8))
    + "ValueError: bad thing\n\nDuring handling of the above exception, another exception occurred:\n\n"
    + "Traceback (most recent call last):\n"
    + '  File "/srv/app/r.py", line 3, in again\n    again()\n' * 6
    + "RuntimeError: worse"
)
JAVA = (
    'Exception in thread "main" java.lang.IllegalStateException: Outer\n'
    + "".join(f"\tat com.acme.Foo.m{i}(Foo.java:{i})\n" for i in range(8))
    + "Caused by: java.io.IOException: inner\n"
    + "".join(f"\tat com.acme.Bar.m{i}(Bar.java:{i})\n" for i in range(5))
    + "\t... 12 more"
)
JAVASCRIPT = "TypeError: Cannot read properties of undefined (reading 'x')\n" + "\n".join(
    f"    at step{i} (/srv/app/index.js:{i}:12)" for i in range(8)
)
GO = (
    "panic: runtime error: index out of range [5] with length 3\n\ngoroutine 1 [running]:\n"
    "main.process(0xc000010000, 0x3)\n\t/srv/app/main.go:25 +0x1d\nmain.main()\n\t/srv/app/main.go:12 +0x1d\n\n"
    "goroutine 18 [select]:\nnet/http.(*Server).Serve(0xc0)\n\t/usr/lib/go/server.go:100 +0x5\n"
    "created by main.main in goroutine 1\n\t/srv/app/main.go:10 +0x8\nexit status 2"
)
TABLE = "| name | price | note |\n|---|:---:|---|\n" + "\n".join(
    f"| tea {i} | {i}.50 | some longer note about it |" for i in range(12)
)
CSV = "name,price,note,kind\n" + "\n".join(f'tea {i},{i}.50,a longer note,"a,b"' for i in range(14))
LINES = "\n".join(json.dumps({"t": i // 3, "message": "hello there, a message to you"}) for i in range(14))

FIELDS = "\n\n".join(f"id: KX-{i}\nowner: Ann Lee\nnote: nothing much to say of {i}" for i in range(8))
COMMITS = "\n\n".join(f"commit {i:040x}\nAuthor: Ann\nDate:   2024-05-0{i + 1}\n\n    Change {i}" for i in range(6))
RESULTS = "\n".join(f"{i}. A title of {i}\n   https://example.org/{i}\n   Some text below it." for i in range(1, 8))

SAMPLES = {
    "listing": ("listing", FIELDS),
    "commits": ("listing", COMMITS),
    "results": ("listing", RESULTS),
    "record": ("json", json.dumps(RECORD, indent=2)),
    "compact": ("json", json.dumps(RECORD, separators=(",", ":"))),
    "map": ("json", json.dumps({f"user{i}@example.com": {"age": i, "…": "city"} for i in range(20)})),
    "map of records": ("json", json.dumps({f"key {i}": RECORD for i in range(3)} | {"… 1": "", "…": "x" * 500})),
    "json lines": ("json", LINES),
    "json lines, nested": ("json", "\r\n".join(json.dumps(RECORD) for _ in range(3))),
    "table": ("table", TABLE),
    "quoted table": ("table", "\n".join(f"> {line}" for line in TABLE.split("\n"))),
    "csv": ("table", CSV),
    "tsv": ("table", "a\tb\tc\td\n" + "\n".join(f"\t{i}\tsome longer value\t" for i in range(12)) + "x"),
    "code": ("code", CODE),
    "crlf code": ("code", CODE.replace("\n", "\r\n")),
    "unclosed code": ("code", CODE[:-4]),
    "quoted code": ("code", "\n".join(f"> {line}" for line in CODE.split("\n"))),
    "json code": ("code", f"```json\n{json.dumps(RECORD, indent=2)}\n```"),
    "diff code": ("code", f"~~~diff\n{DIFF}\n~~~"),
    "diff": ("diff", DIFF),
    "log": ("log", LOG),
    "log with a trace": ("log", LOG.replace("did job 15", "failed\n" + PYTHON * 2)),
    "python": ("trace", PYTHON),
    "java": ("trace", JAVA),
    "javascript": ("trace", JAVASCRIPT),
    "go": ("trace", GO),
}
CONTAINERS = {"record", "array", "map", "string", "lines", "table"}
MARKED = re.compile(r"… ([\d,]+) (line|row|item|member|character)s?")
FRAGMENTS = st.sampled_from(
    [*'{}[]",:\\ \n\r\t|-+@`~1.a', "…", "[… 3 lines]", '"a": ', "```\n", "| a | b |\n", "|---|---|\n", "@@ -1 +1 @@\n"]
    + ["--- a\n+++ b\n", "2024-01-01 10:00:00 INFO x\n", "    at f (a.js:1:2)\n", "Error: x\n", "word " * 50, "\\u2026"]
)
SOUP = st.lists(FRAGMENTS, max_size=40).map("".join)

CHARACTERS = st.sampled_from([*'ab ."\\/\n\t…é[]{}', "\u2028", "\x00", "😀", "漢", "\ud83d", "[… 5 characters]"])
TEXTS = st.tuples(st.lists(CHARACTERS, max_size=12).map("".join), st.sampled_from([1, 1, 20, 90])).map(
    lambda pair: pair[0] * pair[1]
)
KEYS = TEXTS.map(lambda key: key[:400]) | st.sampled_from(["…", "……", "… 1", "…\x00"])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS
VALUES = st.recursive(
    SCALARS,
    lambda values: (
        st.lists(values, max_size=8)
        | st.tuples(values, st.integers(1, 60)).map(lambda pair: [pair[0]] * pair[1])
        | st.dictionaries(KEYS, values, max_size=8)
        | st.tuples(values, st.integers(1, 60)).map(lambda pair: {f"k{i}": pair[0] for i in range(pair[1])})
    ),
    max_leaves=12,
).filter(lambda value: isinstance(value, list | dict))


def render(text: str, part: Part, kept: Sequence[tuple[int, int]], note: str = "") -> str:
    """What stands for a block of which only some characters are kept."""
    spans = closed(part, kept)
    if not spans:
        return ""
    shown = [(start, text[start:end]) for start, end in spans]
    shown += [(start, gap_text(text, part, start, end, note)) for start, end in gaps(part, spans)]
    return "".join(piece for _, piece in sorted(shown))


def chosen(part: Part, data: st.DataObject) -> list[tuple[int, int]]:
    """Any subset of the leaves of a block."""
    found = leaves(part)
    share = data.draw(st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]), label="share")
    random = data.draw(st.randoms(use_true_random=False))
    return [(leaf.start, leaf.end) for leaf in found if random.random() < share]


def agrees(original: object, shown: object) -> bool:
    """Whether `shown` is `original` with things left out, and each marker tells exactly how many."""
    if type(shown) is type(original) and shown == original:
        return True
    if isinstance(original, list) and isinstance(shown, list):
        place = 0
        for item in shown:
            marker = MARKED.fullmatch(item) if isinstance(item, str) else None
            if marker and not (place < len(original) and item == original[place]):
                place += int(marker.group(1).replace(",", ""))
            elif place < len(original) and agrees(original[place], item):
                place += 1
            else:
                return False
        return place == len(original)
    if isinstance(original, dict) and isinstance(shown, dict):
        gone = [key for key in shown if key not in original]
        counts = [re.fullmatch(r"([\d,]+) members?", shown[key]) for key in gone]
        left = sum(int(count.group(1).replace(",", "")) if count else 0 for count in counts)
        same = all(agrees(original[key], shown[key]) for key in shown if key in original)
        return all(counts) and same and len(shown) - len(gone) + left == len(original)
    if isinstance(original, str) and isinstance(shown, str):
        pieces = re.split(r"\[… ([\d,]+) characters?\]", shown)
        pattern = "".join(
            f".{{{piece.replace(',', '')}}}" if number % 2 else re.escape(piece) for number, piece in enumerate(pieces)
        )
        # a marker of the text itself is text; where the two meet, that the text begins and ends alike must do
        return re.fullmatch(pattern, original, re.DOTALL) is not None or "[… 5 characters]" in original
    return isinstance(shown, str) and MARKED.fullmatch(shown) is not None


def assert_sound(part: Part, start: int, end: int) -> None:
    """Parts lie in their container in order without overlap; only containers have parts, only leaves have none."""
    assert (part.start, part.end) == (start, end)
    todo = [part]
    while todo:
        node = todo.pop()
        assert node.start < node.end and (node.kind in CONTAINERS) == bool(node.parts)
        assert node.parts or node.kind in ("leaf", "repeat")
        borders = [node.start, *(border for child in node.parts for border in (child.start, child.end)), node.end]
        assert borders == sorted(borders)
        todo.extend(node.parts)


def assert_closed(part: Part, kept: Sequence[tuple[int, int]]) -> None:
    spans = closed(part, kept)
    assert closed(part, spans) == spans
    assert all(a < b for a, b in spans) and all(a[1] < b[0] for a, b in zip(spans, spans[1:], strict=False))
    assert all(part.start <= a and b <= part.end for a, b in spans)
    for leaf in leaves(part):
        touched = any(a < leaf.end and leaf.start < b for a, b in kept)
        assert touched == any(a <= leaf.start and leaf.end <= b for a, b in spans)
        assert touched or not any(a < leaf.end and leaf.start < b for a, b in spans)


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_have_parts_and_come_back_whole(name):
    kind, text = SAMPLES[name]
    part = structure(f"..{text}..", 2, 2 + len(text), kind)
    assert_sound(part, 2, 2 + len(text))
    everything = [(leaf.start, leaf.end) for leaf in leaves(part)]
    assert len(everything) > 2
    assert closed(part, everything) == [(2, 2 + len(text))]
    assert closed(part, []) == closed(part, [(0, 2), (5, 5), (2 + len(text), 4 + len(text))]) == []


@pytest.mark.parametrize("name", SAMPLES)
@given(data=st.data())
@settings(deadline=None, max_examples=30)
def test_a_closure_is_whole_leaves_with_what_must_stand(name, data):
    kind, text = SAMPLES[name]
    part = structure(text, 0, len(text), kind)
    assert_closed(part, chosen(part, data))
    borders = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=8)))
    assert_closed(part, list(zip(borders[::2], borders[1::2], strict=False)))


@given(value=VALUES, data=st.data())
@example(
    value={"a": "\\" * 500, "b": "\ud83d\ude00" * 300, "…": [["x" * 300]] * 3, "… 1": {"…": "1 member"}}, data=None
)
@settings(deadline=None, max_examples=100)
def test_json_without_any_of_its_leaves_is_json_of_the_same_values(value, data):
    indent, ascii_only = (data.draw(st.sampled_from([None, 2])), data.draw(st.booleans())) if data else (None, True)
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    value = json.loads(text)
    part = structure(text, 0, len(text), "json")
    assert_sound(part, 0, len(text))
    assert render(text, part, [(leaf.start, leaf.end) for leaf in leaves(part)]) == text
    subsets = [chosen(part, data)] if data else [[(a.start, a.end)] for a in leaves(part)]
    for kept in subsets:
        assert_closed(part, kept)
        shown = render(text, part, kept)
        assert not kept or agrees(value, json.loads(shown)), shown
        assert not kept or json.loads(render(text, part, kept, 'id "7f"\\ \n|')) is not None


def objects(pairs: list[tuple[str, object]]) -> dict[str, object]:
    assert len({key for key, _ in pairs}) == len(pairs), "two members of one key"
    return dict(pairs)


@pytest.mark.parametrize("key", ["…", "……", "… 1", "\\u2026", "x"])
def test_keys_of_markers_are_unique(key):
    text = "{" + ", ".join(f'"{key}{i or ""}": "{"value " * 8}"' for i in range(40)) + "}"
    part = structure(text, 0, len(text), "json")
    for step in (2, 3, 7):
        found = leaves(part)[1::step]
        shown = json.loads(render(text, part, [(a.start, a.end) for a in found]), object_pairs_hook=objects)
        original = json.loads(text)
        assert sum(shown.get(name) == value for name, value in original.items()) == len(found)


@pytest.mark.parametrize("name", [name for name, (kind, _) in SAMPLES.items() if kind == "json"])
@given(data=st.data())
@settings(deadline=None, max_examples=20)
def test_each_line_of_json_lines_is_json(name, data):
    _, text = SAMPLES[name]
    part = structure(text, 0, len(text), "json")
    kept = chosen(part, data)
    if kept and "lines" in name:
        for line in render(text, part, kept, "id 7f3a1c").splitlines():
            json.loads(line)
    elif kept:
        json.loads(render(text, part, kept, "id 7f3a1c"), object_pairs_hook=objects)


@pytest.mark.parametrize("name", [name for name, (kind, _) in SAMPLES.items() if kind != "json"])
@given(data=st.data())
@settings(deadline=None, max_examples=30)
def test_headers_and_fences_stand_and_markers_count_lines(name, data):
    kind, text = SAMPLES[name]
    part = structure(text, 0, len(text), kind)
    kept = chosen(part, data)
    if not kept:
        return
    shown = render(text, part, kept)
    rows, original = shown.splitlines(), text.splitlines()
    if name not in ("json code", "log with a trace", "log", "python"):
        counts = [int(match.group(1)) for match in map(MARKED.search, rows) if match]
        told = [row for row in rows if row.strip() and not MARKED.search(row)]
        assert sum(counts) + len(told) <= len(original)
        assert sum(counts) + len(told) >= len([row for row in original if row.strip("> ")])
    if kind == "code":
        closing = [] if name == "unclosed code" else [original[-1]]
        assert [row for row in rows if "```" in row or "~~~" in row] == [original[0], *closing]
        assert name != "quoted code" or all(row.startswith(">") for row in rows)
    if kind == "table" and "table" in name:
        assert rows[:2] == original[:2]
        assert {row.count("|") for row in rows} == {4}
    if name in ("csv", "tsv"):
        assert rows[0] == original[0]
        delimiter = "," if name == "csv" else "\t"
        assert {len(fields) for fields in csv.reader(rows, delimiter=delimiter)} == {4}
    if kind == "trace":
        for row in original:
            if re.match(r"\w*(Traceback|ValueError|RuntimeError|Caused|Exception|TypeError|panic|gorout|exit)", row):
                assert row in rows
    if kind == "diff":
        assert all(rows[number - 1].startswith("--- ") for number, row in enumerate(rows) if row.startswith("+++ "))
        for number, row in enumerate(rows):
            if row.startswith(("+  ", "-old")):
                assert any(line.startswith("@@ ") for line in rows[:number])


@given(text=SOUP, kind=st.sampled_from([*KINDS, "text"]), data=st.data())
@settings(deadline=None, max_examples=300)
def test_any_text_of_any_kind_has_sound_parts(text, kind, data):
    text = text.strip()
    text = text if len(text) > LEAF else f"a{text}{'b ' * LEAF}c"
    part = structure(text, 0, len(text), kind)
    assert_sound(part, 0, len(text))
    assert render(text, part, [(leaf.start, leaf.end) for leaf in leaves(part)]) == text
    kept = chosen(part, data)
    assert_closed(part, kept)
    assert bool(render(text, part, kept)) == bool(kept)


def test_what_repeats_the_line_before_is_one_part_and_says_so():
    text = "\n".join(["2024-01-01 10:00:00 INFO up"] + [f"2024-01-01 10:01:{i:02d} WARN no reply" for i in range(42)])
    part = structure(text, 0, len(text), "log")
    assert [leaf.kind for leaf in leaves(part)] == ["leaf", "leaf", "repeat"]
    first, second, _ = leaves(part)
    shown = render(text, part, [(first.start, second.end)], "id 7f3a1c")
    assert shown.splitlines()[1:] == [text.splitlines()[1], "[… the line above 41 more times, id 7f3a1c]"]
    assert render(text, part, [(first.start, first.end)]).splitlines()[1:] == ["[… 42 lines]"]
    entries = "\n".join(f"2024-01-01 10:01:{i:02d} WARN no reply\n  from the server" for i in range(12))
    part = structure(entries, 0, len(entries), "log")
    assert render(entries, part, [(0, 5)]).endswith("server\n[… the 2 lines above 11 more times]")
    recursion = structure(PYTHON, 0, len(PYTHON), "trace")
    last = PYTHON.rindex("most recent") + 50
    assert "  [… the 2 lines above 5 more times]\nRuntimeError" in render(PYTHON, recursion, [(last, last + 1)])


def test_markers_have_the_form_of_the_content():
    text = json.dumps({"ok": True, "log": "one two. " * 600, "items": list(range(1000, 1100)), "by": {"a": "b" * 300}})
    part = structure(text, 0, len(text), "json")
    shown = json.loads(render(text, part, [(1, 5)], "412 tokens, id 7f3a1c"))
    assert shown == {
        "ok": True,
        "log": "[… 5,399 characters, 412 tokens, id 7f3a1c] ",
        "items": ["… 100 items, 412 tokens, id 7f3a1c"],
        "by": {"…": "1 member, 412 tokens, id 7f3a1c"},
    }
    assert render(TABLE, structure(TABLE, 0, len(TABLE), "table"), [(0, 1)]).splitlines()[2:] == ["| … 12 rows | | |"]
    assert render(CSV, structure(CSV, 0, len(CSV), "table"), [(0, 1)], "id 1").splitlines()[1:] == [
        '"… 14 rows, id 1",,,'
    ]
    code = structure(CODE, 0, len(CODE), "code")
    place = CODE.index("total += a * 20")
    assert render(CODE, code, [(place, place + 1)]).startswith(
        "```python\n[… 5 lines]\n\n\n@decorated\ndef big(a, b):\n    [… 16 lines]\n"
    )


def test_a_definition_keeps_its_header_and_a_cause_its_name():
    part = structure(CODE, 0, len(CODE), "code")
    for leaf in leaves(part):
        if "total +=" in CODE[leaf.start : leaf.end]:
            assert "def big(a, b):" in render(CODE, part, [(leaf.start, leaf.end)])
    part = structure(JAVA, 0, len(JAVA), "trace")
    shown = render(JAVA, part, [(leaves(part)[2].start, leaves(part)[2].end)])
    assert shown.splitlines()[-2:] == ["Caused by: java.io.IOException: inner", "\t[… 6 lines]"]


def test_a_frame_is_what_stands_with_a_container():
    _, text = SAMPLES["record"]
    part = structure(text, 0, len(text), "json")
    assert part.kind == "record"
    found = frame(part)
    told = "".join(text[start:end] for start, end in found)
    assert '"status": "ok"' in told and '"count": 41' in told and "Starting" not in told
    assert closed(part, [found[0]])[0][0] == 0


@pytest.mark.parametrize("text, count", [(FIELDS, 8), (COMMITS, 6), (RESULTS, 7)])
def test_an_entry_of_a_listing_is_one_leaf(text, count):
    part = structure(text, 0, len(text), "listing")
    found = [text[leaf.start : leaf.end] for leaf in leaves(part)]
    assert len(found) == count and "".join("".join(entry.split()) for entry in found) == "".join(text.split())
    third = leaves(part)[2]
    assert render(text, part, [(third.start, third.end)]).count("[… ") == 2


def test_a_small_item_of_a_list_is_one_leaf_however_it_is_written():
    items = [
        {"id": f"KX-{i}", "about": {"who": {"name": "Ann Lee", "sure": True}, "what": "a blue lamp"}} for i in range(9)
    ]
    for indent in (None, 2, 8):
        text = json.dumps({"status": 200, "data": {"items": items}}, indent=indent)
        found = leaves(structure(text, 0, len(text), "json"))
        assert [json.loads(text[leaf.start : leaf.end]) for leaf in found] == items


def test_a_diff_whose_last_blank_line_was_trimmed_keeps_its_header():
    text = (DIFF + "\n \n \n").replace("@@ -1 +1 @@", "@@ -1,3 +1,3 @@").rstrip()
    part = structure(text, 0, len(text), "diff")
    last = leaves(part)[-1]
    assert "+++ b/other.txt" in render(text, part, [(last.start, last.end)])


def test_a_short_block_is_one_leaf():
    for kind in KINDS:
        assert structure("x" * 9 + "{}" * 100, 9, 209, kind) == Part(9, 209, "leaf")
    assert structure("a" * 1000, 0, 1000, "text") == Part(0, 1000, "leaf")


@pytest.mark.parametrize("kind", KINDS)
def test_no_escape_and_no_pair_is_cut(kind):
    raw = "\\ud83d\\ude00" * 200 + "\\\\" * 200 + '\\"' * 200 + "\\u2026\\n" * 200
    text = f'{{"a": "{raw}"}}'
    part = structure(text, 0, len(text), kind)
    if kind == "json":
        value = json.loads(text)["a"]
        assert len(leaves(part)) > 5
        assert all(json.loads(f'"{text[leaf.start : leaf.end]}"') in value for leaf in leaves(part))
        assert all("\ud83d" not in json.loads(f'"{text[leaf.start : leaf.end]}"') for leaf in leaves(part))
    assert_sound(part, 0, len(text))


@pytest.mark.parametrize("opening", ["[", '{"a": '])
def test_json_of_any_depth_has_an_end(opening):
    closing = {"[": "]"}.get(opening, "}")
    for depth in (70, 300, 10_000):
        text = opening * depth + json.dumps(["x" * 100] * 9) + closing * depth
        part = structure(text, 0, len(text), "json")
        kept = [(leaves(part)[0].start, leaves(part)[0].end)]
        assert render(text, part, kept) == text


def test_large_json_takes_seconds():
    record = {"id": 1, "text": "some words and more. " * 30, "vector": [0.123456] * 20}
    for text in (json.dumps([record] * 3000), json.dumps([0.5] * 300_000), json.dumps({"a": "word " * 1_000_000})):
        began = time.perf_counter()
        part = structure(text, 0, len(text), "json")
        found = leaves(part)
        assert len(found) < len(text) / 60
        spans = closed(part, [(leaf.start, leaf.end) for leaf in found[::2]])
        shown = "".join(gap_text(text, part, *gap) for gap in gaps(part, spans))
        assert "…" in shown and time.perf_counter() - began < 20


def test_markers_in_the_text_are_text():
    text = json.dumps(["… 12 items", {"…": "3 members"}, "[… 40 lines]"] * 40)
    part = structure(text, 0, len(text), "json")
    assert len(leaves(part)) == 120
    assert render(text, part, [(leaf.start, leaf.end) for leaf in leaves(part)]) == text
    assert json.loads(render(text, part, [(leaves(part)[0].start, leaves(part)[0].end)])) == [
        "… 12 items",
        "… 119 items",
    ]
