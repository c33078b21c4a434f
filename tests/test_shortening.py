"""Shorter forms: verbatim, nested, never without negations or parts of names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reet_hf.lexicon import FILLER_WORDS, FUNCTION_WORDS, LINKING_WORDS, content_words
from reet_hf.mentions import mention_spans
from reet_hf.shortening import FORMS, is_prose, short_forms

WORDS = st.lists(
    st.sampled_from(
        [
            "the",
            "The",
            "not",
            "isn't",
            "Oslo,",
            "(the",
            "“crew”),",
            "of",
            "they",
            "US",
            "would",
            "sailed.",
            "—",
            "7.5",
            "a",
        ]
    ),
    max_size=12,
)


def shown(text: str) -> list[str]:
    return [" ".join(text[a:b] for a, b in form) for form in short_forms(text, 0, len(text), mention_spans(text))]


@pytest.mark.parametrize(
    ("text", "content", "linked"),
    [
        ("The goods were sent to the buyer in March.", "goods sent buyer March", "goods sent to buyer in March"),
        ("You should not have been there.", "not", "You should not"),
        ("It isn't the train from Oslo.", "isn't train Oslo", "It isn't train from Oslo"),
        ("Is it open on the 5th of May?", "open 5th of May?", "it open on 5th of May?"),
        ("Where is the train now? it?", "train ? ?", "Where train ? it?"),
        ("He works for the Bank of America, e.g. as a clerk.", "works Bank of America e.g. clerk", None),
        ("Ask WHO and the US about it.", "Ask WHO US", "Ask WHO US about it"),
        ("It was below 99.7 % before or after the end of it.", "below 99.7 % before or after end", None),
        ("He should switch it off for up to six hours.", "switch off up six hours", None),
        ("He said (the “crew”) left, and so did I.", "said “crew” left", "He said “crew” left I"),
        ("Die Katze sitzt auf der Matte.", "Die Katze sitzt auf der Matte", None),
    ],
)
def test_filler_goes_first_and_linking_words_next(text, content, linked):
    forms = shown(text)
    assert forms[0] == content
    assert linked is None or forms[1] == linked
    assert forms[2] == text


@given(WORDS)
def test_forms_are_slices_in_order_and_each_contains_the_one_before(parts):
    text = " ".join(parts)
    forms = short_forms(text, 0, len(text), mention_spans(text))
    assert len(forms) == len(FORMS)
    covered = [{place for a, b in form for place in range(a, b)} for form in forms]
    assert covered[0] <= covered[1] <= covered[2] == set(range(len(text)))
    for form in forms:
        assert all(a[1] <= b[0] for a, b in zip(form, form[1:], strict=False))
        assert all(a < b and not text[a].isspace() and not text[b - 1].isspace() for a, b in form) or form == forms[2]


@given(WORDS)
def test_no_form_loses_a_content_word_a_negation_or_part_of_a_name(parts):
    text = " ".join(parts)
    kept = {place for a, b in short_forms(text, 0, len(text), mention_spans(text))[0] for place in range(a, b)}
    content = [(a, b) for word, a, b in content_words(text) if word not in FUNCTION_WORDS]
    negations = [(n, n + 3) for n in range(len(text)) if text[n : n + 3] in ("not", "n't")]
    for start, end in [*content, *negations, *mention_spans(text)]:
        assert kept >= {place for place in range(start, end) if not text[place].isspace()}


@pytest.mark.parametrize(
    ("text", "prose"),
    [
        ("The crew was in Oslo and they were glad of it.", True),
        ("Where is it?", True),
        ("Das Schiff lag im Hafen, und die Mannschaft war froh darüber.", False),
        ("ERROR 2024-05-01 worker-7 connection refused host=db2 port=5432", False),
        ("crew glad Oslo", False),
        ("", False),
    ],
)
def test_prose_has_function_words(text, prose):
    assert is_prose(text) is prose


def test_words_of_each_kind_are_function_words_and_negations_are_of_none():
    assert LINKING_WORDS < FUNCTION_WORDS
    assert FILLER_WORDS < FUNCTION_WORDS
    assert not LINKING_WORDS & FILLER_WORDS
    assert not {"not", "no", "nor", "don", "isn", "t", "if", "or"} & (LINKING_WORDS | FILLER_WORDS)


def test_a_stretch_inside_a_text_keeps_its_offsets():
    text = "First. The crew sailed to Oslo, at last. End."
    forms = short_forms(text, 7, 40, mention_spans(text))
    assert [text[a:b] for a, b in forms[0]] == ["crew sailed", "Oslo", "last"]
    assert forms[2] == ((7, 40),)
