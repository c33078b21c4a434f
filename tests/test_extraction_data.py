"""The builders of the extraction schema: small records in the original schemas, and the rows they must become."""

import copy
import json
import runpy
import sys

import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, Features, Sequence, Value
from hypothesis import given
from hypothesis import strategies as st

from reet_hf.errors import ReetError
from reet_hf.extraction.labels import GUIDES
from reet_hf.training.dataset import read_files
from reet_hf.training.extraction import FACT_KINDS, windows_of
from train.data import carb, command, crossner, dialogre, extraction_schema, redocred, schema, tokens, wnut17
from train.data.extraction_schema import EXTRACTION


def entities_of(row):
    return [(row["text"][one["start"] : one["end"]], one["type"], one["cluster"]) for one in row["entities"]]


def facts_of(row):
    return [
        (row["text"][one["entity_start"] : one["entity_end"]], one["relation"], row["text"][one["start"] : one["end"]])
        for one in row["facts"]
    ]


# --- original records


def mention(name, own_type, sentence, first, end):
    return {"name": name, "type": own_type, "sent_id": sentence, "pos": [first, end], "index": "0_0"}


def documents():
    sentences = [
        'Ada Brandt ( born 3 May 1871 in Turku , Finland ) built a crane called " Iron Neck " .',
        "In 1902 , Brandt sold it to the Port of Oulu for $ 40 .",
        "Later she left Finland .",
    ]
    entities = [
        [mention("Ada Brandt", "PER", 0, 0, 2), mention("Brandt", "PER", 1, 3, 4)],
        [mention("3 May 1871", "TIME", 0, 4, 7)],
        [mention("Turku", "LOC", 0, 8, 9)],
        [mention("Finland", "LOC", 0, 10, 11), mention("Finland", "LOC", 2, 3, 4)],
        [mention("Iron Neck", "MISC", 0, 17, 19)],
        [mention("Port of Oulu", "ORG", 1, 8, 11)],
        # The same place twice: the first counts.
        [mention("Port of Oulu", "LOC", 1, 8, 11)],
    ]
    labels = [
        {"h": 0, "t": 1, "r": "P569", "evidence": [0]},
        {"h": 2, "t": 3, "r": "P17", "evidence": [0, 2]},
        {"h": 3, "t": 2, "r": "P150", "evidence": [0]},
        {"h": 4, "t": 0, "r": "P170", "evidence": [0]},
        {"h": 5, "t": 0, "r": "P9999", "evidence": [1]},
        # Of an entity with itself, of no sentence, and of a sentence without the head.
        {"h": 5, "t": 6, "r": "P361", "evidence": [1]},
        {"h": 0, "t": 2, "r": "P19", "evidence": []},
        {"h": 5, "t": 3, "r": "P17", "evidence": [2]},
    ]
    first = {
        "title": "Ada Brandt",
        "sents": [one.split() for one in sentences],
        "vertexSet": entities,
        "labels": labels,
    }
    far = ["Ada", *["word"] * 30, "Turku"]
    apart = {
        "title": "Far",
        "sents": [far],
        "vertexSet": [[mention("Ada", "PER", 0, 0, 1)], [mention("Turku", "LOC", 0, 31, 32)]],
        "labels": [{"h": 0, "t": 1, "r": "P19", "evidence": [0]}],
    }
    return [first, {"title": "Bare", "sents": [["Nothing", "."]], "vertexSet": [], "labels": []}, apart]


def relation(x, y, *named, types=("PER", "PER")):
    """A DialogRE relation; `named` are (relation, trigger) pairs."""
    return {
        "x": x,
        "y": y,
        "x_type": types[0],
        "y_type": types[1],
        "rid": [1] * len(named),
        "r": [name for name, _ in named],
        "t": [trigger for _, trigger in named],
    }


