"""RULER: texts by offset and size, prompts letter by letter, metrics worked out by hand, a run with a tiny model."""

from __future__ import annotations

import builtins
import json
from collections import Counter
from random import Random

import pytest
from conftest import ROOT
from test_eval_readers import TEMPLATE, make_lm_folder

from eval import records, run
from eval.readers import causal_lm
from eval.systems import full
from eval.systems.base import Kept
from eval.tasks import ruler
from eval.tasks.generated import contents
from eval.tasks.ruler_lists import common, frequent
from eval.tasks.ruler_tasks import TASKS, family_of, sized
from eval.tasks.ruler_texts import DEPTHS, NOISE, Kind, needles
from eval.tasks.ruler_words import Words
from reet_hf.budget import resolve_counter
from reet_hf.errors import ReetError
from reet_hf.records import Span

COUNTER = str(ROOT / "reet" / "reet-base")
GENERATED = TASKS[:11]
WORDS = Words(["lamp", "pier"], ["late", "red"], ["ran", "sang"])
PARAGRAPHS = ["The red pier burnt in 1901. It was rebuilt.", "Seven ships lay there.", "A hotel stood nearby."]
SQUAD = {
    "data": [
        {
            "paragraphs": [
                {
                    "context": PARAGRAPHS[0],
                    "qas": [
                        {
                            "question": "When did the pier burn?",
                            "answers": [{"text": "1901", "answer_start": 22}, {"text": "in 1901", "answer_start": 19}],
                            "is_impossible": False,
                        },
                        {"question": "Why?", "answers": [], "is_impossible": True},
                    ],
                },
                {"context": PARAGRAPHS[1], "qas": []},
            ]
        },
        {"paragraphs": [{"context": PARAGRAPHS[2], "qas": []}]},
    ]
}
HOTPOT = [
    {
        "question": "Where is the pier that Ada drew?",
        "answer": "Brighton",
        "context": [["Ada", ["Ada drew.", " She drew the red pier."]], ["Pier", ["The red pier is in Brighton."]]],
        "supporting_facts": [["Ada", 1], ["Pier", 0], ["Pier", 7]],
    }
]


@pytest.fixture(scope="module")
def every():
    return ruler.load(rows=2, lengths=1024, turns=3, tokenizer=COUNTER)


