"""JSON values, alone, a line each or within text: where they are, and the parts they can be left out in.

Python's own parser says what is JSON; offsets then come from a scan that only needs to find brackets and strings.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from .parts import LEAF, Offsets, Part, container, folded, leaf, lines, trim

DEPTH = 60  # levels of nesting from which on a value is one leaf
MEMBERS = 40  # a record has no more members than this
SMALL = 400  # characters of a record's small members, which are always kept with it
RECORD = 500  # characters, white space aside, up to which an item of a list is kept as a whole or not at all
PIECE = (60, 200)  # characters of a piece of a long string
PACKED = 80  # characters of numbers that are one leaf
MANY = 2000  # items from which on neighbours are packed up to LEAF characters
IN_TEXT = 200  # characters from which on JSON within text is a block of its own
FAILURES = 500  # attempts to parse JSON within one text that may fail

_STRING = r'"[^"\\]*(?:\\.[^"\\]*)*"'
_BRACKET = re.compile(_STRING + r"|[\[\]{}]")
_ATOM = re.compile(_STRING + r"|[^\s,:\]}]+")
_SPACE = re.compile(r"[ \t\n\r]*")
_COMMA = re.compile(r"[ \t\n\r]*,?[ \t\n\r]*")
_COLON = re.compile(r"[ \t\n\r]*:[ \t\n\r]*")
_ELLIPSES = re.compile(r'"((?:…|\\u2026)+)')
_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{4}|.)")
_PAIR = r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_CHARACTERS = re.compile(rf"(?:[^\\]|{_PAIR}|\\u[0-9a-fA-F]{{4}}|\\.){{1,{PIECE[1]}}}")
_SENTENCE_END = re.compile(r"[.!?…](?:\\\"|['’”)\]])*(?= )|[。！？]")
_OPENING = re.compile(r'^[ \t]*(\{[ \t]*(?:["}]|$)|\[[ \t]*(?:["{\[\]\-0-9tfn]|$))', re.MULTILINE)
_LINE_END = re.compile(r"[ \t]*(?:[\r\n]|\Z)")

_decoder = json.JSONDecoder()


def is_json(text: str) -> bool:
    """Whether a text is one JSON object or array."""
    text = text.strip()
    return (text[:1], text[-1:]) in (("{", "}"), ("[", "]")) and _parses(text)


def json_spans(text: str) -> list[Offsets]:
    """Values of at least 200 characters that begin a line and end one, and stretches of JSON lines of that length."""
    found: list[tuple[int, int, bool]] = []  # start, end, whether it is a document on one line
    last = failures = wasted = 0
    for match in _OPENING.finditer(text):
        start = match.start(1)
        if start < last:
            continue
        try:
            _, last = _decoder.raw_decode(text, start)
        except (ValueError, RecursionError) as error:
            failures += 1
            wasted += getattr(error, "pos", len(text)) - start
            if failures > FAILURES or wasted > 4 * len(text):
                break
            continue
        if not _LINE_END.match(text, last):
            continue
        value = text[start:last]
        document = "\n" not in value and "\r" not in value and (value[0] == "{" or "," in value)
        if document and found and found[-1][2]:
            between = text[found[-1][1] : start]
            if between.isspace() and len(between.splitlines()) <= 2:
                found[-1] = (found[-1][0], last, True)
                continue
        found.append((start, last, document))
    return [(start, end) for start, end, _ in found if end - start >= IN_TEXT]


def json_part(text: str, start: int, end: int) -> Part:
    """The parts of one JSON value, or of several that have a line each; one leaf if it is neither."""
    start, end = trim(text, start, end)
    if _parses(text[start:end]):
        return _Scan(text, start, end).value(start, end, start, 0, False)
    rows = [row for row in (trim(text, *row) for row in lines(text, start, end)) if row[1] > row[0]]
    if len(rows) < 2 or not all(_parses(text[a:b]) for a, b in rows):
        return leaf(start, end)
    scan = _Scan(text, start, end)
    documents = folded([scan.value(a, b, a, 0, True) for a, b in rows], lambda part: text[part.start : part.end])
    return container(start, end, "lines", documents, '"{}"')


def member_count(text: str) -> int:
    """Members of an object, those of one key each counted."""
    return json.loads(text, object_pairs_hook=len)


def string_length(raw: str) -> int:
    """Characters of a stretch of a string's source."""
    return len(json.loads(f'"{raw}"'))


