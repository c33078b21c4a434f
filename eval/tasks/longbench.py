"""LongBench (arXiv:2308.14508): 21 data sets of long texts in English, Chinese and code, one question a text.

Records, prompts, lengths and scores are those of https://github.com/THUDM/LongBench: `LongBench/pred.py` (commit
c5ea10b), `LongBench/eval.py` (072a5a7), and what `longbench_prompts` and `longbench_grading` name. As there, few-shot
and code sets are asked without a chat template, a prompt that is too long loses its middle, and of what is said to
few-shot sets the first line counts. There a model cannot begin a summary of SAMSum with a line break, here it can;
leading ones are left aside.

Data: the archive `data.zip` of `THUDM/LongBench` on the Hub, or a folder with what is in it (`qasper.jsonl`, ...).

    python eval/run.py --system full,reet --task longbench --data FOLDER --option longbench.sets=qasper,hotpotqa \\
        --budget 50,33,15,10,6 --reader causal_lm --option causal_lm.model=ID --reader-budget 50,33,15,10,6

Scores of a reader are `f1`, `rouge_l`, `classification`, `count`, `retrieval` or `code_sim`, by set. Without a reader,
answers are looked for where they stand in the text, and of paragraph retrieval the paragraph is the evidence. A text of
numbered passages has one message each, another is cut at line breaks; joined by line breaks the messages are the text.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eval.readers.base import Prompt, asked_once
from eval.tasks import public
from eval.tasks.longbench_grading import best
from eval.tasks.longbench_prompts import LENGTHS, PROMPTS, QUERIES
from eval.tasks.mtr import score
from eval.tasks.passages import passages
from reet_hf.errors import ReetError

__all__ = ["VERSION", "grade", "load", "prompt", "score"]

VERSION = "1"
REPOSITORY = "THUDM/LongBench"
ARCHIVE = "data.zip"
FIELDS = ("_id", "input", "context", "answers", "length", "all_classes")

METRIC_OF = {
    "narrativeqa": "qa_f1",
    "qasper": "qa_f1",
    "multifieldqa_en": "qa_f1",
    "multifieldqa_zh": "qa_f1_zh",
    "hotpotqa": "qa_f1",
    "2wikimqa": "qa_f1",
    "musique": "qa_f1",
    "dureader": "rouge_zh",
    "gov_report": "rouge",
    "qmsum": "rouge",
    "multi_news": "rouge",
    "vcsum": "rouge_zh",
    "trec": "classification",
    "triviaqa": "qa_f1",
    "samsum": "rouge",
    "lsht": "classification",
    "passage_count": "count",
    "passage_retrieval_en": "retrieval",
    "passage_retrieval_zh": "retrieval_zh",
    "lcc": "code_sim",
    "repobench-p": "code_sim",
}
SHOWN = {"qa_f1": "f1", "qa_f1_zh": "f1", "rouge": "rouge_l", "rouge_zh": "rouge_l", "retrieval_zh": "retrieval"}
KINDS = {"f1": "extractive", "rouge_l": "abstractive"}  # others are called like their score
FEW_SHOT = ("trec", "triviaqa", "samsum", "lsht")
PLAIN = (*FEW_SHOT, "lcc", "repobench-p")
SAID_ALONE = {"yes", "no", "unanswerable"}  # no words of the text

# LongBench-E, and how many words (characters of Chinese) its groups have at most.
EXTENDED = (
    *("qasper", "multifieldqa_en", "hotpotqa", "2wikimqa", "gov_report", "multi_news", "trec", "triviaqa", "samsum"),
    *("passage_count", "passage_retrieval_en", "lcc", "repobench-p"),
)
GROUPS = {"0-4k": 4000, "4-8k": 8000, "8k+": None}

_PASSAGE = re.compile(r"\n(?=(?:Passage|Paragraph) \d+:|(?:段落|文章)\d)")

Row = dict[str, Any]


def load(data: str = "", rows: int | None = None, sets: str = "", extended: bool = False) -> dict[str, list[Row]]:
    """Rows by data set.

    Args:
        data: A folder with `<set>.jsonl`, `.json` or `.parquet`, or the Hub id of a copy with a configuration for each
            set; the archive of LongBench on the Hub by default.
        rows: At most so many rows of each set.
        sets: Names with commas between; all of them by default.
        extended: Whether LongBench-E is read (`<set>_e`), each set in three groups by length, as its scores are shown.

    Raises:
        ReetError: If a set is not known, cannot be read, or lacks a field.
    """
    known = EXTENDED if extended else tuple(PROMPTS)
    wanted = [name.strip() for name in sets.split(",")] if sets else list(known)
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise ReetError(f"`sets` must be among {', '.join(known)}, got {unknown[0]!r}.")
    found: dict[str, list[Row]] = {}
    for name in wanted:
        place = f"{name}_e" if extended else name
        made = [_row(name, record) for record in _records(data, place)]
        found |= _grouped(place, made) if extended else {name: made}
    return {name: public.sample(own, rows) for name, own in found.items()}


def _records(data: str, place: str) -> list[public.Record]:
    """The records of a set; those on the Hub are in one archive, which only a script of theirs would unpack."""
    if data:
        return public.records(data, place, repository=REPOSITORY, config=place)
    from huggingface_hub import hf_hub_download

    try:
        with zipfile.ZipFile(hf_hub_download(REPOSITORY, ARCHIVE, repo_type="dataset")) as archive:
            return public.parsed(archive.read(f"data/{place}.jsonl").decode("utf-8"), Path(f"{place}.jsonl"))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ReetError(
            f"`data` must be a folder with {place}.jsonl, or the Hub must be there: loading {ARCHIVE} of {REPOSITORY} "
            f"failed: {error} Offline, unpack that archive and name its folder `data`."
        ) from error


def _grouped(name: str, rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows by length, groups without any left out."""
    found: dict[str, list[Row]] = {f"{name}-{group}": [] for group in GROUPS}
    for row in rows:
        group = next(group for group, most in GROUPS.items() if most is None or row["length"] < most)
        found[f"{name}-{group}"].append(row)
    return {group: own for group, own in found.items() if own}


