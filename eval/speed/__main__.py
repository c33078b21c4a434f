"""How fast REET is, in one run: python -m eval.speed --data FOLDER [--output FILE] [--parts turns,cold] [--quick]

Nobody else should use the machine meanwhile. The file is written after each part; parts that are not measured stay in
it as they are. `--quick` measures little of everything, to see that it works: its figures mean nothing.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from eval import records
from eval.speed import breakdown, choosing, cold, floor, memory, start, subject, turns
from eval.speed.material import Exchange, Material, passages
from eval.speed.names import BM25, CROSS, LARGE, REET, SMALL
from reet_hf.errors import ReetError
from reet_hf.modeling.processor import multiplies_bfloat16
from reet_hf.registration import DEFAULT_MODEL

SCHEMA_VERSION = 1
OUTPUT = records.FOLDER / "speed" / "speed.json"
PACKAGES = ("reet-hf", "torch", "transformers", "tokenizers", "numpy", "llmlingua", "rank-bm25")
CPU_INFO = Path("/proc/cpuinfo")
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    starts: int = 3
    histories: tuple[int, ...] = breakdown.HISTORIES
    stage_turns: int = 20
    turn_count: int = 210
    tokens: int = 100_000
    early: range = turns.EARLY
    late: range = turns.LATE
    lengths: tuple[int, ...] = cold.LENGTHS
    cold_runs: int = 5
    peer_runs: int = 3
    limit: float = cold.LIMIT
    units: tuple[int, ...] = choosing.COUNTS
    million: int = 1_000_000
    rate_seconds: float = floor.SECONDS


QUICK = Sizes(
    starts=1,
    histories=(2_000, 4_000),
    stage_turns=3,
    turn_count=40,
    tokens=4_000,
    late=range(30, 40),
    lengths=(512, 2_000),
    cold_runs=2,
    peer_runs=1,
    limit=20.0,
    units=(1_000, 10_000),
    million=20_000,
    rate_seconds=0.05,
)


def told(text: str) -> None:
    """Progress."""
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


class Run:
    """What the parts are measured with.

    Args:
        data: Folder of parquet files.
        model: Hub id or folder of the checkpoint.
        threads: Of PyTorch, in every process.
        sizes: How much is measured.
        record: What was measured before; of the parts in it only the floor is read.
    """

    def __init__(self, data: str, model: str, threads: int, sizes: Sizes, record: dict[str, Any]) -> None:
        self.data, self.model, self.threads, self.sizes, self.record = data, model, threads, sizes, record

    @cached_property
    def compressor(self) -> Any:
        """The compressor, warm."""
        found = subject.load(self.model).compressor
        subject.warm(found)
        return found

    @cached_property
    def material(self) -> Material:
        """Text."""
        return Material(passages(self.data), self.compressor.scorer.tokenizer)

    @cached_property
    def conversations(self) -> dict[int, Exchange]:
        """Conversations to be compressed from nothing, by their tokens."""
        return {length: self.material.conversation(length) for length in self.sizes.lengths}

    def start(self) -> dict[str, Any]:
        """From a fresh process to the first result."""
        return start.measure(self.model, self.threads, self.sizes.starts)

    def floor(self) -> dict[str, Any]:
        """What the machine can do at best."""
        seconds = self.sizes.rate_seconds
        matrix = floor.rates(self.compressor.scorer.config, seconds)
        return {"matrix": matrix, "read": floor.bandwidth(seconds)}

    def _settle(self) -> None:
        """Have models and text loaded, and Python's collections pass over them, as servers do (`gc.freeze`)."""
        _ = self.material, self.compressor
        gc.collect()
        gc.freeze()

    def stages(self) -> dict[str, Any]:
        """Where the time of a turn goes."""
        self._settle()
        sizes = self.sizes
        rates = self.record["parts"].get("floor") or self.floor()
        return breakdown.measure(self.compressor, self.material, rates, sizes.histories, sizes.stage_turns, told)

    def turns(self) -> dict[str, Any]:
        """A session that grows."""
        self._settle()
        sizes = self.sizes
        given = (sizes.turn_count, sizes.tokens, sizes.early, sizes.late)
        return turns.measure(self.compressor, self.material, *given, told=told)

    def cold(self) -> dict[str, Any]:
        """REET, from nothing."""
        return self._cold([REET], self.sizes.cold_runs)

    def peers(self) -> dict[str, Any]:
        """REET and others, from nothing."""
        return self._cold([REET, LARGE, SMALL, CROSS, BM25], self.sizes.peer_runs)

    def _cold(self, systems: Sequence[str], repetitions: int) -> dict[str, Any]:
        given = (self.conversations, self.model, self.threads, repetitions, self.sizes.limit)
        return cold.measure(systems, *given, told=told)

    def selection(self) -> dict[str, Any]:
        """Choosing, by itself."""
        return choosing.measure(self.sizes.units)

    def memory(self) -> dict[str, Any]:
        """What a token takes."""
        return memory.apart(memory.session, self.data, self.model, self.threads, self.sizes.tokens)

    def million(self) -> dict[str, Any]:
        """A question over a million tokens."""
        return memory.apart(memory.million, self.data, self.model, self.threads, self.sizes.million)