def _parses(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


class _Scan:
    """Parts of valid JSON within `text[start:end]`."""

    def __init__(self, text: str, start: int, end: int) -> None:
        self.text = text
        self.ends: dict[int, int] = {}  # of each bracketed value
        opened: list[int] = []
        for match in _BRACKET.finditer(text, start, end):
            place = match.start()
            if text[place] in "[{":
                opened.append(place)
            elif text[place] != '"':
                self.ends[opened.pop()] = place + 1

    def value(self, begin: int, end: int, start: int, depth: int, whole: bool) -> Part:
        """The part of the value `text[begin:end]`.

        Args:
            begin, end: The value.
            start: Where the part begins: at the value, or at its key.
            depth: Values around it.
            whole: Whether a small object, and one without large values, is one leaf.
        """
        opening = self.text[begin]
        if end - begin <= LEAF or depth > DEPTH:
            return leaf(start, end)
        if opening == '"':
            return container(start, end, "string", _string_pieces(self.text, begin + 1, end - 1))
        if opening == "[":
            items = [(a, b, a) for _, a, b in self.members(begin, end)]
            return container(start, end, "array", self._parts(items, depth), '"{}"')
        if opening == "{":
            return self._object(begin, end, start, depth, whole)
        return leaf(start, end)

    def _object(self, begin: int, end: int, start: int, depth: int, whole: bool) -> Part:
        if whole and end - begin <= 4 * RECORD and len("".join(self.text[begin:end].split())) <= RECORD:
            return leaf(start, end)
        members = list(self.members(begin, end))
        large = [(a, b) for _, a, b in members if b - a > LEAF]
        small = sum(b - key for key, _, b in members) - sum(b - a for a, b in large)
        if len(members) <= MEMBERS and small <= SMALL:
            if large:
                return container(start, end, "record", [self.value(a, b, a, depth + 1, False) for a, b in large])
            if whole:
                return leaf(start, end)
        parts = self._parts([(a, b, key) for key, a, b in members], depth)
        used = (_ELLIPSES.match(self.text, key) for key, _, _ in members)
        longest = max((len(match.group(1).replace("\\u2026", "…")) for match in used if match), default=0)
        return container(start, end, "map", parts, "…" * (longest + 1))

    def members(self, begin: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Start of the key (or of the item), start and end of the value of each member of an array or object."""
        text, keyed = self.text, self.text[begin] == "{"
        place = _end(_SPACE, text, begin + 1)
        while place < end - 1:
            first = place
            if keyed:
                place = _end(_COLON, text, _end(_ATOM, text, place))
            last = self.ends.get(place) or _end(_ATOM, text, place)
            yield first, place, last
            place = _end(_COMMA, text, last)

    def _parts(self, values: list[tuple[int, int, int]], depth: int) -> list[Part]:
        """Parts of the items of a list; numbers, and of very many small items all, several a leaf."""
        text, many = self.text, len(values) > MANY
        found: list[Part] = []
        room = 0  # characters up to which the last leaf may grow
        for begin, end, start in values:
            limit = LEAF if many else PACKED if text[start] not in '"[{' else 0
            if found and end - found[-1].start <= min(limit, room):
                found[-1] = leaf(found[-1].start, end, int(found[-1].mark or 1) + 1)
                continue
            found.append(self.value(begin, end, start, depth + 1, True))
            room = limit if found[-1].kind == "leaf" else 0
        return found


def _end(pattern: re.Pattern[str], text: str, place: int) -> int:
    match = pattern.match(text, place)
    return match.end() if match else place


def _string_pieces(text: str, start: int, end: int) -> list[Part]:
    """Pieces of a string's source, cut at its line breaks, else at sentences, else at spaces."""
    found: list[Offsets] = []
    for a, b in _cuts(text, start, end):
        if found and found[-1][1] - found[-1][0] < PIECE[0] and b - found[-1][0] <= PIECE[1]:
            found[-1] = (found[-1][0], b)
        else:
            found.append((a, b))
    return [leaf(a, b) for a, b in found]


def _cuts(text: str, start: int, end: int) -> Iterator[Offsets]:
    last = start
    breaks = [match.span() for match in _ESCAPE.finditer(text, start, end) if match.group() == "\\n"]
    for stop, following in [*breaks, (end, end)]:
        first, stop = trim(text, last, stop)
        while stop - first > PIECE[1]:
            cut = _cut(text, first, stop)
            yield first, cut
            first = trim(text, cut, stop)[0]
        if stop > first:
            yield first, stop
        last = following


def _cut(text: str, start: int, end: int) -> int:
    """Where to cut a long line: after at most 200 characters, none of them an escape cut in two."""
    limit = _end(_CHARACTERS, text, start)
    if limit >= end:
        return end
    sentence = [match.end() for match in _SENTENCE_END.finditer(text, start + PIECE[0], limit + 1)]
    space = text.rfind(" ", start + PIECE[0], limit)
    return min(sentence[-1], limit) if sentence else space if space > 0 else limit
