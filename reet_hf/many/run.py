"""A file of records compressed into another one: by one process or several, at once or in several attempts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from itertools import islice
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from ..budget import TokenCounter
from ..compressor import Compressor
from ..errors import ReetError
from ..options import Options
from .handling import Handling
from .manifest import Plan
from .parts import bar, cut, survey
from .processes import first_alone
from .source import read_lines
from .unfinished import Counts, Unfinished, Written
from .worker import Worker


def compress_file(
    source: str | Path,
    output: str | Path,
    compress: Any,
    *,
    query: str | None = None,
    column: str | None = None,
    keys: Sequence[str] | None = None,
    on_error: str = "stop",
    batch: bool = True,
    overwrite: bool = False,
    progress: bool = False,
    environment: Mapping[str, str] | None = None,
    **options: Any,
) -> Counts:
    """Compress every record of a file; returns what the output holds.

    A run that was killed goes on where it stopped when it is started again in the same way; so do several processes
    that are started in the same way, on one machine or on several that share the files. The output has the records in
    their order and is there when it is whole; it is the same, byte for byte, however many processes and attempts it
    took, on machines that compute alike with as many threads.

    Args:
        source: JSON lines, `.csv`, `.tsv` or `.parquet`. Each record is any input of the pipeline; other fields of one
            that is an object go along.
        output: Where the lines go, one a record: `{"id": ..., <other fields>, "result": {...}}`, with the number of the
            line or row where there is no `id`. Packed if its name ends in `.gz`. Beside it are a manifest and, as long
            as it is not whole, the folder `<output>.unfinished`.
        compress: A `reet-compression` pipeline or a `Compressor`, for nothing else meanwhile.
        query, column, keys, on_error, batch: See `Handling`. With `batch` results are those of each record by itself
            up to floating-point rounding, else bit for bit.
        overwrite: Whether another output in this place, finished or not, is replaced.
        progress: Whether to show a progress bar.
        environment: Of processes that were launched together, see `processes.first_alone`.
        **options: Of each compression.

    Raises:
        ReetError: If an option cannot be honoured, a file cannot be read or written, or a record ends the run.
        TypeError: For an unknown option.
    """
    source, output = Path(source), Path(output)
    compressor: Compressor = getattr(compress, "compressor", compress)
    chosen = compressor.options(**options)
    handling = Handling(query, column, keys, on_error, batch)
    if source.absolute() == output.absolute():
        raise ReetError(f"--output must be another file than --input, got {str(output)!r} for both.")
    worker = Worker(compressor, chosen, handling, source, packed=output.suffix.lower() == ".gz")
    unfinished = Unfinished(output)

    def begin() -> Plan:
        held = survey(source, query=query, column=column, check=on_error == "stop", progress=progress)
        plan = Plan(held, compressor.revision, told_options(chosen, handling, worker.packed))
        unfinished.begin(plan, overwrite)
        return plan

    try:
        plan = first_alone(begin, environment or {})
        unfinished.join()
        try:
            with bar(progress, desc="compressing", unit="rec", total=plan.survey.records) as shown:
                return _work(worker, unfinished, plan, shown).counts
        finally:
            unfinished.leave()
    except OSError as error:
        raise ReetError(
            f"--output {str(output)!r} cannot be written: {error}. What was done so far stays; see to it, then repeat "
            "the command."
        ) from error


def told_options(options: Options, handling: Handling, packed: bool) -> dict[str, Any]:
    """All that has a say in what is written, as plain JSON types."""
    told: dict[str, Any] = {field.name: getattr(options, field.name) for field in fields(options)}
    if isinstance(counter := told["tokenizer"], TokenCounter):
        told["tokenizer"] = counter.name
    told.update({field.name: getattr(handling, field.name) for field in fields(handling)}, packed=packed)
    return json.loads(json.dumps(told, default=repr))


def _work(worker: Worker, unfinished: Unfinished, plan: Plan, shown: tqdm) -> Written:
    """Do all parts that nobody has done: first those that nobody else is at, then what others have left undone."""
    wait, before = False, -1
    while (written := unfinished.merge(plan)).parts < plan.survey.parts:
        if written.parts == before:
            raise ReetError(
                f"--input {str(worker.source)!r} was changed while it was read; start anew with --overwrite."
            )
        before = written.parts if wait else -1
        _show(shown, written)
        for part in islice(cut(read_lines(worker.source)), plan.survey.parts):
            if unfinished.is_done(part.number, plan):
                continue
            with unfinished.claim(part.number, wait) as mine:
                if not mine or unfinished.is_done(part.number, plan):
                    continue
                unfinished.write(part.number, *worker.run(part, shown.update))
            _show(shown, unfinished.merge(plan))
        wait = True
    _show(shown, written)
    return written


def _show(shown: tqdm, written: Written) -> None:
    """Bring a progress bar up to what all processes have done, as far as it is in order."""
    if shown.n:
        shown.update(max(written.counts.records - shown.n, 0))
    else:  # what was there before took no time
        shown.initial = shown.n = written.counts.records
        shown.refresh()
