"""LongMemEval: rows, prompts, scores and the judge on small records of the same schema, and a run to its result."""

from __future__ import annotations

import json

import pytest
from test_eval_readers import make_lm_folder

from eval import records, run
from eval.readers.base import Answer, Prompt, Reader
from eval.regimes import ask
from eval.systems import full
from eval.tasks import longmemeval, longmemeval_judge
from reet_hf.budget import resolve_counter
from reet_hf.errors import ReetError
from reet_hf.registration import bundled_model

PETS = [
    {"role": "user", "content": " My dog is called Rex.\n", "has_answer": True},
    {"role": "assistant", "content": 'A fine "name".', "has_answer": False},
]
TALK = [{"role": "user", "content": "Is café French?"}, {"role": "assistant", "content": "Yes."}]
RECORD = {
    "question_id": "q1",
    "question_type": "single-session-user",
    "question": "What is my dog called?",
    "answer": "Rex",
    "question_date": "2023/06/01 (Thu) 10:00",
    "haystack_dates": ["2023/05/30 (Tue) 23:40", "2023/05/20 (Sat) 02:21"],  # the later one first
    "haystack_session_ids": ["answer_1", "talk_1"],
    "haystack_sessions": [PETS, TALK],
    "answer_session_ids": ["answer_1"],
}
BEGIN = (
    "I will give you several history chats between you and a user. Please answer the question based on the relevant "
    "chat history."
)
NL = (
    "\n### Session 1:\nSession Date: 2023/05/20 (Sat) 02:21\nSession Content:\n\n\nuser: Is café French?\n\n"
    "assistant: Yes.\n"
    "\n### Session 2:\nSession Date: 2023/05/30 (Tue) 23:40\nSession Content:\n\n\nuser: My dog is called Rex.\n\n"
    'assistant: A fine "name".\n'
)
JSON = (
    "\n### Session 1:\nSession Date: 2023/05/20 (Sat) 02:21\nSession Content:\n\n"
    '[{"role": "user", "content": "Is caf\\u00e9 French?"}, {"role": "assistant", "content": "Yes."}]\n'
    "\n### Session 2:\nSession Date: 2023/05/30 (Tue) 23:40\nSession Content:\n\n"
    '[{"role": "user", "content": " My dog is called Rex.\\n"}, '
    '{"role": "assistant", "content": "A fine \\"name\\"."}]\n'
)


def written(folder, *changes: dict, name: str = "longmemeval_oracle.json") -> str:
    (folder / name).write_text(json.dumps([RECORD | change for change in changes or ({},)]), encoding="utf-8")
    return str(folder)


def rows_of(folder, *changes: dict, **options) -> list[dict]:
    return longmemeval.load(written(folder, *changes), sets="longmemeval_oracle", **options)["longmemeval_oracle"]


def whole(row) -> str:
    counter = resolve_counter(bundled_model())
    return ask(full.build(counter), row, ["once"], [1.0], 1, counter)["once"].turns[0][0].text


def parts(row, name) -> list[str]:
    places = row["questions"][0][name]
    return [row["messages"][at["message"]]["content"][at["start"] : at["end"]] for at in places]


@pytest.mark.parametrize(("history", "text"), [("nl", NL), ("json", JSON)])
@pytest.mark.parametrize(
    ("reading", "how", "answer", "length"),
    [
        ("direct", "", "Answer:", 500),
        (
            "con",
            " Answer the question step by step: first extract all the relevant information, and then reason over the "
            "information to get the answer.",
            "Answer (step by step):",
            800,
        ),
    ],
)
def test_prompts_are_the_original_ones(tmp_path, history, text, reading, how, answer, length):
    (row,) = rows_of(tmp_path, history=history, reading=reading)
    assert whole(row) == text
    asked = longmemeval.prompt(row, 0, whole(row))
    assert asked.messages[0]["content"] == (
        f"{BEGIN}{how}\n\n\nHistory Chats:\n\n{text}\n\nCurrent Date: 2023/06/01 (Thu) 10:00\n"
        f"Question: What is my dog called?\n{answer}"
    )
    assert (asked.max_new_tokens, asked.plain, asked.cut) == (length, False, None)


def test_evidence_is_marked_turns_and_the_answer_in_them(tmp_path):
    (row,) = rows_of(tmp_path)
    assert [message["role"] for message in row["messages"]] == ["document", "user", "assistant"] * 2
    assert parts(row, "evidence") == ["My dog is called Rex."] and parts(row, "answer_spans") == ["Rex"]
    assert row["questions"][0]["kind"] == "extractive"
    (row,) = rows_of(tmp_path, history="json")
    assert parts(row, "evidence") == ['{"role": "user", "content": " My dog is called Rex.\\n"}']
    assert parts(row, "answer_spans") == ["Rex"]


def test_without_marks_the_evidence_is_the_named_sessions(tmp_path):
    plain = [{"role": turn["role"], "content": turn["content"]} for turn in PETS]
    (row,) = rows_of(tmp_path, {"haystack_sessions": [plain, TALK], "answer": 3})
    assert parts(row, "evidence") == ["My dog is called Rex.", 'A fine "name".']
    assert row["questions"][0]["answers"] == ["3"] and row["questions"][0]["kind"] == "abstractive"