def dialogues():
    turns = [
        "Speaker 1: Ann left Oulu. My boss Ann, I mean.",
        "Speaker 2, Speaker 1: Ann?",
        "Speaker 2: Is Anna your boss? I thought Will was.",
        "Speaker 1: No, he will be.",
        "Speaker 2: Well.",
        "Speaker 2: Ann works in turku: she is a cook there.",
    ]
    relations = [
        relation("Speaker 1", "Ann", ("per:boss", "boss"), ("per:acquaintance", "")),
        relation("Ann", "Speaker 1", ("per:subordinate", "boss")),
        relation("Ann", "Oulu", ("per:place_of_residence", "left"), types=("PER", "GPE")),
        relation("Ann", "Turku", ("per:place_of_work", "works"), types=("PER", "GPE")),
        relation("Speaker 1", "cook", ("per:title", "is a"), types=("PER", "STRING")),
        relation("Will", "Helsinki", ("unanswerable", ""), types=("PER", "GPE")),
    ]
    return [[turns, relations], [["Speaker 1: Hm."], [relation("Bob", "Tom", ("per:friends", ""))]]]


CROSSNER = """Marie\tB-scientist
Curie\tI-scientist
(\tO
CURIE\tB-scientist
)\tO
met\tO
marie\tI-person
curie\tI-person
Paris\tI-location
.\tO

Nobody\tO
came\tO
.\tO


Oslo\tB-location
Oslo\tB-location
"""

WNUT = "@ann\tO\nIt\tO\n's\tO\n"
WNUT += "Rick\tB-creative-work\nand\tI-creative-work\nMorty\tI-creative-work\n\u2028\tO\n😂\tO\n\t\nlol\tO\n\t\n"

CRANE = "The crane `` Iron Neck '' was sold to Oulu , where it broke , and was sold again ."
CARB = [
    (CRANE, "was sold to", "The crane `` Iron Neck ''", "Oulu", "in 1902"),
    (CRANE, "broke", "it", ""),
    ("Ada built cranes .", "built", "Ada", "bridges"),
    (CRANE, "was", "Oulu", "sold"),
    (CRANE, "WAS", "It", "Sold again"),
    (CRANE, "was sold", "the crane", "again"),
    (CRANE, "sold again", "Oulu"),
    (CRANE, "it", "where", "Oulu"),
    ("Ada " + "very " * 29 + "gladly sang songs .", "gladly sang", "Ada", "songs"),
    ("Ada sang " + "very " * 28 + "old songs .", "sang", "Ada", "very " * 28 + "old songs"),
]


def redocred_source(folder):
    path = folder / "data" / "train_revised.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(documents()), encoding="utf-8")
    return folder


def dialogre_source(folder):
    for language, records in (("en", dialogues()), ("cn", [])):
        path = folder / "data_v2" / language / "data" / "train.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(records), encoding="utf-8")
    return folder


def crossner_source(folder):
    for domain, text in (("science", CROSSNER), ("ai", "R\tB-programlang\n"), ("conll2003", "EU\tB-organisation\n")):
        path = folder / "ner_data" / domain / "train.txt"
        path.parent.mkdir(parents=True)
        path.write_text(text, encoding="utf-8")
    return folder


def wnut_source(folder):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "wnut17train.conll").write_text(WNUT, encoding="utf-8")
    (folder / "emerging.dev.conll").write_text("Lil\tB-person\n", encoding="utf-8")
    (folder / "emerging.test.annotated").write_text("Ty\tB-person\n", encoding="utf-8")
    return folder


def carb_source(folder):
    """CaRB has no training split; the name lets all builders be tested alike."""
    path = folder / "gold" / "train.tsv"
    path.parent.mkdir(parents=True)
    path.write_text("".join("\t".join(line) + "\n" for line in CARB), encoding="utf-8")
    return folder


BUILDERS = {
    "redocred": (redocred, redocred_source),
    "dialogre": (dialogre, dialogre_source),
    "crossner": (crossner, crossner_source),
    "wnut17": (wnut17, wnut_source),
    "carb": (carb, carb_source),
}


