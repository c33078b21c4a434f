"""What units cover, against the plain definition; and that a choice favours what is mentioned again and again."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from reet_hf.accounts import Accounts
from reet_hf.coverage import CONSTRAINT_SHARE, REFERENCE_WEIGHT, Mentioned, constrained, coverage, worth_of_coverage
from reet_hf.records import EntityMention, Mention


def plain(units, scores, places, entities, weights) -> list[float]:
    """Every entity in a unit of the highest score that has the whole of a mention, the first of those."""
    found = [0.0] * len(units)
    for entity in sorted(set(entities)):
        own = [place for place, number in zip(places, entities, strict=True) if number == entity]
        able = [
            number
            for number, (message, start, end) in enumerate(units)
            if any(message == m and start <= a and b <= end for m, a, b in own)
        ]
        if able:
            found[max(able, key=lambda number: (scores[number], -number))] += weights[entity]
    return found


@st.composite
def texts(draw):
    units, places = [], []
    for message in range(draw(st.integers(1, 3))):
        borders = sorted(draw(st.sets(st.integers(0, 30), min_size=2, max_size=6)))
        units += [(message, a, b) for a, b in zip(borders, borders[1:], strict=False) if draw(st.booleans())]
        starts = sorted(draw(st.sets(st.integers(0, 28), max_size=5)))
        places += [(message, start, start + draw(st.integers(1, 3))) for start in starts]
    scores = [draw(st.sampled_from([0.1, 0.5, 0.9])) for _ in units]
    entities = [draw(st.integers(0, 3)) for _ in places]
    return units, scores, places, entities


@given(texts())
def test_each_entity_is_left_to_the_unit_that_is_needed_most(made):
    units, scores, places, entities = made
    weights = np.array([1.0, 2.0, 3.0, 4.0])
    literal = np.array([True, False, True, False])
    mentioned = Mentioned(np.array(places).reshape(-1, 3), np.array(entities, dtype=np.int64), weights, literal)
    found = coverage(np.array(units).reshape(-1, 3), np.array(scores), mentioned)
    assert found[0].tolist() == plain(units, scores, places, entities, weights.tolist())
    assert found[1].tolist() == plain(units, scores, places, entities, literal.astype(float).tolist())


def test_an_entity_weighs_more_with_every_message_that_refers_to_it():
    said = [
        [
            Mention("Rome", "NAME", 0, 0, 4),
            Mention("rome", "NAME", 0, 9, 13),
            Mention("never", "CONSTRAINT", 0, 20, 25),
        ],
        [Mention("Oslo", "NAME", 1, 0, 4)],
        [Mention("Rome", "NAME", 2, 0, 4)],
        [],
        [Mention("Rome", "NAME", 4, 0, 4)],
    ]
    accounts = Accounts()
    for mentions in said:
        accounts.add_ruled(mentions)
    found = accounts.mentioned()
    assert found.entities.tolist() == [0, 0, 1, 0, 0]
    assert found.weights.tolist() == [1 + 2 * REFERENCE_WEIGHT, 1.0]
    assert found.constraints.tolist() == [[0, 20, 25]] and not len(accounts.mentioned(constraints=False).constraints)


def test_mentions_of_one_entity_of_the_ledger_are_one_thing_to_cover():
    ann, again = EntityMention("Ann Lee", "PERSON", "named", 0, 0, 7), EntityMention("Ann", "PERSON", "named", 1, 0, 3)
    accounts = Accounts()
    accounts.add("Ann Lee came.", [], [ann], [])
    accounts.add("Ann paid.", [], [again], [])
    assert accounts.mentioned().entities.tolist() == [0, 0]
    accounts.add("She left.", [], [], [])
    assert accounts.mentioned().weights.tolist() == [1 + 2 * REFERENCE_WEIGHT]  # the pronoun counts as well


def test_without_a_query_identifiers_of_dull_sentences_stay(compress):
    dull = ["the order of june was the same as it was when it was.", "the order is ab-12 when it is."]
    text = " ".join(["the order of june was the same as it was when it was."] * 6 + dull)
    kept = compress({"context": text}, budget=0.5)["text"]
    assert "ab-12" in kept


def test_numbers_come_first_where_they_fit_and_the_budget_is_a_rate():
    units = np.array([[0, 0, 10], [0, 10, 20], [0, 20, 30]])
    scores, costs = np.array([0.9, 0.1, 0.1]), np.array([4, 3, 2])
    places = np.array([[0, 12, 14], [0, 22, 24]])
    mentioned = Mentioned(places, np.array([0, 1]), np.ones(2), np.array([True, False]))

    def first(limit: int, rate: float | None) -> list[bool]:
        return (worth_of_coverage(units, scores, costs, mentioned, limit, rate) >= costs).tolist()

    assert first(3, 0.5) == [False, True, False]
    assert first(3, 0.4) == first(2, 0.9) == first(9, None) == [False] * 3
    assert first(5, 0.4) == [False, True, False]


@given(texts(), st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30), st.integers(1, 9)), max_size=4))
def test_constrained_units_share_characters_with_a_constraint(made, places):
    units = np.array(made[0]).reshape(-1, 3)
    bound: list[tuple[int, int, int]] = []
    for message, start, length in sorted(places):
        if not bound or (message, start) >= (bound[-1][0], bound[-1][2]):
            bound.append((message, start, start + length))
    nothing = np.zeros(0)
    mentioned = Mentioned(np.zeros((0, 3)), nothing, nothing, nothing, np.array(bound, dtype=np.int64).reshape(-1, 3))
    expected = [any(m == n and a < end and start < b for n, a, b in bound) for m, start, end in units.tolist()]
    assert constrained(units, mentioned).tolist() == expected


def test_likely_constraints_come_first_as_far_as_their_share_goes():
    units = np.array([[0, n * 10, n * 10 + 10] for n in range(5)])
    scores, costs = np.array([0.9, 0.1, 0.3, 0.2, 0.1]), np.array([5, 5, 5, 5, 90])
    bound = units[[1, 2, 3, 4]]
    mentioned = Mentioned(
        np.zeros((0, 3), dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0), bound
    )

    def favoured(room: int) -> list[int]:
        worth = worth_of_coverage(units, scores, costs, mentioned, int(np.ceil(room / CONSTRAINT_SHARE)), None)
        return np.flatnonzero(worth).tolist()

    assert (favoured(4), favoured(5), favoured(11), favoured(16)) == ([], [2], [2, 3], [1, 2, 3])


def test_a_constraint_survives_before_a_sentence_that_is_as_likely_needed(compress):
    dull = [
        {"role": ("user", "assistant")[n % 2], "content": "the order of june was the same as it was."}
        for n in range(30)
    ]
    bound = "you must never order in june."
    for place in (0, 6, 14):
        chat = [*dull[:place], {"role": "user", "content": bound}, *dull[place + 1 :]]
        assert bound in compress(chat, budget=0.33)["text"]
