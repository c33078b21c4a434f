"""Budgets in tokens of the model that will read the result, counted with that model's own tokenizer."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import Any, Protocol

import numpy as np

from .conversation import shown, text_part
from .errors import ReetError

Offsets = tuple[int, int]
ChatMessages = Sequence[Mapping[str, Any]]
Tools = Sequence[Mapping[str, Any]]

# What OpenAI's chat format adds to the text, for gpt-3.5 and every later chat model, as the OpenAI cookbook has it.
PER_MESSAGE = 3
PER_NAME = 1
PER_REPLY = 3
PER_TOOLS = 12
PER_CALL = 3  # the cookbook says nothing of calls; taken to cost the frame of a message


class ChatCount(Protocol):
    """What counts chat messages."""

    def __call__(self, messages: ChatMessages, tools: Tools | None = None, /) -> int:
        """Tokens of a request with these messages and tool definitions; 0 for none of both."""


@dataclass(frozen=True)
class TokenCounter:
    """Counts tokens in one way.

    Attributes:
        name: How the counter is called in messages.
        counts: Tokens of each of several texts; what an empty text costs is part of every text's count.
        starts: First characters of the tokens of each of several texts, in order, where the tokenizer can tell.
        chat: Tokens of chat messages, and of tool definitions if some are given, with all that the chat format puts
            around them: as the chat template renders them, for tiktoken by OpenAI's published estimate. `None` where
            no format is known; see `tool_tokens` then.
        source: What the counter was made of.
    """

    name: str
    counts: Callable[[Sequence[str]], list[int]]
    starts: Callable[[Sequence[str]], list[Sequence[int]]] | None = None
    chat: ChatCount | None = None
    source: Any = field(default_factory=object)

    def is_same(self, other: TokenCounter | None) -> bool:
        """Whether both count alike: made of one object, or of one name."""
        if other is None or isinstance(self.source, str):
            return other is not None and self.source == other.source
        return self.source is other.source

    def count(self, text: str) -> int:
        """Tokens of one text."""
        return self.counts([text])[0]

    def costs(self, texts: Sequence[str], spans: Sequence[Sequence[Offsets]]) -> np.ndarray:
        """Estimated tokens of slices of texts, one after the other: exact up to what joins two slices.

        Args:
            texts: The whole texts.
            spans: For each text half-open characters, in order.
        """
        if not texts:
            return np.zeros(0, dtype=np.int64)
        if self.starts is None:
            slices = [text[start:end] for text, own in zip(texts, spans, strict=True) for start, end in own]
            empty, *counts = self.counts(["", *slices])  # special tokens come once, not with each slice
            return np.maximum(np.array(counts, dtype=np.int64) - empty, 0)
        return np.concatenate([costs_at(starts, own) for starts, own in zip(self.starts(texts), spans, strict=True)])


def costs_at(starts: Sequence[int] | np.ndarray, spans: Sequence[Offsets]) -> np.ndarray:
    """Tokens that begin in each of several spans, at least one.

    Args:
        starts: First characters of the tokens of a text, in order.
        spans: Half-open characters of the same text.
    """
    borders = np.asarray(spans, dtype=np.int64).reshape(-1, 2)
    places = np.searchsorted(np.asarray(starts, dtype=np.int64), borders)
    return np.maximum(places[:, 1] - places[:, 0], 1)


def resolve_counter(tokenizer: Any, default: TokenCounter | None = None) -> TokenCounter:
    """A counter for what the caller named.

    Args:
        tokenizer: A Hugging Face tokenizer, its Hub id or folder; a tiktoken encoding or its name; a callable from
            text to a number of tokens; or `None` for `default`.
        default: The counter used for `None`.

    Raises:
        ReetError: If it is none of these or cannot be loaded.
    """
    if tokenizer is None and default is not None:
        return default
    if isinstance(tokenizer, TokenCounter):
        return tokenizer
    if isinstance(tokenizer, (str, os.PathLike)):
        return _named(str(tokenizer))
    if hasattr(tokenizer, "apply_chat_template"):
        return _hugging_face(tokenizer)
    if hasattr(tokenizer, "encode_ordinary") and hasattr(tokenizer, "decode_with_offsets"):
        return _tiktoken(tokenizer)
    if callable(tokenizer):
        return TokenCounter(getattr(tokenizer, "__name__", "callable"), partial(_called, tokenizer), source=tokenizer)
    raise ReetError(
        "`tokenizer` must be a Hugging Face tokenizer, its id or folder, a tiktoken encoding or its name, or a "
        f"callable from text to a number of tokens, got {type(tokenizer).__name__}."
    )


@lru_cache(maxsize=8)
def _named(name: str) -> TokenCounter:
    if not os.path.isdir(name):
        counter = _tiktoken_by_name(name)
        if counter is not None:
            return counter
    from transformers import AutoTokenizer

    try:
        return replace(_hugging_face(AutoTokenizer.from_pretrained(name)), source=name)
    except (OSError, ValueError) as error:
        raise ReetError(
            f"`tokenizer` must name a Hub repository, a folder or a tiktoken encoding that can be loaded, got {name!r} "
            f"({error.__class__.__name__}); pass a tokenizer object, or a folder when there is no network."
        ) from error


def _tiktoken_by_name(name: str) -> TokenCounter | None:
    try:
        import tiktoken
    except ImportError:
        return None
    if name not in tiktoken.list_encoding_names():
        return None
    try:
        return _tiktoken(tiktoken.get_encoding(name))
    except (OSError, ValueError) as error:
        raise ReetError(
            f"`tokenizer` names the tiktoken encoding {name!r}, whose vocabulary could not be fetched "
            f"({error.__class__.__name__}); set TIKTOKEN_CACHE_DIR to a filled cache or pass a tokenizer object."
        ) from error


def _called(function: Callable[[str], int], texts: Sequence[str]) -> list[int]:
    values = [function(text) for text in texts]
    for value in values:
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0:
            raise ReetError(f"`tokenizer` must return a number of tokens of at least 0, got {value!r} for a text.")
    return [int(value) for value in values]


def _hugging_face(tokenizer: Any) -> TokenCounter:
    def encode(texts: Sequence[str], **options: Any) -> Any:
        return tokenizer(list(texts), add_special_tokens=False, verbose=False, **options)

    backend: Any = getattr(tokenizer, "backend_tokenizer", None)
    fast = getattr(backend, "encode_batch_fast", None)  # without offsets, which counting needs not

    def counts(texts: Sequence[str]) -> list[int]:
        if not texts:
            return []
        if fast is None or backend.truncation is not None or backend.padding is not None:
            return [len(ids) for ids in encode(texts)["input_ids"]]
        return [len(encoding) for encoding in fast(list(texts), add_special_tokens=False)]

    def starts(texts: Sequence[str]) -> list[Sequence[int]]:
        mapped = encode(texts, return_offsets_mapping=True)["offset_mapping"] if texts else []
        return [[start for start, _ in offsets] for offsets in mapped]

    return TokenCounter(
        name=getattr(tokenizer, "name_or_path", "") or type(tokenizer).__name__,
        counts=counts,
        starts=starts if getattr(tokenizer, "is_fast", False) else None,
        chat=_Template(tokenizer, counts) if getattr(tokenizer, "chat_template", None) else None,
        source=tokenizer,
    )


@dataclass(frozen=True)
class _Template:
    """Counts messages and tool definitions as the chat template of a Hugging Face tokenizer renders them."""

    tokenizer: Any
    counts: Callable[[Sequence[str]], list[int]]

    def __call__(self, messages: ChatMessages, tools: Tools | None = None, /) -> int:
        definitions = checked_tools(tools)
        alone = self._alone(messages) if messages else 0
        if not definitions:
            return alone
        together = self._together(messages, definitions) if messages else None
        if together is None:
            return alone + self._added(definitions)
        return together if together != alone else alone + self._written(definitions)

    def _rendered(self, messages: ChatMessages, tools: Tools | None = None) -> int:
        options: dict[str, Any] = {"tools": list(tools)} if tools else {}
        return len(self.tokenizer.apply_chat_template(list(messages), tokenize=True, return_dict=False, **options))

    def _alone(self, messages: ChatMessages) -> int:
        try:
            return self._rendered(messages)
        except Exception as error:  # a template may raise anything about an order of roles that it does not know
            plain = [_plain(message) for message in messages]
            try:
                return self._rendered(plain)
            except Exception:
                pass
            try:
                # a part of a valid conversation may break the template's alternation: message by message, with what
                # the template puts around each, never counts less
                return sum(self._rendered([_renderable(message)]) for message in plain)
            except Exception:
                raise ReetError(
                    f"The chat template of the counting tokenizer {self.tokenizer.name_or_path!r} cannot render these "
                    f"messages ({error}); pass a tokenizer whose template knows their roles, or a callable that counts "
                    "text."
                ) from error

    def _together(self, messages: ChatMessages, tools: Tools) -> int | None:
        for each in (messages, [_plain(message) for message in messages]):
            try:
                return self._rendered(each, tools)
            except Exception:  # as above; some templates also want a user's message first where there are tools
                continue
        return None

    def _added(self, tools: Tools) -> int:
        """What tools add to a message of a user; their JSON text if the template does not show them there."""
        probe = [{"role": "user", "content": "."}]
        try:
            added = self._rendered(probe, tools) - self._rendered(probe)
        except Exception:
            added = 0
        return added if added > 0 else self._written(tools)

    def _written(self, tools: Tools) -> int:
        return self.counts([_json(tools)])[0]


def _plain(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message as templates like it best: a string for no content, arguments of calls as objects."""
    plain = {**message, "content": "" if message.get("content") is None else message["content"]}
    if message.get("tool_calls"):
        plain["tool_calls"] = [_with_object(call) for call in message["tool_calls"]]
    return plain


