"""What was left out, brought back: by the id that stood in its place, or by what is asked of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import Any, TypeVar

from .budget import resolve_counter, resolve_limit
from .conversation import Conversation, Message, parse_query
from .errors import ReetError
from .frames import standing
from .lexicon import has_content
from .records import Span, Turn, Unit
from .rendering import render_messages, render_text

SpanOrUnit = TypeVar("SpanOrUnit", Span, Unit)
TOOL = "recall_context"
OPTIONS = {"tokenizer", "unit", "threshold"}
LOOKS_LIKE_ID = re.compile(r"[0-9a-f]{6,12}")
_ID_IN_TEXT = re.compile(r"(?<![0-9a-z])[0-9a-f]{6,}(?![0-9a-z])")


@dataclass(frozen=True)
class RecallLimits:
    """How much a model may recall before it has to answer; all are counted from the last message of the user.

    Attributes:
        recalls: Calls of the tool.
        tokens: Tokens of everything recalled.
        budget: Tokens of one recall that names no budget.
    """

    recalls: int = 5
    tokens: int = 4000
    budget: int = 1000

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ReetError(f"`{name}` must be an integer of at least 1, got {value!r}.")


@dataclass
class RecallGuard:
    """What a model has recalled since the user's last message; keeps it from going round in circles.

    Attributes:
        limits: How much it may recall.
        recalls: Calls so far, those that brought nothing back too.
        tokens: Tokens that they brought back.
        seen: Ids and questions that brought something back, since any other message than those of the recalls.
        own: Ids of the model's calls of the tool.
    """

    limits: RecallLimits = field(default_factory=RecallLimits)
    recalls: int = 0
    tokens: int = 0
    seen: list[str] = field(default_factory=list)
    own: list[str] = field(default_factory=list)

    @property
    def left(self) -> int:
        """Tokens that may still be brought back."""
        return max(self.limits.tokens - self.tokens, 0)

    def refusal(self, key: str) -> str | None:
        """What to tell the model in place of the text that `key` (an id or a question) asks for; `None`: nothing."""
        if self.recalls >= self.limits.recalls or not self.left:
            return (
                f"You have recalled {self.recalls} times and {self.tokens} tokens since the user's last message, which "
                "is all there is for one turn. Answer now with what is there."
            )
        if key in self.seen:
            return "This was already recalled above, and nothing was said since. Use that text."
        return None

    def recalled(self, key: str, tokens: int, found: bool) -> None:
        """Count a call that brought back so many tokens."""
        self.recalls += 1
        self.tokens += tokens
        if found:
            self.seen.append(key)

    def appended(self, messages: Iterable[Message]) -> None:
        """Take note of new messages: a user's sets everything back, after any other the same may be asked again."""
        for message in messages:
            if message.role == "user":
                self.recalls, self.tokens, self.seen, self.own = 0, 0, [], []
            elif is_recall(message):
                self.own.extend(message.calls)
            elif message.answers not in self.own and message.name != TOOL:
                self.seen = []

    def to_dict(self) -> dict[str, Any]:
        """What was counted, as plain JSON types; not the limits."""
        return {name: value for name, value in asdict(self).items() if name != "limits"}


def is_recall(message: Message) -> bool:
    """Whether a message calls the tool, and no other."""
    calls = message.raw.get("tool_calls") or ()
    return bool(calls) and all(call.get("function", {}).get("name") == TOOL for call in calls)


def recall_calls(message: Message) -> list[tuple[str, bool]]:
    """Id of each tool call of a message, empty where it has none, and whether the call recalls."""
    calls = message.raw.get("tool_calls") or ()
    return [(str(call.get("id") or ""), call.get("function", {}).get("name") == TOOL) for call in calls]


def brings_back(message: Message, calls: list[tuple[str, bool]]) -> bool:
    """Whether a tool result answers a call that recalls.

    Args:
        message: The result.
        calls: Those of its exchange that have no result yet, see `recall_calls`; its own is taken out.
    """
    name = str(message.raw.get("tool_call_id") or "")
    if not name and message.name:
        return message.name == TOOL
    place = next((number for number, (own, _) in enumerate(calls) if own == name), None)
    return place is not None and calls.pop(place)[1]


def recall_tool() -> dict[str, Any]:
    """The definition of the tool `recall_context` in OpenAI's format; `Session.answer_recall` executes its calls."""
    properties = {
        "id": {
            "type": "string",
            "description": (
                "The id in a marker, such as 7f3a1c in [… 412 tokens, id 7f3a1c]. Brings back what stood there."
            ),
        },
        "query": {
            "type": "string",
            "description": (
                "Without an id: what you need to know, as a full question with the names, dates or numbers in it. "
                "Brings back the parts that were left out and answer it."
            ),
        },
        "budget": {
            "type": "integer",
            "minimum": 1,
            "description": "The most tokens to bring back. Leave it out unless you need more or less than usual.",
        },
    }
    description = (
        "Reads parts of this conversation that were left out to save room, word for word. Call it when the answer "
        "depends on something that a marker stands for or that you remember only in part, with an id or a query. "
        "Do not call it for what you can read already, and do not ask for the same thing twice."
    )
    parameters = {"type": "object", "properties": properties, "additionalProperties": False}
    return {"type": "function", "function": {"name": TOOL, "description": description, "parameters": parameters}}


