"""What encoder backends change, as a table: made by `eval.report` from the record of `eval.parity`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from eval.tables import table

HEADINGS = ["encoder", "tokens a second", "times the reference", "cosine, lowest", "chances that cross .5"]


def page(folder: Path) -> str:
    """The table of `parity.json` in a folder; empty if there is none."""
    path = folder / "parity.json"
    if not path.is_file():
        return ""
    record = json.loads(path.read_text(encoding="utf-8"))
    budgets = [f"{100 * budget:.0f}%" for budget in record["budgets"]]
    headings = [
        *HEADINGS,
        *(f"sentences kept the same, {b}" for b in budgets),
        *(f"recall, points, {b}" for b in budgets),
    ]
    rows = [_row(name, entry, budgets) for name, entry in record["encoders"].items()]
    threads = {entry["hardware"]["threads"] for entry in record["encoders"].values()}
    processors = {entry["hardware"]["processor"] for entry in record["encoders"].values()}
    told = (
        f"Against {record['reference']}, {record['questions']} questions of "
        f"{sum(own['rows'] for own in record['data'].values())} development conversations; tokens a second on "
        f"{', '.join(sorted(processors))} with {', '.join(map(str, sorted(threads)))} thread(s)."
    )
    return f"{told}\n\n{table(headings, rows)}"


def _row(name: str, entry: dict[str, Any], budgets: list[str]) -> list[str]:
    return [
        name,
        f"{entry['tokens_per_second']:,.0f}",
        f"{entry['speed']:.1f}",
        f"{entry['cosine']['lowest']:.4f}",
        f"{entry['flips']:.3%}",
        *(f"{entry['units_same'][budget]:.2%}" for budget in budgets),
        *(f"{entry['retention'][budget]['evidence_recall']['change']:+.2f}" for budget in budgets),
    ]
