"""Curves of results as SVG for light and dark pages: no background, and text in the colour of the theme."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from eval.board import SURVIVAL, Board, mean, title
from eval.bootstrap import Estimate, estimate
from eval.regimes import REGIMES

SHOWN = ("reet", "maxsim", "cross_encoder", "llmlingua2_recipe", "minilm", "bm25", "stopwords_idf", "lexrank", "last_k")
COLOURS = {
    "reet": "#e5484d",
    "maxsim": "#3e7bd6",
    "cross_encoder": "#8e5bd0",
    "llmlingua2_recipe": "#1f9d8a",
    "minilm": "#c27a10",
    "bm25": "#7d8590",
    "stopwords_idf": "#4d9b3a",
    "lexrank": "#b0568f",
    "last_k": "#9a7b5b",
}
SYSTEMS = {  # of the measurements of speed
    "reet": ("REET", COLOURS["reet"]),
    "llmlingua2_large": ("LLMLingua-2 large", COLOURS["cross_encoder"]),
    "llmlingua2_small": ("LLMLingua-2 small", COLOURS["maxsim"]),
    "cross_encoder": ("cross-encoder, our size", COLOURS["llmlingua2_recipe"]),
    "bm25": ("BM25", COLOURS["bm25"]),
}
STYLE = """<style>
text { fill: #1f2328; font-family: system-ui, sans-serif; }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3; } }
</style>
"""

Points = list[tuple[float, Estimate]]

_CLIP = re.compile(r"\bp[0-9a-f]{10}\b")


def by_turn(board: Board, path: Path, tasks: Sequence[str] = ("mtr",), turns: int = 10, budget: int = 20) -> None:
    """Write answer survival by turn, one panel a regime: the mean over the data sets of some tasks.

    Only texts with `turns` questions or more are shown, so that all points of a line are of the same texts.
    """
    regimes = [name for name in REGIMES if name != "rolling" and any(board.systems(t, name, budget) for t in tasks)]

    def points(system: str, regime: str) -> Points:
        results = [board.get(system, task, regime, budget) for task in tasks]
        if None in results:
            return []
        found = []
        for turn in range(1, turns + 1):
            ratios = [result.ratios(SURVIVAL, turn, least=turns) for result in results if result]
            found.append((turn, estimate([ratio for each in ratios for ratio in each])))
        return [(turn, each) for turn, each in found if each is not None]

    _panels(path, regimes, points, "turn", f"answer survival at {budget} % of the tokens")


def by_budget(board: Board, path: Path, task: str = "mtr", measure: str = SURVIVAL) -> None:
    """Write a measure by budget, one panel a regime."""
    regimes = [name for name in REGIMES if board.systems(task, name)]

    def points(system: str, regime: str) -> Points:
        found = [(budget, mean(board.get(system, task, regime, budget), measure)) for budget in board.budgets]
        return [(budget, each) for budget, each in found if each is not None]

    _panels(path, regimes, points, "tokens kept, %", measure.replace("_", " "))


def _panels(path: Path, regimes: Sequence[str], points: Callable[[str, str], Points], across: str, upward: str) -> None:
    """One panel for each regime, one line for each system, a band for REET's 95 % interval."""
    pyplot = drawing()
    figure, axes = pyplot.subplots(1, max(len(regimes), 1), figsize=(3.2 * max(len(regimes), 1), 3.4), sharey=True)
    lines: dict[str, Any] = {}
    for axis, regime in zip([axes] if len(regimes) < 2 else axes, regimes, strict=False):
        for system in SHOWN:
            found = points(system, regime)
            if not found:
                continue
            places, values = [place for place, _ in found], [each.value for _, each in found]
            width = 2.4 if system == "reet" else 1.2
            (lines[system],) = axis.plot(places, values, color=COLOURS[system], linewidth=width)
            if system == "reet":
                low, high = [each.low for _, each in found], [each.high for _, each in found]
                axis.fill_between(places, low, high, color=COLOURS[system], alpha=0.15, linewidth=0)
        axis.set(title=regime, xlabel=across, ylim=(0, 1))
        quiet(axis)
    figure.supylabel(upward, fontsize=10)
    names = [title(system).replace("*", "") for system in lines]
    figure.legend(lines.values(), names, loc="outside lower center", ncols=5, frameon=False, fontsize=9)
    save(figure, path)
    pyplot.close(figure)


def speed_turns(parts: Mapping[str, Any], path: Path) -> None:
    """Write milliseconds of each turn by the tokens before it, turns of one size and of several.

    Args:
        parts: Of the record of speed.
        path: Where to.
    """
    pyplot = drawing()
    figure, axes = pyplot.subplots(1, 2, figsize=(8, 3.2), sharey=True)
    for axis, name in zip(axes, ("even", "mixed"), strict=True):
        own = parts["turns"][name]
        each = own["each"]
        axis.plot(each["history"], each["milliseconds"], ".", color=COLOURS["reet"], markersize=3)
        axis.plot(each["history"], each["reference"], ".", color=COLOURS["bm25"], markersize=2)
        sizes = " to ".join(str(size) for size in sorted({min(own["sizes"]), max(own["sizes"])}))
        axis.set(title=f"turns of {sizes} tokens", xlabel="tokens before the turn", ylim=(0, None))
        quiet(axis)
    figure.supylabel("milliseconds", fontsize=10)
    names = ["a turn: append and compress", "one encoder pass over 256 fixed tokens"]
    figure.legend(axes[0].lines, names, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    save(figure, path)
    pyplot.close(figure)


def speed_stages(parts: Mapping[str, Any], path: Path) -> None:
    """Write milliseconds of the stages of a turn, a bar for each history; see `speed_turns`."""
    pyplot = drawing()
    found = parts["stages"]["histories"]
    stages = list(next(iter(found.values()))["stages"])
    figure, axis = pyplot.subplots(figsize=(8, 0.9 + 0.42 * len(stages)))
    shades = ("#f3b0b2", "#ec7c80", "#e5484d", "#a12b30")
    height = 0.8 / len(found)
    for number, own in enumerate(found.values()):
        places = [place + number * height for place in range(len(stages))]
        values = [own["stages"][stage]["p50"] for stage in stages]
        label = f"{own['history_tokens']:,} tokens"
        axis.barh(places, values, height, color=shades[number % len(shades)], label=label)
    axis.set(xlabel="milliseconds, p50", yticks=[place + 0.4 - height / 2 for place in range(len(stages))])
    axis.set_yticklabels(stages)
    axis.invert_yaxis()
    axis.legend(frameon=False, fontsize=9)
    quiet(axis)
    save(figure, path)
    pyplot.close(figure)


def speed_cold(parts: Mapping[str, Any], path: Path) -> None:
    """Write seconds of each system from nothing by the length of the conversation; see `speed_turns`."""
    pyplot = drawing()
    figure, axis = pyplot.subplots(figsize=(6.4, 3.6))
    lengths = parts["peers"]["lengths"]
    for system, (name, colour) in SYSTEMS.items():
        found = [(int(length), cells.get(system, {}).get("seconds")) for length, cells in lengths.items()]
        points = [(length, seconds["p50"]) for length, seconds in found if seconds]
        if points:
            width = 2.4 if system == "reet" else 1.2
            axis.plot(*zip(*points, strict=True), marker="o", markersize=3, color=colour, linewidth=width, label=name)
    axis.set(xlabel="tokens", ylabel="seconds, p50", xscale="log", yscale="log")
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    quiet(axis)
    save(figure, path)
    pyplot.close(figure)


def quiet(axis: Any) -> None:
    """Grid and frame that are seen on light and dark pages."""
    axis.grid(alpha=0.25, color="#8b949e")
    for side in axis.spines.values():
        side.set_color("#8b949e")
    axis.tick_params(which="both", color="#8b949e")


def drawing() -> Any:
    """`matplotlib.pyplot` that writes SVG."""
    import matplotlib

    matplotlib.use("svg")
    # text stays text, so that it can follow the theme; a fixed salt makes the same file of the same numbers
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "reet", "figure.constrained_layout.use": True})
    from matplotlib import pyplot

    return pyplot


def save(figure: Any, path: Path) -> None:
    """Write a figure with text in the colour of the theme."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    drawn = path.read_text(encoding="utf-8")
    found = dict.fromkeys(_CLIP.findall(drawn))  # digests of places, whose last bits differ between processors
    numbers = {name: f"clip-{number}" for number, name in enumerate(found, 1)}
    path.write_text(_CLIP.sub(lambda match: numbers[match.group()], drawn), encoding="utf-8")
    head, rest = path.read_text(encoding="utf-8").split("<defs>", 1)
    lines = (head + STYLE + "<defs>" + rest).splitlines()
    path.write_text("\n".join(line.rstrip() for line in lines) + "\n", encoding="utf-8")
