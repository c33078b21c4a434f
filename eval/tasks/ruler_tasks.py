"""The thirteen tasks of RULER: their prompts, how their texts are made, and how large. Sources: `eval.tasks.ruler`."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import NamedTuple

from eval.tasks.ruler_lists import common, frequent
from eval.tasks.ruler_qa import documents
from eval.tasks.ruler_sources import FILES, Sources
from eval.tasks.ruler_texts import HOPS, Kind, Made, chain, needles
from reet_hf.errors import ReetError


class Family(NamedTuple):
    """What tasks of one kind share.

    Attributes:
        template: With places for `{context}` and `{query}`.
        prefix: The beginning of the answer.
        question: What is asked, for systems that look at it.
        tokens: Most tokens of the answer.
        match: Whether all answers are wanted, or a part of them will do.
    """

    template: str
    prefix: str
    question: str
    tokens: int
    match: str = "all"


def _needle_family(values: str, several: bool) -> Family:
    kind = values if several else values[:-1]
    are, all_are, some = ("are", "are all", "Some") if several else ("is", "is", "A")
    question = f"What {all_are} the special magic {kind} for {{query}} mentioned in the provided text?"
    return Family(
        f"{some} special magic {kind} {are} hidden within the following text. Make sure to memorize it. I will quiz "
        f"you about the {kind} afterwards.\n{{context}}\n{question}",
        f" The special magic {kind} for {{query}} mentioned in the provided text {are}",
        question,
        128,
    )


TRACKED = "Find all variables that are assigned the value {query} in the text above."
LISTED = "What are the 10 most common words in the above list?"
CODED = (
    "Do not provide any explanation. Please ignore the dots '....'. What are the three most frequently appeared words "
    "in the above coded text?"
)
ONLY = "Answer the question based on the given documents. Only give me the answer and do not output any other words."
FAMILIES = {
    "vt": Family(
        "Memorize and track the chain(s) of variable assignment hidden in the following text.\n\n{context}\n"
        f"Question: {TRACKED}",
        f" Answer: According to the chain(s) of variable assignment in the text above, {HOPS + 1} variables are "
        "assgined the value {query}, they are: ",
        TRACKED,
        30,
    ),
    "cwe": Family(
        "Below is a numbered list of words. In these words, some appear more often than others. Memorize the ones that "
        f"appear most often.\n{{context}}\nQuestion: {LISTED}",
        " Answer: The top 10 words that appear most often in the list are:",
        LISTED,
        120,
    ),
    "fwe": Family(
        "Read the following coded text and track the frequency of each coded word. Find the three most frequently "
        f"appeared coded words. {{context}}\nQuestion: {CODED}",
        " Answer: According to the coded text above, the three most frequently appeared words are:",
        CODED,
        50,
    ),
    "qa": Family(
        f"{ONLY}\n\nThe following are given documents.\n\n{{context}}\n\n{ONLY}\n\nQuestion: {{query}}",
        " Answer:",
        "{query}",
        32,
        "part",
    ),
}
NEEDLES = {
    "niah_single_1": Kind("repeat", "words", "numbers"),
    "niah_single_2": Kind("essay", "words", "numbers"),
    "niah_single_3": Kind("essay", "words", "uuids"),
    "niah_multikey_1": Kind("essay", "words", "numbers", needles=4),
    "niah_multikey_2": Kind("needle", "words", "numbers"),
    "niah_multikey_3": Kind("needle", "uuids", "uuids"),
    "niah_multivalue": Kind("essay", "words", "numbers", each=4),
    "niah_multiquery": Kind("essay", "words", "numbers", queries=4),
}
TASKS = (*NEEDLES, "vt", "cwe", "fwe", *FILES)
LONG = 4096  # tokens, from which sizes of lines are looked for in larger steps

Maker = Callable[[Random, int, int], Made]
"""Makes the text of a row from a generator, the number of the row and a number of units."""


def family_of(task: str) -> Family:
    """The prompts of a task."""
    if task in NEEDLES:
        kind = NEEDLES[task]
        return _needle_family(kind.values, several=kind.queries * kind.each > 1)
    return FAMILIES["qa" if task in FILES else task]


def maker(task: str, length: int, turns: int, sources: Sources) -> Maker:
    """What makes the texts of a task."""
    family, words, library = family_of(task), sources.words, sources.library(task)
    if task in NEEDLES:
        return lambda rng, _, units: needles(NEEDLES[task], words, sources.sentences, turns, rng, units)
    if task == "vt":
        return lambda rng, _, units: chain(family.template, family.prefix, rng, units)
    if task == "cwe":
        return lambda rng, _, units: common(family.template, family.prefix, words, length, rng, units)
    if task == "fwe":
        return lambda rng, _, units: frequent(length, rng, units)
    if library is None:
        raise ReetError(f"`data` must be a folder with {FILES[task]} for {task}; pass it with --data FOLDER.")
    return lambda rng, number, units: documents(library, number, rng, units)


def most_units(task: str, sources: Sources) -> int | None:
    """The most units that there are, if not as many as one likes."""
    library = sources.library(task)
    if library is not None:
        return len(library.documents)
    return len(sources.essays) or None if task in NEEDLES and NEEDLES[task].haystack == "essay" else None


def _step(task: str, length: int) -> int:
    if task in NEEDLES:
        if NEEDLES[task].haystack == "essay":
            return 500
        return 25 if length >= LONG else 5
    return max(1, length // 32) if task == "fwe" else 10


def sized(
    fits: Callable[[int], bool], task: str, length: int, most: int | None = None, known: int | None = None
) -> int:
    """How many units a text has: as many steps as fit, or where that is known, of that what fits.

    Args:
        fits: Whether a text of so many units does.
        task, length: What the steps are of.
        most: The most units that there are.
        known: What fits for another row.

    Raises:
        ReetError: If not even one step fits.
    """
    step = _step(task, length)
    units = _most_steps(fits, step, most) if known is None else known
    while units > step and not fits(units):
        units -= step
    if units <= 0 or not fits(units):
        raise ReetError(f"`lengths` must leave room for {task}, got {length} tokens, too few for one step; raise it.")
    return units


def _most_steps(fits: Callable[[int], bool], step: int, most: int | None) -> int:
    """The largest number of units in whole steps that fits, or all there are."""
    if most is not None and fits(most):
        return most
    low, high = 0, 1
    while fits(high * step) and (most is None or high * step < most):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle * step) else (low, middle)
    return low * step
