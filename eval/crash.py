"""What a kill costs: python -m eval.crash [--points N] [--output FILE]

A child process appends turns to a session in a folder, asks, answers and writes checkpoints, and reports each call
that has returned. It is killed with SIGKILL at random moments; then the session is opened again and compared, byte for
byte, with what was reported. Every second child writes in pieces with pauses, so that kills hit the middle of a write.
A kill ends a process and not the machine: what a power cut can do to a file is tested
by cutting and changing journals at every byte (tests/test_journal.py).
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import random
import signal
import string
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eval import records
from reet_hf import Session, journal
from reet_hf.conversation import Conversation

FOLDER = records.FOLDER / "agent"
PACKAGES = ("reet-hf", "numpy", "safetensors", "filelock")
PER_SESSION = 20  # kills of one session, so that opening it takes no longer than writing to it
SIZES = (10, 300, 2000, 200_000)  # characters of a message
PIECES, PAUSE = 8, 0.001  # of a slow write, and seconds after each
LETTERS = string.printable + "éß你好👩\u2028\u200d"


@dataclass
class Lengths:
    """What `ByLength` computes of a conversation."""

    conversation: Conversation
    lengths: np.ndarray

    @property
    def scored(self) -> Lengths:
        """What a session caches."""
        return self

    def arrays(self) -> dict[str, np.ndarray]:
        """The lengths as they are saved."""
        return {"lengths": self.lengths}


@dataclass(frozen=True)
class Kept:
    """What `ByLength` returns: some messages, and those that were left out."""

    shown: tuple[int, ...]
    lengths: tuple[int, ...]

    def to_dict(self) -> dict[str, Any]:
        """The parts of a compression's result that a session reads."""
        left = (number for number in range(len(self.lengths)) if number not in self.shown)
        spans = [{"message": number, "start": 0, "end": self.lengths[number]} for number in left]
        return {"omitted": [{"id": f"{span['message']:06x}", "tokens": 1, "spans": [span]} for span in spans]}


class ByLength:
    """A compressor that needs no model, so that most of a child's time goes to the journal."""

    revision = "lengths"

    def encode(self, conversation: Conversation, state: Lengths | None = None) -> Lengths:
        """Lengths of the messages that `state` does not have yet, after those that it has."""
        known = [] if state is None else state.lengths.tolist()
        fresh = [len(message.text) for message in conversation.messages[len(known) :]]
        return Lengths(conversation, np.array([*known, *fresh], dtype=np.int64))

    def restore(self, conversation: Conversation, arrays: dict[str, np.ndarray]) -> Lengths:
        """The state that was saved as `arrays`."""
        return Lengths(conversation, arrays["lengths"])

    def compress_turn(self, state: Lengths, query: str | None, history: Any, **options: Any) -> Kept:
        """The last two messages."""
        count = len(state.lengths)
        return Kept(tuple(range(max(count - 2, 0), count)), tuple(state.lengths.tolist()))


