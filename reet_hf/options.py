"""What a caller may choose for one compression, checked before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .budget import checked_tools, is_number, resolve_counter, resolve_limit
from .conversation import shown
from .defaults import checked_defaults
from .errors import ReetError
from .protection import protection_rules
from .segmentation import UNITS

STRATEGIES = ("extractive", "facts")
DEFAULT_BUDGET = 0.3


@dataclass(frozen=True)
class Options:
    """What a caller may choose for one compression.

    Args:
        budget: Keep rate in (0, 1], or a number of tokens, never exceeded; 0.3 where there is no threshold either.
        tokenizer: Counts the budget: a Hugging Face tokenizer, its id or folder, a tiktoken encoding or its name, or a
            callable from a text to its number of tokens; the model's own if left out.
        unit: What is chosen as a whole: word, clause, sentence or message, of which smaller ones fill what is left of a
            budget; or auto, likely sentences whole and less likely ones in their content words.
        strategy: extractive, or facts: lines of what is said of whom.
        protect: Roles, regexes, message numbers or `(message, start, end)` that must survive.
        threshold: Chance of being needed below which all is dropped, in [0, 1].
        keep_recent: Turns at the end that must survive; `None` for one, where it leaves half of the budget to the rest.
        keep_system: Whether system messages must survive; `None` for where they fit.
        keep_tags: Roles in whose messages `<keep>` and `</keep>` mark what must survive.
        markers: Whether places where something was left out are shown.
        tools: Tool definitions that are sent along and count in the budget.
        ask_last: Whether the last message of the user is the query where none is given; `None` where tools are used.

    Raises:
        ReetError: For a value that breaks its rule.
    """

    budget: float | int | None = None
    tokenizer: Any = None
    unit: str = "auto"
    strategy: str = "extractive"
    protect: Sequence[Any] = ()
    threshold: float | None = None
    keep_recent: int | None = None
    keep_system: bool | None = None
    keep_tags: Sequence[str] = ()
    markers: bool = False
    tools: Sequence[Mapping[str, Any]] | None = None
    ask_last: bool | None = None

    def __post_init__(self) -> None:
        if self.unit not in (*UNITS, "auto"):
            raise ReetError(f"`unit` must be one of {', '.join(UNITS)} or auto, got {shown(self.unit)}.")
        if self.strategy not in STRATEGIES:
            raise ReetError(f"`strategy` must be 'extractive' or 'facts', got {shown(self.strategy)}.")
        kept = self.protect or self.keep_recent or self.keep_system or self.keep_tags or self.markers
        if self.strategy == "facts" and (self.unit != "auto" or kept):
            raise ReetError(
                "`strategy` 'facts' keeps facts, so it takes none of `unit`, `protect`, `keep_recent`, `keep_system`, "
                "`keep_tags` and `markers`; leave them out."
            )
        if self.threshold is not None and not (is_number(self.threshold) and 0.0 <= self.threshold <= 1.0):
            raise ReetError(f"`threshold` must be a chance between 0 and 1, got {shown(self.threshold)}.")
        if self.budget is None:
            object.__setattr__(self, "budget", DEFAULT_BUDGET if self.threshold is None else 1.0)
        resolve_limit(self.budget, 0)
        protection_rules(self.protect)
        checked_defaults(self.keep_recent, self.keep_system, self.keep_tags)
        if not isinstance(self.markers, bool):
            raise ReetError(f"`markers` must be True or False, got {shown(self.markers)}.")
        if self.ask_last is not None and not isinstance(self.ask_last, bool):
            raise ReetError(f"`ask_last` must be True, False or None, got {shown(self.ask_last)}.")
        object.__setattr__(self, "tools", checked_tools(self.tools))
        if self.tokenizer is not None:
            object.__setattr__(self, "tokenizer", resolve_counter(self.tokenizer))
