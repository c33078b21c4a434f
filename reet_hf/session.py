"""State across turns as a value: messages, cached token states and earlier questions, saved and continued."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from safetensors.numpy import load_file, save_file

from .conversation import Conversation, checked_text, parse_messages, parse_query
from .errors import ReetError
from .records import Turn

SCHEMA_VERSION = 2


class TurnCompressor(Protocol):
    """What a session asks of a compressor."""

    def encode(self, conversation: Conversation, state: Any | None = None) -> Any:
        """The state for a conversation that extends the one `state` was made for."""

    def compress_turn(self, state: Any, query: str | None, history: tuple[Turn, ...], **options: Any) -> Any:
        """A `Compressed` for one query."""

    def restore(self, conversation: Conversation, arrays: dict[str, np.ndarray]) -> Any:
        """The state whose scorer part was saved as `arrays`."""


class Session:
    """A conversation that grows; what was encoded stays, whatever is asked later.

    Args:
        compressor: A `Compressor`, or the pipeline that holds one.
    """

    def __init__(self, compressor: Any) -> None:
        self.compressor: TurnCompressor = getattr(compressor, "compressor", compressor)
        if not hasattr(self.compressor, "compress_turn"):
            raise ReetError(
                f"`compressor` must be a Compressor or a reet-compression pipeline, got {type(compressor).__name__}."
            )
        self._state: Any = None
        self._conversation = Conversation()
        self._turns: list[Turn] = []

    @property
    def turns(self) -> tuple[Turn, ...]:
        """Questions asked so far, with the answers that were reported."""
        return tuple(self._turns)

    def append(self, messages: Any) -> None:
        """Add messages (a list, or one) at the end and encode them.

        Raises:
            ReetError: If one cannot be read; the session is then unchanged.
        """
        fresh = parse_messages([messages] if isinstance(messages, Mapping) else messages)
        grown = self._conversation.extend(fresh)
        if fresh:
            self._state = self.compressor.encode(grown, self._state)
        self._conversation = grown

    def compress(self, query: str | None = None, **options: Any) -> dict[str, Any]:
        """The conversation compressed for `query`, which then counts as asked.

        Args:
            query: The question of this turn; without one, what any later turn may need is kept.
            **options: As for the pipeline: `budget`, `tokenizer`, `unit`, `strategy`, `protect`, `threshold`.

        Returns:
            The dictionary that the pipeline returns.
        """
        asked = parse_query(query)
        if self._state is None:
            self._state = self.compressor.encode(self._conversation, None)
        result = self.compressor.compress_turn(self._state, asked, self.turns, **options)
        if asked is not None:
            self._turns.append(Turn(asked))
        return result.to_dict()

    def answer(self, text: str) -> None:
        """Report the answer to the last question; later questions then see it.

        Raises:
            ReetError: If nothing was asked yet.
        """
        if not self._turns:
            raise ReetError("`answer` needs a question: call compress(query=...) first.")
        self._turns[-1] = Turn(self._turns[-1].query, checked_text(text, "answer"))

    def restore(self) -> list[dict[str, Any]]:
        """Every message exactly as it was appended."""
        return [copy.deepcopy(dict(message.raw)) for message in self._conversation.messages]

    def save(self, folder: str | Path) -> None:
        """Write messages, turns and cached states to `folder` (JSON and safetensors)."""
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        turns = [{"query": turn.query, "answer": turn.answer} for turn in self._turns]
        record = {"schema_version": SCHEMA_VERSION, "messages": self.restore(), "turns": turns}
        (path / "session.json").write_text(json.dumps(record, ensure_ascii=False, indent=1), encoding="utf-8")
        arrays: dict[str, np.ndarray] = self._state.scored.arrays() if self._state is not None else {}
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path / "states.safetensors")

    @classmethod
    def load(cls, folder: str | Path, compressor: Any) -> Session:
        """The session that `save` wrote, to be continued with the same model.

        Raises:
            ReetError: If `folder` holds no session, or one of another schema.
        """
        path = Path(folder)
        try:
            record = json.loads((path / "session.json").read_text(encoding="utf-8"))
            arrays = load_file(path / "states.safetensors")
        except (OSError, ValueError) as error:
            raise ReetError(f"`folder` must hold a saved session, but {path} cannot be read: {error}.") from error
        if record.get("schema_version") != SCHEMA_VERSION:
            raise ReetError(f"`folder` holds schema_version {record.get('schema_version')!r}, not {SCHEMA_VERSION}.")
        session = cls(compressor)
        session._conversation = Conversation(parse_messages(record["messages"]))
        session._turns = [Turn(turn["query"], turn["answer"]) for turn in record["turns"]]
        if arrays:
            session._state = session.compressor.restore(session._conversation, arrays)
        return session
