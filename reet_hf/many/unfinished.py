"""The folder of an output that is not finished: parts as they are done, and the output as far as it is in order.

`00000012.part` is one part: a line that says what it holds, then lines of the output. `output` is all parts before the
first one that is missing, `output.json` says how many these are and how many bytes. A part is written beside its place
and moved there when it is on disk; `output` grows first and `output.json` says so afterwards, and what is behind the
bytes that it says is cut off. So whatever is killed when, each record is in the output once, and in whole lines. Locks
keep processes from doing the same part; where a file system has none, it is done twice to the same bytes.
"""

from __future__ import annotations

import json
import os
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from filelock import FileLock, Timeout

from ..errors import ReetError
from ..journal import make_folder, sync_folder, write_all, write_file
from .manifest import AGAIN, Plan, check_same, read_manifest, write_manifest

LISTED = 20  # records that have failed are named up to so many


@dataclass(frozen=True)
class Counts:
    """What some parts hold: records, how many of them have failed and the first of these, tokens before and after."""

    records: int = 0
    failed: int = 0
    failures: tuple[int, ...] = ()
    original: int = 0
    compressed: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.records + other.records,
            self.failed + other.failed,
            (*self.failures, *other.failures)[:LISTED],
            self.original + other.original,
            self.compressed + other.compressed,
        )

    @classmethod
    def from_dict(cls, told: dict[str, Any]) -> Counts:
        """The counts that `asdict` made."""
        return cls(**{**told, "failures": tuple(told["failures"])})


@dataclass(frozen=True)
class Written:
    """How far an output is in order: parts, bytes, and what they hold."""

    parts: int = 0
    bytes: int = 0
    counts: Counts = Counts()