def build(name, folder, split="train"):
    builder, source = BUILDERS[name]
    return list(builder.rows(builder.load(split, str(source(folder))), split))


@pytest.mark.parametrize("name", BUILDERS)
def test_rows_keep_the_schema_and_survive_the_parquet_file(name, tmp_path):
    rows = build(name, tmp_path / "source")
    path = tmp_path / "rows.parquet"
    counts = (len(rows), *(sum(len(row[key]) for row in rows) for key in ("entities", "facts")))
    assert schema.write(rows, path, EXTRACTION) == counts
    assert pq.read_table(path).to_pylist() == rows
    cache = str(tmp_path / "cache")
    assert Dataset.from_parquet(str(path), cache_dir=cache).features == extraction_schema.FEATURES
    for key, value in (("license", BUILDERS[name][0].LICENSE), ("source", BUILDERS[name][0].SOURCE)):
        assert [row[key] for row in rows] == [value] * len(rows)


@pytest.mark.parametrize("name", BUILDERS)
def test_command_line_writes_what_training_reads(name, tmp_path, capsys, tokenizer):
    builder, source = BUILDERS[name]
    file = f"{name}-train"
    path = tmp_path / f"{file}.parquet"
    given_words = ["--source", str(source(tmp_path / "source")), "--output", str(path), "--limit", "1"]
    assert command.run(builder.load, builder.rows, "unused/default", given_words, schema=EXTRACTION) == 0
    assert f"{path}: 1 rows, " in capsys.readouterr().err
    if name == "dialogre":
        with pytest.raises(ReetError, match="'research use only', not for shipped weights"):
            read_files(tmp_path, [file])
        return
    (row,) = read_files(tmp_path, [file])[file]
    windows = windows_of(row, tokenizer, GUIDES[name], 0 if name in FACT_KINDS else -1, window_tokens=400)
    assert sum(len(window.entities) for window in windows) == len(row["entities"])
    assert sum(len(window.facts) for window in windows) == len(row["facts"])


def test_module_runs_as_a_command(tmp_path, monkeypatch, capsys):
    """In this process; tests/test_train_data.py starts another for one of its like."""
    path = tmp_path / "out.parquet"
    source = str(wnut_source(tmp_path / "source"))
    words = ["wnut17.py", "--split", "validation", "--source", source, "--output", str(path)]
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.delitem(sys.modules, "train.data.wnut17")  # runpy warns of a module that is imported already
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("train.data.wnut17", run_name="__main__")
    assert not ended.value.code
    assert pq.read_table(path).column("text").to_pylist() == ["Lil"]
    assert "1 rows, 1 entities, 0 facts" in capsys.readouterr().err


# --- Re-DocRED


def test_redocred_text_and_entities(tmp_path):
    row, far = build("redocred", tmp_path)
    assert [row["id"], far["id"]] == ["redocred-train-0", "redocred-train-2"]
    assert row["text"] == (
        'Ada Brandt (born 3 May 1871 in Turku, Finland) built a crane called "Iron Neck". '
        "In 1902, Brandt sold it to the Port of Oulu for $40. Later she left Finland."
    )
    assert entities_of(row) == [
        ("Ada Brandt", "PER", 0),
        ("3 May 1871", "TIME", 1),
        ("Turku", "LOC", 2),
        ("Finland", "LOC", 3),
        ("Iron Neck", "MISC", 4),
        ("Brandt", "PER", 0),
        ("Port of Oulu", "ORG", 5),
        ("Finland", "LOC", 3),
    ]


def test_redocred_facts_stand_between_the_mentions_of_one_sentence(tmp_path):
    row, far = build("redocred", tmp_path)
    assert facts_of(row) == [
        ("Ada Brandt", "date of birth", "(born 3 May 1871"),
        ("Turku", "country", "Finland"),
        ("Finland", "contains administrative territorial entity", "Turku"),
        ("Iron Neck", "creator", "Ada Brandt (born 3 May 1871 in Turku, Finland) built a crane called"),
        ("Port of Oulu", "P9999", "Brandt sold it to the"),
    ]
    assert facts_of(far) == []


