"""What users lose first, found by rules: names, numbers, dates, identifiers, addresses and stated constraints."""

from __future__ import annotations

from functools import lru_cache

import regex

from .conversation import Conversation
from .records import Mention
from .segmentation import CACHED_CHARACTERS, CACHED_TEXTS, sentences

_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Sept|Oct|Nov|Dec)(?:[a-z]{0,6})\.?"
_DAY = r"(?:(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)days?\b|(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)(?=[.,] ?\d))"
_NTH = r"\d{1,2}(?:st|nd|rd|th)"
_CLOCK = r"\d{1,2}(?:[:.]\d{2}(?::\d{2})?\s?[ap]\.?m\b\.?|\s?[ap]\.?m\b\.?|:\d{2}(?::\d{2})?\b|\s?o['’]clock\b)"
_UNIT = (
    r"%|percent|per cent|million|billion|trillion|thousand|hundred|dozen|[kKMGT]i?B|[kMG]?Hz|[kM]?W|kWh|[kcm]m|km/h|mph"
    r"|m|g|mg|kg|l|ml|ms|s|min|h|h(?:ou)?rs?|minutes?|seconds?|days?|weeks?|months?|years?|miles?|met(?:er|re)s?|feet|ft"
    r"|inch(?:es)?|pounds?|lbs?|tons?|lit(?:er|re)s?|degrees?|°[CF]|USD|EUR|GBP|dollars?|euros?|cents?|people|persons?"
    r"|guests?|nights?|tickets?|tokens?|pages?|words?|x"
)
_FILE = (
    r"py|md|txt|json|ya?ml|csv|tsv|pdf|docx?|xlsx?|pptx?|html?|css|jsx?|tsx?|java|cpp|rs|go|sh|toml|ini|cfg|log|png"
    r"|jpe?g|zip|gz"
)
_CAPITALISED = r"\p{Lu}[\p{L}\p{M}]*+(?:['’.-]\p{L}[\p{L}\p{M}]*+){0,12}+(?![-_]?\d)"
_PATTERNS = (
    ("URL", r"(?:https?://|www\.)[^\s<>\"']*[^\s<>\"'.,;:!?)\]]"),
    ("EMAIL", r"(?<![\w.+-])[\w.+-]++@[\w-]+(?:\.[\w-]+)+"),
    (
        "PATH",
        r"(?<![\w/])(?:~|\.{1,2})?(?:/[\w.@+-]+){2,}/?|\b[A-Za-z]:\\[\w.\\ -]+"
        rf"|(?<![\w./-])[\w-]+(?:/[\w.-]+)*\.(?:{_FILE})\b",
    ),
    (
        "DATE",
        r"\b\d{4}-\d{2}-\d{2}(?:T[\d:.]+Z?)?\b|\b\d{1,2}[./]\d{1,2}[./]\d{2,4}\b"
        rf"|\b(?:{_NTH}\s+(?:of\s+)?)?{_MONTH}\s+{_NTH}(?:,?\s+\d{{4}})?\b|\b{_MONTH}\s+\d{{1,2}}(?:,?\s+\d{{4}})?\b"
        rf"|\b(?:{_NTH}|\d{{1,2}})\s+(?:of\s+)?{_MONTH}(?:,?\s+\d{{4}})?\b|\b{_MONTH},?\s+\d{{4}}\b"
        rf"|\b(?:(?:next|last|this)\s+)?{_DAY}|\b(?:half past|quarter (?:past|to))\s+\w+|\b{_CLOCK}"
        rf"|(?<=\b[Tt]he\s){_NTH}(?=\s*(?:$|[.,;:!?)]|(?:of|at|in|and|or|to|for)\b))|\bQ[1-4]\s+\d{{4}}\b|\b\d{{4}}s\b",
    ),
    (
        "IDENTIFIER",
        r"\+\d[\d ().-]{6,}\d|\(\d{3}\)\s?\d{3}-\d{4}|\b\d{3}-\d{3}-\d{4}\b|(?<!\w)[@#][A-Za-z]\w+"
        r"|(?<![\w-])--[A-Za-z][\w-]*[A-Za-z0-9]|(?<!\S)-[A-Za-z](?!\S)|\b[A-Za-z_]\w*+(?:\.[A-Za-z_]\w*+){0,8}+\(\)|\b[a-z]+(?:[A-Z][a-z0-9]+)+\b"
        r"|(?<![\w.])(?=[\w.]{0,64}_)[A-Za-z]\w*+(?:\.\w++){0,8}+|(?<![\w.])\w++(?:\.\w++){1,8}+(?=\()|\bv\d+(?:\.\d+)+"
        rf"|\b(?!{_NTH}\b)(?!\d+(?:\.\d+)?(?:{_UNIT})\b)(?=[\w#-]{{0,64}}\d)(?=[\w#-]{{0,64}}[A-Za-z])"
        r"[A-Za-z0-9#]+(?:[-_][A-Za-z0-9]+)*\b"
        r"|#\d+|\bv?\d+(?:\.\d+){2,}|\b\w+_\w+\b",
    ),
    (
        "NUMBER",
        rf"[$€£¥]\s?\d+(?:[.,]\d+)*(?:\s?(?:{_UNIT})(?!\w))?|\b{_NTH}\b"
        rf"|(?<![\w.,])[-−]?\d+(?:[.,]\d+)*(?:[-\s]?(?:{_UNIT})(?!\w))?",
    ),
    ("NAME", rf"\b{_CAPITALISED}(?:[ \t]+(?:(?:of|the|de|van)[ \t]+)*(?!{_DAY}){_CAPITALISED})*"),
)
_MENTION = regex.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in _PATTERNS))
_NO_RULE = r"(?:know|think|mind|care|worry|see|get|understand|remember|recall|believe|you|we|they)\b"
_NOT = r"(?:n['’]t|\s+not)"
_CONSTRAINT = regex.compile(
    rf"\b(?:always|never(?!\s+(?:mind|heard|seen|been|knew|thought)\b)|must(?:{_NOT})?|(?:should|ought|may|shall){_NOT}"
    rf"|(?<!\b(?:I|we|they|you|who|which|people)\s)do{_NOT}(?!\s+{_NO_RULE})"
    rf"|(?:I|we)\s+do{_NOT}\s+(?:want|like|eat|drink|use|take|allow|accept|need|do)"
    r"|cannot(?!\s+(?:find|see|remember|recall|believe|tell|understand|wait|log|get|open)\b)"
    r"|can['’]t\s+(?:eat|drink|have|exceed|spend|share|be)|only\s+use|use\s+only|(?:reply|answer|respond|write|speak)\s+only"
    r"|please\s+only|make\s+sure|ensure|be\s+sure\s+to|at\s+(?:most|least)|no\s+(?:more|less|fewer|longer|later)\s+than"
    r"|avoid|refrain\s+from|stick\s+to|under\s+no\s+circumstances|in\s+no\s+case|from\s+now\s+on"
    r"|(?:please\s+|^\s*|[.!;:,]\s+)remember\s+(?:to|that)|I(?:['’]d|\s+would)?\s+(?:strongly\s+)?prefer|allergic\s+to"
    r"|(?:forbidden|prohibited|not\s+allowed|required)\s+to|you\s+(?:need|have)\s+to|instead\s+of\s+asking"
    r"|unless\s+I\s+(?:say|ask|tell)|limit\s+(?:it|yourself|your\s+\w+|all\s+\w+)\s+to)\b",
    regex.IGNORECASE,
)
_REQUEST = regex.compile(r"\b(?:can|could|would|will)\s+you\b|\bplease\b", regex.IGNORECASE)
_ASKS = regex.compile(r"[?？][\s\"'”’)\]]*$")
_SENTENCE_START = regex.compile(r"(?:^|[.!?:;\n\"“(\[]\s*|[-*]\s+)$")
COMPANY = 20  # messages back to which another named user makes a conversation one of several people
_INSTRUCTING = ("system", "developer", "user")


