"""Contexts that were shortened before and questions that lean on the one before."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import city_rows

from reet_hf.conversation import Conversation, parse_messages
from reet_hf.shortening import short_forms
from reet_hf.training.dataset import ScoringDataset
from reet_hf.training.variation import OBJECTS, POSSESSIVES, SUBJECTS, follow_up, shortened
from reet_hf.windows import tokenize

FILES = {"cities-train": city_rows(12)}


@pytest.mark.parametrize(
    ("question", "before", "start", "pronouns", "end"),
    [
        ("When did Rollo begin to raid?", "Who led the Norse? Rollo", "When did ", SUBJECTS, " begin to raid?"),
        ("Who told Ross to count?", "What does Ross want? Jamie", "Who told ", OBJECTS, " to count?"),
        ("What was the Norman's name?", "Which Norman came? none", "What was ", SUBJECTS + POSSESSIVES, " name?"),
        ("Why was the stove hot?", "Where was the stove? here", "Why was ", SUBJECTS, " hot?"),
        ("How did he open the door?", "Who saw the door of the stove? he", "How did he open ", OBJECTS, "?"),
        ("Rollo went where?", "Who was Rollo?", "", tuple(word.capitalize() for word in SUBJECTS), " went where?"),
    ],
)
def test_a_shared_expression_becomes_a_pronoun(question, before, start, pronouns, end):
    found = {follow_up(question, before, np.random.default_rng(seed)) for seed in range(40)}
    assert found <= {f"{start}{pronoun}{end}" for pronoun in pronouns}
    assert len(found) > 1


@pytest.mark.parametrize(
    ("question", "before"),
    [
        ("Who was Rollo?", "Who was Rollo?"),  # nothing would be left to ask
        ("Who was Rollo?", "What is a stove?"),
        ("Who was he?", "What did he do?"),
        ("", "What did he do?"),
        ("What?", ""),
    ],
)
def test_a_question_that_shares_nothing_or_everything_stays(question, before):
    assert follow_up(question, before, np.random.default_rng(0)) == question


def test_only_lower_case_things_are_never_he_or_she():
    found = {follow_up("Why was the stove hot?", "the stove", np.random.default_rng(seed)) for seed in range(60)}
    assert found == {"Why was it hot?", "Why was they hot?"}


def test_what_was_shortened_is_a_short_form_of_the_oldest_sentences(tokenizer):
    texts = [
        "The tower is not in Rome. It was, as they say, built by the king of the hill? Nobody lives there.",
        "Yes.",
    ]
    conversation = Conversation(parse_messages([{"role": "user", "content": text} for text in texts]))
    table = tokenize(conversation, tokenizer)
    needed = table.units == 1
    seen = set()
    for seed in range(200):
        kept = shortened(table, texts, needed, np.random.default_rng(seed))
        assert kept.shape == (len(table),) and kept[needed].any()
        for unit in np.unique(table.units):
            rows = np.flatnonzero(table.units == unit)
            number = table.messages[rows[0]]
            body = rows[table.starts[rows] >= 0]
            left = [(int(table.starts[row]), int(table.ends[row])) for row in body if kept[row]]
            marked = [(int(table.starts[r]), int(table.ends[r])) for r in body if table.mentions[r]]
            first, last = int(table.starts[body[0]]), int(table.ends[body[-1]])
            forms = [
                [
                    (int(table.starts[r]), int(table.ends[r]))
                    for r in body
                    if any(a <= table.starts[r] < b for a, b in f)
                ]
                for f in short_forms(texts[number], first, last, marked)
            ]
            assert left in [*forms, []]
            assert left or not needed[rows].any()
            whole = len(left) == len(body)
            seen.add((int(unit), "whole" if whole else "gone" if not left else "short"))
    assert {(0, "short"), (0, "gone"), (1, "short"), (2, "gone"), (0, "whole")} <= seen
    assert (1, "gone") not in seen


def test_a_conversation_without_evidence_is_never_emptied(tokenizer):
    conversation = Conversation(parse_messages([{"role": "user", "content": "Yes."}]))
    table = tokenize(conversation, tokenizer)
    nothing = np.zeros(len(table), dtype=bool)
    assert all(shortened(table, ["Yes."], nothing, np.random.default_rng(seed)).any() for seed in range(50))


def test_labels_follow_the_tokens_that_stay(tokenizer):
    plain, varied = (
        ScoringDataset(FILES, tokenizer, {"cities-train": 1}, seed=4, shortened=chance) for chance in (0.0, 1.0)
    )
    shorter = 0
    for number in range(len(plain)):
        before, after = plain[number], varied[number]
        shorter += len(after.table) < len(before.table)
        assert after.relevance.shape == (len(after.queries), len(after.table)) and len(after.prior) == len(after.table)
        assert len(after.ages) == len(after.table)
        # every question keeps evidence, since no sentence that holds any is left out
        assert all(row.any() for row in after.relevance)
    assert shorter > len(plain) / 2


def test_follow_ups_are_asked_only_where_earlier_questions_are_seen(tokenizer):
    rows = city_rows(12)
    for row in rows:
        for question in row["questions"][1:]:
            question["question"] = f"{row['questions'][0]['question']} And {question['question']}"
    plain, leaning = (
        ScoringDataset({"c": rows}, tokenizer, {"c": 1}, seed=4, vary=True, follow_ups=chance) for chance in (0.0, 1.0)
    )
    changed = {True: 0, False: 0}
    for number in range(len(plain)):
        before, after = plain[number], leaning[number]
        changed[before.history] += before.queries != after.queries
        assert before.queries[0] == after.queries[0] and before.answers == after.answers
        assert np.array_equal(before.relevance, after.relevance)
    assert changed[True] and not changed[False]
