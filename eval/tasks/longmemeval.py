"""LongMemEval (arXiv:2410.10813): 500 questions, each on a history of dated chats of one user with an assistant.

After xiaowu0162/LongMemEval: `src/generation/run_generation.py` (prompts of the full history, sessions sorted by their
dates; commit d0c699f) and `src/evaluation/evaluate_qa.py` (commit f466efe); data xiaowu0162/longmemeval-cleaned, MIT.

**Context.** With `history="nl"` each turn is a message of `user` or `assistant`, and each session begins with a message
of its number and date. As text, with everything kept, that is word for word the original's history in its format `nl`:
its turns are lines with a role before them, too. `history="json"` is the format that the original recommends: a session
is one message without a role that has its turns as JSON. What a reader cannot take fails; the original leaves out the
end. `reading="direct"` asks for the answer, `"con"`, which the original recommends, for the information and steps
before it.

**Scores.** The official one is the accuracy that a language model as a judge gives. `contains` (the gold answer stands
in what was said) and `f1` (of words, as in SQuAD) are not it: they need no judge, and say little where the answer is
said in other words. Questions without an answer and those on preferences, whose gold answers are explanations and
rubrics, have neither. `judge_model` adds `judged`, see `eval/tasks/longmemeval_judge.py`; it is the official score if
the judge is the original's. `<measure>_<type>` are the parts of a measure; questions without an answer count for their
type, as in the original, and for `judged_abstention`.

Evidence is the turns that are marked `has_answer`, without any mark the sessions in `answer_session_ids`; questions
without an answer have none.

```bash
python eval/run.py --system reet,full --task longmemeval --data FOLDER --reader causal_lm --option causal_lm.model=ID \\
    --option longmemeval.judge_model=gpt-4o-2024-08-06 --option longmemeval.judge_url=https://api.openai.com/v1
```
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eval.readers.base import Prompt, asked_once
from eval.readers.scores import f1, normalized
from eval.tasks.longmemeval_judge import ABSTENTION, ASKED, appointed, judge_prompt, judgements, verdict
from eval.tasks.mtr import score
from eval.tasks.public import document, file_of, places_within, read_file, require, sample
from reet_hf.errors import ReetError

__all__ = ["VERSION", "grade", "load", "prompt", "score"]

VERSION = "1"
REPOSITORY = "xiaowu0162/longmemeval-cleaned"
FILES = {
    "longmemeval_oracle": "longmemeval_oracle.json",
    "longmemeval_s": "longmemeval_s_cleaned.json",
    "longmemeval_m": "longmemeval_m_cleaned.json",
}
FIELDS = (
    "question_id",
    "question_type",
    "question",
    "answer",
    "question_date",
    "haystack_dates",
    "haystack_sessions",
    "haystack_session_ids",
    "answer_session_ids",
)
HISTORIES = ("nl", "json")
ABSTAINING = "_abs"  # in the id of a question without an answer
PREFERENCE = "single-session-preference"
HEADER = "### Session {}:\nSession Date: {}\nSession Content:\n\n"
READINGS = {  # what is asked before the history and after it, and the most tokens of an answer
    "direct": ("", "Answer:", 500),
    "con": (
        " Answer the question step by step: first extract all the relevant information, and then reason over the "
        "information to get the answer.",
        "Answer (step by step):",
        800,
    ),
}
START = (
    "I will give you several history chats between you and a user. Please answer the question based on the relevant "
    "chat history."
)

Row = dict[str, Any]
Place = dict[str, int]
Session = tuple[str, str, Sequence[Mapping[str, Any]]]  # date, name, turns


def load(
    data: str = "",
    rows: int | None = None,
    sets: str | Sequence[str] = ("longmemeval_oracle", "longmemeval_s"),
    history: str = "nl",
    reading: str = "direct",
    judge_model: str = "",
    judge_url: str = "",
) -> dict[str, list[Row]]:
    """One row a question.

    Args:
        data: A folder that has the sets' files, or the Hub id of a data set with the files of the original's, which is
            taken without any.
        rows: At most so many questions of each set: a sample that is the same every time.
        sets: `longmemeval_oracle` (sessions with evidence only), `longmemeval_s` (about 115,000 tokens a history) and
            `longmemeval_m` (about 500 sessions), as a list or with commas between.
        history: `"nl"` or `"json"`, see above.
        reading: `"direct"` or `"con"`, see above.
        judge_model: Hub id or folder of the judge, or its name at the server; without it nothing is judged.
        judge_url: Address of an OpenAI-compatible server that has the judge; the key is in `OPENAI_API_KEY`.

    Raises:
        ReetError: If a set cannot be read, a record is of another form or an option is out of range.
    """
    for name, value, known in (("history", history, HISTORIES), ("reading", reading, tuple(READINGS))):
        if value not in known:
            raise ReetError(f"`{name}` must be one of {', '.join(known)}, got {value!r}.")
    if judge_url and not judge_model:
        raise ReetError("`judge_url` must come with `judge_model`, the judge's name at the server, but it is empty.")
    own = {"reading": reading, "judge": [judge_model, judge_url] if judge_model else []}
    return {
        name: [{**_row(record, name, history), **own} for record in sample(_records(data, name), rows)]
        for name in _names(sets)
    }


def _names(sets: str | Sequence[str]) -> list[str]:
    names = sets.split(",") if isinstance(sets, str) else list(sets)
    if not names or not set(names) <= set(FILES):
        raise ReetError(f"`sets` must be among {', '.join(FILES)}, got {sets!r}; put commas between several.")
    return names


def _records(data: str, name: str) -> list[Row]:
    folder = Path(data)
    if data and folder.is_dir():
        cleaned = folder / FILES[name]
        return read_file(cleaned if cleaned.is_file() else file_of(folder, name))
    from huggingface_hub import hf_hub_download

    place = data or REPOSITORY
    try:
        return read_file(Path(hf_hub_download(place, FILES[name], repo_type="dataset")))
    except ReetError:
        raise
    except Exception as error:
        raise ReetError(
            f"`data` must be a folder with {FILES[name]} or the Hub id of a data set that has it; {place!r} is no "
            f"folder, and loading it from the Hub failed: {error} To work offline download {REPOSITORY} and name that "
            "folder."
        ) from error


def _row(record: Mapping[str, Any], name: str, history: str) -> Row:
    require(record, FIELDS, f"{name}, {record.get('question_id', 'a record without question_id')}")
    made = (_turns if history == "nl" else _json)(_sessions(record))
    return {
        "id": record["question_id"],
        "source": "LongMemEval",
        "license": "MIT",
        "messages": made.messages,
        "questions": [_question(record, made)],
    }


def _sessions(record: Mapping[str, Any]) -> list[Session]:
    """Sessions in order of their dates, which are compared as text, as the original does."""
    columns = [record[name] for name in ("haystack_dates", "haystack_session_ids", "haystack_sessions")]
    if len({len(column) for column in columns}) > 1:
        raise ReetError(
            f"`data` must have a date and an id for each session, but {record['question_id']} has "
            f"{', '.join(str(len(column)) for column in columns)} dates, ids and sessions; download it again."
        )
    return sorted(zip(*columns, strict=True), key=lambda session: session[0])


@dataclass
class History:
    """Sessions as messages.

    Attributes:
        messages: The messages.
        marked: Places of the turns that are evidence.
        sessions: Places of the turns of each session.
    """

    messages: list[dict[str, str]] = field(default_factory=list)
    marked: list[Place] = field(default_factory=list)
    sessions: dict[str, list[Place]] = field(default_factory=dict)

    def note(self, session: str, turn: Mapping[str, Any], start: int, end: int) -> None:
        """Note where a turn stands in the message that comes next."""
        place = {"message": len(self.messages), "start": start, "end": end}
        self.sessions.setdefault(session, []).append(place)
        if turn.get("has_answer"):
            self.marked.append(place)


def _turns(sessions: Sequence[Session]) -> History:
    """A message a turn."""
    made = History()
    for number, (date, name, turns) in enumerate(sessions, 1):
        made.messages.append(document("\n" * (number == 1) + HEADER.format(number, date)))
        for turn in turns:
            content = turn["content"].strip()
            made.note(name, turn, 0, len(content))
            # one line break of the original's blank line, the other stands between messages
            made.messages.append({"role": turn["role"], "name": "", "content": content + "\n"})
    return made


def _json(sessions: Sequence[Session]) -> History:
    """A message a session."""
    made = History()
    for number, (date, name, turns) in enumerate(sessions, 1):
        text = "\n" + HEADER.format(number, date) + "["
        for place, turn in enumerate(turns):
            text += ", " if place else ""
            start = len(text)
            text += json.dumps({key: value for key, value in turn.items() if key != "has_answer"})
            made.note(name, turn, start, len(text))
        made.messages.append(document(text + "]" + "\n" * (number == len(sessions))))
    return made


def _question(record: Mapping[str, Any], history: History) -> Row:
    kind, gold = record["question_type"], str(record["answer"])
    if kind not in ASKED or kind == ABSTENTION:
        raise ReetError(
            f"`data` must have questions of the types {', '.join(each for each in ASKED if each != ABSTENTION)}, but "
            f"{record['question_id']} is of {kind!r}; is it another version of the benchmark?"
        )
    answerable = ABSTAINING not in record["question_id"]
    of_sessions = [place for name in record["answer_session_ids"] for place in history.sessions.get(name, ())]
    evidence = (history.marked or of_sessions) if answerable else []
    texts = [message["content"] for message in history.messages]
    spans = places_within(texts, evidence, [] if gold.lower() in ("yes", "no") or kind == PREFERENCE else [gold])
    return {
        "question": record["question"],
        "answers": [gold],
        "kind": "unanswerable" if not answerable else "extractive" if spans else "abstractive",
        "answer_spans": spans,
        "evidence": evidence,
        "type": kind,
        "date": record["question_date"],
    }


def prompt(row: Mapping[str, Any], number: int, text: str) -> Prompt:
    """The original's prompt with `text` in the place of the history."""
    question = row["questions"][number]
    how, answer, length = READINGS[row["reading"]]
    return asked_once(
        f"{START}{how}\n\n\nHistory Chats:\n\n{text}\n\nCurrent Date: {question['date']}\n"
        f"Question: {question['question']}\n{answer}",
        length,
    )


