"""Curves of results as SVG for light and dark pages: no background, and text in the colour of the theme."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
STYLE = """<style>
text { fill: #1f2328; font-family: system-ui, sans-serif; }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3; } }
</style>
"""

Points = list[tuple[float, Estimate]]


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
    pyplot = _pyplot()
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
        axis.grid(alpha=0.25, color="#8b949e")
        for side in axis.spines.values():
            side.set_color("#8b949e")
        axis.tick_params(color="#8b949e")
    figure.supylabel(upward, fontsize=10)
    names = [title(system).replace("*", "") for system in lines]
    figure.legend(lines.values(), names, loc="outside lower center", ncols=5, frameon=False, fontsize=9)
    _save(figure, path)
    pyplot.close(figure)


def _pyplot() -> Any:
    import matplotlib

    matplotlib.use("svg")
    # text stays text, so that it can follow the theme; a fixed salt makes the same file of the same numbers
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "reet", "figure.constrained_layout.use": True})
    from matplotlib import pyplot

    return pyplot


def _save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    head, rest = path.read_text(encoding="utf-8").split("<defs>", 1)
    lines = (head + STYLE + "<defs>" + rest).splitlines()
    path.write_text("\n".join(line.rstrip() for line in lines) + "\n", encoding="utf-8")
