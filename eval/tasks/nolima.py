"""NoLiMa (arXiv:2502.05167): one sentence in a long book, and a question that shares no words with it.

As in adobe-research/NoLiMa (README at 55966a3; its code as of February 2025 in the copies ieiei/NoLiMa, 79781cb and
45ae701, and Moenupa/NoLiMa, a2ad4fd): `evaluation/run_tests.py` (needles, questions, template),
`data/book_haystack.py` (where a needle stands), `evaluation/async_evaluate.py` (characters, depths, metrics),
`evaluation/async_api_connector.py` (system prompt) and `evaluation/run_config` (lengths, 26 depths, metric `contains`).
Needles and books come from the Hub data set amodaresi/NoLiMa, or a folder of the same layout.

Differences: lengths are tokens of the tokenizer that is named here instead of the tested model's; tokens are told apart
by their first characters, so that a text is a stretch of the book letter by letter whatever the tokenizer; books are
taken in the order of their names (the original: in that of the directory); questions about the same needle at the same
place are asked of one row.

A model's base score is its accuracy at 250, 500 and 1000 tokens; its effective length is the longest at which it still
has 85 % of that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eval.readers.base import Prompt
from eval.tasks.mtr import score
from eval.tasks.nolima_books import Book, Trial, written
from eval.tasks.passages import passages
from eval.tasks.public import file_of, read_file, require, sample
from reet_hf.budget import TokenCounter, resolve_counter
from reet_hf.errors import ReetError
from reet_hf.registration import bundled_model

__all__ = ["VERSION", "grade", "load", "prompt", "score"]

VERSION = "1"
REPOSITORY = "amodaresi/NoLiMa"
LENGTHS = (250, 500, 1000, 2000, 4000, 8000, 16000, 32000)
DEPTHS = 26
SEED = 42
SYSTEM = "You are a helpful assistant"
TEMPLATE = (
    "You will answer a question based on the following book snippet:\n\n{haystack}\n\nUse the information provided in "
    "the book snippet to answer the question. Your answer should be short and based on either explicitly stated facts "
    "or strong, logical inferences.\n\nQuestion: {question}\n\n Return only the final answer with no additional "
    "explanation or reasoning."
)
CHARACTER = "{CHAR}"
FIELDS = ("id", "needle", "questions", "tests")

Row = dict[str, Any]


def load(
    data: str = "",
    rows: int | None = None,
    sets: str = "needle_set",
    lengths: int | Iterable[int] = LENGTHS,
    depths: int = DEPTHS,
    books: str = "rand_shuffle",
    tokenizer: str = "",
    max_new_tokens: int = 192,
) -> dict[str, list[Row]]:
    """Rows by set and length, such as `needle_set-1000`.

    Args:
        data: A folder with `needlesets/<set>.json` and `haystack/<books>/*.txt`, the Hub id of such a data set, or
            nothing for amodaresi/NoLiMa.
        rows: At most so many rows of each set and length: a sample that is the same every time.
        sets: Needle sets with commas between: needle_set, needle_set_hard, needle_set_ONLYDirect, needle_set_w_CoT,
            needle_set_w_Distractor, needle_set_MC.
        lengths: Tokens of the book around a needle.
        depths: How many places of the needle, evenly from the beginning to the end.
        books: Folder of the books.
        tokenizer: What counts tokens: a Hub id, a folder or a tiktoken encoding; the bundled model's by default.
        max_new_tokens: Most tokens of an answer; needle sets that ask for a reasoning need more.

    Raises:
        ReetError: If the files are not there or of another form, or a book is too short.
    """
    wanted = [lengths] if isinstance(lengths, int) else list(lengths)
    _check(wanted, depths)
    names = [name.strip() for name in sets.split(",")]
    folder = _folder(data, names, books)
    opened = _books(folder / "haystack" / books, resolve_counter(tokenizer or bundled_model()))
    found: dict[str, list[Row]] = {}
    for name in names:
        needles = _needles(folder, name)
        for length in wanted:
            every = [{"trial": each} for each in _trials(needles, opened, length, depths)]
            chosen = [each["trial"] for each in sample(every, rows)]
            found[f"{name}-{length}"] = [_row(name, opened, max_new_tokens, each) for each in chosen]
    return found


def prompt(row: Mapping[str, Any], number: int, text: str) -> Prompt:
    """The original's system prompt and task template around what was kept of the book."""
    asked = row["template"].format(haystack=text, question=row["questions"][number]["question"])
    messages = ({"role": "system", "content": SYSTEM}, {"role": "user", "content": asked})
    return Prompt(messages, row["max_new_tokens"])


def grade(row: Mapping[str, Any], question: Mapping[str, Any], said: str) -> dict[str, float]:
    """The original's four metrics, letter case and punctuation as they are; `contains` is the published one."""
    gold, whole = question["answers"], said.strip()
    last = whole.split("\n")[-1]
    return {
        "contains": float(any(answer in said for answer in gold)),
        "exact": float(whole in gold),
        "last_line_contains": float(any(answer in last for answer in gold)),
        "last_line_exact": float(last in gold),
    }


