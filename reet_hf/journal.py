"""A session's folder: a journal that only grows, written before a call returns, and cached states beside it.

`session.jsonl` holds one record a line, `{"crc":"<8 hexadecimal digits>","record":<the record>}`, a header first. The
checksum is CRC-32 of the record's UTF-8 text, continued from that of the line before, so that a line which was changed,
removed, repeated or moved is noticed. `states.safetensors` is a cache that can be made again. `session.lock` keeps a
second writer away.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from .errors import ReetError, SessionInUse

SCHEMA_VERSION = 3
JOURNAL, STATES, LOCK = "session.jsonl", "states.safetensors", "session.lock"
OLD = "session.json"  # what schema 2 wrote
DEPTH = 100  # levels of lists and dicts in a message
HEADER = {"type": "header", "format": "reet-session", "schema_version": SCHEMA_VERSION}
_OPENING, _MIDDLE = b'{"crc":"', b'","record":'
_START = len(_OPENING) + 8 + len(_MIDDLE)  # where the record begins in its line
logger = logging.getLogger(__name__)

Record = Mapping[str, Any]
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Scan:
    """What the bytes of a journal hold.

    Attributes:
        records: All records before the first damage, the header first.
        end: Bytes that they take.
        checksum: That of the last one.
        torn: Bytes of a last line that was not written to its end.
        damaged: Number, counted from 1, of the first line that does not match its checksum; `None` if each does.
    """

    records: list[Any]
    end: int = 0
    checksum: int = 0
    torn: int = 0
    damaged: int | None = None


class Journal:
    """The one writer of a session's folder, until it is closed; see `open_journal`."""

    def __init__(self, folder: Path, lock: FileLock, scan: Scan) -> None:
        self.folder = folder
        self._lock, self._end, self._checksum = lock, scan.end, scan.checksum
        self._process, self._sound = os.getpid(), True
        self._file = (folder / JOURNAL).open("r+b", buffering=0)

    @property
    def closed(self) -> bool:
        """Whether others may write."""
        return self._file.closed

    def check(self) -> None:
        """Nothing, where a record could be written.

        Raises:
            ReetError: If the journal was closed or deleted, a write to it failed for good, or this is a fork of its
                process.
        """
        if self._file.closed:
            raise ReetError(f"The session in {self.folder} is closed; open it again with Session.open.")
        if not self._sound:
            raise ReetError(f"The session in {self.folder} could not be written; close it and open it again.")
        if os.getpid() != self._process:
            raise ReetError(
                f"The session in {self.folder} belongs to another process; close it there, then open it here."
            )
        if os.fstat(self._file.fileno()).st_nlink == 0:
            raise ReetError(f"The session in {self.folder} was deleted while it was open; open a new one.")

    def write(self, record: Record) -> None:
        """Add a record, made of what `as_json` gives; when this returns it is on disk, when it raises it is nowhere.

        Raises:
            ReetError: As `check`.
            OSError: If the disk is full or fails.
        """
        self.check()
        line, checksum = _line(record, self._checksum)
        try:
            write_all(self._file, line, self._end)
            os.fsync(self._file.fileno())
        except BaseException:
            self._sound = False
            self._cut()
            raise
        self._end += len(line)
        self._checksum = checksum

    def _cut(self) -> None:
        """Take back what a failed write left; without that nothing more may be written."""
        with suppress(OSError):
            self._file.truncate(self._end)
            os.fsync(self._file.fileno())
            self._sound = True

    def close(self) -> None:
        """Let others write."""
        self._file.close()
        self._lock.release()


