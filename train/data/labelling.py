"""What a language model is asked about a text, and how what it says becomes entities and facts.

The model names texts, never offsets, which models get wrong; where a text stands is looked up.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

import regex

from eval.align import UNSPACED
from eval.readers.base import Answer
from reet_hf.modeling.configuration_reet import TYPES
from train.data import extraction_schema
from train.data.schema import Record
from train.data.spans import Border
from train.data.texts import Text

try:
    from pydantic import BaseModel, StringConstraints, ValidationError, field_validator
except ImportError as missing:
    raise ImportError("labels of a language model need the package pydantic: pip install 'pydantic>=2'") from missing

RELATION = "stated"  # of every fact: the model is not asked for a name of the relation
SHOWN = 20  # problems that are told to the model at once

EXAMPLE_TEXT = (
    "In 1871 Ada Brandt moved to Turku, where she built the harbour crane. Nordwind Ltd bought it for 40 silver marks."
)
EXAMPLE = (
    '{"entities": [{"text": "1871", "type": "DATE"}, {"text": "Ada Brandt", "type": "PERSON"}, '
    '{"text": "Turku", "type": "LOCATION"}, {"text": "harbour crane", "type": "PRODUCT"}, '
    '{"text": "Nordwind Ltd", "type": "ORGANIZATION"}, {"text": "40 silver marks", "type": "NUMBER"}], '
    '"facts": [{"entity": "Ada Brandt", "text": "moved to Turku"}, '
    '{"entity": "Ada Brandt", "text": "built the harbour crane"}, '
    '{"entity": "harbour crane", "text": "Nordwind Ltd bought it for 40 silver marks"}]}'
)
PROMPT = f"""List the entities of the text at the end, and the facts that it states about them.

An entity is something the text calls by a name, and any date, time, amount or number. It has:
- "text": its name as the text writes it, without an article, a title or a possessive ending;
- "type": PERSON; ORGANIZATION (companies, institutions, teams); LOCATION (places, buildings, countries); DATE (dates, \
times, durations); NUMBER (amounts, prices, counts, codes); EVENT; WORK (books, films, laws, documents); PRODUCT (made \
things, software, vehicles); OTHER.
List each name once, even if it occurs often; if it has several forms, list each form.

A fact is one thing that the text says about one entity. It has:
- "entity": the "text" of an entity of your list;
- "text": the words that say it, copied from one place of the text, as few as can be understood, at most \
{extraction_schema.WORDS}, without that entity's name.

Copy every "text" character for character: nothing corrected, shortened in the middle or put into other words. Write \
one JSON object in one line and nothing else. If there are no entities or facts, leave the lists empty.

Text: {EXAMPLE_TEXT}
JSON: {EXAMPLE}

