"""SCBench on records written by hand: rows, places, prompts letter by letter, scores worked out, a run to its file."""

from __future__ import annotations

import json
import sys

import pytest
from conftest import ROOT
from test_eval_readers import TEMPLATE, make_lm_folder

from eval import records, run
from eval.readers import causal_lm
from eval.readers.base import Prompt, asked_once
from eval.regimes import ask
from eval.systems import full
from eval.systems.base import Kept
from eval.tasks import scbench, scbench_functions, scbench_prompts
from reet_hf.budget import resolve_counter
from reet_hf.errors import ReetError
from reet_hf.records import Span

ADD = "def add(a, b):\n    c = a + b\n    return c * 2"  # twelve words
SUB = "def sub(x, y):\n    z = x - y\n    return z / 3"
KEYS = 'JSON data:\n{"3f0a-11": "77c1-aa", "3f0a-22": "90d2-bb", "3f0a-33": "15e3-cc"}'
ASK_KEY = 'Key: "{}"\nThe value associated with the specified key is: '
VARIABLES = (
    "The grass is green. VAR ABCDE = 12345. The sky is blue. VAR FGHIJ = VAR ABCDE. VAR KLMNO = 777. Here we go."
)
OPTIONS = ["red tower", "blue tower", "green tower", "no tower"]
CODE = f"# src/add.py\n{ADD}\n\n# src/sub.py\n{SUB}\n"
TURNS = {
    "scbench_kv": [(ASK_KEY.format("3f0a-22"), "90d2-bb"), (ASK_KEY.format("3f0a-11"), "77c1-aa")],
    "scbench_prefix_suffix": [("Prefix ab, suffix yz:", "abqqyz"), ("Prefix cd, suffix wx:", "cdrrwx")],
    "scbench_vt": [("Which variables are 12345?", ["ABCDE", "FGHIJ"]), ("Which are 777?", ["KLMNO"])],
    "scbench_repoqa": [("The function doubles a sum.", ADD), ("The function takes a third.", SUB)],
    "scbench_qa_eng": [("Who came first?", "Anna Bell"), ("And then?", "Carl")],
    "scbench_qa_chn": [("谁先来？", "安娜·贝"), ("然后呢？", "卡尔")],
    "scbench_choice_eng": [("Which tower fell?", "blue tower"), ("Which one stood?", "red tower")],
    "scbench_many_shot": [("Pick\n(A) one\n(B) two\n", "B"), ("Pick\n(A) three\n(B) four\n", "A")],
    "scbench_summary": [
        ("Summarize.", "the cat sat\non the mat"),
        ("Shorter.", "a cat"),
        ("Longer.", "a very big cat"),
    ],
    "scbench_mf": [
        ("The largest number is ", 31),
        ("The smallest number is ", 4),
        ("The second largest number is ", 15),
    ],
    "scbench_summary_with_needles": [("Summarize.", "a cat"), ("What is the pass key?", "71432")],
    "scbench_repoqa_and_kv": [("The function doubles a sum.", ADD), ("The value of 3f0a-22 is?", "90d2-bb")],
}
CONTEXTS = {
    "scbench_kv": KEYS,
    "scbench_prefix_suffix": '["abqqyz", "abssxx", "cdrrwx", "ttttyz"]',
    "scbench_vt": VARIABLES,
    "scbench_repoqa": CODE,
    "scbench_qa_eng": "Anna Bell came first. Then came Carl, and then Anna Bell left.",
    "scbench_qa_chn": "安娜·贝先来了。然后卡尔来了。",
    "scbench_choice_eng": "The blue tower fell.\n\nThe red tower stood.",
    "scbench_many_shot": "Pick\n(A) ten\n(B) nine\nAnswer: (A)",
    "scbench_summary": "The cat sat on the mat. It was a big cat.",
    "scbench_mf": [15, 4, 31, 8],
    "scbench_summary_with_needles": "A cat sat. The pass key is 71432. Remember it. It sat on.",
    "scbench_repoqa_and_kv": f"{CODE}\nKEYS = {{'3f0a-22': '90d2-bb'}}\n",
}
SUBTASKS = {
    "scbench_summary_with_needles": ("scbench_summary", "scbench_passkey"),
    "scbench_repoqa_and_kv": ("scbench_repoqa", "scbench_kv"),
}


