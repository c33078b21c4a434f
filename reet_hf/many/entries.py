"""One record of a file: what is to be compressed, and what else it holds and keeps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..conversation import Request, parse_request, shown
from ..errors import ReetError
from .lines import Line

PARTS = ("messages", "context", "query", "history")  # what an input may be made of
OUTPUT = ("result", "error")  # what is added to a record
FIX = "correct it"


@dataclass(frozen=True)
class Entry:
    """One record.

    Attributes:
        number: As in `Line`.
        kept: The fields that go along to the output: all but the messages, the context and the history.
        request: What is to be compressed; `None` where the record cannot be read.
        problem: Why not, else empty.
    """

    number: int
    kept: Mapping[str, Any] = field(default_factory=dict)
    request: Request | None = None
    problem: str = ""


def read_entry(line: Line, query: str | None = None, column: str | None = None) -> Entry:
    """The record of a line; one that cannot be read says why.

    Args:
        line: As it was read.
        query: What every record is compressed for, instead of its own.
        column: The field that holds the text or the messages; default: `messages` or `context`.
    """
    kept: Mapping[str, Any] = {}
    try:
        if line.problem:
            raise ReetError(f"The record cannot be read: {line.problem}; {FIX}.")
        value = parse_json(line.data)
        kept = kept_fields(value, column)
        if taken := [name for name in OUTPUT if isinstance(value, Mapping) and name in value]:
            raise ReetError(f"The record must have no field {taken[0]!r}, which the output adds; rename it.")
        return Entry(line.number, kept, request_of(value, query, column))
    except ReetError as error:
        return Entry(line.number, kept, problem=str(error))


def parse_json(data: bytes) -> Any:
    """The value of a line.

    Raises:
        ReetError: If it is no JSON in UTF-8.
    """
    try:
        return json.loads(data.decode("utf-8"), parse_constant=_no_number)
    except UnicodeDecodeError as error:
        raise ReetError(f"The record must be UTF-8, but byte {error.start} is not; convert the file first.") from error
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise ReetError(f"The record must be JSON on one line, but it is not: {reason}; {FIX}.") from error


def kept_fields(value: Any, column: str | None = None) -> dict[str, Any]:
    """The fields of a record that its output has too.

    Raises:
        ReetError: If they cannot be written.
    """
    if not isinstance(value, Mapping) or _is_message(value):
        return {}
    gone = ("messages", "context", "history", column, *OUTPUT)
    kept = {name: part for name, part in value.items() if name not in gone}
    try:
        as_json(kept)
    except (ValueError, RecursionError) as error:  # a lone surrogate, which may stand in JSON as an escape
        raise ReetError(f"The record must be Unicode text, but cannot be written as such: {error}; {FIX}.") from None
    return kept


def request_of(value: Any, query: str | None = None, column: str | None = None) -> Request:
    """What a record asks to be compressed: any input of the pipeline, among other fields if it is an object.

    Raises:
        ReetError: If it is no such input.
    """
    if not isinstance(value, Mapping) or _is_message(value):
        if column is not None:
            raise ReetError(
                f"The record must be an object with the field {column!r}, got {shown(value)}; see --column."
            )
        given = [value] if isinstance(value, Mapping) else value
        if not query:
            return parse_request(given)
        asked: dict[str, Any] = {"context" if isinstance(value, str) else "messages": given}
    else:
        asked = {name: value[name] for name in PARTS if value.get(name) is not None}
        if column is not None:
            asked = {name: part for name, part in asked.items() if name in ("query", "history")}
            asked.update(_of_column(value, column))
        elif "messages" not in asked and "context" not in asked:
            raise ReetError(
                "The record must be a text, a list of messages, or an object with 'messages' or 'context', got the "
                f"fields {shown(sorted(map(str, value)))}; name the field with the text or messages by --column."
            )
    for name in ("messages", "history"):  # tables hold them as text
        if isinstance(asked.get(name), str):
            asked[name] = _from_text(asked[name], name)
    return parse_request({**asked, "query": query or asked.get("query")})


def output_line(entry: Entry, place: str, added: Mapping[str, Any]) -> bytes:
    """The line of a record in the output: its id or number, the fields that it keeps, and what is added."""
    number = {} if entry.kept.get("id") is not None else {place: entry.number}
    return as_json({**number, **entry.kept, **added}) + b"\n"


def as_json(value: Any) -> bytes:
    """A value as compact JSON in UTF-8."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8")


def _is_message(value: Mapping[str, Any]) -> bool:
    return "role" in value and "messages" not in value and "context" not in value


def _of_column(value: Mapping[str, Any], column: str) -> dict[str, Any]:
    """The text or the messages of a column, which may be written as JSON."""
    found = value.get(column)
    if isinstance(found, str):
        if found.lstrip().startswith("["):
            try:
                messages = json.loads(found)
            except (ValueError, RecursionError):
                return {"context": found}
            if messages and all(isinstance(message, dict) and "role" in message for message in messages):
                return {"messages": messages}
        return {"context": found}
    if found is None:
        raise ReetError(
            f"The record must have the field {column!r} that --column names, got the fields "
            f"{shown(sorted(map(str, value)))}; name another one."
        )
    return {"messages": found}


def _from_text(text: str, name: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ReetError(f"`{name}` must be a list, or its JSON as text, got {shown(text)} ({error}).") from error


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number of JSON")
