"""The builders of `train.data`: small records in the original schemas, and the rows they must become."""

import copy
import csv
import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from train.data import command, cuad, fairytaleqa, qmsum, schema, sgd, sources, spans, squad_v2

ROOT = Path(__file__).parents[1]


def covered(row, span):
    return row["messages"][span["message"]]["content"][span["start"] : span["end"]]


def answers_of(row, question):
    return [covered(row, span) for span in question["answer_spans"]]


def evidence_of(row, question):
    return [covered(row, span) for span in question["evidence"]]


# --- original records

HARBOUR = "The old harbour opened in 1871. Its crane, built by Ada Brandt, lifts 40 tons! Nobody uses it now."
LIGHTHOUSE = "Dr. Weiß kept the lighthouse. He left in May. The crane broke in the same year."


def article(title, paragraphs):
    return {"title": title, "paragraphs": [{"context": text, "qas": qas} for text, qas in paragraphs]}


def asked(number, question, context, *answers, repeated=1):
    found = [{"text": answer, "answer_start": context.index(answer)} for answer in answers for _ in range(repeated)]
    return {"id": str(number), "question": question, "answers": found, "is_impossible": not answers}


def squad_file():
    filler = " ".join(["word"] * 700)
    return {
        "version": "v2.0",
        "data": [
            article(
                "Harbour",
                [
                    (
                        HARBOUR,
                        [
                            asked(1, " Who built the crane?", HARBOUR, "Ada Brandt", "by Ada Brandt", repeated=2),
                            asked(2, "Who painted the crane?", HARBOUR),
                            asked(3, "When did it open?", HARBOUR, "1871"),
                        ],
                    ),
                    (LIGHTHOUSE, [asked(4, "When did Weiß leave?", LIGHTHOUSE, "in May. The crane", "May")]),
                ],
            ),
            article("Long", [(f"{name} {filler}", [asked(name, name, name, name)]) for name in "ABC"]),
        ],
    }


CLAUSE = (
    'Highlight the parts (if any) of this contract related to "{}" that should be reviewed by a lawyer. Details: {}'
)
CONTRACT = """  SUPPLY AGREEMENT

This agreement is between Nordwind GmbH and Ostsee Ltd. It starts on 3 May 2020.

1. Nordwind may end it with 30 days notice. The law
of Finland governs.
 \t
Ostsee pays in advance: a) half in June;

b) half in July.
"""


def cuad_file():
    """Like `train_separate_questions.json`: one entry per answer of a clause."""
    entries = [
        asked("Law", CLAUSE.format("Governing Law", "Which law?"), CONTRACT, "The law\nof Finland governs."),
        asked("Parties_0", CLAUSE.format("Parties", "Who signed?"), CONTRACT, "Nordwind GmbH"),
        asked("Parties_1", CLAUSE.format("Parties", "Who signed?"), CONTRACT, "Ostsee Ltd", repeated=2),
        asked("Pay", "Which payments are due? ", CONTRACT, " half in June;\n\nb) half in July."),
        asked("Audit", CLAUSE.format("Audit Rights", "May a party audit?"), CONTRACT),
    ]
    long = "\n\n".join(f"Clause {number} " + "term " * 498 for number in range(10))
    late = [
        asked("Long_1", CLAUSE.format("Late", "Late?"), long, "Clause 9", "Clause 1"),
        asked("Long_2", CLAUSE.format("Early", "Early?"), long, "Clause 0"),
    ]
    return {
        "version": "aok_v1.0",
        "data": [article("SUPPLY", [(CONTRACT, entries)]), article("LONG", [(long, late)])],
    }


def tale_records():
    """Like the CSV files on the Hub: lower case, spaces around punctuation, joined sections for summaries."""
    first = "a fox lived by the well . he was fond of plums ."
    second = "one day the well ran dry ."
    third = "the fox wept until it was full again ."

    def record(section, question, *answers, name="fox"):
        given = dict(zip(("answer1", "answer2"), [*answers, ""], strict=False))
        return {
            "story_name": name,
            "story_section": section,
            "question": question,
            **given,
            "local_or_sum": "local",
        }

    return [
        record(first, "where did the fox live ?", "by the well .", "by the well ."),
        record(third, "what did the fox do ?", "wept .", "The Fox wept ."),
        record(
            f"{first} {second} {third} ",
            "why did the fox cry ?",
            "the water was gone .",
            "because it was dry .",
        ),
        record("a hen sang .", "who sang ?", "a hen .", "the rooster .", name="hen"),
    ]