def test_questions_without_an_answer_have_no_evidence_and_rubrics_no_spans(tmp_path):
    unanswerable, rubric = rows_of(
        tmp_path, {"question_id": "q1_abs"}, {"question_type": "single-session-preference", "answer": "dog"}
    )
    assert unanswerable["questions"][0]["kind"] == "unanswerable" and not parts(unanswerable, "evidence")
    assert parts(rubric, "evidence") and not parts(rubric, "answer_spans")
    for row in (unanswerable, rubric):
        assert longmemeval.grade(row, row["questions"][0], "Rex") == {}


@pytest.mark.parametrize(
    ("said", "contained", "f1"),
    [
        ("Your dog is called Rex.", 1, 1 / 3),  # one shared word of 1 and 5: 2 / 6
        ("REX", 1, 1),
        ("Rexy", 0, 0),
        ("", 0, 0),
    ],
)
def test_scores_without_a_judge(tmp_path, said, contained, f1):
    (row,) = rows_of(tmp_path)
    close = pytest.approx(f1)
    assert longmemeval.grade(row, row["questions"][0], said) == {
        "contains": contained,
        "f1": close,
        "contains_single_session_user": contained,
        "f1_single_session_user": close,
    }


ONE = "I will give you a question, a correct answer, and a response from a model. Please answer yes if the response "
ONE += "contains the correct answer. Otherwise, answer no. "
ALL = "If the response is equivalent to the correct answer or contains all the intermediate steps to get the correct "
ALL += "answer, you should also answer yes. If the response only contains a subset of the information required by the "
ALL += "answer, answer no. "
DAYS = "In addition, do not penalize off-by-one errors for the number of days. If the question asks for the number of "
DAYS += "days/weeks/months, etc., and the model makes off-by-one errors (e.g., predicting 19 days when the answer is "
DAYS += "18), the model's response is still correct. "
UPDATE = "If the response contains some previous information along with an updated answer, the response should be "
UPDATE += "considered as correct as long as the updated answer is the required answer."
RUBRIC = "I will give you a question, a rubric for desired personalized response, and a response from a model. Please "
RUBRIC += "answer yes if the response satisfies the desired response. Otherwise, answer no. The model does not need to "
RUBRIC += "reflect all the points in the rubric. The response is correct as long as it recalls and utilizes the user's "
RUBRIC += "personal information correctly."
NONE = (
    "I will give you an unanswerable question, an explanation, and a response from a model. Please answer yes if the "
)
NONE += "model correctly identifies the question as unanswerable. The model could say that the information is "
NONE += "incomplete, or some other information is given but the asked information is not."
CORRECT = "Is the model response correct? Answer yes or no only."
FOUND = "Does the model correctly identify the question as unanswerable? Answer yes or no only."


@pytest.mark.parametrize(
    ("kind", "told", "called", "asked"),
    [
        ("single-session-user", ONE + ALL, "Correct Answer", CORRECT),
        ("single-session-assistant", ONE + ALL, "Correct Answer", CORRECT),
        ("multi-session", ONE + ALL, "Correct Answer", CORRECT),
        ("temporal-reasoning", ONE + ALL + DAYS, "Correct Answer", CORRECT),
        ("knowledge-update", ONE + UPDATE, "Correct Answer", CORRECT),
        ("single-session-preference", RUBRIC, "Rubric", CORRECT),
        ("abstention", NONE, "Explanation", FOUND),
    ],
)
def test_the_judge_is_asked_as_in_the_original(kind, told, called, asked):
    made = longmemeval_judge.judge_prompt(kind, "Q?", "G", "S")
    wanted = f"{told}\n\nQuestion: Q?\n\n{called}: G\n\nModel Response: S\n\n{asked}"
    assert made == Prompt(({"role": "user", "content": wanted},), 10)


class Judge(Reader):
    """Says the same every time and notes what it was asked."""

    name, revision, generates = "judge", "1", True

    def __init__(self, answer: Answer):
        self.answer, self.asked = answer, []

    def answers(self, asked):
        raise AssertionError("a judge is asked in the benchmark's words")

    def said(self, prompts):
        self.asked.extend(prompts)
        return [self.answer] * len(prompts)


@pytest.mark.parametrize(
    ("said", "verdict"), [("Yes.", 1), ("no, yes", 1), ("No", 0), ("", 0), (Answer(error="busy"), None)]
)
def test_a_verdict_is_yes_or_no_or_none(said, verdict):
    judge = Judge(said if isinstance(said, Answer) else Answer(said))
    (judgement,) = longmemeval_judge.judgements(judge, [longmemeval_judge.judge_prompt("abstention", "Q", "G", "S")])
    assert longmemeval_judge.verdict(judgement) == verdict and len(judge.asked) == 1
    judge.generates = False
    with pytest.raises(ReetError, match="`judge` must be a reader that generates"):
        longmemeval_judge.judgements(judge, [])


