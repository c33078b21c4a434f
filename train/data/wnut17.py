"""Rows from WNUT 2017: entities that are new and rare, in tweets and comments of users.

Source: https://github.com/leondz/emerging_entities_17 (`wnut17train.conll`, `emerging.dev.conll` and
`emerging.test.annotated`), or `leondz/wnut_17` on the Hub. Licence: CC BY 4.0, with attribution; the terms of the
platforms apply to the texts. Paper: Derczynski, Nichols, van Erp and Limsopatham, "Results of the WNUT2017
Shared Task on Novel and Emerging Entity Recognition", W-NUT 2017, https://aclanthology.org/W17-4418.

A row is a tweet or comment with at least one entity, its tokens joined as `tokens.written` says. There are no
facts.

    python -m train.data.wnut17 --split train --output wnut17-train.parquet
"""

import sys
from collections.abc import Iterable, Iterator
from itertools import chain

from train.data import command, sources, tokens
from train.data.extraction_schema import EXTRACTION
from train.data.schema import Record

SOURCE = "leondz/emerging_entities_17"
ARCHIVE = f"https://github.com/{SOURCE}/archive/refs/heads/master.zip"
LICENSE = "CC BY 4.0"


def load(split: str, source: str = ARCHIVE) -> Iterator[Record]:
    """The texts of a split: `{tokens, tags}`.

    Args:
        split: "train", "validation" or "test".
        source: A URL, a clone or a part of one, a file, or a Hub id.
    """
    path = sources.local(source)
    if path is None:
        return tokens.hub(source, split)
    names = ("wnut17{split}.conll", "emerging.{split}.conll", "emerging.{split}.annotated")
    return chain.from_iterable(map(tokens.conll, sources.files(path, split, *names)))


def rows(records: Iterable[Record], split: str = "train") -> Iterator[Record]:
    """The rows of the records; a text without an entity gives none.

    Args:
        records: As `load` yields them.
        split: Goes into the ids.
    """
    for number, record in enumerate(records):
        text, entities = tokens.tagged(record["tokens"], record["tags"])
        if entities:
            yield {
                "id": f"wnut17-{split}-{number}",
                "source": SOURCE,
                "license": LICENSE,
                "text": text,
                "entities": entities,
                "facts": [],
            }


if __name__ == "__main__":
    sys.exit(command.run(load, rows, ARCHIVE, schema=EXTRACTION))