def meeting():
    turns = [
        ("Chair ", "{vocalsound} Shall we start {disfmarker} begin ?"),
        ("Marketing", "{gap}"),
        ("Design", "The case is yellow ."),
        ("Chair", "Fine ."),
    ]
    return {
        "topic_list": [{"topic": "Colour", "relevant_text_span": [["2", "3"]]}],
        "general_query_list": [{"query": "Summarize the meeting.", "answer": "They chose a colour."}],
        "specific_query_list": [
            {"query": "Which colour?", "answer": "Yellow. ", "relevant_text_span": [["3", "9"], ["2", "2"]]},
            {"query": "Who spoke first?", "answer": "The chair.", "relevant_text_span": [["0", "1"]]},
        ],
        "meeting_transcripts": [{"speaker": speaker, "content": content} for speaker, content in turns],
    }


def turn(speaker, utterance, service, mentions=(), state=None):
    """One SGD turn; `mentions` are (slot, text) pairs whose offsets are looked up in the utterance."""
    slots = [
        {"slot": slot, "start": utterance.index(text), "exclusive_end": utterance.index(text) + len(text)}
        for slot, text in mentions
    ]
    frame = {"service": service, "slots": slots}
    if state is None:
        frame["actions"] = []
    else:
        frame["state"] = {"active_intent": "Find", "requested_slots": [], "slot_values": state}
    return {"speaker": speaker, "utterance": utterance, "frames": [frame]}


def dialogue():
    table, ride = "Restaurants_1", "RideSharing_2"
    day, both = ["tomorrow"], ["tomorrow", "May 4th"]
    turns = [
        turn("USER", "A table in Turku tomorrow?", table, [("city", "Turku"), ("day", "tomorrow")],
             {"city": ["Turku"], "day": day, "price": ["dontcare"]}),
        turn("SYSTEM", "Kala has one in Turku on May 4th.", table,
             [("city", "Turku"), ("day", "May 4th"), ("name", "Kala")]),
        turn("USER", "Rather in Oulu, outdoors.", table, [("city", "Oulu")],
             {"city": ["Oulu"], "day": day, "price": ["dontcare"], "outdoor": ["True"]}),
        turn("SYSTEM", "Meri has one for 2 on May 4th at 2.", table, [("day", "May 4th"), ("name", "Meri")]),
        turn("USER", "Good. And a cab there, please.", table, [],
             {"city": ["Oulu"], "day": both, "price": ["dontcare"], "outdoor": ["True"], "name": ["Meri"]}),
        turn("SYSTEM", "For how many?", ride),
        turn("USER", "For us two.", ride, [], {"to": ["Oulu"], "seats": ["2"]}),
        turn("SYSTEM", "A cab to Oulu for 2.", ride, [("city", "Oulu")]),
    ]  # fmt: skip
    return {"dialogue_id": "7_00001", "services": [table, ride], "turns": turns}


def sgd_schema():
    slots = {
        "Restaurants_1": {
            "city": "City of the restaurant",
            "day": "Day of the visit.",
            "price": "Price range",
            "outdoor": "Boolean flag indicating if there are tables outdoors",
            "name": "Name of the restaurant",
        },
        "RideSharing_2": {"to": "Destination of the ride", "seats": "Number of seats"},
    }
    return [
        {
            "service_name": service,
            "description": "",
            "slots": [{"name": name, "description": text, "is_categorical": False} for name, text in named.items()],
            "intents": [],
        }
        for service, named in slots.items()
    ]


# --- local sources in their original layout


def write_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return path


def write_csv(path, records):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(records[0]))
        writer.writeheader()
        writer.writerows(records)
    return path


