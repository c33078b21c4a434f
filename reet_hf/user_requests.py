"""What a conversation asks for at its end: the last message of its user, as a whole and sentence by sentence."""

from __future__ import annotations

from .conversation import Conversation
from .segmentation import sentences

MOST = 6  # sentences that are asked one by one
SHORT = 12  # characters; a shorter sentence asks for nothing by itself


def asking(conversation: Conversation, wanted: bool | None = None) -> int | None:
    """Number of the last message of the user, `None` if there is none that says something, or it is no query.

    Args:
        conversation: The messages.
        wanted: Whether the last message of the user is a query; `None`: where the conversation uses tools, as the
            messages then are the prompt of an agent.
    """
    if wanted is False or conversation.form != "messages":
        return None
    messages = conversation.messages
    if wanted is None and not any(message.calls for message in messages):
        return None
    said = (n for n in reversed(range(len(messages))) if messages[n].role == "user" and messages[n].text.strip())
    return next(said, None)


def requests(conversation: Conversation, wanted: bool | None = None) -> list[str]:
    """What the user asked last, to be read as queries; nothing if that is not wanted.

    A message that asks for several things is read as a whole and sentence by sentence: one query for all of it would
    find what fits them on the mean.

    Args:
        conversation, wanted: As for `asking`.
    """
    number = asking(conversation, wanted)
    if number is None:
        return []
    asked = conversation.messages[number].text
    parts = [asked[start:end] for start, end in sentences(asked) if end - start >= SHORT]
    return [asked.strip(), *(parts[-MOST:] if len(parts) > 1 else [])]
