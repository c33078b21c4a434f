"""Texts labelled by models: a server that stands in for one, a tiny language model and a tiny GLiNER."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("openai", reason="the client of served models")
pytest.importorskip("pydantic", reason="answers are checked by pydantic")
pytest.importorskip("diskcache", reason="readers keep answers by diskcache")

from test_eval_readers import KEY, TEMPLATE, fails, make_lm_folder, says, serve  # noqa: F401

from reet_hf.modeling.configuration_reet import TYPES
from reet_hf.segmentation import words
from train.data import label_with_gliner, label_with_llm, labelling, texts
from train.data.texts import Text

CRANE = "Ada Brandt built the crane of Turku in 1871. Nobody in Turku uses it now."
ADA, TURKU = {"text": "Ada Brandt", "type": "PERSON"}, {"text": "Turku", "type": "LOCATION"}
BUILT = {"entity": "Ada Brandt", "text": "built the crane of Turku in 1871"}
RIGHT = json.dumps({"entities": [ADA, TURKU], "facts": [BUILT]})


def write_lines(path: Path, *records) -> str:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return str(path)


@pytest.fixture
def lines(tmp_path) -> str:
    """A file with one text."""
    return write_lines(tmp_path / "mine.jsonl", {"id": "a", "text": CRANE, "source": "web", "license": "CC0"})


@pytest.fixture
def labelled(serve, tmp_path):  # noqa: F811
    """A function from a plan of answers and options to the exit status, the rows (if any) and the calls."""

    def run(given, plan, *options):
        url, calls = serve(plan)
        output = tmp_path / "mine-train.parquet"
        where = ["--url", url, "--model", "tiny", "--api-key-env", "READER_KEY", "--yes"]
        status = label_with_llm.main([given, "--output", str(output), *where, *options])
        return status, pq.read_table(output).to_pylist() if output.exists() else None, calls

    return run


def marked(row, key="entities"):
    return [row["text"][one["start"] : one["end"]] for one in row[key]]


# What a model says


def test_the_example_of_the_prompt_is_right():
    found = labelling.heard(labelling.EXAMPLE, labelling.EXAMPLE_TEXT)
    assert found.problems == [] and len(found.entities) == 6 and len(found.facts) == 3
    assert all(name in labelling.PROMPT for name in TYPES)


@pytest.mark.parametrize("around", ["{}", "```json\n{}\n```", "```\n{}```", "Here it is:\n{}\nDone."])
def test_an_answer_may_stand_in_a_code_fence(around):
    found = labelling.heard(around.replace("{}", RIGHT), CRANE)
    assert found.problems == []
    assert [CRANE[one["start"] : one["end"]] for one in found.entities] == ["Ada Brandt", "Turku", "Turku"]
    assert [one["type"] for one in found.entities] == ["PERSON", "LOCATION", "LOCATION"]
    assert [one["cluster"] for one in found.entities] == [0, 1, 1]
    fact = found.facts[0]
    assert CRANE[fact["start"] : fact["end"]] == BUILT["text"]
    assert CRANE[fact["entity_start"] : fact["entity_end"]] == "Ada Brandt"


@pytest.mark.parametrize("said", ["", "no", "[]", '{"entities": [', "{}", '{"entities": {}, "facts": []}', "[" * 99999])
def test_an_answer_of_another_form_is_an_error(said):
    with pytest.raises(ValueError, match="the answer"):
        labelling.heard(said, CRANE)


@pytest.mark.parametrize(
    ("entities", "facts", "told"),
    [
        ([{"text": "Ada Brand", "type": "PERSON"}], [], "entities.0.*Ada Brand.*word for word"),
        ([{"text": "Oslo", "type": "LOCATION"}], [], "Oslo.*word for word"),
        ([{"text": "Turku", "type": "CITY"}], [], "type: .*must be one of PERSON"),
        ([{"text": "Turku"}], [], "type: Field required"),
        (["Turku"], [], "entities.0"),
        ([{"text": " ", "type": "PERSON"}], [], "text: .*at least 1 character"),
        ([TURKU, TURKU | {"type": "PERSON"}], [], "one type, but has LOCATION and PERSON"),
        ([ADA], [{"entity": "Turku", "text": "built"}], "Turku.*list of entities"),
        ([ADA], [BUILT | {"text": "built a crane"}], "built a crane.*word for word"),
        ([ADA], [BUILT | {"text": "Ada Brandt built"}], "must not contain the only .*Ada Brandt"),
        ([ADA], [{"entity": "Ada Brandt"}], "facts.0.: text: Field required"),
    ],
)
def test_what_is_wrong_is_left_out_and_told(entities, facts, told):
    found = labelling.heard(
        json.dumps({"entities": [*entities, {"text": "1871", "type": "date"}], "facts": facts}), CRANE
    )
    assert len(found.problems) == 1
    assert re.search(told, found.problems[0])
    assert found.facts == [] and "DATE" in {one["type"] for one in found.entities}


def test_a_fact_has_at_most_30_words():
    text = "Ada " + "very " * 31
    said = {"entities": [{"text": "Ada", "type": "PERSON"}]}
    found = labelling.heard(json.dumps(said | {"facts": [{"entity": "Ada", "text": "very " * 30}]}), text)
    assert len(found.facts) == 1 and found.problems == []
    found = labelling.heard(json.dumps(said | {"facts": [{"entity": "Ada", "text": "very " * 31}]}), text)
    assert found.facts == [] and "30 words, but has 31" in found.problems[0]


def test_a_fact_belongs_to_the_mention_before_it():
    text = "Lund came. Then Lund spoke, and Lund left."
    said = {"entities": [{"text": "Lund", "type": "PERSON"}], "facts": [{"entity": "Lund", "text": "spoke"}]}
    assert labelling.heard(json.dumps(said), text).facts[0]["entity_start"] == 16
    said["facts"] = [{"entity": "Lund", "text": "Then"}]
    assert labelling.heard(json.dumps(said), text).facts[0]["entity_start"] == 0
    said["entities"] = [{"text": "Lund left", "type": "EVENT"}]
    said["facts"] = [{"entity": "Lund left", "text": "came"}]
    assert labelling.heard(json.dumps(said), text).facts[0]["entity_start"] == 32, "the next where there is none before"


def test_a_name_inside_a_longer_one_counts_only_where_it_never_stands_alone():
    said = {"entities": [{"text": text, "type": "OTHER"} for text in ("Bank of Turku", "Turku", "Bank")], "facts": []}
    found = labelling.heard(json.dumps(said), "The Bank of Turku is in Turku.")
    assert [(one["start"], one["end"]) for one in found.entities] == [(4, 8), (4, 17), (24, 29)]


@pytest.mark.parametrize(
    ("text", "phrase", "places"),
    [
        ("art, artful, part, art", "art", [(0, 3), (19, 22)]),
        ("It costs US$5 or $5.", "$5", [(11, 13), (17, 19)]),
        ("New\n  York", "New York", [(0, 10)]),
        ("他住在东京了", "东京", [(3, 5)]),
        ("a.b axb", "a.b", [(0, 3)]),
        ("anything", "", []),
    ],
)
def test_occurrences_are_whole_words(text, phrase, places):
    assert labelling.occurrences(text, phrase) == places


# Input


def test_parquet_files_of_both_kinds_are_read(tmp_path):
    messages = [{"role": "user", "name": "Ada", "content": "Hi."}, {"role": "document", "name": "", "content": "Bye."}]
    pq.write_table(pa.Table.from_pylist([{"id": "m", "license": "MIT", "messages": messages}]), tmp_path / "m.parquet")
    assert texts.read(tmp_path / "m.parquet") == [Text("m", "Ada: Hi.\n\nBye.", "m", "MIT")]
    pq.write_table(pa.Table.from_pylist([{"text": "Hi."}, {"text": "Bye."}]), tmp_path / "t.parquet")
    assert texts.read(tmp_path / "t.parquet", limit=1, license="CC0") == [Text("0", "Hi.", "t", "CC0")]
    pq.write_table(pa.Table.from_pylist([{"body": "Hi."}]), tmp_path / "b.parquet")
    with pytest.raises(ValueError, match="column 'text' or 'messages'.*has only body"):
        texts.read(tmp_path / "b.parquet")
    (tmp_path / "x.parquet").write_text("no")
    with pytest.raises(ValueError, match="must be parquet"):
        texts.read(tmp_path / "x.parquet")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('{"text": "a"}\nno\n', "line 2 .* is not JSON"),
        ('["a"]\n', "objects with `text`"),
        ('{"text": " "}\n', "not be blank|not blank"),
        ('{"id": 1, "text": "a"}\n{"id": "1", "text": "b"}\n', "'1' comes twice"),
        ("\n", "is empty"),
    ],
)
def test_input_of_another_form_is_refused(tmp_path, content, told):
    (tmp_path / "in.jsonl").write_text(content)
    with pytest.raises(ValueError, match=f"INPUT.*{told}"):
        texts.read(tmp_path / "in.jsonl")


@given(st.text(alphabet="aB. \n,`|", max_size=120), st.integers(1, 6))
def test_runs_hold_every_word_and_keep_the_limit(text, most):
    def size(part):
        return len(words(part))

    found = texts.runs(text, most, size)
    assert "".join("".join(text[a:b].split()) for a, b in found) == "".join(text.split())
    assert all(a < b for a, b in found) and all(one[1] <= two[0] for one, two in zip(found, found[1:], strict=False))
    sentences = {span for span in texts._sentences(text)}
    assert all(size(text[a:b]) <= most or (a, b) in sentences for a, b in found)


# Served models


def test_a_valid_answer_becomes_a_row(labelled, lines, capsys):
    status, (row,), calls = labelled(lines, lambda *_: says(f"```json\n{RIGHT}\n```"), "--max-new-tokens", "99")
    assert status == 0 and len(calls) == 1
    assert (row["id"], row["license"], row["text"]) == ("a", "CC0", CRANE)
    assert row["source"].startswith("web") and "tiny" in row["source"]
    assert marked(row) == ["Ada Brandt", "Turku", "Turku"] and marked(row, "facts") == [BUILT["text"]]
    (call,) = calls
    assert call["key"] == f"Bearer {KEY}" and (call["model"], call["max_tokens"], call["temperature"]) == (
        "tiny",
        99,
        0,
    )
    assert [message["role"] for message in call["messages"]] == ["user"]
    assert CRANE in call["messages"][0]["content"]
    assert "asked again: 0" in (told := capsys.readouterr().out) and "failed rows: 0" in told and KEY not in told


def test_invalid_json_is_asked_again_with_the_error_told(labelled, lines, capsys):
    status, (row,), calls = labelled(lines, lambda number, _: says('{"entities": [' if number == 1 else RIGHT))
    assert status == 0 and len(row["entities"]) == 3 and len(calls) == 2
    first, said, again = calls[1]["messages"]
    assert first == calls[0]["messages"][0] and said == {"role": "assistant", "content": '{"entities": ['}
    assert "not one whole JSON object" in again["content"]
    assert "asked again: 1" in capsys.readouterr().out


def test_a_text_that_is_not_in_the_source_is_dropped_after_the_last_attempt(labelled, lines, capsys):
    wrong = json.dumps({"entities": [ADA, {"text": "Helsinki", "type": "LOCATION"}], "facts": [BUILT]})
    status, (row,), calls = labelled(lines, lambda *_: says(wrong))
    assert status == 0 and len(calls) == 3 and marked(row) == ["Ada Brandt"]
    assert '"Helsinki" does not stand in the text' in calls[2]["messages"][-1]["content"]
    assert "asked again: 2\ndropped items: 1\nfailed rows: 0" in capsys.readouterr().out


def test_a_last_answer_that_cannot_be_read_does_not_lose_the_one_before(labelled, lines):
    wrong = json.dumps({"entities": [ADA, {"text": "Helsinki", "type": "LOCATION"}], "facts": []})
    plans = [says(wrong), says("Sorry."), fails(400)]
    _, (row,), calls = labelled(lines, lambda number, _: plans[number - 1])
    assert marked(row) == ["Ada Brandt"] and len(calls) == 3


def test_a_failure_is_reported_and_left_out(labelled, tmp_path, capsys):
    given = write_lines(tmp_path / "mine.jsonl", *({"id": name, "text": f"{CRANE} {name}"} for name in "abc"))

    def plan(_, request):
        content = request["messages"][0]["content"]
        if f"{CRANE} a" in content:
            return says(RIGHT)
        return says("no") if f"{CRANE} b" in content else fails(400, json.dumps({"error": {"message": f"bad {KEY}"}}))

    status, rows, calls = labelled(given, plan, "--attempts", "2")
    assert status == 0 and [row["id"] for row in rows] == ["a"]
    assert len(calls) == 4, "one, two attempts, and a call that failed for good"
    told = capsys.readouterr().out
    assert "failed rows: 2" in told and "  b: the answer" in told and "  c: BadRequestError" in told and KEY not in told
    assert rows[0]["license"] == texts.UNKNOWN


def test_no_row_no_file(labelled, lines, capsys):
    status, rows, _ = labelled(lines, lambda *_: says("no"))
    assert status == 1 and rows is None and "was not written" in capsys.readouterr().out


def test_a_server_that_fails_every_call_is_not_asked_about_everything(labelled, tmp_path, capsys):
    many = ({"id": number, "text": f"{CRANE} {number}"} for number in range(60))
    given = write_lines(tmp_path / "mine.jsonl", *many)
    status, rows, calls = labelled(given, lambda *_: fails(401), "--concurrency", "1")
    assert status == 1 and rows is None and len(calls) < 30
    assert "stopped" in capsys.readouterr().out


def test_a_long_text_is_cut_at_sentences(labelled, tmp_path):
    given = write_lines(
        tmp_path / "mine.jsonl", {"id": "long", "text": " ".join([CRANE] * 3)}, {"id": "b", "text": CRANE}
    )
    _, rows, calls = labelled(given, lambda *_: says('{"entities": [], "facts": []}'), "--words", "20")
    assert [row["id"] for row in rows] == ["long#0", "long#1", "long#2", "b"] and len(calls) == 4
    assert " ".join(row["text"] for row in rows[:3]) == " ".join([CRANE] * 3)
    assert all(len(words(row["text"])) <= 20 for row in rows)


def test_estimate_prints_and_makes_no_call(labelled, lines, capsys):
    status, rows, calls = labelled(lines, lambda *_: says(RIGHT), "--estimate")
    assert status == 0 and rows is None and calls == []
    told = capsys.readouterr().out
    assert "calls: 1" in told and "4 characters each" in told and "no price is known" in told
    labelled(lines, lambda *_: says(RIGHT), "--estimate", "--price-in", "1000", "--price-out", "2000")
    tokens = -(-len(labelling.question(CRANE)["content"]) // 4)
    told = capsys.readouterr().out
    assert f"input tokens: {tokens:,} " in told and "output tokens: 60 " in told
    assert f"${tokens / 1000 + 0.12:,.2f}" in told


def test_a_known_tokenizer_counts(monkeypatch, lines, tmp_path, capsys):
    tiktoken = pytest.importorskip("tiktoken")
    letters = {bytes([number]): number for number in range(256)}
    encoding = tiktoken.Encoding("letters", pat_str=r".|\n", mergeable_ranks=letters, special_tokens={})
    monkeypatch.setattr(tiktoken, "encoding_for_model", lambda name: encoding)
    arguments = [
        lines,
        "--output",
        str(tmp_path / "o.parquet"),
        "--url",
        "http://host/v1",
        "--model",
        "m",
        "--estimate",
    ]
    assert label_with_llm.main(arguments) == 0
    assert f"input tokens: {len(labelling.question(CRANE)['content'].encode()):,} (counted with letters)" in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize(("reply", "asked"), [("y", 1), ("n", 0), ("", 0), (EOFError, 0)])
def test_it_asks_before_it_spends(serve, lines, tmp_path, monkeypatch, capsys, reply, asked):  # noqa: F811
    def answer(_):
        if reply is EOFError:
            raise EOFError
        return reply

    monkeypatch.setattr("builtins.input", answer)
    url, calls = serve(lambda *_: says(RIGHT))
    output = tmp_path / "o.parquet"
    arguments = [lines, "--output", str(output), "--url", url, "--model", "tiny", "--api-key-env", "READER_KEY"]
    assert label_with_llm.main(arguments) == 1 - asked
    assert len(calls) == asked and output.exists() == bool(asked)
    assert ("nothing was asked" in capsys.readouterr().out) != bool(asked)


def test_a_run_that_broke_off_repeats_no_call(labelled, tmp_path):
    records = [{"id": name, "text": f"{CRANE} {name}"} for name in "abcd"]
    given = write_lines(tmp_path / "mine.jsonl", *records)
    labelled(given, lambda number, _: says(RIGHT if number < 3 else "no"), "--attempts", "1", "--concurrency", "1")
    kept = tmp_path / "mine-train.parquet.partial.jsonl"
    with kept.open("a") as file:
        file.write('{"id": "c", "dig')  # cut by a crash
    _, rows, calls = labelled(given, lambda *_: says(RIGHT))
    assert [row["id"] for row in rows] == list("abcd")
    assert len(calls) == 2 and {call["messages"][0]["content"][-7] for call in calls} <= set("cd")
    _, again, calls = labelled(given, lambda *_: fails(400))
    assert calls == [] and again == rows
    records[0]["text"] += " And more."
    _, rows, calls = labelled(write_lines(tmp_path / "mine.jsonl", *records), lambda *_: says(RIGHT))
    assert len(calls) == 1 and rows[0]["text"].endswith("more.")
    _, _, calls = labelled(given, lambda *_: says(RIGHT), "--model", "other")
    assert len(calls) == 4


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--attempts", "0"], "argument --attempts: must be a whole number of at least 1, but is '0'"),
        (["--words", "many"], "argument --words: must be a whole number of at least 1, but is 'many'"),
        (["--price-in", "-1", "--price-out", "1"], "argument --price-in: must be a number of at least 0"),
        (["--price-in", "nan"], "argument --price-in: must be a number"),
        (["--price-in", "1"], "--price-in and --price-out must be given together: add the missing one"),
        (["--local", "x"], "argument --local: not allowed with argument --url"),
        (["--body", "[1]"], "argument --body: must be a JSON object, but is '[1]': write it like"),
        (["--output", "nowhere/x.parquet"], "argument --output: must be a file in a folder that exists"),
        (["--url", "ftp://host"], "`url` must begin with http"),
        (["--api-key-env", "NO_SUCH_KEY"], "`api_key_env` must name an environment variable"),
        (["--limit", "0"], "argument --limit"),
    ],
)
def test_bad_options_are_told(labelled, lines, capsys, options, told):
    with pytest.raises(SystemExit) as caught:
        labelled(lines, lambda *_: says(RIGHT), *options)
    assert caught.value.code == 2 and told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], "one of the arguments --url --local is required"),
        (["--url", "http://host/v1"], "--model must be given with --url"),
        (["--local", "folder", "--model", "x"], "--model must be given with --url and only with it"),
        (["--local", "no-such-folder"], "--local must be a Hub id that can be downloaded or a folder with a model"),
    ],
)
def test_a_model_must_be_named_once(lines, tmp_path, capsys, options, told):
    with pytest.raises(SystemExit):
        label_with_llm.main([lines, "--output", str(tmp_path / "o.parquet"), *options])
    assert told in capsys.readouterr().err


def test_a_missing_input_is_told(labelled, tmp_path, capsys):
    with pytest.raises(SystemExit):
        labelled(str(tmp_path / "none.jsonl"), lambda *_: says(RIGHT))
    assert "INPUT must be a file" in capsys.readouterr().err


# Models that run here


@pytest.mark.parametrize("template", [None, TEMPLATE], ids=["plain", "chat"])
def test_a_local_model_is_asked_in_batches(tmp_path, monkeypatch, capsys, template):
    folder = tmp_path / "lm"
    make_lm_folder(folder, "llama", template)
    (folder / "config.json").write_text(
        (folder / "config.json")
        .read_text()
        .replace('"max_position_embeddings": 256', '"max_position_embeddings": 4096')
    )
    widths = []
    generate = label_with_llm.Local._generate

    def right_for_the_first(self, encoded, length):
        widths.append(len(encoded))
        made = generate(self, encoded, length)
        assert len(made) == len(encoded)
        return [RIGHT, *made[1:]] if len(widths) == 1 else made

    monkeypatch.setattr(label_with_llm.Local, "_generate", right_for_the_first)
    given = write_lines(tmp_path / "mine.jsonl", *({"id": name, "text": CRANE + name} for name in "abc"))
    output = tmp_path / "o.parquet"
    where = ["--local", str(folder), "--max-new-tokens", "5", "--batch-size", "2", "--attempts", "2", "--yes"]
    assert label_with_llm.main([given, "--output", str(output), *where]) == 0
    assert widths == [2, 1, 1, 1], "the first batch, what was wrong in it, the last text, the last text again"
    (row,) = pq.read_table(output).to_pylist()
    assert row["id"] == "a" and row["source"] == "mine, labelled by lm"
    assert "counted with its tokenizer" in (told := capsys.readouterr().out) and "failed rows: 2" in told


def test_a_prompt_beyond_the_positions_is_a_failed_row(tmp_path, lines, capsys):
    folder = make_lm_folder(tmp_path / "lm", "llama")
    output = str(tmp_path / "o.parquet")
    assert label_with_llm.main([lines, "--output", output, "--local", folder, "--max-new-tokens", "5", "--yes"]) == 1
    assert "a: the prompt is too long" in capsys.readouterr().out


# GLiNER


@pytest.fixture(scope="module")
def gliner(encoder, tmp_path_factory) -> str:
    """A folder with an untrained GLiNER that reads 12 words at a time."""
    package = pytest.importorskip("gliner", reason="GLiNER needs its package")
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("gliner")
    sizes = {"hidden_size": 32, "max_width": 3, "max_len": 12, "num_rnn_layers": 0, "dropout": 0.0}
    config = package.GLiNERConfig(model_name=str(encoder), **sizes)
    package.GLiNER.from_config(config, backbone_from_pretrained=True).save_pretrained(folder)
    return str(folder)


def test_entities_of_a_gliner_become_rows(gliner, tmp_path):
    long = "the visa expires in june. when does the order? " * 4 + "order, " * 30
    given = write_lines(
        tmp_path / "mine.jsonl", *({"id": n, "text": t} for n, t in enumerate([long, "the visa.", "."]))
    )
    output = tmp_path / "o.parquet"
    options = ["--model", gliner, "--labels", "visa=WORK, order =OTHER", "--threshold", "0.02", "--license", "MIT"]
    assert label_with_gliner.main([given, "--output", str(output), *options]) == 0
    rows = pq.read_table(output).to_pylist()
    assert [row["text"] for row in rows] == [long, "the visa.", "."]
    assert all(row["facts"] == [] and row["license"] == "MIT" for row in rows)
    model = label_with_gliner.load(gliner)
    for row in rows:
        places = label_with_gliner._stretches(row["text"], 12)
        wanted = [
            (start + one["start"], one["text"], {"visa": "WORK", "order": "OTHER"}[one["label"]])
            for start, end in places
            for one in model.inference([row["text"][start:end]], ["visa", "order"], threshold=0.02)[0]
        ]
        found = [(one["start"], text, one["type"]) for one, text in zip(row["entities"], marked(row), strict=True)]
        assert sorted(wanted) == sorted(found)
        clusters = {(text, own): one["cluster"] for (_, text, own), one in zip(found, row["entities"], strict=True)}
        assert [one["cluster"] for one in row["entities"]] == [clusters[text, own] for _, text, own in found]
        assert len(set(clusters.values())) == len(clusters)
    assert len(rows[0]["entities"]) > 3
    assert len(label_with_gliner._stretches(long, 12)) > 3, "the text must be longer than what the model reads"
    assert label_with_gliner.main([given, "--output", str(output), *options, "--limit", "1"]) == 0
    assert pq.read_table(output).num_rows == 1


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--labels", "person"], "argument --labels: must be different labels with one of PERSON"),
        (["--labels", "a=PERSON,a=OTHER"], "but has 'a=OTHER'"),
        (["--labels", "person=HUMAN"], "but has 'person=HUMAN': write person=PERSON"),
        (["--threshold", "1.5"], "argument --threshold: must be a number between 0 and 1, but is '1.5'"),
        (["--model", "no-such-folder"], "`model` must be a Hub id that can be downloaded or a folder"),
    ],
)
def test_bad_options_of_the_gliner_script_are_told(lines, tmp_path, capsys, options, told):
    pytest.importorskip("gliner", reason="GLiNER needs its package")
    with pytest.raises(SystemExit) as caught:
        label_with_gliner.main([lines, "--output", str(tmp_path / "o.parquet"), "--model", "x", *options])
    assert caught.value.code == 2 and told in capsys.readouterr().err
