"""Multi-turn retention over any parquet file, folder or Hub data set in the multi-turn schema.

Nothing here belongs to one data set: a row has `id`, `messages` and `questions` (`question`, `answers`, `kind`,
`answer_spans`, `evidence`), as `train/data` builds them from public sources.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from eval.systems.base import Kept
from eval.tasks.public import sample
from reet_hf.errors import ReetError
from reet_hf.metrics import answer_survival, evidence_recall

VERSION = "2"
COLUMNS = ("id", "messages", "questions")

Row = dict[str, Any]


def load(data: str = "", sets: str | None = None, rows: int | None = None) -> dict[str, list[Row]]:
    """Rows by name of their set.

    Args:
        data: A parquet file, a folder of them, or the Hub id of a data set, whose splits are the sets.
        sets: Which of them, as a pattern of the names of splits, or of files without their ending. Without it the
            files `*-dev` of a folder, and all splits but `train`: what a system was trained on is no test.
        rows: At most so many rows of each set: a sample that is the same every time.

    Raises:
        ReetError: If there is nothing to read, or it does not have the columns.
    """
    path = Path(data)
    if not data:
        raise ReetError("`data` must be a parquet file, a folder of them or a Hub id: add --data.")
    folder = path.is_dir()
    wanted = sets or "*-dev"
    files = sorted(path.glob(f"{wanted}.parquet")) if folder else [path] * (path.suffix == ".parquet")
    if folder and not files:
        raise ReetError(
            f"`data` must hold parquet files named {wanted}, but {data} has none; name yours with "
            "--option \"mtr.sets='*'\"."
        )
    found = {file.stem: pq.read_table(file).to_pylist() for file in files} or _from_hub(data, sets)
    return {name: sample(_checked(name, own), rows) for name, own in found.items()}


def _from_hub(data: str, sets: str | None = None) -> dict[str, list[Row]]:
    from datasets import load_dataset

    try:
        splits = load_dataset(data)
    except Exception as error:
        raise ReetError(
            f"`data` must be a parquet file, a folder of them or a data set on the Hub; {data!r} is no file, and "
            f"loading it from the Hub failed: {error}"
        ) from error
    names = [str(name) for name in splits if (fnmatch(str(name), sets) if sets else name != "train")]
    if not names:
        raise ReetError(
            f"`data` must have splits named {sets or 'other than train'}, but {data} has {', '.join(map(str, splits))};"
            " name one with --option mtr.sets=NAME."
        )
    return {name: splits[name].to_list() for name in names}


def _checked(name: str, rows: list[Row]) -> list[Row]:
    missing = [column for column in COLUMNS if rows and column not in rows[0]]
    if missing:
        raise ReetError(f"`data` must have the columns {', '.join(COLUMNS)}; {name} lacks {', '.join(missing)}.")
    return [row for row in rows if row["questions"]]


def score(row: Row, question: Mapping[str, Any], kept: Kept) -> dict[str, float]:
    """Answer survival where the answer stands in the text, evidence recall where evidence is annotated."""
    texts = [message["content"] or "" for message in row["messages"]]
    found: dict[str, float] = {}
    if question["answer_spans"]:
        found["answer_survival"] = answer_survival(texts, question["answer_spans"], kept.pieces)
    if question["evidence"]:
        found["evidence_recall"] = evidence_recall(texts, question["evidence"], kept.pieces)
    return found
