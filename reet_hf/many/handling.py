"""How the records of a file are read, what of each result is written, and what becomes of records that cannot be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from ..conversation import shown
from ..errors import ReetError
from ..records import Compressed

ON_ERROR = ("stop", "skip", "record")
KEYS = (*(key.name for key in fields(Compressed)), "schema_version")


@dataclass(frozen=True)
class Handling:
    """What a caller may choose for a file of records, beside the options of each compression.

    Attributes:
        query: What every record is compressed for, instead of its own query.
        column: The field that holds the text or the messages; default: `messages` or `context`.
        keys: Of the result that are written; default: all.
        on_error: What a record does that cannot be read or compressed: `stop` ends the run, `skip` leaves the record
            out, `record` writes `{"error": ...}` in its place.
        batch: Whether records share passes of the encoder.
    """

    query: str | None = None
    column: str | None = None
    keys: Sequence[str] | None = None
    on_error: str = "stop"
    batch: bool = True

    def __post_init__(self) -> None:
        if self.on_error not in ON_ERROR:
            raise ReetError(f"`on_error` must be one of {', '.join(ON_ERROR)}, got {shown(self.on_error)}.")
        if isinstance(self.keys, str):
            raise ReetError(f"`keys` must be a list of keys, got {shown(self.keys)}; write [{shown(self.keys)}].")
        unknown = [key for key in self.keys or () if key not in KEYS]
        if unknown:
            raise ReetError(f"`keys` must be among {', '.join(KEYS)}, got {shown(unknown[0])}.")
