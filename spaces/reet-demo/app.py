"""A page on which a conversation is compressed and every kept word can be seen in its place.

Run it with `python app.py`; the environment variable `REET_MODEL` names another checkpoint or folder.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from transformers import pipeline

from reet_hf import ReetError
from reet_hf.conversation import Message, is_batch, parse_request
from reet_hf.segmentation import UNITS

MAX_CHARACTERS = 400_000
HEADERS = ["Heading", "Type", "Text", "Message"]
EXAMPLES = json.loads(Path(__file__).with_name("examples.json").read_text(encoding="utf-8"))
SPEAKER = re.compile(r"^(system|user|assistant):[ \t]*", re.IGNORECASE | re.MULTILINE)
LOOKS_LIKE_JSON = re.compile(r"\s*(?:\{\s*[\"}]|\[\s*[\[{\"\]])")
INTRODUCTION = """# REET: compress a conversation, keep what matters
Paste a conversation or a document, set how much of it may stay, and see which words were kept. Kept text is verbatim,
the budget is never exceeded, and the receipt says what became of every name, number and date."""
CSS = """
.reet { font-size: 15px; line-height: 1.65; color: var(--body-text-color); --hue: 0, 114, 178; }
.dark .reet { --hue: 86, 180, 233; }
.reet .legend { display: flex; flex-wrap: wrap; gap: 4px 16px; margin-bottom: 12px; font-size: 13px; }
.reet .turn { display: grid; grid-template-columns: 6.5em minmax(0, 1fr); gap: 0 12px; padding: 3px 0; }
.reet .who { font-size: 13px; line-height: 1.9; overflow-wrap: anywhere; opacity: 0.75; }
.reet .said, .reet .call { white-space: pre-wrap; overflow-wrap: anywhere; }
.reet .call { font-family: var(--font-mono); font-size: 13px; }
.reet mark { color: inherit; padding: 1px 0; border-radius: 2px; box-decoration-break: clone;
  -webkit-box-decoration-break: clone; background: rgba(var(--hue), calc(0.15 + 0.4 * var(--importance, 0.5))); }
.reet .dropped { opacity: 0.55; } .reet .legend mark { padding: 1px 10px; border-radius: 0; }
@media (max-width: 640px) { .reet .turn { grid-template-columns: minmax(0, 1fr); padding: 5px 0; } }
"""
LEGEND = (
    '<div class="legend"><span>kept, less to more important</span><span>'
    + "".join(f'<mark style="--importance:{step / 4:.2f}"></mark>' for step in range(5))
    + '</span><span class="dropped">dropped</span></div>'
)
FONTS = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "Consolas", "monospace"]}
LOOK = {"theme": gr.themes.Default(primary_hue="blue", **FONTS), "css": CSS, "footer_links": ["api", "gradio"]}


@cache
def load() -> Any:
    """The compression pipeline, made at the first call."""
    return pipeline("reet-compression", model=os.environ.get("REET_MODEL", "reet/reet-base"))


def parse_input(text: str, query: str = "") -> dict[str, Any]:
    """What the pipeline takes: messages or a context, each with a query.

    Text that begins as JSON does is read as JSON: messages, texts or `{"messages" | "context", "query", "history"}`
    (an `answer` beside them is ignored). Lines that begin with `user:`, `assistant:` or `system:` become messages,
    anything else is one document. A query typed on the page goes before one in the JSON.

    Raises:
        ReetError: If there is no text, too much of it, or JSON that cannot be read.
    """
    if not text.strip():
        raise ReetError("There is nothing to compress; paste a conversation or pick an example.")
    if len(text) > MAX_CHARACTERS:
        raise ReetError(f"This page takes {MAX_CHARACTERS:,} characters at most, got {len(text):,}; use the library.")
    asked = {"query": query} if query.strip() else {}
    if not LOOKS_LIKE_JSON.match(text):
        messages = split_speakers(text)
        return {"messages": messages, **asked} if messages else {"context": text, **asked}
    try:
        data = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ReetError(f"The text looks like JSON, but cannot be read: {error}.") from None
    if isinstance(data, list):
        if is_batch(data) and not all(isinstance(item, str) for item in data):
            raise ReetError("This page compresses one conversation at a time; paste one list of messages.")
        data = {"context" if is_batch(data) else "messages": data}
    return {**{name: value for name, value in data.items() if name != "answer"}, **asked}


def split_speakers(text: str) -> list[dict[str, str]]:
    """Messages of a text whose first line names a speaker (`user: …`), nothing for any other text."""
    before, *parts = SPEAKER.split(text.lstrip())
    if before or not parts:
        return []
    return [
        {"role": role.lower(), "content": said.strip("\n")} for role, said in zip(parts[::2], parts[1::2], strict=True)
    ]


def shown(text: str) -> str:
    """`text` as HTML that is displayed as it stands; gr.HTML would read braces as a template."""
    return escape(text).replace("{", "&#123;").replace("}", "&#125;").replace("$", "&#36;")


def highlight(messages: Sequence[Message], result: Mapping[str, Any]) -> str:
    """The whole conversation as HTML, what `result` kept on a background the stronger the more important it is."""
    importances = [piece["importance"] for piece in result["pieces"]] or [0.0]
    low, high = min(importances), max(importances)
    kept_calls = {call.get("id") for message in result["messages"] for call in message.get("tool_calls") or ()}
    pieces: dict[int, list[Mapping[str, Any]]] = {}
    for piece in result["pieces"]:
        pieces.setdefault(piece["message"], []).append(piece)
    turns = []
    for number, message in enumerate(messages):
        said = highlight_text(message.text, pieces.get(number, ()), low, high)
        calls = "".join(call_html(call, call.get("id") in kept_calls) for call in message.raw.get("tool_calls") or ())
        label = shown(message.label or f"part {number + 1}")
        turns.append(f'<div class="turn"><div class="who">{label}</div><div>{said}{calls}</div></div>')
    return f'<div class="reet">{LEGEND}{"".join(turns)}</div>'


def highlight_text(text: str, pieces: Sequence[Mapping[str, Any]], low: float, high: float) -> str:
    """One message's text as HTML: `pieces` marked by where their importance lies between `low` and `high`."""
    parts: list[str] = []
    last = 0
    for piece in pieces:
        strength = (piece["importance"] - low) / (high - low) if high > low else 1.0
        parts.append(dropped(text[last : piece["start"]]))
        shade = f'style="--importance:{strength:.2f}" title="importance {piece["importance"]:.2f}"'
        parts.append(f"<mark {shade}>{shown(text[piece['start'] : piece['end']])}</mark>")
        last = piece["end"]
    return f'<div class="said">{"".join(parts)}{dropped(text[last:])}</div>' if text else ""


