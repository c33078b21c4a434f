"""NoLiMa: places of needles worked out by hand, prompts letter by letter, metrics, and a run with a tiny model."""

from __future__ import annotations

import json

import numpy as np
import pytest
from test_eval_readers import TEMPLATE, make_lm_folder

from eval import records, run
from eval.readers import causal_lm
from eval.systems import full
from eval.tasks import nolima
from eval.tasks.nolima_books import Book, Trial, written
from eval.tasks.passages import passages
from reet_hf.budget import TokenCounter, resolve_counter
from reet_hf.errors import ReetError

LETTERS = TokenCounter("letters", lambda texts: [len(t) for t in texts], lambda texts: [range(len(t)) for t in texts])
TEXT = "012345678\n" * 9  # line breaks at 9, 19, 29, ...
NEEDLE = {
    "id": "0401",
    "reasoning_type": "world_knowledge",
    "system_prompt": "",
    "needle": "By the way, {CHAR} keeps bees near {1}.",
    "questions": {"onehop": "Who has seen {2}?", "twohop": "Who has seen {3}?"},
    "character_set": ["Ada", "Basil", "Clara", "Dora"],
    "tests": {"T01": {"input_args": ["the old pier", "Brighton", "Sussex"]}},
}
DISTRACTORS = {"onehop": "A song about {2} was heard.", "twohop": "A song about {3} was heard."}
SMALL = ["--option", "nolima.lengths=[20, 30]", "--option", "nolima.depths=3", "--option", "nolima.max_new_tokens=4"]


def trial(length: int, depth: float, **more) -> Trial:
    return Trial("t", 0, length, depth, "NEEDLE.", {"onehop": "Who?"}, ("Ada",), nolima.TEMPLATE, **more)


@pytest.fixture
def data(tmp_path):
    """A folder of the benchmark's layout with two books and three needle sets."""
    (tmp_path / "needlesets").mkdir()
    (tmp_path / "haystack" / "rand_shuffle").mkdir(parents=True)
    for number in (1, 2):
        lines = [f"the hotel {number} sent order {place} late in june" for place in range(60)]
        (tmp_path / "haystack" / "rand_shuffle" / f"rand_book_{number}.txt").write_text("\n".join(lines))
    sets = {
        "needle_set": NEEDLE,
        "needle_set_w_Distractor": NEEDLE | {"distractors": DISTRACTORS},
        "needle_set_MC": NEEDLE | {"task_template": "{haystack}\n{question} Think first."},
    }
    for name, needle in sets.items():
        (tmp_path / "needlesets" / f"{name}.json").write_text(json.dumps([needle]))
    return tmp_path


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    return make_lm_folder(tmp_path_factory.mktemp("reader"), "llama", TEMPLATE)


@pytest.mark.parametrize(
    ("depth", "before", "after"),
    [
        (0.0, "", "12345678\n012345678\n"),  # the original loses the first token here
        (0.5, "\n012345678", "012345678"),  # 19 is the first break at or beyond 0.5 * 21; the text is 9 to 29
        (1.0, "\n012345678\n012345678", ""),  # 29 is the first at or beyond 21; the text is 9 to 29
    ],
)
def test_a_needle_follows_the_line_that_ends_at_its_depth_or_next(depth, before, after):
    book = Book.of("b", TEXT, LETTERS)
    assert book.breaks.tolist() == [0, *range(9, 90, 10)]
    text, start = written(book, trial(20, depth))
    assert text == f"{before} NEEDLE.\n{after}" and text[start:].startswith("NEEDLE.")


def test_a_distractor_keeps_its_distance():
    """Depth 0.2: the distractor belongs at 0.7 in a text of fewer than 500 tokens, its lead is one letter short."""
    text = "".join(f"{place:08d}.\n" for place in range(40))
    book = Book.of("b", text, LETTERS)
    needle = trial(100, 0.2, distractor="SONG.", distance=Trial.apart(np.random.RandomState(0), 100, 0.2))
    assert needle.distance == 0.7
    # 0.7 * 101 = 70.7: the break at 79, so the distractor follows line 7; 0.2 * 101 = 20.2: the needle follows line 2,
    # whose break is at 29, and the text begins at 29 - 20 = 9
    lines = "".join(f"{place:08d}.\n" for place in range(3, 12))[:79]
    lead = lines.index("00000007.") + len("00000007.") - 1
    expected = f"\n00000001.\n00000002. NEEDLE.\n{lines[:lead]} SONG.\n{lines[lead:]}"
    assert written(book, needle)[0] == expected


