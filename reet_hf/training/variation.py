"""What later turns look like: an oldest part that was shortened before, and questions that lean on the one before."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..lexicon import FUNCTION_WORDS, WORD
from ..shortening import CONTENT, LINKING, is_prose, short_forms
from ..windows import TokenTable

LEFT_OUT = 0.3  # share of an old part's sentences without evidence that are gone
TELEGRAMS = 0.8  # share of the sentences that stay of which some words are gone
BARE = 0.8  # share of those of which the content words alone stay
ARTICLES = frozenset({"a", "an", "the", "this", "that", "these", "those"})
INNER = ARTICLES | {"of"}  # function words inside an expression
_AUXILIARIES = """
am are be can could did do does had has have is may might must shall should was were will
"""
AUXILIARIES = frozenset(_AUXILIARIES.split())
SUBJECTS, OBJECTS, POSSESSIVES = (
    ("it", "they", "he", "she"),
    ("it", "them", "him", "her"),
    ("its", "their", "his", "her"),
)


def shortened(table: TokenTable, texts: Sequence[str], needed: np.ndarray, chooser: np.random.Generator) -> np.ndarray:
    """Which tokens of a conversation stay if its oldest part, of random length, was compressed before.

    Args:
        table: Its tokens.
        texts: Text of each of its messages.
        needed: True for evidence, which no sentence that is left out may hold, of shape `(tokens,)`.
        chooser: Of every choice.

    Returns:
        True for tokens that stay, of shape `(tokens,)`: of a conversation without evidence, some at least.
    """
    kept = np.ones(len(table), dtype=bool)
    prose: dict[int, bool] = {}
    borders = [*np.flatnonzero(np.diff(table.units, prepend=-1)).tolist(), len(table)]
    old = int(chooser.integers(len(borders)))
    for start, end in zip(borders[:old], borders[1 : old + 1], strict=True):
        number = int(table.messages[start])
        body = slice(start + int((table.starts[start:end] < 0).sum()), end)
        if not needed[start:end].any() and chooser.random() < LEFT_OUT:
            kept[start:end] = False
            continue
        if number not in prose:
            prose[number] = is_prose(texts[number])
        if not prose[number] or chooser.random() >= TELEGRAMS or body.start == end:
            continue
        first, last = int(table.starts[body.start]), int(table.ends[end - 1])
        form = short_forms(texts[number], first, last, _mentioned(table, body))
        slices = np.array(form[CONTENT if chooser.random() < BARE else LINKING], dtype=np.int64).reshape(-1, 2)
        if len(slices):
            place = np.searchsorted(slices[:, 0], table.starts[body], side="right") - 1
            kept[body] = (place >= 0) & (table.ends[body] <= slices[np.maximum(place, 0), 1])
    return kept if kept.any() else ~kept


def follow_up(question: str, before: str, chooser: np.random.Generator) -> str:
    """The question with a pronoun for the longest expression that it shares with what was said before, if any.

    Args:
        question: It keeps at least one word of content.
        before: The question before with its answer.
        chooser: Of the pronoun: what is meant is not known.
    """
    known = {match.group().lower() for match in WORD.finditer(before)} - FUNCTION_WORDS | INNER
    words = [(match.group(), match.start(), match.end()) for match in WORD.finditer(question)]
    content = [word.lower() not in FUNCTION_WORDS for word, _, _ in words]
    runs: list[list[int]] = []
    for place, (word, start, _) in enumerate(words):
        if word.lower() not in known:
            continue
        if runs and runs[-1][-1] == place - 1 and question[words[place - 1][2] : start].strip() in ("", "-", "."):
            runs[-1].append(place)
        else:
            runs.append([place])
    trimmed = [_noun(run, words, content) for run in runs]
    found = [run for run in trimmed if run and sum(content) > sum(content[place] for place in run)]
    if not found:
        return question
    run = max(found, key=lambda places: words[places[-1]][2] - words[places[0]][1])
    start, end = words[run[0]][1], words[run[-1]][2]
    rest = question[end:]
    owned = rest.startswith(("'s", "’s"))
    subject = run[0] == 0 or words[run[0] - 1][0].lower() in AUXILIARIES
    before_noun = run[-1] + 1 < len(words) and content[run[-1] + 1] and rest[:1] == " "
    pronouns = SUBJECTS if subject else POSSESSIVES if owned or before_noun else OBJECTS
    named = any(words[place][0][0].isupper() for place in run)
    chosen = pronouns[int(chooser.integers(len(pronouns) if named else 2))]
    return question[:start] + (chosen.capitalize() if start == 0 else chosen) + (rest[2:] if owned else rest)


def _mentioned(table: TokenTable, rows: slice) -> list[tuple[int, int]]:
    """Characters of the runs of tokens that belong to names, numbers and the like."""
    marked = table.mentions[rows].astype(bool)
    edges = np.flatnonzero(np.diff(marked, prepend=False, append=False)).reshape(-1, 2)
    starts, ends = table.starts[rows], table.ends[rows]
    return [(int(starts[first]), int(ends[last - 1])) for first, last in edges]


def _noun(run: Sequence[int], words: Sequence[tuple[str, int, int]], content: Sequence[bool]) -> list[int]:
    """A run without function words at its ends, but for an article before it; empty if no content is left."""
    inner = [place for place in run if content[place]]
    if not inner:
        return []
    first, last = inner[0], inner[-1]
    article = first - 1 in run and words[first - 1][0].lower() in ARTICLES
    return list(range(first - article, last + 1))
