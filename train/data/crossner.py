"""Rows from CrossNER: entities of five domains of Wikipedia, with types of their own.

Source: https://github.com/zliucr/CrossNER (`ner_data/DOMAIN/train.txt`, `dev.txt` and `test.txt`), or
`DFKI-SLT/cross_ner` on the Hub. Licence: MIT for the annotation; the text is Wikipedia's, CC BY-SA. Paper: Liu et
al., "CrossNER: Evaluating Cross-Domain Named Entity Recognition", AAAI 2021, https://arxiv.org/abs/2012.04373.

A row is a sentence with at least one entity, its tokens joined as `tokens.written` says. There are no facts. The
sixth folder, `conll2003`, is left out: its texts are Reuters', under terms of their own.

    python -m train.data.crossner --split train --output crossner-train.parquet
"""

import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import count

from train.data import command, sources, tokens
from train.data.extraction_schema import EXTRACTION
from train.data.schema import Record

SOURCE = "zliucr/CrossNER"
ARCHIVE = f"https://github.com/{SOURCE}/archive/refs/heads/main.zip"
LICENSE = "MIT"
DOMAINS = ("ai", "literature", "music", "politics", "science")


def load(split: str, source: str = ARCHIVE) -> Iterator[Record]:
    """The sentences of a split, domain by domain: `{domain, tokens, tags}`.

    Args:
        split: "train", "validation" or "test".
        source: A URL, a clone or a part of one, a file in the folder of its domain, or a Hub id.

    Raises:
        ValueError: if none of the files stands in the folder of a domain.
    """
    path = sources.local(source)
    if path is None:
        for domain in DOMAINS:
            for sentence in tokens.hub(source, split, domain):
                yield {"domain": domain, **sentence}
        return
    files = [file for file in sources.files(path, split, "{split}.txt") if file.absolute().parent.name in DOMAINS]
    if not files:
        raise ValueError(f"source must hold files in folders named {', '.join(DOMAINS)}, but {source!r} has none")
    for file in files:
        for sentence in tokens.conll(file):
            yield {"domain": file.absolute().parent.name, **sentence}


def rows(records: Iterable[Record], split: str = "train") -> Iterator[Record]:
    """The rows of the records; a sentence without an entity gives none.

    Args:
        records: As `load` yields them.
        split: Goes into the ids.
    """
    numbers: defaultdict[str, Iterator[int]] = defaultdict(count)
    for record in records:
        number = next(numbers[record["domain"]])
        text, entities = tokens.tagged(record["tokens"], record["tags"])
        if entities:
            yield {
                "id": f"crossner-{record['domain']}-{split}-{number}",
                "source": SOURCE,
                "license": LICENSE,
                "text": text,
                "entities": entities,
                "facts": [],
            }


if __name__ == "__main__":
    sys.exit(command.run(load, rows, ARCHIVE, schema=EXTRACTION))