def make_record(task: str) -> dict:
    turns = [{"input": asked, "answer": answer} for asked, answer in TURNS[task]]
    record = {"id": 7, "context": CONTEXTS[task], "multi_turns": turns}
    if "repoqa" in task:
        record |= {"lang": "python", "repo": "made/up"}
        for turn, name in zip(turns, ("add", "sub" if task == "scbench_repoqa" else None), strict=True):
            turn["name"] = name
    for turn, subtask in zip(turns, SUBTASKS.get(task, ()), strict=False):
        turn["task"] = subtask
    for turn in turns if task == "scbench_choice_eng" else ():
        turn["options"] = OPTIONS
    return record


def write(folder, **changed) -> str:
    """A folder with a record of each task, some of them changed."""
    for task in TURNS:
        found = changed.get(task, [make_record(task)])
        lines = [json.dumps(record, ensure_ascii=False) + "\n" for record in found]
        (folder / f"{task}.jsonl").write_text("".join(lines), encoding="utf-8")
    return str(folder)


@pytest.fixture
def data(tmp_path):
    return write(tmp_path)


def row_of(data, task, **options) -> dict:
    return scbench.load(data, tasks=task, **options)[task][0]


def kept(row, *places) -> Kept:
    pieces = tuple(Span(0, place["start"], place["end"]) for place in places)
    return Kept(text="", pieces=pieces, tokens=0, budget=0, milliseconds=0)


def slices(row, places) -> list[str]:
    return [row["messages"][place["message"]]["content"][place["start"] : place["end"]] for place in places]


# Rows


def test_every_task_is_loaded_with_all_its_turns(data):
    found = scbench.load(data)
    assert tuple(found) == scbench_prompts.TASKS and len(found) == 12 and set(found) == set(TURNS)
    for task, (row,) in found.items():
        assert row["id"] == f"{task}-0" and row["license"] == "MIT" and row["mode"] == "multi_turn"
        assert [question["gold"] for question in row["questions"]] == [answer for _, answer in TURNS[task]]
    assert list(scbench.load(data, tasks="scbench_vt,scbench_kv")) == ["scbench_vt", "scbench_kv"]
    assert list(scbench.load(data, tasks=["scbench_mf"])) == ["scbench_mf"]


def test_the_full_context_is_the_original_word_for_word(data):
    counter = resolve_counter(str(ROOT / "reet" / "reet-base"))
    system = full.build(counter)
    for task, (row,) in scbench.load(data).items():
        said = ask(system, row, ["once"], [1.0], 20, counter)["once"].turns[0][0].text
        assert said == str(CONTEXTS[task])
    assert said.endswith("\n") and row_of(data, "scbench_mf")["messages"][0]["content"] == "[15, 4, 31, 8]"


@pytest.mark.parametrize(
    ("task", "turn", "answers", "evidence"),
    [
        ("scbench_kv", 0, ["90d2-bb"], ['3f0a-22": "90d2-bb']),
        ("scbench_repoqa_and_kv", 1, ["90d2-bb"], ["3f0a-22': '90d2-bb"]),
        ("scbench_prefix_suffix", 1, ["cdrrwx"], ["cdrrwx"]),
        ("scbench_vt", 0, ["ABCDE", "FGHIJ"], ["ABCDE = 12345", "FGHIJ = VAR ABCDE"]),
        ("scbench_repoqa", 0, [ADD], [ADD]),
        ("scbench_qa_eng", 0, ["Anna Bell", "Anna Bell"], []),
        ("scbench_qa_chn", 1, ["卡尔"], []),
        ("scbench_choice_eng", 0, ["blue tower"], []),
        ("scbench_summary_with_needles", 1, ["71432"], []),
        ("scbench_summary", 1, [], []),
        ("scbench_many_shot", 0, [], []),
        ("scbench_mf", 0, [], []),
    ],
)
def test_answers_and_evidence_are_found_in_the_context(data, task, turn, answers, evidence):
    row = row_of(data, task)
    question = row["questions"][turn]
    assert slices(row, question["answer_spans"]) == answers
    assert slices(row, question["evidence"]) == evidence


