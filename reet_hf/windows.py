"""Messages as tokens, and the windows in which the encoder reads them.

Windows fill greedily at message and sentence borders. A window is final once the next sentence did not fit, so a
conversation that grew message by message has the windows of one made at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from . import segmentation
from .conversation import Conversation, Message
from .deadlines import check_deadline
from .lexicon import word_identity
from .mentions import mention_spans
from .structure import leaf_borders


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


BATCH_CHARACTERS = 1 << 18  # of messages that are tokenized together: what a tokenizer says of them takes much room
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
    parts = [TokenTable.from_rows([])]
    unit = first_unit
    for batch in _batches(conversation.messages, first_message):
        texts = [part for number in batch for part in _texts(conversation.messages[number])]
        encodings = tokenizer(texts, add_special_tokens=False, verbose=False).encodings
        for place, number in enumerate(batch):
            message = conversation.messages[number]
            label, body = encodings[2 * place], encodings[2 * place + 1]
            borders = sentence_borders(message)
            parts.append(_label_rows(message, label, number, unit))
            parts.append(_body_rows(message.text, body, number, unit, borders))
            unit += max(len(borders), 1)
    return TokenTable(*(np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS))


def _batches(messages: Sequence[Message], first: int) -> Iterator[list[int]]:
    """Numbers of the messages from number `first` on, as many together as are of `BATCH_CHARACTERS`."""
    batch: list[int] = []
    size = 0
    for number in range(first, len(messages)):
        check_deadline()
        batch.append(number)
        size += len(messages[number].text)
        if size >= BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def sentence_borders(message: Message) -> list[int]:
    """First characters of the sentences of a message and of the parts of its structured blocks, in order.

    So a row, an item or a line is compared with a query by itself. What leads a block, or a container in it, belongs
    to its first part.
    """
    starts: list[int] = []
    structured = iter(segmentation.layout(message))
    for start, end, kind in segmentation.blocks_of(message):
        if kind == "text":
            starts.extend(start + a for a, _ in segmentation.sentences(message.text[start:end]))
        else:
            starts.extend([start, *leaf_borders(next(structured))[1:]])
    return starts


def _texts(message: Message) -> tuple[str, str]:
    """The label as it is read and the text of a message."""
    return (f"{message.label}:" if message.label else ""), message.text


def _label_rows(message: Message, encoding: Any, number: int, unit: int) -> TokenTable:
    nowhere = np.full(len(encoding.ids), -1, dtype=np.int64)
    return _rows(_texts(message)[0], encoding, number, nowhere, nowhere, nowhere + 1 + unit, nowhere + 2)


def _body_rows(text: str, encoding: Any, number: int, unit: int, borders: list[int]) -> TokenTable:
    offsets = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)
    sentence = np.maximum(np.searchsorted(np.array(borders or [0]), offsets[:, 0], side="right") - 1, 0) + unit
    mentioned = np.zeros(len(text) + 1, dtype=np.int64)
    for start, end in mention_spans(text):
        mentioned[start:end] = 1
    return _rows(text, encoding, number, offsets[:, 0], offsets[:, 1], sentence, mentioned[offsets[:, 0]])


def _rows(
    text: str,
    encoding: Any,
    number: int,
    starts: np.ndarray,
    ends: np.ndarray,
    units: np.ndarray,
    mentions: np.ndarray,
) -> TokenTable:
    ids = np.array(encoding.ids, dtype=np.int64)
    identities, begins, shapes = _words(text, encoding)
    messages = np.full(len(ids), number, dtype=np.int64)
    return TokenTable(ids, messages, starts, ends, units, identities, mentions, begins, shapes)


def _words(text: str, encoding: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each token the identity of its whole word, whether it begins it, and the word's shape."""
    numbers = np.array(encoding.word_ids, dtype=np.float64)  # NaN, which equals nothing, for tokens of no word
    offsets = encoding.offsets
    begins = np.diff(numbers, prepend=-1.0) != 0
    firsts = np.flatnonzero(begins)
    lasts = np.append(firsts[1:], len(numbers)) - 1 if len(firsts) else firsts
    found: dict[str, tuple[int, int]] = {}
    each: list[tuple[int, int]] = []
    for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True):
        word = text[offsets[first][0] : offsets[last][1]].strip()
        told = found.get(word)
        if told is None:
            told = found[word] = word_identity(word), word_shape(word)
        each.append(told)
    words = np.array(each, dtype=np.int64).reshape(-1, 2)[np.cumsum(begins) - 1]
    return words[:, 0], begins.astype(np.int64), words[:, 1]


@lru_cache(maxsize=1 << 17)
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
    words = _ends(_words(text, encodings[0])[0].tolist(), room)
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
