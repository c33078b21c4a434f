"""smolagents: a step callback that shortens what earlier steps have observed."""

from __future__ import annotations

from typing import Any

from ..budget import resolve_counter
from ..errors import ReetError
from .documents import compress_texts
from .loading import compressor_of, counter_of, missing

try:
    from smolagents import ActionStep, TaskStep
except ImportError as error:
    raise missing("smolagents", error) from error


ORIGINAL = "reet_original"  # the attribute of a step that holds what it observed


class ReetStepCallback:
    """Keeps the observations of all but the last steps under one budget, for what the task asks.

    `CodeAgent(..., step_callbacks=[ReetStepCallback(budget=2000)])`; one callback may serve several agents and runs.

    Args:
        budget: Tokens of the observations of earlier steps together.
        recent: So many of the last steps stay as they are.
        model: What counts tokens, see `loading.counter_of`; REET's own tokenizer if left out.
        compress: A `reet-compression` pipeline or a `Compressor`; the bundled weights if left out.
        **options: Any other option of a compression.

    Raises:
        ReetError: If an option cannot be honoured.
        TypeError: For an unknown option.
    """

    def __init__(self, budget: int, recent: int = 1, model: Any = None, compress: Any = None, **options: Any) -> None:
        if isinstance(recent, bool) or not isinstance(recent, int) or recent < 0:
            raise ReetError(f"`recent` must be a number of steps, 0 or more, got {recent!r:.80}; the default is 1.")
        self.budget, self.recent = budget, recent
        self.compressor = compressor_of(compress)
        self.options = {**options, **({"tokenizer": counter_of(model)} if model is not None else {})}
        self.compressor.options(budget=budget, **self.options)
        self.counter = resolve_counter(self.options.get("tokenizer"), self.compressor.counter)

    def __call__(self, memory_step: Any, agent: Any) -> None:
        """Shorten the memory of an agent after a step."""
        steps = [step for step in agent.memory.steps if isinstance(step, ActionStep) and step.observations]
        if not any(step is memory_step for step in steps) and isinstance(memory_step, ActionStep):
            steps += [memory_step] if memory_step.observations else []  # it is added after the callbacks
        earlier = steps[: max(0, len(steps) - self.recent)]
        texts = [self.original(step) for step in earlier]
        if sum(self.counter.count(text) for text in texts) <= self.budget:
            return
        tasks = [step.task for step in agent.memory.steps if isinstance(step, TaskStep)]
        query = tasks[-1] if tasks else None
        found = compress_texts(texts, query, self.budget, self.compressor, **self.options)
        kept = {each.place: each.text for each in found}
        for place, (step, text) in enumerate(zip(earlier, texts, strict=True)):
            setattr(step, ORIGINAL, text)
            step.observations = kept.get(place, "[…]")

    @staticmethod
    def original(step: Any) -> str:
        """What a step has observed, whole."""
        return getattr(step, ORIGINAL, None) or step.observations or ""
