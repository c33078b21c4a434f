"""Questions to a company's handbook with LlamaIndex: the model reads, of what was found, what the question needs.

Any language model of LlamaIndex will do; the one it takes by itself needs OPENAI_API_KEY:
    pip install "reet-hf[llama-index]" llama-index-llms-openai
    python examples/llama_index_rag.py "What may a hotel cost during the boat show?" --budget 150
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from llama_index.core import Document, Settings, SimpleKeywordTableIndex
from llama_index.core.base.response.schema import Response
from llama_index.core.llms import LLM
from llama_index.core.query_engine import RetrieverQueryEngine
from transformers.utils import logging

from reet_hf.integrations.llama_index import ReetNodePostprocessor

HANDBOOK = Path(__file__).parent / "handbook"


def sections() -> dict[str, str]:
    """The text of each section of the handbook by its name."""
    return {file.stem: file.read_text(encoding="utf-8").strip() for file in sorted(HANDBOOK.glob("*.md"))}


def ask(llm: LLM, question: str, budget: int) -> Response:
    """The model's answer, and in `source_nodes` what it has read: at most `budget` tokens of three sections."""
    documents = [Document(text=text, metadata={"section": name}) for name, text in sections().items()]
    index = SimpleKeywordTableIndex.from_documents(documents, llm=llm, max_keywords_per_chunk=1000)
    retriever = index.as_retriever(retriever_mode="simple", num_chunks_per_query=3)  # by words: no other model needed
    shorten = ReetNodePostprocessor(budget=budget, options={"unit": "sentence"})  # whole sentences can be cited
    return RetrieverQueryEngine.from_args(retriever, llm=llm, node_postprocessors=[shorten]).query(question)


def show(response: Response) -> None:
    """Print the answer, and for each section the places of the handbook that were kept."""
    print(f"{response}\n")
    texts = sections()
    for source in response.source_nodes:
        name = source.metadata["section"]
        print(f"{name}.md")
        for start, end in source.metadata["reet_spans"]:
            print(f"  {start:>5}-{end:<5} {' '.join(texts[name][start:end].split())}")


def main() -> None:
    """Ask the handbook one question."""
    parser = argparse.ArgumentParser(description="Ask the handbook of a boatyard.")
    parser.add_argument("question", nargs="?", default="What may a hotel cost during the boat show?")
    parser.add_argument("--budget", type=int, default=150, help="most tokens of the handbook that the model reads")
    arguments = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        llm = Settings.llm
    except (ImportError, ValueError) as error:
        sys.exit(f"{error}\nOr set Settings.llm to another model of LlamaIndex.")
    show(ask(llm, arguments.question, arguments.budget))


if __name__ == "__main__":
    main()
