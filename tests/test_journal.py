"""What is kept in a folder: every confirmed call is there after a kill, damage is named, nobody writes beside it."""

from __future__ import annotations

import errno
import itertools
import json
import logging
import multiprocessing
import os
import random
import signal
import string
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from eval import crash
from reet_hf import Compressor, ReetError, Session
from reet_hf import journal as journals
from reet_hf.journal import JOURNAL, LOCK, STATES, as_json, changed, difference, scan_lines
from reet_hf.records import Turn
from reet_hf.scoring.scorer import TokenScores
from reet_hf.store import SessionStore

CALL = {"id": "c1", "type": "function", "function": {"name": "track", "arguments": '{"é": "你好", "n": 1.0}'}}
CHAT = [
    {"role": "system", "content": "Answer briefly.\u2028Never guess a date."},
    {
        "role": "user",
        "name": "Ann",
        "content": "When does it expire?  \r\nIn June. 👩‍💻",
        "extra": [1e-7, None, {"a": []}],
    },
    {"role": "assistant", "content": None, "tool_calls": [CALL], "refusal": None},
    {"role": "tool", "tool_call_id": "c1", "content": "Order AB-12: shipped,\x00 7 boxes."},
    {"role": "user", "content": [{"type": "text", "text": "See."}, {"type": "image", "url": "data:,x"}]},
    {"role": "assistant", "content": ""},
]


class Read:
    """What `Words` has read of a conversation."""

    def __init__(self, conversation: Any, rows: np.ndarray) -> None:
        self.conversation, self.rows = conversation, rows

    def arrays(self) -> dict[str, np.ndarray]:
        return {"rows": self.rows, "nothing": np.zeros((0, 3), dtype=np.float32)}


class Words:
    """Long words matter more; each message is read once."""

    def __init__(self) -> None:
        self.read: list[int] = []

    def encode(self, conversation: Any, state: Any = None) -> Read:
        known = len(state.conversation.messages) if state else 0
        rows = [
            (number, word.start(), word.end(), len(word.group()))
            for number, message in enumerate(conversation.messages)
            for word in regex.finditer(r"\S+", message.text)
            if number >= known
        ]
        self.read.extend(range(known, len(conversation.messages)))
        fresh = np.array(rows, dtype=np.int64).reshape(-1, 4)
        return Read(conversation, np.concatenate((state.rows, fresh)) if state else fresh)

    def score(self, state: Read, query: Any, history: Any) -> TokenScores:
        return TokenScores(*state.rows.T[:3], state.rows[:, 3].astype(float))

    def load(self, arrays: dict[str, np.ndarray], conversation: Any) -> Read:
        return Read(conversation, arrays["rows"])


class Revised(Compressor):
    revision = "words-1"


class Other(Compressor):
    revision = "words-2"


def words() -> Compressor:
    return Revised(Words(), lambda text: len(text.split()))


def dumped(messages: Any) -> str:
    return json.dumps(messages, ensure_ascii=False)


def kept(folder: Path, messages: list[dict[str, Any]] = CHAT) -> Path:
    """A folder with a session of a record a message, a question and its answer."""
    with Session.open(folder, words()) as session:
        for message in messages:
            session.append(message)
        session.compress("When?", budget=5)
        session.answer("In June.")
    return folder / JOURNAL


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
MESSAGE = st.builds(
    lambda role, text, extra: {**extra, "role": role, "content": text},
    st.sampled_from(["user", "assistant"]),
    st.text(max_size=40),
    st.dictionaries(st.sampled_from(["x", "é", "", "metadata"]), VALUES, max_size=2),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(MESSAGE, max_size=3), max_size=4), st.data())
def test_a_session_opens_again_byte_for_byte(parts, data):
    everything = [message for part in parts for message in part]
    with tempfile.TemporaryDirectory() as folder:
        for part in parts:
            with Session.open(folder, words()) as session:
                session.append(part)
                if data.draw(st.booleans()):
                    session.compress("Where is the " + data.draw(st.text(max_size=5)), budget=3)
                    session.answer(data.draw(st.text(max_size=5)))
            turns = session.turns
        with Session.open(folder, words()) as session:
            assert dumped(session.restore()) == dumped(everything)
            assert not parts or session.turns == turns
        assert dumped(Session.load(folder, words()).restore()) == dumped(everything)


