"""Markdown tables of results; every number carries half the width of its 95 % interval."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from eval.board import RECALL, SURVIVAL, Board, contexts, mean, title
from eval.bootstrap import RESAMPLES, Estimate, estimate
from eval.regimes import REGIMES

TURNS = (1, 5, 10, 20)
LATER = (10, 20)  # turns that the first one is compared with
AGES = {"0 to 2": range(0, 3), "3 to 5": range(3, 6), "6 to 9": range(6, 10)}  # chunks
FURTHER = {  # measures beside the main one of a generated task
    ("variable_tracking", "value_survival"): "the value alone",
    ("latest_value", "stale_shown"): "only an old one (lower is better)",
}
COSTS: dict[str, Callable[..., float]] = {  # each with what is worst among data sets
    "rate_error": max,
    "overruns": sum,
    "worst_overrun": max,
    "verbatim": min,
    "foreign_words": sum,
}
TIMES = ("turn_ms_p50", "turn_ms_p95", "cold_ms_p50")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def shown(found: Estimate | None, signed: bool = False) -> str:
    """An estimate as `.874 ±.012`, a dash for none."""
    if found is None:
        return "–"
    sign = "+" if signed and found.value >= 0 else ""
    return f"{sign}{_short(found.value)} ±{_short((found.high - found.low) / 2)}"


def _short(value: float) -> str:
    return f"{value:.3f}".replace("0.", ".", 1)


def overview(board: Board, task: str, regime: str, budget: int) -> str:
    """One line a system: survival, evidence recall, what readers keep, survival by turn; below, how many contexts.

    Few contexts have a late turn, so that one column of Ret(t) is read downwards, and along a line only the two
    differences are, which are of contexts that have both turns.
    """
    readers = board.readers(task)
    head = ["system", "answer survival", "evidence recall", *(f"{name}, retention" for name in readers)]
    head += [*(f"Ret({turn})" for turn in TURNS), *(f"Ret(1) − Ret({turn})" for turn in LATER)]
    rows, counts = [], []
    systems = board.systems(task, regime, budget)
    for system in ["full", *systems] if systems else []:
        result = board.get(system, task, regime, budget)
        if result is None:
            continue
        columns = [result.ratios(SURVIVAL), result.ratios(RECALL)]
        columns += [board.reader_ratios(result, name) for name in readers]
        columns += [result.ratios(SURVIVAL, turn) for turn in TURNS]
        lost = [result.degradation(SURVIVAL, 1, turn) for turn in LATER]
        rows.append([title(system), *(shown(estimate(each)) for each in columns)])
        rows[-1] += [shown(estimate(each), signed=True) for each in lost]
        counts = [str(contexts(each)) for each in [*columns, *lost]]
    return table(head, [*rows, ["*number of texts*", *counts]] if rows else [])


def headline(board: Board, task: str, regime: str, budgets: Sequence[int], systems: Sequence[str]) -> str:
    """One line a system: survival and evidence recall under each budget."""
    columns = [(measure, budget) for budget in budgets for measure in (SURVIVAL, RECALL)]
    head = ["system", *(f"{measure.replace('_', ' ')}, {budget} %" for measure, budget in columns)]
    rows = []
    for system in systems:
        found = {budget: board.get(system, task, regime, budget) for budget in budgets}
        results = [(found[budget], measure) for measure, budget in columns]
        rows.append([title(system), *(shown(estimate(one.ratios(m))) if one else "–" for one, m in results)])
    return table(head, rows)


def by_set(board: Board, task: str, regime: str, budget: int) -> str:
    """One line a system: survival on each data set, or evidence recall, as the head says, where it has no answers."""
    systems = board.systems(task, regime, budget)
    sets = sorted({name for s in systems for name in getattr(board.get(s, task, regime, budget), "sets", ())})
    rows = []
    for system in systems:
        result = board.get(system, task, regime, budget)
        cells = [shown(mean(result, SURVIVAL, sets=[name]) or mean(result, RECALL, sets=[name])) for name in sets]
        rows.append([title(system), *cells])
    some = next((each for system in systems if (each := board.get(system, task, regime, budget))), None)
    recalled = [name for name in sets if not mean(some, SURVIVAL, sets=[name])]
    return table(["system", *(f"{name} (evidence recall)" if name in recalled else name for name in sets)], rows)


def by_budget(board: Board, task: str, regime: str, measure: str) -> str:
    """One line a system: a measure at every budget."""
    rows = [
        [title(s), *(shown(mean(board.get(s, task, regime, budget), measure)) for budget in board.budgets)]
        for s in board.systems(task, regime)
    ]
    return table(["system", *(f"{budget} %" for budget in board.budgets)], rows)


def by_age(board: Board, task: str, budget: int) -> str:
    """One line a system: survival in regime `rolling` by how many chunks came after the answer's."""
    rows = []
    for system in board.systems(task, "rolling", budget):
        result = board.get(system, task, "rolling", budget)
        if result is not None:
            rows.append([title(system), *(shown(estimate(result.by_age(SURVIVAL, ages))) for ages in AGES.values())])
    return table(["system", *(f"{age} chunks ago" for age in AGES)], rows)