@dataclass(frozen=True)
class RecallCall:
    """What a call of the tool asks for: `id` or `query`, and tokens, if it says how many."""

    id: str = ""
    query: str = ""
    budget: int | None = None

    @property
    def key(self) -> str:
        """The same for calls that ask for the same."""
        return self.id or " ".join(self.query.casefold().split())


def parse_call(arguments: Any) -> RecallCall | str:
    """The call that a model wrote, or what to tell it if that cannot be read; raises nothing."""
    if isinstance(arguments, (str, bytes)):
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError):
            return 'The arguments are no JSON. Write {"id": "..."} or {"query": "..."}.'
    if not isinstance(arguments, Mapping):
        return 'The arguments must be an object. Write {"id": "..."} or {"query": "..."}.'
    said = {name: arguments.get(name) for name in ("id", "query")}
    for name, value in said.items():
        if value is not None and not isinstance(value, str):
            return f"`{name}` must be a string, in double quotes."
        if value and not value.isascii() and value.encode("utf-8", "replace").decode("utf-8") != value:
            return f"`{name}` has characters that are no valid text. Write it again."
    budget = arguments.get("budget")
    if isinstance(budget, str) and budget.strip().isdecimal():
        budget = int(budget[:9])
    if isinstance(budget, float) and budget.is_integer():
        budget = int(budget)
    if budget is not None and (isinstance(budget, bool) or not isinstance(budget, int) or budget < 1):
        return "`budget` must be a whole number of tokens, at least 1. Leave it out for the usual amount."
    name, query = ((said[key] or "").strip() for key in ("id", "query"))
    found = _ID_IN_TEXT.findall(name.lower())
    if not name and not query:
        return "Say what to bring back: `id` of a marker, or `query`, a question."
    return RecallCall(found[-1] if found else name, query, budget)


