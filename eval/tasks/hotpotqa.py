"""HotpotQA in the distractor setting (arXiv:1809.09600): ten paragraphs of Wikipedia, two of which answer together.

Records as in https://github.com/hotpotqa/hotpot: `hotpot_dev_distractor_v1.json` in a folder, or `hotpotqa/hotpot_qa`
on the Hub (configuration `distractor`, split `validation`), CC BY-SA 4.0. Each paragraph is a message, its title on the
first line and its sentences as they stand. The evidence is the supporting facts, and answers are looked for in the
paragraphs that hold them; a fact that names a sentence which is not there is left out.

`fact_recall` is the share of supporting facts of which every content word was kept, by offset. A reader's answers are
scored as by `hotpot_evaluate_v1.py` (commit 4c0fa5e). It is asked in the words that EXIT (arXiv:2412.12559) asks its
readers, `QA_PROMPT_TEMPLATE` of `compressors/baselines/exit/core.py` in https://github.com/ThisIsHwang/EXIT (commit
4c0141a, which gives it as Table 7 of the paper), 100 tokens at most. EXIT and RECOMP read passages that a retriever
found in Wikipedia, not these paragraphs: their figures are no yardstick for the ones here.

    python eval/run.py --system full,reet --task hotpotqa --data FOLDER --budget 50,33,15,10,6 --reader causal_lm \\
        --option causal_lm.model=ID --reader-budget 50,33,15,10,6 --rows 500 --reader-rows 500
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from eval.readers.base import Prompt, asked_once
from eval.readers.scores import exact, normalized
from eval.systems.base import Kept
from eval.tasks import mtr, public
from eval.tasks.longbench_grading import qa_f1
from reet_hf.metrics import answer_survival

VERSION = "1"
REPOSITORY = "hotpotqa/hotpot_qa"
FILE = "hotpot_dev_distractor_v1"
FIELDS = ("question", "answer", "supporting_facts", "context")
PROMPT = (
    "Context information is below.\n---------------------\n{context}\n---------------------\n"
    "Given the context information and not prior knowledge, answer the query. Do not provide any explanation.\n"
    "Query: {query}\nAnswer:"
)
MAX_NEW_TOKENS = 100
SAID_ALONE = ("yes", "no", "noanswer")  # right as a whole or not at all

Row = dict[str, Any]


def load(data: str = "", rows: int | None = None) -> dict[str, list[Row]]:
    """Rows of the development set, called `distractor`.

    Args:
        data: A folder with `hotpot_dev_distractor_v1.json` (`.jsonl`, `.parquet`), or a Hub id; the one of HotpotQA by
            default.
        rows: At most so many.

    Raises:
        ReetError: If it cannot be read, or lacks a field.
    """
    records = public.records(data, FILE, repository=REPOSITORY, config="distractor", split="validation")
    return {"distractor": [_row(record) for record in public.sample(list(records), rows)]}


def _row(record: Mapping[str, Any]) -> Row:
    name = "id" if "id" in record else "_id"  # the Hub has the one, the original file the other
    public.require(record, (name, *FIELDS), FILE)
    paragraphs = _pairs(record["context"], "sentences")
    texts = [f"{title}\n{''.join(sentences)}" for title, sentences in paragraphs]
    facts = _facts(paragraphs, _pairs(record["supporting_facts"], "sent_id"))
    answer = record["answer"]
    alone = normalized(answer) in SAID_ALONE
    gold = [{"message": n, "start": 0, "end": len(texts[n])} for n in sorted({fact["message"] for fact in facts})]
    question = {
        "question": record["question"],
        "answers": [answer],
        "kind": "yes_no" if alone else "extractive",
        "answer_spans": [] if alone else public.places_within(texts, gold, [answer]),
        "evidence": facts,
    }
    return {
        "id": str(record[name]),
        "source": REPOSITORY,
        "license": "CC BY-SA 4.0",
        "messages": [public.document(text) for text in texts],
        "questions": [question],
        "type": record.get("type"),
        "level": record.get("level"),
    }


def _pairs(entries: Any, second: str) -> list[tuple[str, Any]]:
    """Entries by title: pairs in the original file, lists side by side on the Hub."""
    if isinstance(entries, Mapping):
        return list(zip(entries["title"], entries[second], strict=True))
    return [(title, value) for title, value in entries]


def _facts(paragraphs: Sequence[tuple[str, Sequence[str]]], named: Sequence[tuple[str, int]]) -> list[public.Place]:
    """Where the sentences stand that supporting facts name by title and number, each once."""
    found: list[public.Place] = []
    for message, (title, sentences) in enumerate(paragraphs):
        starts = list(accumulate(map(len, sentences), initial=len(title) + 1))
        numbers = sorted({number for other, number in named if other == title and 0 <= number < len(sentences)})
        found += ({"message": message, "start": starts[n], "end": starts[n + 1]} for n in numbers)
    return found


def score(row: Row, question: Mapping[str, Any], kept: Kept) -> dict[str, float]:
    """Answer survival and evidence recall, and the share of supporting facts that were kept whole."""
    found = mtr.score(row, question, kept)
    if question["evidence"]:
        texts = [message["content"] for message in row["messages"]]
        whole = [answer_survival(texts, [fact], kept.pieces) for fact in question["evidence"]]
        found["fact_recall"] = sum(whole) / len(whole)
    return found


def prompt(row: Mapping[str, Any], number: int, text: str) -> Prompt:
    """What EXIT asks its readers of a text in the place of the context."""
    return asked_once(PROMPT.format(context=text, query=row["questions"][number]["question"]), MAX_NEW_TOKENS)


def grade(row: Mapping[str, Any], question: Mapping[str, Any], said: str) -> dict[str, float]:
    """Exact match and F1 as HotpotQA computes them: part of an answer is no part of yes, no or noanswer."""
    gold = question["answers"][0]
    right = exact(gold, said)
    alone = {normalized(said), normalized(gold)} & set(SAID_ALONE)
    return {"exact": right, "f1": 0.0 if alone and not right else qa_f1(said, gold)}
