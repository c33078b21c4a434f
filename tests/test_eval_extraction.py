"""Evaluation of extraction and of what text and ledger keep: worked examples, and the scripts on small models."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import city_rows
from test_extraction import city_texts, row
from test_extraction_pipeline import folder  # noqa: F401

from eval import extraction, ledger
from eval.extractors.noun_phrases import NounPhrases
from eval.extractors.rules import Rules
from reet_hf import ReetError
from reet_hf.extraction.labels import GUIDES, guide_of
from reet_hf.ledger import Ledger
from reet_hf.records import EntityMention, Span, Statement


def test_spans_are_counted_by_exact_match_and_by_overlap():
    found, gold, unsaid = {(0, 4), (6, 9), (20, 25), (30, 32)}, {(0, 4), (8, 12), (40, 44)}, {(30, 32)}
    counts = extraction.row_counts(found, gold, unsaid)
    assert counts == [1, 2, 2, 3, 3]
    scores = extraction.f1_scores(np.array(counts))
    assert scores["exact_precision"] == pytest.approx(1 / 3) and scores["overlap_recall"] == pytest.approx(2 / 3)
    assert scores["exact_f1"] == pytest.approx(1 / 3) and scores["overlap_f1"] == pytest.approx(2 / 3)


def test_pronouns_are_not_asked_for():
    made = row("we saw Rome, not hers.", ("Rome", "GPE"), ("hers", "PER"))
    assert extraction.gold_places(made, GUIDES["litbank"]) == {(7, 11)}
    assert extraction.span_scores(Rules(), [made, made], GUIDES["litbank"])["exact_f1"] == 1.0


def test_noun_phrases_are_runs_between_function_words():
    text = "The old harbour of Oslo was sold, red boats too."

    def phrases(guide: str) -> list[str]:
        return [text[start:end] for start, end in NounPhrases().find(text, GUIDES[guide])]

    assert phrases("litbank") == ["The old harbour", "Oslo", "sold", "red boats"]
    assert phrases("redocred") == ["old harbour", "Oslo", "sold", "red boats"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("marked")
    tables = {
        "crossner-dev": city_texts(40, 5, "location"),
        "redocred-train": city_texts(10, 6),
        "litbank-dev": city_texts(4, 7, "LOC"),
        "turns/sgd-dev": city_rows(3),
        "turns/other-dev": city_rows(2),
    }
    (path / "turns").mkdir()
    for name, rows in tables.items():
        pq.write_table(pa.Table.from_pylist(rows), path / f"{name}.parquet")
    return path


def test_every_system_is_a_file_and_facts_are_scored_where_there_is_a_head(data, folder, tmp_path):  # noqa: F811
    sets = "crossner-dev,redocred-train-held"
    argv = ["--data", str(data), "--sets", sets, "--output", str(tmp_path), "--option", f"reet.model={folder}"]
    extraction.main([*argv, "--systems", "reet,rules"])
    record = json.loads((tmp_path / "reet.json").read_text())
    assert record["sets"]["redocred-train-held"]["exact_f1"] > 0.9
    assert (
        set(record["facts"]) == {"redocred-train-held"} and record["facts"]["redocred-train-held"]["link_accuracy"] > 0
    )
    page = extraction.page(tmp_path)
    assert "| reet |" in page and "| rules |" in page and "link accuracy" in page
    with pytest.raises(ReetError, match="`systems` must be of gliner, noun_phrases, reet, rules, got 'none'"):
        extraction.main([*argv, "--systems", "none"])


def test_a_name_survives_in_the_text_or_in_the_ledger_and_an_entity_by_any_of_its_names():
    known = Ledger()
    text = "Ann Lee met Bo in Kiel."
    said = Statement(Span(0, 0, 7), "met Bo", 0, 8, 14)
    known.add(text, [EntityMention("Ann Lee", "PERSON", "named", 0, 0, 7)], [said])

    class Result:
        text = "met the Oslo crew."

    entities = [frozenset(names) for names in ({"Ann Lee", "A. Lee"}, {"Oslo"}, {"Bo"}, {"Kiel"}, {"the Oslo"})]
    assert ledger.survival(entities, Result, known) == {
        "names, in the text": pytest.approx(2 / 6),
        "names, in text or ledger": pytest.approx(4 / 6),
        "entities, in the text": pytest.approx(2 / 5),
        "entities, in text or ledger": pytest.approx(4 / 5),
    }


def test_contexts_have_the_names_of_each_entity():
    marks = [("Ann Lee", 1), ("she", 1), ("Lee", 1), ("Oslo", 2)]
    text = "Ann Lee left; she, Lee, saw Oslo."
    entities = [
        {"start": text.index(name), "end": text.index(name) + len(name), "type": "PER", "cluster": cluster}
        for name, cluster in marks
    ]
    marked = {"text": text, "entities": entities}
    ((joined, found),) = ledger.contexts([marked, marked], guide_of("litbank-dev"))
    assert joined == f"{text}\n{text}" and found == {frozenset({"Ann Lee", "Lee"}), frozenset({"Oslo"})}


def test_former_values_are_other_values_of_the_slot_that_stand_before():
    def dialogue(number: int, turns: list[str], asked: list[tuple[str, str, str]]) -> dict:
        questions = []
        for kind, question, answer in asked:
            place = max(n for n, turn in enumerate(turns) if answer in turn)
            start = turns[place].rindex(answer)
            span = {"message": place, "start": start, "end": start + len(answer)}
            questions.append({"question": question, "answers": [answer], "kind": kind, "answer_spans": [span]})
        messages = [{"role": "user", "content": turn} for turn in turns]
        return {"id": str(number), "messages": messages, "questions": questions}

    ask = "Which time of the show was asked for (events)?"
    first = dialogue(0, ["At noon, for Oslo.", "No, at six."], [("latest_value", ask, "six")])
    second = dialogue(1, ["At noon."], [("state", "What time of the show applies in the end (events)?", "noon")])
    third = dialogue(2, ["In Oslo."], [("state", "Events: what city did they settle on?", "Oslo")])
    found = list(ledger.former_values([first, second, third]))
    assert [(row["id"], stale) for row, _, stale in found] == [("0", [{"message": 0, "start": 3, "end": 7}])]
    assert ledger.slot_of("Who is it?") is None


def test_the_whole_script_measures_and_prints(data, folder, tmp_path, monkeypatch):  # noqa: F811
    argv = ["--data", str(data / "turns"), "--extraction_data", str(data), "--model", str(folder)]
    ledger.main([*argv, "--output", str(tmp_path), "--rows", "2", "--turns", "1"])
    record = json.loads(next(tmp_path.glob("*.json")).read_text())
    assert set(record["names"]) == set(ledger.NAMED)
    assert record["names"]["redocred-train-held"]["33"]["entities, in text or ledger"] >= 0.9
    assert record["time"]["ratio"] > 0
    assert "names, in the text" in ledger.page(tmp_path)


def test_gliner_is_trained_on_words_and_the_kinds_that_a_data_set_marks():
    train_gliner = pytest.importorskip("train.train_gliner", reason="the package gliner is not installed")
    made = row("The old man saw Rome in May.", ("The old man", "PER"), ("Rome", "GPE"), ("May", "GPE"))

    def words(text: str):
        start = 0
        for word in text.replace(".", " .").split():
            start = text.index(word, start)
            yield word, start, start + len(word)
            start += len(word)

    pieces = train_gliner.examples_of(made, GUIDES["litbank"], words, 5)
    assert [piece["ner"] for piece in pieces] == [[[0, 2, "description"], [4, 4, "name"]], [[1, 1, "name"]]]
    assert pieces[0]["ner_labels"] == ["name", "description"]
    ordered = train_gliner.in_batches([{"tokenized_text": ["a"] * size} for size in (3, 1, 9, 2, 8, 7)], 2, 0)
    sizes = [len(each["tokenized_text"]) for each in ordered]
    assert sorted(map(tuple, np.array(sizes).reshape(-1, 2).tolist())) == [(1, 2), (3, 7), (8, 9)]
