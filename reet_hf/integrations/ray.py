"""Ray Data: columns of texts or messages compressed by actors on a cluster, each of which loads the model once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import transformers

from ..compressor import Compressor
from ..conversation import Request
from ..errors import ReetError
from ..many.entries import as_json, request_of
from ..many.handling import Handling
from ..many.tables import plain
from ..many.together import read_together
from ..registration import bundled_model


class RayCompressor:
    """What `map_batches` of a Ray data set makes its actors of; rows of a batch share passes of the encoder.

    ```python
    options = {"column": "messages", "budget": 0.3}
    ds.map_batches(RayCompressor, fn_constructor_kwargs=options, batch_size=64, concurrency=4)
    ```

    Each row gets a column `output` with what is kept, text where it was text, messages where it was messages, and two
    columns with the tokens before and after, `<output>_original` and `<output>_tokens`.

    Args:
        column: The column of the inputs: strings, lists of messages, or messages as JSON text.
        query: The column of the queries, if there is one.
        output: The name of the new column.
        keys: Of each result; where they are given, `output` is the result as JSON text, with these keys alone.
        on_error: What a row does that cannot be compressed: `stop` ends the run, `record` leaves its new columns empty
            and says why in another one, `<output>_error`.
        model: Checkpoint id or folder; default: the bundled weights.
        **options: Of each compression, such as `budget`.

    Raises:
        ReetError: If an option cannot be honoured.
        TypeError: For an unknown option.
    """

    def __init__(
        self,
        column: str = "messages",
        query: str | None = None,
        output: str = "compressed",
        keys: Sequence[str] | None = None,
        on_error: str = "stop",
        model: str | None = None,
        **options: Any,
    ) -> None:
        if on_error == "skip":
            raise ReetError("`on_error` must be 'stop' or 'record' here, got 'skip'; filter by the column of errors.")
        self.handling = Handling(keys=keys, on_error=on_error)
        self.column, self.query, self.output = column, query, output
        load: Any = transformers.pipeline  # its overloads know the library's own tasks only
        self.compressor: Compressor = load("reet-compression", model=model or bundled_model()).compressor
        self.options = self.compressor.options(**options)

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """The columns of a batch and the new ones.

        Raises:
            ReetError: If a column is missing, or a row ends the run.
        """
        for name in (self.column, self.query or self.column):
            if name not in batch:
                raise ReetError(f"`column` and `query` must be columns, but {name!r} is none of {', '.join(batch)}.")
        values = batch[self.column]
        queries = batch[self.query] if self.query else [None] * len(values)
        asked = [self._asked(value, query) for value, query in zip(values, queries, strict=True)]
        with read_together(self.compressor, [each.conversation for each in asked if isinstance(each, Request)]):
            rows = [self._row(each) for each in asked]
        names = ["", "_original", "_tokens", *(["_error"] if self.handling.on_error == "record" else [])]
        return {**batch, **{self.output + name: [row.get(name) for row in rows] for name in names}}

    def _asked(self, value: Any, query: Any) -> Request | str:
        """What a row asks for, or why it cannot be read."""
        try:
            return request_of({self.column: plain(value)}, plain(query), self.column)
        except ReetError as error:
            return self._refused(error)

    def _row(self, asked: Request | str) -> dict[str, Any]:
        """The new columns of a row by the end of their names."""
        if isinstance(asked, str):
            return {"_error": asked}
        try:
            state = self.compressor.encode(asked.conversation)
            out = self.compressor.select(state, asked.query, asked.history, self.options).to_dict()
        except ReetError as error:
            return {"_error": self._refused(error)}
        if self.handling.keys is not None:
            kept: Any = as_json({key: out[key] for key in self.handling.keys}).decode("utf-8")
        else:
            kept = out["messages" if asked.conversation.form == "messages" else "text"]
        return {"": kept, "_original": out["tokens"]["original"], "_tokens": out["tokens"]["compressed"]}

    def _refused(self, error: ReetError) -> str:
        if self.handling.on_error == "stop":
            raise error
        return str(error)