def squad_source(folder):
    write_json(folder / "dev-v2.0.json", {"version": "v2.0", "data": []})
    write_json(folder / "train-v2.0.json", squad_file())
    return folder


def cuad_source(folder):
    return write_json(folder / "train_separate_questions.json", cuad_file())


def tale_source(folder):
    write_csv(folder / "train.csv", tale_records())
    return folder


def clone_source(folder):
    """A clone of the original FairytaleQA repository, with a section that no question is about."""
    root = folder / "FairytaleQAData" / "data-by-train-split"
    texts = {"1": "Once a Troll\nlived here.", "2": "He ate stones.", "3": "Then he slept."}
    stories = [{"section": number, "text": text} for number, text in texts.items()]
    write_csv(root / "section-stories" / "train" / "troll-story.csv", stories)
    empty = {f"answer{number}": "" for number in range(2, 7)}
    questions = [
        {
            "question_id": "1",
            "cor_section": "1, 3",
            "question": "What did he do?",
            "answer1": "Rested.",
            **empty,
        },
        {"question_id": "2", "cor_section": "1", "question": "Who?", "answer1": "a troll lived", **empty}
        | {"answer4": "the giant"},
    ]
    write_csv(root / "questions" / "train" / "troll-questions.csv", questions)
    return folder


def meeting_source(folder):
    write_json(folder / "data" / "Product" / "train" / "Other.json", {})
    write_json(folder / "data" / "ALL" / "train" / "TS1.json", meeting())
    return folder


def sgd_source(folder):
    write_json(folder / "train" / "schema.json", sgd_schema())
    write_json(folder / "train" / "dialogues_001.json", [dialogue()])
    write_json(folder / "dev" / "dialogues_001.json", [])
    return folder


BUILDERS = {
    "squad_v2": (squad_v2, squad_source),
    "cuad": (cuad, cuad_source),
    "fairytaleqa": (fairytaleqa, tale_source),
    "fairytaleqa-clone": (fairytaleqa, clone_source),
    "qmsum": (qmsum, meeting_source),
    "sgd": (sgd, sgd_source),
}


def build(name, folder):
    builder, source = BUILDERS[name]
    return list(builder.rows(builder.load("train", str(source(folder))), "train"))


@pytest.mark.parametrize("name", BUILDERS)
def test_rows_keep_the_schema_and_survive_the_parquet_file(name, tmp_path):
    rows = build(name, tmp_path / "source")
    path = tmp_path / "rows.parquet"
    assert schema.write(rows, path) == (len(rows), sum(len(row["questions"]) for row in rows))
    assert pq.read_table(path).to_pylist() == rows
    assert Dataset.from_parquet(str(path), cache_dir=str(tmp_path / "cache")).features == schema.FEATURES
    assert pq.ParquetFile(path).metadata.row_group(0).column(0).compression == "ZSTD"
    assert [row["license"] for row in rows] == [BUILDERS[name][0].LICENSE] * len(rows)
    assert [row["source"] for row in rows] == [BUILDERS[name][0].SOURCE] * len(rows)


@pytest.mark.parametrize("name", BUILDERS)
def test_command_line_writes_a_file(name, tmp_path, capsys):
    builder, source = BUILDERS[name]
    path = tmp_path / "out.parquet"
    given = ["--source", str(source(tmp_path / "source")), "--output", str(path), "--limit", "1"]
    assert command.run(builder.load, builder.rows, "unused/default", given) == 0
    assert pq.read_table(path).num_rows == 1
    assert f"{path}: 1 rows" in capsys.readouterr().err


# --- SQuAD 2.0