def test_redocred_takes_the_nearest_pair_of_mentions():
    text = "( Ada ) and Ben , known as Ada , married in Oulu ; Ben left ."
    ada = [mention("Ada", "PER", 0, 1, 2), mention("Ada", "PER", 0, 8, 9)]
    record = {
        "title": "",
        "sents": [text.split()],
        "vertexSet": [ada, [mention("Oulu", "LOC", 0, 12, 13)], [mention("Ben", "PER", 0, 4, 5)]],
        "labels": [
            {"h": 0, "t": 1, "r": "P551", "evidence": [0]},
            {"h": 0, "t": 2, "r": "P26", "evidence": [0]},
            {"h": 1, "t": 0, "r": "P710", "evidence": [0]},
        ],
    }
    (row,) = redocred.rows([record])
    assert facts_of(row) == [
        ("Ada", "spouse", "and Ben"),
        ("Ada", "residence", "married in Oulu"),
        ("Oulu", "participant", "Ada, married in"),
    ]


def test_redocred_knows_the_names_of_96_relations():
    assert len(redocred.RELATIONS) == 96
    names = [redocred.RELATIONS[number] for number in ("P6", "P576", "P1412", "P3373")]
    assert names == [
        "head of government",
        "dissolved, abolished or demolished",
        "languages spoken, written or signed",
        "sibling",
    ]


def test_redocred_reads_the_hub(monkeypatch):
    monkeypatch.setattr("train.data.sources.load_dataset", lambda *given, **named: documents())
    assert len(list(redocred.rows(redocred.load("train", "owner/name")))) == 2


# --- DialogRE


def test_dialogre_entities_are_the_arguments_as_whole_words(tmp_path):
    (row,) = build("dialogre", tmp_path)
    assert row["id"] == "dialogre-train-0"
    assert row["text"].count("\n") == 5
    found = entities_of(row)
    assert [text for text, _, _ in found].count("Ann") == 4
    assert {own_type for text, own_type, _ in found if text.startswith("Speaker")} == {"PER"}
    clusters = {text: cluster for text, _, cluster in found}
    assert clusters == {"Speaker 1": 0, "Ann": 1, "Oulu": 2, "Will": 3, "turku": 4, "cook": 5}
    assert ("turku", "GPE", 4) in found and ("cook", "STRING", 5) in found


def test_dialogre_facts_join_trigger_and_object_of_one_turn(tmp_path):
    (row,) = build("dialogre", tmp_path)
    assert facts_of(row) == [
        # The name of the speaker who says it is nearer than that of the next turn.
        ("Speaker 1", "per:boss", "boss Ann"),
        ("Ann", "per:place_of_residence", "left Oulu"),
        ("Speaker 1", "per:title", "is a cook"),
        ("Ann", "per:place_of_work", "works in turku"),
    ]
    boss, title = row["facts"][0], row["facts"][2]
    assert boss["entity_start"] == 0
    assert row["text"][: title["entity_start"]].count("\n") == 3


def test_dialogre_looks_at_most_three_turns_away():
    turns = ["Speaker 1: Hi.", "Speaker 2: Hm.", "Speaker 2: Hm.", "Speaker 2: Hm.", "Speaker 2: My boss is Ann."]
    given_relations = [relation("Speaker 1", "Ann", ("per:boss", "boss"))]
    far, near = ({"turns": some, "relations": given_relations} for some in (turns, turns[:1] + turns[2:]))
    assert [facts_of(row) for row in dialogre.rows([far, near])] == [[], [("Speaker 1", "per:boss", "boss is Ann")]]


# --- CrossNER and WNUT 2017


