"""Where original records come from: the Hub, an archive on the web, or files in their original format."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datasets import DownloadManager, load_dataset

from train.data.schema import Record

SPLITS = {"train": ("train",), "validation": ("validation", "valid", "val", "dev"), "test": ("test",)}
"""The splits, each with the names that files and folders of the sources have for it."""


def local(source: str) -> Path | None:
    """The file or folder of a source, fetched and unpacked first if it is a URL; None if it is a Hub id.

    Raises:
        ValueError: if the source is neither an existing path, nor a URL, nor shaped like a Hub id.
    """
    path = Path(source).expanduser()
    if path.exists():
        return path
    if source.startswith(("https://", "http://")):
        return Path(DownloadManager().download_and_extract(source))
    if source.startswith((".", "/", "~")) or source.count("/") != 1:
        rule = "must be an existing file or folder, a URL, or a Hub id like 'owner/name'"
        raise ValueError(f"source {rule}, but is {source!r}")
    return None


def files(root: Path, split: str, *patterns: str) -> list[Path]:
    """The files of a split, sorted: those that the first fitting pattern matches, or `root` if it is a file.

    Args:
        root: A folder, searched at every depth, or a file.
        split: One of `SPLITS`.
        patterns: Glob patterns, in which `{split}` stands for each name of the split in turn.

    Raises:
        ValueError: if the split is unknown or nothing matches.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, but is {split!r}")
    if root.is_file():
        return [root]
    tried = [pattern.format(split=name) for pattern in patterns for name in SPLITS[split]]
    for pattern in tried:
        if found := sorted(root.rglob(pattern)):
            return found
    raise ValueError(f"source must hold a file {' or '.join(tried)} for this split, but {str(root)!r} has none")


def hub(repository: str, split: str, converted: bool = False) -> Iterator[Record]:
    """The records of a split of a Hub data set.

    Args:
        repository: The Hub id.
        split: One of `SPLITS`.
        converted: Read the parquet files that the Hub made itself, for a repository that holds a loading
            script: `datasets` runs none since version 4.
    """
    revision = "refs/convert/parquet" if converted else None
    yield from load_dataset(repository, split=split, revision=revision)


def read_json(path: Path) -> Any:
    """The content of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def squad(path: Path) -> Iterator[Record]:
    """The questions of a JSON file in the format of SQuAD 2.0, one flat record each, as the Hub has them."""
    for article in read_json(path)["data"]:
        for paragraph in article["paragraphs"]:
            for asked in paragraph["qas"]:
                answers = asked["answers"]
                yield {
                    "id": asked["id"],
                    "title": article["title"],
                    "context": paragraph["context"],
                    "question": asked["question"],
                    "answers": {key: [answer[key] for answer in answers] for key in ("text", "answer_start")},
                }
