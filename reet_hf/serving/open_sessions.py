"""Sessions of many tenants on disk, those in use in memory, one thread at a time in each."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..deadlines import no_deadline, time_left
from ..errors import DeadlineError, ReetError, SessionInUse
from ..session import Session
from ..store import SessionStore
from .failures import Busy, Conflict, Damaged, NoSuchSession, OverQuota

Key = tuple[str, str]
MOST_USERS = 8  # of one session at a time; more would keep threads from others
logger = logging.getLogger(__name__)


@dataclass
class _Held:
    """A session in memory, or one that is about to be: `users` are those who have it or wait for it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    session: Session | None = None
    users: int = 0
    tokens: int = 0


class OpenSessions:
    """Sessions by tenant and name.

    What is not in use is closed, the least recently used first, as soon as memory holds too much; its states are
    cached beside it on disk, so that it opens again in less time than it takes to encode it.

    Args:
        root: The folder above those of the tenants.
        compressor: A `Compressor`.
        most: Sessions in memory.
        most_tokens: Tokens of all that are in memory.
        each: Sessions that one tenant may keep.
    """

    def __init__(
        self, root: Path, compressor: Any, most: int = 256, most_tokens: int = 200_000, each: int = 10_000
    ) -> None:
        self.root, self.compressor, self.each = Path(root), compressor, each
        self.most, self.most_tokens = most, most_tokens
        self._held: OrderedDict[Key, _Held] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return sum(held.session is not None for held in list(self._held.values()))

    @property
    def tokens(self) -> int:
        """Tokens whose states are in memory."""
        return sum(held.tokens for held in list(self._held.values()))

    def names(self, tenant: str) -> list[str]:
        """Names of a tenant's sessions, in order."""
        return self._store(tenant).names()

    def create(self, tenant: str, name: str) -> None:
        """Make a session.

        Raises:
            Conflict: If there is one of that name.
            OverQuota: If the tenant has too many.
            ReetError: For a name that cannot be one.
        """
        with self._hold(tenant, name) as held:
            store = self._store(tenant)
            if name in store:
                raise Conflict(f"`name` {name!r} is taken; choose another, or delete that session first.")
            self._make(held, store, name)

    @contextmanager
    def use(self, tenant: str, name: str) -> Iterator[Session]:
        """The session, which nobody else uses meanwhile.

        Raises:
            NoSuchSession: If the tenant has none of that name.
            Conflict: If another process has it open.
            Damaged: If it cannot be opened.
        """
        with self._hold(tenant, name) as held:
            store = self._store(tenant)
            if name not in store:
                raise NoSuchSession(f"There is no session {name!r:.80}; make it first, or look at the list.")
            with _kept_sound(held, store, name) as session:
                yield session

    @contextmanager
    def continued(
        self, tenant: str, name: str, messages: Sequence[Mapping[str, Any]]
    ) -> Iterator[tuple[Session | None, int]]:
        """The session that holds a beginning of `messages`, and how many: a new one, where it holds others or is none.

        No session where it holds all of them and more: an answer is asked for again, and what came after stays.

        Raises:
            OverQuota, Conflict, Damaged, ReetError: As for `create` and `use`.
        """
        with self._hold(tenant, name) as held:
            store = self._store(tenant)
            known: list[Any] = []
            if name in store:
                with _kept_sound(held, store, name) as session:
                    known = session.restore()
                given = [dict(message) for message in messages]
                if len(given) < len(known) and known[: len(given)] == given:
                    yield None, len(given)
                    return
                if known != given[: len(known)]:
                    _shut(held, checkpoint=False)
                    store.delete(name)
                    known = []
            if name not in store:
                self._make(held, store, name)
            with _kept_sound(held, store, name) as session:
                yield session, len(known)

    def delete(self, tenant: str, name: str) -> None:
        """Delete a session with all that was kept of it.

        Raises:
            NoSuchSession: If the tenant has none of that name.
        """
        with self._hold(tenant, name) as held:
            store = self._store(tenant)
            if name not in store:
                raise NoSuchSession(f"There is no session {name!r:.80}; look at the list.")
            _shut(held, checkpoint=False)
            store.delete(name)

    def close(self) -> None:
        """Close all sessions, each when nobody uses it any more."""
        for key in list(self._held):
            with self._hold(*key, trim=False) as held:
                _shut(held)

    def _make(self, held: _Held, store: SessionStore, name: str) -> None:
        """A new session, within what the tenant may have."""
        if sum(1 for _ in store.root.glob("*")) >= self.each:
            raise OverQuota(f"{self.each} sessions are kept, as many as this server allows; delete one first.")
        held.session = _opened(store, name)

    def _store(self, tenant: str) -> SessionStore:
        return SessionStore(self.root / tenant, self.compressor)

    @contextmanager
    def _hold(self, tenant: str, name: str, trim: bool = True) -> Iterator[_Held]:
        """The place of a session, for one thread."""
        key = (tenant, name)
        with self._lock:
            held = self._held.setdefault(key, _Held())
            held.users += 1
            self._held.move_to_end(key)
        try:
            _lock(held)
            try:
                yield held
            finally:
                held.tokens = 0 if held.session is None else held.session.cached_tokens
                held.lock.release()
        finally:
            with self._lock:
                held.users -= 1
                if held.session is None and not held.users:
                    self._held.pop(key, None)
            if trim:
                self._trim()

    def _trim(self) -> None:
        """Close what memory has no room for, as far as nobody uses it."""
        while (idle := self._oldest_idle()) is not None:
            key, held = idle
            try:
                _shut(held)
            except Exception:  # of a session that has nothing to do with the request at hand
                logger.exception("A session could not be closed")
                held.session = None
            finally:
                held.tokens = 0
                held.lock.release()
            with self._lock:
                if held.session is None and not held.users:
                    self._held.pop(key, None)

    def _oldest_idle(self) -> tuple[Key, _Held] | None:
        """A session that is to be closed, locked; `None` if all may stay."""
        with self._lock:
            if len(self) <= self.most and self.tokens <= self.most_tokens:
                return None
            for key, held in self._held.items():
                if not held.users and held.session is not None and held.lock.acquire(blocking=False):
                    return key, held
        return None