def test_where_a_distractor_may_stand():
    draws = [(depth, Trial.apart(np.random.RandomState(n), 1000, depth)) for depth in (0, 0.3, 0.9) for n in range(50)]
    assert all(0.2 <= place <= 0.8 and abs(place - depth) >= 0.2 - 1e-9 for depth, place in draws)
    assert {Trial.apart(np.random.RandomState(0), 250, depth) for depth in (0.5, 0.7, 0.8)} == {0.7, 0.5, 0.6}


def test_rows_have_the_needle_by_offset_and_characters_as_drawn_by_the_original(data, reader):
    found = nolima.load(str(data), lengths=[20, 30], depths=3, tokenizer=reader)
    assert set(found) == {"needle_set-20", "needle_set-30"}
    rows = found["needle_set-20"]
    assert len(rows) == 2 * 3 and len({row["id"] for row in rows}) == 6
    expected = []
    for book in (0, 1):
        np.random.seed(42 + 401 + book)
        expected += [str(np.random.choice(NEEDLE["character_set"])) for _ in range(3)]
    assert [row["questions"][0]["answers"][0] for row in rows] == expected
    for row, name in zip(rows, expected, strict=True):
        texts = [message["content"] for message in row["messages"]]
        for question, about in zip(row["questions"], ("Brighton", "Sussex"), strict=True):
            assert question["question"] == f"Who has seen {about}?"
            (place,), (span,) = question["evidence"], question["answer_spans"]
            needle = texts[place["message"]][place["start"] : place["end"]]
            assert needle == f"By the way, {name} keeps bees near the old pier."
            assert texts[span["message"]][span["start"] : span["end"]] == name


def test_the_full_context_is_the_books_text_word_for_word(data, reader):
    row = nolima.load(str(data), lengths=200, depths=3, tokenizer=reader)["needle_set-200"][1]
    assert len(row["messages"]) > 10
    counter = resolve_counter(reader)
    system = full.build(counter)
    kept = system.compress(system.open(row["messages"]), None, (), [1.0])[0]
    book = Book.of("b", (data / "haystack" / "rand_shuffle" / "rand_book_1.txt").read_text(), counter)
    before, after = book.around(200, 0.5)
    needle = f"By the way, {row['questions'][0]['answers'][0]} keeps bees near the old pier."
    assert kept.text == f"{before} {needle}\n{after}"
    assert nolima.score(row, row["questions"][0], kept) == {"answer_survival": 1.0, "evidence_recall": 1.0}


def test_the_prompt_is_the_originals(data, reader):
    row = nolima.load(str(data), rows=1, lengths=20, tokenizer=reader)["needle_set-20"][0]
    asked = nolima.prompt(row, 1, "What {was} kept.")
    assert asked.messages[0] == {"role": "system", "content": "You are a helpful assistant"}
    assert asked.messages[1]["content"] == (
        "You will answer a question based on the following book snippet:\n\nWhat {was} kept.\n\nUse the information "
        "provided in the book snippet to answer the question. Your answer should be short and based on either "
        "explicitly stated facts or strong, logical inferences.\n\nQuestion: Who has seen Sussex?\n\n Return "
        "only the final answer "
        "with no additional explanation or reasoning."
    )
    assert (asked.max_new_tokens, asked.plain, asked.cut) == (192, False, None)


def test_a_needle_set_may_bring_its_own_template_and_distractors(data, reader):
    sets = "needle_set_MC,needle_set_w_Distractor"
    found = nolima.load(str(data), sets=sets, lengths=100, depths=2, tokenizer=reader)
    assert nolima.prompt(found["needle_set_MC-100"][0], 0, "T").messages[1]["content"].endswith("Think first.")
    rows = found["needle_set_w_Distractor-100"]
    assert len(rows) == 2 * 2 * 2  # each kind of question has a distractor, hence a text, of its own
    for row in rows:
        about = {"onehop": "Brighton", "twohop": "Sussex"}[row["questions"][0]["hops"]]
        assert f" A song about {about} was heard.\n" in "\n".join(message["content"] for message in row["messages"])