def open_journal(folder: Path, repair: bool = False) -> tuple[Journal, list[Any]]:
    """The writer of a folder, which is made where there is none, and the records that are there.

    A last line that was not written to its end was never confirmed to anyone: it is cut off, with a warning.

    Args:
        folder: Where the session is kept.
        repair: Whether a damaged journal is opened at the last good record before the damage; the damaged file is
            kept as `session.jsonl.damaged`, with a number behind it where there is one already.

    Raises:
        ReetError: If another session is open in the folder, or the journal is damaged and not to be repaired.
    """
    make_folder(folder)
    lock = locked(folder)
    try:
        for left in folder.glob("*.tmp"):  # of writers that were killed
            left.unlink()
        path = folder / JOURNAL
        if not path.exists():
            write_records(folder, _old_records(folder))
        data = path.read_bytes()
        scan = _scanned(data, path)
        if scan.damaged is not None:
            if not repair:
                raise _damage(path, scan.damaged)
            scan = _repaired(path, data, scan)
        elif not scan.records:
            logger.warning("%s held a part of its header only; it begins anew.", path)
            write_records(folder, [])
            scan = _scanned(path.read_bytes(), path)
        journal = Journal(folder, lock, scan)
        if scan.torn:
            logger.warning("%s ended in a line that was not written whole; cut off %d bytes.", path, scan.torn)
            journal._cut()
        return journal, scan.records[1:]
    except BaseException:
        lock.release()
        raise


def read_records(folder: Path) -> list[Any]:
    """The records of a folder that another session may be writing to; the folder is not changed.

    Raises:
        ReetError: If there is no session, or its journal is damaged.
    """
    path = folder / JOURNAL
    try:
        if not path.exists() and (folder / OLD).exists():
            return list(_old_records(folder))
        scan = _scanned(path.read_bytes(), path)
    except OSError as error:
        raise ReetError(f"`folder` must hold a saved session, but {folder} cannot be read: {error}.") from error
    if scan.damaged is not None:
        raise _damage(path, scan.damaged)
    return scan.records[1:]


def write_records(folder: Path, records: Iterable[Record]) -> None:
    """Put a journal of `records` in the place of the one that is there; a kill leaves one of the two."""
    lines, checksum = [], 0
    for record in (HEADER, *records):
        line, checksum = _line(record, checksum)
        lines.append(line)
    write_file(folder / JOURNAL, b"".join(lines))


def scan_lines(data: bytes) -> Scan:
    """What the bytes of a journal hold, up to the first damage."""
    records: list[Any] = []
    start = checksum = 0
    while start < len(data):
        end = data.find(b"\n", start)
        line = data[start:] if end < 0 else data[start:end]
        if end < 0 and _record(line[:-1], checksum) is None:
            return Scan(records, start, checksum, torn=len(line))
        found = None if end < 0 else _record(line, checksum)
        if found is None:  # without a line break here: it is the line break that was changed
            return Scan(records, start, checksum, damaged=len(records) + 1)
        record, checksum = found
        records.append(record)
        start = end + 1
    return Scan(records, start, checksum)


def _scanned(data: bytes, path: Path) -> Scan:
    """`scan_lines` of a file that is a journal of this schema, or the beginning of a new one's header."""
    scan = scan_lines(data)
    if not scan.records:
        new = _line(HEADER, 0)[0].startswith(data)
        return scan if new else Scan([], damaged=1)
    header = scan.records[0]
    if not isinstance(header, dict) or header.get("format") != HEADER["format"]:
        raise ReetError(f"`folder` must hold a session, but {path} is another kind of file; name another folder.")
    _check_schema(header.get("schema_version"), path)
    return scan


def _check_schema(version: Any, path: Path, known: int = SCHEMA_VERSION) -> None:
    if version != known:
        raise ReetError(
            f"`folder` holds schema_version {version!r} in {path}, this version of reet-hf reads {known}; open it with "
            "the version that wrote it."
        )


def _damage(path: Path, line: int) -> ReetError:
    return ReetError(
        f"`folder` holds a damaged session: line {line} of {path} does not match its checksum. "
        f"Session.open(..., repair=True) opens it at the last good record before, and keeps the damaged file beside it "
        f"as {JOURNAL}.damaged."
    )


