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
    """What a caller may choose for one compression; see the README for each."""

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
