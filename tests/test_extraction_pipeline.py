"""Extraction from end to end: the pipelines over a small model that was trained here."""

from __future__ import annotations

import json

import pytest
import torch
from conftest import make_config
from test_extraction import city_texts, fit
from transformers import pipeline

from reet_hf import Compressed, ReetError, ReetForCompression, Session
from reet_hf.formats import dump_records, load_records

TEXT = "the visa the order Rome expires in june. the visa when Oslo does order."
MESSAGES = [
    {"role": "user", "content": "the visa the order Rome expires in june."},
    {"role": "assistant", "content": "the visa when Oslo does order."},
    {"role": "user", "content": "the order the visa Rome does order. order: ab-12, a@b.de."},
]
DOCUMENTS = [message["content"] for message in MESSAGES]


@pytest.fixture(scope="module")
def folder(tokenizer, tmp_path_factory):
    """A saved model that knows capitalised words and what stands behind them."""
    torch.manual_seed(0)
    sizes = {"extraction_dim": 32, "span_dim": 8, "entity_words": 4, "fact_words": 6, "dropout": 0.0}
    model = ReetForCompression(make_config(len(tokenizer), extraction=True, **sizes))
    fit(model, {"qasrlgs-train": city_texts(128, 2, "argument"), "redocred-train": city_texts(64, 3)}, tokenizer)
    path = tmp_path_factory.mktemp("extracting")
    model.eval().save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def extract(folder):
    return pipeline("reet-extraction", model=str(folder))


@pytest.fixture(scope="module")
def compress_facts(folder):
    return pipeline("reet-compression", model=str(folder))


def test_the_four_formats_say_the_same(extract):
    facts = extract(TEXT)
    assert facts == {"Rome": ["expires in june"], "Oslo": ["does order"]}
    assert extract(TEXT, output_format="linear") == "Rome: expires in june\nOslo: does order"
    assert extract(TEXT, output_format="markdown") == "- **Rome**\n  - expires in june\n- **Oslo**\n  - does order"
    records = extract(TEXT, output_format="records")
    assert [entity["text"] for entity in records["entities"]] == ["Rome", "Oslo"]
    for item in (*records["entities"], *records["facts"]):
        assert TEXT[item["start"] : item["end"]] == item["text"] and 0 < item["score"] <= 1
    assert {fact["entity"]: [fact["text"]] for fact in records["facts"]} == facts


def test_records_survive_json_byte_for_byte(extract):
    text = dump_records(extract(TEXT, output_format="records"))
    assert dump_records(load_records(text)) == text and json.loads(text) == load_records(text)
    for wrong in ("no json", "[]", '{"schema_version": 9}', '{"schema_version": 1, "entities": [{"text": "a"}]}'):
        with pytest.raises(ReetError, match="`text` must"):
            load_records(wrong)


def test_identifiers_and_addresses_are_found_by_rules(extract):
    entities = extract(MESSAGES, output_format="records")["entities"]
    found = {entity["text"]: (entity["type"], entity["message"]) for entity in entities}
    assert found["ab-12"] == ("IDENTIFIER", 2) and found["a@b.de"] == ("EMAIL", 2) and found["Oslo"][1] == 1


def test_a_batch_and_a_query_and_wrong_options(extract):
    assert extract([TEXT, "when."]) == [extract(TEXT), {}]
    assert extract("") == {} and extract("", output_format="linear") == ""
    asked = extract({"context": TEXT, "query": "when does the visa expires?"}, output_format="records")
    scores = [fact["score"] for fact in asked["facts"]]
    assert scores == sorted(scores, reverse=True)
    with pytest.raises(ReetError, match="`output_format` must be one of json"):
        extract(TEXT, output_format="xml")
    with pytest.raises(TypeError, match="no option 'budget'"):
        extract(TEXT, budget=0.3)


def test_a_checkpoint_without_the_head_is_refused(tiny_folder, compress):
    with pytest.raises(ReetError, match="must have an extraction head"):
        pipeline("reet-extraction", model=str(tiny_folder))
    with pytest.raises(ReetError, match="needs a checkpoint with an extraction head"):
        compress({"messages": MESSAGES}, strategy="facts")


