"""The turn-by-turn view: what steps through the questions, and where they are shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr
from endpoints import question_count, show_step

SECONDS_A_QUESTION = 3.0
PLAY, PAUSE = "▶ Play", "⏸ Pause"
PRIVATE: dict[str, Any] = {"api_visibility": "private"}  # the page's own events are no part of the API
QUIET: dict[str, Any] = {**PRIVATE, "show_progress": "hidden"}  # nothing is drawn over the fields they fill


class PlayerTab:
    """The controls and views of the player; made where they are to stand."""

    def __init__(self) -> None:
        self.clock = gr.Timer(SECONDS_A_QUESTION, active=False)
        with gr.Row():
            self.back = gr.Button("◀ Back", min_width=70, size="md")
            self.run = gr.Button(PLAY, variant="primary", min_width=70, size="md")
            self.forth = gr.Button("Next ▶", min_width=70, size="md")
        self.number = gr.Slider(1, 2, value=1, step=1, label="Question", buttons=[])
        self.question, self.curves, self.sent = gr.HTML(), gr.HTML(), gr.HTML()

    @property
    def outputs(self) -> list[Any]:
        """What `endpoints.show_step` fills."""
        return [self.number, self.question, self.curves, self.sent]

    def connect(self, fields: Sequence[Any]) -> None:
        """Let the buttons, the slider and the clock act on the conversation in `fields`."""
        inputs = [self.number, *fields]
        self.back.click(lambda at, *asked: show_step(at - 1, *asked), inputs, self.outputs, **QUIET)
        self.forth.click(lambda at, *asked: show_step(at + 1, *asked), inputs, self.outputs, **QUIET)
        self.number.input(show_step, inputs, self.outputs, trigger_mode="always_last", **QUIET)
        self.run.click(start_or_stop, [self.run, *inputs], [self.clock, self.run, *self.outputs], **QUIET)
        self.clock.tick(tick, inputs, [self.clock, self.run, *self.outputs], **QUIET)


def start_or_stop(label: str, at: float, *asked: Any) -> tuple[Any, ...]:
    """The clock started, from the first question if the last one is shown, or stopped."""
    starts = label == PLAY
    first = 1 if starts and at >= question_count(*asked) else at
    return gr.Timer(active=starts), gr.Button(PAUSE if starts else PLAY), *show_step(first, *asked)


def tick(at: float, *asked: Any) -> tuple[Any, ...]:
    """The next question; the clock stops at the last one."""
    ended = at + 1 >= question_count(*asked)
    return gr.Timer(active=not ended), gr.Button(PLAY if ended else PAUSE), *show_step(at + 1, *asked)