def test_every_name_of_a_chain_is_wanted(data):
    row = row_of(data, "scbench_vt")
    question = row["questions"][0]
    first, second = question["evidence"]
    assert scbench.score(row, question, kept(row, first, second)) == {"answer_survival": 1, "evidence_recall": 1}
    half = scbench.score(row, question, kept(row, second))
    assert half["answer_survival"] == 0 and 0 < half["evidence_recall"] < 1
    row = row_of(data, "scbench_kv")
    assert scbench.score(row, row["questions"][0], kept(row)) == {"answer_survival": 0, "evidence_recall": 0}
    row = row_of(data, "scbench_mf")
    assert scbench.score(row, row["questions"][0], kept(row)) == {}


def test_a_function_is_told_from_all_that_are_asked_about_in_its_repository(tmp_path):
    other = {"input": "?", "answer": "def mul(): ...", "name": "mul"}
    more = {**make_record("scbench_repoqa"), "multi_turns": [other]}
    elsewhere = {**more, "repo": "made/other"}
    data = write(tmp_path, scbench_repoqa=[make_record("scbench_repoqa"), more, elsewhere])
    rows = scbench.load(data, tasks="scbench_repoqa", rows=2)["scbench_repoqa"]
    whole = scbench.load(data, tasks="scbench_repoqa")["scbench_repoqa"]
    assert [[each["name"] for each in row["needles"]] for row in whole] == [["add", "sub", "mul"]] * 2 + [["mul"]]
    assert len(rows) == 2 and all(row in whole for row in rows)
    mixed = row_of(data, "scbench_repoqa_and_kv")
    assert [each["name"] for each in mixed["needles"]] == ["add"]  # a key's value is no function


# Prompts


