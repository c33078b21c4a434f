"""Sessions of conversations that come whole with every request, each known by the messages that it holds."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from ..conversation import parse_messages, shown
from ..errors import ReetError
from ..recall import RecallLimits
from ..session import Session


@dataclass(eq=False)
class _Held:
    """A session, for one thread at a time, and the tokens that it held when it was last used."""

    session: Session
    lock: threading.Lock = field(default_factory=threading.Lock)
    tokens: int = 0


class KnownConversations:
    """Sessions in memory for those who send all messages with every request, as chat clients do.

    A request goes on in the session whose messages are the longest beginning of its own. One whose history was edited,
    or is unlike any other, gets a session of its own. Of two conversations that part, the first to go on keeps the
    session.

    Args:
        compressor: A `Compressor`, or the pipeline that holds one.
        most: Sessions that are kept; the least recently used are given up first.
        most_tokens: Tokens of all of them together; at least the last used one is kept.
        limits: As for `Session`.

    Raises:
        ReetError: If a number is less than 1.
    """

    def __init__(
        self, compressor: Any, most: int = 64, most_tokens: int = 250_000, limits: RecallLimits | None = None
    ) -> None:
        for name, value in (("most", most), ("most_tokens", most_tokens)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ReetError(f"`{name}` must be an integer of at least 1, got {shown(value)}.")
        self.compressor, self.most, self.most_tokens, self.limits = compressor, most, most_tokens, limits
        self._held: OrderedDict[str, _Held] = OrderedDict()  # by a digest of all messages, the last used one last
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._held)

    @contextmanager
    def session(self, key: str | None, messages: Sequence[Mapping[str, Any]]) -> Iterator[Session]:
        """The session that holds exactly these messages, which nobody else uses meanwhile.

        Only messages that it does not hold yet are encoded. Whoever comes with the same conversation waits.

        Args:
            key: Keeps apart what must not share a session: a tenant, a thread. Those without one are together.
            messages: All messages of the conversation, in OpenAI's chat format.

        Raises:
            ReetError: If a message cannot be read, or `key` is no string.
        """
        if not isinstance(key, (str, type(None))):
            raise ReetError(f"`key` must be a string or None, got {shown(key)}; write it as {shown(str(key))}.")
        told = parse_messages(messages)
        marks = digests(key, [message.raw for message in told])
        held, known = self._taken(marks)
        try:
            held.session.append(told[known:])
            yield held.session
        except BaseException as error:
            if not isinstance(error, ReetError) or held.session.message_count < len(told):
                self._drop(marks[-1], held)  # what it holds now is not what its digest says
            raise
        finally:
            self._return(marks[-1], held)

    def _taken(self, marks: Sequence[str]) -> tuple[_Held, int]:
        """The session with the longest beginning of a conversation, locked, and how many messages that is."""
        while True:
            with self._lock:
                known = next((n for n in range(len(marks) - 1, -1, -1) if marks[n] in self._held), 0)
                held = self._held.get(marks[known])
                if held is None:
                    held = _Held(Session(self.compressor, self.limits))
                    held.lock.acquire()
                    self._held[marks[-1]] = held
                    return held, 0
            held.lock.acquire()
            with self._lock:
                if self._held.get(marks[known]) is held:  # it may have gone on while this thread waited
                    del self._held[marks[known]]
                    self._held[marks[-1]] = held
                    return held, known
            held.lock.release()

    def _drop(self, digest: str, held: _Held) -> None:
        with self._lock:
            if self._held.get(digest) is held:
                del self._held[digest]

    def _return(self, digest: str, held: _Held) -> None:
        """Let others use a session; give up what there is no room for, as far as nobody uses it."""
        with self._lock:
            if self._held.get(digest) is held:
                self._held.move_to_end(digest)
            held.tokens = held.session.cached_tokens
            held.lock.release()
            tokens = sum(held.tokens for held in self._held.values())
            for digest, held in list(self._held.items())[:-1]:
                if len(self._held) <= self.most and tokens <= self.most_tokens:
                    return
                if not held.lock.locked():
                    del self._held[digest]
                    tokens -= held.tokens


def digests(key: str | None, messages: Sequence[Mapping[str, Any]]) -> list[str]:
    """A digest of every beginning of a conversation, that without messages first; others under another key."""
    found = [_digest("", key)]
    for message in messages:
        found.append(_digest(found[-1], message))
    return found


def _digest(before: str, value: Any) -> str:
    written = json.dumps(value, sort_keys=True, default=repr)
    return sha256(f"{before} {written}".encode()).hexdigest()
