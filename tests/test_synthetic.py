"""SCBench's synthetic tasks in generated form: what is asked can be found out, lengths are met, places are told."""

from __future__ import annotations

import hashlib
import json
import re
from functools import lru_cache

import numpy as np
import pytest

from eval import benchmarks, records, run
from eval.systems.base import Kept
from eval.tasks import many_shot, math_find, synthetic
from eval.tasks.haystack import TRADES
from reet_hf.budget import resolve_counter
from reet_hf.errors import ReetError
from reet_hf.records import Span
from reet_hf.registration import bundled_model

DIGESTS = {"many_shot": "702983ac9c56", "math_find": "8c68cff3b981"}
"""Of `load(rows=1, turns=5, words=700, seeds=(0, 7))`; rows that change need another VERSION."""
MODULES = {"many_shot": many_shot, "math_find": math_find}
ORDINALS = {"second": 2, "third": 3, "fourth": 4, "fifth": 5}


@lru_cache
def rows_of(task):
    return MODULES[task].load(rows=3, turns=10, words=900)[task]


def covered(row, span):
    return row["messages"][span["message"]]["content"][span["start"] : span["end"]]


def kept_of(spans):
    pieces = sorted({Span(span["message"], span["start"], span["end"]) for span in spans})
    return Kept(text="", pieces=tuple(pieces), tokens=0, budget=0, milliseconds=0.0)


@pytest.mark.parametrize("task", MODULES)
def test_rows_are_the_same_every_time(task):
    made = MODULES[task].load(rows=1, turns=5, words=700, seeds=(0, 7))
    assert hashlib.sha256(json.dumps(made).encode()).hexdigest()[:12] == DIGESTS[task]
    assert len({json.dumps(row["messages"]) for row in rows_of(task)}) == 9


