"""Curves as SVG: a line for each series over the questions of a conversation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markup import shown

WIDTH, HEIGHT = 340, 190
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 12, 30


@dataclass(frozen=True)
class Series:
    """One curve.

    Attributes:
        name: What it shows.
        values: A number for each question, `None` where there is none.
        kind: The class of its look: `ours`, `other` or `third`, which differ in colour, dashes and marks.
    """

    name: str
    values: Sequence[float | None]
    kind: str


def chart(title: str, series: Sequence[Series], at: int, share: bool = False) -> str:
    """Curves with axes, a legend and a mark at the question that is shown.

    Args:
        title: What the vertical axis counts.
        series: The curves, of the same length.
        at: Number of the question that is shown, from 0.
        share: Whether values are shares in [0, 1].
    """
    count = max(len(curve.values) for curve in series)
    top = 1.0 if share else rounded_up(max((v for curve in series for v in curve.values if v is not None), default=1))
    steps = max(count - 1, 1)

    def x(number: int) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * number / steps

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / top

    parts = [f'<line class="now" x1="{x(at):.1f}" x2="{x(at):.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>']
    for tick in (0.0, 0.5, 1.0):
        label = f"{tick * 100:.0f} %" if share else f"{tick * top:,.0f}"
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(tick * top):.1f}" y2="{y(tick * top):.1f}"/>'
        )
        parts.append(f'<text x="{LEFT - 6}" y="{y(tick * top) + 4:.1f}" text-anchor="end">{label}</text>')
    for number in range(count):
        parts.append(f'<text x="{x(number):.1f}" y="{HEIGHT - 12}" text-anchor="middle">{number + 1}</text>')
    for curve in series:
        points = [(x(n), y(value)) for n, value in enumerate(curve.values) if value is not None]
        if points:
            path = " ".join(f"{'M' if not n else 'L'}{a:.1f} {b:.1f}" for n, (a, b) in enumerate(points))
            dots = "".join(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3.2"/>' for a, b in points)
            parts.append(f'<g class="{curve.kind}"><title>{shown(curve.name)}</title><path d="{path}"/>{dots}</g>')
    last = "; ".join(f"{curve.name}: {told(curve.values[at], share)}" for curve in series if at < len(curve.values))
    keys = "".join(f'<span class="key {curve.kind}">{shown(curve.name)}</span>' for curve in series)
    return (
        f'<figure class="chart"><figcaption><b>{shown(title)}</b>{keys}</figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{shown(title)}, question {at + 1}: {shown(last)}">'
        f"{''.join(parts)}</svg></figure>"
    )


def rounded_up(value: float) -> float:
    """The next number with one or two digits before its zeros."""
    step = 10 ** max(len(str(int(value))) - 2, 0) * 2
    return max(-(-value // step) * step, 1)


def told(value: float | None, share: bool) -> str:
    """A value as it is read out."""
    if value is None:
        return "not known"
    return f"{value:.0%}" if share else f"{value:,.0f}"