def typed_spans(text: str) -> tuple[tuple[str, int, int], ...]:
    """Type and characters of the names, numbers, dates, identifiers and addresses of a text, in order, no overlap."""
    find = _typed_spans if len(text) <= CACHED_CHARACTERS else _typed_spans.__wrapped__
    return find(text)


@lru_cache(maxsize=CACHED_TEXTS)
def _typed_spans(text: str) -> tuple[tuple[str, int, int], ...]:
    found = []
    for match in _MENTION.finditer(text):
        kind = match.lastgroup or ""
        if kind == "NAME" and " " not in match.group() and not _is_name(text, match):
            continue
        found.append((kind, match.start(), match.end()))
    return tuple(found)


def _is_name(text: str, match: regex.Match) -> bool:
    """Whether one capitalised word is a name: not at the start of a sentence, or in capitals throughout."""
    word = match.group()
    if len(word) > 1 and word.isupper():
        return True
    before = text[max(0, match.start() - 4) : match.start()]
    return word != "I" and not word.startswith(("I'", "I’")) and not _SENTENCE_START.search(before)


def mention_spans(text: str) -> list[tuple[int, int]]:
    """Characters of the names, numbers, dates, identifiers and addresses in a text, in order, without overlap."""
    return [(start, end) for _, start, end in typed_spans(text)]


def find_mentions(conversation: Conversation) -> list[Mention]:
    """Every mention and every stated constraint of a conversation, in order.

    A constraint is a sentence of a system, developer or user message that says what must, must never or must always
    be done; what several named users say to each other is none.

    Types are `URL`, `EMAIL`, `PATH`, `DATE`, `IDENTIFIER`, `NUMBER`, `NAME` and `CONSTRAINT`.
    """
    return [m for number in range(len(conversation.messages)) for m in message_mentions(conversation, number)]


def states_constraint(sentence: str) -> bool:
    """Whether a sentence says what must, must never or must always be done; a question does if it asks for that."""
    if not _CONSTRAINT.search(sentence):
        return False
    return not _ASKS.search(sentence) or _REQUEST.search(sentence) is not None


def _instructs(conversation: Conversation, number: int) -> bool:
    """Whether who speaks may instruct: system, developer and user, but not people who talk with each other."""
    messages, own = conversation.messages, conversation.messages[number]
    if own.role != "user" or not own.name:
        return own.role in _INSTRUCTING
    before = (message for message in messages[max(0, number - COMPANY) : number] if message.role == "user")
    return all(message.name in ("", own.name) for message in before)


def message_mentions(conversation: Conversation, number: int) -> list[Mention]:
    """The mentions and constraints of message `number`."""
    message = conversation.messages[number]
    text = message.text
    found = [Mention(text[start:end], kind, number, start, end) for kind, start, end in typed_spans(text)]
    if _instructs(conversation, number) and _CONSTRAINT.search(text):
        for start, end in sentences(text):
            if states_constraint(text[start:end]):
                found.append(Mention(text[start:end], "CONSTRAINT", number, start, end))
    return sorted(found, key=lambda mention: (mention.start, mention.end))
