"""Any accepted input as one `Conversation`; the characters of its messages are the only coordinates."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from reprlib import Repr
from typing import Any

from .errors import ReetError
from .records import Turn

ROLES = ("system", "developer", "user", "assistant", "tool", "function", "document")
MAX_DEPTH = 100  # lists and dictionaries in one another that a message may hold
MAX_VALUES = 1_000_000  # values that it may hold, counted as they would be written out
MAX_BITS = 14_000  # of an integer; Python writes no longer ones as text
_FORMS = (
    "a string, a list of messages, {'messages': [...], 'query': ...} or "
    "{'context': ..., 'query': ..., 'history': [...]}"
)


@dataclass(frozen=True)
class Message:
    """One message.

    Attributes:
        role: One of `ROLES`; `"document"` is text that nobody said.
        text: The content as one string. Text parts of a multi-part content follow each other without separator.
        name: The speaker's name or empty.
        borders: Characters of `text` at which a further text part begins.
        raw: The message exactly as it was given.
    """

    role: str
    text: str
    name: str = ""
    borders: tuple[int, ...] = ()
    raw: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def label(self) -> str:
        """How the speaker is shown before the text: the name, else the role, nothing for documents."""
        return "" if self.role == "document" else self.name or self.role

    @cached_property
    def calls(self) -> tuple[str, ...]:
        """Ids of the tool calls that this message makes (a legacy `function_call` has the id of its name)."""
        calls = self.raw.get("tool_calls") or ()
        ids = tuple(str(call.get("id", "")) for call in calls)
        legacy = self.raw.get("function_call")
        return (*ids, str(legacy.get("name", ""))) if isinstance(legacy, Mapping) else ids

    @cached_property
    def answers(self) -> str | None:
        """Id of the tool call that this message answers, if it is a tool result."""
        if self.role not in ("tool", "function"):
            return None
        return str(self.raw.get("tool_call_id") or self.name)

    @property
    def is_exchange(self) -> bool:
        """Whether the message is part of a tool exchange: makes calls, or answers one."""
        return bool(self.calls) or self.answers is not None

    @property
    def keeps_without_text(self) -> bool:
        """Whether the message says something even with an empty text: tool calls, a tool result, an image."""
        parts = self.raw.get("content")
        other = isinstance(parts, (list, tuple)) and any(not _is_text_part(part) for part in parts)
        return self.is_exchange or other


@dataclass(frozen=True)
class Conversation:
    """Messages in order and the form in which they came: `"text"`, `"context"` or `"messages"`."""

    messages: tuple[Message, ...] = ()
    form: str = "messages"

    def extend(self, messages: Sequence[Message]) -> Conversation:
        """A conversation with `messages` after the present ones."""
        return Conversation((*self.messages, *messages), self.form)

    def tool_group(self, number: int) -> int | None:
        """Number of the message whose tool calls message `number` makes or answers, `None` outside tool use.

        Results follow their call directly, as providers demand; a result without a call before it stands alone
        in a group of its own.
        """
        message = self.messages[number]
        if message.calls:
            return number
        if message.answers is None:
            return None
        first = number
        while first > 0 and self.messages[first - 1].answers is not None:
            first -= 1
        return first - 1 if first > 0 and self.messages[first - 1].calls else first

    @cached_property
    def homes(self) -> tuple[int, ...]:
        """For each message the number of the tool call that it answers, else its own: what stands and falls with it."""
        found: list[int] = []
        for number, message in enumerate(self.messages):
            before = self.messages[number - 1] if number else None
            follows = message.answers is not None and before and (before.calls or before.answers is not None)
            found.append(found[-1] if follows else number)
        return tuple(found)

    def ages(self) -> list[int]:
        """For each message the number of turns since: user messages after it; 0 for documents."""
        ages: list[int] = []
        after = 0
        for message in reversed(self.messages):
            ages.append(0 if message.role == "document" else after)
            after += message.role == "user"
        return ages[::-1]


@dataclass(frozen=True)
class Request:
    """What is to be compressed, for which query, after which earlier turns."""

    conversation: Conversation
    query: str | None = None
    history: tuple[Turn, ...] = ()


def shown(value: Any) -> str:
    """A value as error messages show it, cut to about 200 characters, however long or deep it is."""
    short = Repr()
    short.maxstring = short.maxother = short.maxlong = 160
    try:
        return f"{short.repr(value):.200}"
    except Exception:  # of an object that cannot be shown, an integer of 10,000 digits for one
        return f"a {type(value).__name__}"


def is_batch(inputs: Any) -> bool:
    """Whether `inputs` is a list of inputs rather than one: any list or tuple that does not hold messages."""
    if not isinstance(inputs, (list, tuple)):
        return False
    return bool(inputs) and not all(isinstance(item, Mapping) and "role" in item for item in inputs)


def parse_request(inputs: Any) -> Request:
    """The one request that `inputs` describes.

    Args:
        inputs: A string, a list of messages, `{"messages", "query", "history"}` or
            `{"context", "query", "history"}` where the context is a string or a list of strings.

    Raises:
        ReetError: If `inputs` has another form, an unknown key or a message that cannot be read.
    """
    if isinstance(inputs, Conversation):
        return Request(inputs)
    if isinstance(inputs, str):
        return Request(Conversation((_document(inputs, "input"),), "text"))
    if isinstance(inputs, (list, tuple)):
        return Request(Conversation(parse_messages(inputs)))
    if not isinstance(inputs, Mapping):
        raise ReetError(f"The input must be {_FORMS}, got {type(inputs).__name__}.")
    if "role" in inputs:
        return Request(Conversation(parse_messages([inputs])))
    unknown = set(inputs) - {"messages", "context", "query", "history"}
    if unknown or ("messages" in inputs) == ("context" in inputs):
        raise ReetError(
            f"The input must be {_FORMS}, got the keys {sorted(map(str, inputs))}; give exactly one of "
            "'messages' and 'context', and nothing but 'query' and 'history' beside it."
        )
    query, history = parse_query(inputs.get("query")), parse_history(inputs.get("history") or ())
    if "messages" in inputs:
        return Request(Conversation(parse_messages(inputs["messages"])), query, history)
    context = inputs["context"]
    texts = [context] if isinstance(context, str) else context
    if not isinstance(texts, (list, tuple)):
        raise ReetError(f"`context` must be a string or a list of strings, got {type(context).__name__}.")
    documents = tuple(_document(text, f"context[{number}]") for number, text in enumerate(texts))
    return Request(Conversation(documents, "context"), query, history)


def parse_query(query: Any) -> str | None:
    """The query, `None` where there is none or it is blank.

    Raises:
        ReetError: If it is neither a string nor `None`.
    """
    if query is None:
        return None
    return checked_text(query, "query").strip() or None


def parse_history(history: Any) -> tuple[Turn, ...]:
    """Earlier turns from a list of `{"query": str, "answer": str}`.

    Raises:
        ReetError: If an item has another form.
    """
    turns = []
    if isinstance(history, (str, Mapping)) or not isinstance(history, Sequence):
        raise ReetError(f"`history` must be a list of {{'query', 'answer'}}, got {type(history).__name__}.")
    for number, item in enumerate(history):
        if isinstance(item, Turn):
            turns.append(item)
            continue
        if not isinstance(item, Mapping) or "query" not in item or set(item) - {"query", "answer"}:
            raise ReetError(f"`history[{number}]` must be {{'query': str, 'answer': str}}, got {shown(item)}.")
        query = checked_text(item["query"], f"history[{number}]['query']")
        turns.append(Turn(query, checked_text(item.get("answer") or "", f"history[{number}]['answer']")))
    return tuple(turns)


def parse_messages(messages: Any) -> tuple[Message, ...]:
    """Messages of the OpenAI and Hugging Face chat format; the given objects are copied, never changed.

    Raises:
        ReetError: Naming the message's number and what is wrong with it.
    """
    if isinstance(messages, (str, Mapping)) or not isinstance(messages, Sequence):
        raise ReetError(f"`messages` must be a list of messages, got {type(messages).__name__}.")
    return tuple(_message(message, number) for number, message in enumerate(messages))


def _message(message: Any, number: int) -> Message:
    if isinstance(message, Message):
        return message
    if not isinstance(message, Mapping):
        raise ReetError(f"`messages[{number}]` must be a dict with 'role' and 'content', got {shown(message)}.")
    role = message.get("role")
    if not isinstance(role, str) or role not in ROLES:
        raise ReetError(f"`messages[{number}]['role']` must be one of {', '.join(ROLES)}, got {shown(role)}.")
    _check_values(message, f"messages[{number}]")
    _check_calls(message.get("tool_calls"), f"messages[{number}]['tool_calls']")
    text, borders = _content(message.get("content"), f"messages[{number}]['content']")
    name = checked_text(message.get("name") or "", f"messages[{number}]['name']")
    try:
        raw = copy.deepcopy(dict(message))
    except Exception as error:  # whatever an object of the caller raises
        raise ReetError(
            f"`messages[{number}]` holds a value that cannot be copied ({type(error).__name__}: {error}); give "
            "strings, numbers, lists and dictionaries."
        ) from error
    return Message(role, text, name, borders, raw)


def _check_values(message: Mapping[Any, Any], where: str) -> None:
    """Nothing; an error for what could not be copied or written as JSON: too deep, itself inside, no Unicode."""
    stack: list[tuple[Any, tuple[Any, ...]]] = [(message, ())]
    count = 0
    while stack:
        value, path = stack.pop()
        count += 1
        if isinstance(value, str):
            if not value.isascii():
                checked_text(value, where + "".join(f"[{key!r}]" for key in path))
        elif isinstance(value, (Mapping, list, tuple)):
            if len(path) >= MAX_DEPTH or count + len(value) > MAX_VALUES:
                place = where + (f"[{path[0]!r}]" if path else "")
                raise ReetError(
                    f"`{place}` must hold at most {MAX_DEPTH} lists and dictionaries in one another and {MAX_VALUES:,} "
                    "values, but has more, or holds itself; give such data as a JSON string."
                )
            named = value.items() if isinstance(value, Mapping) else enumerate(value)
            for key, inner in named:
                if isinstance(value, Mapping) and not isinstance(key, str):
                    raise ReetError(
                        f"`{where}` must have strings as keys, got {shown(key)}; write it as {shown(str(key))}."
                    )
                if isinstance(value, Mapping):
                    checked_text(key, f"{where} keys")
                stack.append((inner, (*path, key)))
        elif isinstance(value, int) and value.bit_length() > MAX_BITS:
            raise ReetError(f"`{where}` holds an integer of {value.bit_length()} bits; give it as a string.")


def _check_calls(calls: Any, where: str) -> None:
    if calls is None:
        return
    well = isinstance(calls, (list, tuple)) and all(
        isinstance(call, Mapping) and isinstance(call.get("function", {}), Mapping) for call in calls
    )
    if not well:
        raise ReetError(f"`{where}` must be a list of {{'id', 'type', 'function': {{...}}}}, got {shown(calls)}.")


def _content(content: Any, where: str) -> tuple[str, tuple[int, ...]]:
    """The text of a content and the borders between its text parts."""
    if content is None:
        return "", ()
    if isinstance(content, str):
        return checked_text(content, where), ()
    if not isinstance(content, (list, tuple)):
        raise ReetError(f"`{where}` must be a string, a list of parts or None, got {type(content).__name__}.")
    texts: list[str] = []
    for number, part in enumerate(content):
        if not isinstance(part, (Mapping, str)):
            raise ReetError(f"`{where}[{number}]` must be a dict with 'type', got {shown(part)}.")
        if _is_text_part(part):
            value = part if isinstance(part, str) else part.get("text")
            texts.append(checked_text(value, f"{where}[{number}]['text']"))
    ends: list[int] = []
    for text in texts[:-1]:
        ends.append(len(text) + (ends[-1] if ends else 0))
    return "".join(texts), tuple(ends)


def _is_text_part(part: Any) -> bool:
    return isinstance(part, str) or part.get("type", "text") in ("text", "input_text", "output_text")


def text_part(part: Any) -> str | None:
    """The text of a content part, `None` for an image, a file or any other part."""
    if not _is_text_part(part):
        return None
    return part if isinstance(part, str) else part["text"]


def _document(text: Any, where: str) -> Message:
    checked = checked_text(text, where)
    return Message("document", checked, raw={"role": "document", "content": checked})


def checked_text(text: Any, where: str) -> str:
    if not isinstance(text, str):
        raise ReetError(f"`{where}` must be a string, got {type(text).__name__}; decode or convert it first.")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ReetError(
            f"`{where}` must be valid Unicode, but has a lone surrogate at character {error.start}; "
            "decode the bytes with errors='replace' first."
        ) from None
    return text