@pytest.fixture
def sources(tmp_path):
    """A folder with files of the original's forms."""
    essay = "One  essay says this.\nAnother says that! Does it? " * 300
    for name, content in (("PaulGrahamEssays", {"text": essay}), ("squad", SQUAD), ("hotpotqa", HOTPOT)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    return tmp_path


def standing(row, place) -> str:
    return contents(row)[place["message"]][place["start"] : place["end"]]


def test_eleven_tasks_need_no_download_and_come_out_the_same_every_time(every):
    assert set(every) == {f"{task}-1024" for task in GENERATED}
    assert every == ruler.load(rows=2, lengths=1024, turns=3, tokenizer=COUNTER)
    other = ruler.load(rows=1, lengths=1024, seed=1, tasks="vt", tokenizer=COUNTER)
    assert other["vt-1024"][0]["messages"] != every["vt-1024"][0]["messages"]


def test_prompt_and_answer_fill_the_length_and_the_full_context_is_the_text(every):
    counter = resolve_counter(COUNTER)
    system = full.build(counter)
    for name, rows in every.items():
        for row in rows:
            kept = system.compress(system.open(row["messages"]), None, (), [1.0])[0]
            assert kept.text == "\n".join(contents(row)), name
            asked = ruler.prompt(row, 0, kept.text).messages[0]["content"]
            assert 700 < counter.count(asked) + row["max_new_tokens"] <= 1024, name
            for question in row["questions"]:
                assert ruler.score(row, question, kept) == {"answer_survival": 1.0, "evidence_recall": 1.0}


def test_answers_stand_where_their_spans_say(every):
    for rows in every.values():
        for row in rows:
            for question in row["questions"]:
                assert len(question["spans"]) == len(question["answers"])
                for answer, spans in zip(question["answers"], question["spans"], strict=True):
                    assert spans and {standing(row, place) for place in spans} == {answer}


@pytest.mark.parametrize(
    ("task", "needles_in_text", "answers", "questions"),
    [
        ("niah_single_1", 1, 1, 1),
        ("niah_single_2", 1, 1, 1),
        ("niah_single_3", 1, 1, 1),
        ("niah_multikey_1", 4, 1, 3),
        ("niah_multikey_2", None, 1, 3),
        ("niah_multikey_3", None, 1, 3),
        ("niah_multivalue", 4, 4, 1),
        ("niah_multiquery", 4, 4, 1),
    ],
)
def test_needles_are_as_many_as_the_originals(every, task, needles_in_text, answers, questions):
    for row in every[f"{task}-1024"]:
        found = "\n".join(contents(row)).count("One of the special magic ")
        assert found == needles_in_text if needles_in_text else found > 10
        assert len(row["questions"]) == questions
        for question in row["questions"]:
            assert len(question["answers"]) == len(question["evidence"]) == answers
            keys = question["query"].replace(", and ", ", ").split(", ")
            kind = "uuids" if task in ("niah_single_3", "niah_multikey_3") else "numbers"
            told = {standing(row, place) for place in question["evidence"]}
            asked = keys if len(keys) == answers else keys * answers
            assert told == {
                f"One of the special magic {kind} for {key} is: {value}."
                for key, value in zip(asked, question["answers"], strict=True)
            }


def test_needles_stand_between_lines_of_noise_or_sentences_at_different_depths():
    lines = needles(Kind("repeat", "words", "numbers"), WORDS, lambda *_: [], 1, Random(0), 5).text.split("\n")
    assert lines.count(NOISE) == 5 and len(lines) == 6
    told = [f"S{place}." for place in range(40)]
    made = needles(Kind("essay", "uuids", "numbers", each=4), WORDS, lambda *_: told, 1, Random(1), 40)
    places = [made.text[:start].count("S") for start, _ in made.asked[0].evidence]
    assert len(set(places)) == 4 and set(places) <= {int(40 * depth / 100) for depth in DEPTHS}
    assert (DEPTHS[0], DEPTHS[1], DEPTHS[19], DEPTHS[-1]) == (0, 3, 49, 100)  # 100 / 39 = 2.56, 19 * 2.56 = 48.7


def test_a_chain_is_told_in_order_and_the_example_before_it_is_another(every):
    row = every["vt-1024"][0]
    question = row["questions"][0]
    names, links = question["answers"], [standing(row, place) for place in question["evidence"]]
    assert links == [f"VAR {names[0]} = {question['query']}"] + [
        f"VAR {later} = VAR {earlier}" for earlier, later in zip(names, names[1:], strict=False)
    ]
    example = row["example"]
    assert example.count(NOISE) == 10 and example.endswith("\n\n\n\n") and question["query"] not in example
    told = example.rstrip("\n").rpartition("they are:  ")[2].split()
    assert len(told) == 5 and all(len(name) == 3 for name in told)


def test_common_words_come_ten_times_as_often():
    made = common("{context}?", " Top:", Words.of("own"), 4096, Random(0), 30)
    counts = Counter(made.text.split()[1::2])
    assert counts.most_common(10)[-1][1] == 30 and sorted(counts.values())[:20] == [3] * 20
    assert {word for word, count in counts.items() if count == 30} == set(made.asked[0].answers)
    assert made.text.startswith("1. ") and len(made.asked[0].evidence) == 300
    assert made.example.count("? Top:1. ") == 1 and made.example.endswith("\n")
    short = Counter(common("{context}", "", Words.of("own"), 1024, Random(0), 30).text.split()[1::2])
    assert Counter(short.values()) == {6: 10, 1: 20}


def test_coded_words_fall_with_the_square_of_their_rank():
    made = frequent(1000, Random(0), 1000)
    counts = Counter(made.text.split())
    # 1000 / (pi^2 / 6) = 607.9, a quarter of it 151.98, a ninth 67.5, a sixteenth 37.99
    assert [counts[word] for word in ("...", *made.asked[0].answers)] == [607, 151, 67, 37]
    assert len(counts) == 20 and all(len(word) == 6 for word in counts if word != "...")


def test_words_beyond_the_list_are_pairs():
    assert sorted(WORDS.sample(6, Random(0))) == ["lamp", "late", "pier", "ran", "red", "sang"]
    more = WORDS.sample(9, Random(0))
    assert len(set(more)) == 9 and sum("-" in word for word in more) == 3
    own = Words.of("own")
    assert len(own.single) > 400 and all(word.isalpha() for word in own.single)


PROMPTS = {
    "niah_single_1": (
        "A special magic number is hidden within the following text. Make sure to memorize it. I will quiz you "
        "about the "
        "number afterwards.\nTEXT\nWhat is the special magic number for QUERY mentioned in the provided text?",
        " The special magic number for QUERY mentioned in the provided text is",
        128,
    ),
    "niah_single_3": (
        "A special magic uuid is hidden within the following text. Make sure to memorize it. I will quiz you about the "
        "uuid afterwards.\nTEXT\nWhat is the special magic uuid for QUERY mentioned in the provided text?",
        " The special magic uuid for QUERY mentioned in the provided text is",
        128,
    ),
    "niah_multiquery": (
        "Some special magic numbers are hidden within the following text. Make sure to memorize it. I will quiz "
        "you about "
        "the numbers afterwards.\nTEXT\nWhat are all the special magic numbers for QUERY mentioned in the "
        "provided text?",
        " The special magic numbers for QUERY mentioned in the provided text are",
        128,
    ),
    "vt": (
        "Memorize and track the chain(s) of variable assignment hidden in the following "
        "text.\n\nTEXT\nQuestion: Find all "
        "variables that are assigned the value QUERY in the text above.",
        " Answer: According to the chain(s) of variable assignment in the text above, 5 variables are assgined "
        "the value "
        "QUERY, they are: ",
        30,
    ),
    "cwe": (
        "Below is a numbered list of words. In these words, some appear more often than others. Memorize the ones that "
        "appear most often.\nTEXT\nQuestion: What are the 10 most common words in the above list?",
        " Answer: The top 10 words that appear most often in the list are:",
        120,
    ),
    "fwe": (
        "Read the following coded text and track the frequency of each coded word. Find the three most frequently "
        "appeared coded words. TEXT\nQuestion: Do not provide any explanation. Please ignore the dots '....'. What are "
        "the three most frequently appeared words in the above coded text?",
        " Answer: According to the coded text above, the three most frequently appeared words are:",
        50,
    ),
    "qa_1": (
        "Answer the question based on the given documents. Only give me the answer and do not output any other "
        "words.\n\n"
        "The following are given documents.\n\nTEXT\n\nAnswer the question based on the given documents. Only give me "
        "the answer and do not output any other words.\n\nQuestion: QUERY",
        " Answer:",
        32,
    ),
}


@pytest.mark.parametrize("task", PROMPTS)
def test_the_prompt_is_the_originals(task):
    asked, prefix, tokens = PROMPTS[task]
    family = family_of(task)
    parts = {"template": family.template, "prefix": family.prefix, "max_new_tokens": family.tokens}
    row = {**parts, "example": "EXAMPLE\n", "form": "base", "questions": [{"query": "QUERY"}]}
    found = ruler.prompt(row, 0, "TEXT")
    assert found.messages[0]["content"] == f"EXAMPLE\n{asked}{prefix}"
    assert (found.plain, found.max_new_tokens, found.cut) == (True, tokens, None)
    chat = ruler.prompt({**row, "form": "chat"}, 0, "TEXT")
    assert chat.messages[0]["content"] == f"EXAMPLE\n{asked}{prefix.strip()}" and not chat.plain


@pytest.mark.parametrize(
    ("match", "said", "value"),
    [
        ("all", "they are: abcde and FGHIJ\n", 1.0),
        ("all", "ABCDE", 0.5),
        ("all", "", 0.0),
        ("part", "It is fghij.", 1.0),
        ("part", "neither", 0.0),
    ],
)
def test_metrics_are_the_originals(match, said, value):
    found = ruler.grade({"match": match}, {"answers": ["ABCDE", "fghij"]}, said)
    assert found == {f"string_match_{match}": value}


def test_survival_is_a_share_of_the_answers_where_all_are_wanted():
    row = {"messages": [{"content": "red pier lamp"}], "match": "all"}
    spans = [[{"message": 0, "start": 0, "end": 3}], [{"message": 0, "start": 9, "end": 13}]]
    question = {"spans": spans, "evidence": [{"message": 0, "start": 0, "end": 13}]}
    kept = Kept("red pier", (Span(0, 0, 8),), 2, 3, 0.0)
    assert ruler.score(row, question, kept) == {"answer_survival": 0.5, "evidence_recall": pytest.approx(2 / 3)}
    assert ruler.score({**row, "match": "part"}, question, kept)["answer_survival"] == 1.0


def test_questions_among_documents(sources):
    found = ruler.load(str(sources), rows=5, tasks="qa_1,qa_2", lengths=1024, tokenizer=COUNTER)
    (squad,), (hotpot,) = found["qa_1-1024"], found["qa_2-1024"]
    text, question = "\n".join(contents(squad)), squad["questions"][0]
    assert sorted(text.partition("\n")[2] for text in text.split("\n\n")) == sorted(PARAGRAPHS)
    assert [text.partition("\n")[0] for text in text.split("\n\n")] == ["Document 1:", "Document 2:", "Document 3:"]
    assert question["question"] == "When did the pier burn?" and question["answers"] == ["1901", "in 1901"]
    assert [standing(squad, place) for place in question["answer_spans"]] == ["1901", "in 1901"]
    assert [standing(squad, place) for place in question["evidence"]] == [PARAGRAPHS[0]]
    question = hotpot["questions"][0]
    told = [standing(hotpot, place) for place in question["evidence"]]
    assert told == [" She drew the red pier.", "The red pier is in Brighton."]
    assert [standing(hotpot, place) for place in question["answer_spans"]] == ["Brighton"]
    assert "Ada\nAda drew. She drew the red pier." in "\n".join(contents(hotpot))
    assert ruler.grade(hotpot, question, "in brighton") == {"string_match_part": 1.0}


def test_essays_of_the_original_are_used_where_they_are(sources):
    found = ruler.load(str(sources), rows=1, lengths=1024, tokenizer=COUNTER)
    assert set(found) == {f"{task}-1024" for task in TASKS}
    row = found["niah_single_2-1024"][0]
    assert row["source"] == "PaulGrahamEssays.json" and "One essay says this. Another says" in contents(row)[0]
    assert found["niah_single_1-1024"][0]["source"] == "generated"


@pytest.mark.parametrize(
    ("most", "room", "known", "size"),
    [(None, 37, None, 30), (None, 10, None, 10), (25, 100, None, 25), (100, 37, None, 30), (None, 24, 40, 20)],
)
def test_the_size_is_that_of_whole_steps_that_fit(most, room, known, size):
    assert sized(lambda units: units <= room, "vt", 4096, most, known) == size


def test_what_is_missing_or_out_of_range_is_named(sources, monkeypatch):
    for options, message in (
        ({"tasks": "qa_1"}, "`data` must be a folder with squad.json for qa_1"),
        ({"tasks": "niah"}, "`tasks` must be among niah_single_1.*got 'niah'"),
        ({"form": "text"}, "`form` must be one of base, chat"),
        ({"words": "mine"}, "`words` must be one of own, wonderwords"),
        ({"lengths": [0]}, "`lengths` must be whole numbers"),
        ({"rows": 0}, "`rows` must be whole numbers"),
        ({"data": "nowhere"}, "`data` must be a folder with any of PaulGrahamEssays.json"),
        ({"lengths": 200, "tasks": "niah_single_2"}, "`lengths` must leave room for niah_single_2, got 200"),
    ):
        with pytest.raises(ReetError, match=message):
            ruler.load(**{"tokenizer": COUNTER, **options})
    (sources / "hotpotqa.json").write_text(json.dumps([{"question": "?"}]))
    with pytest.raises(ReetError, match=r"hotpotqa.json lacks answer, context, supporting_facts"):
        ruler.load(str(sources), tokenizer=COUNTER)
    (sources / "squad.json").write_text("{")
    with pytest.raises(ReetError, match=r"squad.json is broken"):
        ruler.load(str(sources), tokenizer=COUNTER)
    imported = builtins.__import__

    def refuse(name, *rest):
        if name == "wonderwords":
            raise ImportError(name)
        return imported(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ImportError, match="pip install wonderwords"):
        Words.of("wonderwords")


def test_a_tiny_model_reads_the_full_context(sources, tmp_path):
    folder = make_lm_folder(tmp_path / "reader", "llama", TEMPLATE)
    output = tmp_path / "results"
    asked = ["--reader", "causal_lm", "--option", f"causal_lm.model={folder}", "--option", "causal_lm.device=cpu"]
    small = ["--option", "ruler.lengths=250", "--option", "ruler.tasks=fwe,qa_1", "--data", str(sources)]
    given = ["--system", "full", "--task", "ruler", "--rows", "2", "--counter", folder]
    run.main([*given, *small, *asked, "--option", f"ruler.tokenizer={folder}", "--output", str(output)])
    (result,) = records.read_all(output)
    assert result.name == f"full--ruler@v{ruler.VERSION}--once--100.json"
    model = causal_lm.build(folder, device="cpu").name
    for name, match in (("fwe-250", "all"), ("qa_1-250", "part")):
        scores = result.sets[name]
        assert scores.rows and not scores.errors
        for row in scores.rows:
            assert row.scores["answer_survival"] == row.scores["evidence_recall"] == [1]
            assert row.scores[f"{model}.string_match_{match}"] == [0]  # it was never trained
