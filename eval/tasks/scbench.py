"""SCBench: several questions about one long context, in all twelve tasks (arXiv:2412.10319).

The data are microsoft/SCBench on the Hub (MIT), the code is github.com/microsoft/MInference, folder scbench:
`run_scbench.py` (459df6b9), `eval_utils.py` (0ff346d8), `compute_scores.py` (9987de63), `repo_qa_utils.py` (1aa8cd26).
Prompts, lengths of answers and scores are those of this code, its peculiarities included, which
`eval/tasks/scbench_prompts.py` and `eval/tasks/scbench_grading.py` name. The context is one document. In `multi_turn`
the earlier questions come with their gold answers, in `multi_request` each question comes alone after the context.

The original's command asks at most five questions of a context (`--max_turns`); here `--turns 5` does so, and without
it all are asked. Functions that a described one is told from (RepoQA) are all those asked about in the repository,
however many rows are read.

Without a reader, `answer_survival` is about the gold answer where it stands in the context; of variable tracking, where
every name is wanted, it is 1 only if every name is kept in its own assignment. `evidence_recall` is about the record of
a key, the assignments of the wanted names, the string with prefix and suffix, and the described function. Summaries,
many-shot labels and statistics of a list of numbers have no place of their own and are scored by readers only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from eval.systems.base import Kept
from eval.tasks import mtr
from eval.tasks.public import Place, document, places, records, require, sample
from eval.tasks.scbench_functions import LANGUAGES
from eval.tasks.scbench_grading import grade
from eval.tasks.scbench_prompts import MIXED, MODES, TARGET, TASKS, prompt
from reet_hf.errors import ReetError
from reet_hf.metrics import answer_survival

__all__ = ["VERSION", "grade", "load", "prompt", "score"]

VERSION = "1"
REPOSITORY = "microsoft/SCBench"
WITHOUT_PLACE = ("scbench_many_shot", "scbench_mf", "scbench_summary")
SHORTEST_KEY, REACH = 6, 120  # characters: of a key, and from its beginning to that of its value

Row = dict[str, Any]
Turn = Mapping[str, Any]


def load(
    data: str = "",
    rows: int | None = None,
    tasks: str | Sequence[str] | None = None,
    mode: str = "multi_turn",
    chat: bool = True,
) -> dict[str, list[Row]]:
    """Rows by task.

    Args:
        data: A folder with `scbench_kv.jsonl` and so on, the Hub id of a data set with the same configurations, or
            nothing for the benchmark's own.
        rows: At most so many rows of each task: a sample that is the same every time.
        tasks: Which ones, as a list or with commas between; all by default.
        mode: `"multi_turn"`, or `"multi_request"` for each question alone with the shared context.
        chat: Whether readers are asked through their chat template, as the original's scripts do, or go on from the
            text alone.

    Raises:
        ReetError: If an option is none of these, or the records cannot be read or are of another form.
    """
    wanted = list(TASKS) if not tasks else tasks.split(",") if isinstance(tasks, str) else list(tasks)
    unknown = [each for each in wanted if each not in TASKS]
    if unknown:
        raise ReetError(f"`tasks` must be among {', '.join(TASKS)}, got {unknown[0]!r}; give them with commas between.")
    if mode not in MODES:
        raise ReetError(f"`mode` must be one of {', '.join(MODES)}, got {mode!r}; choose one of them.")
    if not isinstance(chat, bool):
        raise ReetError(f"`chat` must be true or false, got {chat!r}; choose one of them.")
    return {task: _rows(task, data, rows, {"mode": mode, "chat": chat}) for task in wanted}


def score(row: Row, question: Mapping[str, Any], kept: Kept) -> dict[str, float]:
    """Answer survival where the answer stands in the context, evidence recall where evidence is known."""
    found = mtr.score(row, question, kept)
    if question["task"] == "scbench_vt" and question["answer_spans"]:
        texts = [message["content"] for message in row["messages"]]
        spans = question["answer_spans"]
        found["answer_survival"] = float(all(answer_survival(texts, [span], kept.pieces) for span in spans))
    return found


def _rows(task: str, data: str, count: int | None, shared: Row) -> list[Row]:
    """The rows of one task, with ids that do not depend on how many are read."""
    found = records(data, task, repository=REPOSITORY, config=task)
    for number, record in enumerate(found):
        _check(task, record, f"record {number} of {task}")
    needles = _needles(task, found)
    numbered = sample([{"number": number, "record": record} for number, record in enumerate(found)], count)
    return [_row(task, each["number"], each["record"], needles, shared) for each in numbered]


def _row(task: str, number: int, record: Turn, needles: Mapping[str, list[Row]], shared: Row) -> Row:
    text = _context(record)
    row = {
        "id": f"{task}-{number}",
        "source": "SCBench",
        "license": "MIT",
        "messages": [document(text)],
        "questions": [_question(_subtask(task, turn), text, turn) for turn in record["multi_turns"]],
        "task": task,
        **shared,
    }
    if "repoqa" in task:
        row |= {"lang": record["lang"], "needles": needles[record["repo"]]}
    return row


def _question(task: str, text: str, turn: Turn) -> Row:
    """A question with its raw gold answer in `gold`, which the original's prompts and scores use as it is."""
    gold = turn["answer"]
    spans, evidence = _places(task, text, turn)
    question = {
        "question": turn["input"],
        "answers": [", ".join(gold) if isinstance(gold, list) else str(gold)],
        "kind": "abstractive" if task == "scbench_summary" else "extractive",
        "answer_spans": spans,
        "evidence": evidence,
        "task": task,
        "gold": gold,
    }
    return question | {field: turn[field] for field in ("options", "name") if turn.get(field) is not None}


