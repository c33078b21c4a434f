"""Whether messages can be sent to a model as they are, and say nothing that the history they were made of did not.

The types are those of the `openai` package. It writes lists as `Iterable`, which pydantic checks only when somebody
iterates, and lets unknown fields pass; here lists are lists, checked at once, and unknown fields are refused.
"""

from __future__ import annotations

import collections.abc
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, reduce
from itertools import pairwise
from operator import or_
from typing import Any, Union, get_args, get_origin

from openai.types import chat
from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config
from typing_extensions import NotRequired, Required, TypedDict, get_type_hints, is_typeddict

Message = Mapping[str, Any]

TYPES: dict[str, Any] = {
    "developer": chat.ChatCompletionDeveloperMessageParam,
    "system": chat.ChatCompletionSystemMessageParam,
    "user": chat.ChatCompletionUserMessageParam,
    "assistant": chat.ChatCompletionAssistantMessageParam,
    "tool": chat.ChatCompletionToolMessageParam,
    "function": chat.ChatCompletionFunctionMessageParam,
}
LEADING = ("system", "developer")
SAYING = ("tool_calls", "function_call", "refusal", "audio")  # what an assistant may say instead of a content
_FENCE = re.compile(r"^ {0,3}(```+|~~~+)", re.MULTILINE)
_RULER = re.compile(r"^\|?(?:\s*:?-+:?\s*\|)+\s*(?::?-+:?)?\s*$")


def problems(messages: Sequence[Message], original: Sequence[Message] | None = None) -> list[str]:
    """What is wrong with messages, each as `kind: what`; nothing if they are valid.

    Args:
        messages: What is to be sent. No message at all is valid: it says nothing.
        original: The valid history that they were made of; without it, only what holds for any history is checked.
    """
    found = list(_form(messages)) or list(_pairing(messages))
    if found:
        return found
    found = _leading(messages, original)
    if original is not None:
        for rule in (_roles, _untouched, _contents):
            found += rule(messages, original)
    return found


def kinds(found: Sequence[str]) -> Counter[str]:
    """How many problems there are of each kind."""
    return Counter(each.partition(":")[0] for each in found)


@lru_cache(maxsize=16)
def adapter(role: str) -> TypeAdapter[Any]:
    """The check of a message of one role."""
    return TypeAdapter(_strict(TYPES[role]))


@lru_cache(maxsize=64)
def _strict(annotation: Any) -> Any:
    """A type with lists for iterables and closed dictionaries, all the way down."""
    if is_typeddict(annotation):
        fields = {}
        for name, hint in get_type_hints(annotation, include_extras=True).items():  # all others are not required
            needed = get_origin(hint) is Required
            fields[name] = (Required if needed else NotRequired)[_strict(get_args(hint)[0] if needed else hint)]
        closed: Any = TypedDict(annotation.__name__, fields)  # type: ignore[misc]
        return with_config(ConfigDict(strict=True, extra="forbid"))(closed)
    if get_origin(annotation) is collections.abc.Iterable:
        return list[_strict(get_args(annotation)[0])]  # type: ignore[misc]
    if get_origin(annotation) is Union:
        return reduce(or_, (_strict(each) for each in get_args(annotation)))
    return annotation


