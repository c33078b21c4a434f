"""What of a document of lm-evaluation-harness is the context and what the question, and where it stands in a prompt."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from eval.tasks import public
from eval.tasks.longbench import parts
from eval.tasks.longbench_prompts import QUERIES
from eval.tasks.passages import passages
from reet_hf.errors import ReetError

Document = Mapping[str, Any]

# Fields of a context, in this order, and of its question; an `input` alone is a prompt, not a context.
FIELDS: Mapping[str, tuple[str, ...]] = {
    "context": ("question", "query", "input"),
    "passage": ("question", "query"),
    "article": ("question", "query"),
    "input": ("question", "query"),
}
# Whole prompts in `input`: RULER's (lm_eval/tasks/ruler of lm-eval 0.4.13, after NVIDIA/RULER, arXiv:2404.06654).
PROMPTS = tuple(
    re.compile(pattern, re.DOTALL)
    for pattern in (
        r"(?:Some|A) special magic .{1,20} hidden within the following text\..{1,120}? afterwards\.\n(?P<context>.+)\n"
        r"(?P<question>What (?:are all|is) the special magic .+\?)\s*",
        r".*Memorize and track the chain\(s\) of variable assignment hidden in the following text\.\n\n(?P<context>.+)"
        r"\nQuestion: (?P<question>Find all variables that are assigned the value .+ in the text above\.)\s*",
        r".*Memorize the ones that appear most often\.\n(?P<context>.+)\n"
        r"Question: (?P<question>What are the 10 most common words in the above list\?)\s*",
        r"Read the following coded text and track .+? Find the three most frequently appeared coded words\. "
        r"(?P<context>.+)\nQuestion: (?P<question>Do not provide any explanation\. .+)",
        r"Answer the question based on the given documents\..+?The following are given documents\.\n\n(?P<context>.+)"
        r"\n\nAnswer the question based on the given documents\..+?\n\nQuestion: (?P<question>.+)",
    )
)


@dataclass(frozen=True)
class Place:
    """The context of a document in a prompt.

    Attributes:
        start, end: Half-open characters of the prompt.
        question: What is asked about it, or `None` where the document asks nothing.
        messages: The context as our own tasks cut such a text (`eval.tasks.longbench`, `eval.tasks.ruler`), so that a
            system keeps the same of it in both.
    """

    start: int
    end: int
    question: str | None
    messages: tuple[Mapping[str, str], ...]


def _numbered(context: str) -> list[dict[str, str]]:
    return [public.document(part) for part in parts(context)]


def _even(context: str) -> list[dict[str, str]]:
    return passages(context).messages


Cut = Callable[[str], list[dict[str, str]]]


@dataclass(frozen=True)
class Fields:
    """Where documents have what they are about.

    Attributes:
        context: Name of the field with the context; without it the usual names are tried, then RULER's prompts.
        question: Name of the field with the question; without it the usual names are tried.
    """

    context: str | None = None
    question: str | None = None

    def find(self, document: Document, prompt: str) -> Place:
        """The one place in `prompt` where the context of the document stands.

        Raises:
            ReetError: If the document has no context, or it stands in the prompt not at all or more than once.
        """
        context, question, cut = self._parts(document)
        text = context if context in prompt else context.strip()
        count = prompt.count(text)
        if count != 1:
            raise ReetError(
                "`context_field` must name a field whose text stands once in the prompt, but that of this document "
                f"({len(context)} characters) stands in it {count} times; name one of {_names(document)}, or ask "
                "without examples of the same text."
            )
        start = prompt.index(text)
        return Place(start, start + len(text), question, tuple(cut(text)))

    def _parts(self, document: Document) -> tuple[str, str | None, Cut]:
        """Context, question, and how the context is cut.

        Sets of LongBench without a question of their own ask what `eval.tasks.longbench` asks there.
        """
        same = QUERIES.get(str(document.get("dataset")).removesuffix("_e"))
        for name in [self.context] if self.context else list(FIELDS):
            question = next(self._questions(document, name), same)
            if _is_text(document.get(name)) and (self.context or name != "input" or question):
                return document[name], question, _numbered
        if not self.context:
            whole = str(document.get("input"))
            found = next(filter(None, (pattern.fullmatch(whole) for pattern in PROMPTS)), None)
            if found:
                return found["context"], found["question"].strip(), _even
        raise ReetError(
            f"`context_field` must name a field with text, but this document has none in "
            f"{self.context or ', '.join(FIELDS)}; name one of {_names(document)}, or let such requests through whole "
            "with without_context=pass."
        )

    def _questions(self, document: Document, context: str) -> Iterator[str]:
        names = (self.question,) if self.question else FIELDS.get(context, FIELDS["context"])
        return (document[name].strip() for name in names if name != context and _is_text(document.get(name)))


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _names(document: Document) -> str:
    return ", ".join(name for name, value in document.items() if _is_text(value)) or "nothing"