class Unfinished:
    """The folder of an output, for one of the processes that work on it.

    Args:
        output: Where the output will be.
    """

    def __init__(self, output: Path) -> None:
        self.output, self.folder = output, output.with_name(f"{output.name}.unfinished")
        self._grown, self._state = self.folder / "output", self.folder / "output.json"
        self._merging = self._lock("merge.lock")
        self._here = self._lock(f"process-{os.getpid()}-{uuid4().hex[:8]}.lock")

    def begin(self, plan: Plan, overwrite: bool) -> None:
        """Make or open the folder of an output of this plan.

        Raises:
            ReetError: If there is an output of another plan, or of nobody knows what, and it is not to be overwritten;
                or if others work on one that is.
        """
        if self.output.is_dir():
            raise ReetError(f"--output must name a file, but {str(self.output)!r} is a folder; name a file in it.")
        make_folder(self.folder)
        try:
            self._begin(plan, overwrite)
        except ReetError:
            self._tidy()
            raise

    def _begin(self, plan: Plan, overwrite: bool) -> None:
        with self._merging:
            told = None if overwrite else read_manifest(self.output)
            if overwrite and not self._is_alone():
                raise ReetError(
                    f"--overwrite would take away what other processes are working on, {str(self.output)!r}; end them "
                    "first."
                )
            if told is not None:
                check_same(self.output, told, plan)
            elif self.output.exists() and not overwrite:
                raise ReetError(
                    f"--output must be a new file or one that this command has begun, but {str(self.output)!r} is "
                    "neither; name another one, or replace it with --overwrite."
                )
            if told is None or (told["finished"] and not (self.output.exists() or self._grown.exists())):
                self._clear()
                write_manifest(self.output, plan)
            elif told["finished"] is None:
                write_manifest(self.output, plan)  # a run that stopped at errors may go on past them
            elif not self._grown.exists() and self.output.stat().st_size != told["finished"]["bytes"]:
                raise ReetError(f"--output {str(self.output)!r} was changed since it was written; {AGAIN}.")

    def join(self) -> None:
        """Be one of those who work on the output, until `leave`."""
        self._here.acquire()

    def leave(self) -> None:
        """Work on the output no more; the last one to leave takes a folder away in which there is no work."""
        _unlock(self._here)
        self._tidy()

    def written(self, plan: Plan) -> Written:
        """How far the output is in order."""
        try:
            told = json.loads(self._state.read_text(encoding="utf-8"))
        except FileNotFoundError:
            manifest = read_manifest(self.output)
            finished = manifest and manifest["finished"]
            if not finished:
                return Written()
            told = {**finished, "parts": plan.survey.parts}  # others have finished meanwhile
        return Written(told["parts"], told["bytes"], Counts.from_dict(told["counts"]))

    def is_done(self, number: int, plan: Plan) -> bool:
        """Whether a part is on disk."""
        return self._part(number).exists() or number < self.written(plan).parts

    @contextmanager
    def claim(self, number: int, wait: bool) -> Iterator[bool]:
        """Inside, nobody else does the part; says no if somebody else does it already, unless they are waited for."""
        lock = self._lock(f"{number:08d}.lock")
        try:
            lock.acquire(timeout=-1 if wait else 0)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            _unlock(lock)

    def write(self, number: int, body: bytes, counts: Counts) -> None:
        """Put a part on disk."""
        head = {"counts": asdict(counts), "bytes": len(body), "crc": zlib.crc32(body)}
        write_file(self._part(number), json.dumps(head).encode() + b"\n" + body)

    def merge(self, plan: Plan) -> Written:
        """Take into the output what comes next in order, and finish it if that was all.

        Raises:
            ReetError: If the output has lost bytes.
        """
        with self._merging:
            written = self.written(plan)
            while (part := self._read(written.parts)) is not None:
                counts, body = part
                self._append(body, written.bytes)
                written = Written(written.parts + 1, written.bytes + len(body), written.counts + counts)
                self._say(written)
                self._part(written.parts - 1).unlink()
            if written.parts == plan.survey.parts:
                self._finish(plan, written)
            return written

    def _finish(self, plan: Plan, written: Written) -> None:
        """Put the whole output in its place; the manifest says so first, as without the folder it alone can tell."""
        told = read_manifest(self.output)
        if self._grown.exists() or told is None or told["finished"] is None:
            self._append(b"", written.bytes)
            write_manifest(self.output, plan, {"bytes": written.bytes, "counts": asdict(written.counts)})
            os.replace(self._grown, self.output)
            sync_folder(self.output.parent)
        for path in self.folder.glob("*.part"):  # that were in the output when a process was killed
            path.unlink()

    def _append(self, body: bytes, start: int) -> None:
        """Put `body` at byte `start` of the output, and nothing behind it."""
        number = os.open(self._grown, os.O_RDWR | os.O_CREAT, 0o666)
        with open(number, "r+b", buffering=0) as file:
            if os.fstat(number).st_size < start:
                raise ReetError(
                    f"--output has lost bytes: {str(self._grown)!r} must have {start:,}, but has "
                    f"{os.fstat(number).st_size:,}; start anew with --overwrite."
                )
            file.truncate(start)
            write_all(file, body, start)
            os.fsync(number)

    def _say(self, written: Written) -> None:
        write_file(self._state, json.dumps(asdict(written)).encode())

    def _read(self, number: int) -> tuple[Counts, bytes] | None:
        """A part, if it is there; one that is damaged is deleted, to be done again."""
        path = self._part(number)
        try:
            head, _, body = path.read_bytes().partition(b"\n")
        except FileNotFoundError:
            return None
        try:
            told = json.loads(head)
            if (told["bytes"], told["crc"]) == (len(body), zlib.crc32(body)):
                return Counts.from_dict(told["counts"]), body
        except (ValueError, KeyError, TypeError):
            pass
        path.unlink()
        return None

    def _part(self, number: int) -> Path:
        return self.folder / f"{number:08d}.part"

    def _lock(self, name: str) -> FileLock:
        return FileLock(self.folder / name, thread_local=False)

    def _tidy(self) -> None:
        if not self._grown.exists() and not any(self.folder.glob("*.part")) and self._is_alone():
            shutil.rmtree(self.folder, ignore_errors=True)

    def _clear(self) -> None:
        for path in self.folder.iterdir():
            if path != Path(self._merging.lock_file):
                path.unlink()

    def _is_alone(self) -> bool:
        """Whether no process works on the output, this one left aside."""
        for path in self.folder.glob("process-*.lock"):
            lock = FileLock(path, timeout=0, thread_local=False)
            try:
                lock.acquire()
            except Timeout:
                return False
            _unlock(lock)  # of a process that was killed
        return True


def _unlock(lock: FileLock) -> None:
    """Release a lock that nobody will ask for again."""
    with suppress(OSError):  # some systems delete no lock that is held
        Path(lock.lock_file).unlink()
    lock.release()