def _form(messages: Sequence[Message]) -> Iterator[str]:
    """Each message for itself."""
    for number, message in enumerate(messages):
        role = message.get("role") if isinstance(message, Mapping) else None
        if role not in TYPES:
            yield f"role: message {number} has the role {role!r}"
            continue
        try:
            adapter(role).validate_python(dict(message), strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            yield f"form: message {number} ({role}), {'.'.join(map(str, first['loc']))}: {first['msg']}"
            continue
        if message.get("tool_calls") == [] or message.get("content") == []:
            yield f"form: message {number} ({role}) has an empty list"
        elif role == "assistant" and message.get("content") is None and not any(map(message.get, SAYING)):
            yield f"form: message {number} (assistant) has neither content nor calls"


def _pairing(messages: Sequence[Message]) -> Iterator[str]:
    """Results follow their calls directly, each call with one."""
    open_calls: list[str] = []
    for number, message in enumerate(messages):
        if message.get("role") == "tool":
            answered = message.get("tool_call_id")
            if answered in open_calls:
                open_calls.remove(answered)
            else:
                yield f"orphan result: message {number} answers {answered!r}, which the message before it does not call"
            continue
        if open_calls:
            yield f"unanswered call: {open_calls} before message {number}"
        open_calls = [str(call.get("id")) for call in message.get("tool_calls") or () if isinstance(call, Mapping)]
        if len(set(open_calls)) < len(open_calls):
            yield f"unanswered call: message {number} calls the same id twice"
    if open_calls:
        yield f"unanswered call: {open_calls} at the end"


def _spoken(messages: Sequence[Message]) -> list[str]:
    """Roles in order without those of instructions."""
    return [message["role"] for message in messages if message["role"] not in LEADING]


def _leading(messages: Sequence[Message], original: Sequence[Message] | None) -> list[str]:
    """Instructions come first, then a user's message; unless the original had it otherwise."""
    found = []
    if _late(messages) and not (original is not None and _late(original)):
        found.append("system order: a system message stands after another")
    spoken = _spoken(messages)
    begins = original is None or _spoken(original)[:1] == ["user"]
    if spoken and spoken[0] != "user" and begins:
        found.append(f"first message: the first message is of role {spoken[0]}, not user")
    return found


def _late(messages: Sequence[Message]) -> bool:
    roles = [message["role"] in LEADING for message in messages]
    return any(after and not before for before, after in pairwise(roles))


def _roles(messages: Sequence[Message], original: Sequence[Message]) -> list[str]:
    """No two roles stand side by side that never did."""
    known = set(pairwise(_spoken(original)))
    fresh = set(pairwise(_spoken(messages))) - known
    return [f"role order: {before}/{after}, which the original never has" for before, after in sorted(fresh)]


def _untouched(messages: Sequence[Message], original: Sequence[Message]) -> list[str]:
    """Calls, names, ids and parts that are no text are as they were."""
    found = []
    by_role: dict[str, list[Message]] = {}
    for message in original:
        by_role.setdefault(message["role"], []).append(message)
    pictures = [part for message in original for part in _pictures(message)]
    for number, message in enumerate(messages):
        own = by_role.get(message["role"], [])
        if not own:
            found.append(f"untouched: message {number} is of role {message['role']}, of which there was none")
        elif message.get("tool_calls") and not any(m.get("tool_calls") == message["tool_calls"] for m in own):
            found.append(f"untouched: message {number} has calls that no message had")
        elif not any(_rest(m) == _rest(message) for m in own):
            found.append(f"untouched: message {number} has fields that no message had: {_rest(message)}")
        if any(part not in pictures for part in _pictures(message)):
            found.append(f"untouched: message {number} has a part that is no text and no message had")
    return found


def _rest(message: Message) -> dict[str, Any]:
    return {name: value for name, value in message.items() if name not in ("content", "tool_calls")}


def _pictures(message: Message) -> list[Any]:
    content = message.get("content")
    return [part for part in content if part.get("type") != "text"] if isinstance(content, (list, tuple)) else []


def text_of(message: Message) -> str:
    """The text of a message's content, each part from a new line on."""
    content = message.get("content")
    if isinstance(content, (list, tuple)):
        return "\n".join(part.get("text", "") for part in content)
    return content or ""


def _contents(messages: Sequence[Message], original: Sequence[Message]) -> list[str]:
    """What was JSON still is, fences are closed where they were, tables keep their head, nothing is left empty."""
    found = []
    for number, message in enumerate(messages):
        role, text = message["role"], text_of(message)
        sources = _sources(message, original)
        if role == "tool":
            for kind, rule in TOOL_RULES.items():
                if sources and not any(rule(source, text) for source in sources):
                    found.append(f"{kind}: message {number} was {sources[0][:80]!r}, is {text[:80]!r}")
        if _open_fence(text) and not any(map(_open_fence, sources)):
            found.append(f"fence: message {number} ({role}) has a fence that is not closed")
        silent = not text.strip() and not message.get("tool_calls") and not _pictures(message)
        if silent and all(source.strip() for source in sources):
            found.append(f"emptied: message {number} ({role}) has nothing left of its text")
    return found


def _sources(message: Message, original: Sequence[Message]) -> list[str]:
    """Texts that a message may have been made of: those of its role, of a result those of its call."""
    own = (m for m in original if m["role"] == message["role"])
    return [text_of(m) for m in own if m.get("tool_call_id") == message.get("tool_call_id")]


def _open_fence(text: str) -> bool:
    return len(_FENCE.findall(text)) % 2 == 1


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def is_json(text: str) -> bool:
    """Whether a text is a JSON object or array."""
    return isinstance(_parsed(text), (dict, list))


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


def _still_json(source: str, text: str) -> bool:
    """Of a result of which nothing is left a JSON string may say so."""
    return not is_json(source) or isinstance(_parsed(text), (type(_parsed(source)), str))


def _still_json_lines(source: str, text: str) -> bool:
    """Lines that are JSON strings may say what is left out."""
    lines = _lines(source)
    if is_json(source) or len(lines) < 2 or not all(map(is_json, lines)):
        return True
    return all(isinstance(_parsed(line), (dict, list, str)) for line in _lines(text))


def _still_table(source: str, text: str) -> bool:
    """Where rows of the first table are left, its head is."""
    lines, left = ([line.strip() for line in _lines(each)] for each in (source, text))
    if len(lines) < 2 or not _RULER.match(lines[1]) or "|" not in lines[0]:
        return True
    return not set(lines[2:]) & set(left) or set(lines[:2]) <= set(left)


TOOL_RULES: dict[str, Callable[[str, str], bool]] = {
    "json": _still_json,
    "json lines": _still_json_lines,
    "table head": _still_table,
}
"""Whether what is left of a tool result is of the form that the result was."""