@contextmanager
def _kept_sound(held: _Held, store: SessionStore, name: str) -> Iterator[Session]:
    """The session that is held, opened if need be; after an error that is not of the input it is shut."""
    if held.session is None:
        held.session = _opened(store, name)
    try:
        yield held.session
    except ReetError:
        raise
    except BaseException:  # such as a disk that is full
        _shut(held)
        raise


def _lock(held: _Held) -> None:
    """Wait for a session that others use, while there is time.

    Raises:
        Busy: If as many wait for it as ever may.
        DeadlineError: If the time is over first.
    """
    if held.users > MOST_USERS:
        raise Busy(f"{held.users - 1} requests use this session or wait for it; send them one after the other.")
    left = time_left()
    if not held.lock.acquire(timeout=-1 if left is None else left):
        raise DeadlineError("Other requests to this session took all the time; send them one after the other.")


def _shut(held: _Held, checkpoint: bool = True) -> None:
    if held.session is not None:
        held.session.close(checkpoint)
        held.session = None


def _opened(store: SessionStore, name: str) -> Session:
    """A session of the store, opened; what is wrong is told without its folder, which clients need not know."""
    try:
        with no_deadline():  # whoever comes next finds it open
            return store.open(name)
    except SessionInUse as error:
        raise Conflict(f"The session {name!r} is open in another process; close it there first.") from error
    except ReetError as error:
        if name not in store:
            raise  # of the name
        raise Damaged(
            f"The session {name!r} cannot be opened; whoever runs the server finds why in its log."
        ) from error
