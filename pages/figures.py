"""Figures of results for the pages of docs/, in the style of eval/plots.py; inlined, so that they follow the theme."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

from eval import plots
from eval.board import SURVIVAL, mean, title
from eval.bootstrap import estimate
from eval.records import FOLDER
from eval.report import BUDGET, TASK
from eval.tables import AGES
from pages.numbers import board, record
from pages.places import Markup

DRAWN = FOLDER / "plots"
DIAGRAMS = Path(__file__).with_name("diagrams")
GREY, RED, BLUE, GREEN = plots.COLOURS["bm25"], plots.COLOURS["reet"], plots.COLOURS["maxsim"], "#4d9b3a"
QUERIES = (  # what knowing the question is worth
    ("reet", "session", "REET, asked", RED),
    ("reet_prior", "session", "REET, prior only", "#ec7c80"),
    ("bm25", "session", "BM25, asked", GREY),
    ("random", "session", "random sentences", "#c27a10"),
    ("last_k", "session", "last k tokens", "#9a7b5b"),
)
COMPACTED = (
    ("reet", RED),
    ("llmlingua2_recipe", "#1f9d8a"),
    ("stopwords_idf", GREEN),
    ("lexrank", "#b0568f"),
    ("random", "#c27a10"),
    ("last_k", "#9a7b5b"),
)


def asked(path: Path) -> None:
    """Write answer survival by budget, with the question known and without."""
    pyplot = plots.drawing()
    figure, axis = pyplot.subplots(figsize=(6.4, 3.4))
    for system, regime, name, colour in QUERIES:
        found = [(budget, mean(board().get(system, TASK, regime, budget), SURVIVAL)) for budget in board().budgets]
        points = [(budget, each.value) for budget, each in found if each]
        width = 2.4 if system == "reet" else 1.4
        axis.plot(*zip(*points, strict=True), marker="o", markersize=3, color=colour, linewidth=width, label=name)
    axis.set(xlabel="tokens kept, %", ylabel="answer survival", ylim=(0, 1))
    _closed(figure, axis, path)


def ages(path: Path) -> None:
    """Write answer survival under compaction by how long ago the answer came."""
    pyplot = plots.drawing()
    figure, axis = pyplot.subplots(figsize=(6.4, 3.4))
    for system, colour in COMPACTED:
        result = board().get(system, TASK, "rolling", BUDGET)
        found = [estimate(result.by_age(SURVIVAL, chunks)) if result else None for chunks in AGES.values()]
        width = 2.4 if colour == RED else 1.4
        values = [each.value if each else float("nan") for each in found]
        name = title(system).replace("*", "")
        axis.plot(list(AGES), values, marker="o", markersize=3, color=colour, linewidth=width, label=name)
    axis.set(xlabel="chunks of the conversation that came after the answer", ylabel="answer survival", ylim=(0, 1))
    _closed(figure, axis, path)


def chances(path: Path) -> None:
    """Write how often what has a chance of so much is needed."""
    pyplot = plots.drawing()
    figure, axis = pyplot.subplots(figsize=(4.6, 4.0))
    axis.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":")
    for name, own in record("calibration/reet-base.json")["kinds"]["importance"].items():
        points = [(chance, share) for chance, share, count in own["bins"] if count >= 20]
        axis.plot(*zip(*points, strict=True), marker="o", markersize=3, linewidth=1.2, label=name.removesuffix("-dev"))
    axis.set(xlabel="chance that a sentence is needed", ylabel="share that is needed", xlim=(0, 1), ylim=(0, 1))
    _closed(figure, axis, path)


def caching(path: Path) -> None:
    """Write what a provider's cache holds and what identifiers are left, by system."""
    systems = record("agent/cache.json")["budgets"]["16000"]
    names = [name for name in systems if name != "no compression"]
    pyplot = plots.drawing()
    figure, axis = pyplot.subplots(figsize=(7.2, 3.2))
    for number, (key, label, colour) in enumerate(
        (("cache_hit_share", "read from the cache", BLUE), ("survival", "identifiers there", RED))
    ):
        places = [place + 0.36 * number for place in range(len(names))]
        axis.barh(places, [systems[name][key] for name in names], 0.34, color=colour, label=label)
    axis.set(xlim=(0, 1), xlabel="share", yticks=[place + 0.18 for place in range(len(names))])
    axis.set_yticklabels(names)
    axis.invert_yaxis()
    _closed(figure, axis, path)


def _closed(figure: Any, axis: Any, path: Path) -> None:
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    plots.quiet(axis)
    plots.save(figure, path)
    plots.drawing().close(figure)


MADE: dict[str, Callable[[Path], None]] = {"asked": asked, "ages": ages, "chances": chances, "caching": caching}


def drawn(name: str) -> str:
    """A figure as SVG: of eval/results/plots, or made now."""
    if name not in MADE:
        return (DRAWN / f"{name}.svg").read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.svg"
        MADE[name](path)
        return path.read_text(encoding="utf-8")


def inlined(svg: str, name: str) -> str:
    """A drawing as part of a page: without head and colours of text, its ids those of no other drawing."""
    svg = re.sub(r"<style>.*?</style>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    width, height = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg).groups()  # type: ignore[union-attr]
    sizes = f"min-width: {0.75 * float(width):.0f}px; max-width: {1.4 * float(width):.0f}px"
    head = f'<svg class="drawing" viewBox="0 0 {width} {height}" style="{sizes}"'
    return re.sub(r"<svg[^>]*>", f'{head} role="img" xmlns:xlink="http://www.w3.org/1999/xlink">', svg, count=1)


def figure(name: str, caption: str) -> Markup:
    """A figure of results with its caption."""
    return _framed(inlined(drawn(name), name), caption)


def diagram(name: str, caption: str) -> Markup:
    """A drawing of pages/diagrams with its caption."""
    return _framed(inlined((DIAGRAMS / f"{name}.svg").read_text(encoding="utf-8"), name), caption)


def _framed(svg: str, caption: str) -> Markup:
    told = f"<figcaption>{escape(caption)}</figcaption>"
    return Markup(f'<figure class="result"><div class="scrolled">{svg}</div>{told}</figure>')
