"""Where a command writes a folder to."""

from __future__ import annotations

from pathlib import Path

from ..errors import ReetError


def check_output(folder: Path) -> None:
    """Refuse an `--output` that is not new: what lies there would be taken for what the command wrote.

    Raises:
        ReetError: If it is a file or holds something.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ReetError(f"--output must be a new or empty folder, but {folder} holds something; name another.")
