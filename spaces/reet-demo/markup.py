"""Small pieces of HTML that several views share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape


def shown(text: str) -> str:
    """`text` as HTML that is displayed as it stands; gr.HTML would read braces as a template."""
    return escape(text).replace("{", "&#123;").replace("}", "&#125;").replace("$", "&#36;").replace("`", "&#96;")


def percent(share: float) -> str:
    """A chance in [0, 1] as people read it."""
    if 0 < share < 0.01:
        return "under 1 %"
    return "over 99 %" if 0.99 < share < 1 else f"{share:.0%}".replace("%", " %")


def tile(number: str, label: str, mood: str = "") -> str:
    """One figure with what it counts; `mood` is a class of its colour."""
    return f'<div class="tile {mood}"><b>{shown(number)}</b><span>{shown(label)}</span></div>'


def tiles(*parts: str) -> str:
    """Figures side by side."""
    return f'<div class="reet tiles" role="status">{"".join(parts)}</div>'


def table(caption: str, headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows of cells that are HTML already, see `broken` for long ones, under headers that are text."""
    head = "".join(f'<th scope="col">{shown(header)}</th>' for header in headers)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{shown(caption)}"><table>'
        f"<caption>{shown(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def broken(html: str) -> str:
    """A cell whose words may be broken where they are too long for it."""
    return f'<span class="broken">{html}</span>'


def note(text: str) -> str:
    """A sentence in place of what there is nothing of."""
    return f'<div class="reet"><p class="note">{shown(text)}</p></div>'