def test_squad_questions(tmp_path):
    row = build("squad_v2", tmp_path)[0]
    assert row["id"] == "squad_v2-train-Harbour#0"
    assert row["messages"] == [
        {"role": "document", "name": "", "content": HARBOUR},
        {"role": "document", "name": "", "content": LIGHTHOUSE},
    ]
    crane, painted, opened, left = row["questions"]
    assert crane["question"] == "Who built the crane?"
    assert crane["answers"] == answers_of(row, crane) == ["Ada Brandt", "by Ada Brandt"]
    assert evidence_of(row, crane) == ["Its crane, built by Ada Brandt, lifts 40 tons!"]
    empty = {"answers": [], "answer_spans": [], "evidence": []}
    assert painted == {"question": "Who painted the crane?", "kind": "unanswerable", **empty}
    assert (opened["kind"], evidence_of(row, opened)) == ("extractive", ["The old harbour opened in 1871."])
    assert left["answer_spans"][1] == {"message": 1, "start": 41, "end": 44}
    assert evidence_of(row, left) == [
        "He left in May.",
        "He left in May. The crane broke in the same year.",
    ]


def test_squad_joins_paragraphs_up_to_about_1500_words(tmp_path):
    rows = build("squad_v2", tmp_path)
    long = [row for row in rows if "Long" in row["id"]]
    assert [row["id"] for row in long] == ["squad_v2-train-Long#0", "squad_v2-train-Long#1"]
    texts = [[message["content"][0] for message in row["messages"]] for row in long]
    assert texts == [["A"], ["B", "C"]]
    answers = [[question["answers"] for question in row["questions"]] for row in long]
    assert answers == [[["A"]], [["B"], ["C"]]]
    assert [question["answer_spans"][0]["message"] for question in long[1]["questions"]] == [0, 1]


def test_squad_numbers_an_article_that_comes_back(tmp_path):
    records = list(squad_v2.load("train", str(squad_source(tmp_path))))
    harbour = [record for record in records if record["title"] == "Harbour"]
    again = [*harbour[:3], *records[-1:], *harbour[3:]]
    ids = [row["id"] for row in squad_v2.rows(again, "test")]
    assert ids == ["squad_v2-test-Harbour#0", "squad_v2-test-Long#0", "squad_v2-test-Harbour#1"]


# --- CUAD


def test_cuad_questions(tmp_path):
    row = build("cuad", tmp_path)[0]
    assert row["id"] == "cuad-train-SUPPLY#0"
    assert [message["content"] for message in row["messages"]] == [
        "SUPPLY AGREEMENT",
        "This agreement is between Nordwind GmbH and Ostsee Ltd. It starts on 3 May 2020.",
        "1. Nordwind may end it with 30 days notice. The law\nof Finland governs.",
        "Ostsee pays in advance: a) half in June;\n\nb) half in July.",
    ]
    parties, law, pay = row["questions"]
    assert parties["question"] == "Parties: Who signed?"
    assert parties["answers"] == answers_of(row, parties) == ["Nordwind GmbH", "Ostsee Ltd"]
    assert len(parties["evidence"]) == 1
    assert evidence_of(row, parties)[0].startswith("This agreement is between")
    assert law["question"] == "Governing Law: Which law?"
    assert evidence_of(row, law) == ["The law\nof Finland governs."]
    assert pay["question"] == "Which payments are due?"
    assert answers_of(row, pay) == pay["answers"] == ["half in June;\n\nb) half in July."]
    assert pay["answer_spans"][0]["message"] == 3


def test_cuad_cuts_long_contracts_into_windows(tmp_path):
    first, second = build("cuad", tmp_path)[1:]
    assert [first["id"], second["id"]] == ["cuad-train-LONG#0", "cuad-train-LONG#1"]
    assert [len(first["messages"]), len(second["messages"])] == [5, 5]
    assert second["messages"][0]["content"].startswith("Clause 5 term")
    assert [question["question"] for question in first["questions"]] == ["Early: Early?", "Late: Late?"]
    assert [question["answers"] for question in first["questions"]] == [["Clause 0"], ["Clause 1"]]
    assert [question["answers"] for question in second["questions"]] == [["Clause 9"]]
    assert second["questions"][0]["answer_spans"] == [{"message": 4, "start": 0, "end": 8}]


