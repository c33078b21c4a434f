"""What the bundled weights and the command line say, for the pages of docs/."""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import Any
from unittest import mock

import nbformat

from pages.places import Markup
from reet_hf.cli import parser
from reet_hf.errors import ReetError

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
NOTEBOOK = EXAMPLES / "quickstart.ipynb"
COLUMNS = "80"  # of help texts


@cache
def compressor() -> Any:
    """The pipeline with the bundled weights."""
    import transformers
    from transformers.utils import logging

    import reet_hf  # noqa: F401  (registers the pipeline)

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    load: Any = transformers.pipeline  # its overloads know the library's own tasks only
    return load("reet-compression", model=str(ROOT / "reet" / "reet-base"))


def kept(file: str, start: int, stop: int, query: str | None, budgets: Sequence[float]) -> Markup:
    """Messages of an example with what is kept of them under several budgets marked.

    Args:
        file: Of the examples.
        start, stop: Which messages, half-open.
        query: What is asked.
        budgets: Keep rates.
    """
    messages = json.loads((EXAMPLES / file).read_text(encoding="utf-8"))["messages"][start:stop]
    asked = f"asked: “{escape(query)}”" if query else "nothing is asked yet"
    parts = []
    for budget in budgets:
        out = compressor()({"messages": messages, "query": query}, budget=budget)
        tokens = out["tokens"]
        head = f"budget {budget:.0%}: {tokens['compressed']} of {tokens['original']} tokens"
        parts.append(f'<p class="kept-budget">{head}</p>{"".join(_marked(messages, out["pieces"]))}')
    return Markup(f'<div class="kept"><p class="kept-query">{asked}</p>{"".join(parts)}</div>')


def _marked(messages: Sequence[Mapping[str, Any]], pieces: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Each message as a paragraph, its kept pieces marked and the rest faint."""
    for number, message in enumerate(messages):
        text, place, parts = message["content"], 0, []
        for piece in (each for each in pieces if each["message"] == number):
            parts += [f"<del>{escape(text[place : piece['start']])}</del>" if piece["start"] > place else ""]
            parts += [f"<mark>{escape(text[piece['start'] : piece['end']])}</mark>"]
            place = piece["end"]
        parts += [f"<del>{escape(text[place:])}</del>" if place < len(text) else ""]
        name = escape(message.get("name", message["role"]))
        yield f'<p><span class="kept-role">{name}</span> {"".join(parts)}</p>'


def command(name: str) -> str:
    """The help text of a command of `reet`.

    Raises:
        ReetError: If there is none.
    """
    with mock.patch.dict(os.environ, {"COLUMNS": COLUMNS, "NO_COLOR": "1"}):
        root = parser()
        commands = next(each for each in root._actions if isinstance(each, argparse._SubParsersAction)).choices
        if name not in ("", *commands):
            raise ReetError(f"`name` must be one of {', '.join(commands)}, got {name!r}.")
        return f"```text\n{(commands[name] if name else root).format_help().strip()}\n```"


def table_of(heading: str, file: str = "README.md") -> str:
    """The first table below a heading of a file of the project.

    Raises:
        ReetError: If there is none.
    """
    text = (ROOT / file).read_text(encoding="utf-8")
    _, _, below = text.partition(f"\n## {heading}\n")
    found = re.search(r"(?:^\|.*\n)+", below.split("\n## ", 1)[0], flags=re.MULTILINE)
    if found is None:
        raise ReetError(f"`heading` must be one of {file} with a table, got {heading!r}.")
    return found[0]


def source(file: str) -> str:
    """A file of the project as a block of code."""
    language = {".py": "python", ".sh": "bash", ".yaml": "yaml", ".md": "markdown"}[Path(file).suffix]
    return f'```{language} title="{file}"\n{(ROOT / file).read_text(encoding="utf-8").strip()}\n```'


def quickstart() -> str:
    """The executed notebook as a page."""
    parts = []
    for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        told = "".join(out.text for out in cell.outputs if out.get("name") == "stdout").rstrip()
        if told:
            parts.append(f'```text title="it prints"\n{told}\n```')
    head, rest = "\n\n".join(parts).split("\n\n", 2)[:2], "\n\n".join(parts).split("\n\n", 2)[2]
    note = (
        f"This page is [a notebook]({NOTEBOOK.name}){{ download }} that was run as it stands here: open it in Jupyter, "
        "or in Colab with *File → Upload notebook*, where its first cell installs the package."
    )
    return "\n\n".join([*head, note, rest]) + "\n"
