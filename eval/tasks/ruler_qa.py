"""Questions of SQuAD and HotpotQA among other documents, as `qa.py` of RULER does it; see `eval.tasks.ruler`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from eval.tasks.public import places, require
from eval.tasks.ruler_texts import Asked, Made, Span
from reet_hf.errors import ReetError

SUFFIX = "\n\n"


@dataclass(frozen=True)
class Item:
    """A question.

    Attributes:
        query: The question.
        answers: Acceptable ones.
        own: Numbers of the documents that belong to it.
        near: Numbers of documents that come before others: the article's further paragraphs.
        spans, evidence: Document, first character and the one after the last of answers and of what tells them.
    """

    query: str
    answers: tuple[str, ...]
    own: tuple[int, ...]
    near: tuple[int, ...]
    spans: tuple[tuple[int, int, int], ...]
    evidence: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class Library:
    """Questions and the documents of all of them, sorted."""

    items: Sequence[Item]
    documents: Sequence[str]


def read(path: Path) -> Any:
    """The JSON of a file.

    Raises:
        ReetError: If it is broken.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ReetError(f"`data` must be JSON, but {path} is broken: {error}; download it again.") from error


def squad(path: Path) -> Library:
    """The questions of a SQuAD 2.0 file that have an answer; the evidence is the paragraph."""
    data = read(path)
    require(data, ["data"], path.name)
    articles = [article["paragraphs"] for article in data["data"]]
    documents = sorted({paragraph["context"] for paragraphs in articles for paragraph in paragraphs})
    number = {text: place for place, text in enumerate(documents)}
    items = []
    for paragraphs in articles:
        article = [number[paragraph["context"]] for paragraph in paragraphs]
        for paragraph, own in zip(paragraphs, article, strict=True):
            near = tuple(other for other in article if other != own)
            items += [
                _squad_item(asked, own, near, paragraph["context"])
                for asked in paragraph["qas"]
                if not asked.get("is_impossible", False)
            ]
    return Library(items, documents)


def _squad_item(asked: Mapping[str, Any], own: int, near: tuple[int, ...], text: str) -> Item:
    answers = tuple(answer["text"] for answer in asked["answers"])
    starts = [answer["answer_start"] for answer in asked["answers"]]
    spans = dict.fromkeys((own, start, start + len(answer)) for start, answer in zip(starts, answers, strict=True))
    return Item(asked["question"], answers, (own,), near, tuple(spans), ((own, 0, len(text)),))


def hotpotqa(path: Path) -> Library:
    """The questions of a HotpotQA file in the distractor setting; the evidence is the supporting sentences."""
    data = read(path)
    for record in data:
        require(record, ["question", "answer", "context", "supporting_facts"], path.name)
    documents = sorted({_titled(*paragraph) for record in data for paragraph in record["context"]})
    number = {text: place for place, text in enumerate(documents)}
    return Library([_hotpot_item(record, number) for record in data], documents)


def _titled(title: str, sentences: Sequence[str]) -> str:
    return f"{title}\n{''.join(sentences)}"


def _hotpot_item(record: Mapping[str, Any], number: Mapping[str, int]) -> Item:
    own = {title: number[_titled(title, sentences)] for title, sentences in record["context"]}
    sentences = dict(map(tuple, record["context"]))
    evidence, spans = [], []
    for title, place in record["supporting_facts"]:
        if place >= len(sentences.get(title, ())):  # some facts name a sentence that is not there
            continue
        start = len(title) + 1 + len("".join(sentences[title][:place]))
        evidence.append((own[title], start, start + len(sentences[title][place])))
        found = places([sentences[title][place]], [record["answer"]])
        spans += [(own[title], start + each["start"], start + each["end"]) for each in found]
    return Item(record["question"], (record["answer"],), tuple(own.values()), (), tuple(spans), tuple(evidence))


def documents(library: Library, number: int, rng: Random, units: int) -> Made:
    """The documents of a question and others in random order, `units` of them, or all if there are not more."""
    item = library.items[number]
    chosen = list(range(len(library.documents)))
    if units < len(chosen):
        chosen = _chosen(item, chosen, rng, units)
    rng.shuffle(chosen)
    shown = [f"Document {place}:\n{library.documents[each]}" for place, each in enumerate(chosen, 1)]
    starts, start = {}, 0
    for each, text in zip(chosen, shown, strict=True):
        starts[each] = start + len(text) - len(library.documents[each])
        start += len(text) + len(SUFFIX)

    def moved(spans: Sequence[tuple[int, int, int]]) -> tuple[Span, ...]:
        return tuple((starts[each] + first, starts[each] + last) for each, first, last in spans)

    kind = "yes_no" if item.answers[0].lower() in ("yes", "no") and not item.spans else "extractive"
    asked = Asked(item.query, item.answers, (moved(item.spans),), moved(item.evidence), kind)
    return Made(SUFFIX.join(shown), (asked,))


def _chosen(item: Item, every: Sequence[int], rng: Random, units: int) -> list[int]:
    own, near = list(item.own), list(item.near)
    wanted = max(units - len(own), 0)
    if wanted <= len(near):
        return own + rng.sample(near, wanted)
    known = {*own, *near}
    others = [each for each in every if each not in known]
    return own + near + rng.sample(others, min(wanted - len(near), len(others)))
