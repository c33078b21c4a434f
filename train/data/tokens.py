"""Sources that come in tokens: how they are read, and how tokens and BIO tags become a text with spans."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from datasets import load_dataset

from train.data import extraction_schema
from train.data.schema import Record
from train.data.spans import Border

_OPENING = re.compile(r"[(\[{“$£€#]|``")
_CLOSING = re.compile(r"[.,;:!?]+|[)\]}”%]|''|n['’]t|['’](?:s|re|ve|ll|d|m)", re.IGNORECASE)
_WRITTEN = {"``": '"', "''": '"'}


def written(tokens: Sequence[str], start: int = 0) -> tuple[str, list[Border]]:
    """The tokens of a sentence as running text, and the border of each.

    One space stands between two tokens, but none before closing punctuation and endings such as `'s` and `n't`,
    and none after opening punctuation and signs of currency. Of the quotation marks `"` every second one closes;
    those of the Penn Treebank are written so too. White space around a token is left out, so that a blank one
    has an empty border.

    Args:
        tokens: Of one sentence.
        start: Where the sentence begins in a longer text: added to all borders.
    """
    text, attached, quoting = "", True, False
    borders: list[Border] = []
    for token in map(str.strip, tokens):
        opens, closes = bool(_OPENING.fullmatch(token)), bool(_CLOSING.fullmatch(token))
        if token == '"':
            opens, closes, quoting = not quoting, quoting, not quoting
        if token:
            text += "" if attached or closes else " "
            attached = opens
        first = start + len(text)
        text += _WRITTEN.get(token, token)
        borders.append((first, start + len(text)))
    return text, borders


def cover(borders: Sequence[Border]) -> Border:
    """From the start of the first border to the end of the last, blank tokens at both ends left out."""
    full = [border for border in borders if border[0] < border[1]] or borders
    return full[0][0], full[-1][1]


def bio(tags: Sequence[str]) -> list[tuple[int, int, str]]:
    """First token, token after the last, and type of each stretch; an `I-` that continues none begins one.

    Raises:
        ValueError: for a tag that is not `O`, `B-TYPE` or `I-TYPE`.
    """
    found: list[tuple[int, int, str]] = []
    for place, tag in enumerate(tags):
        mark, _, own_type = tag.partition("-")
        if tag == "O":
            continue
        if mark not in ("B", "I") or not own_type:
            raise ValueError(f"tags must be O, B-TYPE or I-TYPE, but one is {tag!r}")
        if mark == "I" and found and found[-1][1:] == (place, own_type):
            found[-1] = (found[-1][0], place + 1, own_type)
        else:
            found.append((place, place + 1, own_type))
    return found


def tagged(tokens: Sequence[str], tags: Sequence[str]) -> tuple[str, list[Record]]:
    """The text of a sentence and its entities; those with the same words, case ignored, are one."""
    text, borders = written(tokens)
    places = [(cover(borders[first:end]), own_type) for first, end, own_type in bio(tags)]
    found = ((border, own_type, text[slice(*border)].casefold()) for border, own_type in places)
    return text, extraction_schema.entities(found)


def conll(path: Path) -> Iterator[Record]:
    """The sentences, `{tokens, tags}`, of a file with one token, a tab and its tag per line, blank lines between.

    Raises:
        ValueError: for a line without a tab, with its number.
    """
    tokens: list[str] = []
    tags: list[str] = []
    # Not splitlines, which also breaks at characters that stand in tweets.
    for number, line in enumerate([*path.read_text(encoding="utf-8").split("\n"), ""], 1):
        if line.strip():
            token, tab, tag = line.rstrip().rpartition("\t")
            if not tab:
                raise ValueError(f"{path.name}, line {number}: must be a token, a tab and a tag, but is {line!r}")
            tokens.append(token)
            tags.append(tag)
        elif tokens:
            yield {"tokens": tokens, "tags": tags}
            tokens, tags = [], []


def hub(repository: str, split: str, folder: str | None = None) -> Iterator[Record]:
    """The sentences, `{tokens, tags}`, of a Hub data set with `tokens` and `ner_tags`.

    They come from the parquet files that the Hub made itself: `datasets` runs no loading script since version 4.

    Args:
        repository: The Hub id.
        split: One of `sources.SPLITS`.
        folder: The configuration, if there are several.

    Raises:
        ValueError: if the tags are numbers without names.
    """
    loaded = load_dataset(repository, data_dir=folder, split=split, revision="refs/convert/parquet")
    names = getattr(getattr(loaded.features.get("ner_tags"), "feature", None), "names", None)
    if names is None:
        raise ValueError(f"source must have ner_tags with names, but {repository!r} has {loaded.features}")
    for record in loaded:
        yield {"tokens": record["tokens"], "tags": [names[number] for number in record["ner_tags"]]}
