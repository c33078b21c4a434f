"""What a record of speed says, as Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eval.records import FOLDER
from eval.speed.names import NAMES, REET
from eval.speed.sections import SECTIONS
from eval.speed.targets import outcomes
from eval.tables import table

FILE = "speed.json"
QUICK = "**A quick run that shows that everything works: its figures mean nothing.**"
HEAD = """# Speed

Made by `make report` from `speed.json`, which `make speed DATA=FOLDER` measures. `n` is how many repetitions stand
behind a figure; percentiles are values that were measured (nearest rank). Texts are those of the data sets, tokens
those of the bundled model. {machine}
"""

Record = Mapping[str, Any]


def read(folder: Path = FOLDER / "speed") -> dict[str, Any]:
    """The record of a folder, empty if there is none."""
    file = folder / FILE
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return found


def page(record: Record) -> str:
    """The page of all figures, empty without a record."""
    if not record:
        return ""
    parts = record["parts"]
    made = [HEAD.format(machine=machine(record))]
    if any(part["run"]["quick"] for part in parts.values()):
        made.append(f"{QUICK}\n")
    made.append(f"## Targets\n\n{target_table(parts)}\n")
    for name, section in SECTIONS.items():
        if name in parts:
            made += [f"## {heading}\n\n{text}\n" for heading, text in section(parts)]
    return "\n".join(made)


def section(record: Record) -> str:
    """The targets for the page of all results, empty without a record."""
    if not record:
        return ""
    return f"All figures: [speed](speed/README.md). `make speed`\n\n{target_table(record['parts'])}"


def machine(record: Record) -> str:
    """A sentence on where it was measured."""
    own, packages = record["hardware"], record["packages"]
    runs = [part["run"] for part in record["parts"].values()]
    revisions = ", ".join(sorted({run["revision"] for run in runs if run["revision"]})) or "unknown"
    versions = ", ".join(f"{name} {version}" for name, version in packages.items())
    bfloat16 = "multiplies" if own["native_bfloat16"] else "does not multiply"
    return (
        f"Measured on {own['cores']} cores ({own['processor']}, which {bfloat16} bfloat16 natively) with "
        f"{own['threads']} threads; revision {revisions}; Python {own['python']}, {versions}."
    )


def target_table(parts: Record) -> str:
    """One line a target."""
    rows = []
    for outcome in outcomes(parts):
        target, value = outcome.target, outcome.value
        sign = "≥" if target.least else "≤"
        shown = "–" if value is None else f"{value:,.4g} {target.unit}"
        word = f"**{outcome.word}**" if outcome.word == "missed" else outcome.word
        rows.append([target.name, f"{sign} {target.limit:g} {target.unit}", shown, str(outcome.repetitions), word])
    return table(["target", "limit", "measured", "n", ""], rows)


def line(record: Record) -> str:
    """The main figures in a sentence, empty if they were not measured."""
    parts = record.get("parts", {})
    if "turns" not in parts or "cold" not in parts:
        return ""
    even, own = parts["turns"]["even"], record["hardware"]
    spent, late = even["milliseconds"], even["ratios"]["late_to_early"]["ratio"]
    said = (
        f"A turn of {even['sizes'][0]} new tokens, appended and compressed, takes {spent['p50']:.0f} ms (p50) and "
        f"{spent['p95']:.0f} ms (p95) while a session grows to {even['tokens']:,} tokens; turns around 200 take "
        f"{late:.2f} times as long as turns around 2"
    )
    lengths = parts["cold"]["lengths"]
    times = [(int(length), cells[REET]) for length, cells in lengths.items() if "seconds" in cells[REET]]
    length, cell = next((pair for pair in times if pair[0] == 32_000), times[-1])
    said += f". {length:,} tokens from nothing take {cell['seconds']['p50']:.1f} s"
    against = [
        f"{cells[name]['times_reet']:.0f} times as long in {NAMES[name]}"
        for cells in [parts.get("peers", {}).get("lengths", {}).get("3000", {})]
        for name in cells
        if name.startswith("llmlingua2") and "times_reet" in cells[name]
    ]
    said += f"; 3,000 tokens take {' and '.join(against)}" if against else ""
    quick = " (a quick run: figures mean nothing)" if parts["turns"]["run"]["quick"] else ""
    return (
        f"{said}. All on {own['cores']} CPU cores in one run{quick}; stages, floors, memory and what was missed: "
        "[eval/results/speed](eval/results/speed/README.md)."
    )