def chat(*said: str) -> tuple[dict, ...]:
    return tuple({"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(said))


BOOK = "Read the book and answer the question."
FALLEN = "Question: Which tower fell?\nA. red tower\nB. blue tower\nC. green tower\nD. no tower\n\n"
STOOD = "Question: Which one stood?\nA. red tower\nB. blue tower\nC. green tower\nD. no tower\n\n"
EXTRACT = "Extract the value corresponding to the specified key in the JSON object below."
RETRIEVE = (
    "Based on the function description and code context, please retrieve and repeat the exact described function from "
    "the code context in a code block wrapped by ```:"
)
SMALLEST, SECOND = "What is the smallest number?", "What is the second largest number?"
ANSWER, VALUE = "The the correct answer is", "The value associated with the specified key is: "


@pytest.mark.parametrize(
    ("task", "turn", "tokens", "said"),
    [
        (
            "scbench_kv",
            1,
            150,
            (f'{EXTRACT}\n\n{{x}}\n\nKey: "3f0a-22"\n{VALUE}', "90d2-bb", f'Key: "3f0a-11"\n{VALUE}'),
        ),
        ("scbench_prefix_suffix", 0, 150, ("{x}\n\nPrefix ab, suffix yz:",)),
        (
            "scbench_vt",
            1,
            30,
            ("{x}\n\nWhich variables are 12345?", "['ABCDE', 'FGHIJ']", "Which are 777?"),
        ),
        ("scbench_repoqa", 0, 1024, (f"{RETRIEVE}\n\n{{x}}\n\nThe function doubles a sum.",)),
        (
            "scbench_qa_eng",
            1,
            40,
            (
                f"{BOOK} Be very concise in your answer.\n\n{{x}}\n\nQuestion: Who came first?\nAnswer:",
                "Anna Bell",
                "Question: And then?\nAnswer:",
            ),
        ),
        ("scbench_qa_chn", 0, 40, ("阅读以下书籍然后回答问题。\n\n{x}\n\n问题：谁先来？\n答案：",)),
        (
            "scbench_choice_eng",
            1,
            40,
            (f"{BOOK}\n\n{{x}}\n\n{FALLEN}{ANSWER}", "blue tower", STOOD + ANSWER),
        ),
        ("scbench_many_shot", 0, 10, ("{x}\n\nPick\n(A) one\n(B) two\n",)),
        (
            "scbench_mf",  # the later ones begin with what the last one is after, as in the original
            1,
            5,
            (
                "What is the largest number?\n\n{x}\n\nThe largest number is ",
                "31",
                f"{SECOND}\n\nThe smallest number is ",
            ),
        ),
        (
            "scbench_summary",
            2,
            200,
            ("{x}\n\nSummarize.", "the cat sat\non the mat", "Shorter.", "This papera cat", "Longer."),
        ),
        ("scbench_summary_with_needles", 0, 800, ("{x}\n\nSummarize.",)),
        ("scbench_summary_with_needles", 1, 15, ("{x}\n\nSummarize.", "a cat", "What is the pass key?")),
        ("scbench_repoqa_and_kv", 1, 80, ("{x}\n\nThe function doubles a sum.", ADD, "The value of 3f0a-22 is?")),
    ],
)
def test_a_conversation_is_asked_as_the_original_asks_it(data, task, turn, tokens, said):
    begins = "This paper" if task == "scbench_summary" else ""
    first = said[0].replace("{x}", "a {short} text")
    wanted = Prompt(chat(first, *said[1:]), tokens, cut="middle", begins=begins)
    assert scbench.prompt(row_of(data, task), turn, "a {short} text") == wanted


@pytest.mark.parametrize(
    ("task", "turn", "said"),
    [
        ("scbench_kv", 1, f'{EXTRACT}\n\nxKey: "3f0a-11"\n{VALUE}'),
        ("scbench_qa_eng", 1, f"{BOOK} Be very concise in your answer.\n\nxQuestion: And then?\nAnswer:"),
        ("scbench_choice_eng", 0, f"{BOOK}\n\nx{FALLEN}{ANSWER}"),
        ("scbench_mf", 1, f"The largest number is \n\nx{SMALLEST}\n\nThe smallest number is "),
        ("scbench_summary", 1, "xShorter."),
    ],
)
@pytest.mark.parametrize("talk", [True, False])
def test_a_request_is_asked_as_the_original_asks_it(data, task, turn, said, talk):
    row = row_of(data, task, mode="multi_request", chat=talk)
    wanted = asked_once(said, scbench_prompts.NEW_TOKENS[task], plain=not talk, cut="middle")
    assert scbench.prompt(row, turn, "x") == wanted


@pytest.mark.parametrize(
    ("task", "turn", "said"),
    [
        ("scbench_qa_eng", 0, f"{BOOK} Be very concise in your answer.\n\nx\n\nQuestion: Who came first?\nAnswer:"),
        (
            "scbench_choice_eng",
            1,
            f"{BOOK}\n\nx\n\n{FALLEN}{ANSWER}blue tower\n\n{STOOD}The letter of the correct answer is",
        ),
        (
            "scbench_mf",
            2,
            "What is the largest number?\n\nx\n\nThe largest number is 31\n\n"
            f"{SMALLEST}\n\nThe smallest number is 4\n\n{SECOND}\n\nThe second largest number is ",
        ),
        ("scbench_summary", 1, "x\n\nSummarize.the cat sat\non the mat\n\nShorter."),
    ],
)
def test_a_text_to_go_on_from_is_written_as_in_the_original(data, task, turn, said):
    row = row_of(data, task, chat=False)
    wanted = asked_once(said, scbench_prompts.NEW_TOKENS[task], plain=True, cut="middle")
    assert scbench.prompt(row, turn, "x") == wanted


@pytest.mark.parametrize("template", [None, TEMPLATE], ids=["plain", "chat"])
def test_a_model_goes_on_from_how_its_answer_begins(tmp_path, template):
    reader = causal_lm.build(make_lm_folder(tmp_path, "gpt2", template), device="cpu")
    plain, begun = (reader._written(asked_once("red ship", 5, begins=begins)) for begins in ("", " late hotel"))
    assert begun[: len(plain)] == plain and reader.tokenizer.decode(begun[len(plain) :]) == "late hotel"


# Scores


@pytest.mark.parametrize(
    ("task", "turn", "said", "wanted"),
    [
        ("scbench_kv", 0, 'It is "90d2-bb".', {"score": 1}),
        ("scbench_kv", 0, "90D2-BB", {"score": 0}),
        ("scbench_prefix_suffix", 0, "abqqyz", {"score": 1}),
        ("scbench_repoqa_and_kv", 1, "90d2-bb", {"kv": 1}),
        ("scbench_vt", 0, "fghij and others", {"score": 0.5}),
        ("scbench_vt", 0, "ABCDE FGHIJ", {"score": 1}),
        ("scbench_qa_eng", 0, "It was anna bell, I think.", {"score": 1}),
        ("scbench_qa_eng", 0, "Anna", {"score": 0}),
        # One character of the gold answer against two or five; all four of it (the dot stays) share one or three
        ("scbench_qa_chn", 0, "安。她", {"score": 2 / (1 + 2), "f1": 2 * 1 / (4 + 2)}),
        ("scbench_qa_chn", 0, "是安娜贝。吗", {"score": 2 / (1 + 5), "f1": 2 * 3 / (4 + 5)}),
        ("scbench_qa_chn", 0, "他", {"score": 0, "f1": 0}),
        ("scbench_qa_chn", 0, "", {"score": 0, "f1": 0}),
        ("scbench_many_shot", 0, "(B) two", {"score": 1}),
        ("scbench_many_shot", 0, "maybe", {"score": 1}),  # a letter anywhere counts in the original
        ("scbench_many_shot", 0, "(A) one", {"score": 0}),
        ("scbench_mf", 0, "31.9, or 4", {"score": 1}),
        ("scbench_mf", 0, "about 4 or 31", {"score": 0}),
        ("scbench_mf", 0, "none", {"score": 0}),
        ("scbench_summary_with_needles", 1, "The key: 71432!", {"passkey": 1}),
        ("scbench_summary_with_needles", 1, "1 key: 71432", {"passkey": 0}),
        ("scbench_summary_with_needles", 1, "no", {"passkey": 0}),
        # Of six words four are met, line by line and each given word once, with five words: 2·4/(6+5)
        ("scbench_summary", 0, "the cat\non a mat", {"score": 8 / 11}),
        ("scbench_summary", 1, "cats", {"score": 0}),  # not stemmed
        ("scbench_summary_with_needles", 0, "A cat.", {"summary": 1}),
        ("scbench_summary", 0, "", {"score": 0}),
    ],
)
def test_scores_are_those_of_the_original(data, task, turn, said, wanted):
    row = row_of(data, task)
    assert scbench.grade(row, row["questions"][turn], said) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("said", "right"),
    [
        ("B", True),
        ("B. blue tower", True),
        ("A. blue tower", False),
        ("But the red one fell", True),  # its first letter is B
        ("blue tower", True),
        (" the answer is: blue tower.", True),
        ("the correct answer is:\nB", True),
        ("the answer is the blue tower", False),
        ("the answer is B", True),
        ("the answer is:", False),
        ("it is B, not A", True),
        ("it is A, not B", False),
        ("it was blue", False),
        ("it is BC", False),
        ("  ", False),
    ],
)
def test_choices_are_read_as_in_the_original(data, said, right):
    row = row_of(data, "scbench_choice_eng")
    assert scbench.grade(row, row["questions"][0], said) == {"score": float(right)}


def words(count: int) -> str:
    """The function with all but its first `count` words replaced."""
    found = ADD.split()
    return " ".join(found[:count] + [f"w{n}" for n in range(len(found) - count)])


@pytest.mark.parametrize(
    ("said", "turn", "right"), [(ADD, 0, 1), (SUB, 0, 0), (SUB, 1, 1), (words(10), 0, 1), (words(9), 0, 0), ("", 0, 0)]
)
def test_a_function_is_right_if_most_similar_and_similar_enough(data, monkeypatch, said, turn, right):
    monkeypatch.setattr(scbench_functions, "first_function", lambda said, lang: said)
    row = row_of(data, "scbench_repoqa")
    assert scbench.grade(row, row["questions"][turn], said) == {"score": right}
    mixed = row_of(data, "scbench_repoqa_and_kv")
    if turn == 0:
        assert scbench.grade(mixed, mixed["questions"][0], said) == {"repoqa": right}


def test_similarity_is_smoothed_bleu_over_words():
    assert scbench_functions.similarity(ADD, ADD) == pytest.approx(1)
    # Of 12 words the first 10 are the same: 10/12 · 9/11 · 8/10 · 7/9, and its fourth root
    assert scbench_functions.similarity(words(10), ADD) == pytest.approx((5040 / 11880) ** 0.25)
    assert scbench_functions.similarity(words(9), ADD) == pytest.approx((3024 / 11880) ** 0.25)


FUNCTIONS = {
    "python": ("class A:\n    def f(self):\n        return 1\n", "def f(self):\n        return 1"),
    "java": ("class A { int f(int a) { return a; } }\n", "int f(int a) { return a; }"),
    "typescript": ("const h = 1;\nexport function f(a: number) { return a }\n", "function f(a: number) { return a }"),
    "rust": ("impl A { fn f(&self) -> i32 { 1 } }\nfn g() {}\n", "fn f(&self) -> i32 { 1 }"),
    "cpp": ("int A::f() { return 1; }\nint g(int a) { return a; }\n", "int g(int a) { return a; }"),
    "go": ("package a\nfunc (x *T) M() {}\nfunc F() int { return 1 }\n", "func F() int { return 1 }"),
}


@pytest.mark.parametrize("lang", FUNCTIONS)
def test_the_first_function_of_a_code_block_is_the_answer(lang):
    pytest.importorskip("tree_sitter")
    pytest.importorskip(scbench_functions.LANGUAGES[lang][0])
    source, function = FUNCTIONS[lang]
    for said in (f"Here:\n```{lang}\n{source}```\nDone.", f"```\nnothing\n```\n```{lang}\n{source}```"):
        assert scbench_functions.first_function(said, lang) == function
    assert scbench_functions.first_function(f" {source}", lang) == source.strip()  # no block: all of it
    assert scbench_functions.first_function("```\nnothing\n```", lang) == "nothing\n"


def test_a_missing_parser_is_named_with_its_install_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "tree_sitter", None)
    scbench_functions._parser.cache_clear()
    with pytest.raises(ImportError, match="pip install tree-sitter tree-sitter-python .*tree-sitter-go$"):
        scbench_functions.first_function(ADD, "python")


