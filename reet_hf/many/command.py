"""What `reet compress` takes and does for a file of many records."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..errors import ReetError
from .handling import KEYS, ON_ERROR
from .processes import own_device, shows_progress
from .run import compress_file
from .source import place_name, read_lines
from .unfinished import Counts

OF_FORMAT = {"text": ("text",), "messages": ("messages",), "json": None, None: None}


def add_many(compress: argparse.ArgumentParser) -> None:
    """Add to `compress` what a file of many records needs."""
    many = compress.add_argument_group(
        "many records",
        "With --input, each line of a file is a text, messages, or an object with 'messages' or 'context', and "
        "'query'; each becomes a line of --output, in order. A run that was killed goes on when it is repeated. Start "
        "the same command several times, or by accelerate launch -m reet_hf.cli, and the work is shared.",
    )
    many.add_argument("--input", metavar="FILE", help="JSON lines, .csv, .tsv or .parquet; .gz is unpacked")
    many.add_argument("--output", metavar="FILE", help="JSON lines; packed if it ends in .gz")
    many.add_argument("--column", metavar="NAME", help="field with the text or messages (default: messages or context)")
    many.add_argument("--keys", metavar="KEY,KEY", help=f"of each result, among {', '.join(KEYS)} (default: all)")
    many.add_argument(
        "--on-error",
        choices=ON_ERROR,
        help="a bad record ends the run (stop, the default), is left out (skip), or is told in its place (record)",
    )
    many.add_argument("--overwrite", action="store_true", help="replace an output that is there or was begun")
    many.add_argument(
        "--batch",
        action=argparse.BooleanOptionalAction,
        help="records share passes of the encoder (the default), or are read alone, as FILE is, bit for bit",
    )


def check_form(arguments: argparse.Namespace) -> bool:
    """Whether a command line is for many records.

    Raises:
        ReetError: If it is half for one and half for many.
    """
    if arguments.file is not None or arguments.input is None:
        named = ("input", "output", "column", "keys", "on_error", "overwrite", "batch")
        given = [name for name in named if getattr(arguments, name) not in (None, False)]
        if given or arguments.file is None:
            flag = f", but --{given[0].replace('_', '-')} is given" if given else ", got none of them"
            raise ReetError(
                f"compress needs FILE for one input, or --input and --output for many{flag}; name FILE alone, or both "
                "--input and --output."
            )
        return False
    if arguments.output is None:
        raise ReetError("--input needs --output, where the results go; name a file.")
    if "-" in (arguments.input, arguments.output):
        raise ReetError(
            "--input and --output must be files, as a run that was killed reads the one again and goes on in the "
            "other; for one input from standard input use: reet compress -"
        )
    if arguments.keys is not None and arguments.format is not None:
        raise ReetError(f"--format {arguments.format} and --keys both say what is written; leave one of them out.")
    return True


def compress_many(
    arguments: argparse.Namespace, options: Mapping[str, Any], environment: Mapping[str, str], load: Callable[..., Any]
) -> None:
    """Compress a file of records, and say on standard error what came of it.

    Args:
        arguments: Of the command line.
        options: Of each compression.
        environment: Of the process.
        load: Returns the pipeline; takes what else `transformers.pipeline` takes.

    Raises:
        ReetError: As `run.compress_file`.
    """
    next(read_lines(Path(arguments.input)), None)  # before a model is loaded
    device, progress = own_device(environment), shows_progress(environment)
    try:
        counts = compress_file(
            arguments.input,
            arguments.output,
            load(**({} if device is None else {"device": device})),
            query=arguments.query,
            column=arguments.column,
            keys=OF_FORMAT[arguments.format] if arguments.keys is None else arguments.keys.split(","),
            on_error=arguments.on_error or "stop",
            batch=arguments.batch is not False,
            overwrite=arguments.overwrite,
            progress=progress,
            environment=environment,
            **options,
        )
    except KeyboardInterrupt:
        again = " without --overwrite" if arguments.overwrite else ""
        print(f"reet: stopped; repeat the command{again} to go on.", file=sys.stderr)
        sys.exit(130)
    if progress:
        print(summary(counts, arguments), file=sys.stderr)


def summary(counts: Counts, arguments: argparse.Namespace) -> str:
    """What came of a run, in a line."""
    failed = ""
    if counts.failed:
        numbers = ", ".join(map(str, counts.failures)) + (", ..." if counts.failed > len(counts.failures) else "")
        what = "have an error in their place" if arguments.on_error == "record" else "are left out"
        failed = f"; {counts.failed:,} {what}: {place_name(Path(arguments.input))} {numbers}"
    tokens = f"{counts.original:,} -> {counts.compressed:,} tokens"
    return f"{arguments.output}: {counts.records:,} records, {tokens}{failed}"
