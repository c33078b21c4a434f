"""Tables of what was measured on agents, from the files of `eval/results/agent`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from eval import records
from eval.tables import table

FOLDER = records.FOLDER / "agent"
SHOWN = (
    "identifiers, history from 2,000 tokens: text",
    "identifiers: text",
    "identifiers: text, with owner and subject",
    "values: current",
    "values: only an old one",
)
ROLLED = (
    "identifiers when they are used: text",
    "identifiers: text",
    "values: current",
    "values: only an old one",
)
AFTER = (1, 5, 10, 15, 19)  # compactions


def page(folder: Path = FOLDER) -> str:
    """Markdown tables of everything that was measured, empty if there is nothing."""
    told = {
        "validity": _validity,
        "identifiers": _identifiers,
        "rolling": _rolling,
        "cache": _cache,
        "crash": _crash,
        "robustness": _robustness,
    }
    return "\n\n".join(told[name](record) for name, record in _read(folder, told).items())


def line(folder: Path = FOLDER) -> str:
    """The main figures in one paragraph, empty if nothing was measured."""
    found = _read(folder, ("validity", "identifiers", "cache", "crash"))
    said = []
    if record := found.get("validity"):
        said.append(f"of {record['histories']:,} generated histories {record['invalid']} came out invalid")
    if record := found.get("identifiers"):
        own = record["rates"]["0.33"]["REET"]["measures"]
        long, every = (own[key]["value"] for key in SHOWN[:2])
        said.append(
            f"at 33 % {long:.3f} of the identifiers that the next call uses are still there in histories from 2,000 "
            f"tokens on, {every:.3f} in all"
        )
    if record := found.get("cache"):
        limit, systems = list(record["budgets"].items())[-1]
        stable, anew = (systems[f"REET, {name}"] for name in ("stable prefix and recall", "every request"))
        said.append(
            f"in runs of {record['turns']} turns under {int(limit):,} tokens a stable prefix with recall reads "
            f"{stable['cache_hit_share']:.1%} from the provider's cache and has {stable['survival']:.3f} of them "
            f"(compressed anew for every request: {anew['cache_hit_share']:.1%} and {anew['survival']:.3f})"
        )
    if record := found.get("crash"):
        said.append(f"{record['points']} kills lost {record['lost']} completed turns")
    return f"Agents with tools: {'; '.join(said)}." if said else ""


def _read(folder: Path, names: Iterable[str]) -> dict[str, Any]:
    paths = {name: folder / f"{name}.json" for name in names}
    return {name: json.loads(path.read_text(encoding="utf-8")) for name, path in paths.items() if path.is_file()}


def _validity(record: dict[str, Any]) -> str:
    found = ", ".join(f"{kind} {count}" for kind, count in record["problems"].items()) or "none"
    return (
        f"Of {record['histories']:,} generated histories, each compressed with random options, {record['invalid']} "
        f"came out invalid (kinds of problems: {found}); budgets below the floor were refused {record['refused']:,} "
        "times, each time naming one that works. `python -m eval.agent_validity`"
    )


def _identifiers(record: dict[str, Any]) -> str:
    rows = [
        [f"{float(rate):.0%}", system, *(_cell(own["measures"].get(key)) for key in SHOWN), str(_wrong(own))]
        for rate, systems in record["rates"].items()
        for system, own in systems.items()
    ]
    head = ["budget", "system", *SHOWN, "problems of validity"]
    return (
        f"What the next call of an agent needs, {record['histories']} generated histories of {record['turns']} turns "
        f"and about {record['tokens']['mean']:,} tokens, each compressed at up to six turns: identifiers of earlier "
        "results that it uses, in all histories and in those that have 2,000 tokens by then, and values that changed, "
        "which nobody asks for; brackets hold the 95 % interval. `REET, query` is given the user's message as a query, "
        f"`REET` finds it itself. `python -m eval.agent_identifiers`\n\n{table(head, rows)}"
    )


def _cell(measure: dict[str, Any] | None) -> str:
    if not measure or measure["value"] is None:
        return "–"
    return f"{measure['value']:.3f} [{measure['low']:.3f}, {measure['high']:.3f}]"


def _wrong(own: dict[str, Any]) -> int:
    return sum(own["invalid"].values())


def _rolling(record: dict[str, Any]) -> str:
    parts = []
    for rate, systems in record["rates"].items():
        rows = [
            [system, *(_cell(own["measures"].get(key)) for key in ROLLED), str(_wrong(own))]
            for system, own in systems.items()
        ]
        parts.append(table(["system", *ROLLED, "problems of validity"], rows))
        names = [("identifiers", "text"), ("values", "current")]
        rows = [
            [f"{what}, {system}", *(_plain(own["measures"].get(f"{what} after compaction {n}: {key}")) for n in AFTER)]
            for what, key in names
            for system, own in systems.items()
        ]
        parts.append(table([f"after compaction, {float(rate):.0%}", *map(str, AFTER)], rows))
    return (
        f"Where the application itself forgets what was dropped: {record['histories']} histories, compacted after each "
        f"of {record['turns']} turns to a share of all tokens that the history has in the end, the output of one "
        "compaction being part of the input of the next. Identifiers that any later turn uses and, of values that "
        "changed, the present one. `python -m eval.agent_identifiers --rolling`\n\n" + "\n\n".join(parts)
    )


def _cache(record: dict[str, Any]) -> str:
    names = ("cache_hit_share", "survival", "billed_tokens", "prompt_tokens", "longest_prompt", "rebases")
    rows = [
        [
            f"{int(limit):,}",
            system,
            *(f"{own[name]:.3f}" if own[name] <= 1 and name in names[:2] else f"{own[name]:,}" for name in names),
        ]
        for limit, systems in record["budgets"].items()
        for system, own in systems.items()
    ]
    sizes = " and ".join(f"{size:,}" for size in record["history_tokens"])
    return (
        f"An agent run of {record['turns']} turns ({record['requests']:,} requests in all; histories of {sizes} "
        "tokens in the end) with a provider's prompt cache: share of the tokens read from the cache, identifiers that "
        "the next call needs and that are in the prompt, tokens billed where a cached one costs "
        f"{record['cache']['factor']:g} of another. `python -m eval.cache_simulation`\n\n"
        f"{table(['budget', 'system', *(name.replace('_', ' ') for name in names)], rows)}"
    )


def _crash(record: dict[str, Any]) -> str:
    return (
        f"A session that is written to was killed at {record['points']} random points: of "
        f"{record['acknowledged_turns']} turns whose call had returned {record['lost']} were lost; "
        f"{record['torn_lines_cut_off']} half-written lines were cut off. `python -m eval.crash`"
    )


def _robustness(record: dict[str, Any]) -> str:
    keys = ("tried", "right", "refused", "wrong", "crash", "slow", "longest_s")
    rows = [[name, *(str(own[key]) for key in keys)] for name, own in record["families"].items()]
    head = ["hostile or odd input", "tried", "right", "clear error", "wrong", "crash", "too slow", "longest, s"]
    parts = [f"`python -m eval.robustness --large`\n\n{table(head, rows)}"]
    if record.get("large"):
        rows = [
            [own["input"], own["outcome"], f"{own['processor_s']:g}", str(own["peak_mb"])] for own in record["large"]
        ]
        parts.append(table(["large input", "outcome", "processor seconds", "peak MB beyond the model"], rows))
    return "\n\n".join(parts)


def _plain(measure: dict[str, Any] | None) -> str:
    return "–" if not measure or measure["value"] is None else f"{measure['value']:.3f}"
