"""What whoever runs a server may choose, checked before the model is loaded."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from ..errors import ReetError
from .tenants import Tenants

LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class Settings:
    """One server.

    Attributes:
        sessions: Folder that sessions are kept in, one folder below it for each tenant.
        tenants: Who may use the server; nobody named means everybody.
        threads: Requests that are worked on at the same time; with several for each core more of them share a pass of
            the encoder.
        waiting: Requests that may wait for a thread; more are told to come again.
        seconds: Time that a request may take, waiting included.
        body_bytes: Size that a request may have.
        open_sessions: Sessions whose states are held in memory; the least recently used ones are closed first.
        cached_tokens: Tokens of all sessions in memory together, about 5 kB each, as far as nobody is using them.
        sessions_each: Sessions that one tenant may keep.
        tokenizers: Names under which clients may have a budget counted, and what counts then.
        upstream: Base address of an OpenAI-compatible provider for `/v1/chat/completions`, such as
            `https://api.openai.com/v1`; none means that there is no such route.
        upstream_key: Bearer token for the provider; without one the client's own is sent on.
        upstream_seconds: Time that the provider may take between two pieces of its answer.
        hosts: Names under which the server may be asked for; none means any. Where nobody needs a token, they keep out
            foreign web pages that have their own name point at this machine.
        budget: Tokens that a chat request may have when it is sent on, where the request names no budget.

    Raises:
        ReetError: If a number is out of range, or `upstream` is no address.
    """

    sessions: Path = Path("reet-sessions")
    tenants: Tenants = field(default_factory=Tenants)
    threads: int = field(default_factory=lambda: 4 * (os.cpu_count() or 1))
    waiting: int = 256
    seconds: float = 60.0
    body_bytes: int = 16 * 2**20
    open_sessions: int = 256
    cached_tokens: int = 200_000
    sessions_each: int = 10_000
    tokenizers: Mapping[str, str] = field(default_factory=dict)
    upstream: str | None = None
    upstream_key: str | None = field(default=None, repr=False)
    upstream_seconds: float = 600.0
    hosts: tuple[str, ...] = ()
    budget: int = 8000

    def __post_init__(self) -> None:
        least = {
            "threads": 1,
            "waiting": 0,
            "body_bytes": 1,
            "open_sessions": 1,
            "cached_tokens": 0,
            "sessions_each": 1,
            "budget": 1,
        }
        for name, lowest in least.items():
            if getattr(self, name) < lowest:
                raise ReetError(f"`{name}` must be at least {lowest}, got {getattr(self, name)}.")
        for name in ("seconds", "upstream_seconds"):
            if not 0 < getattr(self, name) < math.inf:
                raise ReetError(f"`{name}` must be a finite number above 0, got {getattr(self, name)}.")
        if self.upstream is not None:
            parts = urlsplit(self.upstream)
            if parts.scheme not in ("http", "https") or not parts.netloc:
                raise ReetError(
                    f"`upstream` must be an address such as https://api.openai.com/v1, got {self.upstream!r:.200}."
                )
            object.__setattr__(self, "upstream", self.upstream.rstrip("/"))


def check_reach(host: str, tenants: Tenants, open_to_all: bool) -> None:
    """Nothing, where a server on `host` may start.

    Raises:
        ReetError: If others could reach it and nobody would have to say who they are.
    """
    if host not in LOOPBACK and not tenants and not open_to_all:
        raise ReetError(
            f"`host` {host!r} can be reached by others, but no tokens are set; give a file of them with --tokens, or "
            "--open if everybody who can reach the server may use it."
        )
