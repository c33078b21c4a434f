"""Whether an answer repeats the function that was described, as SCBench scores RepoQA (github.com/microsoft/MInference,
scbench/repo_qa_utils.py, 1aa8cd26, after github.com/evalplus/repoqa).

Of an answer with code blocks the first function in them counts, found by tree-sitter, else the first block; of any
other answer all of it. It is right if no other function that is asked about in the repository is as similar, and its
similarity is at least 0.8: sentence BLEU over words between white space, smoothed by method 4 of NLTK. Comments count.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from importlib import import_module
from typing import Any

THRESHOLD = 0.8
LANGUAGES = {  # the package of the grammar, its entry, and how it calls a function
    "python": ("tree_sitter_python", "language", "function_definition"),
    "java": ("tree_sitter_java", "language", "method_declaration"),
    "typescript": ("tree_sitter_typescript", "language_typescript", "function_declaration"),
    "rust": ("tree_sitter_rust", "language", "function_item"),
    "cpp": ("tree_sitter_cpp", "language", "function_definition"),
    "go": ("tree_sitter_go", "language", "function_declaration"),
}
_BLOCK = re.compile(r"^```\w*\s*\n(.*?)^```", re.DOTALL | re.MULTILINE)


def described(said: str, name: str, needles: Sequence[tuple[str, str]], lang: str) -> bool:
    """Whether what was said is most similar to the function called `name`, and similar enough.

    Args:
        said: The answer.
        name: Of the described function.
        needles: Names and sources of the functions it is told from, itself among them; the first of equals counts.
        lang: One of `LANGUAGES`.
    """
    code = first_function(said, lang)
    best, best_name = 0.0, None
    for each, source in needles:
        found = similarity(code, source)
        if found > best:
            best, best_name = found, each
    return best_name == name and best >= THRESHOLD


def similarity(said: str, wanted: str) -> float:
    """Smoothed sentence BLEU over words between white space, in [0, 1]; higher is more similar."""
    try:
        from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
    except ImportError as missing:
        raise ImportError("the score of SCBench's RepoQA is computed by NLTK: pip install nltk") from missing
    given, reference = (re.split(r"\s+", text.strip()) for text in (said, wanted))
    return float(sentence_bleu([reference], given, smoothing_function=SmoothingFunction().method4))


def first_function(said: str, lang: str) -> str:
    """The first function in the code blocks of an answer, else the first block, else the answer."""
    said = said.strip()
    parser = _parser(lang)
    blocks = _BLOCK.findall(said)
    for block in blocks:
        source = block.encode()
        for node in _nodes(parser.parse(source).root_node):
            if _is_function(node, lang):
                return source[node.start_byte : node.end_byte].decode()
    return blocks[0] if blocks else said


@lru_cache(maxsize=len(LANGUAGES))
def _parser(lang: str) -> Any:
    package, entry, _ = LANGUAGES[lang]
    try:
        from tree_sitter import Language, Parser

        grammar = import_module(package)
    except ImportError as missing:
        needed = " ".join(["tree-sitter", *(each[0].replace("_", "-") for each in LANGUAGES.values())])
        raise ImportError(f"functions in answers to RepoQA are found by tree-sitter: pip install {needed}") from missing
    return Parser(Language(getattr(grammar, entry)()))


def _nodes(root: Any) -> Iterator[Any]:
    """A syntax tree's nodes in the order of the text, outer ones first."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(reversed(node.children))


def _is_function(node: Any, lang: str) -> bool:
    """Whether a node is a named function; in C++ one whose name is a plain identifier."""
    if node.type != LANGUAGES[lang][2]:
        return False
    if lang != "cpp":
        return node.child_by_field_name("name") is not None
    declarator = node.child_by_field_name("declarator")
    if declarator is None or declarator.type != "function_declarator":
        return False
    inner = declarator.child_by_field_name("declarator")
    return inner is not None and inner.type == "identifier"
