"""The exact choice of spans against trying all choices."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reet_hf.extraction.decoding import best_spans

SPANS = st.tuples(st.integers(0, 12), st.integers(1, 5)).map(lambda pair: (pair[0], sum(pair)))
SCORES = st.floats(-2, 5).map(lambda score: round(score, 2))


def apart(spans: list[tuple[int, int]]) -> bool:
    return all(a[1] <= b[0] or b[1] <= a[0] for a, b in combinations(spans, 2))


@given(st.lists(st.tuples(SPANS, SCORES), max_size=9))
def test_no_other_choice_without_overlap_has_a_higher_sum(scored):
    spans, scores = [span for span, _ in scored], [score for _, score in scored]
    chosen = best_spans(spans, scores)
    everything = range(len(spans))
    choices = [c for size in range(len(spans) + 1) for c in combinations(everything, size)]
    highest = max(sum(scores[n] for n in c) for c in choices if apart([spans[n] for n in c]))
    assert sum(scores[n] for n in chosen) == pytest.approx(highest)
    assert apart([spans[n] for n in chosen])
    assert [spans[n] for n in chosen] == sorted(spans[n] for n in chosen)


def test_what_scores_nothing_is_never_chosen():
    assert best_spans([(0, 1), (1, 2), (2, 3)], [0.0, -1.0, 0.5]) == [2]
    assert best_spans([], []) == []


def test_many_spans_need_no_recursion_and_no_square():
    count = 200_000
    spans = [(n, n + 3) for n in range(count)]
    assert len(best_spans(spans, [1.0] * count)) == -(-count // 3)
