"""Texts that a model is to label: read from JSON lines or parquet, and cut at the borders of sentences."""

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import pyarrow.parquet as pq

from reet_hf.segmentation import blocks, sentences, words

UNKNOWN = "unknown"
COLUMNS = ("id", "source", "license", "text", "messages")

_Number = TypeVar("_Number", int, float)


@dataclass(frozen=True)
class Text:
    """One text, or a piece of one.

    Attributes:
        id: Occurs once in a file.
        text: What is labelled; never blank.
        source: Where it comes from.
        license: Under which its labels may be passed on; `UNKNOWN` where the input does not say.
    """

    id: str
    text: str
    source: str
    license: str


def read(path: str | Path, limit: int | None = None, license: str = UNKNOWN) -> list[Text]:
    """The texts of a file, in order.

    A row without an id gets its number, one without a source the name of the file.

    Args:
        path: JSON lines with `text`, or a parquet file with a column `text` or, as in `train.data.schema`, `messages`,
            which are joined by blank lines, each after its speaker's name and a colon where it has a name. Both may
            have `id`, `source` and `license`.
        limit: Most texts that are read; default: all.
        license: Of rows that name none.

    Raises:
        ValueError: For a file that is missing or of another form, a blank text, or an id that occurs twice.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"INPUT must be a file of JSON lines or parquet, but {str(path)!r} is none: check the path")
    records = _parquet(path) if path.suffix == ".parquet" else _json_lines(path)
    found = [_text(record, number, path, license) for number, record in enumerate(islice(records, limit))]
    if not found:
        raise ValueError(f"INPUT must hold texts, but {str(path)!r} is empty: check what made it")
    return distinct(found)


def distinct(found: list[Text]) -> list[Text]:
    """The same texts, when no id occurs twice.

    Raises:
        ValueError: Names the id.
    """
    seen: set[str] = set()
    for text in found:
        if text.id in seen:
            raise ValueError(f"INPUT: an id must occur once, but {text.id!r} comes twice: rename one of the two")
        seen.add(text.id)
    return found


def pieces(text: Text, most: int) -> list[Text]:
    """A text as it is if it has at most `most` words, else in pieces `ID#0`, `ID#1`, ... (see `runs`)."""
    places = runs(text.text, most, lambda part: len(words(part)))
    if len(places) < 2:
        return [text]
    return [
        replace(text, id=f"{text.id}#{number}", text=text.text[start:end]) for number, (start, end) in enumerate(places)
    ]


def runs(text: str, most: int, size: Callable[[str], int]) -> list[tuple[int, int]]:
    """Half-open characters of runs of whole sentences, each as long as `most` allows.

    Code, tables and JSON are not cut. A sentence that is longer than `most` is a run of its own.

    Args:
        text: Any text.
        most: Largest size of a run of several sentences.
        size: Of a stretch of text, such as its number of words.
    """
    found: list[tuple[int, int]] = []
    held = 0
    for start, end in _sentences(text):
        new = size(text[start:end])
        if found and held + new <= most:
            found[-1], held = (found[-1][0], end), held + new
        else:
            found.append((start, end))
            held = new
    return found


def _sentences(text: str) -> Iterator[tuple[int, int]]:
    for start, end, kind in blocks(text):
        inner = sentences(text[start:end]) if kind == "text" else [(0, end - start)]
        yield from ((start + a, start + b) for a, b in inner)


def _parquet(path: Path) -> Iterator[Any]:
    try:
        file = pq.ParquetFile(path)
    except ValueError as error:  # pyarrow's own errors are of this kind
        raise ValueError(f"INPUT must be parquet if it ends so, but {str(path)!r} is not ({error})") from error
    with file:
        names = [name for name in COLUMNS if name in file.schema_arrow.names]
        if "text" not in names and "messages" not in names:
            raise ValueError(
                f"INPUT must have a column 'text' or 'messages', but {str(path)!r} has only "
                f"{', '.join(file.schema_arrow.names)}: rename the one with the text"
            )
        for batch in file.iter_batches(batch_size=500, columns=names):
            yield from batch.to_pylist()


def _json_lines(path: Path) -> Iterator[Any]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                try:
                    yield json.loads(line)
                except ValueError as error:
                    raise ValueError(
                        f"INPUT must hold one JSON object per line, but line {number} of {str(path)!r} is not JSON "
                        f"({error}): check what made it"
                    ) from error


def _text(record: Any, number: int, path: Path, license: str) -> Text:
    if not isinstance(record, Mapping):
        raise ValueError(f"INPUT must hold objects with `text`, but row {number} of {str(path)!r} is {record!r:.80}")
    text = _joined(record["messages"]) if record.get("messages") else record.get("text")
    if not isinstance(text, str) or not text.strip():
        raise ValueError(
            f"INPUT: `text` must be a string that is not blank, but in row {number} of {str(path)!r} is {text!r:.80}: "
            "leave such rows out"
        )
    fields = {"id": str(number), "source": path.stem, "license": license}
    return Text(text=text, **{name: str(_given(record.get(name), default)) for name, default in fields.items()})


def _given(value: Any, default: str) -> Any:
    return default if value is None or value == "" else value


def _joined(messages: Sequence[Mapping[str, str]]) -> str:
    named = (f"{message['name']}: " if message.get("name") else "" for message in messages)
    return "\n\n".join(name + message["content"] for name, message in zip(named, messages, strict=True))


def counted(number: int, word: str) -> str:
    """A number with its noun, such as "1 row" or "2,000 rows"."""
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say which texts are labelled, and where the rows go."""
    parser.add_argument("input", metavar="INPUT", help="JSON lines {id, text[, source, license]}, or parquet")
    parser.add_argument("--output", required=True, type=_in_folder, help="the parquet file to write")
    parser.add_argument("--limit", type=at_least(1), help="read at most this many texts")
    parser.add_argument(
        "--license", default=UNKNOWN, help="of the texts whose rows do not name one (default: %(default)s)"
    )


def at_least(least: _Number) -> Callable[[str], _Number]:
    """What turns a word of the command line into a number of the kind of `least` and not below it."""

    def number(value: str) -> _Number:
        try:
            found = type(least)(value)
        except ValueError:
            found = None
        if found is None or not found >= least:
            kind = "a whole number" if isinstance(least, int) else "a number"
            raise argparse.ArgumentTypeError(f"must be {kind} of at least {least}, but is {value!r}: change it")
        return found

    return number


def _in_folder(value: str) -> str:
    if not Path(value).parent.is_dir():
        raise argparse.ArgumentTypeError(f"must be a file in a folder that exists, but is {value!r}: make the folder")
    return value
