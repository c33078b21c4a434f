"""Words as retention and lexical matching see them: which carry content, and which are forms of one another."""

from __future__ import annotations

import zlib
from functools import lru_cache

import regex
import snowballstemmer

_FUNCTION_WORDS = """
a about above after again all also am an and any are as at be because been before being below between both but by can
could did do does doing down during each few for from further had has have having he her here hers herself him himself
his how i if in into is it its itself just me more most my myself no nor not now of off on once only or other our ours
ourselves out over own same shall she should so some such than that the their theirs them themselves then there these
they this those through to too under until up upon us very was we were what when where which while who whom whose why
will with would you your yours yourself yourselves
s t d ll m re ve don didn doesn isn aren wasn weren hasn haven hadn won wouldn couldn shouldn
"""
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())
"""English words that mostly carry grammar; they are the ones retention measures ignore."""

_KEPT_WORDS = """
no nor not t don didn doesn isn aren wasn weren hasn haven hadn won wouldn couldn shouldn against only if or until than
above after before below down few more most off over under up
"""
_LINKING_WORDS = """
i me my you your yours he him his she her hers it its we us our ours they them their theirs himself herself
themselves myself yourself because but while when where why who whom whose how what which all any both each other own
out about between during through into from to by for with in on at can could shall should will would again once same
"""
LINKING_WORDS = frozenset(_LINKING_WORDS.split())
"""Function words that say who, where, when or how things hang together."""
FILLER_WORDS = FUNCTION_WORDS - LINKING_WORDS - frozenset(_KEPT_WORDS.split())
"""Function words without which a sentence says the same: articles, auxiliaries, "and"; no negation, no comparison."""

WORD = regex.compile(r"[\p{L}\p{N}]+")
_stem = snowballstemmer.stemmer("english").stemWord


def content_words(text: str) -> list[tuple[str, int, int]]:
    """Lower-cased alphanumeric words of `text` with their characters, function words left out.

    If every word is a function word, all of them are returned, so that a text with words is never empty.
    """
    words = [(match.group().lower(), match.start(), match.end()) for match in WORD.finditer(text)]
    return [word for word in words if word[0] not in FUNCTION_WORDS] or words


def has_content(text: str) -> bool:
    """Whether a text has a word that is no function word."""
    return any(match.group().lower() not in FUNCTION_WORDS for match in WORD.finditer(text))


@lru_cache(maxsize=1 << 17)
def word_identity(word: str) -> int:
    """A positive number shared by the inflected forms of a word; 0 for function words and punctuation.

    Forms are joined by the Snowball English stemmer (Porter, 2001); words of other scripts are only lower-cased.
    """
    word = word.strip().lower()
    if word in FUNCTION_WORDS or not any(character.isalnum() for character in word):
        return 0
    return zlib.crc32(_stem(word).encode("utf-8", "surrogatepass")) or 1
