"""Who a request is from: bearer tokens, each of a tenant whose sessions nobody else sees."""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import sha256
from hmac import compare_digest
from pathlib import Path

from ..errors import ReetError

EVERYBODY = "public"  # the tenant of all requests where no tokens are set
SHORTEST = 16  # characters of a token
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class Tenants:
    """Tokens and whose they are.

    Only digests of tokens are kept. A token is compared with all of them, each in constant time, so that the time
    taken tells nothing of how much of it is right.

    Args:
        pairs: Tenant and token; a tenant may have several, so that one can be replaced without a gap.

    Raises:
        ReetError: If a name cannot be that of a folder, or a token is short or another tenant's.
    """

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self._known: list[tuple[bytes, str]] = []
        for name, token in pairs:
            if not _NAME.fullmatch(name):
                raise ReetError(
                    "A tenant's name must be 1 to 64 letters, digits, '_' or '-', the first a letter or digit, got "
                    f"{name!r:.80}."
                )
            if len(token) < SHORTEST or not token.isascii() or not token.isprintable() or " " in token:
                raise ReetError(
                    f"A token of tenant {name!r} must be at least {SHORTEST} printable ASCII characters without "
                    f"spaces, got {len(token)}; `openssl rand -hex 32` makes one."
                )
            digest = _digest(token)
            if any(digest == known and other != name for known, other in self._known):
                raise ReetError(f"A token of tenant {name!r} is also that of another; give each its own.")
            self._known.append((digest, name))

    def __bool__(self) -> bool:
        return bool(self._known)

    def of(self, authorization: str | None) -> str | None:
        """The tenant that an `Authorization` header is from; `None` for nobody's, everybody's where none are set."""
        if not self._known:
            return EVERYBODY
        scheme, _, token = (authorization or "").partition(" ")
        given = _digest(token.strip() if scheme.lower() == "bearer" else "")
        found = None
        for known, name in self._known:
            if compare_digest(known, given):
                found = name
        return found


def _digest(token: str) -> bytes:
    return sha256(token.encode("utf-8", "surrogateescape")).digest()


def read_tenants(file: str | Path) -> Tenants:
    """The tenants of a file: a name, spaces and a token on each line; lines that begin with # are comments.

    Raises:
        ReetError: If the file cannot be read, a line has another form, or there is none.
    """
    try:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ReetError(f"--tokens must be a readable UTF-8 file, got {str(file)!r} ({error}).") from error
    pairs = []
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 2:
            raise ReetError(f"Line {number} of the --tokens file must be a name and a token, got {len(words)} words.")
        pairs.append((words[0], words[1]))
    if not pairs:
        raise ReetError("The --tokens file holds no token; write a name and a token on a line.")
    return Tenants(pairs)
