"""The multi-turn schema: one context, many questions; and how rows of any schema become a file.

A row is a dict with `id`, `source`, `license`, `messages` and `questions`. A message is `{role, name,
content}`: a document is one message per paragraph, section or block; a human speaker is a `user` with a
name. A question is `{question, answers, kind, answer_spans, evidence}`, in document or dialogue order.
Spans are `{message, start, end}`: half-open character offsets into `messages[message].content`. Entities
and facts have their own rows, see `extraction_schema`.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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
Require = Callable[[str, bool, str, Any], None]
"""Raises a ValueError unless a condition holds: takes the field, the condition, the rule and the value."""


@dataclass(frozen=True)
class Schema:
    """What the rows of a file are.

    Attributes:
        features: Their columns.
        validate: Raises a ValueError for a row that breaks a rule.
        counted: The columns of which the items are counted.
    """

    features: Features
    validate: Callable[[Record], None]
    counted: tuple[str, ...]


def document(content: str) -> Record:
    """The message of one paragraph, section or block of a document."""
    return {"role": "document", "name": "", "content": content}


def validate(row: Record) -> None:
    """Nothing, when the row keeps every rule of the schema.

    Raises:
        ValueError: names the row's id, the field, the rule and the value.
    """
    require = requirement(row, FEATURES)
    require("messages", bool(row["messages"]), "must not be empty", row["messages"])
    for index, message in enumerate(row["messages"]):
        _validate_message(require, f"messages[{index}]", message)
    contents = [message["content"] for message in row["messages"]]
    for index, question in enumerate(row["questions"]):
        _validate_question(require, f"questions[{index}]", question, contents)


MULTITURN = Schema(FEATURES, validate, ("questions",))


def write(rows: Iterable[Record], path: str | Path, schema: Schema = MULTITURN) -> tuple[int, ...]:
    """How many rows, and items of each of `schema.counted`, were written to the zstd parquet file `path`.

    Every row is validated. The file appears only when all rows are in it.

    Raises:
        ValueError: for a row that breaks a rule, an id that occurs twice, or no rows at all.
    """
    path = Path(path)
    partial_path = path.with_name(f"{path.name}.partial")
    columns = schema.features.arrow_schema
    count, items = 0, dict.fromkeys(schema.counted, 0)
    try:
        with pq.ParquetWriter(partial_path, columns, compression="zstd") as writer:
            checked = _checked(rows, schema)
            while group := list(islice(checked, _ROWS_PER_GROUP)):
                writer.write_table(pa.Table.from_pylist(group, schema=columns))
                count += len(group)
                for key in items:
                    items[key] += sum(len(row[key]) for row in group)
        if not count:
            raise ValueError(f"rows must not be empty, but nothing came for {str(path)!r}: check the source")
        os.replace(partial_path, path)
    finally:
        partial_path.unlink(missing_ok=True)
    return count, *items.values()


def same(one: str, other: str) -> bool:
    """Whether two texts are equal when case and the kind of white space are ignored."""
    return one.casefold().split() == other.casefold().split()


def requirement(row: Record, features: Features) -> Require:
    """What checks the fields of a row, once the row has these features and its id, source and license are told.

    Raises:
        ValueError: names the row's id, the field, the rule and the value.
    """
    require: Require = partial(_require, row.get("id"))
    require_fields(require, "row", row, tuple(features))
    for field in ("id", "source", "license"):
        require_text(require, field, row[field])
    return require


def require_fields(require: Require, field: str, value: Any, fields: Sequence[str]) -> None:
    """Nothing, when a value has these fields and no others."""
    right = isinstance(value, Mapping) and set(value) == set(fields)
    require(field, right, f"must have exactly the fields {', '.join(fields)}", value)


def require_text(require: Require, field: str, value: Any) -> None:
    """Nothing, when a value is a string with more than white space."""
    require(field, isinstance(value, str) and bool(value.strip()), "must be a string that is not blank", value)


def require_integers(require: Require, field: str, value: Mapping[str, Any], fields: Sequence[str]) -> None:
    """Nothing, when these fields of a value are integers."""
    for key in fields:
        require(f"{field}.{key}", type(value[key]) is int, "must be an integer", value[key])


def require_border(require: Require, names: tuple[str, str], border: tuple[int, int], length: int, where: str) -> None:
    """Nothing, when a border holds at least one of the characters from 0 to below `length`.

    Args:
        require: Of the row.
        names: The fields of the start and of the end.
        border: The two, half-open.
        length: Of the text, in characters.
        where: The text, in words.
    """
    start, end = border
    require(names[0], 0 <= start < length, f"must be from 0 to below {length} in {where}", start)
    require(names[1], start < end <= length, f"must be from {start + 1} to {length} in {where}", end)


def _checked(rows: Iterable[Record], schema: Schema) -> Iterator[Record]:
    seen: set[str] = set()
    for row in rows:
        schema.validate(row)
        _require(row["id"], "id", row["id"] not in seen, "must occur once in a file", row["id"])
        seen.add(row["id"])
        yield row


def _validate_message(require: Require, field: str, message: Any) -> None:
    require_fields(require, field, message, _MESSAGE_FIELDS)
    for key in _MESSAGE_FIELDS:
        require(f"{field}.{key}", isinstance(message[key], str), "must be a string", message[key])
    role, name = message["role"], message["name"]
    require(f"{field}.role", role in ROLES, f"must be one of {', '.join(ROLES)}", role)
    require(f"{field}.name", role != "document" or not name, "must be empty for a document", name)


def _validate_question(require: Require, field: str, question: Any, contents: Sequence[str]) -> None:
    require_fields(require, field, question, _QUESTION_FIELDS)
    require_text(require, f"{field}.question", question["question"])
    answers = question["answers"]
    for index, answer in enumerate(answers):
        require_text(require, f"{field}.answers[{index}]", answer)
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


def _validate_kind(require: Require, field: str, question: Record) -> None:
    kind = question["kind"]
    require(f"{field}.kind", kind in KINDS, f"must be one of {', '.join(KINDS)}", kind)
    empty = {"unanswerable": ("answers", "answer_spans", "evidence"), "abstractive": ("answer_spans",)}
    filled = {"unanswerable": (), "extractive": ("answers", "answer_spans")}
    for key in empty.get(kind, ()):
        require(f"{field}.{key}", not question[key], f"must be empty for the kind {kind!r}", question[key])
    for key in filled.get(kind, ("answers",)):
        require(f"{field}.{key}", bool(question[key]), f"must not be empty for the kind {kind!r}", question[key])


def _validate_span(require: Require, field: str, span: Any, contents: Sequence[str]) -> None:
    require_fields(require, field, span, _SPAN_FIELDS)
    require_integers(require, field, span, _SPAN_FIELDS)
    message, start, end = (span[key] for key in _SPAN_FIELDS)
    known = 0 <= message < len(contents)
    require(f"{field}.message", known, f"must number one of {len(contents)} messages from 0", message)
    names = f"{field}.start", f"{field}.end"
    require_border(require, names, (start, end), len(contents[message]), "its message")


def _contains(outer: Mapping[str, int], inner: Mapping[str, int]) -> bool:
    ordered = outer["start"] <= inner["start"] and inner["end"] <= outer["end"]
    return ordered and outer["message"] == inner["message"]


def _require(row: Any, field: str, condition: bool, rule: str, value: Any) -> None:
    if not condition:
        shown = repr(value)
        if len(shown) > _SHOWN_CHARACTERS:
            shown = f"{shown[:_SHOWN_CHARACTERS]}… ({len(shown)} characters)"
        raise ValueError(f"row {row!r}: {field} {rule}, but is {shown}")
