"""Windows of requests that come at the same time, read by the encoder in one pass."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import islice
from queue import Empty, SimpleQueue

import torch

from ..deadlines import check_deadline
from ..scoring.scorer import Ids

Read = Callable[[Sequence[Ids]], list[torch.Tensor]]
BATCH_TOKENS = 2048  # of a pass, padding included


@dataclass
class _Asked:
    rows: Sequence[Ids]
    states: Future[list[torch.Tensor]] = field(default_factory=Future)


class SharedReader:
    """What reads windows for all threads, in one of its own.

    Nobody waits for others to come: what is asked for while a pass is under way shares the next one. States are those
    of a pass alone up to floating-point rounding.

    Args:
        read: Reads windows in one pass, see `ReetScorer.read_windows`.
        tokens: Most tokens of a pass, padding included; a window that is longer is read alone.
        watch: Called with the numbers of windows and requests of each pass.
    """

    def __init__(self, read: Read, tokens: int = BATCH_TOKENS, watch: Callable[[int, int], None] | None = None) -> None:
        self._read, self._tokens, self._watch = read, tokens, watch
        self._queue: SimpleQueue[_Asked | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="reet-encoder", daemon=True)
        self._thread.start()

    def __call__(self, rows: Sequence[Ids]) -> list[torch.Tensor]:
        """States of the tokens of windows, of shape `(tokens, width)` each.

        Raises:
            DeadlineError: If the time of the request is over.
        """
        check_deadline()
        asked = _Asked(rows)
        self._queue.put(asked)
        return asked.states.result()

    def close(self) -> None:
        """End the thread when all that was asked for has been read."""
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (first := self._queue.get()) is not None:
            together, last = self._waiting(first)
            self._answer(together)
            if last:
                return

    def _waiting(self, first: _Asked) -> tuple[list[_Asked], bool]:
        """What fits into one pass of what is waiting, and whether nothing may come after it."""
        together, size = [first], _size(first.rows)
        while size < self._tokens:
            try:
                asked = self._queue.get_nowait()
            except Empty:
                break
            if asked is None:
                return together, True
            together.append(asked)
            size += _size(asked.rows)
        return together, False

    @torch.inference_mode()
    def _answer(self, together: Sequence[_Asked]) -> None:
        rows = [row for asked in together for row in asked.rows]
        order = sorted(range(len(rows)), key=lambda place: len(rows[place]))
        states: list[torch.Tensor | None] = [None] * len(rows)
        try:
            for places in self._passes(rows, order):
                for place, read in zip(places, self._read([rows[place] for place in places]), strict=True):
                    states[place] = read
        except BaseException as error:
            if len(together) == 1:
                together[0].states.set_exception(error)
                return
            for asked in together:  # one of them may be the reason
                self._answer([asked])
            return
        if self._watch is not None:
            self._watch(len(rows), len(together))
        done = iter(states)
        for asked in together:
            asked.states.set_result([state for state in islice(done, len(asked.rows)) if state is not None])

    def _passes(self, rows: Sequence[Ids], order: Sequence[int]) -> list[list[int]]:
        """Windows of like length together, `tokens` of them at most."""
        passes: list[list[int]] = []
        for place in order:  # the longest so far
            if passes and (len(passes[-1]) + 1) * len(rows[place]) <= self._tokens:
                passes[-1].append(place)
            else:
                passes.append([place])
        return passes


def _size(rows: Sequence[Ids]) -> int:
    return sum(len(row) for row in rows)
