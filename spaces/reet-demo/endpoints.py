"""What the page and its API answer: functions of plain values, whose errors are told in words."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import wraps
from html import escape
from pathlib import Path
from typing import Any, Literal

import gradio as gr
from answers import EXAMPLES, TITLES, content_of, named, questions_of
from highlight import highlight
from inputs import read_file
from ledger_view import ledger_graph, ledger_table
from player import Step, curves_html, play, question_html, sent_html
from receipt_view import receipt_table, summary
from reply import LENT_DEVICE, compress, readable
from rivals import columns_html, compare
from snippet import conversation_file, snippet

from reet_hf import ReetError

SHARE = 0.2  # of the tokens that may stay, at first
Unit = Literal["auto", "word", "clause", "sentence", "message"]


def explained(job: Callable[..., Any]) -> Callable[..., Any]:
    """A function whose errors reach the page, and callers of its API, in words."""

    @wraps(job)
    def told(*arguments: Any, **options: Any) -> Any:
        try:
            return job(*arguments, **options)
        except (ReetError, TypeError, OSError) as error:
            raise gr.Error(escape(readable(error), quote=False), print_exception=False) from error

    return told


def chosen(share: float, tokens: float | None) -> float:
    """The budget: the number of tokens where one is given, else the share."""
    if not tokens:
        return share
    if tokens < 2 or tokens != int(tokens):
        raise ReetError(f"A number of tokens is a whole number from 2 on, got {tokens:g}; 0 means the share.")
    return tokens


@explained
def show(text: str, query: str, share: float, tokens: float | None, unit: str, protect: str) -> tuple[Any, ...]:
    """Everything that the page shows of one compression, in the order of its outputs."""
    budget = chosen(share, tokens)
    reply = compress(text, query, budget, unit, protect)
    return (
        summary(reply),
        highlight(reply),
        reply.result["text"],
        ledger_graph(reply),
        ledger_table(reply),
        receipt_table(reply),
        snippet(text, query, budget, unit, protect, reply.result["tokens"]),
        conversation_file(text, query),
        json.dumps(reply.result, ensure_ascii=False),
    )


def first_views(item: dict[str, Any]) -> tuple[Any, ...]:
    """What the page shows when it comes, of an example; the time that it tells is not that of the very first pass."""
    compress("A first pass.", "", 1.0, "auto")
    return show(content_of(item), item["query"], SHARE, 0, "auto", "")


def warm_up() -> None:
    """Make first answers quick: models are loaded and have read the examples; no device is lent for that."""
    if LENT_DEVICE:
        return
    replies = [compress(content_of(item), item["query"], SHARE, "auto") for item in EXAMPLES]
    compare(replies[0])


@explained
def show_rivals(text: str, query: str, share: float, tokens: float | None, unit: str, protect: str) -> str:
    """The systems side by side."""
    reply = compress(text, query, chosen(share, tokens), unit, protect)
    return columns_html(compare(reply), reply)


@explained
def show_step(at: float, *asked: Any) -> tuple[Any, ...]:
    """The slider of questions, the question that is shown, the curves, and what is sent."""
    steps = steps_of(*asked)
    number = min(max(int(at), 1), len(steps))
    slider = gr.Slider(maximum=max(len(steps), 2), value=number)
    return slider, *(view(steps, number - 1) for view in (question_html, curves_html, sent_html))


@explained
def question_count(*asked: Any) -> int:
    """How many questions the player has."""
    return len(steps_of(*asked))


def steps_of(text: str, query: str, share: float, tokens: float | None, unit: str, protect: str) -> tuple[Step, ...]:
    """The questions of what stands in the text field; those of an example have answers."""
    return play(text, query, chosen(share, tokens), unit, protect, questions_in(text))


def questions_in(text: str) -> list[dict[str, Any]]:
    """Questions of the example that stands in the text field, none for any other text."""
    return next((item["questions"] for item in EXAMPLES if content_of(item) == text), [])


def pick(title: str) -> tuple[str, str, Any]:
    """Text, query and questions of the example called `title`."""
    item = named(title)
    return content_of(item), item["query"], gr.Dropdown(choices=questions_of(item), value=item["query"], visible=True)


@explained
def upload(path: str) -> tuple[str, str, Any, Any]:
    """The text of an uploaded file, which is not kept; what belongs to an example goes."""
    try:
        text = read_file(path)
    finally:
        Path(path).unlink(missing_ok=True)
    return text, "", gr.Dropdown(choices=[], value=None, visible=False), gr.Radio(value=None)


@explained
def compress_text(text: str, query: str = "", budget: float = SHARE, unit: Unit = "auto", protect: str = "") -> dict:
    """Compress a conversation or a text to a token budget and say where every kept word came from.

    Args:
        text: Plain text, lines that begin with "user:" or "assistant:", or JSON: chat messages, or texts.
        query: What the kept text is to answer; empty keeps what any later question may need.
        budget: Share of the tokens that may stay, up to 1, or a number of tokens above 1. It is never exceeded.
        unit: What is kept or dropped as a whole.
        protect: Roles or regular expressions of what must stay, one a line.

    Returns:
        text, messages, pieces (message, start, end, importance), tokens, entities, facts, receipt and omitted.
    """
    return compress(text, query, budget, unit, protect).result


@explained
def example(title: str = TITLES[0]) -> dict:
    """A conversation to try, with a question about it and the answer that should be kept.

    Args:
        title: Support chat, Agent with tools, Contract, Meeting or Code review.

    Returns:
        text, query and answer.
    """
    if title not in TITLES:
        raise ReetError(f"`title` must be one of {', '.join(TITLES)}, got {title!r}.")
    item = named(title)
    return {"text": content_of(item), "query": item["query"], "answer": item["answer"]}
