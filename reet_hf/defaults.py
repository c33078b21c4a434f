"""What options want kept: the last turns, system messages, and what `<keep>` and `</keep>` mark.

Each function gives spans of whole messages or parts of them, in order; `protection` cuts them where units end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import regex

from .conversation import ROLES, Conversation, Message, shown
from .errors import ReetError
from .records import Span

SYSTEM = ("system", "developer")
SPEAKING = ("user", "assistant", "tool", "function")  # what turns are made of
_TAG = regex.compile(r"</?keep>")

Offsets = tuple[int, int]


def checked_defaults(keep_recent: Any, keep_system: Any, keep_tags: Any) -> None:
    """Nothing.

    Raises:
        ReetError: If `keep_recent` is neither a whole number of turns nor `None`, `keep_system` no truth value and not
            `None`, or `keep_tags` no list of roles.
    """
    if keep_recent is not None and (isinstance(keep_recent, bool) or not isinstance(keep_recent, int)):
        raise ReetError(
            f"`keep_recent` must be a whole number of turns of at least 0, or None, got {shown(keep_recent)}; use 0 to "
            "keep none."
        )
    if keep_recent is not None and keep_recent < 0:
        raise ReetError(f"`keep_recent` must be at least 0 turns, got {shown(keep_recent)}; use 0 to keep none.")
    if keep_system is not None and not isinstance(keep_system, bool):
        raise ReetError(f"`keep_system` must be True, False or None, got {shown(keep_system)}.")
    tagged_roles(keep_tags)


def tagged_roles(roles: Any) -> tuple[str, ...]:
    """Roles in whose messages tags count, each once; one role may come without a list.

    Raises:
        ReetError: If it is no role and no list of roles.
    """
    named = [roles] if isinstance(roles, str) else roles
    if not isinstance(named, (Sequence, set, frozenset)) or not all(isinstance(r, str) and r in ROLES for r in named):
        raise ReetError(f"`keep_tags` must be a list of roles, each one of {', '.join(ROLES)}, got {shown(roles)}.")
    return tuple(dict.fromkeys(named))


def system_spans(conversation: Conversation) -> list[Span]:
    """The system and developer messages, whole."""
    messages = enumerate(conversation.messages)
    return [Span(number, 0, len(message.text)) for number, message in messages if message.role in SYSTEM]


def recent_spans(conversation: Conversation, turns: int = 1) -> list[Span]:
    """The messages of the last turns, whole.

    A turn is a user message and what assistant and tools say up to the next one; what they say before the first one is
    a turn as well. Documents, system and developer messages belong to none.
    """
    messages = conversation.messages
    spoken = [number for number, message in enumerate(messages) if message.role in SPEAKING]
    starts = [number for number in spoken if messages[number].role == "user" or number == spoken[0]]
    first = starts[-turns:][0] if turns and starts else len(messages)
    return [Span(number, 0, len(messages[number].text)) for number in spoken if number >= first]


def tagged_spans(conversation: Conversation, roles: Sequence[str]) -> list[Span]:
    """What stands between `<keep>` and `</keep>` in messages of these roles; in any other they are plain text.

    Raises:
        ReetError: If the tags of such a message do not pair.
    """
    trusted = tagged_roles(roles)
    return [
        Span(number, start, end)
        for number, message in enumerate(conversation.messages)
        if message.role in trusted
        for start, end in _tagged(message, number)
    ]


def _tagged(message: Message, number: int) -> list[Offsets]:
    found: list[Offsets] = []
    opened: regex.Match | None = None
    for tag in _TAG.finditer(message.text):
        where = f"message {number} ({message.role}) has at character {tag.start()}"
        if tag.group() == "<keep>":
            if opened is not None:
                raise ReetError(
                    f"`keep_tags`: {where} a <keep> inside the one of character {opened.start()}; close that one with "
                    "</keep> first, as tags cannot be nested."
                )
            opened = tag
        elif opened is None:
            raise ReetError(
                f"`keep_tags`: {where} a </keep> that closes nothing; put <keep> before what it ends, or remove it."
            )
        else:
            if tag.start() > opened.end():
                found.append((opened.end(), tag.start()))
            opened = None
    if opened is not None:
        raise ReetError(
            f"`keep_tags`: message {number} ({message.role}) has at character {opened.start()} a <keep> that nothing "
            "closes; put </keep> after what it marks, or remove it."
        )
    return found
