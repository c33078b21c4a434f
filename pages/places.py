"""Places in a page of docs/ that are filled when the site is built: `{{ name("argument", option=1) }}`.

What stands in them is made from files (results, the README, the command line, the notebook) or by the bundled weights,
so that no number of a measurement is typed. Blocks of code are left as they are.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from reet_hf.errors import ReetError

PLACE = re.compile(r"\{\{ (\w+\(.*?\)) \}\}", flags=re.DOTALL)
LINK = re.compile(r"\[([^]]*)\]\((\.\./[^)\s#]+)(?:#[^)\s]*)?\)")
FENCED = re.compile(r"^( *)(```+).*?^\1\2[^\S\n]*$", flags=re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Markup:
    """What is put into the finished page as it is, such as a drawing; Markdown and the search do not see it."""

    html: str


Fill = Callable[..., "str | Markup"]


@dataclass
class Page:
    """A page while it is made.

    Attributes:
        text: Its Markdown with places filled.
        markup: What is put into the finished page, by the number of its stand-in.
    """

    text: str
    markup: list[str] = field(default_factory=list)


def prose(text: str) -> Iterator[tuple[bool, str]]:
    """Parts of a page in order, each with whether it is a block of code."""
    place = 0
    for found in FENCED.finditer(text):
        yield False, text[place : found.start()]
        yield True, found[0]
        place = found.end()
    yield False, text[place:]


def call_of(place: str, fills: Mapping[str, Fill]) -> tuple[Fill, list[object], dict[str, object]]:
    """What a place calls, with its arguments, which are literals.

    Raises:
        ReetError: If it is no such call.
    """
    try:
        tree = ast.parse(place, mode="eval").body
        if not (isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) and tree.func.id in fills):
            raise ValueError(f"there are {', '.join(sorted(fills))}")
        arguments = [ast.literal_eval(each) for each in tree.args]
        options = {each.arg: ast.literal_eval(each.value) for each in tree.keywords if each.arg}
    except (SyntaxError, ValueError) as error:
        raise ReetError(f"`{{{{ {place} }}}}` must call something that is known with literals: {error}.") from error
    return fills[tree.func.id], arguments, options


def filled(text: str, fills: Mapping[str, Fill]) -> Page:
    """A page with its places filled.

    Args:
        text: Markdown.
        fills: What can be called, by name.

    Raises:
        ReetError: If a place calls something else.
    """
    page = Page("")

    def fill(found: re.Match[str]) -> str:
        function, arguments, options = call_of(found[1], fills)
        made = function(*arguments, **options)
        if isinstance(made, str):
            return made
        page.markup.append(made.html)
        return f'<div data-markup="{len(page.markup) - 1}"></div>'

    page.text = "".join(part if code else PLACE.sub(fill, part) for code, part in prose(text))
    return page


def without_files(text: str, folder: Path, docs: Path) -> str:
    """A page of `folder` whose links to files of the project outside `docs`, which the site has not, are plain text.

    Raises:
        ReetError: If there is no such file.
    """

    def plain(found: re.Match[str]) -> str:
        path = (folder / found[2]).resolve()
        if path.is_relative_to(docs.resolve()):
            return found[0]
        if not path.exists():
            raise ReetError(f"`{found[0]}` must lead to a file of the project, but {found[2]} is not there.")
        return found[1]

    return "".join(part if code else LINK.sub(plain, part) for code, part in prose(text))


def finished(html: str, markup: list[str]) -> str:
    """A finished page with drawings in the place of their stand-ins."""
    for number, drawn in enumerate(markup):
        html = html.replace(f'<div data-markup="{number}"></div>', drawn)
    return html
