"""Rows from CaRB: what sentences state, as extractions of a predicate and its arguments.

Source: https://github.com/dair-iitd/CaRB (`data/gold/dev.tsv` and `test.tsv`; there is no training split). Licence:
MIT for the annotation; the sentences are from Wikipedia, CC BY-SA, and from the Wall Street Journal, which must not
be redistributed. Paper: Bhardwaj, Aggarwal and Mausam, "CaRB: A Crowdsourced Benchmark for Open IE", EMNLP-IJCNLP
2019, https://aclanthology.org/D19-1651.

A row is a sentence, its tokens joined as `tokens.written` says. An entity, of type "argument", is the first argument
of an extraction. A fact reads from the predicate through the second argument, both found word for word in this order,
case ignored, and its relation is the predicate; of several places the shortest counts, then the one nearest to the
entity. An extraction whose words are not found so gives no fact, and a sentence without a fact no row.

    python -m train.data.carb --split validation --output carb-train.parquet
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import product

from train.data import command, sources, tokens
from train.data.extraction_schema import EXTRACTION, entities, facts, may_state
from train.data.schema import Record
from train.data.spans import Border

SOURCE = "dair-iitd/CaRB"
ARCHIVE = f"https://github.com/{SOURCE}/archive/refs/heads/master.zip"
LICENSE = "MIT"
TYPE = "argument"

Fact = tuple[Border, Border, str]
"""The border of the first argument, that of what is said of it, and the predicate."""


def load(split: str, source: str = ARCHIVE) -> Iterator[Record]:
    """The extractions of a split: `{sentence, predicate, arguments}`.

    Args:
        split: "validation" or "test".
        source: A URL, a clone or a part of one, or a file.

    Raises:
        ValueError: for a line without a predicate or a source on the Hub.
    """
    path = sources.local(source)
    if path is None:
        raise ValueError(f"source must be a clone of {SOURCE} or the URL of its archive, but is {source!r}")
    for file in sources.files(path, split, "gold/{split}.tsv", "{split}.tsv"):
        for number, line in enumerate(file.read_text(encoding="utf-8").split("\n"), 1):
            if line.strip():
                sentence, *parts = (part.strip() for part in line.split("\t"))
                if not parts:
                    rule = "must be a sentence, a predicate and arguments, with tabs between them"
                    raise ValueError(f"{file.name}, line {number}: {rule}, but is {line[:80]!r}")
                yield {"sentence": sentence, "predicate": parts[0], "arguments": parts[1:]}


def rows(records: Iterable[Record], split: str = "validation") -> Iterator[Record]:
    """The rows of the records, one per sentence in which a fact was found.

    Args:
        records: As `load` yields them.
        split: Goes into the ids.
    """
    sentences: dict[str, list[Record]] = {}
    for record in records:
        sentences.setdefault(record["sentence"], []).append(record)
    for number, (sentence, extractions) in enumerate(sentences.items()):
        words = sentence.split()
        text, borders = tokens.written(words)
        found = [fact for record in extractions if (fact := _fact(record, words, text, borders))]
        if found:
            yield {
                "id": f"carb-{split}-{number}",
                "source": SOURCE,
                "license": LICENSE,
                "text": text,
                "entities": entities((mention, TYPE, text[slice(*mention)].casefold()) for mention, _, _ in found),
                "facts": facts(found),
            }


def _fact(record: Record, words: Sequence[str], text: str, borders: Sequence[Border]) -> Fact | None:
    """The fact of an extraction, or None if its words are not found."""
    if len(record["arguments"]) < 2:
        return None
    subject, second = record["arguments"][:2]
    possible: list[tuple[int, int, Fact]] = []
    for mentioned, predicate, said in product(
        *(_places(words, part) for part in (subject, record["predicate"], second))
    ):
        mention = tokens.cover(borders[slice(*mentioned)])
        border = borders[predicate[0]][0], borders[said[1] - 1][1]
        if predicate[1] <= said[0] and may_state(text, mention, border):
            gap = max(mention[0] - border[1], border[0] - mention[1])
            possible.append((border[1] - border[0], gap, (mention, border, record["predicate"])))
    return min(possible)[2] if possible else None


def _places(words: Sequence[str], part: str) -> list[tuple[int, int]]:
    """Where the words of a part stand one after the other in those of the sentence."""
    looked_for = part.casefold().split()
    folded = [word.casefold() for word in words]
    ends = range(len(looked_for), len(words) + 1) if looked_for else ()
    return [(end - len(looked_for), end) for end in ends if folded[end - len(looked_for) : end] == looked_for]


if __name__ == "__main__":
    sys.exit(command.run(load, rows, ARCHIVE, schema=EXTRACTION))