@pytest.mark.parametrize(("words", "expected"), [(4500, 1), (4600, 2), (9100, 3)])
def test_cuad_windows_are_about_3000_words(words, expected):
    blocks = [f"{number} " + "term " * 98 + "end" for number in range(words // 100)]
    context = "\n\n".join(blocks)
    answers = {"text": blocks, "answer_start": [context.index(block) for block in blocks]}
    record = {"id": "", "title": "T", "context": context, "question": "Q", "answers": answers}
    rows = list(cuad.rows([record]))
    sizes = [sum(len(message["content"].split()) for message in row["messages"]) for row in rows]
    assert len(rows) == expected
    assert sum(sizes) == len(context.split())
    assert max(sizes) - min(sizes) <= 200
    assert sum(len(row["questions"][0]["answers"]) for row in rows) == len(blocks)


def test_cuad_names_a_record_with_a_wrong_offset():
    answers = {"text": ["Ostsee Ltd"], "answer_start": [3]}
    record = {"id": "c7", "title": "T", "context": CONTRACT, "question": "Q", "answers": answers}
    with pytest.raises(ValueError, match="record 'c7': answer_start 3 must be where the answer 'Ostsee Ltd'"):
        list(cuad.rows([record]))


# --- FairytaleQA


def test_fairytale_sections_come_out_of_joined_ones(tmp_path):
    row, hen = build("fairytaleqa", tmp_path)
    assert [row["id"], hen["id"]] == ["fairytaleqa-train-fox", "fairytaleqa-train-hen"]
    assert [message["content"] for message in row["messages"]] == [
        "a fox lived by the well . he was fond of plums .",
        "one day the well ran dry .",
        "the fox wept until it was full again .",
    ]
    assert [question["question"].split()[0] for question in row["questions"]] == ["where", "why", "what"]
    cry = row["questions"][1]
    assert (cry["kind"], cry["answer_spans"]) == ("abstractive", [])
    assert cry["answers"] == ["the water was gone .", "because it was dry ."]
    assert [span["message"] for span in cry["evidence"]] == [0, 1, 2]


def test_fairytale_answers(tmp_path):
    row, hen = build("fairytaleqa", tmp_path)
    by_text = {question["question"]: question for question in row["questions"]}
    wept, where = by_text["what did the fox do ?"], by_text["where did the fox live ?"]
    assert (wept["kind"], wept["answers"], answers_of(row, wept)) == (
        "extractive",
        ["wept", "The Fox wept"],
        ["wept", "the fox wept"],
    )
    assert evidence_of(row, wept) == ["the fox wept until it was full again ."]
    assert where["answers"] == answers_of(row, where) == ["by the well ."]
    assert hen["questions"][0]["answers"] == ["a hen", "the rooster ."]
    assert answers_of(hen, hen["questions"][0]) == ["a hen"]


def test_fairytale_clone_keeps_all_sections_and_answers(tmp_path):
    (row,) = build("fairytaleqa-clone", tmp_path)
    contents = ["Once a Troll\nlived here.", "He ate stones.", "Then he slept."]
    assert [message["content"] for message in row["messages"]] == contents
    did, who = row["questions"]
    assert (did["kind"], evidence_of(row, did)) == ("abstractive", [contents[0], contents[2]])
    assert (who["kind"], who["answers"]) == ("extractive", ["a troll lived", "the giant"])
    assert answers_of(row, who) == ["a Troll\nlived"]


# --- QMSum


def test_qmsum_turns_and_evidence(tmp_path):
    (row,) = build("qmsum", tmp_path)
    assert row["id"] == "qmsum-train-TS1"
    assert row["messages"] == [
        {"role": "user", "name": "Chair", "content": "Shall we start begin ?"},
        {"role": "user", "name": "Design", "content": "The case is yellow ."},
        {"role": "user", "name": "Chair", "content": "Fine ."},
    ]
    assert [question["question"] for question in row["questions"]] == [
        "Who spoke first?",
        "Which colour?",
        "Summarize the meeting.",
    ]
    first, colour, summary = row["questions"]
    assert evidence_of(row, first) == ["Shall we start begin ?"]
    assert (colour["answers"], evidence_of(row, colour)) == (["Yellow."], ["The case is yellow .", "Fine ."])
    assert (summary["kind"], summary["evidence"]) == ("abstractive", [])


def test_qmsum_numbers_the_meetings_of_a_jsonl_file(tmp_path):
    (tmp_path / "val.jsonl").write_text(f"{json.dumps(meeting())}\n{json.dumps(meeting())}\n", encoding="utf-8")
    records = qmsum.load("validation", str(tmp_path))
    assert [row["id"] for row in qmsum.rows(records, "validation")] == [
        "qmsum-validation-0",
        "qmsum-validation-1",
    ]


# --- SGD


def test_sgd_asks_for_the_final_values(tmp_path):
    (row,) = build("sgd", tmp_path)
    assert row["id"] == "sgd-train-7_00001"
    assert [message["role"] for message in row["messages"]] == ["user", "assistant"] * 4
    found = [
        (question["answers"], question["kind"], answers_of(row, question), question["evidence"][0]["message"])
        for question in row["questions"]
    ]
    assert found == [
        # A city that replaced another; also the goal of the ride, said in a turn of the other service.
        (["Oulu"], "latest_value", ["Oulu"], 2),
        (["True"], "state", [], 2),
        (["Oulu"], "state", ["Oulu"], 2),
        # A day that only got a second wording, last said by the assistant.
        (["tomorrow", "May 4th"], "state", ["May 4th"], 3),
        (["Meri"], "state", ["Meri"], 3),
        # A number is not looked for far back, where it was part of another phrase.
        (["2"], "state", [], 6),
    ]
    for question in row["questions"]:
        assert evidence_of(row, question) == [row["messages"][question["evidence"][0]["message"]]["content"]]


def test_sgd_words_questions_from_the_descriptions(tmp_path):
    (row,) = build("sgd", tmp_path)
    # The same wordings in every process, so that a build can be repeated.
    assert [question["question"] for question in row["questions"]] == [
        "What is the city of the restaurant (restaurants)?",
        "True or false in this restaurants request: there are tables outdoors?",
        "Which destination of the ride was chosen (ride sharing)?",
        "Which day of the visit was chosen (restaurants)?",
        "What name of the restaurant did they agree on in the end (restaurants)?",
        "In this ride sharing request, what is the number of seats?",
    ]


def test_sgd_leaves_out_dialogues_without_values():
    bare = {"dialogue_id": "1", "schema": [], "turns": [turn("USER", "Hello.", "Restaurants_1", state={})]}
    assert list(sgd.rows([bare])) == []


def test_sgd_has_no_hub_source():
    with pytest.raises(ValueError, match="source must be a clone of .*'some/mirror'"):
        list(sgd.load("train", "some/mirror"))


# --- schema


def good_row():
    return {
        "id": "r1",
        "source": "here",
        "license": "CC0",
        "messages": [
            {"role": "document", "name": "", "content": "The sea is blue."},
            {"role": "user", "name": "Ann", "content": "Yes, Blue."},
        ],
        "questions": [
            {
                "question": "Which colour?",
                "answers": ["blue"],
                "kind": "extractive",
                "answer_spans": [{"message": 1, "start": 5, "end": 9}],
                "evidence": [{"message": 1, "start": 0, "end": 10}],
            }
        ],
    }


def test_validate_accepts_a_good_row():
    assert schema.validate(good_row()) is None


BAD_ROWS = [
    ("id", " ", "id must be a string that is not blank, but is ' '"),
    ("license", None, "license must be a string that is not blank, but is None"),
    ("extra", 1, "row must have exactly the fields id, source"),
    ("messages", [], "messages must not be empty"),
    ("messages.0.role", "bot", "messages[0].role must be one of document, user"),
    ("messages.0.name", "Ann", "messages[0].name must be empty for a document, but is 'Ann'"),
    ("messages.1.content", None, "messages[1].content must be a string, but is None"),
    ("messages.1", {"role": "user"}, "messages[1] must have exactly the fields role, name, content"),
    ("questions.0.question", "", "questions[0].question must be a string that is not blank"),
    ("questions.0.answers", ["a", "a"], "questions[0].answers must not repeat an answer, but is ['a', 'a']"),
    ("questions.0.answers", ["a", ""], "questions[0].answers[1] must be a string that is not blank"),
    ("questions.0.answers", ["a"], "answer_spans[0] must cover one of the answers, but is 'Blue'"),
    ("questions.0.kind", "guess", "questions[0].kind must be one of extractive"),
    ("questions.0.kind", "unanswerable", "answers must be empty for the kind 'unanswerable'"),
    ("questions.0.kind", "abstractive", "answer_spans must be empty for the kind 'abstractive'"),
    ("questions.0.answer_spans", [], "answer_spans must not be empty for the kind 'extractive'"),
    ("questions.0.evidence", [], "answer_spans[0] must lie inside one span of the evidence"),
    ("questions.0.evidence.0.start", 6, "answer_spans[0] must lie inside one span of the evidence"),
    ("questions.0.evidence.0.end", 8, "answer_spans[0] must lie inside one span of the evidence"),
    ("questions.0.evidence.0.message", 0, "answer_spans[0] must lie inside one span of the evidence"),
    ("questions.0.evidence.0.message", 2, "[0].message must number one of 2 messages from 0, but is 2"),
    ("questions.0.evidence.0.message", -1, "[0].message must number one of 2 messages from 0, but is -1"),
    ("questions.0.evidence.0.end", 11, "[0].end must be from 1 to 10 in its message, but is 11"),
    ("questions.0.evidence.0.end", 0, "[0].end must be from 1 to 10 in its message, but is 0"),
    ("questions.0.evidence.0.start", -1, "[0].start must be from 0 to below 10 in its message, but is -1"),
    ("questions.0.evidence.0.start", 0.0, "[0].start must be an integer, but is 0.0"),
]


@pytest.mark.parametrize(("path", "value", "message"), BAD_ROWS)
def test_validate_names_row_field_rule_and_value(path, value, message):
    row = good_row()
    *keys, last = (int(key) if key.isdigit() else key for key in path.split("."))
    place = row
    for key in keys:
        place = place[key]
    place[last] = value
    with pytest.raises(ValueError) as error:
        schema.validate(row)
    assert str(error.value).startswith(f"row {row['id']!r}: ")
    assert message in str(error.value)


def test_validate_shortens_long_values():
    row = good_row()
    row["questions"][0]["kind"] = "x" * 1000
    with pytest.raises(ValueError, match=r"x… \(1002 characters\)") as error:
        schema.validate(row)
    assert len(str(error.value)) < 350


def test_write_refuses_a_bad_row_and_leaves_no_file(tmp_path):
    bad = copy.deepcopy(good_row()) | {"id": "r2", "messages": []}
    for rows, message in (
        ([good_row(), bad], "row 'r2'"),
        ([good_row()] * 2, "id must occur once"),
        ([], "empty"),
    ):
        with pytest.raises(ValueError, match=message):
            schema.write(rows, tmp_path / "rows.parquet")
        assert list(tmp_path.iterdir()) == []


def test_write_keeps_the_old_file_until_the_new_one_is_complete(tmp_path):
    path = tmp_path / "rows.parquet"
    schema.write([good_row()], path)
    with pytest.raises(ValueError):
        schema.write([good_row() | {"id": ""}], path)
    assert pq.read_table(path).to_pylist() == [good_row()]


# --- spans


@pytest.mark.parametrize(
    ("text", "answer", "found"),
    [
        ("An art of the Ark.", "ark", "Ark"),
        ("It cost $5.00 (five).", "$5.00", "$5.00"),
        ("the old\n  mill", "Old mill", "old\n  mill"),
        ("cart", "art", None),
        ("art", "", None),
        ("a+b", "a.b", None),
    ],
)
def test_locate_finds_whole_words(text, answer, found):
    border = spans.locate(text, answer)
    assert (text[slice(*border)] if border else None) == found


def test_sentences_do_not_end_at_abbreviations():
    borders = spans.sentences(f" {LIGHTHOUSE}\n\nEnd ")
    assert [f" {LIGHTHOUSE}\n\nEnd "[start:end] for start, end in borders] == [
        "Dr. Weiß kept the lighthouse.",
        "He left in May.",
        "The crane broke in the same year.",
        "End",
    ]


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([1, 8, 1], [[0], [1, 2]]),
        ([1, 5, 4], [[0, 1], [2]]),
        ([9, 1, 1], [[0], [1, 2]]),
        ([7], [[0]]),
        ([], []),
    ],
)
def test_windows_put_an_item_where_its_middle_is(sizes, expected):
    assert [list(run) for run in spans.windows(sizes, 2)] == expected


