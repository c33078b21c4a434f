"""The row that every builder of this folder writes: one context, many questions.

A row is a dict with `id`, `source`, `license`, `messages` and `questions`. A message is `{role, name,
content}`: a document is one message per paragraph, section or block; a human speaker is a `user` with a
name. A question is `{question, answers, kind, answer_spans, evidence}`, in document or dialogue order.
Spans are `{message, start, end}`: half-open character offsets into `messages[message].content`.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Features, Value

ROLES = ("document", "user", "assistant", "tool", "system")
"""Who speaks; a document speaks without a name."""

KINDS = ("extractive", "abstractive", "unanswerable", "state", "latest_value")
"""extractive: the answer stands at `answer_spans`; unanswerable: there is none; state: the value of a slot in
a dialogue; latest_value: such a value that replaced another."""

_SPANS = [{"message": Value("int32"), "start": Value("int32"), "end": Value("int32")}]

FEATURES = Features(
    {
        "id": Value("string"),
        "source": Value("string"),
        "license": Value("string"),
        "messages": [{"role": Value("string"), "name": Value("string"), "content": Value("string")}],
        "questions": [
            {
                "question": Value("string"),
                "answers": [Value("string")],
                "kind": Value("string"),
                "answer_spans": _SPANS,
                "evidence": _SPANS,
            }
        ],
    }
)
"""The schema for `datasets`; `FEATURES.arrow_schema` is that of the parquet files."""

_MESSAGE_FIELDS = ("role", "name", "content")
_QUESTION_FIELDS = ("question", "answers", "kind", "answer_spans", "evidence")
_SPAN_FIELDS = ("message", "start", "end")
_ROWS_PER_GROUP = 500
_SHOWN_CHARACTERS = 120

Record = dict[str, Any]
_Require = Callable[[str, bool, str, Any], None]


def document(content: str) -> Record:
    """The message of one paragraph, section or block of a document."""
    return {"role": "document", "name": "", "content": content}


def write(rows: Iterable[Record], path: str | Path) -> tuple[int, int]:
    """How many rows and questions were written to the zstd parquet file `path`.

    Every row is validated. The file appears only when all rows are in it.

    Raises:
        ValueError: for a row that breaks a rule, an id that occurs twice, or no rows at all.
    """
    path = Path(path)
    partial_path = path.with_name(f"{path.name}.partial")
    count = questions = 0
    try:
        with pq.ParquetWriter(partial_path, FEATURES.arrow_schema, compression="zstd") as writer:
            checked = _checked(rows)
            while group := list(islice(checked, _ROWS_PER_GROUP)):
                writer.write_table(pa.Table.from_pylist(group, schema=FEATURES.arrow_schema))
                count += len(group)
                questions += sum(len(row["questions"]) for row in group)
        if not count:
            raise ValueError(f"rows must not be empty, but nothing came for {str(path)!r}: check the source")
        os.replace(partial_path, path)
    finally:
        partial_path.unlink(missing_ok=True)
    return count, questions


def validate(row: Record) -> None:
    """Nothing, when the row keeps every rule of the schema.

    Raises:
        ValueError: names the row's id, the field, the rule and the value.
    """
    require = partial(_require, row.get("id"))
    _require_fields(require, "row", row, tuple(FEATURES))
    for field in ("id", "source", "license"):
        _require_text(require, field, row[field])
    require("messages", bool(row["messages"]), "must not be empty", row["messages"])
    for index, message in enumerate(row["messages"]):
        _validate_message(require, f"messages[{index}]", message)
    contents = [message["content"] for message in row["messages"]]
    for index, question in enumerate(row["questions"]):
        _validate_question(require, f"questions[{index}]", question, contents)


def same(one: str, other: str) -> bool:
    """Whether two texts are equal when case and the kind of white space are ignored."""
    return one.casefold().split() == other.casefold().split()


def _checked(rows: Iterable[Record]) -> Iterator[Record]:
    seen: set[str] = set()
    for row in rows:
        validate(row)
        _require(row["id"], "id", row["id"] not in seen, "must occur once in a file", row["id"])
        seen.add(row["id"])
        yield row


def _validate_message(require: _Require, field: str, message: Any) -> None:
    _require_fields(require, field, message, _MESSAGE_FIELDS)
    for key in _MESSAGE_FIELDS:
        require(f"{field}.{key}", isinstance(message[key], str), "must be a string", message[key])
    role, name = message["role"], message["name"]
    require(f"{field}.role", role in ROLES, f"must be one of {', '.join(ROLES)}", role)
    require(f"{field}.name", role != "document" or not name, "must be empty for a document", name)


def _validate_question(require: _Require, field: str, question: Any, contents: Sequence[str]) -> None:
    _require_fields(require, field, question, _QUESTION_FIELDS)
    _require_text(require, f"{field}.question", question["question"])
    answers = question["answers"]
    for index, answer in enumerate(answers):
        _require_text(require, f"{field}.answers[{index}]", answer)
    repeated = len(set(answers)) < len(answers)
    require(f"{field}.answers", not repeated, "must not repeat an answer", answers)
    for key in ("answer_spans", "evidence"):
        for index, span in enumerate(question[key]):
            _validate_span(require, f"{field}.{key}[{index}]", span, contents)
    _validate_kind(require, field, question)
    for index, span in enumerate(question["answer_spans"]):
        place = f"{field}.answer_spans[{index}]"
        text = contents[span["message"]][span["start"] : span["end"]]
        covers = any(same(text, answer) for answer in answers)
        require(place, covers, "must cover one of the answers", text)
        inside = any(_contains(evidence, span) for evidence in question["evidence"])
        require(place, inside, "must lie inside one span of the evidence", span)


def _validate_kind(require: _Require, field: str, question: Record) -> None:
    kind = question["kind"]
    require(f"{field}.kind", kind in KINDS, f"must be one of {', '.join(KINDS)}", kind)
    empty = {"unanswerable": ("answers", "answer_spans", "evidence"), "abstractive": ("answer_spans",)}
    filled = {"unanswerable": (), "extractive": ("answers", "answer_spans")}
    for key in empty.get(kind, ()):
        require(f"{field}.{key}", not question[key], f"must be empty for the kind {kind!r}", question[key])
    for key in filled.get(kind, ("answers",)):
        require(f"{field}.{key}", bool(question[key]), f"must not be empty for the kind {kind!r}", question[key])


def _validate_span(require: _Require, field: str, span: Any, contents: Sequence[str]) -> None:
    _require_fields(require, field, span, _SPAN_FIELDS)
    for key in _SPAN_FIELDS:
        require(f"{field}.{key}", type(span[key]) is int, "must be an integer", span[key])
    message, start, end = (span[key] for key in _SPAN_FIELDS)
    known = 0 <= message < len(contents)
    require(f"{field}.message", known, f"must number one of {len(contents)} messages from 0", message)
    length = len(contents[message])
    require(f"{field}.start", 0 <= start < length, f"must be from 0 to below {length} in its message", start)
    require(f"{field}.end", start < end <= length, f"must be from {start + 1} to {length} in its message", end)


def _contains(outer: Mapping[str, int], inner: Mapping[str, int]) -> bool:
    ordered = outer["start"] <= inner["start"] and inner["end"] <= outer["end"]
    return ordered and outer["message"] == inner["message"]


def _require_fields(require: _Require, field: str, value: Any, fields: Sequence[str]) -> None:
    right = isinstance(value, Mapping) and set(value) == set(fields)
    require(field, right, f"must have exactly the fields {', '.join(fields)}", value)


def _require_text(require: _Require, field: str, value: Any) -> None:
    require(field, isinstance(value, str) and bool(value.strip()), "must be a string that is not blank", value)


def _require(row: Any, field: str, condition: bool, rule: str, value: Any) -> None:
    if not condition:
        shown = repr(value)
        if len(shown) > _SHOWN_CHARACTERS:
            shown = f"{shown[:_SHOWN_CHARACTERS]}… ({len(shown)} characters)"
        raise ValueError(f"row {row!r}: {field} {rule}, but is {shown}")
