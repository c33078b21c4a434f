"""RULER (arXiv:2404.06654): needles, chains, frequent words and questions among documents, generated at any length.

As in NVIDIA/RULER, read in copies of it: the task table `scripts/synthetic.yaml` and the prompts, answer prefixes and
lengths of answers in `scripts/data/synthetic/constants.py` (FerrisChi/RULER, 08b1725); beside that file `niah.py`
(fayejf/RULER, 8125e70), `variable_tracking.py`, `common_words_extraction.py`, `freq_words_extraction.py` and `qa.py`
(fayejf/RULER, e58a79b); the metrics in `scripts/eval/synthetic/constants.py` (kushalc/RULER, a6f6ebb); and for chats
`nemo_skills/dataset/ruler/prepare.py` (NVIDIA-NeMo/Skills, 0113537).

Differences: chance comes from `random.Random` with a text as seed, so no row is one of the original's; the worked
examples of `vt` and `cwe` stand before the context and are never compressed; keys and values never come twice; words
are our own without `words="wonderwords"`; sentences of essays are told apart by sentencex; without the original's
essays in `data` needles hide in `eval.tasks.haystack`; where the original tries sizes one after the other, they are
halved in; frequent words leave room for the answer as all others do. `answer_survival` is the share of the answers
that stand somewhere in what was kept; of questions about documents it is 1 if any does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import partial
from random import Random
from typing import Any

from eval.readers.base import Prompt, asked_once
from eval.systems.base import Kept
from eval.tasks.generated import contents
from eval.tasks.passages import passages
from eval.tasks.ruler_sources import FILES, Sources
from eval.tasks.ruler_tasks import TASKS, Maker, family_of, maker, most_units, sized
from eval.tasks.ruler_texts import Asked, Made
from reet_hf.budget import TokenCounter, resolve_counter
from reet_hf.errors import ReetError
from reet_hf.metrics import answer_survival, evidence_recall
from reet_hf.registration import bundled_model

VERSION = "1"
FORMS = ("base", "chat")
_CONTROL = re.compile(r"[\x00-\x1f]")

Row = dict[str, Any]


def load(
    data: str = "",
    rows: int = 20,
    tasks: str = "",
    lengths: int | Iterable[int] = 4096,
    turns: int = 1,
    seed: int = 0,
    words: str = "own",
    form: str = "base",
    tokenizer: str = "",
) -> dict[str, list[Row]]:
    """Rows by task and length, such as `niah_single_1-4096`.

    Args:
        data: A folder with any of the original's files PaulGrahamEssays.json, squad.json (for qa_1) and hotpotqa.json
            (for qa_2), as the scripts of its `scripts/data/synthetic/json` fetch them.
        rows: Rows of each task and length; the original has 500.
        tasks: Which, with commas between; all for which there are sources by default.
        lengths: Tokens of prompt and answer together; the original has 4096, 8192, 16384, 32768, 65536, 131072.
        turns: Most questions about one text, of tasks with many keys of which one at a time is asked for.
        seed: Another one gives other rows.
        words: `"own"`, or `"wonderwords"` for those of the original.
        form: `"base"` to let the model go on after the answer's beginning, as the original does; `"chat"` to put that
            beginning at the end of the user's message, as NeMo-Skills does for chat completions.
        tokenizer: What counts tokens: a Hub id, a folder or a tiktoken encoding; the bundled model's by default.

    Raises:
        ReetError: If an option is out of range, a source is missing, or a length leaves no room.
    """
    wanted = [lengths] if isinstance(lengths, int) else list(lengths)
    _check(rows=[rows], turns=[turns], lengths=wanted)
    if form not in FORMS:
        raise ReetError(f"`form` must be one of {', '.join(FORMS)}, got {form!r}.")
    sources = Sources.of(data, words)
    counter = resolve_counter(tokenizer or bundled_model())
    return {
        f"{task}-{length}": _rows(task, length, maker(task, length, turns, sources), sources, counter, rows, seed, form)
        for task in _chosen(tasks, sources)
        for length in wanted
    }


def score(row: Mapping[str, Any], question: Mapping[str, Any], kept: Kept) -> dict[str, float]:
    """Survival of the answers, as a share where all are wanted, and evidence recall."""
    texts = contents(row)
    found: dict[str, float] = {}
    survived = [answer_survival(texts, spans, kept.pieces) for spans in question["spans"] if spans]
    if survived:
        found["answer_survival"] = max(survived) if row["match"] == "part" else sum(survived) / len(survived)
    if question["evidence"]:
        found["evidence_recall"] = evidence_recall(texts, question["evidence"], kept.pieces)
    return found


def prompt(row: Mapping[str, Any], number: int, text: str) -> Prompt:
    """The worked example if the task has one, the original's template around what was kept, the answer's beginning."""
    query = row["questions"][number]["query"]
    head, _, tail = row["template"].replace("{query}", query).partition("{context}")
    asked, prefix = f"{row['example']}{head}{text}{tail}", row["prefix"].replace("{query}", query)
    if row["form"] == "chat":
        return asked_once(asked + prefix.strip(), row["max_new_tokens"])
    return asked_once(asked + prefix, row["max_new_tokens"], plain=True)


def grade(row: Mapping[str, Any], question: Mapping[str, Any], said: str) -> dict[str, float]:
    """`string_match_all`, the share of the answers that are in what was said, or `string_match_part`, whether one is.

    Letter case is left aside.
    """
    text = _CONTROL.sub("\n", said.strip()).strip().lower()
    found = [float(answer.lower() in text) for answer in question["answers"]]
    value = max(found) if row["match"] == "part" else sum(found) / len(found)
    return {f"string_match_{row['match']}": value}


def _check(**options: list[Any]) -> None:
    for name, values in options.items():
        wrong = [each for each in values if not isinstance(each, int) or isinstance(each, bool) or each < 1]
        if wrong or not values:
            raise ReetError(f"`{name}` must be whole numbers of at least 1, got {wrong or values!r}; choose such.")


def _chosen(tasks: str, sources: Sources) -> list[str]:
    if not tasks:
        return [task for task in TASKS if task not in FILES or sources.library(task) is not None]
    names = [name.strip() for name in tasks.split(",")]
    unknown = [name for name in names if name not in TASKS]
    if unknown:
        raise ReetError(f"`tasks` must be among {', '.join(TASKS)}, got {unknown[0]!r}.")
    for name in names:
        if name in FILES and sources.library(name) is None:
            raise ReetError(
                f"`data` must be a folder with {FILES[name]} for {name}, which cannot be generated; pass it with "
                "--data FOLDER, or leave the task out."
            )
    return names


def _rows(
    task: str, length: int, make: Maker, sources: Sources, counter: TokenCounter, rows: int, seed: int, form: str
) -> list[Row]:
    """Rows of one task, all of the size that fits for the first, or of less where that is too long."""
    family = family_of(task)
    library = sources.library(task) if task in FILES else None
    if library is not None:
        rows = min(rows, len(library.items))

    def row(number: int, units: int) -> Row:
        rng = Random(f"ruler {task} {length} {seed} {number}")
        name = f"ruler-{task}-{length}-seed{seed}-{number:03d}"
        return _written(name, task, make(rng, number, units), sources, form)

    def fits(number: int, units: int) -> bool:
        made = row(number, units)
        asked = prompt(made, 0, "\n".join(contents(made))).messages[0]["content"]
        answers = " ".join(made["questions"][0]["answers"])
        return counter.count(f"{asked} {answers}") + family.tokens <= length

    found: list[Row] = []
    units: int | None = None
    for number in range(rows):
        size = sized(partial(fits, number), task, length, most_units(task, sources), units)
        units = size if units is None else units
        found.append(row(number, size))
    return found


def _written(name: str, task: str, made: Made, sources: Sources, form: str) -> Row:
    """A row of the multi-turn schema with the parts of its prompt."""
    family = family_of(task)
    cut = passages(made.text)

    def question(asked: Asked) -> dict[str, Any]:
        spans = [cut.places(each) for each in asked.spans]
        return {
            "question": family.question.replace("{query}", asked.query),
            "query": asked.query,
            "answers": list(asked.answers),
            "kind": asked.kind,
            "answer_spans": [place for each in spans for place in each],
            "evidence": cut.places(asked.evidence),
            "spans": spans,
        }

    return {
        "id": name,
        "source": sources.name_of(task),
        "license": "Apache-2.0" if sources.name_of(task) == "generated" else "see source",
        "messages": cut.messages,
        "questions": [question(asked) for asked in made.asked],
        "example": made.example,
        "template": family.template,
        "prefix": family.prefix,
        "match": family.match,
        "max_new_tokens": family.tokens,
        "form": form,
    }
