"""HotpotQA: records of both forms, offsets of supporting facts, scores worked out by hand, a whole run."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("diskcache", reason="answers of readers are kept by diskcache")
pytest.importorskip("openai", reason="asked for by the tests whose tiny model is used here")

from test_eval_readers import TEMPLATE, make_lm_folder

from eval import records, run
from eval.systems.base import Kept
from eval.tasks import hotpotqa
from reet_hf.errors import ReetError
from reet_hf.records import Span

CONTEXT = [
    ["Ann Berg", ["Ann Berg keeps bees.", " She was born in Oslo.", " She paints."]],
    ["Lima", ["Lima is a city.", " Oslo is another."]],
    ["Bee House", ["The Bee House was built by Ann Berg.", " It is red."]],
]
FACTS = [["Bee House", 0], ["Ann Berg", 1], ["Ann Berg", 1], ["Ann Berg", 9]]  # one twice, one that is not there
TEXTS = [
    "Ann Berg\nAnn Berg keeps bees. She was born in Oslo. She paints.",
    "Lima\nLima is a city. Oslo is another.",
    "Bee House\nThe Bee House was built by Ann Berg. It is red.",
]


def record(answer: str = "Oslo", **fields) -> dict:
    found = {"_id": "h0", "question": "Where was the builder born?", "answer": answer, "supporting_facts": FACTS}
    return {**found, "context": CONTEXT, "type": "bridge", "level": "easy", **fields}


def from_hub(row: dict) -> dict:
    """The same record as the Hub has it."""
    facts = {"title": [title for title, _ in FACTS], "sent_id": [number for _, number in FACTS]}
    context = {"title": [title for title, _ in CONTEXT], "sentences": [sentences for _, sentences in CONTEXT]}
    rest = {name: value for name, value in row.items() if name != "_id"}
    return {**rest, "id": row["_id"], "supporting_facts": facts, "context": context}


def loaded(folder, *rows: dict, **options) -> list[dict]:
    (folder / f"{hotpotqa.FILE}.json").write_text(json.dumps(rows), encoding="utf-8")
    return hotpotqa.load(str(folder), **options)["distractor"]


def slices(row: dict, spans: list[dict]) -> list[str]:
    return [row["messages"][span["message"]]["content"][span["start"] : span["end"]] for span in spans]


def test_paragraphs_are_messages_and_supporting_facts_the_evidence(tmp_path):
    (row,) = loaded(tmp_path, record())
    (question,) = row["questions"]
    assert [message["content"] for message in row["messages"]] == TEXTS
    assert slices(row, question["evidence"]) == [" She was born in Oslo.", "The Bee House was built by Ann Berg."]
    assert question["answer_spans"] == [{"message": 0, "start": 46, "end": 50}]  # not the one of Lima
    assert (row["id"], row["type"], row["level"], question["kind"]) == ("h0", "bridge", "easy", "extractive")


def test_records_of_the_hub_give_the_same_rows(tmp_path):
    assert loaded(tmp_path, from_hub(record())) == loaded(tmp_path, record())


def test_yes_and_no_stand_nowhere(tmp_path):
    question = loaded(tmp_path, record("yes"))[0]["questions"][0]
    assert question["kind"] == "yes_no" and question["answer_spans"] == []


def test_a_sample_is_the_same_every_time(tmp_path):
    rows = [record(_id=f"h{number}") for number in range(9)]
    assert len(loaded(tmp_path, *rows, rows=3)) == 3
    assert loaded(tmp_path, *rows, rows=3) == loaded(tmp_path, *rows, rows=3)


def test_what_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ReetError, match="hotpot_dev_distractor_v1.jsonl"):
        hotpotqa.load(str(tmp_path))
    missing = {name: value for name, value in record().items() if name not in ("_id", "answer")}
    with pytest.raises(ReetError, match="lacks _id, answer"):
        loaded(tmp_path, missing)


def test_what_was_kept_is_measured_by_offset(tmp_path):
    (row,) = loaded(tmp_path, record())
    question = row["questions"][0]
    born = TEXTS[0].index("She was born")
    kept = Kept("", (Span(0, born, len(TEXTS[0])), Span(2, 10, 23)), 1, 1, 0.0)  # The Bee House
    found = hotpotqa.score(row, question, kept)
    assert found["answer_survival"] == 1 and found["fact_recall"] == 1 / 2
    assert found["evidence_recall"] == pytest.approx(4 / 7)  # born Oslo Bee House of born Oslo Bee House built Ann Berg
    nothing = {"answer_survival": 0, "evidence_recall": 0, "fact_recall": 0}
    assert hotpotqa.score(row, question, Kept("", (), 0, 1, 0.0)) == nothing


def test_the_prompt_letter_by_letter(tmp_path):
    prompt = hotpotqa.prompt(loaded(tmp_path, record())[0], 0, "{TEXT}")
    assert prompt.messages[0]["content"] == (
        "Context information is below.\n"
        "---------------------\n"
        "{TEXT}\n"
        "---------------------\n"
        "Given the context information and not prior knowledge, answer the query. Do not provide any explanation.\n"
        "Query: Where was the builder born?\n"
        "Answer:"
    )
    assert (prompt.max_new_tokens, prompt.plain, prompt.stop, prompt.cut) == (100, False, (), None)


@pytest.mark.parametrize(
    ("gold", "said", "exact", "f1"),
    [
        ("Oslo", "the OSLO.", 1, 1),
        ("Oslo", "in Oslo", 0, 2 / 3),  # 1 of 2 and 1 of 1 words
        ("yes", "Yes.", 1, 1),
        ("yes", "yes it is", 0, 0),  # no part of a yes
        ("yes it is", "yes", 0, 0),
        ("no", "noanswer", 0, 0),
        ("Oslo", "", 0, 0),
        ("the", "a", 1, 0),  # the same once normalized, but no words that they share
    ],
)
def test_grades_by_hand(gold, said, exact, f1):
    assert hotpotqa.grade({}, {"answers": [gold]}, said) == {"exact": exact, "f1": pytest.approx(f1)}


def test_a_reader_sees_the_whole_context_and_is_scored(tmp_path, monkeypatch):
    (tmp_path / f"{hotpotqa.FILE}.json").write_text(json.dumps([record(), record("no", _id="h1")]))
    monkeypatch.setattr(hotpotqa, "MAX_NEW_TOKENS", 6)  # enough of what a tiny model says
    shown = []
    ask = hotpotqa.prompt
    monkeypatch.setattr(hotpotqa, "prompt", lambda row, n, text: shown.append(text) or ask(row, n, text))
    model = make_lm_folder(tmp_path / "model", "llama", TEMPLATE)
    run.main(
        ["--system", "full,bm25", "--task", "hotpotqa", "--data", str(tmp_path), "--output", str(tmp_path / "out")]
        + ["--budget", "50,33,15,10,6", "--reader", "causal_lm", "--reader-budget", "50"]
        + ["--option", f"causal_lm.model={model}", "--option", "causal_lm.device=cpu"]
    )
    assert shown[:2] == ["\n".join(TEXTS)] * 2
    found = {result.name: result.sets["distractor"] for result in records.read_all(tmp_path / "out")}
    budgets = {f"bm25--hotpotqa@v1--session--{budget}.json" for budget in (50, 33, 15, 10, 6)}
    assert set(found) == {"full--hotpotqa@v1--once--100.json"} | budgets
    whole = found["full--hotpotqa@v1--once--100.json"]
    assert whole.rows[0].scores["fact_recall"] == whole.rows[0].scores["answer_survival"] == [1]
    for name in ("full--hotpotqa@v1--once--100.json", "bm25--hotpotqa@v1--session--50.json"):
        assert not found[name].errors
        assert {"model.exact", "model.f1"} < set(found[name].rows[1].scores)
