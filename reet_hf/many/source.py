"""Records of a file as lines of JSON, one after the other, a few of them in memory."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

from ..errors import ReetError
from .lines import Line, json_lines, kind_of, opened
from .tables import read_rows

TABLES = (".csv", ".tsv", ".parquet")


def place_name(path: Path) -> str:
    """What a record's number counts: `line`, or `row` in a table."""
    return "row" if kind_of(path) in TABLES else "line"


def read_lines(path: Path) -> Iterator[Line]:
    """The records of a file: JSON lines, or a table (`.csv`, `.tsv`, `.parquet`); all but Parquet may end in `.gz`.

    Raises:
        ReetError: If the file cannot be read, or needs a library that is not there.
    """
    try:
        if kind_of(path) in TABLES:
            yield from read_rows(path)
        else:
            with opened(path) as file:
                yield from json_lines(file)
    except (OSError, EOFError, zlib.error) as error:
        raise ReetError(
            f"--input must be a readable file, but {str(path)!r} is not: {error or 'it is cut off'}."
        ) from error