def turn(seed: int, number: int) -> tuple[list[dict[str, Any]], str, str]:
    """Messages, question and answer of one turn, always the same."""
    chance = random.Random(f"{seed}:{number}")
    sizes = chance.choices(SIZES, (5, 9, 5, 1), k=2)
    texts = ["".join(chance.choices(LETTERS, k=min(size, 2000))) * max(size // 2000, 1) for size in sizes]
    call = {"id": f"c{number}", "type": "function", "function": {"name": "read", "arguments": json.dumps(texts[0][:9])}}
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": f"{number} {texts[0]}"},
        {"role": "assistant", "content": None, "tool_calls": [call], "extra": [None, 1.5, {"é": number}]},
        {"role": "tool", "tool_call_id": f"c{number}", "content": texts[1]},
    ]
    return messages, f"What is {number}?", f"{number} is {texts[1][:40]}"


def slowly(file: Any, data: bytes, start: int) -> None:
    """Write as `journal.write_all` does, in pieces with pauses."""
    size = max(len(data) // PIECES, 1)
    for first in range(0, len(data), size):
        file.seek(start + first)
        file.write(data[first : first + size])
        time.sleep(PAUSE)


def work(folder: str, seed: int, slow: bool, pipe: int) -> None:
    """Turns without end; a byte goes to `pipe` whenever a call has returned: m(essages), q(uestion), a(nswer)."""
    if slow:
        journal.write_all = slowly
    with Session.open(folder, ByLength()) as session:
        count, asked = len(session.restore()) // 3, len(session.turns)
        os.write(pipe, b"o")
        for number in range(asked, 1_000_000):
            messages, query, answer = turn(seed, number)
            if number >= count:
                session.append(messages)
                os.write(pipe, b"m")
            session.compress(query)
            os.write(pipe, b"q")
            session.answer(answer)
            os.write(pipe, b"a")
            if number % 3 == 0:
                session.checkpoint()


def killed(folder: str, seed: int, slow: bool, chance: random.Random) -> Counter[str]:
    """How many calls of each kind a child had confirmed when it was killed."""
    reading, writing = os.pipe()
    child = multiprocessing.get_context("fork").Process(target=work, args=(folder, seed, slow, writing))
    child.start()
    os.close(writing)
    confirmed = bytearray()
    wanted = chance.randrange(12)  # calls to wait for; with none the kill can hit the opening
    while len(confirmed) < wanted:
        byte = os.read(reading, 1)
        if not byte:
            raise RuntimeError("The child ended by itself; see what it printed.")
        confirmed += byte
    time.sleep(chance.uniform(0, 0.02 if wanted else 0.004))
    os.kill(child.pid or 0, signal.SIGKILL)
    child.join()
    while more := os.read(reading, 4096):
        confirmed += more
    os.close(reading)
    return Counter(confirmed.decode())


def differences(session: Session, seed: int, expected: Counter[str]) -> list[str]:
    """What is lost, changed or half there, `expected` being all calls that were confirmed so far."""
    messages, turns = session.restore(), session.turns
    made = [turn(seed, number) for number in range(max(len(messages) // 3, len(turns)) + 1)]
    answered = sum(bool(each.answer) for each in turns)
    whole = [message for own, _, _ in made[: -(-len(messages) // 3)] for message in own]
    found = []
    for name, there, confirmed in (
        ("messages", len(messages) / 3, expected["m"]),
        ("questions", len(turns), expected["q"]),
        ("answers", answered, expected["a"]),
    ):
        if not confirmed <= there <= confirmed + 1:
            found.append(f"{there:g} {name} are there, {confirmed} were confirmed")
    if json.dumps(messages, ensure_ascii=False) != json.dumps(whole, ensure_ascii=False):
        found.append("messages differ")
    for number, each in enumerate(turns):
        if each.query != made[number][1] or each.answer not in (made[number][2], ""):
            found.append(f"turn {number} differs")
    compressor = ByLength()
    fresh = compressor.encode(session._conversation)
    if messages and not np.array_equal(fresh.lengths, session._state.lengths):
        found.append("the cached states differ")
    return found


class Torn(logging.Handler):
    """Counts journals whose last line had not been written whole."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Count one."""
        self.count += 1


def measure(points: int, seed: int) -> dict[str, Any]:
    """Kills, what had been confirmed before them, and what was lost."""
    chance, torn = random.Random(seed), Torn()
    logger = logging.getLogger("reet_hf.journal")
    logger.addHandler(torn)
    logger.propagate = False
    confirmed: Counter[str] = Counter()
    lost: list[str] = []
    unconfirmed = opening = 0
    begun = time.perf_counter()
    folder = Path()
    with tempfile.TemporaryDirectory() as root:
        for point in range(points):
            if point % PER_SESSION == 0:
                folder, before = Path(root) / str(point), Counter[str]()
            calls = killed(str(folder), seed, point % 2 == 1, chance)
            opening += not calls["o"]
            confirmed += calls
            with Session.open(folder, ByLength()) as session:
                lost += [f"point {point}: {said}" for said in differences(session, seed, before + calls)]
                answered = sum(bool(each.answer) for each in session.turns)
                now = Counter(m=len(session.restore()) // 3, q=len(session.turns), a=answered)
            unconfirmed += sum(now.values()) - sum((before + calls)[name] for name in now)
            before = now
            if len(lost) > 20:
                break
    logger.removeHandler(torn)
    return {
        "seed": seed,
        "points": points,
        "sessions": -(-points // PER_SESSION),
        "killed_before_open": opening,
        "acknowledged_turns": confirmed["m"],
        "acknowledged_questions": confirmed["q"],
        "acknowledged_answers": confirmed["a"],
        "lost": len(lost),
        "differences": lost,
        "written_but_not_acknowledged": unconfirmed,
        "torn_lines_cut_off": torn.count,
        "seconds": round(time.perf_counter() - begun, 1),
        "hardware": records.hardware(2, 1),
        "packages": records.packages(PACKAGES),
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, write; fails if anything was lost."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--points", type=int, default=200, help="kills")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=FOLDER / "crash.json")
    said = parser.parse_args(argv)
    found = measure(said.points, said.seed)
    text = json.dumps(found, indent=1) + "\n"
    print(text)
    said.output.parent.mkdir(parents=True, exist_ok=True)
    said.output.write_text(text, encoding="utf-8")
    if found["lost"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