def test_crossner_sentences(tmp_path):
    ai, first, last = build("crossner", tmp_path)
    ids = [ai["id"], first["id"], last["id"]]
    assert ids == ["crossner-ai-train-0", "crossner-science-train-0", "crossner-science-train-2"]
    assert first["text"] == "Marie Curie (CURIE) met marie curie Paris."
    assert entities_of(first) == [
        ("Marie Curie", "scientist", 0),
        ("CURIE", "scientist", 1),
        ("marie curie", "person", 0),
        ("Paris", "location", 2),
    ]
    assert entities_of(last) == [("Oslo", "location", 0), ("Oslo", "location", 0)]


def test_crossner_reads_one_file_of_a_domain_only(tmp_path):
    folder = crossner_source(tmp_path) / "ner_data"
    assert len(list(crossner.load("train", str(folder / "science" / "train.txt")))) == 3
    with pytest.raises(ValueError, match="source must hold files in folders named ai, .*conll2003"):
        list(crossner.load("train", str(folder / "conll2003")))


def test_wnut_sentences(tmp_path):
    (row,) = build("wnut17", tmp_path)
    assert row["text"] == "@ann It's Rick and Morty 😂"
    assert entities_of(row) == [("Rick and Morty", "creative-work", 0)]
    assert [row["text"] for row in build("wnut17", tmp_path, "test")] == ["Ty"]


def hub_data(names):
    tag = ClassLabel(names=names) if names else Value("int64")
    features = Features({"id": Value("string"), "tokens": Sequence(Value("string")), "ner_tags": Sequence(tag)})
    return Dataset.from_list([{"id": "0", "tokens": ["In", "Oslo", "."], "ner_tags": [0, 1, 0]}], features=features)


@pytest.mark.parametrize(("builder", "folders"), [(wnut17, [None]), (crossner, list(crossner.DOMAINS))])
def test_hub_sources_carry_the_names_of_their_tags(builder, folders, monkeypatch):
    calls = []

    def load_dataset(path, **keywords):
        calls.append((path, keywords))
        return hub_data(["O", "B-location", "I-location"])

    monkeypatch.setattr(tokens, "load_dataset", load_dataset)
    rows = list(builder.rows(builder.load("train", "owner/name")))
    assert [entities_of(row) for row in rows] == [[("Oslo", "location", 0)]] * len(folders)
    shared = {"split": "train", "revision": "refs/convert/parquet"}
    assert calls == [("owner/name", {"data_dir": folder, **shared}) for folder in folders]


def test_hub_sources_without_names_are_refused(monkeypatch):
    monkeypatch.setattr(tokens, "load_dataset", lambda *given, **named: hub_data(None))
    with pytest.raises(ValueError, match="source must have ner_tags with names, but 'owner/name' has"):
        list(wnut17.load("train", "owner/name"))


# --- CaRB


def test_carb_facts_read_from_predicate_through_second_argument(tmp_path):
    crane, gladly = build("carb", tmp_path)
    assert [crane["id"], gladly["id"]] == ["carb-train-0", "carb-train-2"]
    assert crane["text"] == 'The crane "Iron Neck" was sold to Oulu, where it broke, and was sold again.'
    assert entities_of(crane) == [
        ("The crane", "argument", 0),
        ('The crane "Iron Neck"', "argument", 1),
        ("Oulu", "argument", 2),
        ("it", "argument", 3),
    ]
    assert facts_of(crane) == [
        ("The crane", "was sold", "was sold again"),
        ('The crane "Iron Neck"', "was sold to", "was sold to Oulu"),
        ("Oulu", "was", "was sold"),
        ("it", "WAS", "was sold again"),
    ]


def test_carb_facts_have_at_most_30_words(tmp_path):
    gladly = build("carb", tmp_path)[1]
    assert facts_of(gladly) == [("Ada", "gladly sang", "gladly sang songs")]


