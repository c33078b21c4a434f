"""Entities and what is said of them as records, JSON, lines of text or Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from .errors import ReetError
from .records import EntityMention, Span, Statement

FORMATS = ("json", "linear", "markdown", "records")
SCHEMA_VERSION = 1
_ENTITY = ("text", "type", "kind", "message", "start", "end", "score")
_FACT = ("entity", "text", "message", "start", "end", "score")


def make_records(
    mentions: Sequence[EntityMention], statements: Sequence[Statement], names: Mapping[Span, str]
) -> dict[str, Any]:
    """Every mention and statement with its place.

    Args:
        mentions: In the order of the text.
        statements: Likewise.
        names: What the entity of each subject is called.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "entities": [{name: getattr(mention, name) for name in _ENTITY} for mention in mentions],
        "facts": [
            {"entity": names[said.subject], **{name: getattr(said, name) for name in _FACT[1:]}} for said in statements
        ],
    }


def dump_records(records: Mapping[str, Any]) -> str:
    """Records as JSON text that `load_records` reads back and this writes again byte for byte."""
    return json.dumps(records, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def load_records(text: str) -> dict[str, Any]:
    """The records that `dump_records` wrote.

    Raises:
        ReetError: If `text` is no JSON, of another schema, or lacks a field.
    """
    try:
        records = json.loads(text)
    except ValueError as error:
        raise ReetError(f"`text` must be JSON that dump_records wrote, got {text[:40]!r} ({error}).") from error
    version = records.get("schema_version") if isinstance(records, dict) else None
    if version != SCHEMA_VERSION:
        raise ReetError(f"`text` must have schema_version {SCHEMA_VERSION}, got {version!r}.")
    for heading, fields in (("entities", _ENTITY), ("facts", _FACT)):
        for number, item in enumerate(records.get(heading) or ()):
            if not isinstance(item, dict) or set(item) != set(fields):
                raise ReetError(
                    f"`text` must have the fields {', '.join(fields)} in {heading}[{number}], got {item!r}."
                )
    return records


def facts_by_entity(records: Mapping[str, Any]) -> dict[str, list[str]]:
    """What is said of each entity, each once, in the order of the text."""
    found: dict[str, dict[str, None]] = {}
    for fact in records["facts"]:
        found.setdefault(fact["entity"], {})[fact["text"]] = None
    return {name: list(texts) for name, texts in found.items()}


def as_linear(records: Mapping[str, Any]) -> str:
    """A line for each entity: `John Smith: CEO of Acme Corp | born in 1985`, white space in facts as single spaces."""
    facts = facts_by_entity(records).items()
    return "\n".join(f"{_line(name)}: {' | '.join(map(_line, texts))}" for name, texts in facts)


def as_markdown(records: Mapping[str, Any]) -> str:
    """A list item for each entity with one for each fact below it."""
    parts = []
    for name, texts in facts_by_entity(records).items():
        parts += [f"- **{_line(name)}**", *(f"  - {_line(text)}" for text in texts)]
    return "\n".join(parts)


def checked_format(name: str) -> str:
    """The name of a format.

    Raises:
        ReetError: If it is not in `FORMATS`.
    """
    if name not in FORMATS:
        raise ReetError(f"`output_format` must be one of {', '.join(FORMATS)}, got {name!r}.")
    return name


def formatted(records: dict[str, Any], output_format: str) -> Any:
    """`records` in one of `FORMATS`; see `checked_format`."""
    if checked_format(output_format) == "records":
        return records
    writers = {"json": facts_by_entity, "linear": as_linear, "markdown": as_markdown}
    return writers[output_format](records)


def _line(text: str) -> str:
    return " ".join(text.split())