# Refusals


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tasks": "scbench_kv,kv"}, "`tasks`.*'kv'"),
        ({"mode": "scdq"}, "`mode`.*multi_request.*'scdq'"),
        ({"chat": "yes"}, "`chat`.*'yes'"),
    ],
)
def test_options_out_of_range_are_refused(data, options, message):
    with pytest.raises(ReetError, match=message):
        scbench.load(data, **options)


def test_a_missing_file_is_refused_with_what_is_there(data, tmp_path):
    (tmp_path / "scbench_vt.jsonl").unlink()
    with pytest.raises(ReetError, match=r"scbench_vt\.jsonl.*scbench_choice_eng"):
        scbench.load(data)


@pytest.mark.parametrize(
    ("task", "change", "message"),
    [
        ("scbench_kv", lambda record: record.pop("context"), "record 0 of scbench_kv lacks input"),
        ("scbench_kv", lambda record: record.pop("multi_turns"), "lacks multi_turns"),
        ("scbench_kv", lambda record: record["multi_turns"][1].pop("answer"), "turn 1 of record 0.*lacks answer"),
        ("scbench_repoqa", lambda record: record.pop("lang"), "lacks lang"),
        ("scbench_repoqa", lambda record: record.update(lang="cobol"), "`lang`.*'cobol'"),
        ("scbench_repoqa", lambda record: record["multi_turns"][0].update(name=None), "lacks name"),
        ("scbench_repoqa_and_kv", lambda record: record["multi_turns"][0].update(task="scbench_vt"), "`task`.*'scbe"),
        ("scbench_choice_eng", lambda record: record["multi_turns"][0].pop("options"), "lacks options"),
        ("scbench_choice_eng", lambda record: record["multi_turns"][0].update(answer="x"), "one of four.*'x'"),
        ("scbench_mf", lambda record: record["multi_turns"][0].update(answer="31"), "be a number.*'31'"),
        ("scbench_mf", lambda record: record["multi_turns"][0].update(input="Largest?"), "`input`.*'Largest"),
        ("scbench_vt", lambda record: record["multi_turns"][0].update(answer="ABC"), "list of names.*'ABC'"),
    ],
)
def test_records_of_another_form_are_refused(tmp_path, task, change, message):
    record = make_record(task)
    change(record)
    with pytest.raises(ReetError, match=message):
        scbench.load(write(tmp_path, **{task: [record]}), tasks=task)


