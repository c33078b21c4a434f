"""A page on which a conversation is compressed and every kept word can be seen in its place.

Run it with `python app.py`; the environment variable `REET_MODEL` names another checkpoint or folder.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from answers import TITLES, content_of, named, questions_of
from endpoints import SHARE, compress_text, example, first_views, pick, show, show_rivals, show_step, upload, warm_up
from inputs import MAX_FILE_BYTES, READERS
from player_tab import PRIVATE, QUIET, PlayerTab
from reply import LENT_DEVICE

from reet_hf.segmentation import UNITS

HERE = Path(__file__).parent
INTRODUCTION = """# REET: compress a conversation, keep what matters
Pick an example or bring your own, say how much of it may stay, and see which words were kept and why. Kept text is
verbatim, the budget is never exceeded, and the receipt says what became of every name, number and date."""
FONTS = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "Consolas", "monospace"]}
LOOK: dict[str, Any] = {
    "theme": gr.themes.Default(primary_hue="blue", **FONTS),
    "css_paths": HERE / "page.css",
    "js": (HERE / "page.js").read_text(encoding="utf-8"),
    "footer_links": ["api", "gradio"],
    "max_file_size": MAX_FILE_BYTES + 1000,
    "mcp_server": True,
}
SAVE = """(written) => {
  const content = JSON.parse(written);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(%s, null, 1)], { type: "application/json" }));
  link.download = "%s";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  return [];
}"""
COPY = "(text) => { navigator.clipboard?.writeText(text); return []; }"
RECEIPT = "{ tokens: content.tokens, receipt: content.receipt, omitted: content.omitted }"


@dataclass(frozen=True)
class Controls:
    """What a user sets.

    Attributes:
        fields: Text, query, share, tokens, unit and what must stay.
        titles, asked, file: What fills them: an example, one of its questions, a file.
        button: What starts a compression.
    """

    fields: list[Any]
    titles: Any
    asked: Any
    file: Any
    button: Any


@dataclass(frozen=True)
class Views:
    """Where results are shown.

    Attributes:
        outputs: In the order of `endpoints.show`.
        player, rivals: Views that are filled when their tabs are opened.
        player_tab, rivals_tab: These.
        other_tabs: The rest.
    """

    outputs: list[Any]
    player: PlayerTab
    rivals: Any
    player_tab: Any
    rivals_tab: Any
    other_tabs: list[Any]


def controls(item: dict[str, Any]) -> Controls:
    """The upper half of the page, filled with an example."""
    text, query = content_of(item), item["query"]
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=300):
            titles = gr.Radio(TITLES, value=item["title"], label="Examples")
            text_in = gr.Textbox(text, label="Conversation: text, or chat messages as JSON", lines=11, max_lines=11)
            kinds = list(READERS)
            file = gr.UploadButton(f"Upload a file ({', '.join(kinds)})", file_types=kinds, size="sm", type="filepath")
        with gr.Column(scale=4, min_width=300):
            asked = gr.Dropdown(questions_of(item), value=query, label="Questions of this example")
            query_in = gr.Textbox(query, label="Query (may be empty); Enter compresses", lines=1, max_lines=4)
            with gr.Row():
                share = gr.Slider(0.05, 1.0, value=SHARE, step=0.05, label="Budget (share)", min_width=190)
                tokens = gr.Number(0, label="or tokens (0: the share)", minimum=0, precision=0, min_width=130)
            unit = gr.Dropdown(["auto", *UNITS], value="auto", label="Unit: what is kept or dropped as a whole")
            with gr.Accordion("What must stay", open=False):
                protect = gr.Textbox("", label="Roles or regular expressions, one a line", lines=2, max_lines=4)
            button = gr.Button("Compress", variant="primary")
    return Controls([text_in, query_in, share, tokens, unit, protect], titles, asked, file, button)


def save_button(label: str, file: str, source: Any, content: str = "content") -> None:
    """A button that saves what the browser has already, so that nothing is stored on the server.

    Args:
        label: Of the button.
        file: Name of the file.
        source: The component that holds the content as JSON.
        content: What of it is saved, as JavaScript.
    """
    gr.Button(label, size="sm").click(None, source, None, js=SAVE % (content, file))


def results(first: Sequence[Any]) -> Views:
    """The lower half of the page.

    Args:
        first: What it shows at first, in the order of `endpoints.show`.
    """
    values = iter(first)
    figures = gr.HTML(next(values))
    with gr.Tabs():
        with gr.Tab("Original") as place_tab:
            original = gr.HTML(next(values))
        with gr.Tab("Result") as result_tab:
            text = gr.Textbox(next(values), label="Compressed text", lines=12, max_lines=24)
            saves = gr.Row()
        with gr.Tab("Turns") as player_tab:
            player = PlayerTab()
        with gr.Tab("Ledger") as ledger_tab:
            graph, facts = gr.HTML(next(values)), gr.HTML(next(values))
        with gr.Tab("Compare") as rivals_tab:
            rivals = gr.HTML()
        with gr.Tab("Receipt") as receipt_tab:
            receipt = gr.HTML(next(values))
        with gr.Tab("Code") as code_tab:
            code = gr.Code(next(values), language="python", label="Gives the same result", interactive=False)
            save_code = gr.Row()
    held, result = gr.Textbox(next(values), visible="hidden"), gr.Textbox(next(values), visible="hidden")
    with saves:
        gr.Button("Copy the text", size="sm").click(None, text, None, js=COPY)
        save_button("Download the result (JSON)", "reet-result.json", result)
        save_button("Download the receipt (JSON)", "reet-receipt.json", result, RECEIPT)
    with save_code:
        save_button("Download conversation.json", "conversation.json", held)
    outputs = [figures, original, text, graph, facts, receipt, code, held, result]
    others = [place_tab, result_tab, ledger_tab, receipt_tab, code_tab]
    return Views(outputs, player, rivals, player_tab, rivals_tab, others)


def connect(page: gr.Blocks, given: Controls, views: Views) -> None:
    """Let each control act: what is shown follows what is set."""
    text, query, share, tokens, unit, _ = given.fields
    opened = gr.State("")

    def show_open(tab: str, *asked: Any) -> tuple[Any, ...]:
        """The views that are filled when they are opened, anew if one of them is open."""
        rivals = show_rivals(*asked) if tab == "rivals" else gr.skip()
        return rivals, *(show_step(1, *asked) if tab == "player" else [gr.skip()] * 4)

    following = [views.rivals, *views.player.outputs]
    waiting = [views.rivals, views.player.question]
    example_fields = [text, query, given.asked]
    picked = given.titles.input(pick, given.titles, example_fields, **QUIET)
    asked = given.asked.input(lambda question: question, given.asked, query, **QUIET)
    uploaded = given.file.upload(upload, given.file, [*example_fields, given.titles], trigger_mode="multiple", **QUIET)
    shows = {
        "fn": show,
        "inputs": given.fields,
        "outputs": views.outputs,
        "show_progress_on": views.outputs[0],
        **PRIVATE,
    }
    live = [given.button.click, query.submit, tokens.submit, unit.input, share.input]
    starts = [gr.on(live, trigger_mode="always_last", **shows)]
    starts += [filled.success(**shows) for filled in (picked, asked, uploaded)]
    if LENT_DEVICE:
        starts.append(page.load(**shows))
    for shown in starts:
        shown.success(show_open, [opened, *given.fields], following, show_progress_on=waiting, **PRIVATE)
    for tab, name in [(views.rivals_tab, "rivals"), (views.player_tab, "player")]:
        tab.select(lambda name=name: name, None, opened, **PRIVATE).then(
            show_open, [opened, *given.fields], following, show_progress_on=waiting, **PRIVATE
        )
    for tab in views.other_tabs:
        tab.select(lambda: "", None, opened, **PRIVATE)
    views.player.connect(given.fields)


def build() -> gr.Blocks:
    """The page."""
    item = named(TITLES[0])
    first = [None] * 9 if LENT_DEVICE else first_views(item)
    with gr.Blocks(title="REET", analytics_enabled=False) as page:
        gr.Markdown(INTRODUCTION)
        given = controls(item)
        connect(page, given, results(first))
        gr.api(compress_text, api_name="compress")
        gr.api(example, api_name="example")
    return page


demo = build()

if __name__ == "__main__":
    threading.Thread(target=warm_up, daemon=True).start()  # meanwhile the page shows its first result
    demo.launch(**LOOK)
