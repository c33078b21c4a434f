"""Compresses the records of a part."""

from __future__ import annotations

import gzip
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..compressor import Compressor
from ..conversation import Request
from ..errors import ReetError
from ..options import Options
from .entries import Entry, output_line, read_entry
from .handling import Handling
from .parts import Part, bad_record
from .source import place_name
from .together import read_together
from .unfinished import Counts

FAULTS = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError)  # of this package, with one record
logger = logging.getLogger(__name__)


class Worker:
    """Compresses the records of a part.

    Args:
        compressor: By which.
        options: Of each compression.
        handling: Of the records.
        source: The file that they are from.
        packed: Whether their lines are packed by gzip.
    """

    def __init__(
        self, compressor: Compressor, options: Options, handling: Handling, source: Path, packed: bool = False
    ) -> None:
        self.compressor, self.options, self.handling = compressor, options, handling
        self.source, self.packed = source, packed

    def run(self, part: Part, tick: Callable[[], Any] = lambda: None) -> tuple[bytes, Counts]:
        """The lines of a part's records, and what they hold.

        Args:
            part: The records.
            tick: Called after each of them.

        Raises:
            ReetError: If a record ends the run.
        """
        entries = [read_entry(line, self.handling.query, self.handling.column) for line in part.lines]
        shared = [entry.request.conversation for entry in entries if entry.request] if self.handling.batch else []
        lines, counts = [], Counts()
        with read_together(self.compressor, shared):
            for entry in entries:
                line, own = self._one(entry)
                lines.append(line)
                counts += own
                tick()
        body = b"".join(lines)
        # without a time in it, so that the same records make the same bytes
        return (gzip.compress(body, 6, mtime=0) if self.packed else body), counts

    def _one(self, entry: Entry) -> tuple[bytes, Counts]:
        place, handling = place_name(self.source), self.handling
        problem = entry.problem
        if entry.request is not None:
            try:
                result = self._result(entry.request)
                tokens = result["tokens"]
                chosen = {key: result[key] for key in handling.keys or result}
                line = output_line(entry, place, {"result": chosen})
                return line, Counts(1, original=tokens["original"], compressed=tokens["compressed"])
            except ReetError as error:
                problem = str(error)
            except FAULTS as error:
                if handling.on_error == "stop":
                    raise
                problem = f"The record cannot be compressed, which is a fault of reet-hf: {error!r:.300}; report it."
        if handling.on_error == "stop":
            raise bad_record(self.source, entry.number, problem)
        failed = Counts(1, 1, (entry.number,))
        if handling.on_error == "record":
            return output_line(entry, place, {"error": problem}), failed
        logger.warning("%s %d of %s is left out: %s", place.capitalize(), entry.number, self.source.name, problem)
        return b"", failed

    def _result(self, request: Request) -> dict[str, Any]:
        state = self.compressor.encode(request.conversation)
        return self.compressor.select(state, request.query, request.history, self.options).to_dict()
