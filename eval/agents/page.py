"""Tables of what was measured on agents, from the files of `eval/results/agent`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from eval import records
from eval.tables import table

FOLDER = records.FOLDER / "agent"
SHOWN = ("identifiers: text", "identifiers: text, with owner and subject", "values: current", "values: only an old one")


def page(folder: Path = FOLDER) -> str:
    """Markdown tables of everything that was measured, empty if there is nothing."""
    parts = []
    for name, told in (("validity", _validity), ("identifiers", _identifiers), ("crash", _crash)):
        path = folder / f"{name}.json"
        if path.is_file():
            parts.append(told(json.loads(path.read_text(encoding="utf-8"))))
    return "\n\n".join(parts)


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
        "and about "
        f"{record['tokens']['mean']:,} tokens: identifiers of earlier results that it uses, values that changed; "
        "brackets hold the 95 % interval. `REET, query` is given the user's message as a query, `REET` finds it "
        f"itself. `python -m eval.agent_identifiers`\n\n{table(head, rows)}"
    )


def _cell(measure: dict[str, Any] | None) -> str:
    if not measure or measure["value"] is None:
        return "–"
    return f"{measure['value']:.3f} [{measure['low']:.3f}, {measure['high']:.3f}]"


def _wrong(own: dict[str, Any]) -> int:
    return sum(own["invalid"].values())


def _crash(record: dict[str, Any]) -> str:
    return (
        f"A session that is written to was killed at {record['points']} random points: of "
        f"{record['acknowledged_turns']} turns whose call had returned {record['lost']} were lost; "
        f"{record['torn_lines_cut_off']} half-written lines were cut off. `python -m eval.crash`"
    )
