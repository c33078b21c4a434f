"""What must survive a compression: all that was asked for, and what is protected by default as far as it fits."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from .defaults import recent_spans, system_spans, tagged_spans
from .options import Options
from .protection import protected_spans, protection_rules
from .records import Span, Unit
from .rendering import whole
from .user_requests import asking
from .view import View

DEFAULT_RECENT = 1  # turns that are protected where nothing else is asked for and they leave room


def protected(view: View, found: Sequence[Unit], options: Options, limit: int) -> list[Span]:
    """What must survive: what the caller asked for, and what is protected by default as far as the budget allows.

    By default system messages are protected where they fit, which is said if they do not, and the last turn where it
    leaves half of the room; where it does not, what the user asked does for the prompt of an agent.
    """
    conversation = view.state.conversation
    rules = [*protection_rules(options.protect), *tagged_spans(conversation, options.keep_tags)]
    if options.keep_recent is not None:
        rules += recent_spans(conversation, options.keep_recent)
    if options.keep_system:
        rules += system_spans(conversation)
    found_rules = protected_spans(conversation, found, rules)
    needed = view.tokens(found_rules)
    if options.keep_system is None and (system := system_spans(conversation)):
        more = protected_spans(conversation, found, [*rules, *system])
        floor = view.tokens(more)
        if floor <= limit:
            rules, found_rules, needed = [*rules, *system], more, floor
        elif needed <= limit:
            warnings.warn(
                f"`budget` allows {limit} tokens, but whole system messages take at least {floor}; they "
                f"are compressed like the rest. Raise `budget` to {floor} tokens, or set `keep_system`: True raises an "
                "error instead, False says nothing.",
                stacklevel=2,
            )
    if options.keep_recent is None:
        asked = asking(conversation, options.ask_last)
        request = [] if asked is None else whole(conversation)[asked : asked + 1]
        for recent in (recent_spans(conversation, DEFAULT_RECENT), request):
            more = protected_spans(conversation, found, [*rules, *recent])
            if view.tokens(more) - needed <= (limit - needed) / 2:
                return more
    return found_rules
