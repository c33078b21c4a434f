"""LlamaIndex: a node postprocessor."""

from __future__ import annotations

from typing import Any

from .documents import compress_texts
from .loading import missing

try:
    from llama_index.core.bridge.pydantic import Field
    from llama_index.core.postprocessor.types import BaseNodePostprocessor
    from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle, TextNode
except ImportError as error:
    raise missing("llama-index", error) from error


class ReetNodePostprocessor(BaseNodePostprocessor):
    """Keeps of retrieved nodes what the query needs, under one budget for all of them.

    Each node keeps its id, its metadata and its score and gets `reet_spans`, the half-open characters that were kept,
    and `reet_importance`, neither of which the language model sees; a node of which nothing is kept is left out.

    Attributes:
        budget: Tokens, or a keep rate, of all nodes together.
        compress: A `reet-compression` pipeline or a `Compressor`; the bundled weights if left out.
        options: Any other option of a compression, such as `tokenizer` or `unit`.
    """

    budget: float | int = 0.3
    compress: Any = None
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
        found = []
        for kept in compress_texts(texts, query, self.budget, self.compress, **self.options):
            node, score = nodes[kept.place].node, nodes[kept.place].score
            told = {"reet_spans": [list(span) for span in kept.spans], "reet_importance": kept.importance}
            shorter = TextNode(
                id_=node.node_id,
                text=kept.text,
                metadata={**node.metadata, **told},
                excluded_llm_metadata_keys=[*node.excluded_llm_metadata_keys, *told],
                excluded_embed_metadata_keys=[*node.excluded_embed_metadata_keys, *told],
                relationships=node.relationships,
            )
            found.append(NodeWithScore(node=shorter, score=score))
        return found