def test_the_number_of_a_rank_is_the_answer():
    for row in rows_of("math_find"):
        numbers = sorted(json.loads(row["messages"][0]["content"]))
        assert len(numbers) == len(set(numbers)) and len(numbers) % 2 == 1
        assert len({question["answers"][0] for question in row["questions"]}) == 10
        for question in row["questions"]:
            ordinal, kind = re.search(r"(?:(\w+) )?(largest|smallest|median)", question["question"]).groups()
            rank = ORDINALS.get(ordinal, 1)
            wanted = {"largest": numbers[-rank], "smallest": numbers[rank - 1], "median": numbers[len(numbers) // 2]}
            assert question["answers"] == [str(wanted[kind])]
            assert covered(row, question["answer_spans"][0]) == question["answers"][0]
            assert math_find.score(row, question, kept_of(question["answer_spans"])) == {
                "answer_survival": 1.0,
                "evidence_recall": 1.0,
            }


def test_examples_of_a_trade_have_one_label_and_tell_it():
    things = [{thing.strip() for thing in trade.things.split(",")} for trade in TRADES]
    for row in rows_of("many_shot"):
        text = "\n".join(message["content"] for message in row["messages"])
        shots = dict.fromkeys(re.findall(r"Sentence: (.*?) Label: (\w+)$", text, flags=re.MULTILINE))
        by_label = {}
        for sentence, label in shots:
            by_label.setdefault(label, []).append(sentence)
        assert 5 <= len(by_label) <= len(TRADES)
        for sentences in by_label.values():
            common = [n for n, own in enumerate(things) if all(any(t in s for t in own) for s in sentences)]
            assert len(common) >= 1
        for question in row["questions"]:
            (label,) = question["answers"]
            assert {covered(row, span) for span in question["answer_spans"]} == {label}
            assert len(question["evidence"]) == len(by_label[label])
            assert not [sentence for sentence in by_label[label] if sentence in question["question"]]
            assert label not in question["question"]


def test_one_whole_example_is_enough_and_half_of_one_is_not():
    row = rows_of("many_shot")[0]
    question = row["questions"][0]
    shot, label = question["evidence"][-1], question["answer_spans"][-1]
    assert many_shot.score(row, question, kept_of([shot])) == {"answer_survival": 1.0, "evidence_recall": 1.0}
    half = many_shot.score(row, question, kept_of([{**shot, "end": label["start"] - 8}]))
    assert half["answer_survival"] == 0.0 and 0.5 < half["evidence_recall"] < 1.0
    assert many_shot.score(row, question, kept_of([])) == {"answer_survival": 0.0, "evidence_recall": 0.0}


def test_lengths_are_met_within_a_tenth():
    counter = resolve_counter(bundled_model())
    for name, rows in synthetic.load(lengths="4k,32k", seeds=(3,)).items():
        task, length = name.split("-")
        (row,) = rows
        total = sum(counter.counts([message["content"] for message in row["messages"]]))
        assert abs(total / synthetic.LENGTHS[length] - 1) < 0.1, name
        assert row["task"] == task and len(row["questions"]) == 5


def test_a_set_of_a_name_that_is_none_is_an_error():
    with pytest.raises(ReetError, match="`tasks` must be among key_value, prefix_suffix"):
        synthetic.load(tasks="key_value,find")
    with pytest.raises(ReetError, match="`lengths` must be among 4k, 32k, 128k, got '5k'"):
        synthetic.load(lengths="5k")
    with pytest.raises(ReetError, match="`tasks` must be among"):
        synthetic.load(tasks=())


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Results of two systems on the shortest texts, where the page looks for them."""
    folder = tmp_path_factory.mktemp("results")
    asked = ["--task", "synthetic", "--option", "synthetic.lengths=4k", "--option", "synthetic.seeds=[0, 1]"]
    run.main(
        [*asked, "--system", "reet,bm25", "--budget", "33", "--threads", "1", "--output", str(folder / "synthetic")]
    )
    return folder


def test_what_is_asked_for_by_its_letters_survives(measured):
    result = records.read(measured / "synthetic" / "reet--synthetic@v1--session--33.json")
    for name, found in result.sets.items():
        scores = [score for row in found.rows for score in row.scores["answer_survival"]]
        assert np.mean(scores) >= 0.95, name
        assert found.costs["overruns"] == 0


def test_places_are_those_of_the_evidence(measured):
    result = records.read(measured / "synthetic" / "bm25--synthetic@v1--session--33.json")
    sets = synthetic.load(lengths="4k", seeds=(0, 1))
    for name, found in result.sets.items():
        for row, scored in zip(sets[name], found.rows, strict=True):
            texts = [message["content"] for message in row["messages"]]
            for question, place in zip(row["questions"], scored.places, strict=True):
                first = min(
                    sum(map(len, texts[: span["message"]])) + span["start"]
                    for span in question["answer_spans"] or question["evidence"]
                )
                assert place == pytest.approx(first / sum(map(len, texts)), abs=5e-4)
    fifths = [result.by_place("answer_survival", *each) for each in benchmarks.FIFTHS]
    assert sum(ratio.below.sum() for fifth in fifths for ratio in fifth) == 5 * 5 * 2


def test_the_page_says_what_was_run_and_what_was_not(measured):
    page = benchmarks.page(measured)
    assert "| SCBench |" in page and page.count("| no | `python eval/run.py --task ") == 7
    assert "### Regime `session`, 33 %" in page and "By place of the evidence" in page and "By turn" in page
    line = next(line for line in page.splitlines() if line.startswith("| **REET** |"))
    assert line.count("±") == 7 and line.endswith("| – | – |")  # nothing at the other two lengths
    assert benchmarks.NONE in page
    assert "random sentences; stop words + idf; LexRank" in page and "--system last_k,random,stopwords_idf" in page
    assert all(each["source"].startswith("arXiv:") for each in benchmarks.facts()["published"])


def test_the_page_shows_what_a_reader_scored_on_a_benchmark(tmp_path):
    for system, scores in (("full", [1, 0.5]), ("bm25", [0.5, None])):
        row = records.RowScores("a", {"answer_survival": [1, 1], "tiny.f1": scores})
        result = records.Result(
            system=system,
            task="longbench",
            version="1",
            regime="once" if system == "full" else "session",
            budget=100 if system == "full" else 33,
            turns=20,
            seeds=[],
            revision="",
            options={},
            readers={"tiny": {}},
            hardware={},
            packages={},
            sets={"qasper": records.SetScores("x", [row], {})},
        )
        records.write(result, tmp_path / "benchmarks")
    page = benchmarks.page(tmp_path)
    assert "`longbench`, regime `session`, 33 % of the tokens:" in page and benchmarks.NONE not in page
    assert "| system | tiny.f1 |" in page
    assert "| full context | .750 ±.000 |" in page and "| BM25 sentences | .500 ±.000 |" in page
    assert "| arXiv:2308.14508 | with tiny |" in page and page.count("| no | `python eval/run.py --task ") == 6
