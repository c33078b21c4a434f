"""The extraction schema: a text, its entities, and facts that stand in it.

A row is a dict with `id`, `source`, `license`, `text`, `entities` and `facts`. All spans are half-open
character offsets into `text`. An entity is a mention `{start, end, type, cluster}`: mentions of the same thing
share a `cluster`, numbered from 0 within the row. A fact is `{entity_start, entity_end, start, end, relation}`:
a mention, and one span beside it of at most 30 words that states something about it.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from itertools import count

from datasets import Features, Value

from train.data import schema
from train.data.schema import Record, Require, Schema
from train.data.spans import Border

WORDS = 30
"""The words that a fact has at most."""

FEATURES = Features(
    {
        "id": Value("string"),
        "source": Value("string"),
        "license": Value("string"),
        "text": Value("string"),
        "entities": [
            {"start": Value("int32"), "end": Value("int32"), "type": Value("string"), "cluster": Value("int32")}
        ],
        "facts": [
            {
                "entity_start": Value("int32"),
                "entity_end": Value("int32"),
                "start": Value("int32"),
                "end": Value("int32"),
                "relation": Value("string"),
            }
        ],
    }
)
"""The schema for `datasets`; `FEATURES.arrow_schema` is that of the parquet files."""

_ENTITY_FIELDS = ("start", "end", "type", "cluster")
_FACT_FIELDS = ("entity_start", "entity_end", "start", "end", "relation")


def entities(found: Iterable[tuple[Border, str, Hashable]]) -> list[Record]:
    """The mentions in the order of the text, clusters numbered as they come; of those at one place the first.

    Args:
        found: Border, type, and what mentions of the same thing have in common. Empty borders are left out.
    """
    numbers: defaultdict[Hashable, int] = defaultdict(count().__next__)
    placed: dict[Border, tuple[str, Hashable]] = {}
    for border, own_type, cluster in found:
        if border[0] < border[1]:
            placed.setdefault(border, (own_type, cluster))
    return [
        {"start": border[0], "end": border[1], "type": own_type, "cluster": numbers[cluster]}
        for border, (own_type, cluster) in sorted(placed.items(), key=lambda item: item[0])
    ]


def facts(found: Iterable[tuple[Border, Border, str]]) -> list[Record]:
    """The facts in the order of the text, without repetitions.

    Args:
        found: Border of the mention, border of what is said, and relation.
    """
    return [
        dict(zip(_FACT_FIELDS, (*mention, *border, relation), strict=True))
        for mention, border, relation in sorted(set(found))
    ]


def may_state(text: str, mention: Border, border: Border) -> bool:
    """Whether a border of the text can be a fact of a mention: beside it, and of 1 to `WORDS` words."""
    disjoint = border[1] <= mention[0] or mention[1] <= border[0]
    return disjoint and 0 < len(text[slice(*border)].split()) <= WORDS


def validate(row: Record) -> None:
    """Nothing, when the row keeps every rule of the schema.

    Raises:
        ValueError: names the row's id, the field, the rule and the value.
    """
    require = schema.requirement(row, FEATURES)
    schema.require_text(require, "text", row["text"])
    mentions: set[Border] = set()
    for index, entity in enumerate(row["entities"]):
        mentions.add(_validate_entity(require, f"entities[{index}]", entity, row["text"], mentions))
    seen: set[tuple[int | str, ...]] = set()
    for index, fact in enumerate(row["facts"]):
        place = f"facts[{index}]"
        _validate_fact(require, place, fact, row["text"], mentions)
        values = tuple(fact[key] for key in _FACT_FIELDS)
        require(place, values not in seen, "must occur once in a row", fact)
        seen.add(values)


EXTRACTION = Schema(FEATURES, validate, ("entities", "facts"))


def _validate_entity(require: Require, field: str, entity: Record, text: str, before: set[Border]) -> Border:
    schema.require_fields(require, field, entity, _ENTITY_FIELDS)
    border = _validate_border(require, field, entity, ("start", "end"), text)
    schema.require_text(require, f"{field}.type", entity["type"])
    schema.require_integers(require, field, entity, ("cluster",))
    require(f"{field}.cluster", entity["cluster"] >= 0, "must be at least 0", entity["cluster"])
    require(field, border not in before, "must stand where no other entity of the row stands", entity)
    return border


def _validate_fact(require: Require, field: str, fact: Record, text: str, mentions: set[Border]) -> None:
    schema.require_fields(require, field, fact, _FACT_FIELDS)
    mention = _validate_border(require, field, fact, ("entity_start", "entity_end"), text)
    require(field, mention in mentions, "must be about one of the entities", fact)
    border = _validate_border(require, field, fact, ("start", "end"), text)
    said = text[slice(*border)]
    require(field, len(said.split()) <= WORDS, f"must have at most {WORDS} words", said)
    require(field, may_state(text, mention, border), "must have no character in common with its entity", fact)
    schema.require_text(require, f"{field}.relation", fact["relation"])


def _validate_border(
    require: Require, field: str, value: Mapping[str, int], keys: tuple[str, str], text: str
) -> Border:
    schema.require_integers(require, field, value, keys)
    border = value[keys[0]], value[keys[1]]
    schema.require_border(require, (f"{field}.{keys[0]}", f"{field}.{keys[1]}"), border, len(text), "the text")
    covered = text[slice(*border)]
    require(field, covered == covered.strip(), "must not begin or end with white space", covered)
    return border
