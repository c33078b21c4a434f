"""Worked examples: which answers are found, and that they stand with what they answer."""

from __future__ import annotations

import random

import numpy as np
import pytest
from conftest import laid_out
from transformers import pipeline

from reet_hf.demonstrations import SHOWN, Demonstrations
from reet_hf.metrics import answer_survival
from reet_hf.records import Span


def raised(messages: list[list[str]], pooled: list[float], step: int = 1000) -> np.ndarray:
    """Chances of all units after examples raised some; units are read `step` at a time."""
    texts, places = laid_out(messages, "\n")
    examples = Demonstrations()
    for end in range(step, len(places) + step, step):
        examples.read(texts, places[:end])
    found = np.array(pooled)
    np.maximum.at(found, *examples.chances(found.copy()))
    return found


QA = [part for n in range(5) for part in (f"Q: is {n} even?", "I wonder.", f"A: {('yes', 'no')[n % 2]} {n}")]


@pytest.mark.parametrize("step", [1, 2, 1000])
def test_an_answer_is_as_likely_as_what_it_answers(step):
    pooled = [0.1, 0.3, 0.0] * 4 + [0.7, 0.2, 0.1]
    found = raised([QA[:9], QA[9:]], pooled, step)  # answers that are all different are no labels
    assert found[2::3].tolist() == [0.3, 0.3, 0.3, 0.3, 0.7]
    rest = np.delete(np.arange(15), np.arange(2, 15, 3))
    assert found[rest].tolist() == np.array(pooled)[rest].tolist()


def test_of_each_label_the_likeliest_example_is_shown():
    units = [part for n in range(6) for part in (f"Text: number {n}.", f"Class: {'ab'[n % 2]}")]
    found = raised([units], [0.1, 0, 0.2, 0, 0.4, 0, 0.3, 0, 0.2, 0, 0.1, 0])
    assert found.tolist() == [0.1, 0.1, 0.2, 0.2, SHOWN, SHOWN, SHOWN, SHOWN, 0.2, 0.2, 0.1, 0.1]


@pytest.mark.parametrize(
    "units",
    [
        QA[:9],  # three are too few
        [part for n in range(6) for part in (f"Ann: is it {n}?", f"Bo: {'I really do not know that. ' * 4}")],
        [f"Note: {n}" for n in range(9)],  # nothing that these answer
        [part for n in range(6) for part in (f"it is {n}.", "so it is.")],
        [part for n in range(5) for part in ("Q: why?", *["because"] * 13, "A: no")],  # too far from what it answers
    ],
)
def test_other_texts_are_left_alone(units):
    pooled = [0.1 + n / 100 for n in range(len(units))]
    assert raised([units], pooled).tolist() == pooled


def test_an_answer_of_another_message_answers_nothing():
    assert raised([[part] for part in QA], [0.5, 0.5, 0.1] * 5).tolist() == [0.5, 0.5, 0.1] * 5


def test_examples_are_kept_with_their_answers(bundled):
    compress = pipeline("reet-compression", model=str(bundled))
    chooser = random.Random(1)
    things = {"dax": ["kettle", "pan", "ladle"], "wug": ["tulip", "fern", "rose"], "blick": ["tractor", "van", "bus"]}
    shots = []
    for number in range(36):
        label = ("dax", "wug", "blick")[number % 3]
        shots.append(f"Input: The {chooser.choice(things[label])} of room {number} is new. Output: {label}")
    text = "\n".join(shots)
    out = compress({"context": text, "query": "Give the output. Input: The oven is old."}, budget=0.33)
    pieces = [Span(piece["message"], piece["start"], piece["end"]) for piece in out["pieces"]]
    starts = [text.index(shot) for shot in shots]
    for label in things:
        spans = [
            {"message": 0, "start": start, "end": start + len(shot)}
            for start, shot in zip(starts, shots, strict=True)
            if shot.endswith(label)
        ]
        assert answer_survival([text], spans, pieces) == 1.0, f"an example of {label} with its answer"
