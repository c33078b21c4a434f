"""State across turns as a value: messages, cached token states and earlier questions, kept, recalled and continued."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from . import journal
from .budget import TokenCounter
from .conversation import Conversation, Message, checked_text, parse_messages, parse_query
from .errors import ReetError
from .formats import checked_format
from .journal import Journal, Record
from .prefix import REBASE_TO, Prefix
from .recall import (
    LOOKS_LIKE_ID,
    Omitted,
    RecallCall,
    RecallGuard,
    RecallLimits,
    checked_question,
    parse_call,
    recalled,
)
from .records import Turn

_STATE_ERRORS = (KeyError, TypeError, ValueError, IndexError, AttributeError, RuntimeError)
logger = logging.getLogger(__name__)


class TurnCompressor(Protocol):
    """What a session asks of a compressor; of one with a `revision`, encoded states are cached in the folder."""

    scorer: Any
    counter: TokenCounter

    def encode(self, conversation: Conversation, state: Any | None = None) -> Any:
        """The state for a conversation that extends the one `state` was made for."""

    def compress_turn(self, state: Any, query: str | None, history: tuple[Turn, ...], **options: Any) -> Any:
        """A `Compressed` for one query."""

    def compress_stable(
        self, state: Any, query: str | None, history: tuple[Turn, ...], prefix: Prefix, rebase_to: float, **options: Any
    ) -> Any:
        """A `Compressed` that goes on from `prefix`, the next prefix, and a `Stability`."""

    def extract(self, state: Any, query: str | None, history: tuple[Turn, ...], output_format: str) -> Any:
        """Entities and what is said of them."""

    def restore(self, conversation: Conversation, arrays: dict[str, np.ndarray]) -> Any:
        """The state whose scorer part was saved as `arrays`."""


class Session:
    """A conversation that grows; what was encoded stays, whatever is asked later.

    `Session(compressor)` is in memory; one of `Session.open` is kept in a folder, where every message, question and
    answer is on disk before the call that brought it returns. One thread may use a session at a time.

    Args:
        compressor: A `Compressor`, or the pipeline that holds one.
        limits: How much a model may recall before it has to answer.
    """

    def __init__(self, compressor: Any, limits: RecallLimits | None = None) -> None:
        self.compressor: TurnCompressor = getattr(compressor, "compressor", compressor)
        if not hasattr(self.compressor, "compress_turn"):
            raise ReetError(
                f"`compressor` must be a Compressor or a reet-compression pipeline, got {type(compressor).__name__}."
            )
        self._state: Any = None
        self._conversation = Conversation()
        self._turns: list[Turn] = []
        self._omitted = Omitted()
        self._issued: dict[str, Any] = {}
        self._guard = RecallGuard(limits or RecallLimits())
        self._journal: Journal | None = None
        self._cached = 0  # messages that the cached states in the folder cover

    @classmethod
    def open(
        cls, folder: str | Path, compressor: Any, *, repair: bool = False, limits: RecallLimits | None = None
    ) -> Session:
        """The session that is kept in `folder`, a new one if there is none; nobody else can open it until it is closed.

        Killed at any moment, it opens again with everything that a returned call has brought.

        Args:
            folder: Where it is kept.
            compressor: A `Compressor`, or the pipeline that holds one.
            repair: Whether a damaged session is opened at the last good record before the damage; the damaged file is
                kept as `session.jsonl.damaged`.
            limits: As for the class.

        Raises:
            ReetError: If it is open already, in this process or any other; if it is damaged and not to be repaired; or
                if another version wrote it.
        """
        session = cls(compressor, limits)
        path = Path(folder).absolute()
        opened, records = journal.open_journal(path, repair)
        try:
            session._revive(path, records)
        except BaseException:
            opened.close()
            raise
        session._journal = opened
        return session

    @property
    def turns(self) -> tuple[Turn, ...]:
        """Questions asked so far, with the answers that were reported."""
        return tuple(self._turns)

    @property
    def message_count(self) -> int:
        """Messages that were appended so far."""
        return len(self._conversation.messages)

    @property
    def cached_tokens(self) -> int:
        """Tokens whose states are held in memory."""
        return len(getattr(getattr(self._state, "scored", None), "table", ()))

    def append(self, messages: Any) -> None:
        """Add messages (a list, or one) at the end and encode them.

        Raises:
            ReetError: If one cannot be read, or cannot be kept in a folder; the session is then unchanged.
        """
        self._check_open()
        fresh = parse_messages([messages] if isinstance(messages, Mapping) else messages)
        raw = [dict(message.raw) for message in fresh]
        if self._journal is not None:
            raw = [journal.as_json(message, f"messages[{number}]") for number, message in enumerate(raw)]
            fresh = parse_messages(raw)
        if not fresh:
            return
        grown = self._conversation.extend(fresh)
        try:
            state = self.compressor.encode(grown, self._state)
            self._write({"type": "messages", "messages": raw})
        except BaseException:
            if getattr(getattr(self._state, "scored", None), "messages", None) != self.message_count:
                self._state = None  # it has grown already; the next call encodes again
            raise
        self._state, self._conversation = state, grown
        self._guard.appended(fresh)

    def compress(
        self, query: str | None = None, *, stable_prefix: bool = False, rebase_to: float = REBASE_TO, **options: Any
    ) -> dict[str, Any]:
        """The conversation compressed for `query`, which then counts as asked.

        Args:
            query: The question of this turn; without one, what any later turn may need is kept.
            stable_prefix: Whether the messages of the last such call stay as they are, byte for byte, and new ones
                follow in full, until the budget is reached; only then everything is compressed anew (a re-base).
            rebase_to: Share of the budget that a re-base compresses to: the lower, the rarer re-bases are.
            **options: As for the pipeline: `budget`, `tokenizer`, `unit`, `strategy`, `protect`, `threshold`,
                `keep_recent`, `keep_system`, `keep_tags`, `markers`, `tools`.

        Returns:
            The dictionary that the pipeline returns; with `stable_prefix` also `stability`: `stable_messages` and
            `stable_tokens` at the beginning that are as they were, whether it was `rebased`, the `resent_tokens` that
            this cost, and how many `rebases` there were.
        """
        self._check_open()
        asked = parse_query(query)
        if not stable_prefix:
            result = self.compressor.compress_turn(self._encoded(), asked, self.turns, **options)
            out: dict[str, Any] = result.to_dict()
            self._note(asked, out["omitted"])
            return out
        before = Prefix.from_dict(self._issued["prefix"]) if "prefix" in self._issued else Prefix()
        result, prefix, stability = self.compressor.compress_stable(
            self._encoded(), asked, self.turns, before, rebase_to, **options
        )
        out = {**result.to_dict(), "stability": stability.to_dict()}
        self._note(asked, out["omitted"], {**self._issued, "prefix": prefix.to_dict()})
        return out

    def _note(self, asked: str | None, omitted: Any, issued: Mapping[str, Any] | None = None) -> None:
        """Keep what a result leaves behind: the question, places that were left out, what a next view must go on from.

        Args:
            asked: The question.
            omitted: `out["omitted"]` of the result.
            issued: Plain JSON types, the next value of `self._issued`; only what differs is written.
        """
        entry = self._omitted.entry(omitted)
        record: dict[str, Any] = {"type": "result", "query": asked, **entry}
        if issued is not None and issued != self._issued:
            record["issued"] = journal.difference(self._issued, issued)
        same = asked is None and entry.get("again", []) == list(self._omitted.last)
        if not same or "omitted" in record or "issued" in record:
            self._write(record)
        self._apply(record)

    def extract(self, query: str | None = None, output_format: str = "json") -> Any:
        """Entities and what is said of them, as the extraction pipeline returns them; nothing counts as asked.

        Raises:
            ReetError: If the query or the format cannot be honoured, or the model has no extraction head.
        """
        self._check_open()
        asked, written = parse_query(query), checked_format(output_format)
        return self.compressor.extract(self._encoded(), asked, self.turns, written)

    def answer(self, text: str) -> None:
        """Report the answer to the last question; later questions then see it.

        Raises:
            ReetError: If nothing was asked yet.
        """
        self._check_open()
        if not self._turns:
            raise ReetError("`answer` needs a question: call compress(query=...) first.")
        record = {"type": "answer", "text": checked_text(text, "answer")}
        self._write(record)
        self._apply(record)

    def restore(self) -> list[dict[str, Any]]:
        """Every message exactly as it was appended."""
        return [copy.deepcopy(dict(message.raw)) for message in self._conversation.messages]

    def recall(self, what: str | Sequence[str], budget: float | int | None = None, **options: Any) -> dict[str, Any]:
        """What results have left out, word for word.

        Args:
            what: An id of `out["omitted"]`, of this or an earlier result; a list of ids; or a question, for which the
                parts that the last result left out are searched.
            budget: Tokens of the text, or a share of those of all parts. If they do not fit, those stay that the
                question most likely needs, for ids the last question that was asked. Without one ids bring back
                everything, a question `RecallLimits.budget` tokens.
            **options: `tokenizer`, `unit` and `threshold`, as for `compress`.

        Returns:
            `text`, `messages`, `pieces` and `tokens`; see `recall.recalled`.

        Raises:
            ReetError: If an id is not known, or the budget or an option cannot be honoured.
            TypeError: For another option.
        """
        spans = self._omitted.find(what, self._said)
        history, by_question = self.turns, spans is None
        query: str | None
        if spans is None:
            spans, query = self._omitted.dropped(), checked_question(str(what))
            budget = self._guard.limits.budget if budget is None else budget
        else:
            query, history = (history[-1].query, history[:-1]) if history else (None, ())
        return recalled(self.compressor, self._encoded(), spans, query, history, budget, options, by_question)

    def answer_recall(self, arguments: str | Mapping[str, Any], **options: Any) -> str:
        """The result of a model's call of `recall.recall_tool`: text, or a note why there is none.

        A model that asks for the same again, or for more than `RecallLimits` allow since the user's last message, is
        told to answer with what is there.

        Args:
            arguments: As the model wrote them; whatever is wrong with them is told to the model, not raised.
            **options: Those of the caller, as for `recall`.

        Raises:
            ReetError: If an option cannot be honoured, or the session is closed.
        """
        self._check_open()
        call = parse_call(arguments)
        key = "" if isinstance(call, str) else call.key
        refused = self._guard.refusal(key)
        if refused is not None:
            return refused
        text, tokens = (call, 0) if isinstance(call, str) else self._recalled(call, options)
        record = {"type": "recall", "key": key, "tokens": tokens, "found": bool(tokens)}
        self._write(record)
        self._apply(record)
        return text

    def _said(self, text: str) -> bool:
        """Whether a text stands in a message, whatever its case."""
        return any(text.casefold() in message.text.casefold() for message in self._conversation.messages)

    def _recalled(self, call: RecallCall, options: Mapping[str, Any]) -> tuple[str, int]:
        """Text for the model, and how many tokens of the conversation stand in it."""
        what, limit = call.id or call.query, min(call.budget or self._guard.limits.budget, self._guard.left)
        known = what in self._omitted.places
        if not known and (call.id or (LOOKS_LIKE_ID.fullmatch(what) and not self._said(what))):
            return f"There is no id {what!r:.80}. Take one of a marker, or ask with `query`.", 0
        try:
            out = self.recall(what, limit, **options)
        except ReetError as error:
            if error.floor is None:
                raise
            return f"Nothing fits into {limit} tokens; it takes {error.floor}.", 0
        original, shown = out["tokens"]["original"], out["tokens"]["compressed"]
        if not out["text"]:
            return "Nothing of what was left out was found for this.", 0
        cut = f"\n[{shown} of {original} tokens; ask with `query` for what else you need.]"
        return out["text"] + (cut if known and shown < original else ""), shown

    def checkpoint(self) -> None:
        """Cache the encoded states in the session's folder, so that they need not be computed when it is opened again.

        Nothing is lost without it. Nothing is written for a compressor without a `revision`, whose states could not be
        told from those of another model.

        Raises:
            ReetError: If the session is not kept in a folder, or closed.
        """
        if self._journal is None:
            raise ReetError("`checkpoint` needs a session that is kept in a folder: make it with Session.open.")
        self._check_open()
        if len(self._conversation.messages) != self._cached and self._write_states(self._journal.folder):
            self._cached = len(self._conversation.messages)

    def close(self, checkpoint: bool = True) -> None:
        """Write a checkpoint and let others open the folder; a session in memory has nothing to close.

        Args:
            checkpoint: Whether one is written; not worth it where the session is to be deleted.
        """
        if self._journal is None or self._journal.closed:
            return
        try:
            if checkpoint:
                self.checkpoint()
        except (OSError, ReetError) as error:
            logger.warning("The states of the session in %s were not cached: %s", self._journal.folder, error)
        finally:
            self._journal.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def save(self, folder: str | Path) -> None:
        """Write the session to `folder`, in the place of one that is there; killed on the way it leaves one of the two.

        Raises:
            ReetError: If a session is open there, or a message cannot be kept in a folder.
        """
        self._check_open()
        path = Path(folder).absolute()
        if self._journal is not None and path.exists() and path.samefile(self._journal.folder):
            return self.checkpoint()
        messages = [journal.as_json(m, f"messages[{number}]") for number, m in enumerate(self._raw())]
        journal.make_folder(path)
        lock = journal.locked(path)
        try:
            journal.write_records(path, self._records(messages))  # states that are there do not fit from here on
            (path / journal.OLD).unlink(missing_ok=True)
            if not self._write_states(path):
                (path / journal.STATES).unlink(missing_ok=True)
        finally:
            lock.release()

    @classmethod
    def load(cls, folder: str | Path, compressor: Any, *, limits: RecallLimits | None = None) -> Session:
        """A session in memory with all that the one in `folder` holds; what it does later is not written there.

        Raises:
            ReetError: If `folder` holds no session, a damaged one, or one of another schema.
        """
        path = Path(folder).absolute()
        session = cls(compressor, limits)
        session._revive(path, journal.read_records(path))
        return session

    def _raw(self) -> list[Mapping[str, Any]]:
        return [message.raw for message in self._conversation.messages]

    def _encoded(self) -> Any:
        """The state of the conversation, made again if it was given up."""
        if self._state is None:
            self._state = self.compressor.encode(self._conversation, None)
        return self._state

    @property
    def _revision(self) -> str:
        return str(getattr(self.compressor, "revision", "") or "")

    def _check_open(self) -> None:
        if self._journal is not None:
            self._journal.check()

    def _write(self, record: Record) -> None:
        if self._journal is not None:
            self._journal.write(record)

    def _write_states(self, folder: Path) -> bool:
        """Cache the states in `folder`; `False` if there are none, or none that could be told from others."""
        make = getattr(getattr(self._state, "scored", None), "arrays", None)
        arrays = make() if make is not None and self._conversation.messages and self._revision else None
        if arrays is None:
            return False
        journal.write_states(folder, arrays, self._raw(), self._revision)
        return True

    def _records(self, messages: list[Any]) -> Iterator[Record]:
        """All that this session is, for a new journal."""
        for message in messages:
            yield {"type": "messages", "messages": [message]}
        for turn in self._turns:
            yield {"type": "result", "query": turn.query}
            yield {"type": "answer", "text": turn.answer}
        yield {"type": "state", **self._omitted.to_dict(), "guard": self._guard.to_dict(), "issued": self._issued}

    def _apply(self, record: Record) -> None:
        """Do again what a record tells, but for messages."""
        kind = record["type"]
        if kind == "result":
            if record["query"] is not None:
                self._turns.append(Turn(record["query"]))
            self._omitted.add(record)
            if "issued" in record:
                self._issued = journal.changed(self._issued, record["issued"])
        elif kind == "answer":
            self._turns[-1] = Turn(self._turns[-1].query, record["text"])
        elif kind == "recall":
            self._guard.recalled(record["key"], record["tokens"], record["found"])
        elif kind == "state":
            self._omitted, self._issued = Omitted.from_dict(record), record["issued"]
            self._guard = RecallGuard(self._guard.limits, **record["guard"])
        else:
            raise ReetError(
                f"`folder` has a record of type {kind!r}; open it with the version of reet-hf that wrote it."
            )

    def _revive(self, folder: Path, records: Sequence[Record]) -> None:
        """Do again what the records of a folder tell; encode what its cached states do not cover."""
        messages: list[Message] = []
        try:
            for record in records:
                if record["type"] == "messages":
                    fresh = parse_messages(record["messages"])
                    messages.extend(fresh)
                    self._guard.appended(fresh)
                else:
                    self._apply(record)
        except (KeyError, TypeError, IndexError) as error:
            raise ReetError(
                f"`folder` {folder} has a record that cannot be read ({error!r}); open it with the version of reet-hf "
                "that wrote it."
            ) from error
        self._conversation = Conversation(tuple(messages))
        cached = journal.read_states(folder, self._raw(), self._revision)
        if cached is not None:
            count, arrays = cached
            try:
                self._state = self.compressor.restore(Conversation(tuple(messages[:count])), arrays)
                self._cached = count
            except _STATE_ERRORS as error:
                logger.warning("The cached states in %s do not fit and are made again: %r", folder, error)
        if len(messages) > self._cached:
            self._state = self.compressor.encode(self._conversation, self._state)
