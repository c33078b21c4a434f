"""Runs of steps bought at once against one step after the other."""

from __future__ import annotations

from heapq import heappop, heappush

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reet_hf.greedy
from reet_hf.candidates import NOTHING, Candidates, Forms
from reet_hf.greedy import Steps, greedy
from reet_hf.records import Span, Unit


@st.composite
def purchases(draw) -> tuple[Candidates, np.ndarray, int, np.ndarray]:
    """Units with forms, groups, containers and weighed openings, prices, room, and what is kept already."""
    count, messages = draw(st.integers(1, 14)), 4
    grouped = draw(st.booleans())
    owners = sorted(draw(st.lists(st.integers(0, messages - 1), min_size=count, max_size=count)))
    units = []
    for place, message in enumerate(owners):
        group = draw(st.sampled_from([None, None, 0, 1])) if grouped else None
        units.append(Unit(message, 10 * place, 10 * place + 9, "sentence" if group is None else "tool", group))
    levels = draw(st.sampled_from([1, 3]))
    whole = st.integers(0, 9)
    adds = np.array(draw(st.lists(st.lists(whole, min_size=levels, max_size=levels), min_size=count, max_size=count)))
    costs = np.cumsum(adds, axis=1).T
    least = -4 if levels == 1 else 0
    scores = np.array(draw(st.lists(st.integers(least, 9), min_size=count, max_size=count)), dtype=float) / 8
    forms = None
    if levels == 3:
        empty = draw(st.lists(st.booleans(), min_size=count, max_size=count))
        slices = [
            (() if none else ((u.start, u.start + 1),), ((u.start, u.start + 2),), ((u.start, u.end),))
            for u, none in zip(units, empty, strict=True)
        ]
        forms = Forms(costs, slices)
    containers = draw(st.lists(st.sampled_from([(), (-1,), (-1, -2), (-2,)]), min_size=count, max_size=count))
    opens = [(message, *more) for message, more in zip(owners, containers, strict=True)]
    prices = np.array(draw(st.lists(st.integers(0, 8), min_size=messages + 2, max_size=messages + 2)))
    weighed = np.array(draw(st.lists(st.booleans(), min_size=messages + 2, max_size=messages + 2)))
    covered = np.array(draw(st.lists(st.integers(0, 3), min_size=count, max_size=count)), dtype=float)
    along = np.array(draw(st.lists(st.sampled_from([False, False, True]), min_size=count, max_size=count)))
    candidates = Candidates(
        units,
        scores,
        costs[-1],
        forms=forms,
        covered=covered if levels == 3 and draw(st.booleans()) else None,
        opens=opens if draw(st.booleans()) else None,
        along=along if draw(st.booleans()) else None,
        weighed=weighed if draw(st.booleans()) else None,
    )
    steps = Steps.of(candidates)
    taken = np.array(draw(st.lists(st.booleans(), min_size=steps.choices, max_size=steps.choices)))
    start = np.where(steps.to_units(taken) & draw(st.booleans()), levels - 1, NOTHING)
    return candidates, prices, draw(st.integers(0, 80)), start


def one_by_one(candidates: Candidates, prices: np.ndarray, room: int, levels: np.ndarray) -> np.ndarray:
    """The plain twin: a queue of steps, each looked at when its turn comes."""
    steps, levels = Steps.of(candidates), levels.copy()
    opens = list(candidates.openings)

    def opened_by(places, level: int | None = None) -> set[int]:
        forms = candidates.forms
        shown = (p for p in places if level is None or forms is None or forms.slices[p][level])
        return {number % len(prices) for place in shown for number in opens[place]}

    opened = opened_by(np.flatnonzero(levels > NOTHING).tolist())
    queue = [(-float(worth), 1, number) for number, worth in enumerate(steps.worths.ravel())]
    queue.sort()
    waits: dict[int, float] = {}
    while queue:
        negative, _, step = heappop(queue)
        worth = -negative
        level, choice = divmod(step, steps.choices)
        units, cost = steps.units_of(choice).tolist(), int(steps.costs[level, choice])
        if cost > room or levels[units[0]] != level - 1:
            if choice in waits and waits[choice] <= worth:
                heappush(queue, (-float(np.nextafter(waits[choice], -np.inf)), 0, step))
            continue
        fresh = opened_by(units, level) - opened
        price = cost + sum(int(prices[number]) for number in fresh)
        if price > room:
            continue
        if candidates.weighed is not None:
            heavy = cost + sum(int(prices[number]) for number in fresh if candidates.weighed[number])
            density = float(steps.values[level, choice]) / max(heavy, 1)
            if heavy > cost and density < worth:
                waits[choice] = density
                heappush(queue, (-density, 0, step))
                continue
        levels[units] = level
        opened |= fresh
        room -= price
    return levels


@given(purchases(), st.sampled_from([None, 1, 2, 5, 4096]))
@settings(deadline=None, max_examples=600)
def test_runs_of_steps_are_bought_as_one_by_one(made, least):
    candidates, prices, room, start = made
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reet_hf.greedy, "RUN", least)
        steps = Steps.of(candidates, None if least is None else 0)
    found = greedy(steps, candidates, prices, room, start)
    assert found.tolist() == one_by_one(candidates, prices, room, start).tolist()


@given(purchases(), st.data())
def test_spans_are_those_of_each_unit_at_its_level(made, data):
    candidates, last = made[0], made[0].levels - 1
    level = st.integers(NOTHING, last)
    levels = np.array(data.draw(st.lists(level, min_size=len(candidates.units), max_size=len(candidates.units))))
    expected = []
    for place, (unit, own) in enumerate(zip(candidates.units, levels.tolist(), strict=True)):
        if own == last:
            expected.append(unit.span)
        elif own > NOTHING:
            expected.extend(Span(unit.message, start, end) for start, end in candidates.forms.slices[place][own])
    assert candidates.spans(levels) == expected
