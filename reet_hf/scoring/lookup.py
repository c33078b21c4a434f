"""Which record a query names: a row, an item or a line of what tools returned, by the words that single it out.

Records are looked up by the names in them, which is a question of words and not of meaning: "cancel Ann Lee's order for
the blue lamp" names the one row that has both. The evidence is the share of the query's words that a record has, rare
ones counting more (inverse document frequency over the records; Spärck Jones, 1972). It is less where other records
have more of them, or as much: several with the same words may say the same again, or be meant none of them.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

UNKNOWN = 0.25  # weight of a query word that no record has, as a share of the weight of one that a single record has
SHARPNESS = 20.0  # how fast the chance rises with the share around `NONE`
BEHIND = 5.0  # how fast it falls with what the record is behind the best one
NONE = 0.35  # share at which a record is as likely meant as not


def named_records(
    records: np.ndarray, words: np.ndarray, queries: Iterable[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Records that have words of a query, and the chance of each to be the one that is meant.

    Args:
        records: Number of the record of each token, never falling, of shape `(tokens,)`.
        words: Identity of each token's word (`lexicon.word_identity`), 0 where it carries no content, `(tokens,)`.
        queries: Of each query the identities of its words; the highest chance counts.

    Returns:
        Record numbers in order and chances in [0, 1], both of shape `(found,)`.
    """
    numbers, places = np.unique(records, return_inverse=True)
    chances = np.zeros(len(numbers))
    for query in queries:
        wanted = np.unique(query[query > 0])
        if len(wanted):
            chances = np.maximum(chances, _chances(places, words, wanted, len(numbers)))
    found = np.flatnonzero(chances)
    return numbers[found], chances[found]


def _chances(places: np.ndarray, words: np.ndarray, wanted: np.ndarray, count: int) -> np.ndarray:
    """For each of `count` records the chance that one query means it."""
    column = np.minimum(np.searchsorted(wanted, words), len(wanted) - 1)
    matched = wanted[column] == words
    has = np.zeros((count, len(wanted)), dtype=bool)
    has[places[matched], column[matched]] = True
    frequency = has.sum(0)
    rarest = np.log1p(count)
    weights = np.where(frequency > 0, np.log1p(count / np.maximum(frequency, 1)), UNKNOWN * rarest)
    share = np.round(has @ weights / weights.sum(), 9)
    rivals = count - np.searchsorted(np.sort(share), share, side="left")
    named = 1.0 / (1.0 + np.exp(-SHARPNESS * (share - NONE)))
    return np.where(share > 0, named * np.exp(BEHIND * (share - share.max())) / np.sqrt(rivals), 0.0)