def test_a_call_has_written_before_it_returns(tmp_path):
    session = Session.open(tmp_path, words())
    for number, message in enumerate(CHAT):
        session.append(message)
        assert Session.load(tmp_path, words()).restore() == CHAT[: number + 1]
    session.compress("When?", budget=5)
    assert Session.load(tmp_path, words()).turns == (Turn("When?"),)
    session.answer("In June.")
    assert Session.load(tmp_path, words()).turns == (Turn("When?", "In June."),)
    session.close()


def test_a_turn_costs_a_turn(tmp_path):
    sizes = []
    with Session.open(tmp_path, words()) as session:
        for _ in range(30):
            session.append({"role": "user", "content": "Where is my order AB-12, and when does it come?"})
            sizes.append((tmp_path / JOURNAL).stat().st_size)
    assert len({after - before for before, after in zip(sizes, sizes[1:], strict=False)}) == 1


def test_a_journal_cut_anywhere_opens_at_the_last_whole_record(tmp_path, caplog):
    chat = CHAT[1:4]
    data = kept(tmp_path / "whole", chat).read_bytes()
    borders = [place + 1 for place, byte in enumerate(data) if byte == ord("\n")]
    cut = tmp_path / "cut"
    cut.mkdir()
    for end in range(len(data) + 1):
        (cut / JOURNAL).write_bytes(data[:end])
        caplog.clear()
        records = sum(border <= end for border in borders)
        with Session.open(cut, words()) as session:
            assert session.restore() == chat[: max(records - 1, 0)]
            assert bool(session.turns) == (records > len(chat) + 1)
        torn = end not in borders
        assert bool(caplog.records) == torn
        assert (cut / JOURNAL).read_bytes() == data[: max([borders[0], *(b for b in borders if b <= end)])]
    with Session.open(cut, words()) as session:
        assert session.turns == (Turn("When?", "In June."),)
        session.append({"role": "user", "content": "And then?"})
    assert Session.load(cut, words()).restore()[-1]["content"] == "And then?"


def test_a_session_that_was_cut_goes_on(tmp_path):
    path = kept(tmp_path)
    path.write_bytes(path.read_bytes()[:-3])
    with Session.open(tmp_path, words()) as session:
        assert session.turns == (Turn("When?"),)
        session.answer("In July.")
    assert Session.load(tmp_path, words()).turns == (Turn("When?", "In July."),)


def test_every_changed_bit_is_noticed(tmp_path):
    data = kept(tmp_path, CHAT[1:3]).read_bytes()
    records = scan_lines(data).records
    for place in range(len(data)):
        for bit in range(8):
            changed_data = bytearray(data)
            changed_data[place] ^= 1 << bit
            scan = scan_lines(bytes(changed_data))
            assert scan.damaged is not None
            assert scan.records == records[: scan.damaged - 1]


def lines(*order: int):
    return lambda data: b"".join(data.splitlines(keepends=True)[number] for number in order)


DAMAGE = {
    "a bit": (lambda data: data.replace(b"AB-12", b"AB-13"), 5),
    "a removed line": (lines(0, 1, 2, 4, 5, 6, 7, 8), 4),
    "a repeated line": (lines(0, 1, 2, 2, 3, 4, 5, 6, 7, 8), 4),
    "exchanged lines": (lines(0, 1, 3, 2, 4, 5, 6, 7, 8), 3),
    "the header": (lambda data: data.replace(b"reet-session", b"reet-sessiom"), 1),
    "no header": (lines(1, 2), 1),
    "an empty line": (lambda data: data + b"\n", 10),
    "zeros": (lambda data: data[:-20] + b"\0" * 19 + b"\n", 9),
}


@pytest.mark.parametrize(("damage", "line"), DAMAGE.values(), ids=DAMAGE.keys())
def test_damage_is_named_and_repaired_without_losing_a_byte(tmp_path, caplog, damage, line):
    path = kept(tmp_path)
    bad = damage(path.read_bytes())
    path.write_bytes(bad)
    for read in (Session.load, Session.open):
        with pytest.raises(ReetError, match=rf"line {line} of .*{JOURNAL}.*repair=True"):
            read(tmp_path, words())
    assert path.read_bytes() == bad
    with Session.open(tmp_path, words(), repair=True) as session:
        assert session.restore() == CHAT[: max(line - 2, 0)]
        session.append({"role": "user", "content": "On."})
    assert (tmp_path / f"{JOURNAL}.damaged").read_bytes() == bad
    assert f"{JOURNAL}.damaged" in caplog.text
    with Session.open(tmp_path, words()) as session:
        assert session.restore()[-1]["content"] == "On."
    path.write_bytes(b"x\n")
    Session.open(tmp_path, words(), repair=True).close()
    assert (tmp_path / f"{JOURNAL}.damaged").read_bytes() == bad
    assert (tmp_path / f"{JOURNAL}.damaged-2").read_bytes() == b"x\n"


