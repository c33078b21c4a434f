"""LoCoMo: rows, prompts and scores of a small record of the same schema, and a run to its result file."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("nltk", reason="stems are those of nltk")

from test_eval_readers import make_lm_folder

from eval import records, run
from eval.regimes import ask
from eval.systems import full
from eval.tasks import locomo
from reet_hf.budget import resolve_counter
from reet_hf.errors import ReetError
from reet_hf.registration import bundled_model

FIRST = [
    {"speaker": "Ann", "dia_id": "D1:1", "text": "I bake bread."},
    {"speaker": "Bo", "dia_id": "D1:2", "text": "Nice. I swim in Oslo.", "blip_caption": "a photo of a pool"},
]
SECOND = [
    {"speaker": "Bo", "dia_id": "D2:1", "text": "Yesterday I sold my boat."},
    {"speaker": "Ann", "dia_id": "D2:2", "text": "I walked to a park."},
]
QUESTIONS = [
    {"question": "What do they do?", "answer": "baking, swimming", "category": 1, "evidence": ["D1:1; D:1:2"]},
    {"question": "When did Bo sell his boat?", "answer": 2023, "category": 2, "evidence": ["D2:01", "D9:9", "D"]},
    {"question": "Would Bo like a lake?", "answer": "Yes; he swims", "category": 3, "evidence": []},
    {"question": "Where does Bo swim?", "answer": "oslo", "category": 4, "evidence": ["D1:2"]},
    {"question": "Where does Ann swim?", "adversarial_answer": "Oslo", "category": 5, "evidence": ["D1:2"]},
]
RECORD = {
    "sample_id": "conv-1",
    "conversation": {
        "speaker_a": "Ann",
        "speaker_b": "Bo",
        "session_1_date_time": "1:56 pm on 8 May, 2023",
        "session_1": FIRST,
        "session_2_date_time": "9:00 am on 9 June, 2023",
        "session_2": SECOND,
        "session_3_date_time": "a session that was left out",
    },
    "qa": QUESTIONS,
}
START = (
    "Below is a conversation between two people: Ann and Bo. The conversation takes place over multiple days and the "
    "date of each conversation is wriiten at the beginning of the conversation.\n\n"
)
END = (
    "\n\n\nBased on the above context, write an answer in the form of a short phrase for the following question. "
    "Answer with exact words from the context whenever possible.\n\nQuestion: %s Short answer:\n"
)
ORIGINAL = (  # the latest session first, four line breaks for two sessions
    'DATE: 9:00 am on 9 June, 2023\nCONVERSATION:\nBo said, "Yesterday I sold my boat."\n\n'
    'Ann said, "I walked to a park."\n\n'
    'DATE: 1:56 pm on 8 May, 2023\nCONVERSATION:\nAnn said, "I bake bread."\n\n'
    'Bo said, "Nice. I swim in Oslo."\n and shared a photo of a pool.\n'
    "\n\n\n\n"
)
TURNS = (
    "DATE: 1:56 pm on 8 May, 2023\nCONVERSATION:\nAnn: I bake bread.\n"
    "Bo: Nice. I swim in Oslo.\n and shared a photo of a pool.\n"
    "DATE: 9:00 am on 9 June, 2023\nCONVERSATION:\nBo: Yesterday I sold my boat.\nAnn: I walked to a park."
)


@pytest.fixture
def data(tmp_path):
    (tmp_path / "locomo10.json").write_text(json.dumps([RECORD]), encoding="utf-8")
    return tmp_path


def row_of(data, **options) -> dict:
    (row,) = locomo.load(str(data), **options)["locomo10"]
    return row


def whole(row) -> str:
    counter = resolve_counter(bundled_model())
    return ask(full.build(counter), row, ["once"], [1.0], 1, counter)["once"].turns[0][0].text


def changed(data, change) -> str:
    record = json.loads(json.dumps(RECORD))
    change(record)
    (data / "locomo10.json").write_text(json.dumps([record]), encoding="utf-8")
    return str(data)


def parts(row, question, name) -> list[str]:
    return [row["messages"][at["message"]]["content"][at["start"] : at["end"]] for at in question[name]]


@pytest.mark.parametrize("form", locomo.FORMS)
def test_evidence_is_what_was_said_in_the_annotated_turns(data, form):
    row = row_of(data, form=form)
    multi, dated, open_one, single, adversarial = row["questions"]
    pool = "Nice. I swim in Oslo." + '"' * (form == "original") + "\n and shared a photo of a pool."
    assert [text.rstrip('"\n') for text in parts(row, multi, "evidence")] == ["I bake bread.", pool]
    assert [text.rstrip('"\n') for text in parts(row, dated, "evidence")] == ["Yesterday I sold my boat."]
    assert parts(row, single, "evidence") == parts(row, adversarial, "evidence") == [pool]
    assert parts(row, single, "answer_spans") == ["Oslo"]
    assert not (multi["answer_spans"] or dated["answer_spans"] or adversarial["answer_spans"] or open_one["evidence"])
    assert [q["kind"] for q in row["questions"]] == ["abstractive"] * 3 + ["extractive", "unanswerable"]
    assert [q["answers"] for q in row["questions"][1:4]] == [["2023"], ["Yes; he swims"], ["oslo"]]


def test_turns_have_their_speakers_and_sessions_their_dates(data):
    row = row_of(data)
    assert [message["name"] for message in row["messages"]] == ["", "Ann", "Bo", "", "Bo", "Ann"]
    assert whole(row) == TURNS
    asked = locomo.prompt(row, 3, whole(row))
    assert asked.messages[0]["content"] == START + TURNS + END % "Where does Bo swim?"
    assert (asked.max_new_tokens, asked.plain, asked.cut) == (32, False, None)


def test_the_original_prompt_is_there_letter_by_letter(data):
    row = row_of(data, form="original")
    told = [locomo.prompt(row, number, whole(row)).messages[0]["content"] for number in range(5)]
    assert told[0] == START + ORIGINAL + END % "What do they do?"
    hint = "When did Bo sell his boat? Use DATE of CONVERSATION to answer with an approximate date."
    assert told[1] == START + ORIGINAL + END % hint
    first, second = row["questions"][4]["choices"]
    assert {first, second} == {"Oslo", "Not mentioned in the conversation"}
    assert told[4] == (
        f"{START}{ORIGINAL}\n\n\nBased on the above context, answer the following question.\n\nQuestion: Where does "
        f"Ann swim? Select the correct answer: (a) {first} (b) {second}.  Short answer:\n"
    )


def test_the_order_of_the_two_answers_is_the_same_every_time_and_not_always_the_same():
    orders = [locomo._choices("x", f"conv {number}") for number in range(50)]
    assert orders == [locomo._choices("x", f"conv {number}") for number in range(50)]
    assert 10 < sum(order[0] == "x" for order in orders) < 40


@pytest.mark.parametrize(
    ("number", "said", "score"),
    [
        (0, "They swim, and they bake", 2 / 3),  # the best part shares one stem with each: 2 * 1 / (1 + 2)
        (0, "bakes", 0.5),  # the second part of the gold answer has nothing
        (0, "", 0),
        (1, "In 2023.", 2 / 3),  # one shared of 2 and 1
        (2, "yes", 1),  # what stands behind the semicolon does not count
        (3, "The Oslo, and a", 1),  # articles, "and" and punctuation do not count
        (3, "Oslo city hall", 0.5),
        (3, "Rome", 0),
    ],
)
def test_scores_are_those_of_the_original(data, number, said, score):
    row = row_of(data)
    question = row["questions"][number]
    name = ("multi_hop", "temporal", "open_domain", "single_hop")[number]
    assert locomo.grade(row, question, said) == {"f1": pytest.approx(score), f"f1_{name}": pytest.approx(score)}


@pytest.mark.parametrize(
    ("said", "score"),
    [
        ("(a)", 1),
        ("A", 1),
        ("b", 0),
        ("(b)", 0),
        ("c", 0),  # any other letter stands for (b)
        ("It is not mentioned in the conversation.", 1),
        ("No information available", 1),
        ("(b) Not mentioned", 1),
        ("Oslo", 0),
        ("", 0),
    ],
)
def test_an_adversarial_question_is_right_if_nothing_was_found(data, said, score):
    row = row_of(data)
    question = row["questions"][4] | {"choices": ["Not mentioned in the conversation", "Oslo"]}
    assert locomo.grade(row, question, said) == {"f1": score, "f1_adversarial": score}
    turned = question | {"choices": question["choices"][::-1]}
    if len(said) in (1, 3):
        assert locomo.grade(row, turned, said)["f1"] == 1 - score


def test_options_choose_questions(data):
    assert [q["category"] for q in row_of(data, categories=[5, 1])["questions"]] == [1, 5]
    assert [q["category"] for q in row_of(data, categories=4)["questions"]] == [4]
    few = row_of(data, questions=2)["questions"]
    assert len(few) == 2 and few == row_of(data, questions=2)["questions"]
    assert len(row_of(data / "locomo10.json")["questions"]) == 5


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda r: r.pop("qa"), "lacks qa"),
        (lambda r: r["conversation"].pop("speaker_b"), "lacks speaker_b"),
        (lambda r: r["conversation"].pop("session_1_date_time"), "lacks session_1_date_time"),
        (lambda r: r["conversation"]["session_1"][0].pop("text"), "lacks text"),
        (lambda r: r["qa"][0].pop("answer"), "lacks answer"),
        (lambda r: r["qa"][4].pop("adversarial_answer"), "lacks answer"),
    ],
)
def test_a_record_of_another_form_is_refused(data, change, told):
    with pytest.raises(ReetError, match=told):
        locomo.load(changed(data, change))


def test_options_out_of_range_and_missing_files_are_refused(data, tmp_path_factory):
    for options in ({"form": "xml"}, {"categories": 6}, {"categories": []}):
        with pytest.raises(ReetError, match=f"`{next(iter(options))}` must be"):
            locomo.load(str(data), **options)
    for place in ("", "nowhere"):
        with pytest.raises(ReetError, match="locomo10.json or a folder.*snap-research"):
            locomo.load(place)
    with pytest.raises(ReetError, match="must have a file locomo10"):
        locomo.load(str(tmp_path_factory.mktemp("empty")))


def test_a_run_reads_the_full_context(data, tmp_path):
    folder = make_lm_folder(tmp_path / "lm", "gpt2")
    arguments = ["--system", "full", "--task", "locomo", "--data", str(data), "--regime", "once", "--output"]
    run.main([*arguments, str(tmp_path / "out"), "--reader", "causal_lm", "--option", f"causal_lm.model={folder}"])
    (found,) = records.read_all(tmp_path / "out")
    assert found.name == f"full--locomo@v{locomo.VERSION}--once--100.json"
    (row,) = found.sets["locomo10"].rows
    assert not found.sets["locomo10"].errors
    assert row.scores["answer_survival"] == [None, None, None, 1, None]
    assert row.scores["evidence_recall"] == [1, 1, None, 1, 1]
    assert len(row.scores["lm.f1"]) == 5 and all(0 <= score <= 1 for score in row.scores["lm.f1"])
    assert [score is not None for score in row.scores["lm.f1_adversarial"]] == [False] * 4 + [True]
