"""What an Inference Endpoint calls: compression and extraction of one input, by the same service as the servers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import transformers

from ..conversation import shown
from ..errors import ReetError
from .service import OPTIONS, Service
from .settings import Settings

TASKS = ("compress", "extract")


class EndpointHandler:
    """Serves one model; an endpoint makes it once, with the folder of the repository.

    Args:
        path: A folder with a saved model and tokenizer, or a Hub id.
    """

    def __init__(self, path: str = "") -> None:
        load: Any = transformers.pipeline  # its overloads know the library's own tasks only
        self._service = Service.of(load("reet-compression", model=path).compressor, Settings())

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """The result for one request.

        Args:
            data: `inputs`: a text, messages, or a dictionary of either with `query` and `history`; `parameters`: the
                options of the compression, or `output_format` of the extraction; `task`: "compress", which is the
                default, or "extract".

        Returns:
            What the pipeline returns for a compression; for an extraction `{"output_format", "result"}`.

        Raises:
            ReetError: If the request cannot be honoured.
        """
        task, parameters = data.get("task", "compress"), data.get("parameters") or {}
        if unknown := sorted(set(data) - {"inputs", "parameters", "task"}):
            raise ReetError(
                f"A request has `inputs`, `parameters` and `task`, got also {shown(unknown)}; leave it out."
            )
        if "inputs" not in data:
            raise ReetError("A request needs `inputs`: a text, messages, or a dictionary of either with a query.")
        if not isinstance(parameters, Mapping):
            raise ReetError(f"`parameters` must be a dictionary of options, got {shown(parameters)}.")
        if task == "compress":
            return self._service.compress(data["inputs"], _known(parameters))
        if task != "extract":
            raise ReetError(f"`task` must be one of {', '.join(TASKS)}, got {shown(task)}.")
        if unknown := sorted(set(parameters) - {"output_format"}):
            raise ReetError(
                f"An extraction has the parameter `output_format`, got also {shown(unknown)}; leave it out."
            )
        written = parameters.get("output_format", "json")
        return {"output_format": written, "result": self._service.extract(data["inputs"], written)}


def _known(parameters: Mapping[str, Any]) -> dict[str, Any]:
    if unknown := sorted(set(map(str, parameters)) - set(OPTIONS)):
        raise ReetError(f"`parameters` must be of {', '.join(OPTIONS)}, got also {shown(unknown)}; leave it out.")
    return dict(parameters)
