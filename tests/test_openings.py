"""What is paid for once: containers found in any structure, prices read by number, and the order they make."""

from __future__ import annotations

import json
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reet_hf import Session
from reet_hf.budget import resolve_counter
from reet_hf.candidates import NOTHING, Candidates
from reet_hf.choice import choose
from reet_hf.conversation import Conversation, parse_messages
from reet_hf.openings import MARKER, Containers, openings, prices, weighed
from reet_hf.records import Unit
from reet_hf.segmentation import layout, units
from reet_hf.state import Counts, State, measured, overheads
from reet_hf.structure import frame, leaf_borders, leaves

ROWS = [{"id": n, "note": f"row number {n} of the list"} for n in range(12)]
CALL = {"id": "c1", "type": "function", "function": {"name": "rows", "arguments": "{}"}}
MESSAGES = [
    {"role": "user", "content": "Show me all rows."},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": json.dumps({"ok": True, "rows": ROWS})},
    {
        "role": "assistant",
        "content": "| a | b |\n|---|---|\n" + "\n".join(f"| {n} | the {n}th row |" for n in range(20)),
    },
]


def conversation() -> Conversation:
    return Conversation(parse_messages(MESSAGES))


def test_a_leaf_opens_its_message_and_all_containers_around_it():
    own, containers = conversation(), Containers()
    containers.read(own.messages)
    found = units(own, "sentence")
    opened = openings(found, own.homes, containers)
    for unit, numbers in zip(found, opened, strict=True):
        assert numbers[0] == own.homes[unit.message]
        around = [containers.frames[-1 - number] for number in numbers[1:]]
        assert all(spans[0].message == unit.message and spans[0].start <= unit.start for spans in around)
    assert {len(numbers) for unit, numbers in zip(found, opened, strict=True) if unit.kind == "json"} == {3}
    assert {len(numbers) for unit, numbers in zip(found, opened, strict=True) if unit.kind == "table"} == {2}


def test_reading_message_by_message_finds_the_same():
    own, once, grown = conversation(), Containers(), Containers()
    once.read(own.messages)
    for count in range(len(own.messages) + 1):
        grown.read(own.messages[:count])
    assert (grown.frames, grown.around) == (once.frames, once.around)
    assert [number for number, _ in once.slices(1)] == [n for n, _ in once.slices(0) if n >= 1]


def commit(number: int, files: int) -> str:
    lines = "\n".join(f" src/m{number}/file{n}.py | {n} +-" for n in range(files))
    return f"commit {number:040x}\nAuthor: Ann <a@b.c>\nDate: May {number}\n\n    Fix {number}\n\n{lines}\n"


@pytest.mark.parametrize("files", [2, 28])
def test_containers_without_a_frame_have_a_price(files, compress):
    log = "\n".join(commit(n, files) for n in range(1, 8))
    chat = [MESSAGES[0], MESSAGES[1], {**MESSAGES[2], "content": log}, {"role": "assistant", "content": "Done."}]
    state = State(Conversation(parse_messages(chat)))
    counts = Counts(resolve_counter(len))
    measured(state, counts, "sentence")
    told = overheads(state, counts)
    assert len(told) == len(chat) + len(state.containers.frames) and len(state.containers.frames) >= 1
    assert told[-1] == MARKER
    whole = compress(chat, budget=0.3)
    session = Session(compress)
    for message in chat:
        session.append(message)
    assert session.compress(budget=0.3)["messages"] == whole["messages"]


def test_prices_are_read_by_number():
    told = prices(np.array([5, 6, 7]), np.array([10, 20]))
    assert told[[0, 1, 2, -1, -2]].tolist() == [5, 6, 7, 10 + MARKER, 20 + MARKER]
    own, containers = conversation(), Containers()
    containers.read(own.messages)
    assert weighed(own, containers).tolist() == [False, True, True, False] + [True] * len(containers.frames)