def test_a_file_of_another_kind_is_left_alone(tmp_path):
    for data in (b"notes", b'{"crc":"', b'{"a": 1}\n'):
        (tmp_path / JOURNAL).write_bytes(data)
        if data.startswith(b'{"crc"'):
            Session.open(tmp_path, words()).close()  # the beginning of a header
            continue
        with pytest.raises(ReetError, match="line 1"):
            Session.open(tmp_path, words())
        assert (tmp_path / JOURNAL).read_bytes() == data


@pytest.mark.parametrize(
    ("header", "said"),
    [({**journals.HEADER, "schema_version": 99}, "schema_version 99"), ({"type": "header"}, "another kind of file")],
)
def test_another_schema_is_refused(tmp_path, header, said):
    line, checksum = journals._line(header, 0)
    (tmp_path / JOURNAL).write_bytes(line)
    for read in (Session.load, Session.open):
        with pytest.raises(ReetError, match=said):
            read(tmp_path, words())
    assert (tmp_path / JOURNAL).read_bytes() == line


@pytest.mark.parametrize("record", [{"type": "newer"}, {"type": "messages"}, {"type": "answer", "text": "x"}, [], 5])
def test_a_record_that_is_not_known_is_refused(tmp_path, record):
    journals.make_folder(tmp_path)
    journals.write_records(tmp_path, [record])
    for _ in range(2):  # the lock is not kept
        with pytest.raises(ReetError, match="version of reet-hf that wrote it"):
            Session.open(tmp_path, words())


WRONG = [
    {"role": "user", "content": "x", "data": b"bytes"},
    {"role": "user", "content": "x", "data": float("nan")},
    {"role": "user", "content": "x", "data": [1, {"y": {2, 3}}]},
    {"role": "user", "content": [{"type": "image", "image": object}]},
]


@pytest.mark.parametrize("data", [{1: "a number as key"}, "\ud800", 10**5000], ids=["key", "surrogate", "long"])
def test_what_no_message_may_hold_is_refused_in_memory_and_in_a_folder(tmp_path, data):
    wrong = {"role": "user", "content": "x", "data": data}
    with Session.open(tmp_path, words()) as session:
        session.append(CHAT)
        before = (tmp_path / JOURNAL).read_bytes()
        for each in (Session(words()), session):
            with pytest.raises(ReetError, match=r"`messages\[0\]"):
                each.append(wrong)
        assert session.restore() == CHAT
        assert (tmp_path / JOURNAL).read_bytes() == before


@pytest.mark.parametrize("wrong", WRONG, ids=range(len(WRONG)))
def test_what_json_cannot_hold_is_refused_before_anything_changes(tmp_path, wrong):
    in_memory = Session(words())
    in_memory.append(wrong)
    with pytest.raises(ReetError, match=r"`messages\[0\].*folder"):
        in_memory.save(tmp_path / "saved")
    assert not (tmp_path / "saved").exists()
    with Session.open(tmp_path, words()) as session:
        session.append(CHAT)
        before = (tmp_path / JOURNAL).read_bytes()
        with pytest.raises(ReetError, match=r"`messages\[1\].*folder"):
            session.append([CHAT[0], wrong])
        assert session.restore() == CHAT
        assert (tmp_path / JOURNAL).read_bytes() == before


def test_nesting_has_an_end():
    deep: Any = "x"
    for _ in range(99):
        deep = [deep]
    assert as_json(deep, "x") == deep
    with pytest.raises(ReetError, match="nested"):
        as_json([[deep]], "x")


def test_what_comes_back_is_what_was_kept(tmp_path):
    with Session.open(tmp_path, words()) as session:
        session.append({"role": "user", "content": ({"type": "text", "text": "a"},)})
        before = session.restore()
    assert (
        before
        == Session.load(tmp_path, words()).restore()
        == [{"role": "user", "content": [{"type": "text", "text": "a"}]}]
    )