def test_a_judge_grades_every_question(tmp_path, monkeypatch):
    judge = Judge(Answer("yes"))
    monkeypatch.setattr(longmemeval, "appointed", lambda model, url: judge)
    rows = rows_of(tmp_path, {}, {"question_id": "q1_abs"}, judge_model="m", judge_url="http://localhost/v1")
    answered, unanswerable = (longmemeval.grade(row, row["questions"][0], " It is Rex ") for row in rows)
    assert answered["judged"] == answered["judged_single_session_user"] == answered["contains"] == 1
    assert set(unanswerable) == {"judged", "judged_single_session_user", "judged_abstention"}
    told = [prompt.messages[0]["content"] for prompt in judge.asked]
    assert told[0].startswith(ONE) and told[1].startswith(NONE)
    assert "\n\nModel Response: It is Rex\n\n" in told[0]
    judge.answer = Answer(error="busy")
    with pytest.raises(ReetError, match="`judge_model` must answer, but the call failed: busy"):
        longmemeval.grade(rows[0], rows[0]["questions"][0], "Rex")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"question_type": "riddle"}, "q1 is of 'riddle'"),
        ({"haystack_dates": []}, "a date and an id for each session, but q1 has 0, 2, 2"),
    ],
)
def test_a_record_of_another_form_is_refused(tmp_path, change, told):
    with pytest.raises(ReetError, match=told):
        rows_of(tmp_path, change)


def test_missing_fields_and_files_and_wrong_options_are_refused(tmp_path):
    short = {key: value for key, value in RECORD.items() if key != "question_date"}
    (tmp_path / "longmemeval_s.json").write_text(json.dumps([short]))
    with pytest.raises(ReetError, match="longmemeval_s, q1 lacks question_date"):
        longmemeval.load(str(tmp_path), sets=["longmemeval_s"])
    with pytest.raises(ReetError, match="must have a file longmemeval_m"):
        longmemeval.load(str(tmp_path), sets="longmemeval_m")
    with pytest.raises(ReetError, match="longmemeval_oracle.json or the Hub id.*To work offline"):
        longmemeval.load("nobody/nothing", sets="longmemeval_oracle")
    for options in ({"sets": "s"}, {"history": "xml"}, {"reading": "cot"}, {"judge_url": "http://localhost"}):
        with pytest.raises(ReetError, match=f"`{next(iter(options))}` must"):
            longmemeval.load(str(tmp_path), **options)


def test_files_of_both_versions_and_of_the_hub_are_read(tmp_path, monkeypatch):
    written(tmp_path, {}, name="longmemeval_s.json")
    assert longmemeval.load(str(tmp_path), sets="longmemeval_s")["longmemeval_s"][0]["id"] == "q1"
    written(tmp_path, {"question_id": "new"}, name="longmemeval_s_cleaned.json")
    assert longmemeval.load(str(tmp_path), sets="longmemeval_s")["longmemeval_s"][0]["id"] == "new"
    fetched = []

    def fetch(repository, file, repo_type):
        fetched.append((repository, file, repo_type))
        return str(tmp_path / file)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fetch)
    assert longmemeval.load(sets="longmemeval_s")["longmemeval_s"][0]["id"] == "new"
    assert fetched == [("xiaowu0162/longmemeval-cleaned", "longmemeval_s_cleaned.json", "dataset")]


def test_a_run_reads_the_full_history_and_is_judged(tmp_path, monkeypatch):
    monkeypatch.setitem(longmemeval.READINGS, "direct", ("", "Answer:", 20))  # the model has 256 positions
    folder = make_lm_folder(tmp_path / "lm", "gpt2")
    data = written(tmp_path, {}, {"question_id": "q2_abs"})
    options = [f"causal_lm.model={folder}", "longmemeval.sets=longmemeval_oracle", f"longmemeval.judge_model={folder}"]
    more = [part for option in options for part in ("--option", option)]
    arguments = ["--system", "full", "--task", "longmemeval", "--data", data, "--regime", "once", *more]
    run.main([*arguments, "--reader", "causal_lm", "--output", str(tmp_path / "out")])
    (found,) = records.read_all(tmp_path / "out")
    assert found.name == f"full--longmemeval@v{longmemeval.VERSION}--once--100.json"
    assert found.options["task"]["judge_model"] == "lm" and not found.sets["longmemeval_oracle"].errors
    first, second = found.sets["longmemeval_oracle"].rows
    assert first.scores["answer_survival"] == first.scores["evidence_recall"] == [1]
    measures = {"contains", "f1", "judged"}
    assert {name for name in first.scores if name.startswith("lm.")} == {
        f"lm.{measure}{part}" for measure in measures for part in ("", "_single_session_user")
    }
    assert {name for name in second.scores if name.startswith("lm.")} == {
        f"lm.judged{part}" for part in ("", "_single_session_user", "_abstention")
    }
    assert first.scores["lm.judged"][0] in (0, 1) and "evidence_recall" not in second.scores