def leads(board: Board, task: str, measure: str) -> str:
    """REET minus the best system that is not ours, for every regime and budget, with its bootstrap p-value."""
    rows = []
    for regime in REGIMES:
        for budget in board.budgets:
            rival = board.best_rival(task, regime, budget, measure)
            lead = rival and board.lead("reet", rival, task, regime, budget, measure)
            if rival and lead:
                own = shown(mean(board.get("reet", task, regime, budget), measure))
                best = shown(mean(board.get(rival, task, regime, budget), measure))
                least = 2 / RESAMPLES
                p = f"≤ {_short(least)}" if lead.p_value <= least else _short(lead.p_value)
                rows.append([f"`{regime}`", f"{budget} %", own, title(rival), best, shown(lead, signed=True), p])
    return table(["regime", "budget", "REET", "best baseline", "its score", "difference", "p"], rows)


def costs(board: Board, task: str, regime: str, budget: int) -> str:
    """One line a system: rate error, overruns, verbatim pieces, stable prefix, entities."""
    rows = []
    for system in board.systems(task, regime, budget):
        result = board.get(system, task, regime, budget)
        if result is None:
            continue
        spent = [entry.costs for entry in result.sets.values() if entry.costs]
        cells = [worst(each.get(name, 0.0) for each in spent) for name, worst in COSTS.items()]
        more = [shown(mean(result, name)) for name in ("prefix_stability", "entity_survival")]
        rows.append([title(system), *(f"{cell:.4g}" for cell in cells), *more])
    return table(["system", *(name.replace("_", " ") for name in COSTS), "prefix stability", "entity survival"], rows)


def latency(board: Board, task: str, regime: str, budget: int) -> str:
    """One line a system: milliseconds a turn and cold on the data set where it is slowest."""
    rows = []
    for system in board.systems(task, regime, budget):
        result = board.get(system, task, regime, budget)
        if result is not None:
            worst = [max(entry.costs[name] for entry in result.sets.values()) for name in TIMES]
            rows.append([title(system), *(f"{each:,.0f}" for each in worst)])
    return table(["system", *(name.replace("_", " ") for name in TIMES)], rows)


def reading(board: Board, task: str, regime: str, budget: int) -> str:
    """One line a system and reader: retention of F1 on each data set, of all, and of exact matches."""
    rows: list[list[str]] = []
    whole = board.get("full", task, "once", 100)
    sets = sorted(whole.sets) if whole else []
    for reader in board.readers(task):
        for system in board.systems(task, regime, budget):
            result = board.get(system, task, regime, budget)
            if result is None or not (found := estimate(board.reader_ratios(result, reader))):
                continue
            each = [estimate(board.reader_ratios(result, reader, sets=[name])) for name in sets]
            exact = estimate(board.reader_ratios(result, reader, ["exact"]))
            rows.append([title(system), reader, *map(shown, [*each, found, exact])])
    return table(["system", "reader", *sets, "mean", "mean of exact match"], rows)


