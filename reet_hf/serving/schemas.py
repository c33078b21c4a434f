"""What requests and answers of the HTTP server look like; whatever else a field demands, the library says."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from ..conversation import ROLES

MOST = 1_000_000_000
Message = Annotated[  # the library says which message is wrong, and how
    dict[str, Any],
    WithJsonSchema(
        {
            "type": "object",
            "required": ["role"],
            "properties": {
                "role": {"enum": list(ROLES)},
                "content": {
                    "anyOf": [
                        {"type": "string"},
                        {"type": "null"},
                        {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "object"}]}},
                    ]
                },
                "tool_calls": {"anyOf": [{"type": "null"}, {"type": "array", "items": {"type": "object"}}]},
            },
            "description": "A message of OpenAI's and Hugging Face's chat format; other fields stay as they are",
        }
    ),
]
Rate = Annotated[float, Field(gt=0.0, le=1.0)]
Budget = Annotated[  # the library says best what is wrong with one
    int | float,
    Field(le=MOST),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": MOST},
                {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
            ],
            "description": "Tokens (an integer), or a keep rate (a fraction)",
        }
    ),
]
Chance = Annotated[float, Field(ge=0.0, le=1.0)]
Place = Annotated[int, Field(ge=-MOST, le=MOST)]
Name = Annotated[
    str,
    Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="Letters, digits, . _ -"),
]


class Given(BaseModel):
    """A body of a request: fields of the very types that are named, and no others."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Options(Given):
    """What may be chosen for a compression; see the README for each."""

    budget: Budget | None = None
    tokenizer: str | None = Field(None, description="A model or encoding of OpenAI, or a name that the server knows")
    unit: Literal["auto", "word", "clause", "sentence", "message"] = "auto"
    strategy: Literal["extractive", "facts"] = "extractive"
    protect: list[str | Place | Annotated[list[Place], Field(min_length=3, max_length=3)]] = Field(
        default_factory=list, max_length=64, description="Roles, regexes, message numbers, or [message, start, end]"
    )
    threshold: Chance | None = None
    keep_recent: Annotated[int, Field(ge=0, le=MOST)] | None = None
    keep_system: bool | None = None
    keep_tags: list[str] = Field(default_factory=list, max_length=64)
    markers: bool = False
    tools: list[dict[str, Any]] | None = None
    ask_last: bool | None = None

    def chosen(self) -> dict[str, Any]:
        """The options that were given, as the library takes them."""
        given = self.model_dump(include=set(Options.model_fields), exclude_unset=True)
        if "protect" in given:
            given["protect"] = [tuple(rule) if isinstance(rule, list) else rule for rule in given["protect"]]
        return given


class Earlier(Given):
    """An earlier question, and its answer where it is known."""

    query: str
    answer: str = ""


class Inputs(Given):
    """A text or a conversation: exactly one of `context` and `messages`."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["context"]}, {"required": ["messages"]}]},
    )
    context: str | list[str] = Field(default_factory=list)
    messages: list[Message] = Field(default_factory=list)
    query: str | None = None
    history: list[Earlier] = Field(default_factory=list)

    def inputs(self) -> dict[str, Any]:
        """The input as the library takes it."""
        given: dict[str, Any] = {
            name: getattr(self, name) for name in ("context", "messages") if name in self.model_fields_set
        }
        return {**given, "query": self.query, "history": [turn.model_dump() for turn in self.history]}


class Compression(Inputs, Options):
    """A compression of one input."""


class Extraction(Inputs):
    """An extraction from one input."""

    output_format: Literal["json", "linear", "markdown", "records"] = "json"


class SessionExtraction(Given):
    """An extraction from a session."""

    query: str | None = None
    output_format: Literal["json", "linear", "markdown", "records"] = "json"


class NewSession(Given):
    """A session to be made; without a name it gets one."""

    name: Name | None = None


class Append(Given):
    """Messages for a session."""

    messages: list[Message] = Field(min_length=1)
    position: Annotated[int, Field(ge=0, le=MOST)] | None = Field(
        None, description="Messages that the session must have before; a second try of one request then adds nothing"
    )


class SessionCompression(Options):
    """A compression of a session."""

    query: str | None = None
    stable_prefix: bool = Field(False, description="What was sent stays byte for byte until the budget is reached")
    rebase_to: Rate = 0.5


class Answer(Given):
    """The answer to the last question of a session."""

    text: str


class Recall(Given):
    """What to bring back of what was left out."""

    what: str | Annotated[list[str], Field(min_length=1)] = Field(description="An id, several, or a question")
    budget: Budget | None = None
    tokenizer: str | None = None
    unit: Literal["auto", "word", "clause", "sentence", "message"] = "auto"
    threshold: Chance | None = None


class RecallCall(Given):
    """A call of the tool `recall_context`, as the model wrote it."""

    arguments: str | dict[str, Any]


class Chat(BaseModel):
    """A chat request of OpenAI's format; what is not named here is sent on as it is."""

    model_config = ConfigDict(extra="allow", strict=True)
    model: str
    messages: list[Message] = Field(min_length=1)
    tools: list[dict[str, Any]] | None = None
    stream: bool | None = None


class Told(BaseModel):
    """A body of an answer."""


class Piece(Told):
    """A kept piece: half-open characters of a message, and the chance that it is needed."""

    message: int
    start: int
    end: int
    importance: float


class Counts(Told):
    """Tokens of what came in, of what is left, and what it was allowed to be."""

    original: int
    compressed: int
    budget: int


class Compressed(Told):
    """A result; see the README for what it holds."""

    text: str
    messages: list[Message]
    pieces: list[Piece]
    tokens: Counts
    entities: list[dict[str, Any]]
    facts: dict[str, list[dict[str, Any]]]
    receipt: dict[str, list[dict[str, Any]]]
    omitted: list[dict[str, Any]]
    schema_version: int
    stability: dict[str, Any] | None = None


class Extracted(Told):
    """What was found, in the format that was asked for."""

    output_format: str
    result: Any


class SessionTold(Told):
    """How much a session holds."""

    name: str
    messages: int
    turns: int
    cached_tokens: int


class SessionNames(Told):
    """Names of sessions."""

    sessions: list[str]


class Messages(Told):
    """Messages as they were appended."""

    messages: list[Message]


class Recalled(Told):
    """What was left out, word for word."""

    text: str
    messages: list[Message]
    pieces: list[dict[str, Any]]
    tokens: Counts


class ToolResult(Told):
    """What the model gets."""

    content: str


class Health(Told):
    """How the server is."""

    status: str
    version: str


class Problem(Told):
    """What was wrong, and how to put it right; `floor` is the smallest budget that would do."""

    code: str
    message: str
    type: str
    floor: int | None = None


class Error(Told):
    """An error, in the form that OpenAI's clients read."""

    error: Problem