def test_carb_names_a_line_without_predicate(tmp_path):
    path = tmp_path / "dev.tsv"
    path.write_text("A b .\tb\tA\nA b .\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"dev\.tsv, line 2: must be a sentence, .* but is 'A b \.'"):
        list(carb.load("validation", str(path)))


@pytest.mark.parametrize("builder", [carb, dialogre])
def test_sources_that_are_not_on_the_hub(builder):
    with pytest.raises(ValueError, match="source must be a clone of .*'some/mirror'"):
        list(builder.load("test", "some/mirror"))


# --- tokens


@pytest.mark.parametrize(
    ("given_tokens", "text"),
    [
        ("He did n't pay $ 5 ( or 5 % ) .", "He didn't pay $5 (or 5%)."),
        ("`` No , '' said Ann 's cat ; `` no ! ''", '"No," said Ann\'s cat; "no!"'),
        ('" A " and " B "', '"A" and "B"'),
        ("Bliss ' work , e.g. C + + - 1997 - 8 …", "Bliss ' work, e.g. C + + - 1997 - 8 …"),
        ("’s", "’s"),
    ],
)
def test_tokens_become_running_text(given_tokens, text):
    words = given_tokens.split()
    found, borders = tokens.written(words)
    assert found == text
    written = [word.replace("``", '"').replace("''", '"') for word in words]
    assert [found[slice(*border)] for border in borders] == written


@given(st.lists(st.text(alphabet="a,.()\"'s$ ", max_size=3)), st.integers(0, 9))
def test_tokens_keep_their_words_and_places(words, start):
    text, borders = tokens.written(words, start)
    assert [first for first, _ in borders] == sorted(first for first, _ in borders)
    for word, (first, end) in zip(words, borders, strict=True):
        expected = '"' if word.strip() == "''" else word.strip()
        assert text[first - start : end - start] == expected


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        ("O B-a I-a O", [(1, 3, "a")]),
        ("I-a I-a I-b", [(0, 2, "a"), (2, 3, "b")]),
        ("B-a B-a I-a", [(0, 1, "a"), (1, 3, "a")]),
        ("B-x-y O I-x-y", [(0, 1, "x-y"), (2, 3, "x-y")]),
        ("", []),
    ],
)
def test_bio_tags_become_stretches(tags, found):
    assert tokens.bio(tags.split()) == found


@pytest.mark.parametrize("tag", ["S-a", "B-", "a", ""])
def test_bio_tags_of_another_scheme_are_refused(tag):
    with pytest.raises(ValueError, match=f"tags must be O, B-TYPE or I-TYPE, but one is '{tag}'"):
        tokens.bio(["O", tag])


def test_blank_tokens_have_no_place():
    text, borders = tokens.written(["Ada", "\u00a0", "Brandt", " "])
    assert (text, borders) == ("Ada Brandt", [(0, 3), (3, 3), (4, 10), (10, 10)])
    assert tokens.cover(borders[1:]) == (4, 10)
    assert tokens.cover(borders[3:]) == (10, 10)
    assert tokens.tagged(["Ada", " "], ["B-person", "B-person"])[1] == [
        {"start": 0, "end": 3, "type": "person", "cluster": 0}
    ]


