"""Rows from DialogRE: who is what to whom in dialogues of the series Friends.

Source: https://github.com/nlpdata/dialogre, `data_v2/en/data/train.json`, `dev.json` and `test.json`. Licence: for
non-commercial research only, so no weights that ship may be trained on it. Paper: Yu, Sun, Cardie and Yu,
"Dialogue-Based Relation Extraction", ACL 2020, https://arxiv.org/abs/2004.08056.

A row is a dialogue, one turn per line. An entity is a place where an argument of a relation stands as whole words, as
it is written there or, if that is nowhere, in any case; one argument is one cluster, also where relations say that two
are names of the same person. A fact is the shortest stretch of what one turn says that has a relation's trigger and
its object; its entity is the nearest mention of the subject, at most three turns away, often the name of a speaker.
Relations without a trigger give none.

    python -m train.data.dialogre --split validation --output dialogre-dev.parquet
"""

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import product

from train.data import command, sources
from train.data.extraction_schema import EXTRACTION, entities, facts, may_state
from train.data.schema import Record
from train.data.spans import Border

SOURCE = "nlpdata/dialogre"
ARCHIVE = f"https://github.com/{SOURCE}/archive/refs/heads/master.zip"
LICENSE = "research use only"
TURNS = 3
"""How far a fact's entity may be from it."""

Turn = tuple[int, Border]
"""The number of a turn, and where what it says stands in the text, the speaker left out."""


def load(split: str, source: str = ARCHIVE) -> Iterator[Record]:
    """The dialogues of a split: `{turns, relations}`; a relation is `{x, y, x_type, y_type, r, rid, t}`.

    Args:
        split: "train", "validation" or "test".
        source: A URL, a clone or a part of one, or a file.

    Raises:
        ValueError: for a source on the Hub.
    """
    path = sources.local(source)
    if path is None:
        raise ValueError(f"source must be a clone of {SOURCE} or the URL of its archive, but is {source!r}")
    for file in sources.files(path, split, "data_v2/en/data/{split}.json", "{split}.json"):
        for turns, relations in sources.read_json(file):
            yield {"turns": turns, "relations": relations}


def rows(records: Iterable[Record], split: str = "train") -> Iterator[Record]:
    """The rows of the records; a dialogue without an entity gives none.

    Args:
        records: As `load` yields them.
        split: Goes into the ids.
    """
    for number, record in enumerate(records):
        text = "\n".join(record["turns"])
        types: dict[str, str] = {}
        for relation in record["relations"]:
            types.setdefault(relation["x"], relation["x_type"])
            types.setdefault(relation["y"], relation["y_type"])
        places = {name: _places(text, name) for name in types}
        if any(places.values()):
            yield {
                "id": f"dialogre-{split}-{number}",
                "source": SOURCE,
                "license": LICENSE,
                "text": text,
                "entities": entities((place, types[name], name) for name in types for place in places[name]),
                "facts": facts(_facts(record, text, places)),
            }


def _facts(record: Record, text: str, places: dict[str, list[Border]]) -> Iterator[tuple[Border, Border, str]]:
    turns = _turns(record["turns"])
    for relation in record["relations"]:
        for name, trigger in zip(relation["r"], relation["t"], strict=True):
            triggers = _places(text, trigger)
            possible = [
                (said[1] - said[0], max(mention[0] - said[1], said[0] - mention[1]), mention, said)
                for number, turn in turns
                for said in _said(turn, triggers, places[relation["y"]])
                for mention in _near(turns, number, places[relation["x"]])
                if may_state(text, mention, said)
            ]
            if possible:
                _, _, mention, border = min(possible)
                yield mention, border, name


def _turns(turns: Sequence[str]) -> list[Turn]:
    found, start = [], 0
    for number, turn in enumerate(turns):
        found.append((number, (start + turn.find(":") + 1, start + len(turn))))
        start += len(turn) + 1
    return found


def _said(turn: Border, triggers: Sequence[Border], objects: Sequence[Border]) -> Iterator[Border]:
    """The stretches of a turn from a trigger to an object, or the other way round."""
    inside = [[place for place in some if turn[0] <= place[0] and place[1] <= turn[1]] for some in (triggers, objects)]
    for one, other in product(*inside):
        yield min(one[0], other[0]), max(one[1], other[1])


def _near(turns: Sequence[Turn], number: int, mentions: Sequence[Border]) -> list[Border]:
    """The mentions at most `TURNS` turns away from a turn, names of speakers included."""
    first, last = max(0, number - TURNS), min(len(turns) - 1, number + TURNS)
    start = turns[first - 1][1][1] if first else 0
    return [place for place in mentions if start <= place[0] and place[1] <= turns[last][1][1]]


def _places(text: str, words: str) -> list[Border]:
    """Where the words stand as whole words: as they are written or, if nowhere, in any case."""
    if not words.strip():
        return []
    pattern = rf"(?<!\w){re.escape(words.strip())}(?!\w)"
    exact = [found.span() for found in re.finditer(pattern, text)]
    return exact or [found.span() for found in re.finditer(pattern, text, re.IGNORECASE)]


if __name__ == "__main__":
    sys.exit(command.run(load, rows, ARCHIVE, schema=EXTRACTION))