def _check(lengths: Sequence[Any], depths: Any) -> None:
    wrong = [each for each in lengths if not isinstance(each, int) or isinstance(each, bool) or each < 1]
    if wrong or not lengths:
        raise ReetError(f"`lengths` must be whole numbers of tokens of at least 1, got {lengths!r}; give [1000, 4000].")
    if not isinstance(depths, int) or isinstance(depths, bool) or depths < 1:
        raise ReetError(f"`depths` must be a whole number of at least 1, got {depths!r}; the original has {DEPTHS}.")


def _folder(data: str, sets: Sequence[str], books: str) -> Path:
    if data and Path(data).is_dir():
        return Path(data)
    from huggingface_hub import snapshot_download

    wanted = [*(f"needlesets/{name}.json" for name in sets), f"haystack/{books}/*.txt"]
    place = data or REPOSITORY
    try:
        return Path(snapshot_download(place, repo_type="dataset", allow_patterns=wanted))
    except Exception as error:
        raise ReetError(
            f"`data` must be a folder or the Hub id of a data set; {place!r} is no folder, and fetching it from the "
            f"Hub failed: {error} To work offline download {REPOSITORY} into a folder and name that."
        ) from error


def _books(folder: Path, counter: TokenCounter) -> list[Book]:
    files = sorted(folder.glob("*.txt")) if folder.is_dir() else []
    if not files:
        raise ReetError(f"`data` must have books in haystack/{folder.name}/*.txt, but {folder} has none; add them.")
    return [Book.of(path.stem, path.read_text(encoding="utf-8"), counter) for path in files]


def _needles(folder: Path, name: str) -> list[dict[str, Any]]:
    place = folder / "needlesets"
    if not place.is_dir():
        raise ReetError(f"`data` must have needle sets in needlesets/, but {folder} has no such folder; add it.")
    found = read_file(file_of(place, name))
    for record in found:
        require(record, FIELDS, f"{name}.json")
        if CHARACTER in record["needle"]:
            require(record, ["character_set"], f"{name}.json, needle {record['id']},")
    return found


def _trials(needles: Sequence[Mapping[str, Any]], books: Sequence[Book], length: int, depths: int) -> Iterator[Trial]:
    """Everything that is asked at one length."""
    for book in range(len(books)):
        for record in needles:
            for test in record["tests"]:
                yield from _of_test(record, test, book, length, depths)


def _of_test(record: Mapping[str, Any], test: str, book: int, length: int, depths: int) -> Iterator[Trial]:
    """A test of a needle in one book at all depths, its characters drawn as the original draws them."""
    given = record["tests"][test]["input_args"]
    needle = filled(record["needle"], given)
    for distractor, questions in _by_distractor(record, given).items():
        rng = np.random.RandomState(SEED + int(record["id"][:4]) + book)
        for depth in map(float, np.linspace(0, 100, depths) / 100):
            character = str(rng.choice(record["character_set"])) if CHARACTER in needle else ""
            yield Trial(
                name=f"{record['id']}_{test}",
                book=book,
                length=length,
                depth=depth,
                needle=needle.replace(CHARACTER, character),
                questions={kind: asked.replace(CHARACTER, character) for kind, asked in questions.items()},
                gold=(character,) if character else _listed(record["tests"][test].get("gold_answers", ())),
                template=record.get("task_template", TEMPLATE),
                distractor=distractor,
                distance=Trial.apart(rng, length, depth) if distractor else None,
            )


def _by_distractor(record: Mapping[str, Any], given: Sequence[str]) -> dict[str, dict[str, str]]:
    """Questions by kind, those together that have the same distractor; one without anything to fill in is not used."""
    found: dict[str, dict[str, str]] = {}
    for kind, question in record["questions"].items():
        pattern = record.get("distractors", {}).get(kind, "")
        distractor = filled(pattern, given)
        found.setdefault(distractor if distractor != pattern else "", {})[kind] = filled(question, given)
    return found


def filled(pattern: str, given: Sequence[str]) -> str:
    """`pattern` with the first of `given` for `{1}`, the second for `{2}` and so on."""
    for number, value in enumerate(given, 1):
        pattern = pattern.replace(f"{{{number}}}", value)
    return pattern


def _listed(answers: str | Sequence[str]) -> tuple[str, ...]:
    return (answers,) if isinstance(answers, str) else tuple(answers)


def _row(name: str, books: Sequence[Book], max_new_tokens: int, trial: Trial) -> Row:
    book = books[trial.book]
    text, start = written(book, trial)
    cut = passages(text)
    spans = [
        (start + at, start + at + len(answer))
        for answer in trial.gold
        if answer and (at := trial.needle.find(answer)) >= 0
    ]
    own = {
        "answers": list(trial.gold),
        "kind": "extractive",
        "answer_spans": cut.places(spans),
        "evidence": cut.places([(start, start + len(trial.needle))]),
    }
    hops = "+".join(trial.questions)
    return {
        "id": f"{name}-{trial.length}-{book.name}-{trial.name}-{hops}-{100 * trial.depth:.0f}",
        "source": REPOSITORY,
        "license": "Adobe Research License",
        "messages": cut.messages,
        "questions": [{"question": asked, **own, "hops": kind} for kind, asked in trial.questions.items()],
        "template": trial.template,
        "max_new_tokens": max_new_tokens,
        "length": trial.length,
        "depth": trial.depth,
        "book": book.name,
    }
