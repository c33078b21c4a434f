"""A file of records cut into parts, always the same ones for the same file, and looked through once before the work."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from ..errors import ReetError
from .entries import read_entry
from .lines import Line
from .source import place_name, read_lines

PART_RECORDS = 32
PART_BYTES = 1 << 17  # from which on a part has no further record


@dataclass(frozen=True)
class Part:
    """Some records that stand one behind the other, the least that is done and kept as a whole."""

    number: int
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Survey:
    """What a file of records holds: how many records and parts, and a digest of all records."""

    records: int
    parts: int
    sha256: str


def cut(lines: Iterable[Line]) -> Iterator[Part]:
    """The parts of a file's records, numbered from 0."""
    number = size = 0
    held: list[Line] = []
    for line in lines:
        held.append(line)
        size += len(line.data)
        if len(held) == PART_RECORDS or size >= PART_BYTES:
            yield Part(number, tuple(held))
            number, size, held = number + 1, 0, []
    if held:
        yield Part(number, tuple(held))


def survey(path: Path, *, query: str | None, column: str | None, check: bool, progress: bool = False) -> Survey:
    """What a file holds.

    Args:
        path: The file.
        query, column: As for `entries.read_entry`.
        check: Whether each record must be one that can be read: better found now than hours later.
        progress: Whether to show a progress bar.

    Raises:
        ReetError: If the file cannot be read, or with `check` a record cannot.
    """
    records = parts = bad = 0
    first: tuple[int, str] | None = None
    digest = hashlib.sha256()
    with bar(progress, desc="reading", unit="rec") as shown:
        for part in cut(read_lines(path)):
            for line in part.lines:
                digest.update(b"%d %d %s\n" % (line.number, len(line.data), line.data))
                entry = read_entry(line, query, column) if check else None
                if entry is not None and entry.problem:
                    bad, first = bad + 1, first or (line.number, entry.problem)
            records, parts = records + len(part.lines), parts + 1
            shown.update(len(part.lines))
    if first is not None:
        others = f" {bad - 1} more cannot be read either." if bad > 1 else ""
        raise bad_record(path, *first, others)
    return Survey(records, parts, digest.hexdigest())


def bad_record(path: Path, number: int, problem: str, others: str = "") -> ReetError:
    """The error of a run that a record ends."""
    return ReetError(
        f"{place_name(path).capitalize()} {number} of {path.name}: {problem}{others} Or go on without such records: "
        "--on-error skip leaves them out, --on-error record says what is wrong in their place."
    )


def bar(progress: bool, **options: Any) -> Any:
    """A progress bar on standard error, if it is wanted and somebody watches."""
    return tqdm(disable=None if progress else True, **options)
