"""What agents can ask of REET: tools and resources of the Model Context Protocol, and what models are told of them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import quote, unquote

from ..conversation import parse_messages
from ..errors import ReetError
from ..formats import facts_by_entity
from ..integrations.loading import missing
from .failures import Conflict, NoSuchSession
from .service import Service

try:
    from mcp import types
    from pydantic import BaseModel, Field, WithJsonSchema, model_validator

    from . import schemas
except ImportError as error:
    raise missing("mcp", error) from error

MOST_IDS = 20  # of what was left out, that are told without `details`
SESSIONS = "reet://sessions"
SESSION = re.compile(r"reet://sessions/([^/?#]+)(?:/(messages|facts))?")
OPTIONS = {  # what models are told of each option; all is in the README
    "name": "Name of the session: letters, digits, . _ -",
    "messages": "Chat messages in OpenAI's format, in order",
    "threshold": "Drop what is needed with less than this chance",
    "unit": "What is kept or dropped as a whole",
    "strategy": "facts: lines of what is said of whom, instead of the wording; with budget, query and threshold only",
    "protect": "What must survive: roles, regexes, message numbers, [message, start, end]",
    "keep_recent": "So many of the last turns must survive",
    "keep_system": "true: system messages must survive; false: they may be cut",
    "keep_tags": "Roles in whose messages <keep>…</keep> must survive",
    "markers": "Show where something is missing, how much, and its id",
    "tools": "Tool definitions that are sent along, which the budget must hold too",
    "ask_last": "Without a query: whether the user's last message is the query",
}


Count = Annotated[int, Field(ge=0, le=schemas.MOST)]
Output = Literal["text", "messages"]
SAID = {"role": {"type": "string"}, "content": {"description": "Text, content parts, or null beside tool_calls"}}
Message = Annotated[dict[str, Any], WithJsonSchema({"type": "object", "properties": SAID, "required": ["role"]})]
Messages = Annotated[list[Message], Field(min_length=1)]


class Arguments(schemas.Given):
    """Arguments of a tool; null means left out, and a list may come as JSON text, as some models write it."""

    @model_validator(mode="before")
    @classmethod
    def _read(cls, given: Any) -> Any:
        read = {name: value for name, value in given.items() if value is not None}
        for name in {"messages", "protect", "keep_tags", "tools"} & set(read):
            if isinstance(read[name], str):
                with suppress(ValueError, RecursionError):
                    read[name] = json.loads(read[name])
        return read


class Source(Arguments):
    """A text or a conversation."""

    text: str | None = Field(None, description="A text; give this or `messages`")
    messages: Messages | None = None
    query: str | None = Field(None, description="What will be asked of it")

    def inputs(self) -> dict[str, Any]:
        """The input as the library takes it.

        Raises:
            ReetError: If there is not exactly one.
        """
        if (self.text is None) == (self.messages is None):
            raise ReetError("Give exactly one of `text` and `messages`.")
        given = {"context": self.text} if self.messages is None else {"messages": self.messages}
        return {**given, "query": self.query}


class Choices(Arguments, schemas.Options):
    """How to compress."""

    budget: schemas.Budget | None = Field(
        None, description="Most tokens of the result: a whole number, or a share such as 0.3 (the default)"
    )
    output: Output | None = Field(
        None, description="Form of the result (default: that of the input, text for sessions)"
    )
    details: bool = Field(False, description="Also offsets, entities, facts and the whole receipt; many tokens")


class Compress(Choices, Source):
    """Arguments of `compress`."""


class Extract(Source):
    """Arguments of `extract`."""

    details: bool = Field(False, description="Also every mention and fact with its offsets; many tokens")


class Named(Arguments):
    """Arguments that name a session."""

    name: schemas.Name


class Append(Named):
    """Arguments of `session_append`."""

    messages: Messages
    position: Count | None = Field(None, description="Messages that it must have before, so that a retry is safe")


class SessionCompress(Choices, Named):
    """Arguments of `session_compress`."""

    query: str | None = Field(None, description="What the next turn asks; later compressions know that it was asked")
    stable_prefix: bool = Field(
        False, description="Keep what the last call gave byte for byte and add to it, for a provider's prompt cache"
    )


class Recall(Named):
    """Arguments of `session_recall`."""

    id: str | None = Field(None, description="Id of a marker, such as 7f3a1c")
    query: str | None = Field(None, description="Without an id: what you need to know, as a full question")
    budget: Annotated[int, Field(ge=1, le=schemas.MOST)] | None = Field(
        None, description="Most tokens to bring back (default: 1000)"
    )


class Restore(Named):
    """Arguments of `session_restore`."""

    first: Count = Field(0, description="Number of the first message, from 0")
    count: Count | None = Field(None, description="Most messages (default: all)")


def compress(service: Service, tenant: str, asked: Compress) -> dict[str, Any]:
    """A text or a conversation shortened to a token budget, word for word, with what `query` needs.

    Call it before you put something long into a prompt. What is left out cannot be recalled; sessions can do that.
    """
    out = service.compress(asked.inputs(), asked.chosen())
    return shortened(out, asked.output or ("text" if asked.messages is None else "messages"), asked.details)


def extract(service: Service, tenant: str, asked: Extract) -> dict[str, Any]:
    """Whom and what a text or a conversation mentions, and what is said of each.

    With `query` only facts that may answer it, the likeliest first.
    """
    return found(service.extract(asked.inputs(), "records"), asked.details)


def session_append(service: Service, tenant: str, asked: Append) -> dict[str, Any]:
    """A session with more chat messages at its end, made if it is not there; how much it then holds.

    The messages are on disk when this returns. Append every message of a conversation once, in order.
    """
    given = (tenant, asked.name, asked.messages, asked.position)
    try:
        return {**service.append(*given), "created": False}
    except NoSuchSession:
        if asked.position:
            raise
    parse_messages(asked.messages)  # no session is made for what cannot be read
    with suppress(Conflict):  # somebody else has just made it
        service.create(tenant, asked.name)
    return {**service.append(*given), "created": True}


def session_compress(service: Service, tenant: str, asked: SessionCompress) -> dict[str, Any]:
    """The part of a session that `query` needs, within a token budget.

    Markers such as [… 412 tokens, id 7f3a1c] stand for what is left out; session_recall brings it back.
    """
    options = {"markers": asked.strategy == "extractive", **asked.chosen()}
    out = service.compress_session(tenant, asked.name, asked.query, options, asked.stable_prefix)
    return shortened(out, asked.output or "text", asked.details)


def session_recall(service: Service, tenant: str, asked: Recall) -> dict[str, Any]:
    """What session_compress left out, word for word, by `id` or by `query`.

    Call it when the answer depends on it, not for what you can read already, and not twice for the same. After a few
    calls it only answers again when the user's next message was appended.
    """
    call = asked.model_dump(include={"id", "query", "budget"}, exclude_none=True)
    return {"text": service.answer_recall(tenant, asked.name, call)}


def session_restore(service: Service, tenant: str, asked: Restore) -> dict[str, Any]:
    """Messages of a session exactly as they were appended, and how many there are.

    All of them may be many tokens: prefer session_compress or session_recall, or take some by `first` and `count`.
    """
    messages = service.restore(tenant, asked.name)
    last = None if asked.count is None else asked.first + asked.count
    return {"messages": messages[asked.first : last], "total": len(messages)}


def session_delete(service: Service, tenant: str, asked: Named) -> dict[str, Any]:
    """The name of a session that was deleted with all its messages, for good."""
    service.delete(tenant, asked.name)
    return {"deleted": asked.name}


def shortened(out: Mapping[str, Any], output: Output, details: bool) -> dict[str, Any]:
    """What an agent needs of a compression, in few tokens."""
    left = sorted(out["omitted"], key=lambda part: -part["tokens"])
    ids = [part["id"] for part in left[:MOST_IDS]]
    told = {
        output: out[output],
        "tokens": out["tokens"],
        "receipt": {heading: len(mentions) for heading, mentions in out["receipt"].items()},
        "omitted": {"parts": len(left), "tokens": sum(part["tokens"] for part in left), "ids": ids},
        **({"stability": out["stability"]} if "stability" in out else {}),
    }
    more = {name: out[name] for name in ("pieces", "entities", "facts", "receipt", "omitted")}
    return {**told, "details": more} if details else told


def found(records: Mapping[str, Any], details: bool = False) -> dict[str, Any]:
    """Facts by entity and types of entities, of extraction records."""
    entities = {mention["text"]: mention["type"] for mention in records["entities"]}
    told = {"facts": facts_by_entity(records), "entities": entities}
    return {**told, "details": records} if details else told


def shape(told: str, **fields: Any) -> dict[str, Any]:
    """The schema of an object; fields whose name ends in `_` may be missing."""
    needed = [name for name in fields if not name.endswith("_")]
    properties = {name.rstrip("_"): field for name, field in fields.items()}
    return {"type": "object", "description": told, "properties": properties, "required": needed}


TEXT, NUMBER, YES, ANY = ({"type": kind} for kind in ("string", "integer", "boolean", "object"))
TEXTS, CHAT = {"type": "array", "items": TEXT}, {"type": "array", "items": ANY}
TOKENS = shape("Of what came in, of what is left, and allowed", original=NUMBER, compressed=NUMBER, budget=NUMBER)
RECEIPT = shape(
    "How many names, numbers, dates and constraints are kept, in known facts only, or dropped",
    **dict.fromkeys(("kept", "in_ledger", "dropped"), NUMBER),
)
LEFT_OUT = shape(
    f"What is left out, with the ids of the {MOST_IDS} largest parts", parts=NUMBER, tokens=NUMBER, ids=TEXTS
)
SHORTENED = shape(
    "What is left, as `text` or as `messages`, and what became of the rest",
    **{"text_": TEXT, "messages_": CHAT, "tokens": TOKENS, "receipt": RECEIPT, "omitted": LEFT_OUT},
    **{"stability_": ANY, "details_": ANY},
)
FOUND = shape(
    "Facts of each entity, and types of entities",
    facts={"type": "object", "additionalProperties": TEXTS},
    entities={"type": "object", "additionalProperties": TEXT},
    details_=ANY,
)
HELD = shape("What it holds", name=TEXT, messages=NUMBER, turns=NUMBER, cached_tokens=NUMBER, created=YES)


@dataclass(frozen=True)
class Tool:
    """A tool; its name and what models are told of it are those of the function that does its work.

    Attributes:
        work: Called with the service, the tenant and arguments of type `takes`; returns what `gives` describes.
        reads, destroys: Whether it changes nothing, or something is lost.
    """

    work: Callable[[Service, str, Any], dict[str, Any]]
    takes: type[Arguments]
    gives: dict[str, Any]
    reads: bool = False
    destroys: bool = False

    @property
    def definition(self) -> types.Tool:
        """What clients are told."""
        hints = types.ToolAnnotations(
            read_only_hint=self.reads,
            destructive_hint=self.destroys,
            idempotent_hint=self.reads,
            open_world_hint=False,
        )
        return types.Tool(
            name=self.work.__name__,
            description=" ".join((self.work.__doc__ or "").split()),
            input_schema=schema_of(self.takes),
            output_schema=self.gives,
            annotations=hints,
        )


TOOLS = {
    tool.work.__name__: tool
    for tool in (
        Tool(compress, Compress, SHORTENED, reads=True),
        Tool(extract, Extract, FOUND, reads=True),
        Tool(session_append, Append, HELD),
        Tool(session_compress, SessionCompress, SHORTENED),
        Tool(session_recall, Recall, shape("What was left out, or why there is nothing", text=TEXT)),
        Tool(session_restore, Restore, shape("Messages, of so many", messages=CHAT, total=NUMBER), reads=True),
        Tool(session_delete, Named, shape("The name that is free again", deleted=TEXT), destroys=True),
    )
}


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of arguments, with what models are told of each, without titles and nulls."""
    schema = _plain(model.model_json_schema())
    for name in OPTIONS.keys() & schema["properties"].keys():
        schema["properties"][name]["description"] = OPTIONS[name]
    if model is SessionCompress:
        schema["properties"]["markers"]["default"] = True
    del schema["description"]
    return schema


