"""Rows from Re-DocRED: entities of Wikipedia articles and what they are to each other.

Source: https://github.com/tonytan48/Re-DocRED (`data/train_revised.json`, `dev_revised.json` and
`test_revised.json`), or the data set of the same name on the Hub. Licence: MIT for the annotation; the text is
Wikipedia's, CC BY-SA. Papers: Tan et al., "Revisiting DocRED – Addressing the False Negative Problem in Relation
Extraction", EMNLP 2022, https://arxiv.org/abs/2205.12696; Yao et al., "DocRED", ACL 2019,
https://arxiv.org/abs/1906.06127.

A row is a document: each sentence joined as `tokens.written` says, with spaces between sentences. Clusters are
the annotated entities. A fact comes from a relation and a sentence of its evidence that mentions both entities: it
reads from after the head through the tail or, where the tail comes first, from the tail up to the head; of several
pairs of mentions the nearest counts. About half of the relations have no evidence and give none. The relation is
named as in Wikidata.

    python -m train.data.redocred --split train --output redocred-train.parquet
"""

import re
import sys
from collections.abc import Iterable, Iterator
from itertools import product

from train.data import command, sources, tokens
from train.data.extraction_schema import EXTRACTION, entities, facts, may_state
from train.data.schema import Record
from train.data.spans import Border

SOURCE = "tonytan48/Re-DocRED"
ARCHIVE = f"https://github.com/{SOURCE}/archive/refs/heads/main.zip"
LICENSE = "MIT"

_NAMES = """
P6 head of government; P17 country; P19 place of birth; P20 place of death; P22 father; P25 mother; P26 spouse;
P27 country of citizenship; P30 continent; P31 instance of; P35 head of state; P36 capital; P37 official language;
P39 position held; P40 child; P50 author; P54 member of sports team; P57 director; P58 screenwriter; P69 educated at;
P86 composer; P102 member of political party; P108 employer; P112 founded by; P118 league; P123 publisher;
P127 owned by; P131 located in the administrative territorial entity; P136 genre; P137 operator; P140 religion;
P150 contains administrative territorial entity; P155 follows; P156 followed by; P159 headquarters location;
P161 cast member; P162 producer; P166 award received; P170 creator; P171 parent taxon; P172 ethnic group;
P175 performer; P176 manufacturer; P178 developer; P179 series; P190 sister city; P194 legislative body;
P205 basin country; P206 located in or next to body of water; P241 military branch; P264 record label;
P272 production company; P276 location; P279 subclass of; P355 subsidiary; P361 part of;
P364 original language of work; P400 platform; P403 mouth of the watercourse; P449 original network; P463 member of;
P488 chairperson; P495 country of origin; P527 has part; P551 residence; P569 date of birth; P570 date of death;
P571 inception; P576 dissolved, abolished or demolished; P577 publication date; P580 start time; P582 end time;
P585 point in time; P607 conflict; P674 characters; P676 lyrics by; P706 located on terrain feature; P710 participant;
P737 influenced by; P740 location of formation; P749 parent organization; P800 notable work; P807 separated from;
P840 narrative location; P937 work location; P1001 applies to jurisdiction; P1056 product or material produced;
P1198 unemployment rate; P1336 territory claimed by; P1344 participant of; P1365 replaces; P1366 replaced by;
P1376 capital of; P1412 languages spoken, written or signed; P1441 present in work; P3373 sibling
"""
RELATIONS: dict[str, str] = dict(re.findall(r"(P\d+) ([^;]+)", " ".join(_NAMES.split())))
"""The names of the 96 relations by their numbers in Wikidata."""

_EDGE = ' ,;:()[]"'

Mention = tuple[int, Border]
"""The number of a sentence and a border in the text."""


def load(split: str, source: str = ARCHIVE) -> Iterator[Record]:
    """The documents of a split: `{title, sents, vertexSet, labels}`.

    Args:
        split: "train", "validation" or "test".
        source: A URL, a clone or a part of one, a file, or a Hub id.
    """
    path = sources.local(source)
    if path is None:
        yield from sources.hub(source, split)
        return
    for file in sources.files(path, split, "{split}_revised.json"):
        yield from sources.read_json(file)


def rows(records: Iterable[Record], split: str = "train") -> Iterator[Record]:
    """The rows of the records, one per document with an entity.

    Args:
        records: As `load` yields them.
        split: Goes into the ids.
    """
    for number, record in enumerate(records):
        text, borders = _text(record["sents"])
        mentions = [[_mention(mention, borders) for mention in entity] for entity in record["vertexSet"]]
        found = entities(
            (border, mention["type"], cluster)
            for cluster, entity in enumerate(record["vertexSet"])
            for mention, (_, border) in zip(entity, mentions[cluster], strict=True)
        )
        if found:
            yield {
                "id": f"redocred-{split}-{number}",
                "source": SOURCE,
                "license": LICENSE,
                "text": text,
                "entities": found,
                "facts": facts(_facts(record["labels"], text, mentions)),
            }


def _text(sentences: list[list[str]]) -> tuple[str, list[list[Border]]]:
    """The text of a document, and the borders of the tokens of each sentence."""
    text, borders = "", []
    for sentence in sentences:
        text += " " if text else ""
        said, places = tokens.written(sentence, len(text))
        text += said
        borders.append(places)
    return text, borders


def _mention(mention: Record, borders: list[list[Border]]) -> Mention:
    sentence, (first, end) = mention["sent_id"], mention["pos"]
    return sentence, tokens.cover(borders[sentence][first:end])


def _facts(labels: list[Record], text: str, mentions: list[list[Mention]]) -> Iterator[tuple[Border, Border, str]]:
    for label in labels:
        relation: str = label["r"]
        for sentence in label["evidence"]:
            heads, tails = (
                [place for number, place in mentions[label[key]] if number == sentence and place[0] < place[1]]
                for key in ("h", "t")
            )
            pairs = [(head, _between(text, head, tail)) for head, tail in product(heads, tails)]
            possible = [
                (border[1] - border[0], head, border) for head, border in pairs if may_state(text, head, border)
            ]
            if possible:
                _, head, border = min(possible)
                yield head, border, RELATIONS.get(relation, relation)


def _between(text: str, head: Border, tail: Border) -> Border:
    """From after the head through the tail or from the tail up to the head, without punctuation at the head's side."""
    if head[1] <= tail[0]:
        gap = text[head[1] : tail[0]]
        return tail[0] - len(gap.lstrip(' ,;:)]"')), tail[1]
    gap = text[tail[1] : head[0]]
    return tail[0], tail[1] + len(gap.rstrip(' ,;:(["'))


if __name__ == "__main__":
    sys.exit(command.run(load, rows, ARCHIVE, schema=EXTRACTION))