def hold(folder: str, holding: Any, done: Any) -> None:
    with Session.open(folder, words()):
        holding.set()
        done.wait(20)


def refused(folder: Path) -> str:
    try:
        Session.open(folder, words()).close()
    except ReetError as error:
        return str(error)
    return ""


def test_a_second_writer_of_this_process_is_refused(tmp_path):
    with Session.open(tmp_path, words()) as session:
        found = []
        thread = threading.Thread(target=lambda: found.append(refused(tmp_path)))
        thread.start()
        thread.join()
        found.append(refused(tmp_path))
        for said in found:
            assert str(tmp_path) in said and "open in another session" in said
        with pytest.raises(ReetError, match="open in another session"):
            Session(words()).save(tmp_path)
        session.append(CHAT)
    assert refused(tmp_path) == ""


@pytest.mark.parametrize("start", ["fork"])
def test_a_second_writer_of_another_process_is_refused(tmp_path, start):
    context = multiprocessing.get_context(start)
    holding, done = context.Event(), context.Event()
    child = context.Process(target=hold, args=(str(tmp_path), holding, done))
    child.start()
    assert holding.wait(20)
    assert "open in another session" in refused(tmp_path)
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    assert refused(tmp_path) == ""


def test_a_fork_cannot_write(tmp_path):
    with Session.open(tmp_path, words()) as session:
        context = multiprocessing.get_context("fork")
        found = context.Queue()

        def write() -> None:
            try:
                session.append(CHAT)
            except ReetError as error:
                found.put(str(error))

        child = context.Process(target=write)
        child.start()
        assert "another process" in found.get(timeout=20)
        child.join()
        assert refused(tmp_path)  # a child that ends does not open the folder to others
    assert Session.load(tmp_path, words()).restore() == []


def test_a_closed_session_says_so(tmp_path):
    session = Session.open(tmp_path, words())
    session.append(CHAT)
    session.compress("When?", budget=5)
    session.close()
    session.close()
    for call in (
        lambda: session.append(CHAT),
        lambda: session.compress(budget=5),
        lambda: session.answer("x"),
        session.checkpoint,
        lambda: session.save(tmp_path),
    ):
        with pytest.raises(ReetError, match="is closed"):
            call()
    assert session.restore() == CHAT