def grade(row: Mapping[str, Any], question: Mapping[str, Any], said: str) -> dict[str, float]:
    """`contains` and `f1`, and with a judge `judged`, each also for the type of the question.

    Raises:
        ReetError: If the judge does not answer.
    """
    gold, said, kind = question["answers"][0], said.strip(), question["type"]
    unanswerable = question["kind"] == "unanswerable"
    found = {}
    if not unanswerable and kind != PREFERENCE:
        found = {"contains": contains(gold, said), "f1": f1(gold, said)}
    if row["judge"]:
        found["judged"] = _judged(row["judge"], ABSTENTION if unanswerable else kind, question, said)
    parts = {f"{name}_{kind.replace('-', '_')}": value for name, value in found.items()}
    if unanswerable and row["judge"]:
        parts[f"judged_{ABSTENTION}"] = found["judged"]
    return found | parts


def contains(gold: str, said: str) -> float:
    """1 if the words of `gold` stand in `said` in a row, as SQuAD compares words, else 0."""
    wanted = normalized(gold)
    return float(bool(wanted) and f" {wanted} " in f" {normalized(said)} ")


def _judged(judge: Sequence[str], kind: str, question: Mapping[str, Any], said: str) -> float:
    asked = judge_prompt(kind, question["question"], question["answers"][0], said)
    (judgement,) = judgements(appointed(*judge), [asked])
    found = verdict(judgement)
    if found is None:
        raise ReetError(
            f"`judge_model` must answer, but the call failed: {judgement.error} See to that and run again: what was "
            "done is kept."
        )
    return found
