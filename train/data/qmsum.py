"""Rows from QMSum: questions about long meetings, with the turns that answer them.

Source: https://github.com/Yale-LILY/QMSum, one JSON file per meeting under `data/ALL`, or a Hub mirror that
keeps its fields. Licence: MIT, but the README asks "please limit it to research purposes"; the transcripts
come from AMI and ICSI (CC BY 4.0) and from parliamentary committees. Paper: Zhong et al., "QMSum: A New
Benchmark for Query-based Multi-domain Meeting Summarization", NAACL 2021, https://arxiv.org/abs/2104.05938.

A row is a meeting, one message per turn, its speakers named users. Marks of sounds and slips such as
`{vocalsound}` are left out, and so are turns of nothing else. All answers are abstractive. The evidence of
a question is its turns; questions on the whole meeting have none and come last.

    python -m train.data.qmsum --split train --output qmsum-train.parquet
"""

import json
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from train.data import command, sources, spans
from train.data.schema import Record

SOURCE = "Yale-LILY/QMSum"
ARCHIVE = f"https://github.com/{SOURCE}/archive/refs/heads/main.zip"
LICENSE = "MIT; the authors ask for research use only"
_MARK = re.compile(r"\s*\{\w+\}")


def load(split: str, source: str = ARCHIVE) -> Iterator[Record]:
    """The records of a split: `{meeting_transcripts, specific_query_list, general_query_list, topic_list}`.

    Each also has a `meeting_id`: the name of its file, or its number in a file of many or on the Hub.

    Args:
        split: "train", "validation" or "test".
        source: A URL, a clone or a part of one, a JSON or JSONL file, or a Hub id.
    """
    path = sources.local(source)
    if path is None:
        yield from _numbered(sources.hub(source, split))
        return
    for file in sources.files(path, split, "data/ALL/{split}/*.json", "{split}/*.json", "{split}.jsonl"):
        if file.suffix == ".jsonl":
            yield from _numbered(_read_lines(file))
        else:
            yield {"meeting_id": file.stem, **sources.read_json(file)}


def rows(records: Iterable[Record], split: str = "train") -> Iterator[Record]:
    """The rows of the records, one per meeting.

    Args:
        records: As `load` yields them.
        split: Goes into the ids.
    """
    for record in records:
        messages: list[Record] = []
        turns: dict[int, spans.Span] = {}
        for number, turn in enumerate(record["meeting_transcripts"]):
            if content := _MARK.sub("", turn["content"]).strip():
                turns[number] = spans.whole(len(messages), content)
                messages.append({"role": "user", "name": turn["speaker"].strip(), "content": content})
        queries = [*record["specific_query_list"], *record["general_query_list"]]
        yield {
            "id": f"qmsum-{split}-{record['meeting_id']}",
            "source": SOURCE,
            "license": LICENSE,
            "messages": messages,
            "questions": sorted((_question(query, turns) for query in queries), key=_first_turn),
        }


def _question(query: Record, turns: dict[int, spans.Span]) -> Record:
    """The question of a query; its pairs of numbers, written as strings, include their last turn."""
    numbers: set[int] = set()
    for first, last in query.get("relevant_text_span") or []:
        numbers.update(range(int(first), int(last) + 1))
    return {
        "question": query["query"].strip(),
        "answers": [query["answer"].strip()],
        "kind": "abstractive",
        "answer_spans": [],
        "evidence": [turns[number] for number in sorted(numbers & turns.keys())],
    }


def _first_turn(question: Record) -> float:
    return question["evidence"][0]["message"] if question["evidence"] else float("inf")


def _read_lines(path: Path) -> Iterator[Record]:
    with path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def _numbered(records: Iterable[Record]) -> Iterator[Record]:
    for number, record in enumerate(records):
        yield {"meeting_id": str(number), **record}


if __name__ == "__main__":
    sys.exit(command.run(load, rows, ARCHIVE))
