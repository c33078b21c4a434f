"""Selection against brute force: within the limit, close to it, groups whole, protected spans kept."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reet_hf.candidates import NOTHING, WORTH, Candidates, Forms
from reet_hf.choice import NEIGHBOUR, PRIOR, backed, choose
from reet_hf.errors import ReetError
from reet_hf.greedy import Steps
from reet_hf.records import Span, Unit
from reet_hf.selection import TOLERANCE, fit

PROSE = (
    "The visa of Ann Lee expires in June and must be renewed in Oslo before the spring. Her order of seven boxes of "
    "green tea was shipped on Monday, though the invoice says Tuesday. Nobody called the office about either of them."
)


def count_words(text: str) -> int:
    return len(text.split())


@st.composite
def candidates(draw, largest: int = 10, groups: bool = True) -> Candidates:
    """Units of one character a token, in up to three messages, some of them grouped."""
    units, place, message = [], 0, 0
    for _ in range(draw(st.integers(1, largest))):
        if draw(st.booleans()) and message < 2:
            message, place = message + 1, 0
        length = draw(st.integers(1, 9))
        group = draw(st.sampled_from([None, None, 0, 1])) if groups else None
        units.append(Unit(message, place, place + length, "sentence" if group is None else "tool", group))
        place += length + draw(st.integers(0, 2))
    scores = draw(st.lists(st.integers(-5, 20), min_size=len(units), max_size=len(units), unique=True))
    costs = np.array([unit.end - unit.start for unit in units])
    return Candidates(units, np.array(scores, dtype=float), costs)


OVERHEADS = st.lists(st.integers(0, 4), min_size=3, max_size=3).map(np.array)


def exact(overheads: np.ndarray):
    """Tokens of spans: one a character, and what each message costs once."""

    def count(spans: Sequence[Span]) -> int:
        return sum(s.end - s.start for s in spans) + sum(int(overheads[m]) for m in {s.message for s in spans})

    return count


def characters(coarse: Sequence[Unit]) -> Candidates:
    """What can be split as units of one character each."""
    parts = [Unit(u.message, n, n + 1, "word") for u in coarse if u.group is None for n in range(u.start, u.end)]
    return Candidates(parts, np.zeros(len(parts)), np.ones(len(parts), dtype=np.int64))


def price(found: Candidates, overheads: np.ndarray, kept: Sequence[bool]) -> int:
    return exact(overheads)([unit.span for unit, keep in zip(found.units, kept, strict=True) if keep])


def subsets(found: Candidates):
    """Every choice that keeps groups together."""
    for kept in product((False, True), repeat=len(found.units)):
        by_group: dict[int, set[bool]] = {}
        for unit, keep in zip(found.units, kept, strict=True):
            if unit.group is not None:
                by_group.setdefault(unit.group, set()).add(keep)
        if all(len(values) == 1 for values in by_group.values()):
            yield kept


@given(found=candidates(), overheads=OVERHEADS, limit=st.integers(0, 60))
@settings(deadline=None, max_examples=60)
def test_choose_is_the_first_affordable_choice_in_order_of_importance(found, overheads, limit):
    """The brute-force twin: of all choices that fit, the one that keeps the best choice, then the next best, …

    Greedy by importance promises this order and no share of a best sum: one dear unit may displace many cheap ones.
    """
    dense, count = found.choices()
    best = [max(found.scores[dense == choice]) for choice in range(count)]
    order = sorted(range(count), key=lambda choice: -best[choice])
    first = [int(np.flatnonzero(dense == choice)[0]) for choice in order]
    affordable = [kept for kept in subsets(found) if price(found, overheads, kept) <= limit]
    twin = max(affordable, key=lambda kept: [kept[place] for place in first])
    assert (choose(found, overheads, limit) > NOTHING).tolist() == list(twin)


@given(found=candidates(groups=False), limit=st.integers(0, 60))
@settings(deadline=None, max_examples=40)
def test_choose_is_optimal_where_all_units_cost_the_same(found, limit):
    equal = Candidates(found.units, found.scores + 6, np.full(len(found.units), 3))
    kept = choose(equal, np.zeros(3, dtype=int), limit) > NOTHING
    best = max(
        sum(equal.scores[np.flatnonzero(choice)])
        for choice in product((False, True), repeat=len(found.units))
        if 3 * sum(choice) <= limit
    )
    assert equal.scores[kept].sum() == pytest.approx(best)


@st.composite
def shortened(draw, largest: int = 5) -> Candidates:
    """Units with chances and with shorter forms: the first characters of each."""
    found = draw(candidates(largest))
    chances = draw(st.lists(st.integers(0, 100), min_size=len(found.units), max_size=len(found.units)))
    costs, slices = [], []
    for unit in found.units:
        length = unit.end - unit.start
        short = (
            sorted(draw(st.lists(st.integers(0, length), min_size=2, max_size=2)))
            if unit.group is None
            else [length] * 2
        )
        sizes = [*short, length]
        costs.append(sizes)
        slices.append([[(unit.start, unit.start + size)] if size else [] for size in sizes])
    return Candidates(found.units, np.array(chances) / 100, found.costs, Forms(np.array(costs).T, slices))


def worth(found: Candidates, levels: np.ndarray) -> float:
    """Value of a choice, summed step by step."""
    assert found.forms is not None
    dense, count = found.choices()
    total = 0.0
    for choice in range(count):
        own = np.flatnonzero(dense == choice)
        sizes = found.forms.costs[:, own].sum(1)
        added = np.diff(sizes, prepend=0)
        chance = max(found.scores[own])
        total += sum(chance * WORTH[level] * added[level] for level in range(levels[own[0]] + 1))
    return total


def every_choice(found: Candidates):
    """Every assignment of levels that keeps groups together."""
    dense, count = found.choices()
    for levels in product(range(NOTHING, len(WORTH)), repeat=count):
        yield np.array(levels)[dense]


@given(found=shortened(), limit=st.integers(0, 40))
@settings(deadline=None, max_examples=80)
def test_a_choice_of_forms_is_worth_at_least_half_of_the_best_one(found, limit):
    free = np.zeros(3, dtype=int)
    chosen = choose(found, free, limit)
    assert price_of(found, free, chosen) <= limit
    best = max(worth(found, levels) for levels in every_choice(found) if price_of(found, free, levels) <= limit)
    assert worth(found, chosen) >= 0.5 * best - 1e-9


def price_of(found: Candidates, overheads: np.ndarray, levels: np.ndarray) -> int:
    return exact(overheads)(found.spans(levels))


@given(found=shortened(largest=6), overheads=OVERHEADS, limit=st.integers(0, 60))
@settings(deadline=None, max_examples=80)
def test_a_choice_of_forms_pays_for_messages_and_stays_within_the_limit(found, overheads, limit):
    levels = choose(found, overheads, limit)
    assert price_of(found, overheads, levels) <= limit
    dense, count = found.choices()
    assert all(len(set(levels[dense == choice].tolist())) == 1 for choice in range(count))


def test_forms_come_close_to_the_exact_solution_where_units_are_small():
    """Many small units, as in a conversation: the gap is at most the worth of the dearest step (Dantzig, 1957)."""
    chooser = np.random.default_rng(5)
    sizes = chooser.integers(1, 6, size=(5, 3)).cumsum(1)
    units = [Unit(0, 20 * n, 20 * n + int(size[-1])) for n, size in enumerate(sizes)]
    slices = [[[(unit.start, unit.start + int(size))] for size in own] for unit, own in zip(units, sizes, strict=True)]
    found = Candidates(units, chooser.random(5), sizes[:, -1], Forms(sizes.T, slices))
    free = np.zeros(1, dtype=int)
    for limit in range(0, int(sizes[:, -1].sum()) + 1, 3):
        best = max(worth(found, levels) for levels in every_choice(found) if price_of(found, free, levels) <= limit)
        assert worth(found, choose(found, free, limit)) >= best - Steps.of(found).values.max() - 1e-9


def test_likely_units_are_kept_whole_and_unlikely_ones_short():
    units = [Unit(0, 0, 10), Unit(0, 20, 30), Unit(0, 40, 50)]
    sizes = np.tile(np.array([[4], [6], [10]]), 3)
    slices = [[[(u.start, u.start + size)] for size in (4, 6, 10)] for u in units]
    found = Candidates(units, np.array([0.9, 0.1, 0.2]), np.full(3, 10), Forms(sizes, slices))
    assert choose(found, np.zeros(1, dtype=int), 14).tolist() == [2, NOTHING, 0]
    assert choose(found, np.zeros(1, dtype=int), 20).tolist() == [2, 0, 1]


@given(found=shortened(largest=6), overheads=OVERHEADS, limit=st.integers(0, 60), data=st.data())
@settings(deadline=None, max_examples=120)
def test_fit_with_forms_stays_within_the_limit_and_protects(found, overheads, limit, data):
    places = data.draw(st.sets(st.integers(0, len(found.units) - 1), max_size=2))
    protected = [u.span for n, u in enumerate(found.units) if n in places and u.group is None]
    if protected and protected[0].end - protected[0].start > 2:  # inside of a unit, across the slices of its forms
        protected[0] = Span(protected[0].message, protected[0].start + 1, protected[0].end - 1)
    count = exact(overheads)
    factor = data.draw(st.sampled_from([1, 2]), label="exact cost over estimated cost")
    limit = max(limit, factor * count(protected))
    spans = fit(found, overheads, limit, protected, lambda s: factor * count(s), [characters])
    assert factor * count(spans) <= limit
    assert spans == sorted(spans)
    assert not any(a.overlaps(b) for n, a in enumerate(spans) for b in spans[n + 1 :])
    assert all(any(span.contains(wanted) for span in spans) for wanted in protected)


def test_a_unit_is_backed_by_its_neighbours_and_by_the_prior():
    alone = backed(np.array([0.0, 1.0, 0.0, 0.2]), np.zeros(4))
    assert alone == pytest.approx([NEIGHBOUR, 1.0, NEIGHBOUR * 1.2, 0.2])
    assert backed(np.zeros(2), np.array([1.0, 0.5])) == pytest.approx([0.0, 0.0])
    apart = backed(np.array([0.5, 0.0, 0.0, 0.0]), np.array([0.0, 0.0, 0.0, 0.8]))
    assert apart == pytest.approx([0.5, 0.5 * NEIGHBOUR, 0.0, 0.5 * PRIOR * 0.8])
    assert backed(np.zeros(0), np.zeros(0)).shape == (0,)


@given(found=candidates(), overheads=OVERHEADS, limit=st.integers(0, 60), data=st.data())
@settings(deadline=None, max_examples=120)
def test_fit_stays_within_the_limit_and_keeps_groups_whole(found, overheads, limit, data):
    count = exact(overheads)
    exaggeration = data.draw(st.sampled_from([1, 2]), label="exact cost over estimated cost")
    spans = fit(found, overheads, limit, [], lambda s: exaggeration * count(s), [characters])
    assert exaggeration * count(spans) <= limit
    assert spans == sorted(spans)
    assert not any(a.overlaps(b) for n, a in enumerate(spans) for b in spans[n + 1 :])
    kept = {(s.message, n) for s in spans for n in range(s.start, s.end)}
    for group in {unit.group for unit in found.units} - {None}:
        members = [(u.message, n) for u in found.units if u.group == group for n in range(u.start, u.end)]
        assert len(kept & set(members)) in (0, len(members))


@given(found=candidates(groups=False), overheads=OVERHEADS, limit=st.integers(1, 60))
@settings(deadline=None, max_examples=100)
def test_fit_comes_close_to_the_limit_where_units_can_be_cut(found, overheads, limit):
    count = exact(overheads)
    everything = count([unit.span for unit in found.units])
    spans = fit(found, overheads, limit, [], count, [characters])
    dearest = 1 + int(overheads.max())  # one more character and, perhaps, its message
    assert count(spans) >= min(everything, (1 - TOLERANCE) * limit - dearest)


@given(found=candidates(), overheads=OVERHEADS, limit=st.integers(0, 60), data=st.data())
@settings(deadline=None, max_examples=120)
def test_protected_spans_survive_or_the_floor_is_named_and_works(found, overheads, limit, data):
    places = data.draw(st.sets(st.integers(0, len(found.units) - 1), min_size=1, max_size=3))
    groups = {found.units[place].group for place in places} - {None}
    protected = sorted(u.span for n, u in enumerate(found.units) if n in places or u.group in groups)
    count = exact(overheads)

    def kept_within(budget: int) -> list[Span]:
        return fit(found, overheads, budget, protected, count, [characters])

    if count(protected) > limit:
        with pytest.raises(ReetError, match=f"`budget` allows {limit} tokens.*at least {count(protected)}") as caught:
            kept_within(limit)
        assert caught.value.floor == count(protected)
        limit = caught.value.floor
    spans = kept_within(limit)
    assert count(spans) <= limit
    assert all(any(span.contains(wanted) for span in spans) for wanted in protected)


def test_protected_words_are_not_paid_for_twice():
    units = [Unit(0, n, n + 1, "word") for n in range(100)]
    words = Candidates(units, np.arange(100, 0, -1.0), np.ones(100, dtype=np.int64))
    protected = [unit.span for unit in units[:40]]
    spans = fit(words, np.zeros(1, dtype=int), 80, protected, exact(np.zeros(1, dtype=int)), [])
    assert len(spans) >= (1 - TOLERANCE) * 80


def test_what_cannot_be_cut_and_does_not_fit_does_not_stop_smaller_units():
    atoms = [Unit(0, 200 * n, 200 * n + 200, "code") for n in range(4)]
    sentence = Unit(0, 900, 960)
    found = Candidates([*atoms, sentence], np.array([4.0, 3, 2, 1, 0]), np.array([200, 200, 200, 200, 60]))

    def finer(coarse: Sequence[Unit]) -> Candidates:
        return characters([unit for unit in coarse if unit.kind == "sentence"])

    spans = fit(found, np.zeros(1, dtype=int), 50, [], exact(np.zeros(1, dtype=int)), [finer])
    assert sum(span.end - span.start for span in spans) >= 49


@pytest.mark.parametrize("unit", ["word", "auto"])
@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5, 0.8])
@pytest.mark.parametrize("counting", ["words", "tokenizer"])
def test_words_fill_the_budget(compress, tokenizer, unit, rate, counting):
    out = compress(
        " ".join([PROSE] * 5), budget=rate, unit=unit, tokenizer=count_words if counting == "words" else None
    )
    assert (1 - TOLERANCE) * out["tokens"]["budget"] <= out["tokens"]["compressed"] <= out["tokens"]["budget"]


@pytest.mark.parametrize("unit", ["clause", "sentence", "message"])
@pytest.mark.parametrize("query", [None, "When does the visa expire?"])
def test_smaller_units_fill_what_larger_ones_leave(compress, unit, query):
    messages = [{"role": role, "content": PROSE} for role in ("user", "assistant") * 3]
    out = compress({"messages": messages, "query": query}, budget=0.37, unit=unit, tokenizer=count_words)
    assert (1 - TOLERANCE) * out["tokens"]["budget"] - 1 <= out["tokens"]["compressed"] <= out["tokens"]["budget"]


@pytest.mark.parametrize("rate", [0.3, 0.6, 1.0])
def test_a_count_that_adds_special_tokens_to_each_text_fills_the_budget_too(compress, rate):
    def count_with_special_tokens(text: str) -> int:
        return len(text.split()) + 2

    tokens = compress(" ".join([PROSE] * 5), budget=rate, unit="word", tokenizer=count_with_special_tokens)["tokens"]
    assert (1 - TOLERANCE) * tokens["budget"] <= tokens["compressed"] <= tokens["budget"]


def test_protected_words_leave_the_rest_of_the_budget_to_others(compress):
    out = compress(" ".join([PROSE] * 5), budget=0.6, unit="word", tokenizer=count_words, protect=[r"\b[a-m]\w*"])
    assert out["tokens"]["compressed"] >= (1 - TOLERANCE) * out["tokens"]["budget"]


def test_markers_do_not_cost_the_sentence_that_is_needed_most(bundled):
    """What is left out for a marker's price was the best, once small things had been given back without gain."""
    from transformers import pipeline

    compress = pipeline("reet-compression", model=str(bundled))
    said = [
        "We move on 3 May. The flat is in Kestrel Street on the second floor.",
        "I asked three companies. Okafor sounds good. Ours are full of books.",
        "You get the parking signs at the counter of the town hall in Mill Lane, at least five days before.",
        "Perfect. It has been raining for a week. The piano was tuned in March.",
        "I will remind you to call the movers. My sister used Blue Van last year.",
    ]
    messages = [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(said)]
    for unit in ("sentence", "auto"):
        for budget in (60, 70, 80, 90):
            given = {"messages": messages, "query": "Where do I get the parking signs?"}
            out = compress(given, budget=budget, unit=unit, markers=True, keep_recent=0)
            assert "Mill Lane" in out["text"] and out["tokens"]["compressed"] <= budget, (unit, budget)