Text: """
AGAIN = "This answer has mistakes:\n{problems}\nWrite the whole JSON object again, corrected, and nothing else."
_END = "\nJSON:"
_WORD = rf"[\w--[{UNSPACED}]]"
_Said = TypeVar("_Said", bound=BaseModel)

Message = dict[str, str]
_Copied = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class Lists(BaseModel):
    """The frame of an answer; what is in its lists is checked item by item."""

    entities: list[Any]
    facts: list[Any]


class SaidEntity(BaseModel):
    """An entity as the model writes it."""

    text: _Copied
    type: str

    @field_validator("type")
    @classmethod
    def known(cls, value: str) -> str:
        """The type in capitals, if it is one."""
        if value.upper() not in TYPES:
            raise ValueError(f"must be one of {', '.join(TYPES)}")
        return value.upper()


class SaidFact(BaseModel):
    """A fact as the model writes it."""

    entity: _Copied
    text: _Copied


@dataclass(frozen=True)
class Labels:
    """What of an answer is right, and what is wrong with the rest.

    Attributes:
        entities, facts: As in a row of the extraction schema, by position.
        problems: One line for each item that was left out.
    """

    entities: list[Record]
    facts: list[Record]
    problems: list[str]


def question(text: str) -> Message:
    """The message that asks for the labels of a text."""
    return {"role": "user", "content": f"{PROMPT}{text.strip()}{_END}"}


def heard(said: str, text: str) -> Labels:
    """The labels in what a model said, which may stand between other words or code fences.

    An entity stands wherever its text does as whole words, white space of any kind for white space; places inside the
    text of a longer entity count only if there are no others. Entities of equal text are one cluster. A fact stands at
    the first place of its text; its entity is the mention that ends nearest before it, else the nearest after it.

    Args:
        said: By the model.
        text: That it was asked about.

    Raises:
        ValueError: If there is no JSON object with lists of entities and facts.
    """
    lists = _parsed(said)
    problems: list[str] = []
    types: dict[str, str] = {}
    found: dict[str, list[Border]] = {}
    for place, entity in _valid(SaidEntity, lists.entities, "entities", problems):
        name = _flat(entity.text)
        spans = occurrences(text, name)
        if not spans:
            problems.append(f"{place}: {_shown(name)} does not stand in the text word for word")
        elif types.setdefault(name, entity.type) != entity.type:
            problems.append(f"{place}: {_shown(name)} must have one type, but has {types[name]} and {entity.type}")
        else:
            found[name] = spans
    mentions = {name: _outermost(spans, found) for name, spans in found.items()}
    stated: list[tuple[Border, Border, str]] = []
    for place, fact in _valid(SaidFact, lists.facts, "facts", problems):
        try:
            stated.append((*_located(fact, text, mentions), RELATION))
        except ValueError as error:
            problems.append(f"{place}: {error}")
    marked = ((span, types[name], name) for name, spans in mentions.items() for span in spans)
    return Labels(extraction_schema.entities(marked), extraction_schema.facts(stated), problems)


def occurrences(text: str, phrase: str) -> list[Border]:
    """Half-open characters of all places where a phrase stands as whole words, white space of any kind for its own.

    Scripts that write without spaces have no such borders.
    """
    before = rf"(?<!{_WORD})" if regex.match(_WORD, phrase[:1], regex.V1) else ""
    after = rf"(?!{_WORD})" if regex.match(_WORD, phrase[-1:], regex.V1) else ""
    words = r"\s+".join(regex.escape(word) for word in phrase.split())
    return [match.span() for match in regex.finditer(before + words + after, text, regex.V1)] if words else []


@dataclass
class Dialogue:
    """The conversation with a model about one text, from the question to an answer without mistakes.

    Attributes:
        text: That it is about.
        messages: What was said so far.
        calls: How often the model was asked.
        labels: Those of the last answer that could be read.
        error: Why the last call or answer was no use.
        lost: Whether that was the call, not the answer.
    """

    text: Text
    messages: list[Message] = field(default_factory=list)
    calls: int = 0
    labels: Labels | None = None
    error: str | None = None
    lost: bool = False

    def __post_init__(self) -> None:
        self.messages = [question(self.text.text)]

    @property
    def open(self) -> bool:
        """Whether it is worth asking again: after a mistake, not after a call that failed."""
        return not self.lost and (self.labels is None or self.error is not None or bool(self.labels.problems))

    def hear(self, answer: Answer) -> None:
        """Takes up an answer; what is wrong with it becomes the next question."""
        self.calls += 1
        self.error, self.lost = answer.error, answer.error is not None
        if self.lost:
            return
        try:
            self.labels = heard(answer.text, self.text.text)
            problems = self.labels.problems
        except ValueError as error:
            self.error = str(error)
            problems = [self.error]
        listed = "\n".join(f"- {problem}" for problem in problems[:SHOWN])
        told = {"role": "user", "content": AGAIN.format(problems=listed)}
        self.messages += [{"role": "assistant", "content": answer.text}, told]


def label(
    texts: Sequence[Text], replies: Callable[[Sequence[Sequence[Message]]], Sequence[Answer]], attempts: int
) -> list[Dialogue]:
    """The finished conversation about each text.

    Args:
        texts: Asked about together.
        replies: The model: from conversations that end with a question to its answers.
        attempts: How often it may be asked about a text.
    """
    dialogues = [Dialogue(text) for text in texts]
    for _ in range(attempts):
        waiting = [dialogue for dialogue in dialogues if dialogue.open]
        if not waiting:
            break
        answers = replies([dialogue.messages for dialogue in waiting])
        for dialogue, answer in zip(waiting, answers, strict=True):
            dialogue.hear(answer)
    return dialogues


def _parsed(said: str) -> Lists:
    first, last = said.find("{"), said.rfind("}")
    try:
        return Lists.model_validate(json.loads(said[first : last + 1] if first >= 0 else said))
    except ValidationError as error:
        raise ValueError(f"the answer must have lists of entities and facts ({_reason(error)})") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the answer is not one whole JSON object ({error})") from error


def _valid(kind: type[_Said], items: Sequence[Any], name: str, problems: list[str]) -> list[tuple[str, _Said]]:
    """The items that have the right fields, each with its place in the answer; the others become problems."""
    found = []
    for number, item in enumerate(items):
        place = f"{name}[{number}]"
        try:
            found.append((place, kind.model_validate(item)))
        except ValidationError as error:
            problems.append(f"{place}: {_reason(error)}")
    return found


def _located(fact: SaidFact, text: str, mentions: Mapping[str, Sequence[Border]]) -> tuple[Border, Border]:
    """The mention that a fact is about, and its place."""
    name, wording = _flat(fact.entity), _flat(fact.text)
    if name not in mentions:
        raise ValueError(f"its entity {_shown(name)} must be the text of one in the list of entities")
    count = len(wording.split())
    if count > extraction_schema.WORDS:
        raise ValueError(f"{_shown(wording)} must have at most {extraction_schema.WORDS} words, but has {count}")
    places = occurrences(text, wording)
    if not places:
        raise ValueError(f"{_shown(wording)} does not stand in the text word for word")
    start, end = places[0]
    before = [mention for mention in mentions[name] if mention[1] <= start]
    after = [mention for mention in mentions[name] if mention[0] >= end]
    if not before and not after:
        raise ValueError(f"{_shown(wording)} must not contain the only {_shown(name)}: leave the name out of it")
    return (before[-1] if before else after[0]), (start, end)


def _outermost(spans: Sequence[Border], found: Mapping[str, Sequence[Border]]) -> list[Border]:
    """Those of the spans that are inside no longer one; all of them where every one is."""
    others = {other for own in found.values() for other in own}
    free = [
        (start, end)
        for start, end in spans
        if not any(a <= start and end <= b and (a, b) != (start, end) for a, b in others)
    ]
    return free or list(spans)


def _reason(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    return ": ".join((*(str(part) for part in first["loc"]), first["msg"]))


def _flat(text: str) -> str:
    return " ".join(text.split())


def _shown(text: str) -> str:
    return json.dumps(text if len(text) <= 80 else f"{text[:80]}...", ensure_ascii=False)