@given(st.lists(st.integers(0, 50), max_size=30), st.integers(1, 8))
def test_windows_cover_all_items_in_order(sizes, count):
    runs = spans.windows(sizes, count)
    assert [index for run in runs for index in run] == list(range(len(sizes)))
    assert len(runs) <= count
    if sum(sizes):
        even = sum(sizes) / count
        assert all(sum(sizes[index] for index in run) <= even + max(sizes) for run in runs)


@given(st.text(alphabet="ab \n\t"))
def test_paragraphs_cover_all_words_and_hold_no_blank_line(text):
    blocks = [text[start:end] for start, end in spans.paragraphs(text)]
    assert " ".join(blocks).split() == text.split()
    assert all(line.strip() for block in blocks for line in block.split("\n"))
    assert all(block == block.strip() for block in blocks)


# --- sources and command line


@pytest.mark.parametrize("source", ["./missing", "/missing/file.json", "missing", "a/b/c"])
def test_a_source_that_is_nothing_is_named(source):
    with pytest.raises(ValueError, match=f"source must be an existing file .* but is '{source}'"):
        sources.local(source)


def test_files_know_the_names_of_a_split(tmp_path):
    write_json(tmp_path / "x" / "dev" / "one.json", [])
    assert sources.files(tmp_path, "validation", "{split}/*.json") == [tmp_path / "x" / "dev" / "one.json"]
    with pytest.raises(ValueError, match="test/.*json for this split"):
        sources.files(tmp_path, "test", "{split}/*.json")
    with pytest.raises(ValueError, match="split must be one of train, validation, test, but is 'dev'"):
        sources.files(tmp_path, "dev", "{split}/*.json")


