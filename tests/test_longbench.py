"""LongBench: records of the same form, prompts letter by letter, scores worked out by hand, a whole run."""

from __future__ import annotations

import importlib
import json
import sys
import zipfile

import pytest

pytest.importorskip("diskcache", reason="answers of readers are kept by diskcache")
pytest.importorskip("openai", reason="asked for by the tests whose tiny model is used here")

from test_eval_readers import TEMPLATE, make_lm_folder

from eval import offers, records, run
from eval.systems.base import Kept
from eval.tasks import longbench, longbench_grading
from eval.tasks.longbench_prompts import LENGTHS, PROMPTS, QUERIES
from reet_hf.errors import ReetError
from reet_hf.records import Span

STORY = "Ann keeps bees.\n\nHer house stands in Oslo, by the water.  It is red.\n\n\tBob lives in Lima.\n"
ROOMS = "Paragraph 1: The red room.\n\nParagraph 12: The blue room.\n\nParagraph 2: A hall."


def record(number: int = 0, **fields) -> dict:
    found = {"_id": f"r{number}", "input": "Where does Ann live?", "context": STORY, "answers": ["Oslo"], "length": 14}
    return {**found, "dataset": "d", "language": "en", "all_classes": None, **fields}


def write(folder, **sets):
    for name, rows in sets.items():
        lines = (json.dumps(row, ensure_ascii=False) for row in rows)
        (folder / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return str(folder)


def one(folder, name: str, **fields) -> dict:
    return longbench.load(write(folder, **{name: [record(**fields)]}), sets=name)[name][0]


# Rows


def test_messages_joined_are_the_context(tmp_path):
    texts = [
        STORY,
        ROOMS,
        f"\n\n{ROOMS}\n",
        "Passage 1:\nAnn\nShe.\nPassage 2:\nBob",
        "段落1：一。\n\n段落2：二。",
        "x",
        "a\n" * 90,
    ]
    for text in texts:
        row = one(tmp_path, "musique", context=text)
        assert "\n".join(message["content"] for message in row["messages"]) == text
        assert all(message["content"].strip() for message in row["messages"])
    assert longbench.parts(ROOMS) == [
        "Paragraph 1: The red room.\n",
        "Paragraph 12: The blue room.\n",
        "Paragraph 2: A hall.",
    ]


def test_an_answer_is_found_where_it_stands(tmp_path):
    row = one(tmp_path, "qasper", answers=["oslo", "in Norway", "no"])
    question = row["questions"][0]
    assert (row["id"], question["question"], question["kind"]) == ("r0", "Where does Ann live?", "extractive")
    (span,) = question["answer_spans"]
    assert row["messages"][span["message"]]["content"][span["start"] : span["end"]] == "Oslo"
    whole = Kept("", (Span(span["message"], 0, 99),), 1, 1, 0.0)
    assert longbench.score(row, question, whole) == {"answer_survival": 1.0}


@pytest.mark.parametrize(
    ("name", "answers", "kind"),
    [
        ("qasper", ["No"], "yes_no"),
        ("qmsum", ["She lives in Oslo."], "abstractive"),
        ("trec", ["Oslo"], "classification"),
        ("triviaqa", ["Oslo"], "extractive"),
        ("samsum", ["Oslo"], "abstractive"),
        ("lcc", ["Oslo"], "code_sim"),
    ],
)
def test_where_an_answer_could_only_stand_by_chance_none_is_looked_for(tmp_path, name, answers, kind):
    question = one(tmp_path, name, answers=answers, all_classes=["Oslo"])["questions"][0]
    assert question["answer_spans"] == question["evidence"] == [] and question["kind"] == kind


def test_the_paragraph_that_an_abstract_is_of_is_the_evidence(tmp_path):
    question = one(tmp_path, "passage_retrieval_en", context=ROOMS, answers=["Paragraph 1"])["questions"][0]
    assert question["evidence"] == [{"message": 0, "start": 0, "end": 27}]
    assert question["answer_spans"] == [{"message": 0, "start": 0, "end": 11}]


def test_records_without_an_input_ask_for_what_their_prompt_asks(tmp_path):
    assert one(tmp_path, "gov_report", input="")["questions"][0]["question"] == QUERIES["gov_report"]


def test_longbench_e_comes_in_three_groups_by_length(tmp_path):
    rows = [record(number, length=length) for number, length in enumerate((3999, 4000, 7999, 8000))]
    data = write(tmp_path, qasper_e=rows, lcc_e=rows[:1])
    found = longbench.load(data, sets="qasper,lcc", extended=True)
    assert {name: [row["id"] for row in own] for name, own in found.items()} == {
        "qasper_e-0-4k": ["r0"],
        "qasper_e-4-8k": ["r1", "r2"],
        "qasper_e-8k+": ["r3"],
        "lcc_e-0-4k": ["r0"],
    }
    assert found["lcc_e-0-4k"][0]["dataset"] == "lcc"
    assert len(longbench.load(data, rows=1, sets="qasper", extended=True)["qasper_e-4-8k"]) == 1


def test_the_archive_on_the_hub_is_read(tmp_path, monkeypatch):
    write(tmp_path, qasper=[record(3)])
    archive = tmp_path / "data.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.write(tmp_path / "qasper.jsonl", "data/qasper.jsonl")
    asked_for = []

    def download(repository, file, repo_type):
        asked_for.append((repository, file, repo_type))
        return str(archive)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    assert longbench.load(sets="qasper") == longbench.load(str(tmp_path), sets="qasper")
    assert asked_for == [("THUDM/LongBench", "data.zip", "dataset")]
    with pytest.raises(ReetError, match="data.zip of THUDM/LongBench failed: .*trec.jsonl.*unpack that archive"):
        longbench.load(sets="trec")


def test_what_cannot_be_read_is_named(tmp_path):
    data = write(tmp_path, qasper=[{"_id": "r0", "input": "", "context": "x", "answers": []}])
    for sets, says in (("qasper", "lacks length, all_classes"), ("musique", "musique.jsonl"), ("nq", "'nq'")):
        with pytest.raises(ReetError, match=says):
            longbench.load(data, sets=sets)
    with pytest.raises(ReetError, match="`sets`.*'musique'"):
        longbench.load(data, sets="musique", extended=True)


# Prompts


def asked(folder, name: str, text: str = "{TEXT}") -> tuple[str, int, bool]:
    prompt = longbench.prompt(one(folder, name, input="{Q}\n"), 0, text)
    assert prompt.cut == "middle" and prompt.stop == () and len(prompt.messages) == 1
    return prompt.messages[0]["content"], prompt.max_new_tokens, prompt.plain


def test_prompts_letter_by_letter(tmp_path):
    passages = (
        "Answer the question based on the given passages. Only give me the answer and do not output any other words."
    )
    assert asked(tmp_path, "hotpotqa") == (
        f"{passages}\n\nThe following are given passages.\n{{TEXT}}\n\n{passages}\n\nQuestion: {{Q}}\n\nAnswer:",
        32,
        False,
    )
    assert asked(tmp_path, "repobench-p") == (
        "Please complete the code given below. \n{TEXT}{Q}\nNext line of code:\n",
        64,
        True,
    )
    assert asked(tmp_path, "samsum") == (
        "Summarize the dialogue into a few short sentences. The following are some examples.\n\n{TEXT}\n\n{Q}\n",
        128,
        True,
    )
    assert asked(tmp_path, "vcsum") == (
        "下面有一段会议记录，请你阅读后，写一段总结，总结会议的内容。\n会议记录：\n{TEXT}\n\n会议总结：",
        512,
        False,
    )


def test_every_set_has_prompt_length_and_score():
    assert list(PROMPTS) == list(LENGTHS) == list(longbench.METRIC_OF) and len(PROMPTS) == 21
    assert all(prompt.count("{context}") == 1 and prompt.count("{input}") <= 1 for prompt in PROMPTS.values())
    assert {name for name, prompt in PROMPTS.items() if "{input}" not in prompt} == set(QUERIES)
    assert len(longbench.EXTENDED) == 13 and set(longbench.EXTENDED) < set(PROMPTS)


# Scores


@pytest.mark.parametrize(
    ("said", "gold", "value"),
    [
        ("the tower of Eiffel", "Eiffel Tower", 4 / 5),  # 2 of 3 and 2 of 2 words
        ("new new york", "York, new york", 4 / 6),
        ("the", "a", 0.0),  # no words left to share
    ],
)
def test_f1_by_hand(said, gold, value):
    assert longbench_grading.qa_f1(said, gold) == pytest.approx(value)


@pytest.mark.parametrize(
    ("said", "gold", "value"),
    [
        ("the cat sat", "the cat", 2 * 2 / 5),
        ("The cat sat", "the cat sat", 2 * 2 / 6),  # letter case counts
        ("a a b", "a b", 1.0),  # a word counts once
        ("b c. a", "a. b c", 1.0),  # sentences are compared one by one
        ("", "a", 0.0),
        ("...", "a", 0.0),
    ],
)
def test_rouge_by_hand(said, gold, value):
    pytest.importorskip("rouge")
    assert longbench_grading.rouge(said, gold) == pytest.approx(value, abs=1e-6)


def test_chinese_by_hand():
    pytest.importorskip("jieba")
    assert longbench_grading.qa_f1_zh("我在北京大学。", "北京大学》") == pytest.approx(2 / 4)  # 我 在 北京大学
    assert longbench_grading.qa_f1_zh("我在北京大学。", "《北京大学") == pytest.approx(2 / 5)  # 《 is none of its marks
    assert longbench_grading.qa_f1_zh("。", "！") == 0
    pytest.importorskip("rouge")
    assert longbench_grading.rouge_zh("我在北京大学。", "北京大学") == pytest.approx(2 / 5)  # 我 在 北京大学 。


@pytest.mark.parametrize(
    ("said", "classes", "value"),
    [
        ("Type: HUM:ind", ["HUM", "HUM:ind", "LOC"], 1.0),  # HUM is within the right one
        ("LOC or HUM:ind", ["HUM", "HUM:ind", "LOC"], 1 / 2),
        ("HUM:ind", ["H", "HUM", "HUM:ind"], 1 / 2),  # behind H, which is taken out, HUM is not looked at
        ("HUM", ["HUM", "HUM:ind"], 0.0),
        ("nothing", ["HUM:ind"], 0.0),
    ],
)
def test_classification_by_hand(said, classes, value):
    assert longbench_grading.classification(said, "HUM:ind", classes) == value


def test_numbers_by_hand():
    assert longbench_grading.count("3 of 4, or 3", "3") == 2 / 3
    assert longbench_grading.count("none", "3") == 0 == longbench_grading.count("03", "3")
    assert longbench_grading.retrieval("Paragraph 12, not 3", "Paragraph 12") == 1 / 2
    assert longbench_grading.METRICS["retrieval_zh"]("段落12", "段落12") == 1
    with pytest.raises(ReetError, match="Paragraph 1, got '12'"):
        longbench_grading.retrieval("12", "12")


@pytest.mark.parametrize(
    ("said", "gold", "value"),
    [
        ("\n# a note\nabcd\nefgh", "bcde", 0.75),  # 3 of 4 and 3 of 4 characters
        ("abc", "cadb", 0.57),  # whole percents
        ("cadb", "abc", 0.29),  # difflib's matches depend on the order
        ("```\n", "abc", 0.0),
        ("//x", "", 1.0),
    ],
)
def test_similarity_of_code_by_hand(said, gold, value):
    assert longbench_grading.code_sim(said, gold) == value


def graded(name: str, said: str, *answers: str, classes=None) -> dict[str, float]:
    return longbench.grade({"dataset": name, "all_classes": classes}, {"answers": list(answers)}, said)


def test_the_best_answer_counts_and_of_few_shot_sets_the_first_line():
    assert graded("qasper", "Oslo\nLima", "Lima", "Oslo Lima") == {"f1": 1.0}
    assert graded("triviaqa", "\n\nOslo\nLima", "Oslo Lima", "Rome") == {"f1": pytest.approx(2 / 3)}
    assert graded("trec", "LOC\nQuestion: NUM", "LOC", classes=["LOC", "NUM"]) == {"classification": 1.0}
    assert graded("passage_count", "\n5", "5") == {"count": 1.0}
    assert graded("passage_retrieval_zh", "7", "段落7") == {"retrieval": 1.0}
    assert graded("lcc", "\nx = 1\n", "x = 1") == {"code_sim": 1.0}
    assert graded("qasper", "Oslo") == {"f1": 0.0}


@pytest.mark.parametrize(("function", "package"), [("rouge", "rouge"), ("rouge_zh", "jieba"), ("qa_f1_zh", "jieba")])
def test_a_missing_package_is_named_with_its_install_line(monkeypatch, function, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=f"pip install {package}"):
        getattr(longbench_grading, function)("a", "b")


# A whole run


def test_a_reader_sees_the_whole_context_and_is_scored(tmp_path, monkeypatch):
    classes = ["HUM", "LOC"]
    data = write(
        tmp_path,
        qasper=[record(0), record(1, answers=["Lima"])],
        trec=[record(answers=["LOC"], all_classes=classes)],
        passage_count=[record(context=ROOMS, input="", answers=["3"])],
        lcc=[record(context="x = 1\n" * 400, input="", answers=["x = 1"])],  # too long: its middle is cut
    )
    monkeypatch.setattr(longbench, "LENGTHS", dict.fromkeys(LENGTHS, 6))  # enough of what a tiny model says
    shown = []
    ask = longbench.prompt
    monkeypatch.setattr(longbench, "prompt", lambda row, n, text: shown.append(text) or ask(row, n, text))
    model = make_lm_folder(tmp_path / "model", "gpt2", TEMPLATE)
    options = [f"causal_lm.model={model}", "causal_lm.device=cpu", "longbench.sets=qasper,trec,passage_count,lcc"]
    run.main(
        ["--system", "full", "--task", "longbench", "--data", data, "--output", str(tmp_path / "out")]
        + ["--reader", "causal_lm", *(part for option in options for part in ("--option", option))]
    )
    assert shown == [STORY, STORY, STORY, ROOMS, "x = 1\n" * 400]
    (result,) = records.read_all(tmp_path / "out")
    assert result.name == "full--longbench@v1--once--100.json" and result.options["task"]["data"] == tmp_path.name
    scores = {name: own.rows[0].scores for name, own in result.sets.items()}
    measures = {"qasper": "f1", "trec": "classification", "passage_count": "count", "lcc": "code_sim"}
    for name, measure in measures.items():
        assert 0 <= scores[name][f"model.{measure}"][0] <= 1 and not result.sets[name].errors
    assert scores["qasper"]["answer_survival"] == [1]


def test_the_task_is_offered():
    assert "longbench" in offers.offered("tasks") and "longbench_grading" not in offers.offered("tasks")
    assert importlib.import_module("eval.tasks.longbench").VERSION == "1"