@pytest.mark.parametrize(
    ("said", "contains", "exact", "last_contains", "last_exact"),
    [
        ("Ada", 1, 1, 1, 1),
        (" Ada\n", 1, 1, 1, 1),
        ("It is Ada.", 1, 0, 1, 0),
        ("ada", 0, 0, 0, 0),
        ("Ada lives there.\nBasil", 1, 0, 0, 0),
        ("She lives there, so\nAda", 1, 0, 1, 1),
        ("", 0, 0, 0, 0),
    ],
)
def test_metrics_are_the_originals(said, contains, exact, last_contains, last_exact):
    assert nolima.grade({}, {"answers": ["Ada"]}, said) == {
        "contains": contains,
        "exact": exact,
        "last_line_contains": last_contains,
        "last_line_exact": last_exact,
    }


@pytest.mark.parametrize(
    "text", ["", "one line", "a\n\nb\n", "\n\n a\nb \n\n\nc", "x\n" * 100, "long line " * 50 + "\nend"]
)
def test_passages_joined_by_line_breaks_are_the_text(text):
    cut = passages(text)
    assert "\n".join(message["content"] for message in cut.messages) == text
    contents = [message["content"] for message in cut.messages]
    for start in range(0, len(text), 7):
        end = min(start + 5, len(text))
        found = [contents[place["message"]][place["start"] : place["end"]] for place in cut.places([(start, end)])]
        assert "\n".join(found).strip("\n") == text[start:end].strip("\n")


def test_what_is_missing_is_named(data, reader, tmp_path):
    with pytest.raises(ReetError, match=r"`data` must have a file needle_set_hard.json"):
        nolima.load(str(data), sets="needle_set_hard", tokenizer=reader)
    with pytest.raises(ReetError, match=r"`data` must have books in haystack/other/\*.txt"):
        nolima.load(str(data), books="other", tokenizer=reader)
    with pytest.raises(ReetError, match="`lengths` must leave room in the books: rand_book_1 has 540 tokens"):
        nolima.load(str(data), lengths=540, tokenizer=reader)
    with pytest.raises(ReetError, match="`lengths` must be whole numbers"):
        nolima.load(str(data), lengths=[0], tokenizer=reader)
    with pytest.raises(ReetError, match="`depths` must be a whole number"):
        nolima.load(str(data), depths=0, tokenizer=reader)
    bare = {name: value for name, value in NEEDLE.items() if name != "tests"}
    (data / "needlesets" / "needle_set.json").write_text(json.dumps([bare]))
    with pytest.raises(ReetError, match="needle_set.json lacks tests"):
        nolima.load(str(data), tokenizer=reader)
    with pytest.raises(ReetError, match="`tokenizer` must tell where its tokens begin"):
        Book.of("b", TEXT, TokenCounter("blind", LETTERS.counts))


def test_without_a_folder_the_hub_is_asked(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ReetError, match="'amodaresi/NoLiMa' is no folder, and fetching it from the Hub failed"):
        nolima.load()


def test_a_tiny_model_reads_the_full_context(data, reader, tmp_path):
    output = tmp_path / "results"
    asked = ["--reader", "causal_lm", "--option", f"causal_lm.model={reader}", "--option", "causal_lm.device=cpu"]
    given = ["--system", "full", "--task", "nolima", "--data", str(data), "--rows", "2", "--counter", reader]
    run.main([*given, *SMALL, *asked, "--option", f"nolima.tokenizer={reader}", "--output", str(output)])
    (result,) = records.read_all(output)
    assert result.name == f"full--nolima@v{nolima.VERSION}--once--100.json"
    model = causal_lm.build(reader, device="cpu").name
    for scores in result.sets.values():
        assert not scores.errors
        for row in scores.rows:
            assert row.scores["answer_survival"] == row.scores["evidence_recall"] == [1, 1]
            assert row.scores[f"{model}.contains"] == [0, 0]  # it was never trained