def full_context(board: Board, task: str) -> str:
    """What each reader scores on the full context: the number that retention is measured against."""
    whole = board.get("full", task, "once", 100)
    if whole is None:
        return ""
    rows = []
    for reader in board.readers(task):
        for measure in ("f1", "exact", "rouge_l"):
            name = f"{reader}.{measure}"
            if found := mean(whole, name):
                sets = [shown(mean(whole, name, sets=[one])) for one in sorted(whole.sets)]
                rows.append([reader, measure.replace("_", "-"), *sets, shown(found)])
    return table(["reader", "measure", *sorted(whole.sets), "mean"], rows)


def generated(board: Board, regime: str, budget: int, measure: str = SURVIVAL) -> str:
    """One line a system: a measure on every generated task, and beside survival what a task measures besides."""
    tasks = [name for name in board.tasks if not name.startswith("mtr")]
    columns = [(task, measure, task.replace("_", " ")) for task in tasks]
    if measure == SURVIVAL:
        more = [(task, name, said) for (task, name), said in FURTHER.items() if task in tasks]
        columns += [(task, name, f"{task.replace('_', ' ')}: {said}") for task, name, said in more]
    systems = list(dict.fromkeys(s for task in tasks for s in board.systems(task, regime, budget)))
    rows = [
        [title(s), *(shown(mean(board.get(s, task, regime, budget), name)) for task, name, _ in columns)]
        for s in systems
    ]
    return table(["system", *(said for *_, said in columns)], rows)


def sections(board: Board) -> Iterator[tuple[str, str]]:
    """All tables of the results page with their headings."""
    for regime in REGIMES:
        for budget in (33, 20):
            if board.systems("mtr", regime, budget):
                yield f"`mtr`, regime `{regime}`, {budget} % of the tokens", overview(board, "mtr", regime, budget)
    yield "REET against the best baseline, answer survival", leads(board, "mtr", SURVIVAL)
    yield "REET against the best baseline, evidence recall", leads(board, "mtr", RECALL)
    for task in board.tasks:
        if task != "mtr":
            yield f"REET against the best baseline on `{task}`, answer survival", leads(board, task, SURVIVAL)
    for regime in REGIMES:
        if board.systems("mtr", regime, 20):
            yield f"By data set, regime `{regime}`, 20 %", by_set(board, "mtr", regime, 20)
        for task in board.tasks:
            if task.startswith("mtr_") and board.systems(task, regime, 20):
                yield f"`{task}` by data set, regime `{regime}`, 20 %", by_set(board, task, regime, 20)
    for regime in REGIMES:
        if board.systems("mtr", regime):
            yield f"Answer survival by budget, regime `{regime}`", by_budget(board, "mtr", regime, SURVIVAL)
            yield f"Evidence recall by budget, regime `{regime}`", by_budget(board, "mtr", regime, RECALL)
    for budget in (33, 20):
        if board.systems("mtr", "rolling", budget):
            yield f"Regime `rolling` by age of the evidence, {budget} %", by_age(board, "mtr", budget)
    yield "Readers on the full context", full_context(board, "mtr")
    for regime in REGIMES:
        for budget in (33, 20):
            if board.systems("mtr", regime, budget):
                yield f"What readers keep, regime `{regime}`, {budget} %", reading(board, "mtr", regime, budget)
    for regime in REGIMES:
        for budget in (33, 20):
            if any(board.systems(task, regime, budget) for task in board.tasks if not task.startswith("mtr")):
                place = f"regime `{regime}`, {budget} %"
                yield f"Generated tasks, answer survival, {place}", generated(board, regime, budget)
                yield f"Generated tasks, evidence recall, {place}", generated(board, regime, budget, RECALL)
    for regime in REGIMES:
        if board.systems("mtr", regime, 20):
            yield f"Budgets and pieces, regime `{regime}`, 20 %, the worst data set", costs(board, "mtr", regime, 20)
