"""The command line that every builder of this folder shares."""

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from train.data.schema import MULTITURN, Record, Schema, write
from train.data.sources import SPLITS

Load = Callable[[str, str], Iterator[Record]]
Rows = Callable[[Iterable[Record], str], Iterator[Record]]


def run(load: Load, rows: Rows, source: str, arguments: Sequence[str] | None = None, schema: Schema = MULTITURN) -> int:
    """The exit status, 0, once the parquet file is written; a mistake exits with status 2 and says which.

    Args:
        load: Yields the original records of a split of a source.
        rows: Turns them into rows.
        source: Where `load` reads when the command line does not say.
        arguments: Those of the command line; default: `sys.argv`.
        schema: What the rows are.
    """
    parser = argparse.ArgumentParser(description="Write the rows of one public data set to a parquet file.")
    parser.add_argument("--split", choices=tuple(SPLITS), default="train")
    parser.add_argument("--output", required=True, help="the parquet file to write")
    parser.add_argument("--source", default=source, help="Hub id, URL, file or folder (default: %(default)s)")
    parser.add_argument("--limit", type=int, help="write at most this many rows")
    given = parser.parse_args(arguments)
    if given.limit is not None and given.limit < 1:
        parser.error(f"--limit must be at least 1, but is {given.limit}")
    try:
        built = rows(load(given.split, given.source), given.split)
        counts = write(islice(built, given.limit), given.output, schema)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    except KeyError as error:
        parser.error(f"--source must hold records in the original schema, but {given.source!r} lacks {error}")
    written = ", ".join(f"{count} {name}" for count, name in zip(counts, ("rows", *schema.counted), strict=True))
    print(f"{given.output}: {written}", file=sys.stderr)
    return 0
