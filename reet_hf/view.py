"""What the caller gets for a choice of spans, and what it costs: well formed, with markers, tools counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .budget import TokenCounter, tool_tokens
from .frames import framed
from .omissions import NO_MARKERS, Markers, gaps, omissions
from .records import Omission, Span
from .rendering import render_messages, render_text
from .state import Counts, State, unit_costs


@dataclass(frozen=True)
class View:
    """One way to show an encoded conversation.

    Attributes:
        state: The conversation.
        counts: What the counting tokenizer said of its messages.
        tools: Tool definitions that are sent along.
        marked: Whether markers show what was left out.
        prompt: Whether the messages go to a model as they are, see `frames.framed`.
    """

    state: State
    counts: Counts
    tools: Sequence[Mapping[str, Any]] = ()
    marked: bool = False
    prompt: bool = False
    _counted: dict[tuple[tuple[Span, ...], bool], int] = field(default_factory=dict, repr=False, compare=False)

    @property
    def counter(self) -> TokenCounter:
        """What counts."""
        return self.counts.counter

    def framed(self, spans: Sequence[Span]) -> list[Span]:
        """Kept spans with all that must stand beside them."""
        return framed(self.state.conversation, spans, self.prompt)

    def omitted(self, spans: Sequence[Span]) -> tuple[tuple[Omission, ...], Markers]:
        """What framed spans leave out, and the markers of it."""
        left = gaps(self.state.conversation, spans)
        found = omissions(left, lambda places: unit_costs(self.state.conversation, places, self.counts))
        return found, Markers.of(left, found) if self.marked and spans else NO_MARKERS

    def markers(self, spans: Sequence[Span]) -> Markers:
        """What is shown where framed spans leave something out."""
        return self.omitted(spans)[1] if self.marked else NO_MARKERS

    def tokens(self, spans: Sequence[Span]) -> int:
        """Exact tokens of what the caller gets for kept spans, tool definitions included."""
        whole = self.framed(spans)
        return self.shown_tokens(whole, self.markers(whole))

    def shown_tokens(self, spans: Sequence[Span], markers: Markers) -> int:
        """Exact tokens of framed spans with markers, tool definitions included; counted once for the same spans."""
        shown = (tuple(spans), markers is NO_MARKERS)
        if shown not in self._counted:
            self._counted[shown] = self._count(spans, markers)
        return self._counted[shown]

    def _count(self, spans: Sequence[Span], markers: Markers) -> int:
        conversation, counter = self.state.conversation, self.counter
        if counter.chat is not None and conversation.form == "messages":
            return counter.chat(render_messages(conversation, spans, markers), self.tools)
        text = counter.count(render_text(conversation, spans, markers)) if spans else 0
        return text + self.tool_tokens

    @property
    def tool_tokens(self) -> int:
        """Tokens of the tool definitions alone."""
        if not self.tools:
            return 0
        if self.counter.chat is not None and self.state.conversation.form == "messages":
            return self.counter.chat([], self.tools)
        return tool_tokens(self.counter, self.tools)
