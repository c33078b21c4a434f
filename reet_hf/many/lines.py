"""Lines of JSON as they stand in a file, whatever stands in them."""

from __future__ import annotations

import codecs
import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

MOST_BYTES = 1 << 26  # of a line: a text of ten million words


@dataclass(frozen=True)
class Line:
    """One record as it was read.

    Attributes:
        number: Of the line, or of the row of a table, counted from 1; lines that are blank count, but are no records.
        data: The record as JSON in UTF-8, if it is any.
        problem: Why the record cannot be read, empty if it can be tried.
    """

    number: int
    data: bytes
    problem: str = ""


def kind_of(path: Path) -> str:
    """The extension that says what a file holds, without `.gz`; whatever is no table holds lines of JSON."""
    return Path(path.name.lower().removesuffix(".gz")).suffix


def opened(path: Path) -> BinaryIO:
    """The bytes of a file, unpacked where its name ends in `.gz`."""
    return gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb")  # type: ignore[return-value]


def json_lines(file: BinaryIO) -> Iterator[Line]:
    """The records of a file of JSON lines."""
    number = 0
    while chunk := file.readline(MOST_BYTES + 1):
        number += 1
        if number == 1:
            chunk = chunk.removeprefix(codecs.BOM_UTF8)
        if len(chunk) > MOST_BYTES and not chunk.endswith(b"\n"):
            size, last = len(chunk), zlib.crc32(chunk)
            while not chunk.endswith(b"\n") and (chunk := file.readline(MOST_BYTES)):
                size, last = size + len(chunk), zlib.crc32(chunk, last)
            size -= chunk.endswith(b"\n")
            yield Line(number, b"%08x" % last, f"it has {size:,} bytes, of which a record may have {MOST_BYTES:,}")
        elif stripped := chunk.strip():
            yield Line(number, stripped)
