"""Requests of lm-evaluation-harness with their contexts compressed, and a count of what that did."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tqdm.auto import tqdm

from eval.harness.contexts import Fields, Place
from eval.systems.base import Kept, System
from reet_hf.budget import TokenCounter
from reet_hf.errors import ReetError

LOGGER = logging.getLogger("lm_eval.reet")  # the harness shows what comes below its own name
OTHERS = ("error", "pass")


@dataclass
class Counts:
    """What was done to the requests of one task.

    Attributes:
        requests: How many there were.
        compressed: How many of them had their context replaced.
        unchanged: How many of these got the very same text.
        rates: Their tokens over those of the context before, of the counting tokenizer, added up.
        tokens: Tokens of their contexts before and after, added up.
    """

    requests: int = 0
    compressed: int = 0
    unchanged: int = 0
    rates: float = 0.0
    tokens: list[int] = field(default_factory=lambda: [0, 0])

    def add(self, context: str, text: str, counter: TokenCounter) -> None:
        """One more compressed request."""
        before, after = counter.count(context), counter.count(text)
        self.compressed += 1
        self.unchanged += text == context
        self.rates += after / max(before, 1)
        self.tokens = [self.tokens[0] + before, self.tokens[1] + after]

    def report(self) -> dict[str, Any]:
        """Plain numbers; `mean_rate` is the mean over compressed requests, `None` if there is none."""
        return {
            "requests": self.requests,
            "compressed": self.compressed,
            "unchanged": self.unchanged,
            "mean_rate": self.rates / self.compressed if self.compressed else None,
            "tokens_before": self.tokens[0],
            "tokens_after": self.tokens[1],
        }


def total(counts: Mapping[str, Counts]) -> Counts:
    """The counts of all tasks together."""
    every = list(counts.values())
    return Counts(
        sum(each.requests for each in every),
        sum(each.compressed for each in every),
        sum(each.unchanged for each in every),
        sum(each.rates for each in every),
        [sum(each.tokens[place] for each in every) for place in (0, 1)],
    )


class RequestCompressor:
    """Compresses the context of each request for the question of its document.

    Args:
        system: What compresses.
        counter: What counts tokens for the budget and the rate.
        budget: Share of the context's tokens (float) or a number of tokens (int).
        fields: Where documents have context and question.
        others: What becomes of a request without a context in its prompt: an `"error"`, or it is let through whole
            (`"pass"`) with a warning.

    Attributes:
        counts: What was done so far, by task.
    """

    def __init__(
        self,
        system: System,
        counter: TokenCounter,
        budget: float | int,
        fields: Fields,
        others: str = "error",
    ) -> None:
        if others not in OTHERS:
            raise ReetError(f"`without_context` must be one of {', '.join(OTHERS)}, got {others!r}.")
        self.system, self.counter, self.budget, self.fields, self.others = system, counter, budget, fields, others
        self.counts: dict[str, Counts] = {}
        self._context: str | None = None  # the last one
        self._opened: Any = None
        self._kept: dict[str | None, Kept] = {}  # of it, by question

    def compress(self, requests: Sequence[Any], quiet: bool = False) -> list[Any]:
        """Copies of the requests, in their order, for prompts with compressed contexts.

        Args:
            requests: Of the harness (`lm_eval.api.instance.Instance`), with the prompt as their first argument.
            quiet: Whether no progress is shown.

        Raises:
            ReetError: If a request has no context in its prompt, unless those are let through.
        """
        found = [self._one(each) for each in tqdm(requests, desc="Compressing contexts", disable=quiet)]
        for name in dict.fromkeys(str(each.task_name) for each in requests):
            self._say(name)
        return found

    def skip(self, requests: Sequence[Any], reason: str) -> None:
        """Requests of a kind that cannot be compressed: counted, or refused.

        Raises:
            ReetError: Unless requests without a context are let through.
        """
        for each in requests:
            self._without(self._count(each), each, ReetError(reason))
        for name in dict.fromkeys(str(each.task_name) for each in requests):
            self._say(name)

    def _one(self, request: Any) -> Any:
        counts = self._count(request)
        prompt, *rest = request.args
        try:
            place = self.fields.find(request.doc, prompt)
        except ReetError as error:
            self._without(counts, request, error)
            return request
        context = prompt[place.start : place.end]
        text = self._text(context, place)
        counts.add(context, text, self.counter)
        return replace(request, arguments=(prompt[: place.start] + text + prompt[place.end :], *rest))

    def _count(self, request: Any) -> Counts:
        counts = self.counts.setdefault(str(request.task_name), Counts())
        counts.requests += 1
        return counts

    def _without(self, counts: Counts, request: Any, error: ReetError) -> None:
        if self.others == "error":
            raise ReetError(f"{request.task_name}, document {request.doc_id}: {error}") from error
        if counts.requests - counts.compressed == 1:  # the first
            LOGGER.warning("%s, document %s is not compressed: %s", request.task_name, request.doc_id, error)

    def _text(self, context: str, place: Place) -> str:
        """The compressed context; neighbouring requests about one text read it once."""
        question = None if self.system.query == "unused" else place.question
        if question is None and self.system.query == "required":
            raise ReetError(
                "`system` must be one that does without a query where a document asks nothing, such as reet or "
                "llmlingua2, but this one requires one; name the field with `question_field`."
            )
        if self._context != context:
            self._opened, self._context, self._kept = self.system.open(place.messages), context, {}
        if question not in self._kept:
            self._kept[question] = self.system.compress(self._opened, question, (), [self.budget])[0]
        return self._kept[question].text

    def _say(self, name: str) -> None:
        counts = self.counts[name].report()
        shown = "none" if counts["mean_rate"] is None else f"{counts['mean_rate']:.3f}"
        level = logging.INFO if counts["compressed"] == counts["requests"] > counts["unchanged"] else logging.WARNING
        LOGGER.log(
            level,
            "%s: %d of %d requests compressed, %d of them left as they were, mean rate %s",
            name,
            counts["compressed"],
            counts["requests"],
            counts["unchanged"],
            shown,
        )
