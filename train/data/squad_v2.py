"""Rows from SQuAD 2.0: questions on paragraphs of Wikipedia, a third of them without an answer.

Source: `rajpurkar/squad_v2` on the Hub, or the original `train-v2.0.json` and `dev-v2.0.json`. Licence: CC
BY-SA 4.0, so derived text stays under it, with attribution. Paper: Rajpurkar, Jia and Liang, "Know What You
Don't Know: Unanswerable Questions for SQuAD", ACL 2018, https://arxiv.org/abs/1806.03822.

A row is a run of consecutive paragraphs of one article, one message each, of about 1,500 words at most,
with all their questions in order. The evidence is the sentence around each answer.

    python -m train.data.squad_v2 --split train --output squad_v2-train.parquet
"""

import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain, count, groupby
from math import ceil
from operator import itemgetter

from train.data import command, sources, spans
from train.data.schema import Record, document

SOURCE = "rajpurkar/squad_v2"
LICENSE = "CC BY-SA 4.0"
WORDS = 1500


def load(split: str, source: str = SOURCE) -> Iterator[Record]:
    """The records of a split: `{id, title, context, question, answers: {text, answer_start}}`.

    Args:
        split: "train" or "validation".
        source: A Hub id, or a file or folder with JSON in the original format.
    """
    path = sources.local(source)
    if path is None:
        return sources.hub(source, split)
    return chain.from_iterable(map(sources.squad, sources.files(path, split, "{split}*.json")))


def rows(records: Iterable[Record], split: str = "train") -> Iterator[Record]:
    """The rows of the records, which come article by article and paragraph by paragraph.

    Args:
        records: As `load` yields them.
        split: Goes into the ids.
    """
    numbers: defaultdict[str, Iterator[int]] = defaultdict(count)
    for title, article in groupby(records, key=itemgetter("title")):
        paragraphs: dict[str, list[Record]] = {}
        for record in article:
            paragraphs.setdefault(record["context"], []).append(record)
        contents = list(paragraphs)
        sizes = [len(content.split()) for content in contents]
        for window in spans.windows(sizes, max(1, ceil(sum(sizes) / WORDS))):
            inside = [contents[index] for index in window]
            asked = [(message, record) for message, text in enumerate(inside) for record in paragraphs[text]]
            yield {
                "id": f"squad_v2-{split}-{title}#{next(numbers[title])}",
                "source": SOURCE,
                "license": LICENSE,
                "messages": [document(content) for content in inside],
                "questions": [_question(message, record) for message, record in asked],
            }


def _question(message: int, record: Record) -> Record:
    texts, starts = record["answers"]["text"], record["answers"]["answer_start"]
    borders = [(start, start + len(text)) for text, start in zip(texts, starts, strict=True)]
    evidence = [spans.span(message, spans.around(record["context"], border)) for border in borders]
    return {
        "question": record["question"].strip(),
        "answers": list(dict.fromkeys(texts)),
        "kind": "extractive" if texts else "unanswerable",
        "answer_spans": spans.unique(spans.span(message, border) for border in borders),
        "evidence": spans.by_position(evidence),
    }


if __name__ == "__main__":
    sys.exit(command.run(load, rows, SOURCE))
