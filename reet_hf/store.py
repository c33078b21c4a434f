"""Sessions by name, each in a folder of its own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from . import journal
from .errors import ReetError
from .recall import RecallLimits
from .session import Session

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")  # names that mean devices on Windows


class SessionStore:
    """Sessions by name, each in a folder of its own.

    Args:
        root: The folder above them.
        compressor: A `Compressor`, or the pipeline that holds one.
        limits: As for `Session`.
    """

    def __init__(self, root: str | Path, compressor: Any, limits: RecallLimits | None = None) -> None:
        self.root, self.compressor, self.limits = Path(root).absolute(), compressor, limits

    def open(self, name: str, *, repair: bool = False) -> Session:
        """The session of this name, a new one if there is none; see `Session.open`.

        Args:
            name: Up to 128 letters, digits, `.`, `_` and `-`, a letter or digit first.
            repair: As for `Session.open`.

        Raises:
            ReetError: For another name, one that leads out of the folder, or as `Session.open`.
        """
        return Session.open(self._folder(name), self.compressor, repair=repair, limits=self.limits)

    def names(self) -> list[str]:
        """Names of all sessions, in order."""
        found = [path.name for path in self.root.glob("*") if _NAME.fullmatch(path.name)]
        return sorted(name for name in found if self._is_there(name))

    def __contains__(self, name: str) -> bool:
        """Whether there is a session of this name."""
        return self._is_there(name)

    def delete(self, name: str) -> None:
        """Delete a session with all that its folder holds.

        Raises:
            ReetError: If there is none, it is open, or the name leads out of the folder.
        """
        folder = self._folder(name)
        if not self._is_there(name):
            raise ReetError(f"`name` must be that of a session, but {self.root} has no {name!r}; see names().")
        journal.remove_session(folder)

    def _is_there(self, name: str) -> bool:
        try:
            folder = self._folder(name)
        except ReetError:
            return False
        return any((folder / file).is_file() for file in (journal.JOURNAL, journal.OLD))

    def _folder(self, name: str) -> Path:
        """The folder of a name that is safe everywhere."""
        if not isinstance(name, str) or not _NAME.fullmatch(name) or ".." in name or name.endswith("."):
            raise ReetError(
                "`name` must be 1 to 128 letters, digits, '.', '_' or '-', the first a letter or digit, without '..' "
                f"and without '.' at the end, got {name!r:.200}."
            )
        if _RESERVED.fullmatch(name):
            raise ReetError(f"`name` {name!r} means a device on Windows; choose another name.")
        folder = self.root / name
        files = list(folder.iterdir()) if folder.is_dir() else []
        try:
            home = folder.resolve()
            inside = home.is_relative_to(self.root.resolve()) and all(f.resolve().is_relative_to(home) for f in files)
        except (OSError, RuntimeError):  # a link to itself
            inside = False
        if not inside:
            raise ReetError(f"`name` {name!r} is, or holds, a link that leads out of {self.root}; remove the link.")
        return folder
