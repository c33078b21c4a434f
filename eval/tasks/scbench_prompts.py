"""What SCBench asks: the prompts of its twelve tasks in both modes (MIT; github.com/microsoft/MInference,
scbench/eval_utils.py, 0ff346d8).

Quoted as they are, "The the correct answer is" included. What is peculiar to the original and kept:

- In `multi_request` nothing stands between context and question, and the task `scbench_mf` opens with the input of the
  first question. In `multi_turn` an empty line stands there, and `scbench_mf` opens with its first question.
- Through a chat template, later questions of `scbench_mf` all begin with what the last one asks for, and answers of
  `scbench_summary` after the first begin with "This paper".
- Without a chat template a gold answer follows its question directly, and the next question after an empty line.

What is too long loses its middle, as there; the original leaves room for the answers of all turns and cuts to a length
that it is told (`--max_seq_length`), here the reader's own is what counts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from eval.readers.base import Prompt, asked_once

MODES = ("multi_turn", "multi_request")
MIXED = {
    "scbench_summary_with_needles": {"scbench_summary": 800, "scbench_passkey": 15},
    "scbench_repoqa_and_kv": {"scbench_repoqa": 1024, "scbench_kv": 80},
}
"""Most tokens of an answer in tasks that ask for two different things, by what is asked for."""
NEW_TOKENS = {
    "scbench_kv": 150,
    "scbench_prefix_suffix": 150,
    "scbench_vt": 30,
    "scbench_repoqa": 1024,
    "scbench_qa_eng": 40,
    "scbench_qa_chn": 40,
    "scbench_choice_eng": 40,
    "scbench_many_shot": 10,
    "scbench_summary": 200,
    "scbench_mf": 5,
}
"""Most tokens of an answer in the other tasks."""
TASKS = (*NEW_TOKENS, *MIXED)
OPENINGS = {
    "scbench_kv": "Extract the value corresponding to the specified key in the JSON object below.\n\n",
    "scbench_repoqa": (
        "Based on the function description and code context, please retrieve and repeat the exact described function "
        "from the code context in a code block wrapped by ```:\n\n"
    ),
    "scbench_qa_eng": "Read the book and answer the question. Be very concise in your answer.\n\n",
    "scbench_qa_chn": "阅读以下书籍然后回答问题。\n\n",
    "scbench_choice_eng": "Read the book and answer the question.\n\n",
}
QUESTIONS = {"scbench_qa_eng": "Question: {}\nAnswer:", "scbench_qa_chn": "问题：{}\n答案："}
CHOICE = "Question: {}\nA. {}\nB. {}\nC. {}\nD. {}\n\n"
CHOICE_END, LATER_CHOICE_END = "The the correct answer is", "The letter of the correct answer is"
SUMMARY_BEGINS = "This paper"
TARGET = re.compile(r"The .+ is")

Row = Mapping[str, Any]


def prompt(row: Row, number: int, text: str) -> Prompt:
    """What a reader is asked at turn `number`, with `text` in the place of the context."""
    questions, task, chat = row["questions"][: number + 1], row["task"], row["chat"]
    most = MIXED[task][questions[number]["task"]] if task in MIXED else NEW_TOKENS[task]
    if row["mode"] == "multi_request":
        asked = _opening(row) + text + _later(row, questions[number], row["questions"][number])
        return asked_once(asked, most, plain=not chat, cut="middle")
    first = _opening(row) + text + "\n\n" + _first(row)
    leading = row["questions"][-1]
    if not chat:
        more = (f"{_gold(row, n - 1)}\n\n{_later(row, questions[n], questions[n])}" for n in range(1, number + 1))
        return asked_once(first + "".join(more), most, plain=True, cut="middle")
    messages = [{"role": "user", "content": first}]
    for turn in range(1, number + 1):
        messages.append({"role": "assistant", "content": _gold(row, turn - 1)})
        messages.append({"role": "user", "content": _later(row, questions[turn], leading)})
    return Prompt(tuple(messages), most, cut="middle", begins=_begins(row, number))


def _opening(row: Row) -> str:
    """What stands before the context."""
    task, first = row["task"], row["questions"][0]
    if task == "scbench_mf":
        return (first["question"] if row["mode"] == "multi_request" else _target(first)) + "\n\n"
    return OPENINGS.get(task, "")


def _first(row: Row) -> str:
    """The first question of a conversation, behind the context."""
    first = row["questions"][0]
    return _choice(first, CHOICE_END) if row["task"] == "scbench_choice_eng" else _plainly(row, first)


def _later(row: Row, question: Mapping[str, Any], leading: Mapping[str, Any]) -> str:
    """A question that is asked later or alone; `leading` is the one whose target `scbench_mf` begins with."""
    if row["task"] == "scbench_choice_eng":
        talk = row["mode"] == "multi_request" or row["chat"]
        return _choice(question, CHOICE_END if talk else LATER_CHOICE_END)
    before = f"{_target(leading)}\n\n" if row["task"] == "scbench_mf" else ""
    return before + _plainly(row, question)


def _plainly(row: Row, question: Mapping[str, Any]) -> str:
    return QUESTIONS.get(row["task"], "{}").format(question["question"])


def _choice(question: Mapping[str, Any], end: str) -> str:
    return CHOICE.format(question["question"], *question["options"]) + end


def _target(question: Mapping[str, Any]) -> str:
    """What a question of `scbench_mf` is after, as a question: of "The largest number is" it is "What is the largest
    number?"."""
    said = TARGET.findall(question["question"])[0].lower()
    return f"What is {said.removesuffix(' is')}?"


def _gold(row: Row, turn: int) -> str:
    """The gold answer of a turn, as it stands in the conversation."""
    return _begins(row, turn) + str(row["questions"][turn]["gold"])


def _begins(row: Row, turn: int) -> str:
    """What the answer of a turn begins with."""
    return SUMMARY_BEGINS if row["task"] == "scbench_summary" and row["chat"] and turn else ""
