"""LlamaIndex: a node postprocessor."""

from __future__ import annotations

from typing import Any

from .documents import KeptText, compress_texts
from .loading import missing

try:
    from llama_index.core.bridge.pydantic import Field
    from llama_index.core.postprocessor.types import BaseNodePostprocessor
    from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle
except ImportError as error:
    raise missing("llama-index", error) from error


class ReetNodePostprocessor(BaseNodePostprocessor):
    """Keeps of retrieved nodes what the query needs, under one budget for all of them.

    Each node stays of its kind, with its id, metadata and score, and gets `reet_spans`, the half-open characters that
    were kept, and `reet_importance`, neither of which the language model sees. One of whose text nothing is kept is
    left out; one without text, such as an image, comes back as it is.

    Attributes:
        budget: Tokens, or a keep rate, of all nodes together.
        compress: A `reet-compression` pipeline or a `Compressor`; the bundled weights if left out.
        options: Any other option of a compression, such as `tokenizer` or `unit`.
    """

    budget: float | int = 0.3
    compress: Any = Field(default=None, exclude=True)
    options: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def class_name(cls) -> str:
        """The name under which LlamaIndex knows the class."""
        return "ReetNodePostprocessor"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        texts = [each.node.get_content(metadata_mode=MetadataMode.NONE) for each in nodes]
        query = query_bundle.query_str if query_bundle is not None else None
        found = compress_texts(texts, query, self.budget, self.compress, **self.options)
        kept = {each.place: each for each in found}
        return [
            _shortened(each, kept[place]) if place in kept else each
            for place, each in enumerate(nodes)
            if place in kept or not texts[place].strip()
        ]


def _shortened(scored: NodeWithScore, kept: KeptText) -> NodeWithScore:
    """A node of the same kind with what is kept of its text."""
    told = {"reet_spans": [list(span) for span in kept.spans], "reet_importance": kept.importance}
    node = scored.node.model_copy()
    node.metadata = {**node.metadata, **told}
    for keys in ("excluded_llm_metadata_keys", "excluded_embed_metadata_keys"):
        setattr(node, keys, list(dict.fromkeys([*getattr(node, keys), *told])))
    node.set_content(kept.text)
    return scored.model_copy(update={"node": node})
