"""The sections of the page on speed: each takes the parts of a record, and gives headings with their text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from eval.speed.clock import percentile
from eval.speed.names import NAMES, REET
from eval.tables import table

NEAR = 5  # turns that a turn at some history is taken from

CELLS = ["tokens", "system", "n", "p50 s", "p95 s", "peak MB", "times REET"]
RATIOS = {
    "late_to_early": "late over early turns of the session",
    "late_to_alternating_early": "late turns over early ones of other sessions, measured in alternation",
    "reference_late_to_early": "the fixed encoder pass beside them: the drift of the machine",
}
FLOORS = (
    "Floors are of the last history: FLOPs and bytes counted from the configuration, at the best rates of this machine "
    "(below) in the precision of each part; the larger of the two times counts. Time and floor of the encoder have the "
    "query in them, and the open window that is read again. Stages are timed by wrapping functions, each without what "
    "other stages do inside it."
)
PEERS = (
    "Each in a process of its own; peak memory is of the process, with Python, libraries and loading. LLMLingua-2 runs "
    "through its package with random weights of both of its sizes and with REET's vocabulary, which makes fewer tokens "
    "of a text than its own; the cross-encoder has the shape of REET's encoder. Both compute in float32, as "
    "they are loaded by default."
)
AGAIN = (
    "None of the others keeps anything between turns, so that a turn costs them a pass over all of the conversation: "
    f"their p50 from above. REET's is the p50 of the {NEAR} turns nearest to that history (the middle one's history). "
    "Milliseconds."
)

Record = Mapping[str, Any]


def _start(parts: Record) -> Iterator[tuple[str, str]]:
    rows = [_spread(name, cell, 2) for name, cell in parts["start"]["seconds"].items()]
    yield "From a fresh process to the first result", table(["seconds of", "n", "p50", "p95"], rows)


def _floor(parts: Record) -> Iterator[tuple[str, str]]:
    rows = []
    for dtype, own in parts["floor"]["matrix"].items():
        for shape, cell in own["shapes"].items():
            rows.append([dtype, shape, str(cell["repetitions"]), _number(cell["p50"]), _number(cell["best"])])
    read = parts["floor"]["read"]
    said = f"Memory is read at {read['best']:g} GB/s at best (p50 {read['p50']:g}, n {read['repetitions']})."
    head = ["precision", "product", "n", "GFLOP/s, p50", "best"]
    yield "What the machine can do", f"{table(head, rows)}\n\n{said}"


def _stages(parts: Record) -> Iterator[tuple[str, str]]:
    found = parts["stages"]["histories"]
    head = ["stage", *(f"p50 ms at {own['history_tokens']:,}" for own in found.values()), "p95 ms, last", "n"]
    head += ["MFLOP", "MB", "floor, ms", "times the floor"]
    *_, last = found.values()
    rows = []
    for name, cell in last["stages"].items():
        least = cell.get("floor", {})
        shown = [least.get(key) for key in ("mflops", "megabytes", "milliseconds", "gap")]
        rows.append([name, *(f"{own['stages'][name]['p50']:.1f}" for own in found.values()), f"{cell['p95']:.1f}"])
        rows[-1] += [str(cell["repetitions"]), *("" if each is None else _number(each) for each in shown)]
    whole = [f"**{own['turn']['p50']:.1f}**" for own in found.values()]
    rows.append(["**turn**", *whole, f"{last['turn']['p95']:.1f}", str(last["turn"]["repetitions"]), "", "", "", ""])
    text = f"{table(head, rows)}\n\n{FLOORS}\n\n![Stages of a turn](../plots/speed-stages.svg)"
    yield f"Stages of a turn of {parts['stages']['new_tokens']} new tokens", text


def _turns(parts: Record) -> Iterator[tuple[str, str]]:
    found = parts["turns"]
    rows, compared = [], []
    for name in ("even", "mixed"):
        own = found[name]
        sizes = " to ".join(str(size) for size in sorted({min(own["sizes"]), max(own["sizes"])})) + " tokens"
        rows += [[sizes, f"from {int(low):,}", *_spread("", cell, 1)[1:]] for low, cell in own["by_history"].items()]
        rows.append([sizes, "all", *_spread("", own["milliseconds"], 1)[1:]])
        numbers = [f"{own[key][0]} to {own[key][1]}" for key in ("late_turns", "early_turns")]
        for kind, said in RATIOS.items():
            cell = own["ratios"][kind]
            shown = "–" if cell["ratio"] is None else f"{cell['ratio']:.2f}"
            compared.append([sizes, said, *numbers, " / ".join(map(str, cell["repetitions"])), shown])
    told = (
        f"Each turn appends a user's message and an answer, and compresses to {found['budget']:,} tokens for a query."
    )
    spent = table(["turns of", "history", "n", "p50 ms", "p95 ms"], rows)
    ratios = table(["turns of", "means of", "late", "early", "n", "ratio"], compared)
    plot = "![A turn by the length of the conversation](../plots/speed-turns.svg)"
    yield "A session that grows", "\n\n".join((told, spent, ratios, plot))


def _cold(parts: Record) -> Iterator[tuple[str, str]]:
    rows = []
    for length, cells in parts["cold"]["lengths"].items():
        rows += [_cell(length, name, cell)[:-1] for name, cell in cells.items()]
    yield "A whole conversation from nothing, to 33 % with a query", table(CELLS[:-1], rows)


def _peers(parts: Record) -> Iterator[tuple[str, str]]:
    rows = []
    for length, cells in parts["peers"]["lengths"].items():
        rows += [_cell(length, name, cell) for name, cell in cells.items()]
    limit = f"What would take longer than {parts['peers']['limit_seconds']:g} seconds for once was not run."
    text = f"{PEERS} {limit}\n\n{table(CELLS, rows)}\n\n![From nothing, by length](../plots/speed-cold.svg)"
    yield "The same by others, in alternation with REET", text
    if "turns" in parts:
        yield "A turn, by others", _turn_by_others(parts)


def _cell(length: str, name: str, cell: Record) -> list[str]:
    tokens = f"{int(length):,}"
    if "seconds" not in cell:
        return [tokens, NAMES[name], "0", f"not run: {cell['not_run']}", "", "", ""]
    spent, times = cell["seconds"], cell.get("times_reet")
    shown = [f"{spent['p50']:.2f}", f"{spent['p95']:.2f}", f"{cell['peak_mb']:,}"]
    return [tokens, NAMES[name], str(spent["repetitions"]), *shown, "" if times is None else _number(times)]


def _turn_by_others(parts: Record) -> str:
    """What one more turn costs at some history: the others keep nothing between turns, so all of it is read again."""
    each, rows = parts["turns"]["even"]["each"], []
    others = [name for name in NAMES if name != REET]
    for length, cells in parts["peers"]["lengths"].items():
        if int(length) > max(each["history"]):
            continue
        near, history = turn_near(each, int(length))
        spent = [1000 * cells[name]["seconds"]["p50"] if "seconds" in cells.get(name, {}) else None for name in others]
        shown = ["not run" if own is None else f"{own:,.0f} ({_number(own / near)} times)" for own in spent]
        rows.append([f"{int(length):,}", f"{near:.0f} ({history:,})", *shown])
    return f"{AGAIN}\n\n" + table(["history", "**REET**", *(NAMES[name] for name in others)], rows)


def turn_near(each: Mapping[str, Sequence[float]], history: int, count: int = NEAR) -> tuple[float, int]:
    """Median milliseconds and median history of the turns nearest to a history."""
    pairs = sorted(zip(each["history"], each["milliseconds"], strict=True), key=lambda pair: abs(pair[0] - history))
    near = pairs[:count]
    return percentile([ms for _, ms in near], 0.5), int(percentile([tokens for tokens, _ in near], 0.5))


def _selection(parts: Record) -> Iterator[tuple[str, str]]:
    rows = []
    for budget, own in parts["selection"]["budgets"].items():
        rows += [[budget, f"{int(count):,}", *_spread("", cell, 1)[1:], ""] for count, cell in own["units"].items()]
        rows[-1][-1] = f"{own['growth']:g}"
    head = ["budget", "units", "n", "p50 ms", "p95 ms", "growth of time over growth of units"]
    yield "Selection by itself, units with shorter forms and a plain counter", table(head, rows)


def _memory(parts: Record) -> Iterator[tuple[str, str]]:
    own = parts["memory"]
    kinds = own["state_bytes_per_token"].items()
    rows = [["cached, all" if kind == "sum" else f"cached {kind}", f"{size:,.1f}"] for kind, size in kinds]
    rows.append(["resident memory, everything that a session keeps included", f"{own['rss_bytes_per_token']:,}"])
    rows.append(["the same from half of the session on", f"{own['rss_bytes_per_token_second_half']:,}"])
    heading = f"Memory of a session of {own['tokens']:,} tokens (n {own['repetitions']})"
    yield heading, table(["of", "bytes a token"], rows)


def _million(parts: Record) -> Iterator[tuple[str, str]]:
    own = parts["million"]
    rows = [
        _spread("a question", own["question_milliseconds"], 0),
        _spread("a turn of 512 new tokens", own["turn_milliseconds"], 0),
    ]
    told = (
        f"Appended in {own['append_seconds']:g} seconds. The first question took "
        f"{own['first_question_milliseconds']:,.0f} ms, as what is counted once a message was counted then. "
        f"{own['rss_mb']:,} MB resident."
    )
    head = [f"compressed to {own['budget']:,} tokens", "n", "p50 ms", "p95 ms"]
    yield f"{own['tokens']:,} cached tokens", f"{told}\n\n{table(head, rows)}"


def _spread(name: str, cell: Record, digits: int) -> list[str]:
    return [name, str(cell["repetitions"]), *(f"{cell[point]:,.{digits}f}" for point in ("p50", "p95"))]


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.3g}"


SECTIONS = {
    "turns": _turns,
    "stages": _stages,
    "floor": _floor,
    "cold": _cold,
    "peers": _peers,
    "start": _start,
    "selection": _selection,
    "memory": _memory,
    "million": _million,
}