def test_conll_lines_without_a_tag_are_named(tmp_path):
    path = tmp_path / "x.conll"
    path.write_text("a\tO\n\nb\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"x\.conll, line 3: must be a token, a tab and a tag, but is 'b'"):
        list(tokens.conll(path))


# --- schema


def good_row():
    return {
        "id": "r1",
        "source": "here",
        "license": "CC0",
        "text": "Ada left Oulu. She sang.",
        "entities": [
            {"start": 0, "end": 3, "type": "PER", "cluster": 0},
            {"start": 9, "end": 13, "type": "LOC", "cluster": 1},
            {"start": 15, "end": 18, "type": "PER", "cluster": 0},
        ],
        "facts": [{"entity_start": 0, "entity_end": 3, "start": 4, "end": 13, "relation": "left"}],
    }


def test_validate_accepts_a_good_row():
    assert extraction_schema.validate(good_row()) is None
    assert extraction_schema.validate(good_row() | {"entities": [], "facts": []}) is None


BAD_ROWS = [
    ("id", " ", "id must be a string that is not blank, but is ' '"),
    ("license", None, "license must be a string that is not blank, but is None"),
    ("text", "\n", "text must be a string that is not blank"),
    ("messages", [], "row must have exactly the fields id, source, license, text, entities, facts"),
    ("entities.0", {"start": 0}, "entities[0] must have exactly the fields start, end, type, cluster"),
    ("entities.0.start", 0.0, "entities[0].start must be an integer, but is 0.0"),
    ("entities.0.start", -1, "entities[0].start must be from 0 to below 24 in the text, but is -1"),
    ("entities.0.end", 0, "entities[0].end must be from 1 to 24 in the text, but is 0"),
    ("entities.1.end", 25, "entities[1].end must be from 10 to 24 in the text, but is 25"),
    ("entities.1.start", 8, "entities[1] must not begin or end with white space, but is ' Oulu'"),
    ("entities.1.type", "", "entities[1].type must be a string that is not blank"),
    ("entities.1.cluster", True, "entities[1].cluster must be an integer, but is True"),
    ("entities.1.cluster", -1, "entities[1].cluster must be at least 0, but is -1"),
    ("entities.1", {"start": 0, "end": 3, "type": "X", "cluster": 9}, "entities[1] must stand where no other entity"),
    ("facts.0", {}, "facts[0] must have exactly the fields entity_start, entity_end, start, end, relation"),
    ("facts.0.entity_end", 2, "facts[0] must be about one of the entities"),
    ("facts.0.entity_end", 99, "facts[0].entity_end must be from 1 to 24 in the text, but is 99"),
    ("facts.0.start", "4", "facts[0].start must be an integer, but is '4'"),
    ("facts.0.start", 2, "facts[0] must have no character in common with its entity"),
    ("facts.0.end", 9, "facts[0] must not begin or end with white space, but is 'left '"),
    ("facts.0.relation", "", "facts[0].relation must be a string that is not blank"),
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
        extraction_schema.validate(row)
    assert str(error.value).startswith(f"row {row['id']!r}: ")
    assert message in str(error.value)


def test_validate_counts_the_words_of_facts_and_refuses_repetitions():
    row = good_row() | {"text": "Ada " + "a " * 31 + ".", "entities": good_row()["entities"][:1]}
    row["facts"] = [{"entity_start": 0, "entity_end": 3, "start": 4, "end": 4 + 2 * 30 - 1, "relation": "a"}]
    extraction_schema.validate(row)
    twice = row | {"facts": row["facts"] * 2}
    with pytest.raises(ValueError, match=r"facts\[1\] must occur once in a row"):
        extraction_schema.validate(twice)
    row["facts"][0]["end"] += 2
    with pytest.raises(ValueError, match=r"facts\[0\] must have at most 30 words, but is 'a a"):
        extraction_schema.validate(row)


def test_write_refuses_a_bad_row_and_leaves_no_file(tmp_path):
    bad = copy.deepcopy(good_row()) | {"id": "r2", "text": ""}
    for rows, message in (([good_row(), bad], "row 'r2'"), ([good_row()] * 2, "id must occur once"), ([], "empty")):
        with pytest.raises(ValueError, match=message):
            schema.write(rows, tmp_path / "rows.parquet", EXTRACTION)
        assert list(tmp_path.iterdir()) == []


def test_mistakes_of_the_command_line_end_with_status_2(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    source = str(wnut_source(tmp_path / "source"))
    for name, message in ((source, "nothing came for"), ("./missing", "source must be an existing file")):
        words = ["--output", "out.parquet", "--source", name, "--split", "train"]
        (tmp_path / "source" / "wnut17train.conll").write_text("a\tO\n", encoding="utf-8")
        with pytest.raises(SystemExit) as stop:
            command.run(wnut17.load, wnut17.rows, "unused/default", words, schema=EXTRACTION)
        assert stop.value.code == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out.parquet").exists()