@pytest.mark.parametrize(
    ("builder", "records", "revision"),
    [
        (squad_v2, lambda folder: list(squad_v2.load("train", str(squad_source(folder)))), None),
        (cuad, lambda folder: list(cuad.load("train", str(cuad_source(folder)))), "refs/convert/parquet"),
        (fairytaleqa, lambda folder: tale_records(), "refs/convert/parquet"),
        (qmsum, lambda folder: [meeting()], None),
    ],
)
def test_hub_sources_ask_for_the_right_revision(builder, records, revision, monkeypatch, tmp_path):
    calls = []

    def load_dataset(path, **keywords):
        calls.append((path, keywords))
        return records(tmp_path)

    monkeypatch.setattr(sources, "load_dataset", load_dataset)
    assert list(builder.rows(builder.load("train", "owner/name"), "train"))
    assert calls == [("owner/name", {"split": "train", "revision": revision})]


def test_module_runs_from_the_shell(tmp_path):
    path = tmp_path / "out.parquet"
    source = str(squad_source(tmp_path / "source"))
    words = [sys.executable, "-m", "train.data.squad_v2", "--split", "train", "--source", source, "--output"]
    done = subprocess.run([*words, str(path)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert pq.read_table(path).column("id").to_pylist() == [
        "squad_v2-train-Harbour#0",
        "squad_v2-train-Long#0",
        "squad_v2-train-Long#1",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--limit", "0"], "--limit must be at least 1, but is 0"),
        (["--split", "test"], "must hold a file test"),
        (["--split", "validation"], "nothing came for"),
        (["--source", "./missing"], "source must be an existing file"),
        (
            ["--source", "other.json"],
            "--source must hold records in the original schema, but 'other.json' lacks 'data'",
        ),
    ],
)
def test_command_line_mistakes_end_with_status_2(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_json(tmp_path / "other.json", {})
    given = ["--output", "out.parquet", "--source", str(squad_source(tmp_path / "source")), *arguments]
    with pytest.raises(SystemExit) as stop:
        command.run(squad_v2.load, squad_v2.rows, "unused/default", given)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out.parquet").exists()