# A run


@pytest.mark.parametrize("mode", ["multi_turn", "multi_request"])
def test_a_reader_of_the_full_context_is_scored_in_every_task(data, tmp_path, monkeypatch, mode):
    monkeypatch.setattr(scbench_functions, "first_function", lambda said, lang: said)
    monkeypatch.setattr(scbench_prompts, "NEW_TOKENS", dict.fromkeys(scbench_prompts.NEW_TOKENS, 3))
    short = {task: dict.fromkeys(each, 3) for task, each in scbench_prompts.MIXED.items()}
    monkeypatch.setattr(scbench_prompts, "MIXED", short)
    model, output = make_lm_folder(tmp_path / "lm", "gpt2", TEMPLATE), tmp_path / "results"
    options = [f"causal_lm.model={model}", "causal_lm.device=cpu", f"scbench.mode={mode}"]
    arguments = ["--system", "full", "--task", "scbench", "--data", data, "--reader", "causal_lm"]
    run.main([*arguments, "--output", str(output), *(part for each in options for part in ("--option", each))])
    (result,) = records.read_all(output)
    assert result.name == f"full--scbench@v{scbench.VERSION}--once--100.json"
    assert result.options["task"]["mode"] == mode and set(result.sets) == set(TURNS)
    for task, scores in result.sets.items():
        assert not scores.errors
        (row,) = scores.rows
        read = {name.removeprefix("lm."): values for name, values in row.scores.items() if name.startswith("lm.")}
        own = {each.removeprefix("scbench_") for each in SUBTASKS.get(task, ())} or {"score"}
        assert set(read) == own | ({"f1"} if task == "scbench_qa_chn" else set())
        given = [values for name, values in read.items() if name != "f1"]
        assert all(sum(value is not None for value in turn) == 1 for turn in zip(*given, strict=True))
        survived = row.scores.get("answer_survival", [])
        assert all(value in (None, 1) for value in survived)
