"""LangChain's messages in OpenAI's chat format and back; whatever they hold besides is as it was."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .loading import missing

try:
    from langchain_core.messages import (
        AIMessage,
        BaseMessage,
        FunctionMessage,
        HumanMessage,
        SystemMessage,
        ToolMessage,
    )
except ImportError as error:
    raise missing("langchain", error) from error

from ..conversation import ROLES

PLACE = "reet_place"  # of a message among those given, carried through
BLOCK = "reet_block"  # a part of a content that says no type, or is of one that it has not the form of
TEXTS = ("text", "input_text", "output_text")
CLASSES = {AIMessage: "assistant", ToolMessage: "tool", FunctionMessage: "function"}


def written(messages: Sequence[BaseMessage]) -> list[dict[str, Any]]:
    """Messages in OpenAI's format, with their places; what is no text in a content stays what it is."""
    return [_written(message, place) for place, message in enumerate(messages)]


def read(kept: Iterable[Mapping[str, Any]], messages: Sequence[BaseMessage]) -> list[Any]:
    """What a compression kept as LangChain's messages: those that were written, shortened, all else untouched.

    Args:
        kept: Messages of a result; one without a place says something new, as `strategy="facts"` does.
        messages: Those that were given to `written`.
    """
    return [_read(each, messages) if PLACE in each else HumanMessage(each["content"]) for each in kept]


def _written(message: BaseMessage, place: int) -> dict[str, Any]:
    whole = isinstance(message.content, str)
    content = message.content if whole else [_wrapped(part) for part in message.content]
    told = {"role": _role(message), "content": content, **_calling(message), PLACE: place}
    answers = message.tool_call_id if isinstance(message, ToolMessage) else _answered(message)
    more = {"name": message.name, "tool_call_id": answers}
    return {**told, **{name: value for name, value in more.items() if value}}


def _read(each: Mapping[str, Any], messages: Sequence[BaseMessage]) -> BaseMessage:
    first, calls = each[PLACE], {name: each[name] for name in ("tool_calls", "function_call") if each.get(name)}
    # an answer that became one with a later one has the calls of that one, and is it in everything but the content
    place = next((n for n in range(first, len(messages)) if _calling(messages[n]) == calls), first)
    content = each["content"] if isinstance(each["content"], str) else [_unwrapped(part) for part in each["content"]]
    same = place == first and content == messages[place].content
    return messages[place] if same else messages[place].model_copy(update={"content": content})


def _role(message: BaseMessage) -> str:
    """The role of a message; a user's where chat formats know none like it."""
    if isinstance(message, SystemMessage):
        return "developer" if message.additional_kwargs.get("__openai_role__") == "developer" else "system"
    if _answered(message):
        return "tool"
    own = getattr(message, "role", "user")
    return next((role for kind, role in CLASSES.items() if isinstance(message, kind)), own if own in ROLES else "user")


def _answered(message: BaseMessage) -> str:
    """Id of the call that a user's message answers, which is how Anthropic's format has results; else empty."""
    blocks = message.content if isinstance(message, HumanMessage) and isinstance(message.content, list) else []
    results = [part for part in blocks if isinstance(part, dict) and part.get("type") == "tool_result"]
    return str(results[0].get("tool_use_id", "")) if results else ""


def _calling(message: BaseMessage) -> dict[str, Any]:
    """The calls of a message, with those whose arguments could not be read: a result answers them all the same."""
    if not isinstance(message, AIMessage):
        return {}
    asked = [*message.tool_calls, *message.invalid_tool_calls]
    told: list[tuple[Any, Any, Any]] = [(call.get("id"), call.get("name"), call.get("args")) for call in asked]
    blocks = message.content if isinstance(message.content, list) else []
    uses = [part for part in blocks if isinstance(part, dict) and part.get("type") == "tool_use"]
    known = {call[0] for call in told}
    told += [(part.get("id"), part.get("name"), part.get("input")) for part in uses if part.get("id") not in known]
    calls = [
        {"id": name or "", "type": "function", "function": {"name": tool or "", "arguments": _as_text(arguments)}}
        for name, tool, arguments in told
    ]
    legacy = message.additional_kwargs.get("function_call")
    return {**({"tool_calls": calls} if calls else {}), **({"function_call": legacy} if legacy else {})}


def _as_text(arguments: Any) -> str:
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False, default=str)


def _wrapped(part: Any) -> Any:
    """A part of a content, in a wrapping if it could be taken for a text but has none."""
    if isinstance(part, str) or isinstance(part.get("text"), str) or part.get("type", "text") not in TEXTS:
        return part
    return {"type": BLOCK, BLOCK: part}


def _unwrapped(part: Any) -> Any:
    return part[BLOCK] if isinstance(part, dict) and part.get("type") == BLOCK else part
