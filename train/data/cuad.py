"""Rows from CUAD, the Contract Understanding Atticus Dataset: the clauses of contracts that lawyers look for.

Source: the JSON of https://github.com/TheAtticusProject/cuad (`data.zip`: `train_separate_questions.json`
and `test.json`), or the mirror `theatticusproject/cuad-qa` on the Hub. Licence: CC BY 4.0, attribution to
The Atticus Project. Paper: Hendrycks, Burns, Chen and Ball, "CUAD: An Expert-Annotated NLP Dataset for
Legal Contract Review", NeurIPS 2021, https://arxiv.org/abs/2103.06268.

A row is a contract, one message per block between blank lines; a contract of more than 4,500 words is cut
into windows of about 3,000. A question is the type of a clause and its published description; clauses that
a contract or window lacks are not asked for. The evidence is the sentence around each answer.

    python -m train.data.cuad --split train --output cuad-train.parquet
"""

import re
import sys
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain, count, groupby
from operator import itemgetter

from train.data import command, sources, spans
from train.data.schema import Record, document
from train.data.spans import Border

SOURCE = "TheAtticusProject/cuad"
ARCHIVE = f"https://github.com/{SOURCE}/raw/main/data.zip"
LICENSE = "CC BY 4.0"
WORDS_UNCUT = 4500
WORDS = 3000
_TEMPLATE = re.compile(r'related to "(.+?)" that should be reviewed by a lawyer\. Details: (.+)', re.DOTALL)


def load(split: str, source: str = ARCHIVE) -> Iterator[Record]:
    """The records of a split: `{id, title, context, question, answers: {text, answer_start}}`.

    Args:
        split: "train" or "test".
        source: A URL, a file or a folder with JSON in the original format, or the Hub id of the mirror.
    """
    path = sources.local(source)
    if path is None:
        return sources.hub(source, split, converted=True)
    return chain.from_iterable(map(sources.squad, sources.files(path, split, "{split}*.json")))


def rows(records: Iterable[Record], split: str = "train") -> Iterator[Record]:
    """The rows of the records, which come contract by contract; a window without a clause gives none.

    Args:
        records: As `load` yields them.
        split: Goes into the ids.
    """
    numbers: defaultdict[str, Iterator[int]] = defaultdict(count)
    for (title, context), contract in groupby(records, key=itemgetter("title", "context")):
        clauses = _clauses(contract)
        blocks = _blocks(context, chain.from_iterable(clauses.values()))
        sizes = [len(context[start:end].split()) for start, end in blocks]
        windows = round(sum(sizes) / WORDS) if sum(sizes) > WORDS_UNCUT else 1
        for window in spans.windows(sizes, windows):
            number = next(numbers[title])
            inside = [blocks[index] for index in window]
            if questions := list(_questions(context, inside, clauses)):
                yield {
                    "id": f"cuad-{split}-{title}#{number}",
                    "source": SOURCE,
                    "license": LICENSE,
                    "messages": [document(context[start:end]) for start, end in inside],
                    "questions": questions,
                }


def _clauses(contract: Iterable[Record]) -> dict[str, list[Border]]:
    """Where in the contract each question is answered: the training file has one record per answer."""
    clauses: dict[str, list[Border]] = {}
    for record in contract:
        found, context = clauses.setdefault(record["question"], []), record["context"]
        for text, start in zip(record["answers"]["text"], record["answers"]["answer_start"], strict=True):
            border = spans.trim(context, (start, start + len(text)))
            if context[start : start + len(text)] != text:
                rule = f"answer_start {start} must be where the answer {text[:80]!r} stands in its context"
                raise ValueError(f"record {record['id']!r}: {rule}, but there is {context[start : start + 80]!r}")
            if border not in found and border[0] < border[1]:
                found.append(border)
    return clauses


def _blocks(context: str, answers: Iterable[Border]) -> list[Border]:
    """The paragraphs of the contract; those that one answer runs through are one, so that it has one span."""
    blocks = spans.paragraphs(context)
    starts = [start for start, _ in blocks]
    joined: set[int] = set()
    for start, end in answers:
        joined.update(range(bisect_right(starts, start), bisect_right(starts, end - 1)))
    merged: list[Border] = []
    for index, (start, end) in enumerate(blocks):
        if index in joined:
            start = merged.pop()[0]
        merged.append((start, end))
    return merged


def _questions(context: str, blocks: list[Border], clauses: dict[str, list[Border]]) -> Iterator[Record]:
    """The questions that these blocks answer, in the order of their first answers."""
    first, last = blocks[0][0], blocks[-1][1]
    inside = {
        question: [border for border in borders if first <= border[0] < last] for question, borders in clauses.items()
    }
    answered = [question for question, borders in inside.items() if borders]
    for question in sorted(answered, key=lambda question: min(inside[question])):
        places = [_place(context, blocks, border) for border in inside[question]]
        yield {
            "question": _wording(question),
            "answers": list(dict.fromkeys(context[start:end] for start, end in inside[question])),
            "kind": "extractive",
            "answer_spans": [answer for answer, _ in places],
            "evidence": spans.by_position(evidence for _, evidence in places),
        }


def _place(context: str, blocks: list[Border], border: Border) -> tuple[spans.Span, spans.Span]:
    """The spans of an answer and of the sentence around it, in the block of the answer."""
    message = bisect_right([start for start, _ in blocks], border[0]) - 1
    start, end = blocks[message]
    answer = (border[0] - start, border[1] - start)
    return spans.span(message, answer), spans.span(message, spans.around(context[start:end], answer))


def _wording(question: str) -> str:
    """The type and description of the clause out of the wording that all questions share, else as it is."""
    found = _TEMPLATE.search(question)
    return ": ".join(part.strip() for part in found.groups()) if found else question.strip()


if __name__ == "__main__":
    sys.exit(command.run(load, rows, ARCHIVE))
