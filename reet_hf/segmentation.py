"""Text to spans: blocks that are never cut, sentences, clauses and words, each with exact offsets.

Sentence borders come from `sentencex` (Wikimedia), asked in the language of the text's script; word and grapheme
borders are those of Unicode Annex 29 as the `regex` package implements them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from weakref import WeakKeyDictionary

import numpy as np
import regex
import sentencex

from .conversation import Conversation, Message
from .diffs import diff_spans
from .errors import ReetError
from .fences import markdown_blocks
from .json_structure import is_json, json_spans
from .listings import listing_spans
from .logs import log_spans
from .parts import Part, trim
from .records import Mention, Span, Unit
from .structure import leaves, structure
from .tables import csv_spans
from .traces import trace_spans

UNITS = ("word", "clause", "sentence", "message")
SHORT_RESULT = 240  # characters; a shorter tool result is kept whole or not at all
CACHED_TEXTS = 512  # of which what was found is kept, as one turn looks at a text several times
CACHED_CHARACTERS = 10_000  # of a text that is
MAX_SENTENCE = 1500  # characters; beyond it a "sentence" is a list or a transcript without punctuation

_SCRIPT_LANGUAGE = (
    (regex.compile(r"[\p{Hiragana}\p{Katakana}]"), "ja"),
    (regex.compile(r"\p{Han}"), "zh"),
    (regex.compile(r"\p{Hangul}"), "ko"),
    (regex.compile(r"\p{Arabic}"), "ar"),
    (regex.compile(r"\p{Devanagari}"), "hi"),
    (regex.compile(r"\p{Bengali}"), "bn"),
    (regex.compile(r"\p{Tamil}"), "ta"),
    (regex.compile(r"\p{Armenian}"), "hy"),
    (regex.compile(r"\p{Greek}"), "el"),
    (regex.compile(r"\p{Cyrillic}"), "ru"),
)
_BREAK = regex.compile(r"[\r\n]")
_ENUMERATOR = regex.compile(r"\s*\(?(?:\d{1,3}(?:\.\d{1,3})*|\p{L}|[ivxIVX]{1,5})[.)]\s*")
_LINE = regex.compile(r"[^\r\n]*(?:\r\n|\n|\r|$)")
_ITEM = regex.compile(r"\s*(?:[-*+•‣◦–]|\(?\d{1,3}[.)]|\(?[a-zA-Z][.)])\s+\S|\s*#{1,6}\s|\s*>")
_CLAUSE_END = regex.compile(r"[,;:](?=\s)|[—–](?=\s|\p{L})|[，；：、،؛](?!\p{M})")
_CHUNK = regex.compile(r"[^\s\x1c-\x1f]+")  # what `str.isspace` denies; `regex` counts U+001C to U+001F as no space
_UNSPACED = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]")
_GRAPHEME = regex.compile(r"\X")
_WORD_BORDER = regex.compile(r"(?w)\b")

_DELIMITER_ROW = regex.compile(r"[ \t]*\|?[ \t]*:?-+:?[ \t]*\|[-:| \t]*(?:[\r\n]|$)")

_FINDERS = (
    ("json", json_spans),
    ("log", log_spans),
    ("trace", trace_spans),
    ("table", csv_spans),
    ("listing", listing_spans),
)

Offsets = tuple[int, int]
Block = tuple[int, int, str]


def units(conversation: Conversation, unit: str, first_message: int = 0) -> list[Unit]:
    """Units of the messages from number `first_message` on, in order, without surrounding white space.

    Structured blocks (code, tables, JSON, logs, diffs, stack traces) fall into the parts that can be left out of them,
    and tool results into sentences, whatever `unit` asks for, except that `"message"` keeps a tool call with all of
    its results together.

    Args:
        conversation: The messages.
        unit: `"word"`, `"clause"`, `"sentence"` or `"message"`.
        first_message: Where to start; earlier messages are left out.

    Raises:
        ReetError: If `unit` is none of these.
    """
    if unit not in UNITS:
        raise ReetError(f"`unit` must be one of {', '.join(UNITS)} or auto, got {unit!r}.")
    found: list[Unit] = []
    for number in range(first_message, len(conversation.messages)):
        message = conversation.messages[number]
        first = len(found)
        if unit == "message":
            group = conversation.tool_group(number)
            if group is not None:
                found.extend(Unit(number, start, end, "tool", group) for start, end in _whole(message))
                continue
            parts = (trim(message.text, start, end) for start, end in _whole(message))
            found.extend(Unit(number, start, end, "message") for start, end in parts if end > start)
        else:
            found.extend(_parts(number, message, unit))
        if len(found) == first and message.keeps_without_text:
            found.append(Unit(number, 0, 0, "message"))
    return found


def _parts(number: int, message: Message, unit: str) -> Iterator[Unit]:
    """The units of one message: parts of its structured blocks, and stretches of its running text."""
    split, name = {"sentence": sentences, "clause": clauses, "word": words}[unit], unit
    if message.answers is not None:
        split, name = _whole_or_sentences, "tool"
    structured = iter(layout(message))
    for start, end, kind in blocks_of(message):
        if kind == "text":
            yield from (Unit(number, start + a, start + b, name) for a, b in split(message.text[start:end]))
            continue
        for leaf in leaves(next(structured)):
            yield Unit(number, leaf.start, leaf.end, "repeat" if leaf.kind == "repeat" else kind)


def _whole_or_sentences(text: str) -> list[Offsets]:
    """The sentences of a text of a tool result, of a short one the whole."""
    if len(text) >= SHORT_RESULT:
        return sentences(text)
    start, end = trim(text, 0, len(text))
    return [(start, end)] if end > start else []


def blocks_of(message: Message) -> tuple[Block, ...]:
    """The blocks of a message, see `blocks`."""
    return _layout(message)[0]


def layout(message: Message) -> tuple[Part, ...]:
    """The structured blocks of a message, in order."""
    return _layout(message)[1]


_LAYOUTS: WeakKeyDictionary[Message, tuple[tuple[Block, ...], tuple[Part, ...]]] = WeakKeyDictionary()


def _layout(message: Message) -> tuple[tuple[Block, ...], tuple[Part, ...]]:
    """Parsed once for as long as the message is there."""
    known = _LAYOUTS.get(message)
    if known is None:
        found = tuple(blocks(message.text, message.borders))
        parts = tuple(structure(message.text, start, end, kind) for start, end, kind in found if kind != "text")
        known = _LAYOUTS[message] = found, parts
    return known


def _whole(message: Message) -> Iterator[Offsets]:
    """The parts of a message as they are; an empty message that carries tool calls has one empty span."""
    parts = list(zip((0, *message.borders), (*message.borders, len(message.text)), strict=True))
    kept = [part for part in parts if part[1] > part[0]]
    yield from kept or ([(0, 0)] if message.keeps_without_text else [])


def blocks(text: str, borders: tuple[int, ...] = ()) -> list[Block]:
    """Consecutive `(start, end, kind)` stretches of a text.

    `kind` is `"text"`, or `"code"` (fenced), `"table"` (a pipe table, CSV, TSV), `"json"` (also a value a line),
    `"diff"`, `"log"`, `"trace"` (a stack trace) or `"listing"` (entries of several lines) with no white space around
    it.

    Args:
        text: The text of one message.
        borders: Characters at which a new content part begins; no stretch crosses one but that of a pipe table whose
            header ends a part.
    """
    found: list[Block] = []
    inner = [border for border in borders if not splits_table(text, border)]
    for start, end in zip((0, *inner), (*inner, len(text)), strict=True):
        part = text[start:end]
        if is_json(part):
            found.append((*trim(part, 0, len(part), start), "json"))
            continue
        found.extend((start + a, start + b, kind) for a, b, kind in _structured(part))
    return [block for block in found if block[1] > block[0]]


def splits_table(text: str, border: int) -> bool:
    """Whether a content part ends with the header of a pipe table whose other rows are in the next part."""
    head = text[text.rfind("\n", 0, border - 1) + 1 : border]
    return head.endswith("\n") and "|" in head and _DELIMITER_ROW.match(text, border) is not None


def _structured(text: str) -> list[Block]:
    """Stretches of lines of one kind and the text between them."""
    diffs = diff_spans(text)
    marked = sorted([*markdown_blocks(text, diffs), *((start, end, "diff") for start, end in diffs)])
    found = _carved(0, len(text), marked)
    for kind, find in _FINDERS:
        found = [block for stretch in found for block in _searched(text, stretch, kind, find)]
    return found


def _searched(text: str, stretch: Block, kind: str, find: Callable[[str], list[Offsets]]) -> list[Block]:
    """A stretch of text with what is found in it as blocks of their kind; any other stretch as it is."""
    start, end, outer = stretch
    if outer != "text":
        return [stretch]
    return _carved(start, end, [(start + a, start + b, kind) for a, b in find(text[start:end])])


def _carved(start: int, end: int, blocks: Sequence[Block]) -> list[Block]:
    """Ordered blocks, those that begin in the one before left out, with the text before, between and after them."""
    found: list[Block] = []
    for block in blocks:
        if block[0] >= start:
            found.extend([(start, block[0], "text"), block])
            start = block[1]
    return [block for block in [*found, (start, end, "text")] if block[1] > block[0]]


def _lines(text: str) -> list[Offsets]:
    return [match.span() for match in _LINE.finditer(text) if match.end() > match.start()]


def _language(text: str) -> str:
    if not text.isascii():
        for pattern, language in _SCRIPT_LANGUAGE:
            if pattern.search(text):
                return language
    return "en"


def sentences(text: str) -> list[Offsets]:
    """Sentence spans of running text, without surrounding white space.

    A line break ends a sentence, except in hard-wrapped prose (lines of 40 to 100 characters of which at least one
    continues in lower case). Sentences over 1,500 characters are cut at clauses, then at words.
    """
    find = _sentences if len(text) <= CACHED_CHARACTERS else _sentences.__wrapped__
    return list(find(text))


@lru_cache(maxsize=CACHED_TEXTS)
def _sentences(text: str) -> tuple[Offsets, ...]:
    found: list[Offsets] = []
    for start, end in _paragraphs(text):
        flat = _BREAK.sub(" ", text[start:end])
        last = 0
        for boundary in sentencex.get_sentence_boundaries(_language(flat), flat):
            border = boundary["end_index"]
            cluster = _GRAPHEME.match(flat, border - 1) if border > last else None
            border = cluster.end() if cluster else border  # a mark on a full stop belongs to it
            if border <= last or _ENUMERATOR.fullmatch(flat, last, border):
                continue
            found.append((start + last, start + border))
            last = border
        if last < len(flat):
            found.append((start + last, end))
    trimmed = (trim(text, start, end) for start, end in found)
    return tuple(part for start, end in trimmed if end > start for part in _bounded(text, start, end))


def _paragraphs(text: str) -> Iterator[Offsets]:
    """Stretches in which a line break is no border: one line each, or a paragraph of hard-wrapped text."""
    groups: list[list[Offsets]] = [[]]
    for start, end in _lines(text):
        if text[start:end].strip():
            groups[-1].append((start, end))
        elif groups[-1]:
            groups.append([])
    wrapped = _is_wrapped([[text[start:end].rstrip() for start, end in group] for group in groups])
    for group in groups:
        if wrapped and group and not any(_ITEM.match(text, *line) for line in group):
            yield group[0][0], group[-1][1]
        else:
            yield from group


def _is_wrapped(paragraphs: list[list[str]]) -> bool:
    """Whether lines were broken at a margin: all but the last of a paragraph are of like length."""
    inner = [len(line) for lines in paragraphs for line in lines[:-1]]
    fitting = sum(40 <= length <= 100 for length in inner)
    return (
        bool(inner)
        and fitting >= 0.9 * len(inner)
        and any(line[:1].islower() for lines in paragraphs for line in lines[1:])
    )


def _bounded(text: str, start: int, end: int) -> list[Offsets]:
    if end - start <= MAX_SENTENCE:
        return [(start, end)]
    parts: list[Offsets] = []
    for a, b in (piece for clause in _split_clauses(text, start, end) for piece in _split_words(text, *clause)):
        if parts and b - parts[-1][0] <= MAX_SENTENCE // 2:
            parts[-1] = (parts[-1][0], b)
        else:
            parts.append((a, b))
    return parts


def _split_words(text: str, start: int, end: int) -> list[Offsets]:
    if end - start <= MAX_SENTENCE // 2:
        return [(start, end)]
    return [(start + a, start + b) for a, b in words(text[start:end])]


def clauses(text: str) -> list[Offsets]:
    """Clause spans: sentences cut after commas, semicolons, colons and dashes that end a stretch of 12 characters."""
    return [clause for start, end in sentences(text) for clause in _split_clauses(text, start, end)]


def _split_clauses(text: str, start: int, end: int) -> list[Offsets]:
    found: list[Offsets] = []
    last = start
    for match in _CLAUSE_END.finditer(text, start, end):
        minimum = 12 if text[match.start()].isascii() else 6
        if match.end() - last >= minimum and end - match.end() >= minimum:
            found.append(trim(text, last, match.end()))
            last = match.end()
    found.append(trim(text, last, end))
    return [clause for clause in found if clause[1] > clause[0]]


def words(text: str) -> list[Offsets]:
    """Word spans: stretches without white space, cut further only in scripts that write without spaces.

    So an identifier, a decimal number, a URL or an emoji with its modifiers is one word with its punctuation.
    """
    found: list[Offsets] = []
    for match in _CHUNK.finditer(text):
        if match.group().isascii() or not _UNSPACED.search(match.group()):
            found.append(match.span())
            continue
        borders = {border.start() for border in _WORD_BORDER.finditer(text, *match.span())}
        graphemes = {cluster.start() for cluster in _GRAPHEME.finditer(text, *match.span())}
        inner = sorted({match.start(), *(borders & graphemes), match.end()})
        found.extend(_join_punctuation(text, list(zip(inner, inner[1:], strict=False))))
    return found


def _join_punctuation(text: str, spans: list[Offsets]) -> list[Offsets]:
    joined: list[Offsets] = []
    for start, end in spans:
        if joined and not any(character.isalnum() for character in text[start:end]):
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined


def span_array(spans: Sequence[Span | Unit | Mention]) -> np.ndarray:
    """`(message, start, end)` of each span, of shape `(spans, 3)`."""
    return np.array([(span.message, span.start, span.end) for span in spans], dtype=np.int64).reshape(-1, 3)