def _repaired(path: Path, data: bytes, scan: Scan) -> Scan:
    """The good beginning of a damaged journal in its place, the damaged file kept under another name."""
    kept = path.with_name(f"{JOURNAL}.damaged")
    number = 1
    while kept.exists():
        number += 1
        kept = path.with_name(f"{JOURNAL}.damaged-{number}")
    write_file(kept, data)
    good = data[: scan.end] if scan.records else _line(HEADER, 0)[0]
    write_file(path, good)
    logger.warning(
        "%s was damaged at line %d; kept its %d bytes before that, the whole file is %s.",
        path,
        scan.damaged,
        scan.end,
        kept,
    )
    return scan_lines(good)


def _old_records(folder: Path) -> Iterator[Record]:
    """The records of a session as schema 2 kept it; nothing where there is none."""
    path = folder / OLD
    if not path.exists():
        return
    try:
        old = json.loads(path.read_text(encoding="utf-8"))
        _check_schema(old.get("schema_version"), path, known=2)
        yield {"type": "messages", "messages": old["messages"]}
        for turn in old["turns"]:
            yield {"type": "result", "query": turn["query"]}
            yield {"type": "answer", "text": turn["answer"]}
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ReetError(f"`folder` must hold a saved session, but {path} cannot be read: {error!r}.") from error


def _line(record: Record, before: int) -> tuple[bytes, int]:
    """The line of a record after one with the checksum `before`, and its own checksum."""
    text = to_text(record).encode("utf-8")
    checksum = zlib.crc32(text, before)
    return b"".join((_OPENING, b"%08x" % checksum, _MIDDLE, text, b"}\n")), checksum


def _record(line: bytes, before: int) -> tuple[Any, int] | None:
    """The record of a line without its line break, and its checksum; `None` if they do not match."""
    text = line[_START:-1]
    checksum = zlib.crc32(text, before)
    if line != b"".join((_OPENING, b"%08x" % checksum, _MIDDLE, text, b"}")):
        return None
    return json.loads(text), checksum


def difference(before: Record, after: Record) -> dict[str, Any]:
    """What `changed` needs to make `after` of `before`; of a list only what differs behind a common beginning."""
    lists, inner, values = {}, {}, {}
    for name, value in after.items():
        old = before.get(name)
        if isinstance(value, list) and isinstance(old, list):
            pairs = enumerate(zip(old, value, strict=False))
            same = next((number for number, (a, b) in pairs if a != b), min(len(old), len(value)))
            lists[name] = [same, value[same:]]
        elif isinstance(value, Mapping) and isinstance(old, Mapping):
            inner[name] = difference(old, value)
        elif name not in before or value != old:
            values[name] = value
    gone = [name for name in before if name not in after]
    return {"lists": lists, "inner": inner, "values": values, "gone": gone}


def changed(before: Record, by: Record) -> dict[str, Any]:
    """The value that `difference` was given as `after`."""
    lists = {name: [*before[name][:same], *more] for name, (same, more) in by["lists"].items()}
    inner = {name: changed(before[name], more) for name, more in by["inner"].items()}
    return {
        name: value for name, value in {**before, **by["values"], **lists, **inner}.items() if name not in by["gone"]
    }


