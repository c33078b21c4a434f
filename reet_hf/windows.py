"""Messages as tokens, and the windows in which the encoder reads them.

Windows fill greedily at message and sentence borders. A window is final once the next sentence did not fit, so a
conversation that grew message by message has the windows of one made at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import segmentation
from .conversation import Conversation
from .lexicon import word_identity
from .mentions import mention_spans


@dataclass(frozen=True)
class TokenTable:
    """One row per token of the encoder's tokenizer, in reading order; every field has the same length.

    Attributes:
        ids: Vocabulary ids, no special tokens.
        messages: Number of the token's message.
        starts: First character in that message; -1 for the tokens of a speaker label.
        ends: Character after the last one; -1 for labels.
        units: Number of the sentence the token lies in, counted over the whole conversation.
        words: Identity of the word (`lexicon.word_identity`), 0 where it carries no content.
        mentions: 1 where the token belongs to a name, number, date, identifier or the like.
        begins: 1 where the token begins a word, as the tokenizer parts text before its vocabulary does.
        shapes: How that word is written, see `word_shape`.
    """

    ids: np.ndarray
    messages: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    units: np.ndarray
    words: np.ndarray
    mentions: np.ndarray
    begins: np.ndarray
    shapes: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    def extend(self, other: TokenTable) -> TokenTable:
        """The rows of both, `other` after these."""
        return TokenTable(*(np.concatenate([getattr(self, n), getattr(other, n)]) for n in _COLUMNS))

    def only(self, rows: slice | np.ndarray) -> TokenTable:
        """Some of the rows, in order: a slice, or a mask of shape `(tokens,)`."""
        return TokenTable(*(getattr(self, name)[rows] for name in _COLUMNS))

    @classmethod
    def from_rows(cls, rows: Sequence[tuple[int, ...]]) -> TokenTable:
        """A table of `(id, message, start, end, unit, word, mention, begin, shape)` rows."""
        columns = np.array(rows, dtype=np.int64).reshape(-1, len(_COLUMNS))
        return cls(*columns.T.copy())


BEFORE = -1  # the word of tokens that are read before a query and are no part of it

_COLUMNS = tuple(TokenTable.__dataclass_fields__)


def tokenize(conversation: Conversation, tokenizer: Any, first_message: int = 0, first_unit: int = 0) -> TokenTable:
    """The tokens of the messages from number `first_message` on.

    Args:
        conversation: The messages.
        tokenizer: A fast Hugging Face tokenizer, the encoder's own.
        first_message: Where to start.
        first_unit: Number of the first sentence.
    """
    rows: list[tuple[int, ...]] = []
    unit = first_unit
    messages = conversation.messages[first_message:]
    texts = [part for message in messages for part in (_label(message), message.text)]
    encodings = tokenizer(texts, add_special_tokens=False, verbose=False).encodings if texts else []
    for offset, message in enumerate(messages):
        number = first_message + offset
        label, body = encodings[2 * offset], encodings[2 * offset + 1]
        rows.extend(
            (token, number, -1, -1, unit, identity, 1, begins, shape)
            for token, (identity, begins, shape) in zip(label.ids, _words(_label(message), label), strict=True)
        )
        borders = sentence_borders(message.text, message.borders)
        rows.extend(_body_rows(message.text, body, number, unit, borders))
        unit += max(len(borders), 1)
    return TokenTable.from_rows(rows)


def sentence_borders(text: str, part_borders: tuple[int, ...] = ()) -> list[int]:
    """First characters of the sentences and blocks of a text, in order."""
    starts: list[int] = []
    for start, end, kind in segmentation.blocks(text, part_borders):
        if kind == "text":
            starts.extend(start + a for a, _ in segmentation.sentences(text[start:end]))
        else:
            starts.append(start)
    return starts


def _label(message: Any) -> str:
    return f"{message.label}:" if message.label else ""


def _body_rows(text: str, encoding: Any, number: int, unit: int, borders: list[int]) -> list[tuple[int, ...]]:
    offsets = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)
    sentence = np.maximum(np.searchsorted(np.array(borders or [0]), offsets[:, 0], side="right") - 1, 0) + unit
    mentioned = np.zeros(len(text) + 1, dtype=np.int64)
    for start, end in mention_spans(text):
        mentioned[start:end] = 1
    return [
        (token, number, start, end, place, identity, mentioned[start], begins, shape)
        for token, (start, end), place, (identity, begins, shape) in zip(
            encoding.ids, offsets.tolist(), sentence.tolist(), _words(text, encoding), strict=True
        )
    ]


def _words(text: str, encoding: Any) -> list[tuple[int, int, int]]:
    """Of each token the identity of its whole word, whether it begins it, and the word's shape."""
    found: list[tuple[int, int, int]] = []
    numbers, offsets = encoding.word_ids, encoding.offsets
    first = 0
    while first < len(numbers):
        last = first
        while last + 1 < len(numbers) and numbers[last + 1] == numbers[first] and numbers[first] is not None:
            last += 1
        word = text[offsets[first][0] : offsets[last][1]].strip()
        identity, shape = word_identity(word), word_shape(word)
        found.extend((identity, int(place == first), shape) for place in range(first, last + 1))
        first = last + 1
    return found