@dataclass
class Omitted:
    """What results have left out, by id.

    Attributes:
        places: Spans of each id. Two places that happen to have one id share it: it then stands for both.
        last: Ids of what the last result left out.
    """

    places: dict[str, tuple[Span, ...]] = field(default_factory=dict)
    last: tuple[str, ...] = ()

    def entry(self, omissions: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
        """What `add` needs to know of a result, as plain JSON types: places of new ids, and names of known ones."""
        fresh: dict[str, list[int]] = {}
        known: list[str] = []
        for omission in omissions:
            spans = tuple(Span.of((s["message"], s["start"], s["end"]) for s in omission["spans"]))
            before = self.places.get(omission["id"], ())
            if spans == before or set(spans) <= set(before):
                known.append(omission["id"])
            else:
                flat = [number for span in spans for number in (span.message, span.start, span.end)]
                fresh.setdefault(omission["id"], []).extend(flat)
        return {name: value for name, value in (("omitted", fresh), ("again", known)) if value}

    def add(self, entry: Mapping[str, Any]) -> None:
        """Register what `entry` wrote, as the last result."""
        fresh: Mapping[str, Sequence[int]] = entry.get("omitted", {})
        for name, flat in fresh.items():
            spans = tuple(Span(*flat[first : first + 3]) for first in range(0, len(flat), 3))
            before = self.places.get(name)
            self.places[name] = spans if before is None else merged((*before, *spans))
        self.last = (*fresh, *entry.get("again", ()))

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain JSON types; `from_dict` reads it."""
        flat = {name: [n for s in spans for n in (s.message, s.start, s.end)] for name, spans in self.places.items()}
        return {"omitted": flat, "last": list(self.last)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Omitted:
        """What `to_dict` wrote."""
        made = cls()
        made.add({"omitted": data["omitted"]})
        made.last = tuple(data["last"])
        return made

    def find(self, what: Any, said: Callable[[str], bool]) -> list[Span] | None:
        """The places that an id or a list of ids stands for; `None` if `what` is a question.

        Args:
            what: The ids or the question.
            said: Whether a text stands in the conversation: a number of an order may look like an id.

        Raises:
            ReetError: If an id is not known, or `what` is neither.
        """
        if isinstance(what, str):
            if what in self.places:
                return list(self.places[what])
            if LOOKS_LIKE_ID.fullmatch(what) and not said(what):
                raise self._unknown(what)
            return None
        if not isinstance(what, Sequence) or isinstance(what, bytes) or not what:
            raise ReetError(
                f"`what` must be an id, a list of ids or a question, got {what!r:.200}; name what you need."
            )
        for name in what:
            if not isinstance(name, str) or name not in self.places:
                raise self._unknown(name)
        return [span for name in what for span in self.places[name]]

    def _unknown(self, name: Any) -> ReetError:
        return ReetError(
            f"`what` names the id {name!r:.80}, which is none of the {len(self.places)} ids that this session's "
            "results have; take one of out['omitted'] or of a marker, or ask in words."
        )

    def dropped(self) -> list[Span]:
        """What the last result left out."""
        return [span for name in self.last for span in self.places[name]]


def merged(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Spans in order, those that overlap as one; an empty one only where nothing else of its message is there."""
    found: list[Span] = []
    for number, own in groupby(sorted(set(spans)), key=lambda span: span.message):
        several = list(own)
        for span in [span for span in several if span.end > span.start] or several[:1]:
            if found and found[-1].message == number and span.start < found[-1].end:
                found[-1] = Span(number, found[-1].start, max(found[-1].end, span.end))
            else:
                found.append(span)
    return tuple(found)


def clipped(found: Sequence[SpanOrUnit], parts: Sequence[Span]) -> list[SpanOrUnit]:
    """What of ordered spans or units lies in ordered parts; of an empty one all, where it is a part itself."""
    inside: list[SpanOrUnit] = []
    place = 0
    for each in found:
        while place < len(parts) and (parts[place].message, parts[place].end) < (each.message, each.start):
            place += 1
        near = place
        while near < len(parts) and (parts[near].message, parts[near].start) <= (each.message, each.end):
            part, near = parts[near], near + 1
            start, end = max(part.start, each.start), min(part.end, each.end)
            if part.message == each.message and (start < end or (part.start, part.end) == (each.start, each.end)):
                inside.append(each.part(start, end))
    return inside


def telling(conversation: Conversation, found: Sequence[Unit]) -> list[Unit]:
    """Units in order without those that have function words alone, and of those with one text only the last."""
    texts = [conversation.messages[unit.message].text[unit.start : unit.end] for unit in found]
    keys = [" ".join(text.casefold().split()) or number for number, text in enumerate(texts)]
    last = {key: number for number, key in enumerate(keys)}
    return [
        unit
        for number, (unit, text) in enumerate(zip(found, texts, strict=True))
        if last[keys[number]] == number and (not text.strip() or has_content(text))
    ]


def recalled(
    compressor: Any,
    state: Any,
    spans: Iterable[Span],
    query: str | None,
    history: Sequence[Turn],
    budget: float | int | None,
    options: Mapping[str, Any],
    sift: bool = False,
) -> dict[str, Any]:
    """Parts of an encoded conversation: all of them if they fit, else those that `query` is likely to need.

    Args:
        compressor: A `Compressor`.
        state: Its state of the conversation.
        spans: The parts.
        query: What they are wanted for, if that is known.
        history: Earlier turns.
        budget: Tokens of the text, or a share of those of all parts; without one, all of them.
        options: `tokenizer`, `unit` and `threshold`, as for a compression.
        sift: Whether what the query most likely does not need is left out even where all fits.

    Returns:
        `text`: the parts as text, a line a message, after the speaker's label. `messages`: the same as messages, with
        all fields of those that they come from; no conversation to be sent, as a tool result may stand without its
        call. `pieces`: `message`, `start` and `end` of each. `tokens`: of `text`, as for a compression; `original`
        counts all parts.

    Raises:
        ReetError: If the budget or an option cannot be honoured.
        TypeError: For another option.
    """
    conversation: Conversation = state.conversation
    if unknown := sorted(set(options) - OPTIONS):
        raise TypeError(f"Recalling has no option {', '.join(map(repr, unknown))}; its options are {sorted(OPTIONS)}.")
    parts = merged(spans)
    counter = resolve_counter(options.get("tokenizer"), compressor.counter)
    text = render_text(conversation, parts)
    original = tokens = counter.count(text) if parts else 0
    limit = original if budget is None else resolve_limit(budget, original)
    if parts and (sift or original > limit or options.get("threshold") is not None):

        def shown(kept: Sequence[Span]) -> list[Span]:
            return clipped(standing(conversation, kept), parts)

        def count(kept: Sequence[Span]) -> int:
            return counter.count(render_text(conversation, shown(kept))) if kept else 0

        chosen = compressor.options(**options)
        kept = compressor.choose_within(state, parts, query, tuple(history), limit, chosen, count)
        parts = merged(shown(kept))
        text = render_text(conversation, parts)
        tokens = counter.count(text) if parts else 0
    return {
        "text": text,
        "messages": render_messages(conversation, parts),
        "pieces": [{"message": span.message, "start": span.start, "end": span.end} for span in parts],
        "tokens": {"original": original, "compressed": tokens, "budget": limit},
    }


def checked_question(what: str) -> str:
    """A question to recall by.

    Raises:
        ReetError: If it is blank.
    """
    query = parse_query(what)
    if query is None:
        raise ReetError("`what` must say what to bring back, got a blank text; give an id or a question.")
    return query
