"""Events of `mkdocs build`: fills the places of pages, adds the page of the notebook, puts drawings in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

from pages import figures, numbers, outputs
from pages.places import Fill, filled, finished, without_files

FILLS: dict[str, Fill] = {
    "by_age": numbers.by_age,
    "by_budget": numbers.by_budget,
    "by_measure": numbers.by_measure,
    "caches": numbers.caches,
    "command": outputs.command,
    "diagram": figures.diagram,
    "figure": figures.figure,
    "files": numbers.files,
    "kept": outputs.kept,
    "line": numbers.line,
    "measured": numbers.measured,
    "score": numbers.score,
    "parameters": numbers.parameters,
    "source": outputs.source,
    "table_of": outputs.table_of,
}
MARKUP: dict[str, list[str]] = {}  # of each page that is being built


def on_files(files: Files, config: Any) -> Files:
    """The files of docs/ and those that are made from the notebook."""
    files.append(File.generated(config, "quickstart.md", content=outputs.quickstart()))
    files.append(File.generated(config, outputs.NOTEBOOK.name, content=outputs.NOTEBOOK.read_bytes()))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """A page with its places filled."""
    made = filled(markdown, FILLS)
    MARKUP[page.file.src_uri] = made.markup
    docs = Path(config.docs_dir)
    return without_files(made.text, (docs / page.file.src_uri).parent, docs)


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """A finished page with its drawings."""
    return finished(output, MARKUP.pop(page.file.src_uri, []))