def _plain(part: Any) -> Any:
    if isinstance(part, list):
        return [_plain(item) for item in part]
    if not isinstance(part, dict):
        return part
    bare = {name: _plain(value) for name, value in part.items() if (name, value) != ("default", None)}
    if isinstance(bare.get("title"), str):
        del bare["title"]
    choices = [choice for choice in bare.pop("anyOf", ()) if choice != {"type": "null"}]
    return {**(choices[0] if len(choices) == 1 else {"anyOf": choices} if choices else {}), **bare}


def resource(service: Service, tenant: str, uri: str) -> dict[str, Any]:
    """What a resource holds.

    Raises:
        NoSuchSession: If there is no such resource.
        ReetError: If it cannot be read.
    """
    if uri == SESSIONS:
        return {"sessions": [{"name": name, "uri": f"{SESSIONS}/{quote(name)}"} for name in service.names(tenant)]}
    parts = SESSION.fullmatch(uri)
    if parts is None:
        raise NoSuchSession(f"There is no resource {uri!r:.200}; {SESSIONS} lists what there is.")
    name, part = unquote(parts[1]), parts[2]
    if part == "messages":
        return {"messages": service.restore(tenant, name)}
    if part == "facts":
        return found(service.extract_session(tenant, name, None, "records"))
    return service.describe(tenant, name)