def _context(record: Turn) -> str:
    """The context as the original writes it into a prompt: a list of numbers as Python prints it."""
    return str(record["context"] if "context" in record else record["input"])


def _subtask(task: str, turn: Turn) -> str:
    return turn["task"] if task in MIXED else task


def _needles(task: str, found: Sequence[Turn]) -> dict[str, list[Row]]:
    """Name and source of the functions that are asked about, by repository, in the order of the questions."""
    needles: dict[str, list[Row]] = {}
    for record in found if "repoqa" in task else ():
        own = needles.setdefault(record["repo"], [])
        for turn in record["multi_turns"]:
            needle = {"name": turn.get("name"), "function": turn["answer"]}
            if _subtask(task, turn) == "scbench_repoqa" and needle not in own:
                own.append(needle)
    return needles


def _places(task: str, text: str, turn: Turn) -> tuple[list[Place], list[Place]]:
    """Where the gold answer stands, and what else it takes to see that it is the answer."""
    if task in WITHOUT_PLACE:
        return [], []
    if task == "scbench_vt":
        links = [link for name in turn["answer"] for link in _assignments(text, name)]
        names = [{**link, "end": link["start"] + len(name)} for name, link in links]
        return names, [link for _, link in links]
    found = places([text], [str(turn["answer"])], whole_words=task not in ("scbench_qa_chn", "scbench_repoqa"))
    if task == "scbench_kv":
        recorded = [record for place in found if (record := _record(text, turn["input"], place))]
        return found, recorded or found
    return found, found if task in ("scbench_prefix_suffix", "scbench_repoqa") else []


def _assignments(text: str, name: str) -> list[tuple[str, Place]]:
    """Where a variable gets its value, as in "X = 12345" or "X = VAR Y"."""
    pattern = re.compile(rf"(?<!\w){re.escape(name)}\s*=\s*(?:VAR\s+)?\w+")
    return [(name, {"message": 0, "start": each.start(), "end": each.end()}) for each in pattern.finditer(text)]


def _record(text: str, question: str, value: Place) -> Place | None:
    """The value with the key before it: the longest part of the question that stands there; nothing without one."""
    first = max(0, value["start"] - REACH)
    before = text[first : value["start"]]
    keys = {each for each in re.split(r"[\s\"'`:,;?]+", question) if len(each.strip(".")) >= SHORTEST_KEY}
    for key in sorted(keys, key=lambda each: (-len(each), each)):
        if (place := before.rfind(key)) >= 0:
            return {**value, "start": first + place}
    return None


def _check(task: str, record: Turn, name: str) -> None:
    """Nothing, if a record has what its task needs.

    Raises:
        ReetError: If it has not.
    """
    own = ["lang", "repo"] if "repoqa" in task else []
    require(record, ["input" if "context" not in record else "context", "multi_turns", *own], name)
    if own and record["lang"] not in LANGUAGES:
        raise ReetError(
            f"`lang` must be one of {', '.join(LANGUAGES)}, but {name} has {record['lang']!r}; is it another version "
            "of the benchmark?"
        )
    for number, turn in enumerate(record["multi_turns"]):
        turn_name = f"turn {number} of {name}"
        require(turn, ["input", "answer", *(["task"] if task in MIXED else [])], turn_name)
        if task in MIXED and turn["task"] not in MIXED[task]:
            raise ReetError(
                f"`task` must be one of {', '.join(MIXED[task])}, but {turn_name} has {turn['task']!r}; is it another "
                "version of the benchmark?"
            )
        _check_turn(_subtask(task, turn), {k: v for k, v in turn.items() if v is not None}, turn_name)


def _check_turn(task: str, turn: Turn, name: str) -> None:
    fields = {"scbench_choice_eng": ["options"], "scbench_repoqa": ["name"]}.get(task, [])
    require(turn, ["answer", *fields], name)
    wrong = ""
    if task == "scbench_choice_eng" and (len(turn["options"]) != 4 or turn["answer"] not in turn["options"]):
        wrong = "be one of four `options`"
    if task == "scbench_mf" and not isinstance(turn["answer"], int | float):
        wrong = "be a number"
    if task == "scbench_vt" and isinstance(turn["answer"], str):
        wrong = "be a list of names"
    if wrong:
        raise ReetError(
            f"`answer` must {wrong}, but {name} has {turn['answer']!r}; is it another version of the benchmark?"
        )
    if task == "scbench_mf" and TARGET.search(turn["input"]) is None:
        raise ReetError(
            f'`input` must say "The ... is", but {name} has {turn["input"]!r}; is it another version of the benchmark?'
        )
