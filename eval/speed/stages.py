"""Where the time of a turn goes: functions of the package are wrapped while turns are measured, nothing is changed."""

from __future__ import annotations

import functools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any
from unittest.mock import patch

STAGES = {
    "tokenization and mentions": ("scoring.scorer:tokenize", "compressor:message_mentions"),
    "segmentation and units": (
        "windows:sentence_borders",
        "scoring.scorer:hold_records",
        "compressor:measured",
        "compressor:forms_of",
        "compressor:overheads",
        "compressor:comes_along",
        "compressor:openings",
        "compressor:weighed",
        "compressor:original_tokens",
    ),
    "encoder": ("encoders.packed:PackedEncoder.read",),
    "token cache": ("scoring.scorer:ReetScorer.encode",),
    "extraction head": ("extraction.extractor:ReetExtractor.extract",),
    "ledger": ("compressor:accounts_of", "state:accounts_of", "compressor:mentioned_in"),
    "scoring head": ("scoring.scorer:ReetScorer.score",),
    "selection": ("compressor:Compressor._chosen",),
    "rendering": ("compressor:render_text", "compressor:render_messages", "view:View.omitted"),
    "receipt and result": ("compressor:Compressor._result", "records:Compressed.to_dict"),
}
"""The functions of each stage; the time of a function is without that of other functions of this table inside it."""


class Watch:
    """Seconds of each stage, and what was seen of the work of the two neural parts, since the last `reset`.

    Attributes:
        seconds: By stage.
        passes: Tokens of each window of each pass of the encoder.
        words: Words of each window that the extraction head read.
        subjects: Mentions, and the words of their sentences summed, of which it looked for facts.
    """

    def __init__(self) -> None:
        self._open: list[float] = []  # seconds inside each open call that belong to calls within it
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.seconds: dict[str, float] = defaultdict(float)
        self.passes: list[list[int]] = []
        self.words: list[int] = []
        self.subjects = [0, 0]

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, its own time added to a stage."""

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            self._open.append(0.0)
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                spent = time.perf_counter() - start
                self.seconds[stage] += spent - self._open.pop()
                if self._open:
                    self._open[-1] += spent

        return call

    def seen(self, function: Callable[..., Any], note: Callable[..., None]) -> Callable[..., Any]:
        """The same function; `note` is told its arguments and its result."""

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            found = function(*args, **kwargs)
            note(found, *args, **kwargs)
            return found

        return call

    def note_pass(self, found: Any, encoder: Any, windows: Any) -> None:
        """A pass of the encoder."""
        self.passes.append([len(window) for window in windows])

    def note_words(self, found: Any, head: Any, states: Any, words: Any) -> None:
        """A batch of windows that the extraction head read."""
        self.words += words.mask.sum(1).tolist()

    def note_facts(self, found: Any, head: Any, known: Any, words: Any, subjects: Any, kinds: Any) -> None:
        """Facts that were looked for."""
        self.subjects[0] += int((subjects[..., 0] >= 0).sum())
        self.subjects[1] += len(found.owners)


@contextmanager
def watched() -> Iterator[Watch]:
    """A watch over everything that happens inside.

    Raises:
        AttributeError: If the package has no such function any more; then `STAGES` has to follow it.
    """
    watch = Watch()
    notes: dict[str, Callable[..., None]] = {
        "encoders.packed:PackedEncoder.read": watch.note_pass,
        "modeling.extraction_head:ExtractionHead.read": watch.note_words,
        "modeling.extraction_head:ExtractionHead.own_facts": watch.note_facts,
    }
    wrapped: dict[str, Callable[[Any], Any]] = {}
    for place, note in notes.items():
        wrapped[place] = functools.partial(_noted, watch, note)
    for stage, places in STAGES.items():
        for place in places:
            wrapped[place] = functools.partial(_timed, watch, stage, wrapped.get(place))
    patches = []
    try:
        for place, wrap in wrapped.items():
            owner, name = _owner(place)
            patches.append(patch.object(owner, name, wrap(getattr(owner, name))))
            patches[-1].start()
        yield watch
    finally:
        for each in reversed(patches):
            each.stop()


def _noted(watch: Watch, note: Callable[..., None], function: Callable[..., Any]) -> Callable[..., Any]:
    return watch.seen(function, note)


def _timed(watch: Watch, stage: str, inner: Callable[[Any], Any] | None, function: Callable[..., Any]) -> Any:
    return watch.timed(stage, inner(function) if inner else function)


def _owner(place: str) -> tuple[Any, str]:
    """The module or class that has a function, and the function's name there."""
    module, _, path = place.partition(":")
    owner: Any = import_module(f"reet_hf.{module}")
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    return owner, name
