"""LoCoMo (arXiv:2402.17753): ten long conversations of two people over months, and about two hundred questions on each.

After snap-research/locomo: `task_eval/gpt_utils.py` (prompts, one question a call, 32 tokens) and
`task_eval/evaluation.py` (scores), as of commit 0e22967; data `data/locomo10.json`, CC BY-NC 4.0.

**Context.** With `form="turns"` each turn is a message with its speaker's name, so that it is shown as `Ann: text`,
and each session begins with a message of its date; sessions stand in order of time. The original's prompt has `Ann
said, "text"`, a blank line between turns, and the latest session first, since its code puts each session before those
that it has. `form="original"` has that text word for word; its messages have no speakers. A prompt that a reader cannot
take is a failure; the original leaves turns out until it fits.

**Scores.** `f1` is that of stemmed words; for multi-hop questions the mean over the parts of the gold answer between
commas of the best F1 with a part of what was said; for open-domain ones that with the gold answer before its first
semicolon. An adversarial question has no answer: it offers a wrong one and "Not mentioned in the conversation", and is
right or wrong. The original draws the order of the two anew each time, here it is the same every time. (A few have an
`answer` beside their `adversarial_answer`; as in the original it is offered as the wrong one.) The original takes all
categories together as one figure, `f1`; `f1_<category>` are its parts.

Evidence is the annotated turns, of adversarial questions those that they distort. An answer span is where the whole
gold answer stands word for word in the evidence; most multi-hop and temporal answers stand nowhere.

The usual 20 turns are the first 20 questions of a conversation, which are not of all categories: ask all (`--turns
300`) or a sample (`--option locomo.questions=20`).
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

from eval.readers.base import Prompt, asked_once
from eval.tasks.mtr import score
from eval.tasks.public import document, file_of, places_within, read_file, require, sample
from reet_hf.errors import ReetError

__all__ = ["VERSION", "grade", "load", "prompt", "score"]

VERSION = "1"
NAME = "locomo10"
SOURCE = "https://github.com/snap-research/locomo"
CATEGORIES = {1: "multi_hop", 2: "temporal", 3: "open_domain", 4: "single_hop", 5: "adversarial"}
FORMS = ("turns", "original")
NOT_MENTIONED = "Not mentioned in the conversation"
REFUSALS = ("no information available", "not mentioned")
MAX_NEW_TOKENS = 32

START = (
    "Below is a conversation between two people: {} and {}. The conversation takes place over multiple days and the "
    "date of each conversation is wriiten at the beginning of the conversation.\n\n"
)
PHRASE = (
    "\nBased on the above context, write an answer in the form of a short phrase for the following question. Answer "
    "with exact words from the context whenever possible.\n\nQuestion: {} Short answer:\n"
)
CHOICE = "\nBased on the above context, answer the following question.\n\nQuestion: {} Short answer:\n"
DATE_HINT = " Use DATE of CONVERSATION to answer with an approximate date."

_SESSION = re.compile(r"session_(\d+)")
_TURN_ID = re.compile(r"D:?(\d+):(\d+)")
_IGNORED = re.compile(r"\b(a|an|the|and)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)

Row = dict[str, Any]
Places = dict[tuple[int, int], dict[str, int]]  # of turns, by session and number


def load(
    data: str = "",
    rows: int | None = None,
    categories: int | Sequence[int] | None = None,
    questions: int | None = None,
    form: str = "turns",
) -> dict[str, list[Row]]:
    """One row a conversation.

    Args:
        data: `locomo10.json`, or a folder that has it.
        rows: At most so many conversations.
        categories: Of the questions: 1 multi-hop, 2 temporal, 3 open-domain, 4 single-hop, 5 adversarial.
        questions: At most so many of each conversation: a sample that is the same every time.
        form: `"turns"` or `"original"`, see above.

    Raises:
        ReetError: If there is no such file, a record is of another form or an option is out of range.
    """
    if form not in FORMS:
        raise ReetError(f"`form` must be one of {', '.join(FORMS)}, got {form!r}.")
    wanted = _wanted(categories)
    found = [_row(record, wanted, questions, form) for record in sample(_records(data), rows)]
    return {NAME: [row for row in found if row["questions"]]}


def _wanted(categories: int | Sequence[int] | None) -> list[int]:
    wanted = list(CATEGORIES) if categories is None else categories
    wanted = [wanted] if isinstance(wanted, int) else list(wanted)
    if not wanted or not set(wanted) <= set(CATEGORIES):
        known = ", ".join(f"{number} ({name})" for number, name in CATEGORIES.items())
        raise ReetError(f"`categories` must be numbers among {known}, got {categories!r}; give [1, 2].")
    return wanted


def _records(data: str) -> list[Row]:
    path = Path(data)
    if not data or not path.exists():
        raise ReetError(
            f"`data` must be {NAME}.json or a folder that has it, got {data!r}, which is neither; get data/{NAME}.json "
            f"from {SOURCE} and name it with --data."
        )
    return read_file(file_of(path, NAME) if path.is_dir() else path)


def _row(record: Mapping[str, Any], categories: Sequence[int], most: int | None, form: str) -> Row:
    require(record, ("sample_id", "conversation", "qa"), NAME)
    conversation = record["conversation"]
    require(conversation, ("speaker_a", "speaker_b"), f"{NAME}, {record['sample_id']}")
    messages, turns = _messages(conversation, form, str(record["sample_id"]))
    chosen = [asked for asked in record["qa"] if asked.get("category") in categories]
    return {
        "id": str(record["sample_id"]),
        "source": "LoCoMo",
        "license": "CC BY-NC 4.0",
        "messages": messages,
        "questions": [_question(asked, messages, turns, str(record["sample_id"])) for asked in sample(chosen, most)],
        "speakers": [conversation["speaker_a"], conversation["speaker_b"]],
        "blank_lines": 2 * len(_sessions(conversation)) + 1 if form == "original" else 0,
    }


def _sessions(conversation: Mapping[str, Any]) -> list[int]:
    """Numbers of the sessions in order of time."""
    return sorted(int(match[1]) for key in conversation if (match := _SESSION.fullmatch(key)))


def _messages(conversation: Mapping[str, Any], form: str, name: str) -> tuple[list[dict[str, str]], Places]:
    """Sessions as messages, and where the turns stand in them."""
    messages: list[dict[str, str]] = []
    turns: Places = {}
    for session in sorted(_sessions(conversation), reverse=form == "original"):
        require(conversation, (f"session_{session}_date_time",), f"{NAME}, {name}")
        messages.append(document(f"DATE: {conversation[f'session_{session}_date_time']}\nCONVERSATION:"))
        for turn in conversation[f"session_{session}"]:
            require(turn, ("speaker", "dia_id", "text"), f"a turn of {NAME}, {name}")
            message, start = _message(turn, form)
            for place in _turn_ids([turn["dia_id"]]):
                turns[place] = {"message": len(messages), "start": start, "end": len(message["content"])}
            messages.append(message)
    return messages, turns


def _message(turn: Mapping[str, Any], form: str) -> tuple[dict[str, str], int]:
    """A turn as a message, and the first character of what was said."""
    shared = f" and shared {turn['blip_caption']}." if "blip_caption" in turn else ""
    if form == "original":
        before = f'{turn["speaker"]} said, "'
        return document(f'{before}{turn["text"]}"\n{shared}'), len(before)
    content = f"{turn['text']}\n{shared}" if shared else turn["text"]
    return {"role": "user", "name": turn["speaker"], "content": content}, 0


def _turn_ids(told: Iterable[str]) -> list[tuple[int, int]]:
    """Session and number of turns such as `D8:6`; the data also has `D8:6; D9:17`, `D:11:26` and `D30:05`."""
    pairs = (match.groups() for text in told for match in _TURN_ID.finditer(text))
    return list(dict.fromkeys((int(session), int(number)) for session, number in pairs))


def _question(asked: Mapping[str, Any], messages: Sequence[Mapping[str, str]], turns: Places, name: str) -> Row:
    adversarial = asked["category"] == 5
    require(asked, ("question",), f"a question of {NAME}, {name}")
    if "answer" not in asked and not (adversarial and "adversarial_answer" in asked):
        require(asked, ("answer",), f"the question {asked['question']!r} of {NAME}, {name}")
    gold = str(asked["answer"] if "answer" in asked else asked["adversarial_answer"])
    evidence = [turns[place] for place in _turn_ids(asked.get("evidence") or ()) if place in turns]
    texts = [message["content"] for message in messages]
    spans = [] if adversarial else places_within(texts, evidence, [_meant(asked["category"], gold)])
    return {
        "question": asked["question"],
        "answers": [NOT_MENTIONED if adversarial else gold],
        "kind": "unanswerable" if adversarial else "extractive" if spans else "abstractive",
        "answer_spans": spans,
        "evidence": evidence,
        "category": asked["category"],
        "choices": _choices(gold, f"{name} {asked['question']}") if adversarial else [],
    }


def _choices(wrong: str, seed: str) -> list[str]:
    """The two answers (a) and (b) of an adversarial question."""
    return [NOT_MENTIONED, wrong] if Random(seed).random() < 0.5 else [wrong, NOT_MENTIONED]


def _meant(category: int, gold: str) -> str:
    """What of a gold answer counts: of an open-domain one what stands before its reasons."""
    return gold.split(";")[0].strip() if category == 3 else gold


def prompt(row: Mapping[str, Any], number: int, text: str) -> Prompt:
    """The original's prompt with `text` in the place of the conversation."""
    question = row["questions"][number]
    asked = question["question"]
    if question["category"] == 2:
        asked += DATE_HINT
    elif question["category"] == 5:
        first, second = question["choices"]
        asked += f" Select the correct answer: (a) {first} (b) {second}. "
    end = (CHOICE if question["category"] == 5 else PHRASE).replace("{}", asked)
    return asked_once(START.format(*row["speakers"]) + text + "\n" * row["blank_lines"] + "\n\n" + end, MAX_NEW_TOKENS)


