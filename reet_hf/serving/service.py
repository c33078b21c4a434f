"""What a server does, whatever it is asked through: compress, extract, and sessions by tenant and name."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import fields
from secrets import token_hex
from typing import Any

from ..budget import TokenCounter
from ..compressor import Compressor
from ..conversation import Conversation, parse_messages, parse_request
from ..errors import ReetError
from ..formats import checked_format
from ..integrations.loading import counter_of, encoding_of, tokens_of
from ..options import Options
from ..prefix import REBASE_TO
from ..session import Session
from .failures import Conflict
from .open_sessions import OpenSessions
from .settings import Settings

OPTIONS = tuple(option.name for option in fields(Options))
CHAT = "chat."  # before the names of sessions that chat requests make
AGAIN = 60.0  # seconds after which an encoding that could not be fetched is tried again


class Service:
    """One compressor and its sessions; every method may be called by any thread.

    Args:
        compressor: What compresses.
        sessions: Where sessions are.
        tokenizers: Names under which budgets may be counted beside those of OpenAI's models and encodings, and the
            Hub id or folder of each; nothing else that a client names is loaded.

    Raises:
        ReetError: If one of the tokenizers cannot be loaded.
    """

    def __init__(
        self, compressor: Compressor, sessions: OpenSessions, tokenizers: Mapping[str, str] | None = None
    ) -> None:
        self.compressor, self.sessions = compressor, sessions
        self._counters = {name: counter_of(where) for name, where in (tokenizers or {}).items()}
        self._encodings: dict[str, tuple[float, TokenCounter | ReetError]] = {}

    @classmethod
    def of(cls, compressor: Compressor, settings: Settings) -> Service:
        """The service that settings describe.

        Raises:
            ReetError: As the class.
        """
        most = (settings.open_sessions, settings.cached_tokens, settings.sessions_each)
        return cls(compressor, OpenSessions(settings.sessions, compressor, *most), settings.tokenizers)

    def compress(self, inputs: Any, options: Mapping[str, Any]) -> dict[str, Any]:
        """One input compressed, as the pipeline returns it.

        Raises:
            ReetError: If the input or an option cannot be honoured.
            TypeError: For an unknown option.
        """
        return self.compressor.compress(inputs, **self.options(options)).to_dict()

    def extract(self, inputs: Any, output_format: str = "json") -> Any:
        """Entities and what is said of them in one input, as the extraction pipeline returns them.

        Raises:
            ReetError: If the input or the format cannot be honoured, or the model has no extraction head.
        """
        request, written = parse_request(inputs), checked_format(output_format)
        state = self.compressor.encode(request.conversation)
        return self.compressor.extract(state, request.query, request.history, written)

    def sent_on(
        self,
        tenant: str,
        messages: Sequence[Mapping[str, Any]],
        budget: int,
        model: str,
        tools: Sequence[Mapping[str, Any]] | None = None,
        session: str | None = None,
    ) -> dict[str, Any]:
        """Chat messages that cost at most `budget` tokens of a model, the last message of the user being the query.

        Args:
            tenant: Who asks.
            messages: All of them, in OpenAI's format.
            budget: Tokens of the messages that are sent, definitions of tools included.
            model: What counts, see `counter_for`; where OpenAI's counter cannot be loaded, ours.
            tools: Definitions that are sent along.
            session: A session that keeps the messages, made where there is none, with `CHAT` before its name: what was
                sent for it stays as it is until the budget is reached. If it does not hold the beginning of the
                messages, it is made anew; if it holds all of them and more, it is left alone.

        Returns:
            `messages`; tokens `original`, `sent` and `budget`; `counter`, the name of what counted; and for a session
            `session`, whether it was "started", "continued" or left "apart".

        Raises:
            ReetError: If the messages cannot be read or the budget cannot be honoured.
        """
        try:
            counter = self.counter_for(model)
        except ReetError:
            counter = self.compressor.counter
        options: dict[str, Any] = {
            "budget": budget,
            "tokenizer": counter,
            "tools": list(tools or ()) or None,
            "ask_last": True,
        }
        named = {"counter": self.counter_name(counter)}
        if session is not None:
            return {**self._in_session(tenant, session, messages, options), **named}
        conversation = Conversation(parse_messages(messages))
        tokens = tokens_of(self.compressor, conversation, options)
        if tokens <= budget:
            return {"messages": list(messages), "original": tokens, "sent": tokens, "budget": budget, **named}
        out = self.compressor.compress_turn(self.compressor.encode(conversation), None, **options)
        return {**_sent(out.to_dict()), **named}

    def _in_session(
        self, tenant: str, name: str, messages: Sequence[Mapping[str, Any]], options: Mapping[str, Any]
    ) -> dict[str, Any]:
        parse_messages(messages)
        with self.sessions.continued(tenant, f"{CHAT}{name}", messages) as (session, known):
            if session is None:
                out = self.compressor.compress({"messages": messages}, **options).to_dict()
                return {**_sent(out), "session": "apart"}
            session.append(messages[known:])
            out = session.compress(stable_prefix=True, **options)
        return {**_sent(out), "session": "continued" if known else "started"}

    def counter_name(self, counter: TokenCounter) -> str:
        """What clients call a counter."""
        if counter is self.compressor.counter:
            return "reet"
        return next((name for name, own in self._counters.items() if own is counter), counter.name)

    def counter_for(self, model: str | None) -> TokenCounter:
        """What counts as a model does: one of the server's tokenizers, OpenAI's where it is one of theirs, else ours.

        Raises:
            ReetError: If OpenAI's cannot be loaded; it is tried again after a minute.
        """
        encoding = None if model is None else encoding_of(model)
        if model in self._counters:
            return self._counters[model]
        if encoding is None:
            return self.compressor.counter
        since, found = self._encodings.get(encoding, (0.0, None))
        if found is None or (isinstance(found, ReetError) and time.monotonic() - since > AGAIN):
            try:
                found = counter_of(encoding)
            except ReetError as error:
                found = error
            self._encodings[encoding] = (time.monotonic(), found)
        if isinstance(found, ReetError):
            raise found
        return found

    def options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Options of a compression with the counter that a client has named.

        Raises:
            ReetError: If `tokenizer` names none that clients may use.
        """
        name = given.get("tokenizer")
        if name is None:
            return dict(given)
        if not isinstance(name, str) or (name not in self._counters and encoding_of(name) is None):
            known = ", ".join([*map(repr, self._counters), "a model or encoding of OpenAI"])
            raise ReetError(
                f"`tokenizer` must be one of {known}, got {name!r:.80}; leave it out to use the model's own."
            )
        return {**given, "tokenizer": self.counter_for(name)}

    def create(self, tenant: str, name: str | None = None) -> dict[str, Any]:
        """A new session, its name made up if none is given.

        Raises:
            Conflict, OverQuota, ReetError: As `OpenSessions.create`.
        """
        chosen = token_hex(8) if name is None else name
        self.sessions.create(tenant, chosen)
        return {"name": chosen, "messages": 0, "turns": 0, "cached_tokens": 0}

    def names(self, tenant: str) -> list[str]:
        """Names of a tenant's sessions, in order."""
        return self.sessions.names(tenant)

    def describe(self, tenant: str, name: str) -> dict[str, Any]:
        """How much a session holds."""
        with self.sessions.use(tenant, name) as session:
            return _told(name, session)

    def append(
        self, tenant: str, name: str, messages: Sequence[Mapping[str, Any]], position: int | None = None
    ) -> dict[str, Any]:
        """A session with more messages; how much it then holds.

        Args:
            tenant, name: Whose session, and which.
            messages: In order.
            position: Messages that it must have before: whoever is not sure whether a first try was done names it.

        Raises:
            Conflict: If it has another number.
            ReetError: If a message cannot be read; the session is then as it was.
        """
        with self.sessions.use(tenant, name) as session:
            if position is not None and position != session.message_count:
                raise Conflict(
                    f"`position` is {position}, but the session has {session.message_count} messages; look which of "
                    "yours it has already."
                )
            session.append(messages)
            return _told(name, session)

    def compress_session(
        self,
        tenant: str,
        name: str,
        query: str | None,
        options: Mapping[str, Any],
        stable_prefix: bool = False,
        rebase_to: float = REBASE_TO,
    ) -> dict[str, Any]:
        """A session compressed for a query, which then counts as asked; see `Session.compress`."""
        chosen = self.options(options)
        with self.sessions.use(tenant, name) as session:
            return session.compress(query, stable_prefix=stable_prefix, rebase_to=rebase_to, **chosen)

    def answer(self, tenant: str, name: str, text: str) -> dict[str, Any]:
        """A session that knows the answer to its last question; how much it then holds.

        Raises:
            Conflict: If nothing was asked yet.
        """
        with self.sessions.use(tenant, name) as session:
            if not session.turns:
                raise Conflict("Nothing was asked in this session yet; compress it with a `query` first.")
            session.answer(text)
            return _told(name, session)

    def recall(
        self,
        tenant: str,
        name: str,
        what: str | Sequence[str],
        budget: float | int | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """What results of a session have left out, by id or for a question; see `Session.recall`."""
        chosen = self.options(options or {})
        with self.sessions.use(tenant, name) as session:
            return session.recall(what, budget, **chosen)

    def answer_recall(self, tenant: str, name: str, arguments: Any) -> str:
        """What a model gets that calls the tool `recall_context`; see `Session.answer_recall`."""
        with self.sessions.use(tenant, name) as session:
            return session.answer_recall(arguments)

    def restore(self, tenant: str, name: str) -> list[dict[str, Any]]:
        """Every message of a session exactly as it was appended."""
        with self.sessions.use(tenant, name) as session:
            return session.restore()

    def extract_session(self, tenant: str, name: str, query: str | None, output_format: str = "json") -> Any:
        """Entities and what is said of them in a session."""
        with self.sessions.use(tenant, name) as session:
            return session.extract(query, output_format)

    def delete(self, tenant: str, name: str) -> None:
        """Delete a session with all that was kept of it."""
        self.sessions.delete(tenant, name)

    def close(self) -> None:
        """Close all sessions; their states are cached on disk."""
        self.sessions.close()


def _told(name: str, session: Session) -> dict[str, Any]:
    return {
        "name": name,
        "messages": session.message_count,
        "turns": len(session.turns),
        "cached_tokens": session.cached_tokens,
    }


def _sent(out: Mapping[str, Any]) -> dict[str, Any]:
    tokens = out["tokens"]
    return {
        "messages": out["messages"],
        "original": tokens["original"],
        "sent": tokens["compressed"],
        "budget": tokens["budget"],
    }
