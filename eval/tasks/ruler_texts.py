"""Texts of RULER's needle and chain tasks, written as `niah.py` and `variable_tracking.py` of the original do it.

The sources are those that `eval.tasks.ruler` names. A text is made of a number of units: words of essays, lines of
noise, lines with other needles. The same generator state gives the same text.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

import numpy as np

from eval.tasks.ruler_words import Drawn, Words

NOISE = "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again."
NEEDLE = "One of the special magic {kind} for {key} is: {value}."
DEPTHS = [int(depth) for depth in np.round(np.linspace(0, 100, 40))]  # percent of the sentences of an essay
HOPS = 4
EXAMPLE_NOISE = 10  # lines; what the original finds to fit 500 tokens with any usual tokenizer

Span = tuple[int, int]
Sentences = Callable[[Random, int], list[str]]


@dataclass(frozen=True)
class Asked:
    """A question about a text.

    Attributes:
        query: What stands for `{query}` in the prompt.
        answers: All of them wanted, or in questions about documents any.
        spans: Where each stands in the text.
        evidence: What tells the answers.
        kind: As in the multi-turn schema.
    """

    query: str
    answers: tuple[str, ...]
    spans: tuple[tuple[Span, ...], ...]
    evidence: tuple[Span, ...]
    kind: str = "extractive"


@dataclass(frozen=True)
class Made:
    """A text, what is asked about it, and a worked example that stands before it in the prompt."""

    text: str
    asked: tuple[Asked, ...]
    example: str = ""


class Kind(NamedTuple):
    """A needle task: where its needles hide, what they are made of, how many there are."""

    haystack: str
    keys: str
    values: str
    needles: int = 1
    each: int = 1
    queries: int = 1


class Needle(NamedTuple):
    """A sentence that gives one value of a key."""

    key: str
    value: str
    sentence: str


def needles(kind: Kind, words: Words, essay: Sentences, turns: int, rng: Random, units: int) -> Made:
    """A text with needles; with more than one turn further keys of it are asked for, if there are any.

    Args:
        kind: The task.
        words: For keys.
        essay: Sentences of about so many words.
        turns: Most questions, of tasks that ask for one key at a time.
        rng: Where all chance comes from.
        units: Words of an essay, else lines.
    """
    drawn = Drawn(rng, words)
    hidden = [_needle(kind, key, drawn) for key in _keys(kind, drawn) for _ in range(kind.each)]
    keys = list(dict.fromkeys(each.key for each in hidden))
    rng.shuffle(hidden)
    if kind.haystack == "essay":
        entries, separator = _between_sentences(hidden, essay(rng, units), rng), " "
    else:
        entries, separator = _between_lines(kind, hidden, drawn, rng, units), "\n"
    text, places = joined(entries, separator)
    chosen = rng.sample(keys, kind.queries)
    asked = [_question(chosen, places)]
    if kind.queries == 1:
        others = sorted({needle.key for needle, _ in places} - set(chosen))
        asked += [_question([key], places) for key in rng.sample(others, min(turns - 1, len(others)))]
    return Made(text, tuple(asked))


def _keys(kind: Kind, drawn: Drawn) -> list[str]:
    return [drawn.next(kind.keys) for _ in range(max(kind.needles, kind.queries))]


def _needle(kind: Kind, key: str, drawn: Drawn) -> Needle:
    value = drawn.next(kind.values)
    return Needle(key, value, NEEDLE.format(kind=kind.values, key=key, value=value))


def _between_sentences(hidden: Sequence[Needle], sentences: Sequence[str], rng: Random) -> list[str | Needle]:
    """The needles in stretches of sentences, at different depths."""
    depths = sorted(rng.sample(DEPTHS, len(hidden)))
    borders = [0, *(int(len(sentences) * (depth / 100)) for depth in depths), len(sentences)]
    entries: list[str | Needle] = []
    for number, needle in enumerate(hidden):
        entries += [" ".join(sentences[borders[number] : borders[number + 1]]), needle]
    return [*entries, " ".join(sentences[borders[-2] :])]


def _between_lines(kind: Kind, hidden: Sequence[Needle], drawn: Drawn, rng: Random, units: int) -> list[str | Needle]:
    """The needles between lines of noise or of needles with other keys."""
    entries: list[str | Needle] = [NOISE] * units
    if kind.haystack == "needle":
        entries = [_needle(kind, drawn.next(kind.keys), drawn) for _ in range(units)]
    for place, needle in zip(sorted(rng.sample(range(units), len(hidden)), reverse=True), hidden, strict=True):
        entries.insert(place, needle)
    return entries


def joined(entries: Sequence[str | Needle], separator: str) -> tuple[str, list[tuple[Needle, int]]]:
    """Entries as one text, and where each needle begins."""
    written = [entry.sentence if isinstance(entry, Needle) else entry for entry in entries]
    places, start = [], 0
    for entry, text in zip(entries, written, strict=True):
        if isinstance(entry, Needle):
            places.append((entry, start))
        start += len(text) + len(separator)
    return separator.join(written), places


def _question(keys: Sequence[str], places: Sequence[tuple[Needle, int]]) -> Asked:
    found = [(needle, start) for key in keys for needle, start in places if needle.key == key]
    query = ", ".join(keys[:-1]) + ", and " + keys[-1] if len(keys) > 1 else keys[0]
    ends = [start + len(needle.sentence) - 1 for needle, start in found]  # before the full stop
    return Asked(
        query,
        tuple(needle.value for needle, _ in found),
        tuple(((end - len(needle.value), end),) for (needle, _), end in zip(found, ends, strict=True)),
        tuple((start, end + 1) for (_, start), end in zip(found, ends, strict=True)),
    )


def chain(template: str, prefix: str, rng: Random, units: int) -> Made:
    """Assignments between lines of noise: all names that come to the value of the first are asked for.

    Args:
        template, prefix: Of the prompt, for the worked example before it.
        rng: Where all chance comes from.
        units: Lines of noise.
    """
    text, names, value, evidence = _chained(5, rng, units)
    shown, example_names, example_value, _ = _chained(3, rng, EXAMPLE_NOISE)
    asked = (template + prefix).replace("{query}", example_value)
    example = f"{asked.replace('{context}', shown)} {' '.join(example_names)}\n\n\n\n"
    spans = tuple(
        tuple(
            (start + at, start + at + len(name)) for start, end in evidence if (at := text[start:end].find(name)) >= 0
        )
        for name in names
    )
    return Made(text, (Asked(value, tuple(names), spans, tuple(evidence)),), example)


def _chained(letters: int, rng: Random, units: int) -> tuple[str, list[str], str, list[Span]]:
    """Text, names, value and where each assignment stands."""
    names: dict[str, None] = {}
    while len(names) <= HOPS:
        names["".join(rng.choices(string.ascii_uppercase, k=letters))] = None
    listed, value = list(names), str(rng.randint(10000, 99998))
    links = [f"VAR {listed[0]} = {value}"]
    links += [f"VAR {later} = VAR {earlier} " for earlier, later in zip(listed, listed[1:], strict=False)]
    entries: list[str | Needle] = [f"{NOISE}\n"] * units
    for number, place in enumerate(sorted(rng.sample(range(units), len(links)))):
        entries.insert(place + number, Needle("", "", links[number]))
    text, places = joined(entries, " ")
    return text, listed, value, [(start, start + len(link.sentence.rstrip())) for link, start in places]