def grade(row: Mapping[str, Any], question: Mapping[str, Any], said: str) -> dict[str, float]:
    """The original's score, as `f1` and as `f1_<category>`."""
    value = _scored(question, said.strip())
    return {"f1": value, f"f1_{CATEGORIES[question['category']]}": value}


def _scored(question: Mapping[str, Any], said: str) -> float:
    category = question["category"]
    if category == 5:
        return float(any(refusal in _chosen(said, question["choices"]).lower() for refusal in REFUSALS))
    gold = _meant(category, question["answers"][0])
    if category == 1:
        return multi_f1(gold, said)
    return f1(gold, said)


def _chosen(said: str, choices: Sequence[str]) -> str:
    """The answer that was chosen, if only a letter was said (`a`, `(a)`), else what was said."""
    said = said.lower()
    letter = {1: "a", 3: "(a)"}.get(len(said))
    return said if letter is None else choices[0] if letter in said else choices[1]


def multi_f1(gold: str, said: str) -> float:
    """Mean over the parts of `gold` between commas of the best F1 that a part of `said` has with it."""
    parts = gold.split(",")
    return sum(max(f1(part, given) for given in said.split(",")) for part in parts) / len(parts)


def f1(gold: str, said: str) -> float:
    """F1 of the stemmed words of two texts, in [0, 1]; 0 if they share none."""
    wanted, given = _stems(gold), _stems(said)
    shared = (Counter(wanted) & Counter(given)).total()
    return 2 * shared / (len(wanted) + len(given)) if shared else 0.0


def _stems(text: str) -> list[str]:
    """Stems of the words without ASCII punctuation, articles and "and"."""
    stem = _stemmer().stem
    return [stem(word) for word in _IGNORED.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split()]


@lru_cache(maxsize=1)
def _stemmer() -> Any:
    try:
        from nltk.stem import PorterStemmer
    except ImportError as missing:
        raise ImportError("LoCoMo compares words by the stemmer of nltk: pip install nltk") from missing
    return PorterStemmer()
