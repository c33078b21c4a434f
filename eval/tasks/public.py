"""What the tasks of public benchmarks share: their records, from the Hub or a folder, and rows of the usual schema.

A benchmark's file says where its records come from, makes rows of them, and asks and grades as the original does. A row
has the context as messages; what was kept of it takes its place in the benchmark's prompt. Fields of the benchmark's
own go along in the row and in its questions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from reet_hf.errors import ReetError

ENDINGS = (".jsonl", ".json", ".parquet")
MOST_PLACES = 64  # of one answer

Record = dict[str, Any]
Place = dict[str, int]


def records(data: str | None, name: str, *, repository: str, config: str | None = None, split: str = "test") -> Any:
    """The records of one set of a benchmark, in their order.

    Args:
        data: A folder that has the set as `<name>.jsonl`, `.json` or `.parquet`, the Hub id of a data set with the same
            configurations, or nothing for the benchmark's own.
        name: The set's name, and that of its file in a folder.
        repository: Hub id of the benchmark.
        config, split: Where the set is there.

    Raises:
        ReetError: If it can be read from neither.
    """
    if data and Path(data).is_dir():
        return read_file(file_of(Path(data), name))
    from datasets import load_dataset

    place = data or repository
    try:
        return load_dataset(place, config, split=split).to_list()
    except Exception as error:
        raise ReetError(
            f"`data` must be a folder with {name}.jsonl or the Hub id of a data set; {place!r} is no folder, and "
            f"loading it from the Hub failed: {error} Offline, download {repository} and name its folder."
        ) from error


def file_of(folder: Path, name: str) -> Path:
    """The file of a set in a folder.

    Raises:
        ReetError: If there is none.
    """
    found = [folder / f"{name}{ending}" for ending in ENDINGS if (folder / f"{name}{ending}").is_file()]
    if not found:
        there = ", ".join(sorted(path.name for path in folder.iterdir())[:20]) or "nothing"
        raise ReetError(
            f"`data` must have a file {name}.jsonl, .json or .parquet, but {folder} has {there}; export the set under "
            "that name."
        )
    return found[0]


def read_file(path: Path) -> list[Record]:
    """Records of a file: JSON lines, a JSON list (or an object with its list in `data`), or parquet.

    Raises:
        ReetError: If it is none of these.
    """
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    return parsed(path.read_text(encoding="utf-8"), path)


def parsed(text: str, path: Path) -> list[Record]:
    """The records in the text of a file, see `read_file`.

    Raises:
        ReetError: If it is not JSON, or no list of records.
    """
    try:
        if path.suffix == ".jsonl":
            found: Any = [json.loads(line) for line in text.split("\n") if line.strip()]
        else:
            found = json.loads(text)
            found = found["data"] if isinstance(found, Mapping) and "data" in found else found
    except json.JSONDecodeError as error:
        raise ReetError(f"`data` must be JSON, but {path} is broken: {error}; download it again.") from error
    if not isinstance(found, list) or not all(isinstance(each, Mapping) for each in found):
        raise ReetError(f"`data` must be a list of records, but {path} is none; export one JSON object a line.")
    return found


def require(record: Mapping[str, Any], fields: Sequence[str], name: str) -> None:
    """Nothing, if a record has these fields.

    Raises:
        ReetError: If it has not.
    """
    missing = [field for field in fields if field not in record]
    if missing:
        raise ReetError(
            f"`data` must have records with {', '.join(fields)}, but {name} lacks {', '.join(missing)} (it has "
            f"{', '.join(map(str, record)) or 'nothing'}); is it another version of the benchmark?"
        )


def sample(rows: list[Record], count: int | None) -> list[Record]:
    """All rows, or `count` of them in their order: the same ones every time."""
    if count is None or len(rows) <= count:
        return rows
    chosen = np.random.default_rng(0).permutation(len(rows))[:count]
    return [rows[place] for place in sorted(chosen)]


def document(text: str) -> dict[str, str]:
    """A message without a label."""
    return {"role": "document", "name": "", "content": text}


def places(texts: Sequence[str], answers: Sequence[str], whole_words: bool = True) -> list[Place]:
    """Where answers stand in texts, letter case left aside, the first `MOST_PLACES`; empty where they do not.

    Args:
        texts: One for each message.
        answers: Acceptable ones.
        whole_words: Whether an answer must begin and end at the border of a word.
    """
    found: list[Place] = []
    for answer in dict.fromkeys(each.strip() for each in answers):
        for place in _standing(texts, answer, whole_words):
            found.append(place)
            if len(found) == MOST_PLACES:
                return found
    return found


def places_within(texts: Sequence[str], spans: Sequence[Place], answers: Sequence[str]) -> list[Place]:
    """Where answers stand in parts of texts, as `places` finds them.

    Args:
        texts: One for each message.
        spans: The parts, such as the evidence: what stands elsewhere by chance is no answer.
        answers: Acceptable ones.
    """
    parts = [texts[span["message"]][span["start"] : span["end"]] for span in spans]
    found = []
    for place in places(parts, answers):
        span = spans[place["message"]]
        first = span["start"]
        found.append({"message": span["message"], "start": first + place["start"], "end": first + place["end"]})
    return found


def _standing(texts: Sequence[str], answer: str, whole_words: bool) -> Iterator[Place]:
    if not answer:
        return
    border = (r"(?<!\w)" if answer[0].isalnum() else "", r"(?!\w)" if answer[-1].isalnum() else "")
    first, last = border if whole_words else ("", "")
    pattern = re.compile(first + re.escape(answer) + last, re.IGNORECASE)
    for number, text in enumerate(texts):
        for match in pattern.finditer(text):
            yield {"message": number, "start": match.start(), "end": match.end()}