def test_a_folder_that_was_deleted_takes_nothing_more(tmp_path):
    session = Session.open(tmp_path, words())
    (tmp_path / JOURNAL).unlink()
    with pytest.raises(ReetError, match="deleted"):
        session.append(CHAT)
    session.close()


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "no space"), KeyboardInterrupt()], ids=["disk", "interrupt"])
@pytest.mark.parametrize("place", ["fsync", "write"])
def test_a_write_that_fails_changes_nothing(tmp_path, monkeypatch, error, place):
    session = Session.open(tmp_path, words())
    session.append(CHAT[:2])
    session.compress("What?", budget=5)
    before = (tmp_path / JOURNAL).read_bytes()

    def fail(file: Any, data: bytes = b"", start: int = 0) -> None:
        if data:
            file.seek(start)
            file.write(data[: len(data) // 2])
        if not data or place == "write":
            raise error

    real = os.fsync
    calls = (
        lambda: session.append(CHAT[2:]),
        lambda: session.compress("When?", budget=5),
        lambda: session.answer("In June."),
    )
    for call in calls:
        with monkeypatch.context() as patched:
            patched.setattr(journals, "write_all", fail)
            if place == "fsync":
                failing = iter([fail])  # the first call fails, those that take it back do not
                patched.setattr(os, "fsync", lambda number, failing=failing: next(failing, real)(number))
            with pytest.raises(type(error)):
                call()
        assert session.restore() == CHAT[:2]
        assert session.turns == (Turn("What?"),)
        assert (tmp_path / JOURNAL).read_bytes() == before
    for call in calls:
        call()
    session.close()
    with Session.open(tmp_path, words()) as again:
        assert again.restore() == CHAT
        assert again.turns == (Turn("What?"), Turn("When?", "In June."))


def test_after_a_failure_that_cannot_be_taken_back_nothing_is_written(tmp_path, monkeypatch):
    session = Session.open(tmp_path, words())
    session.append(CHAT[:2])

    def fail(number: int) -> None:
        raise OSError(errno.EIO, "disk")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        with pytest.raises(OSError):
            session.append(CHAT[2:])
    with pytest.raises(ReetError, match="close it and open it again"):
        session.append(CHAT[2:])
    session.close()
    with Session.open(tmp_path, words()) as again:
        assert again.restore() == CHAT[:2]


def turn(number: int) -> list[dict[str, Any]]:
    chance = random.Random(number)
    text = "".join(chance.choices(string.printable + "é你👩", k=chance.choice([20, 200, 60_000])))
    return [{"role": "user", "content": text}, {"role": "assistant", "content": f"{number}"}]


class Nothing:
    """A compressor that is ready at once."""

    def encode(self, conversation: Any, state: Any = None) -> Any:
        return conversation

    def compress_turn(self, *args: Any, **options: Any) -> Any:
        raise NotImplementedError


def talk(folder: str, pipe: Any) -> None:
    with Session.open(folder, Nothing()) as session:
        for number in range(len(session.restore()) // 2, 10_000):
            session.append(turn(number))
            os.write(pipe, b".")


def test_a_kill_loses_nothing_that_was_confirmed(tmp_path):
    context, chance, confirmed = multiprocessing.get_context("fork"), random.Random(3), 0
    for _ in range(10):
        reading, writing = os.pipe()
        child = context.Process(target=talk, args=(str(tmp_path), writing))
        child.start()
        os.close(writing)
        confirmed += len(os.read(reading, 1))
        time.sleep(chance.uniform(0, 0.03))
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        while more := os.read(reading, 4096):
            confirmed += len(more)
        os.close(reading)
        with Session.open(tmp_path, Nothing()) as session:
            messages = session.restore()
        assert confirmed <= len(messages) // 2 <= confirmed + 1
        assert messages == [message for number in range(len(messages) // 2) for message in turn(number)]
        confirmed = len(messages) // 2


def test_the_measurement_of_kills_finds_no_loss_but_one_that_is_there(monkeypatch):
    found = crash.measure(4, seed=5)
    assert (found["lost"], found["points"]) == (0, 4)
    assert found["acknowledged_turns"] > 0
    real, calls = journals.Journal.write, itertools.count()

    def forget(self: Any, record: Any) -> None:
        if record["type"] != "messages" or next(calls) % 2:
            real(self, record)

    monkeypatch.setattr(journals.Journal, "write", forget)
    assert crash.measure(4, seed=5)["lost"] > 0


def results(session: Session) -> list[Any]:
    asked = [session.compress(query, budget=budget) for query in (None, "When does it expire?") for budget in (6, 0.5)]
    return [{name: out[name] for name in ("text", "messages", "pieces", "tokens")} for out in asked]


def spoiled(folder: Path) -> dict[str, bytes]:
    data = (folder / STATES).read_bytes()
    flipped = [data[:n] + bytes([data[n] ^ 4]) + data[n + 1 :] for n in (3, 20, len(data) // 2, len(data) - 5)]
    return {"half": data[: len(data) // 2], "empty": b"", **{f"flip {n}": bad for n, bad in enumerate(flipped)}}


def test_states_are_read_again_where_they_fit(tmp_path):
    kept(tmp_path)
    compressor = words()
    with Session.open(tmp_path, compressor) as session:
        assert compressor.scorer.read == []
        fresh = Session(words())
        fresh.append(CHAT)
        fresh._turns = list(session.turns)
        assert results(session) == results(fresh)
        session.append({"role": "user", "content": "And then?"})
        assert compressor.scorer.read == [len(CHAT)]


def test_messages_after_a_checkpoint_are_encoded_on_opening(tmp_path):
    session = Session.open(tmp_path, words())
    session.append(CHAT[:4])
    session.checkpoint()
    session.append(CHAT[4:])
    session._journal.close()  # as a kill does
    compressor = words()
    with Session.open(tmp_path, compressor) as again:
        assert compressor.scorer.read == [4, 5]
        fresh = Session(words())
        fresh.append(CHAT)
        assert results(again) == results(fresh)


def test_states_that_do_not_fit_are_made_again(tmp_path):
    kept(tmp_path)
    with Session.open(tmp_path, words()) as session:
        expected = results(session)
    for name, bad in spoiled(tmp_path).items():
        (tmp_path / STATES).write_bytes(bad)
        compressor = words()
        session = Session.load(tmp_path, compressor)
        assert compressor.scorer.read == list(range(len(CHAT))), name
        assert results(session) == expected, name
    with Session.open(tmp_path, words()) as session:
        session.checkpoint()
    compressor = Other(Words(), words().counter)
    session = Session.load(tmp_path, compressor)
    assert compressor.scorer.read == list(range(len(CHAT)))
    assert results(session) == expected
    (tmp_path / STATES).unlink()
    assert results(Session.load(tmp_path, words())) == expected


def test_states_of_other_messages_are_not_used(tmp_path):
    kept(tmp_path / "a")
    kept(tmp_path / "b", [{**CHAT[0], "content": "Something else."}, *CHAT[1:]])
    (tmp_path / "a" / STATES).write_bytes((tmp_path / "b" / STATES).read_bytes())
    compressor = words()
    Session.load(tmp_path / "a", compressor)
    assert compressor.scorer.read == list(range(len(CHAT)))


def test_a_model_continues_from_its_states(compress, tmp_path):
    own = compress.compressor
    compressor = Revised(own.scorer, own.counter, own.extractor)
    with Session.open(tmp_path, compressor) as session:
        session.append(CHAT[:4])
    with Session.open(tmp_path, compressor) as session:
        session.append(CHAT[4:])
        again = session.compress("When does the visa expire?", budget=0.5)
    once = compress({"messages": CHAT, "query": "When does the visa expire?"}, budget=0.5)
    for name in ("text", "messages", "tokens", "receipt"):
        assert again[name] == once[name]


def test_saving_over_a_session_leaves_one_of_the_two(tmp_path, monkeypatch):
    first, second = Session(words()), Session(words())
    first.append(CHAT[:3])
    second.append(CHAT[3:])
    second.compress("When?", budget=3)
    real, calls = os.replace, []
    for failing in range(5):
        first.save(tmp_path)

        def stop(source: Any, target: Any, failing: int = failing) -> None:
            calls.append(target)
            if len(calls) == failing:
                raise KeyboardInterrupt
            real(source, target)

        calls.clear()
        with monkeypatch.context() as patched:
            patched.setattr(os, "replace", stop)
            with suppress(KeyboardInterrupt):
                second.save(tmp_path)
        found = Session.load(tmp_path, words())
        assert found.restore() == (CHAT[:3] if failing == 1 else CHAT[3:])
        assert found.turns == (() if failing == 1 else second.turns)
        assert results(found) == results(Session.load(tmp_path, words()))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([JOURNAL, STATES, LOCK])


def test_saving_into_the_own_folder_is_a_checkpoint(tmp_path):
    with Session.open(tmp_path, words()) as session:
        session.append(CHAT)
        before = (tmp_path / JOURNAL).read_bytes()
        session.save(tmp_path)
        assert (tmp_path / STATES).is_file()
        session.append(CHAT[1])
        assert (tmp_path / JOURNAL).read_bytes().startswith(before)


def test_what_was_saved_can_be_opened(tmp_path):
    session = Session(words())
    session.append(CHAT)
    session.compress("When?", budget=3)
    session.answer("In June.")
    session.save(tmp_path)
    compressor = words()
    with Session.open(tmp_path, compressor) as again:
        assert (again.restore(), again.turns, compressor.scorer.read) == (CHAT, session.turns, [])


def test_a_checkpoint_needs_a_folder():
    with pytest.raises(ReetError, match="Session.open"):
        Session(words()).checkpoint()


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    for folder in (tmp_path / "file", tmp_path / "file" / "deeper"):
        with pytest.raises(ReetError, match="`folder` must name a folder"):
            Session.open(folder, words())


def test_a_session_of_schema_2_is_read(tmp_path):
    turns = [{"query": "When?", "answer": "In June."}, {"query": "Where?", "answer": ""}]
    old = {"schema_version": 2, "messages": CHAT, "turns": turns}
    (tmp_path / journals.OLD).write_text(json.dumps(old), encoding="utf-8")
    (tmp_path / STATES).write_bytes(b"of another time")
    for _ in range(2):
        loaded = Session.load(tmp_path, words())
        with Session.open(tmp_path, words()) as opened:
            for session in (loaded, opened):
                assert session.restore() == CHAT
                assert session.turns == (Turn("When?", "In June."), Turn("Where?"))
    for wrong in ({**old, "schema_version": 1}, [], {"schema_version": 2}):
        (tmp_path / JOURNAL).unlink(missing_ok=True)
        (tmp_path / journals.OLD).write_text(json.dumps(wrong))
        for read in (Session.load, Session.open):
            with pytest.raises(ReetError, match="`folder`"):
                read(tmp_path, words())


def test_what_a_killed_writer_left_is_removed(tmp_path):
    kept(tmp_path)
    (tmp_path / f"{STATES}.abc.tmp").write_bytes(b"half")
    Session.open(tmp_path, words()).close()
    assert not list(tmp_path.glob("*.tmp"))


VALUE = st.lists(st.integers(0, 3), max_size=4) | st.integers(0, 2) | st.none()
PLAIN = st.dictionaries(
    st.sampled_from("abc"), VALUE | st.dictionaries(st.sampled_from("ab"), VALUE, max_size=2), max_size=3
)


@given(PLAIN, PLAIN)
def test_a_difference_makes_one_value_of_the_other(before, after):
    assert changed(before, json.loads(json.dumps(difference(before, after)))) == after


def test_the_difference_of_a_list_that_grew_is_what_is_new():
    before = {"spans": [[n, 0, 9] for n in range(500)], "covered": 500}
    after = {"spans": [*before["spans"], [500, 0, 9]], "covered": 501}
    assert len(json.dumps(difference({"prefix": before}, {"prefix": after}))) < 200


NAMES = ["../x", "..", ".", "", "/etc", "a/b", "a\\b", "a\0b", "a..b", "-a", ".a", "a.", "CON", "nul.txt", "Com1"]
NAMES += ["x" * 129, "é", "a b", "a\n", None, 5, "C:x"]


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_a_name_stays_in_the_folder(tmp_path, name):
    store = SessionStore(tmp_path / "root", words())
    for call in (store.open, store.delete):
        with pytest.raises(ReetError, match="`name`"):
            call(name)
    assert not (tmp_path / "root").exists()


def test_a_store_keeps_sessions_apart(tmp_path):
    store = SessionStore(tmp_path / "root", words())
    assert store.names() == []
    for name in ("b", "a.1", "A-2_x", "x" * 128, "console", "0"):
        with store.open(name) as session:
            session.append({"role": "user", "content": name})
            with pytest.raises(ReetError, match="open in another session"):
                store.delete(name)
    (tmp_path / "root" / "empty").mkdir()
    (tmp_path / "root" / "file").write_text("x")
    assert store.names() == sorted(["b", "a.1", "A-2_x", "x" * 128, "console", "0"])
    store.delete("b")
    with pytest.raises(ReetError, match="names()"):
        store.delete("b")
    assert not (tmp_path / "root" / "b").exists()
    with store.open("a.1") as session:
        assert session.restore() == [{"role": "user", "content": "a.1"}]
    with store.open("b") as session:
        assert session.restore() == []


def test_a_link_that_leads_out_is_refused(tmp_path):
    store = SessionStore(tmp_path / "root", words())
    secret = tmp_path / "secret"
    kept(secret)
    before = (secret / JOURNAL).read_bytes()
    for name in ("inside", "file"):
        store.open(name).close()
    (tmp_path / "root" / "out").symlink_to(secret)
    (tmp_path / "root" / "nowhere").symlink_to(tmp_path / "new")
    (tmp_path / "root" / "round").symlink_to(tmp_path / "root" / "round")
    (tmp_path / "root" / "file" / JOURNAL).unlink()
    (tmp_path / "root" / "file" / JOURNAL).symlink_to(secret / JOURNAL)
    (tmp_path / "root" / "again").symlink_to(tmp_path / "root" / "inside")
    for name in ("out", "nowhere", "round", "file"):
        for call in (store.open, store.delete):
            with pytest.raises(ReetError, match="link that leads out"):
                call(name)
    assert store.names() == ["again", "inside"]
    assert (secret / JOURNAL).read_bytes() == before and not (tmp_path / "new").exists()
    store.delete("again")
    assert store.names() == []
    assert not (tmp_path / "root" / "again").is_symlink()


def test_warnings_are_no_errors(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        kept(tmp_path)
        Session.open(tmp_path, words()).close()
    assert not caplog.records
