"""How right an answer is: values worked out by hand."""

from __future__ import annotations

import pytest

from eval.readers.scores import f1, normalized, rouge_l, score
from reet_hf.errors import ReetError


def asks(kind: str, *answers: str) -> dict:
    return {"question": "?", "kind": kind, "answers": list(answers)}


def test_normalized_drops_case_punctuation_and_articles():
    assert normalized("  The Eiffel-Tower,\n an  ICON of a theatre! ") == "eiffeltower icon of theatre"


@pytest.mark.parametrize(
    ("gold", "text", "value"),
    [
        ("Eiffel Tower", "the tower of Eiffel", 4 / 5),  # 2 of 2 and 2 of 3 words
        ("new new york", "New York York!", 4 / 6),  # a word counts as often as both have it
        ("June", "May", 0.0),
        ("the", "a", 1.0),
        ("the", "June", 0.0),
    ],
)
def test_f1_by_hand(gold, text, value):
    assert f1(gold, text) == pytest.approx(value)


@pytest.mark.parametrize(
    ("gold", "text", "value"),
    [
        ("the cat sat on the mat", "the cat lay on the mat", 5 / 6),
        ("one two three four", "four one two", 2 * 2 / 7),  # "one two" is the longest common subsequence
        ("The cats jumped.", "the cat jumps", 1.0),  # words are stemmed
    ],
)
def test_rouge_l_by_hand(gold, text, value):
    pytest.importorskip("rouge_score")
    assert rouge_l(gold, text) == pytest.approx(value)


def test_the_best_gold_answer_counts_for_each_measure():
    found = score(asks("extractive", "5 June 2024", "June", "on June 5"), "the June.")
    assert found == {"f1": 1.0, "exact": 1.0}
    assert score(asks("latest_value", "5 June 2024", "June 6"), "June 5") == {"f1": pytest.approx(4 / 5), "exact": 0.0}


@pytest.mark.parametrize("kind", ["extractive", "state", "latest_value"])
def test_an_empty_answer_is_never_right(kind):
    assert score(asks(kind, "The"), " ") == {"f1": 0.0, "exact": 0.0}


def test_abstractive_questions_are_scored_by_rouge():
    pytest.importorskip("rouge_score")
    found = score(asks("abstractive", "They sold the house", "one two three four"), "four one two")
    assert found == {"rouge_l": pytest.approx(4 / 7)}
    assert score(asks("abstractive", "x"), "") == {"rouge_l": 0.0}


def test_a_question_without_answers_has_no_score():
    with pytest.raises(ReetError, match="`question`"):
        score(asks("unanswerable"), "")