PARTS: tuple[Callable[[Run], dict[str, Any]], ...] = (
    Run.start,
    Run.floor,
    Run.stages,
    Run.turns,
    Run.cold,
    Run.peers,
    Run.selection,
    Run.memory,
    Run.million,
)
NAMES = [part.__name__ for part in PARTS]


def hardware(threads: int) -> dict[str, Any]:
    """The machine without its name."""
    lines = CPU_INFO.read_text().splitlines() if CPU_INFO.is_file() else []
    named = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    own = {"processor": named or platform.processor(), "native_bfloat16": multiplies_bfloat16()}
    return {**records.hardware(1, threads), **own, "python": platform.python_version()}


def git_revision() -> str:
    """The commit of the checkout, marked where files differ from it; empty without one."""
    command = ["git", "--no-optional-locks", "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def read(path: Path) -> dict[str, Any]:
    """The record in a file, an empty one if there is none.

    Raises:
        ReetError: If the file is of another schema.
    """
    if not path.is_file():
        return {"schema_version": SCHEMA_VERSION, "parts": {}}
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if record.get("schema_version") != SCHEMA_VERSION:
        raise ReetError(f"`output` must be of schema_version {SCHEMA_VERSION}, {path.name} is not; name another file.")
    return record


def as_text(record: dict[str, Any]) -> str:
    """JSON with a line for each value, and one for each list of numbers."""
    text = json.dumps(record, indent=1)
    return re.sub(r"\[[-\d.,\s]+\]", lambda found: " ".join(found[0].split()), text) + "\n"


def measure(run: Run, names: Sequence[str], output: Path, quick: bool) -> dict[str, Any]:
    """The record with the parts that were measured, written after each."""
    output.parent.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        if part.__name__ not in names:
            continue
        told(f"{part.__name__} …")
        begun = time.perf_counter()
        found = part(run)
        spent = round(time.perf_counter() - begun, 1)
        of = {"revision": git_revision(), "quick": quick, "threads": run.threads, "model": run.model, "seconds": spent}
        run.record["parts"][part.__name__] = {"run": of, **found}
        run.record |= {"hardware": hardware(run.threads), "packages": records.packages(PACKAGES)}
        output.write_text(as_text(run.record), encoding="utf-8")
        told(f"{part.__name__}: {spent:g} s")
    return run.record


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(prog="python -m eval.speed", description="Measure how fast REET is, in one run.")
    parser.add_argument("--data", required=True, help="folder of parquet files with messages and questions")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--parts", default=",".join(NAMES), help=f"some of {', '.join(NAMES)}")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--quick", action="store_true", help="little of everything; its figures mean nothing")
    arguments = parser.parse_args(argv)
    names = arguments.parts.split(",")
    if unknown := sorted(set(names) - set(NAMES)):
        parser.error(f"--parts must be some of {', '.join(NAMES)}, got {', '.join(unknown)}")
    os.environ["HF_HUB_OFFLINE"] = "1"  # for the processes that are started
    torch.set_num_threads(arguments.threads)
    sizes = QUICK if arguments.quick else Sizes()
    run = Run(arguments.data, arguments.model, arguments.threads, sizes, read(arguments.output))
    measure(run, names, arguments.output, arguments.quick)


if __name__ == "__main__":
    main()