def to_text(value: Any) -> str:
    """A value as compact JSON, always the same for the same value."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def as_json(value: Any, where: str, depth: int = DEPTH) -> Any:
    """A copy of `value` made of dicts with text keys, lists, text, numbers, truth values and `None` only.

    Args:
        value: A message, or a part of one; tuples become lists.
        where: What errors call it.
        depth: Levels that it may have.

    Raises:
        ReetError: If JSON cannot hold it.
    """
    fix = "leave it out or turn it into text first"
    if depth < 0:
        raise ReetError(f"`{where}` must not be nested more than {DEPTH} deep to be kept in a folder; flatten it.")
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise ReetError(f"`{where}` must have text keys to be kept in a folder, got {key!r:.80}; {fix}.")
        return {as_json(key, where): as_json(item, f"{where}[{key!r}]", depth - 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(item, f"{where}[{number}]", depth - 1) for number, item in enumerate(value)]
    if value is None or isinstance(value, (str, bool, int, float)):
        try:
            return json.loads(to_text(value).encode("utf-8"))  # no lone surrogate, no NaN, no endless number
        except ValueError as error:
            raise ReetError(f"`{where}` cannot be kept in a folder, because JSON cannot hold it: {error}.") from None
    raise ReetError(f"`{where}` cannot be kept in a folder, because JSON has no {type(value).__name__}; {fix}.")


def locked(folder: Path) -> FileLock:
    """The lock of a folder, held.

    Raises:
        SessionInUse: If another session holds it, in this process or any other.
    """
    lock = FileLock(folder / LOCK, timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        raise SessionInUse(
            f"`folder` {folder} is open in another session; close that one first, or read it with Session.load."
        ) from None
    return lock


def remove_session(folder: Path) -> None:
    """Delete a session and its folder; killed on the way it leaves the whole session, or none.

    Raises:
        ReetError: If the session is open.
    """
    real = folder.resolve()
    lock = locked(real)
    try:
        for name in (OLD, JOURNAL):
            (real / name).unlink(missing_ok=True)
        sync_folder(real)
        shutil.rmtree(real, ignore_errors=True)
    finally:
        lock.release()
    with suppress(OSError):  # some systems delete no lock that is held
        (real / LOCK).unlink()
        real.rmdir()
    if folder.is_symlink():
        folder.unlink()


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, on disk when this returns.

    Raises:
        ReetError: If there is a file in its place.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise ReetError(f"`folder` must name a folder, but there is a file: {error}.") from error
    for path in missing:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on disk, where the system knows how to."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def write_file(path: Path, data: bytes) -> None:
    """Put `data` in the place of a file at once: whoever reads it sees all of the old file or all of the new one."""
    number, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.", suffix=".tmp")
    try:
        with open(number, "wb", buffering=0) as file:
            write_all(file, data, 0)
            os.fsync(number)
        os.replace(name, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise
    sync_folder(path.parent)


def write_all(file: Any, data: bytes, start: int) -> None:
    """Write all of `data` to an unbuffered file, from byte `start` on."""
    file.seek(start)
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def digest(messages: Iterable[Record]) -> str:
    """SHA-256 of messages as `as_json` gives them."""
    found = hashlib.sha256()
    for message in messages:
        found.update(to_text(message).encode("utf-8") + b"\n")
    return found.hexdigest()


def write_states(folder: Path, arrays: Arrays, messages: Sequence[Record], revision: str) -> None:
    """Cache the encoded states of `messages`, with what tells whether they still fit."""
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    metadata = {
        "schema_version": str(SCHEMA_VERSION),
        "messages": str(len(messages)),
        "digest": digest(messages),
        "revision": revision,
        "arrays": _arrays_digest(whole),
    }
    write_file(folder / STATES, save(whole, metadata))


def read_states(folder: Path, messages: Sequence[Record], revision: str) -> tuple[int, Arrays] | None:
    """How many of `messages` the cached states cover, and the states.

    `None` if there are none, or they are damaged, of other messages, of another model or of one that cannot be told
    from others (an empty `revision`).
    """
    path = folder / STATES
    if not revision or not path.exists():
        return None
    try:
        with safe_open(path, framework="np") as file:
            said = file.metadata() or {}
            count = int(said.get("messages", "-1"))
            if (said.get("schema_version"), said.get("revision")) != (str(SCHEMA_VERSION), revision):
                return None
            if not 0 < count <= len(messages) or said.get("digest") != digest(messages[:count]):
                return None
            arrays = {name: np.array(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
    except (OSError, ValueError, TypeError, KeyError, SafetensorError) as error:
        logger.warning("%s cannot be read and is made again: %s.", path, error)
        return None
    if said.get("arrays") != _arrays_digest(arrays):
        logger.warning("%s does not match its checksum and is made again.", path)
        return None
    return count, arrays


def _arrays_digest(arrays: Mapping[str, np.ndarray]) -> str:
    found = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        found.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        found.update(array.reshape(-1).view(np.uint8).data if array.size else b"")
    return found.hexdigest()
