"""Rows of tables as lines of JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import ReetError
from .lines import MOST_BYTES, Line, kind_of, opened

ROWS = 64  # of a Parquet file that are in memory together


def read_rows(path: Path) -> Iterator[Line]:
    """The rows of a CSV, TSV or Parquet file, each an object of its columns; what is empty in a row is left out.

    Raises:
        ReetError: If the file is no such table, or is Parquet and pyarrow is not installed.
    """
    rows = _parquet(path) if kind_of(path) == ".parquet" else _csv(path)
    for number, row in enumerate(rows, start=1):
        if None in row:
            yield Line(number, b"", f"it has {len(row[None])} fields more than the header has names")
        else:
            yield Line(number, json.dumps(plain(row), default=str).encode())


def plain(value: Any) -> Any:
    """A value of a table as JSON has it: arrays as lists, and no field that a row has only because others do."""
    if hasattr(value, "tolist"):  # numpy's
        value = value.tolist()
    if isinstance(value, Mapping):
        told = {str(name): plain(part) for name, part in value.items()}
        return {name: part for name, part in told.items() if part is not None}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _csv(path: Path) -> Iterator[dict[Any, Any]]:
    csv.field_size_limit(MOST_BYTES)
    # bytes that are no UTF-8 make one record unreadable, not the file
    with opened(path) as file, io.TextIOWrapper(file, "utf-8-sig", "surrogateescape", newline="") as text:
        try:
            rows = csv.DictReader(text, delimiter="\t" if kind_of(path) == ".tsv" else ",")
            for row in rows:
                yield {name: value or None for name, value in row.items()}
        except csv.Error as error:
            raise ReetError(f"--input must be a table, but {str(path)!r} cannot be read as one: {error}.") from error


def _parquet(path: Path) -> Iterator[dict[Any, Any]]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ReetError(f"--input {str(path)!r} needs another library ({error}): pip install pyarrow.") from error
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=ROWS):
                yield from batch.to_pylist()
    except pyarrow.ArrowException as error:
        raise ReetError(f"--input must be a table, but {str(path)!r} cannot be read as one: {error}.") from error