def _with_object(call: Mapping[str, Any]) -> Mapping[str, Any]:
    function = call.get("function")
    if not isinstance(function, Mapping) or not isinstance(function.get("arguments"), str):
        return call
    try:
        arguments = json.loads(function["arguments"])
    except ValueError:
        return call
    return {**call, "function": {**function, "arguments": arguments}} if isinstance(arguments, dict) else call


def _renderable(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """An assistant's message as a user's, which every template takes alone; any other message as it is."""
    if message["role"] != "assistant":
        return message
    calls = [text for call in _calls(message) for text in call]
    return {"role": "user", "content": " ".join((_content(message), *calls)) if calls else message["content"]}


def _content(message: Mapping[str, Any]) -> str:
    """The text of a chat message; images and the like have none."""
    content = message.get("content")
    if not isinstance(content, (list, tuple)):
        return content or ""
    return "".join(text_part(part) or "" for part in content)


def _calls(message: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Id, name and arguments of each tool call of a message, a legacy function call without an id."""
    legacy = message.get("function_call")
    for call in (*(message.get("tool_calls") or ()), *([{"function": legacy}] if legacy else ())):
        function = call.get("function", call)
        arguments = function.get("arguments") or ""
        written = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False, default=str)
        yield str(call.get("id") or ""), str(function.get("name") or ""), written


def _tiktoken(encoding: Any) -> TokenCounter:
    def counts(texts: Sequence[str]) -> list[int]:
        return [len(encoding.encode_ordinary(text)) for text in texts]

    return TokenCounter(
        name=encoding.name,
        counts=counts,
        starts=lambda texts: [encoding.decode_with_offsets(encoding.encode_ordinary(text))[1] for text in texts],
        chat=partial(_openai_tokens, counts),
        source=encoding,
    )


def _openai_tokens(
    counts: Callable[[Sequence[str]], list[int]], messages: ChatMessages, tools: Tools | None = None, /
) -> int:
    """Tokens of OpenAI chat messages by OpenAI's published estimate; the service alone knows the true number.

    As "How to count tokens with tiktoken" of the OpenAI cookbook has it for gpt-3.5 and later chat models: 3 tokens a
    message, 1 a name, 3 for the start of the reply, and every text of the message. Of tool definitions, for which the
    cookbook has a formula by model, the whole JSON text and 12 tokens are counted, which is rather too much than too
    little. Images and files count nothing.
    """
    definitions = checked_tools(tools)
    if not messages and not definitions:
        return 0
    total, texts = PER_REPLY, []
    for message in messages:
        calls = list(_calls(message))
        name = str(message.get("name") or "")
        total += PER_MESSAGE + (PER_NAME if name else 0) + PER_CALL * len(calls)
        texts += [str(message["role"]), _content(message), name, str(message.get("tool_call_id") or "")]
        texts += [text for call in calls for text in call]
    if definitions:
        total += PER_TOOLS
        texts.append(_json(definitions))
    return total + sum(counts([text for text in texts if text]))


def checked_tools(tools: Any) -> tuple[Mapping[str, Any], ...]:
    """Tool definitions as a tuple, empty for `None`.

    Raises:
        ReetError: If it is no list of mappings, or one cannot be written as JSON.
    """
    if tools is None:
        return ()
    if isinstance(tools, (str, Mapping)) or not isinstance(tools, Sequence):
        raise ReetError(
            f"`tools` must be a list of tool definitions, got {type(tools).__name__}; pass [{{'type': 'function', "
            "'function': {...}}]."
        )
    for number, tool in enumerate(tools):
        if not isinstance(tool, Mapping):
            raise ReetError(
                f"`tools[{number}]` must be a dict such as {{'type': 'function', 'function': {{...}}}}, got "
                f"{type(tool).__name__}; describe a function by its JSON schema."
            )
        try:
            _json([tool]).encode("utf-8")
        except (TypeError, ValueError, RecursionError) as error:
            raise ReetError(
                f"`tools[{number}]` must be made of what JSON can hold, but {error}; use strings, numbers, lists and "
                "dicts."
            ) from error
    return tuple(tools)


def tool_tokens(counter: TokenCounter, tools: Tools | None) -> int:
    """Tokens of tool definitions as compact JSON, for counters without `chat`; 0 for none.

    Raises:
        ReetError: As `checked_tools`.
    """
    definitions = checked_tools(tools)
    return counter.count(_json(definitions)) if definitions else 0


def _json(tools: Tools) -> str:
    return json.dumps([dict(tool) for tool in tools], ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def is_number(value: Any) -> bool:
    """Whether a value is an integer or a float, of Python or NumPy, and no truth value."""
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, (bool, np.bool_))


def resolve_limit(budget: Any, original: int) -> int:
    """Tokens that may be used: an integer as it is, a rate as that share of `original`, rounded down.

    Args:
        budget: A float in (0, 1] or an integer of at least 1.
        original: Tokens of the whole input.

    Raises:
        ReetError: If it is neither.
    """
    if not is_number(budget):
        raise ReetError(
            f"`budget` must be a float in (0, 1] or an integer number of tokens, got {shown(budget)} "
            f"({type(budget).__name__})."
        )
    if isinstance(budget, (int, np.integer)):
        if budget < 1:
            raise ReetError(f"`budget` must be at least 1 token, got {shown(budget)}; the smallest is 1.", floor=1)
        return int(budget)
    if math.isnan(budget) or not 0.0 < budget <= 1.0:
        raise ReetError(
            f"`budget` as a float is a keep rate in (0, 1], got {shown(budget)}; give an integer for a number of "
            "tokens.",
            floor=1,
        )
    return math.floor(float(budget) * original + 1e-9)