def word_shape(word: str) -> int:
    """How a word is written, which an uncased vocabulary does not tell.

    1: small letters; 2: capitalised; 3: capitals; 4: digits; 5: digits and letters; 6: no letter or digit;
    7: any other mixture of small letters and capitals; 8: one capital.
    """
    letters = any(character.isalpha() for character in word)
    if any(character.isdigit() for character in word):
        return 5 if letters else 4
    if not letters:
        return 6
    if word.isupper():
        return 8 if len(word) == 1 else 3
    if word[0].isupper() and not any(character.isupper() for character in word[1:]):
        return 2
    return 7 if any(character.isupper() for character in word) else 1


def special_frame(tokenizer: Any) -> tuple[list[int], list[int]]:
    """The special tokens that the tokenizer puts before and after a single text."""
    bare = tokenizer("a", add_special_tokens=False).input_ids
    framed = tokenizer("a", add_special_tokens=True).input_ids
    first = framed.index(bare[0])
    return list(framed[:first]), list(framed[first + len(bare) :])


def query_tokens(
    text: str, tokenizer: Any, limit: int, turns: Sequence[str] = (), context: int = 0
) -> tuple[list[int], list[int]]:
    """Vocabulary ids and word identities of a query, special tokens included, of at most `limit` tokens.

    A longer query keeps its beginning and its end: what is asked mostly stands at one of them. Earlier turns stand
    before it, so that the encoder reads a pronoun beside what it stands for; their tokens have the word `BEFORE`.

    Args:
        text: The query.
        tokenizer: The encoder's fast tokenizer.
        limit: Tokens of the query.
        turns: Earlier turns, the last one last.
        context: Tokens of all of them; the newest are read, each cut like the query to half of that.
    """
    before, after = special_frame(tokenizer)
    encodings = tokenizer([text, *turns], add_special_tokens=False, verbose=False).encodings
    room = limit - len(before) - len(after)
    words = _ends([identity for identity, _, _ in _words(text, encodings[0])], room)
    ids = _ends(encodings[0].ids, room)
    earlier: list[int] = []
    for encoding in reversed(encodings[1:]):
        turn = [*_ends(encoding.ids, max(context // 2 - len(after), 1)), *after]
        if len(earlier) + len(turn) > context:
            break
        earlier = [*turn, *earlier]
    marks = [BEFORE] * len(earlier)
    return before + earlier + ids + after, [0] * len(before) + marks + words + [0] * len(after)


def _ends(row: Sequence[int], room: int) -> list[int]:
    """A row that is too long without its middle."""
    return list(row) if len(row) <= room else [*row[: room // 2], *row[len(row) - room + room // 2 :]]


def plan_windows(units: np.ndarray, capacity: int, start: int = 0) -> list[tuple[int, int]]:
    """Half-open token ranges of the windows that cover tokens `start` to the end.

    Args:
        units: Sentence number of every token, never falling.
        capacity: Tokens a window holds, special tokens not counted; a longer sentence is cut at it.
        start: First token of the first window: the end of the last final window.
    """
    total = len(units)
    borders = np.flatnonzero(np.diff(np.asarray(units)[start:], prepend=-1)) + start
    ends = [*borders[1:].tolist(), total] if total > start else []
    windows: list[tuple[int, int]] = []
    first = last = start
    for end in ends:
        if end - first > capacity and last > first:
            windows.append((first, last))
            first = last
        while end - first > capacity:
            windows.append((first, first + capacity))
            first += capacity
        last = end
    if last > first:
        windows.append((first, last))
    return windows


def rarity(vocabulary: np.ndarray, counts: np.ndarray, tokens: int) -> np.ndarray:
    """How rare each word is in its conversation, from 0 (carries no content) to 1 (occurs once).

    Args:
        vocabulary: Word identities, each once, 0 for no content.
        counts: How many tokens belong to each.
        tokens: Tokens of the conversation.
    """
    shares = 1.0 - np.log(counts) / np.log(max(tokens, 2))
    return np.where(vocabulary == 0, 0.0, shares).astype(np.float32)


def token_rarity(words: np.ndarray) -> np.ndarray:
    """`rarity` of each token's word, of the shape of `words`."""
    vocabulary, places, counts = np.unique(words, return_inverse=True, return_counts=True)
    return rarity(vocabulary, counts, len(words))[places]