def test_compression_to_facts_keeps_the_budget_and_says_where_they_stood(compress_facts):
    texts = [
        "the Rome expires in june.",
        "the visa when Oslo does order.",
        "the Rome does order. order: ab-12, a@b.de.",
    ]
    out = compress_facts({"context": texts}, strategy="facts", budget=1.0)
    # what no fact says of Oslo is too much for a fact to stand for its sentence
    told = ["Rome: expires in june | does order", texts[1], "order: ab-12, a@b.de."]
    assert out["text"] == "\n".join(told)
    assert out["messages"] == [{"role": "user", "content": out["text"]}]
    kept = [texts[piece["message"]][piece["start"] : piece["end"]] for piece in out["pieces"]]
    assert kept == ["Rome", "expires in june", texts[1], "does order", "order: ab-12, a@b.de."]
    assert out["facts"]["Rome"][0] == {"text": "expires in june", "message": 0, "start": 9, "end": 24, "current": True}
    assert {entity["text"]: entity["turns"] for entity in out["entities"]}["Rome"] == [0, 2]
    counts = [compress_facts({"context": texts}, strategy="facts", budget=b) for b in (4, 6, 8, 12, 20)]
    assert all(c["tokens"]["compressed"] <= c["tokens"]["budget"] for c in counts)
    assert len({c["text"] for c in counts}) > 2
    assert Compressed.from_dict(out).to_dict() == out


def test_what_the_text_lost_but_the_ledger_has_is_in_the_ledger(compress_facts):
    out = compress_facts({"context": DOCUMENTS, "query": "when?"}, budget=0.4)
    headings = {heading: [m["text"] for m in out["receipt"][heading]] for heading in out["receipt"]}
    everything = [text for texts in headings.values() for text in texts]
    assert sorted(everything) == sorted(["Rome", "Oslo", "Rome", "ab-12", "a@b.de"])
    assert out["facts"].keys() == {"Rome", "Oslo"}


def test_a_session_that_grew_says_what_one_made_at_once_says(compress_facts, tmp_path):
    grown = Session(compress_facts)
    for message in MESSAGES * 4:
        grown.append(message)
        grown.compress(strategy="facts", budget=30)
    grown.save(tmp_path / "session")
    whole = Session(compress_facts)
    whole.append(MESSAGES * 4)
    for session in (grown, Session.load(tmp_path / "session", compress_facts)):
        assert session.compress(strategy="facts", budget=30) == whole.compress(strategy="facts", budget=30)


@pytest.mark.parametrize("options", [{"unit": "sentence"}, {"protect": ["user"]}])
def test_facts_take_no_option_that_they_cannot_keep(compress_facts, options):
    with pytest.raises(ReetError, match="none of `unit`, `protect`"):
        compress_facts({"messages": MESSAGES}, strategy="facts", **options)


def test_a_threshold_drops_facts_that_are_less_likely_and_importance_stays_a_chance(compress_facts):
    def facts(**options) -> list[dict]:
        pieces = compress_facts({"context": DOCUMENTS}, strategy="facts", budget=1.0, **options)["pieces"]
        return [p for p in pieces if DOCUMENTS[p["message"]][p["start"] : p["end"]] not in ("Rome", "Oslo")]

    everything = facts()
    assert len(everything) == 3 and all(0 < piece["importance"] < 1 for piece in everything)
    border = sorted(piece["importance"] for piece in everything)[1]
    assert facts(threshold=border) == [piece for piece in everything if piece["importance"] >= border]
    assert facts(threshold=1.0) == []


def test_a_window_without_entities_beside_one_that_has_some_is_read(extract):
    plain = {"role": "user", "content": "the visa when the order is. " * 12}
    found = extract([plain, *MESSAGES, plain])
    assert "Rome" in found


def test_what_a_later_value_superseded_is_no_answer_to_a_query(bundled):
    find = pipeline("reet-extraction", model=str(bundled))
    messages = [
        {"role": "user", "content": "Ann Lee works for Borealis Bank. Her flight leaves at 9:40 from gate B12."},
        {"role": "assistant", "content": "Noted. Borealis Bank was founded in 1901, by the way."},
        {"role": "user", "content": "Her flight leaves at 11:15 now, the airline has just written."},
    ]
    assert "works for Borealis Bank" in find(messages)["Ann Lee"]
    assert find(messages)["Her flight"] == ["leaves at 9:40 from gate B12", "leaves at 11:15"]
    found = find({"messages": messages, "query": "When does the flight leave?"}, output_format="linear")
    assert "11:15" in found and "9:40" not in found
    compress = pipeline("reet-compression", model=str(bundled))
    out = compress({"messages": messages, "query": "When does the flight leave?"}, strategy="facts", budget=40)
    assert "Her flight: leaves at 11:15" in out["text"] and "9:40" not in out["text"]
    assert [fact["current"] for fact in out["facts"]["Her flight"]] == [False, True]