def test_what_leads_a_container_belongs_to_its_first_leaf():
    for message in conversation().messages:
        for part in layout(message):
            borders, found = leaf_borders(part), leaves(part)
            assert len(borders) == len(found) and borders == sorted(borders)
            assert borders[0] == part.start == frame(part)[0][0]
            assert all(border <= leaf.start for border, leaf in zip(borders, found, strict=True))


@given(
    sizes=st.lists(st.tuples(st.integers(1, 9), st.integers(0, 2), st.integers(1, 20)), min_size=1, max_size=7),
    opening=st.lists(st.integers(0, 12), min_size=3, max_size=3),
    limit=st.integers(0, 60),
)
@settings(deadline=None, max_examples=150)
def test_a_choice_pays_for_what_it_opens_once_and_stays_within_the_limit(sizes, opening, limit):
    found = [Unit(0, 10 * n, 10 * n + size, "json") for n, (size, _, _) in enumerate(sizes)]
    opens = [(0, -1 - inner) if inner < 2 else (0,) for _, inner, _ in sizes]
    costs = np.array([size for size, _, _ in sizes])
    scores = np.array([score / 20 for _, _, score in sizes])
    told = np.array([opening[2], opening[1], opening[0]])
    candidates = Candidates(found, scores, costs, opens=opens, weighed=np.ones(3, dtype=bool))
    kept = choose(candidates, told, limit) > NOTHING

    def price(chosen) -> int:
        numbers = {number for own, keep in zip(opens, chosen, strict=True) if keep for number in own}
        return int(costs[list(chosen)].sum()) + sum(int(told[number]) for number in numbers)

    assert price(kept.tolist()) <= limit
    affordable = [c for c in product((False, True), repeat=len(found)) if price(c) <= limit]
    assert kept.any() == any(any(c) for c in affordable)
    alone = [n for n in range(len(found)) if price([m == n for m in range(len(found))]) <= limit]
    if len(alone) > 1 and not any(opening):
        assert kept[max(alone, key=lambda n: scores[n])]


def test_a_dear_opening_waits_until_it_is_worth_its_price():
    found = [Unit(0, 0, 10, "json"), Unit(1, 0, 10), Unit(2, 0, 10)]
    scores, costs = np.array([0.9, 0.5, 0.4]), np.full(3, 10)
    opening = np.array([30, 0, 0])
    heavy = Candidates(found, scores, costs, weighed=np.array([True, False, False]))
    light = Candidates(found, scores, costs)
    assert (choose(heavy, opening, 40) > NOTHING).tolist() == [False, True, True]
    assert (choose(light, opening, 40) > NOTHING).tolist() == [True, False, False]
    assert (choose(heavy, opening, 60) > NOTHING).tolist() == [True, True, True]


def test_what_comes_along_costs_nothing_once_its_exchange_is_open():
    found = [Unit(0, 0, 10, "tool"), Unit(1, 0, 10, "json")]
    opening = np.array([15, 0])
    along = np.array([True, False])
    both = Candidates(found, np.array([0.1, 0.9]), np.full(2, 10), opens=[(0,), (0,)], along=along)
    assert (choose(both, opening, 25) > NOTHING).tolist() == [True, True]
    assert (choose(both, opening, 24) > NOTHING).tolist() == [True, False]


@pytest.mark.parametrize("levels", [1, 2])
def test_no_step_is_lost_while_its_choice_waits(levels):
    from reet_hf.candidates import Forms

    found = [Unit(0, 0, 10, "json"), Unit(1, 0, 4)]
    costs = np.array([[6, 4], [10, 4]])[-levels:]
    slices = [[[(0, int(size))] for size in costs[:, n]] for n in range(2)]
    candidates = Candidates(
        found,
        np.array([0.9, 0.5]),
        costs[-1],
        Forms(costs, slices, worth=(1.0, 0.6)[:levels]),
        weighed=np.array([True, False]),
    )
    assert choose(candidates, np.array([30, 0]), 60).tolist() == [levels - 1, levels - 1]