def dropped(text: str) -> str:
    """Text that was left out, dimmed."""
    return f'<span class="dropped">{shown(text)}</span>' if text.strip() else text


def call_html(call: Mapping[str, Any], kept: bool) -> str:
    """One tool call as HTML; the calls of a message are kept or dropped as a whole."""
    function = call.get("function", call)
    text = f"{function.get('name', '')}({function.get('arguments', '')})"
    return f'<div class="call">{f"<mark>{shown(text)}</mark>" if kept else dropped(text)}</div>'


def receipt_rows(receipt: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[list[Any]]:
    """A row for each name, number, date and constraint: what became of it, type, text, message."""
    return [
        [heading.replace("_", " "), mention["type"], mention["text"], mention["message"] + 1]
        for heading in ("dropped", "in_ledger", "kept")
        for mention in receipt[heading]
    ]


def compress(text: str, query: str, keep: float, unit: str) -> tuple[str, str, str, list[list[Any]], dict[str, Any]]:
    """The highlighted original, the token counts, the compressed text, the receipt's rows and the full result.

    Raises:
        gr.Error: With a readable message, for whatever cannot be honoured.
    """
    try:
        inputs = parse_input(text, query)
        compressor = load()
        start = time.perf_counter()
        result = compressor(inputs, budget=float(keep), unit=unit)
    except (ReetError, TypeError, OSError) as error:
        raise gr.Error(escape(str(error), quote=False), print_exception=False) from error
    seconds = time.perf_counter() - start
    tokens = result["tokens"]
    share = tokens["compressed"] / tokens["original"] if tokens["original"] else 0.0
    counts = f"{tokens['original']:,} → {tokens['compressed']:,} tokens ({share:.0%}, budget {tokens['budget']:,})"
    html = highlight(parse_request(inputs).conversation.messages, result)
    return html, f"{counts} in {seconds:.1f} s", result["text"], receipt_rows(result["receipt"]), result


def example(title: str) -> tuple[str, str, str]:
    """Text, query and the answer to look for, of the example called `title`."""
    chosen = next(item for item in EXAMPLES if item["title"] == title)
    content = chosen["messages"] if "messages" in chosen else chosen["context"]
    return json.dumps(content, ensure_ascii=False, indent=1), chosen["query"], f"Answer to look for: {chosen['answer']}"


def build() -> gr.Blocks:
    """The page."""
    titles = [item["title"] for item in EXAMPLES]
    text, query, answer = example(titles[0])
    with gr.Blocks(title="REET", analytics_enabled=False) as page:
        gr.Markdown(INTRODUCTION)
        with gr.Row():
            with gr.Column(scale=3):
                titles_in = gr.Radio(titles, value=titles[0], label="Examples")
                text_in = gr.Textbox(text, label="Text, or chat messages as JSON", lines=12, max_lines=12)
            with gr.Column(scale=2):
                query_in = gr.Textbox(query, label="Query (may be empty)", lines=2)
                answer_out = gr.Markdown(answer)
                keep_in = gr.Slider(0.05, 1.0, value=0.2, step=0.05, label="Budget: share of the tokens that may stay")
                unit_in = gr.Dropdown(["auto", *UNITS], value="auto", label="Unit that is kept or dropped as a whole")
                button = gr.Button("Compress", variant="primary")
        counts_out = gr.Markdown()
        with gr.Tabs():
            with gr.Tab("In place"):
                html_out = gr.HTML(padding=True, max_height=720)
            with gr.Tab("Text"):
                text_out = gr.Textbox(label="Compressed text", lines=12, max_lines=30, buttons=["copy"])
            with gr.Tab("Receipt"):
                receipt_out = gr.Dataframe(headers=HEADERS, wrap=True, column_widths=["86px", "112px", "600px", "86px"])
            with gr.Tab("JSON"):
                json_out = gr.JSON(show_label=False, buttons=["copy"])
        outputs = [html_out, counts_out, text_out, receipt_out, json_out]
        button.click(compress, [text_in, query_in, keep_in, unit_in], outputs, api_name="compress")
        titles_in.input(example, titles_in, [text_in, query_in, answer_out], api_name="example")
    return page


demo = build()

if __name__ == "__main__":
    demo.launch(**LOOK)
