"""The error every REET entry point raises for input it cannot honour."""

from __future__ import annotations


class ReetError(ValueError):
    """Input that cannot be honoured: the message names the argument, the rule, the value and the fix.

    Args:
        message: The whole explanation, one sentence per fact.
        floor: The smallest budget that would do, in tokens of the counting tokenizer, where a budget was too small
            (for a budget that is wrong in itself, the smallest there is: what is protected may need more); otherwise
            `None`.
    """

    def __init__(self, message: str, *, floor: int | None = None) -> None:
        super().__init__(message)
        self.floor = floor


class DeadlineError(ReetError):
    """Work that took longer than whoever asked for it allows; what was complete before stays."""


class SessionInUse(ReetError):
    """A session's folder that somebody else has open, in this process or any other."""
