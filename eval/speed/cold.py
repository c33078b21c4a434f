"""A whole conversation compressed from nothing, by REET and by others in alternation."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from eval.speed.clock import percentile, spread
from eval.speed.material import Exchange
from eval.speed.names import REET
from eval.speed.peers import SHAPES, save_random
from eval.speed.workers import Worker

LENGTHS = (512, 2_000, 3_000, 8_000, 32_000, 128_000)
LIMIT = 75.0  # seconds of one system at one length; what would take longer for once is not run
PATIENCE = 4  # times the limit after which a process is ended


def measure(
    systems: Sequence[str],
    conversations: Mapping[int, Exchange],
    model: str,
    threads: int,
    repetitions: int = 3,
    limit: float = LIMIT,
    shapes: Mapping[str, dict[str, Any]] = SHAPES,
    told: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Seconds and peak memory by length and system, and how many times as long each took as REET.

    Systems take turns, so that all see the same machine. A system at a length is repeated until it has taken `limit`
    seconds; what is expected to take more for once, by its time at the length before, is not run, and says so.

    Args:
        systems: Names of `names.NAMES`.
        conversations: By their tokens, rising.
        model: Checkpoint of REET.
        threads: Of PyTorch, in each process.
        repetitions: At most.
        limit: In seconds.
        shapes: Of the peers with random weights.
        told: Is given what is going on.
    """
    with tempfile.TemporaryDirectory() as root:
        workers: dict[str, Worker] = {}
        try:
            for name in systems:
                folder = Path(root) / name
                if name in shapes:
                    told(f"random weights of {name}")
                    save_random(name, folder, model, shapes[name])
                workers[name] = Worker(name, model, folder, threads)
            loaded = {name: round(worker.ready()) for name, worker in workers.items()}
            found = _by_length(workers, conversations, repetitions, limit, told)
        finally:
            for worker in workers.values():
                worker.end()
    return {"limit_seconds": limit, "loaded_mb": loaded, "lengths": found}


def _by_length(
    workers: Mapping[str, Worker],
    conversations: Mapping[int, Exchange],
    repetitions: int,
    limit: float,
    told: Callable[[str], None],
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    last: dict[str, tuple[int, float]] = {}  # length and seconds of the last one that was run
    stopped: dict[str, str] = {}
    for length, exchange in conversations.items():
        times: dict[str, list[float]] = {name: [] for name in workers}
        peaks: dict[str, float] = {}
        skipped = dict(stopped)
        for name, (before, seconds) in last.items():
            if seconds * length / before > limit:
                skipped.setdefault(name, f"one pass was expected to take more than {limit:g} seconds")
        for number in range(repetitions):
            for name in [name for name in workers if name not in skipped]:
                own = times[name]
                if number and sum(own) + own[-1] > limit:
                    continue
                answer = workers[name].ask(exchange, PATIENCE * limit)
                if answer is None:
                    stopped[name] = skipped[name] = f"ended after {PATIENCE * limit:g} seconds without a result"
                    continue
                own.append(answer[0])
                peaks[name] = answer[1]
                told(f"{length:,} tokens, {name}: {answer[0]:.2f} s")
        last |= {name: (length, percentile(own, 0.5)) for name, own in times.items() if own}
        found[str(length)] = {name: _cell(times, peaks, name, skipped.get(name)) for name in workers}
    return found


def _cell(
    times: Mapping[str, Sequence[float]], peaks: Mapping[str, float], name: str, reason: str | None
) -> dict[str, Any]:
    """What is known of one system at one length."""
    if not times[name]:
        return {"repetitions": 0, "not_run": reason}
    cell = {"seconds": spread(times[name], 3), "peak_mb": round(peaks[name])}
    if name != REET and times.get(REET):
        cell["times_reet"] = round(percentile(times[name], 0.5) / percentile(times[REET], 0.5), 2)
    return cell