def _row(name: str, record: Mapping[str, Any]) -> Row:
    public.require(record, FIELDS, name)
    texts = parts(record["context"])
    return {
        "id": str(record["_id"]),
        "source": REPOSITORY,
        "license": "MIT",
        "messages": [public.document(text) for text in texts],
        "questions": [_question(name, record, texts)],
        "dataset": name,
        "length": record["length"],
        "all_classes": record["all_classes"],
    }


def parts(context: str) -> list[str]:
    """The numbered passages of a text, or about equal pieces; joined by line breaks they are the text again."""
    found = _PASSAGE.split(context)
    if len(found) > 1 and all(part.strip() for part in found):
        return found
    return [message["content"] for message in passages(context).messages]


def _question(name: str, record: Mapping[str, Any], texts: Sequence[str]) -> dict[str, Any]:
    answers = list(record["answers"])
    metric = METRIC_OF[name]
    shown = SHOWN.get(metric, metric)
    standing = [answer for answer in answers if answer.strip().lower() not in SAID_ALONE]
    looked_for = name not in FEW_SHOT and shown in ("f1", "retrieval")  # examples are about something else
    return {
        "question": record["input"].strip() or QUERIES.get(name, ""),
        "answers": answers,
        "kind": KINDS.get(shown, shown) if standing or shown != "f1" else "yes_no",
        "answer_spans": public.places(texts, standing, whole_words=metric != "qa_f1_zh") if looked_for else [],
        "evidence": _paragraphs(texts, answers) if shown == "retrieval" else [],
        "input": record["input"],
    }


def _paragraphs(texts: Sequence[str], labels: Sequence[str]) -> list[public.Place]:
    """The messages that begin with one of these labels."""
    begins = [re.compile(re.escape(label.strip()) + r"(?!\d)") for label in labels if label.strip()]
    return [
        {"message": number, "start": 0, "end": len(text)}
        for number, text in enumerate(texts)
        if any(each.match(text) for each in begins)
    ]


def prompt(row: Mapping[str, Any], number: int, text: str) -> Prompt:
    """What LongBench asks of a text in the place of the context."""
    name = row["dataset"]
    asked = PROMPTS[name].format(context=text, input=row["questions"][number]["input"])
    return asked_once(asked, LENGTHS[name], plain=name in PLAIN, cut="middle")


def grade(row: Mapping[str, Any], question: Mapping[str, Any], said: str) -> dict[str, float]:
    """The score of the row's data set, the best of the acceptable answers."""
    name = row["dataset"]
    heard = said.lstrip("\n").partition("\n")[0] if name in FEW_SHOT else said
    metric = METRIC_OF[name]
    return {SHOWN.get(metric, metric): best(metric, heard, question["answers"], row["all_classes"])}
