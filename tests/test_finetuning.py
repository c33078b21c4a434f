"""Users' own conversations: rows and what mends them, one command, adapters, merging, resuming, watching, the card."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from conftest import CITIES, ROOT, city_rows
from huggingface_hub import ModelCard
from transformers import AutoTokenizer, Trainer, TrainerControl, TrainerState, TrainingArguments, pipeline

import reet_hf
from eval import finetuning
from reet_hf import ReetError, ReetForCompression
from reet_hf.cli import main as command_line
from reet_hf.encoders.packed import PackedEncoder
from reet_hf.hub.checks import check_card, check_model_card
from reet_hf.hub.command import run_publish
from reet_hf.hub.tuned_cards import TEMPLATE, address_card, build_tuned_card, write_card
from reet_hf.modeling import checkpoints
from reet_hf.scoring.collator import ScoringCollator
from reet_hf.training import saving
from reet_hf.training.adapters import add_adapter
from reet_hf.training.arguments import FineTuningArguments, read_recipe
from reet_hf.training.cards import CardCallback
from reet_hf.training.cards import record_of as record_of_run
from reet_hf.training.dataset import ScoringDataset, read_files, split_conversations
from reet_hf.training.tracking import check_trackers
from train.data.own import own_row
from train.train_scorer import main

HOW_TO = ROOT / "docs" / "how-to" / "fine-tune.md"
RECIPES = ROOT / "train" / "recipes"
BASE = "you/tiny"
REQUEST = {
    "messages": [
        {"role": "user", "content": "the order 3 is in rome. the visa expires in june."},
        {"role": "assistant", "content": "the order 4 is in oslo. when does the visa expires?"},
    ],
    "query": "where is the order 3?",
}


def own_rows(count: int) -> list[dict]:
    """What a user writes: no more than messages, questions, answers and the number of the message."""
    return [
        {
            "messages": [{"role": "user", "content": message["content"]} for message in row["messages"]],
            "questions": [
                {"question": q["question"], "answers": q["answers"], "evidence": [{"message": number}]}
                for number, q in enumerate(row["questions"])
            ],
        }
        for row in city_rows(count)
    ]


def write_rows(path: Path, rows: list) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@contextlib.contextmanager
def inside(folder: Path):
    """The working directory for a while."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield folder
    finally:
        os.chdir(before)


@pytest.fixture(scope="module")
def place(tmp_path_factory, tiny_folder) -> Path:
    """A folder with data, and a trained model that stands for one on the Hub, as `you/tiny` from here."""
    folder = tmp_path_factory.mktemp("place")
    write_rows(folder / "talks" / "orders.jsonl", own_rows(12))
    pq.write_table(pa.Table.from_pylist(city_rows(4, "research use only")), folder / "talks" / "cities.parquet")
    shutil.copytree(tiny_folder, folder / BASE)
    (folder / BASE / "training.json").write_text(json.dumps({"command": "made by hand", "data_fingerprint": {}}))
    return folder


def tune(place: Path, recipe: str, output: str, **options) -> Path:
    """The folder of a run of the script with one of the recipes, in this process."""
    given = {
        "data": "talks",
        "initial": BASE,
        "initial_id": BASE,
        "output_dir": output,
        "use_cpu": True,
        "disable_tqdm": True,
        "num_train_epochs": 2,
        **options,
    }
    pairs = [word for name, value in given.items() for word in (f"--{name}", json.dumps(value))]
    argv = [str(RECIPES / f"{recipe}.yaml"), *pairs]
    with inside(place), pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["train_scorer.py", *argv])
        main(argv)
    return place / output


@pytest.fixture(scope="module")
def tuned(place) -> Path:
    return tune(place, "fine-tune", "tuned", learning_rate=1e-3, head_learning_rate=5e-3)


@pytest.fixture(scope="module")
def adapter(place) -> Path:
    return tune(place, "fine-tune-lora", "adapted", learning_rate=1e-2, head_learning_rate=5e-3)


@pytest.fixture(scope="module")
def bundled_adapter(place) -> Path:
    """Of the bundled weights."""
    return tune(place, "fine-tune-lora", "bundled", initial="reet/reet-base", initial_id="", max_steps=1)


def record_of(folder: Path) -> dict:
    return json.loads((folder / "training.json").read_text(encoding="utf-8"))


# --- rows


def test_what_is_left_out_of_a_row_is_filled_in(tmp_path):
    path = write_rows(tmp_path / "mine.jsonl", [*own_rows(1), {**own_rows(1)[0], "license": None, "id": "x"}])
    first, second = read_files(tmp_path, ["mine"], "any", own_row)["mine"]
    assert (first["id"], first["source"], first["license"]) == ("mine:1", "mine", "not stated")
    assert second["id"] == "x" and {message["name"] for message in first["messages"]} == {""}
    for question in first["questions"]:
        (span,) = question["answer_spans"]
        assert first["messages"][span["message"]]["content"][span["start"] : span["end"]] in CITIES
        assert question["kind"] == "extractive" and question["evidence"][0]["start"] == 0
    messages = [{"role": "user", "content": "My visa expires on 12 June. I like cats."}]
    alone = {"question": "Until when?", "answers": ["12 june"]}
    (found,) = own_row({"messages": messages, "questions": [alone]}, path, 1)["questions"]
    assert found["evidence"] == [{"message": 0, "start": 0, "end": 27}]
    (found,) = own_row({"messages": messages, "questions": [{"question": "Which dog?"}]}, path, 1)["questions"]
    assert found["kind"] == "unanswerable" and found["evidence"] == []
    told = {"question": "What pets?", "answers": ["felines"], "evidence": [{"message": 0, "start": 28}]}
    (found,) = own_row({"messages": messages, "questions": [told]}, path, 1)["questions"]
    assert found["kind"] == "abstractive" and found["evidence"] == [{"message": 0, "start": 28, "end": 40}]


def broken(change) -> dict:
    row = copy.deepcopy(own_rows(1)[0])
    change(row)
    return row


BROKEN = [
    (lambda r: r.pop("messages"), "messages must be a list, but is None"),
    (lambda r: r.update(messages=[]), "messages must not be empty"),
    (lambda r: r["messages"][1].update(role="bot"), r"messages\[1\].role must be one of .* 'bot'; use one"),
    (lambda r: r["messages"][1].update(content=None), r"messages\[1\].content must be a string, but is None"),
    (lambda r: r["messages"][0].update(time=3), r"messages\[0\] must have exactly .*; remove the others"),
    (lambda r: r["questions"][2].pop("question"), r"questions\[2\] must have exactly the fields question"),
    (lambda r: r["questions"][0].update(answers="rome"), r"questions\[0\].answers must be a list, but is 'rome'"),
    (lambda r: r["questions"][0].update(evidence=[{"message": 9}]), r"evidence\[0\].message must number one of 5"),
    (
        lambda r: r["questions"][0].update(answer_spans=[{"message": 0, "start": 0, "end": 3}]),
        r"questions\[0\].answer_spans\[0\] must cover one of the answers, but is 'the'; count characters from 0",
    ),
    (
        lambda r: r["questions"][0].update(answers=["june"], evidence=None),
        r"questions\[0\].evidence must say which message .*stand at 5; .*name messages alone",
    ),
    (lambda r: r["questions"][0].update(answers=["nobody"], evidence=None), r"stand at 0; .*name messages alone"),
]


@pytest.mark.parametrize(("change", "words"), BROKEN)
def test_a_row_that_breaks_a_rule_is_named_with_what_mends_it(tmp_path, change, words):
    write_rows(tmp_path / "mine.jsonl", [own_rows(1)[0], broken(change)])
    with pytest.raises(ReetError, match=rf"mine\.jsonl, line 2: .*{words}"):
        read_files(tmp_path, ["mine"], "any", own_row)


def test_files_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / "mine.jsonl").write_text('{"messages": []}\n\n{"messages": [\n')
    (tmp_path / "table.parquet").write_text("no table")
    for name, words in (("mine", r"mine\.jsonl, line 3: .*json\.dumps"), ("table", r"table\.parquet must be")):
        with pytest.raises(ReetError, match=words):
            read_files(tmp_path, [name], "any", own_row)
    (tmp_path / "mine.parquet").write_text("")
    with pytest.raises(ReetError, match=r"mine\.jsonl and mine\.parquet; rename"):
        read_files(tmp_path, ["mine"])
    with pytest.raises(ReetError, match="must be a folder"):
        read_files(tmp_path / "absent", ["mine"])


def test_own_rows_need_no_licence_and_published_weights_do(tmp_path):
    write_rows(tmp_path / "mine.jsonl", own_rows(1))
    assert read_files(tmp_path, ["mine"], "any", own_row)
    for checked in (None, own_row):
        with pytest.raises(ReetError, match="'not stated', not for shipped weights.*--licenses any"):
            read_files(tmp_path, ["mine"], checked=checked)
    for path in RECIPES.glob("*.yaml"):
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
        own = path.stem.startswith("fine-tune")
        assert (settings.get("licenses") == "any") == own
        if own:
            read, training = read_recipe([str(path), "--data", str(tmp_path)], FineTuningArguments)
            assert read.initial == "reet/reet-base" and read.held_out and training.load_best_model_at_end
    assert FineTuningArguments(data="x").licenses == "commercial"


def test_held_out_conversations_are_whole_and_chosen_by_seed():
    files = {"a": [*city_rows(10), *city_rows(3)], "one": city_rows(1)}
    parts = split_conversations(files, 0.35, seed=5)  # of six conversations, most of which are in several rows
    shown, held = ({str(row["messages"]) for row in parts[name]} for name in ("a", "a-held"))
    assert not shown & held and len(held) == 2 and len(parts["a"]) + len(parts["a-held"]) == 13
    assert len(parts["one"]) == 1 and parts["one-held"] == []
    assert parts == split_conversations(files, 0.35, seed=5)
    assert parts["a-held"] != split_conversations(files, 0.35, seed=6)["a-held"]
    with pytest.raises(ReetError, match="at least 2 conversations"):
        split_conversations({"one": city_rows(1)}, 0.2, seed=5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"licenses": "none"}, "commercial, any"),
        ({"held_out": 1.5}, "below 1"),
        ({"initial": ""}, "--initial reet/reet-base"),
        ({"initial_id": ""}, "--initial_id YOU/NAME"),
        ({"initial": "talks"}, "training.json"),
        ({"initial": "you/absent"}, "you/absent"),
        ({"lora": {"rank": 4}}, "peft.LoraConfig"),
        ({"data": "you"}, r"\.parquet or \.jsonl"),
        ({"held_out": 0}, r"--held_out 0\.15"),
        ({"load_best_model_at_end": False}, "--load_best_model_at_end true"),
        ({"report_to": "trackio"}, "pip install trackio"),
    ],
)
def test_what_a_run_cannot_honour_is_refused_before_it_trains(place, options, words, monkeypatch):
    monkeypatch.setattr("reet_hf.training.tracking.find_spec", lambda name: None)
    with pytest.raises(ReetError, match=words):
        tune(place, "fine-tune-lora", "refused", **options)


# --- the how-to


def test_the_example_row_of_the_how_to_is_a_row(tmp_path):
    (example,) = re.findall(r"```json\n(.*?)```", HOW_TO.read_text(encoding="utf-8"), flags=re.DOTALL)
    row = own_row(json.loads(example), tmp_path / "chats.jsonl", 1)
    kinds = [question["kind"] for question in row["questions"]]
    assert kinds == ["extractive", "extractive", "unanswerable", "abstractive"]
    contents = [message["content"] for message in row["messages"]]
    spans = [question["evidence"] for question in row["questions"]]
    first, _, _, last = ([contents[span["message"]][span["start"] : span["end"]] for span in own] for own in spans)
    assert first == ["My visa expires on 12 June 2027, by the way."]
    assert last == ["I moved the interview to Friday.", "Not yet."]


def test_the_error_of_the_how_to_is_what_is_said(tmp_path):
    row = broken(lambda r: r["questions"][0].update(answer_spans=[{"message": 0, "start": 0, "end": 3}]))
    with pytest.raises(ReetError) as refused:
        own_row(row, tmp_path / "chats.jsonl", 12)
    assert str(refused.value) in " ".join(HOW_TO.read_text(encoding="utf-8").split())


def test_options_and_recipes_of_the_how_to_exist(tmp_path):
    text = HOW_TO.read_text(encoding="utf-8")
    known = {option.name for record in (FineTuningArguments, TrainingArguments) for option in fields(record)}
    known |= {"num_processes", "cpu", "output", "repo-id", "model"}
    assert set(re.findall(r"--([a-z][\w-]*)", text)) <= known
    for recipe in re.findall(r"train/recipes/[\w-]+\.yaml", text):
        assert (ROOT / recipe).is_file()


def test_the_figures_of_the_how_to_are_those_that_were_measured():
    text = HOW_TO.read_text(encoding="utf-8")
    assert finetuning.with_section(text, finetuning.section()) == text
    with pytest.raises(ReetError, match="must have the lines"):
        finetuning.with_section("no marks", "")


def test_a_run_is_measured_with_what_it_changes_of_the_other_head(bundled_adapter, tmp_path, monkeypatch):
    text = "Ann Lee works for Borealis Bank in Oslo."
    entities = [{"start": 0, "end": 7, "type": "argument", "cluster": 0}]
    facts = [{"entity_start": 0, "entity_end": 7, "start": 8, "end": 39, "relation": "works for"}]
    row = {"id": "1", "source": "test", "license": "MIT", "text": text, "entities": entities, "facts": facts}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "carb-dev.parquet")
    pq.write_table(pa.Table.from_pylist(city_rows(1)), tmp_path / "cities.parquet")
    monkeypatch.setattr(finetuning, "SETS", {"carb-dev": 1})
    monkeypatch.setattr(finetuning, "OTHERS", ("cities",))
    found, record = finetuning.measure(bundled_adapter, tmp_path, tmp_path), record_of(bundled_adapter)
    for when in ("before", "after"):
        assert (
            0 <= found[f"extraction_{when}"]["carb-dev"]["fact_f1"] <= 1 and 0 < found[f"others_{when}"]["cities"] <= 1
        )
    assert found["after"]["kept_at_20"] == record["metrics"]["eval_kept_at_20"]
    questions = sum(entry["questions"] for entry in record["files"].values())
    assert finetuning.seconds_per_pass({**found, "epochs": 2}) == pytest.approx(500 * record["cpu_seconds"] / questions)


# --- one command


def test_one_command_tunes_and_measures_before_and_after(tuned):
    record = record_of(tuned)
    assert record["base"] == BASE and record["initial"]["command"] == "made by hand"
    assert set(record["recipe"]["mixture"]) == {"cities", "orders"}
    assert record["files"]["orders"]["held_out_conversations"] == 2
    assert record["files"]["cities"]["licenses"] == ["research use only"]
    assert {"loss", "kept_at_20"} <= set(record["before"])
    assert record["metrics"]["eval_loss"] < record["before"]["loss"]
    assert record["metrics"]["eval_kept_at_20"] >= record["before"]["kept_at_20"]
    assert any("eval_loss" in entry for entry in record["log"])
    assert next(ReetForCompression.from_pretrained(tuned).parameters()).dtype == torch.float16


def test_a_run_leaves_no_path_of_its_machine_and_no_token(tuned, adapter, place):
    token = f"hf_{'Ab1' * 11}"
    options = {"hub_token": token, "run_name": str(place / "runs"), "logging_steps": 1, "max_steps": 1}
    careless = tune(place, "fine-tune", "careless", **options)
    assert "--logging_steps 1" in record_of(careless)["command"] and "logging_steps" in record_of(careless)["options"]
    for folder in (tuned, adapter, careless):
        assert "hub_token" not in record_of(folder)["command"]
        for name in ("README.md", "training.json", "config.json", "adapter_config.json"):
            text = (folder / name).read_text(encoding="utf-8") if (folder / name).is_file() else ""
            assert str(place) not in text and "/tmp" not in text and token not in text


@pytest.mark.parametrize("kind", ["tuned", "adapter"])
def test_the_card_says_what_training_recorded(kind, request, place):
    folder = request.getfixturevalue(kind)
    card, record = ModelCard.load(folder / "README.md"), record_of(folder)
    (line,) = check_card(card, [record], TEMPLATE.read_text(encoding="utf-8"))
    assert int(re.search(r"\d+", line).group()) > 20
    (result,) = card.data.eval_results
    assert result.metric_value == record["metrics"]["eval_kept_at_20"]
    assert card.data.base_model == BASE and {"reet", "reet-compression"} <= set(card.data.tags)
    assert card.data.library_name == {"tuned": "transformers", "adapter": "peft"}[kind]
    assert ("lora" in card.data.tags) == (kind == "adapter")
    for value in (record["before"]["kept_at_20"], record["metrics"]["eval_kept_at_20"]):
        assert f"{value:.4f}" in card.text
    for name, digest in record["data_fingerprint"].items():
        assert f"| `{name}` |" in card.text and digest in card.text
    assert record["command"] in card.text and "not stated" in card.text
    assert check_model_card(folder, folder)
    (example,) = re.findall(r"```python\n(.*?)```", card.text, flags=re.DOTALL)
    with inside(place):
        done = {}
        exec(compile(example, "README.md", "exec"), done)
    assert 0 < done["result"]["tokens"]["compressed"] <= done["result"]["tokens"]["budget"]


def test_a_model_without_an_id_is_no_base_and_nothing_else_is_named_in_its_place(place):
    folder = tune(place, "fine-tune", "nameless", initial_id="", max_steps=1)
    record = {**record_of(folder), "encoder": "sentence-transformers/all-MiniLM-L6-v2"}  # as that of most has a name
    (folder / "training.json").write_text(json.dumps(record), encoding="utf-8")
    card = build_tuned_card(folder)
    assert record["base"] == "" and card.data.base_model is None
    assert "| the model it was tuned from, before tuning | this model |" in card.text
    assert "MiniLM" not in card.content and "None" not in card.content.partition("## Training data")[0]


def test_a_card_says_that_the_best_pass_was_chosen_on_the_same_conversations(tuned, place):
    last = tune(place, "fine-tune", "last", load_best_model_at_end=False, early_stopping_patience=0, max_steps=1)
    cards = [(folder / "README.md").read_text(encoding="utf-8") for folder in (tuned, last)]
    assert all("Measured on conversations that were not trained on" in card for card in cards)
    assert ["the same on which the best pass was chosen" in card for card in cards] == [True, False]


@pytest.mark.parametrize("kind", ["whole", "adapter"])
def test_the_callback_writes_the_card_in_a_plain_trainer(place, tokenizer, tmp_path, kind):
    model = ReetForCompression.from_pretrained(place / BASE, dtype=torch.float32)
    examples = ScoringDataset({"cities": city_rows(4)}, tokenizer, {"cities": 1.0}, max_tokens=512)
    training = TrainingArguments(
        output_dir=str(tmp_path / "mine"),
        use_cpu=True,
        remove_unused_columns=False,
        per_device_train_batch_size=2,
        prediction_loss_only=True,
        label_names=["relevance_labels"],
        eval_strategy="epoch",
        eval_on_start=True,
        num_train_epochs=2,
        learning_rate=1e-3,
        logging_steps=1,
        report_to="none",
        disable_tqdm=True,
    )
    trainer = Trainer(
        model=add_adapter(model, {"r": 4, "lora_alpha": 8}) if kind == "adapter" else model,
        args=training,
        train_dataset=examples,
        eval_dataset=examples,
        data_collator=ScoringCollator.of(tokenizer, model.config),
        callbacks=[CardCallback()],
    )
    trainer.train()
    trainer.save_model()
    if kind == "adapter":  # peft has changed the card
        write_card(tmp_path / "mine")
    card, record = ModelCard.load(tmp_path / "mine" / "README.md"), record_of(tmp_path / "mine")
    losses = [entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry]
    assert len(losses) == 3 and (record["before"]["loss"], record["metrics"]["eval_loss"]) == (losses[0], losses[-1])
    assert f"| `loss` | {losses[0]:.4f} | {losses[-1]:.4f} |" in card.text and "4 examples of a data set" in card.text
    assert check_card(card, [record], TEMPLATE.read_text(encoding="utf-8"))
    assert card.data.base_model is None and str(tmp_path) not in card.text and "# mine\n" in card.text
    assert (card.data.library_name == "peft") == (kind == "adapter") == ("r: 4" in card.text)
    assert "the run's own evaluation set." in card.text and "not measured" in card.text.partition("## Limits")[2]


def test_scores_of_weights_that_were_trained_on_are_not_told(tokenizer, tmp_path, tiny_model):
    state = TrainerState(log_history=[{"step": 2, "eval_loss": 0.5}, {"step": 3, "loss": 0.4}], global_step=3)
    for best, expected in ((False, {}), (True, {"eval_loss": 0.5})):
        state.best_global_step = 2
        training = TrainingArguments(str(tmp_path), use_cpu=True)
        training.load_best_model_at_end = best
        assert record_of_run(training, state, tiny_model)["metrics"] == expected


def test_the_callback_refuses_a_model_that_does_not_compress(tiny_model, tmp_path):
    training = TrainingArguments(str(tmp_path), use_cpu=True)
    with pytest.raises(ReetError, match="CardCallback needs a model that compresses.*got ReetModel"):
        CardCallback().on_train_begin(training, TrainerState(), TrainerControl(), model=tiny_model.reet)


def test_a_card_with_another_number_is_refused(tuned, tmp_path):
    for name in ("README.md", "training.json"):
        shutil.copy(tuned / name, tmp_path / name)
    card = ModelCard.load(tmp_path / "README.md")
    card.data.eval_results[0].metric_value = 0.98765
    card.save(tmp_path / "README.md")
    with pytest.raises(ReetError, match="0.98765"):
        check_model_card(tmp_path, tmp_path)


# --- adapters


def test_an_adapter_names_its_base_and_holds_the_head(adapter):
    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["base_model_name_or_path"] == BASE and config["modules_to_save"] == ["scorer"]
    assert config["r"] == 8 and config["lora_alpha"] == 16
    own = reet_hf.ReetConfig.from_pretrained(adapter)
    assert own.model_type == "reet" and (adapter / "tokenizer.json").is_file()
    assert not list(adapter.glob("model*.safetensors"))
    assert record_of(adapter)["versions"]["peft"]


def test_adapter_unmerged_loaded_and_merged_agree(adapter, place, tmp_path, capsys):
    from peft import PeftModel

    with inside(place):
        assert command_line(["merge", str(adapter), "--output", str(tmp_path / "whole")]) == 0
        base = ReetForCompression.from_pretrained(BASE, dtype=torch.float32)
        unmerged = PeftModel.from_pretrained(copy.deepcopy(base), str(adapter)).eval()
        loaded = ReetForCompression.from_pretrained(adapter).eval()
        compress = pipeline("reet-compression", model=str(adapter))
    assert capsys.readouterr().out.strip() == str(tmp_path / "whole")
    merged = ReetForCompression.from_pretrained(tmp_path / "whole").eval()
    for (name, one), (_, other) in zip(loaded.named_parameters(), merged.named_parameters(), strict=True):
        assert torch.equal(one, other), name
    with inside(place):  # what an export is made of
        encoder = reet_hf.ReetModel.from_pretrained(adapter, dtype=torch.float32)
    models = (encoder.parameters(), merged.reet.parameters())
    assert all(torch.equal(one, other.float()) for one, other in zip(*models, strict=True))
    ids = torch.arange(5, 25).reshape(2, 10)
    with torch.inference_mode():
        wanted = unmerged.reet(ids, torch.ones_like(ids)).token_states
        found = merged.float().reet(ids, torch.ones_like(ids)).token_states
        before = base.eval().reet(ids, torch.ones_like(ids)).token_states
    assert torch.allclose(found, wanted, atol=5e-3) and not torch.allclose(before, wanted, atol=5e-2)
    whole = pipeline("reet-compression", model=str(tmp_path / "whole"))
    own = pipeline("reet-compression", model=unmerged, tokenizer=AutoTokenizer.from_pretrained(adapter))
    one, other, third = (each(REQUEST, budget=0.5) for each in (compress, whole, own))
    assert one["pieces"] == other["pieces"] and one["text"] == third["text"]
    chances = [[piece["importance"] for piece in out["pieces"]] for out in (one, third)]
    assert np.allclose(*chances, atol=5e-3)
    session = reet_hf.Session(compress)
    session.append(REQUEST["messages"])
    assert session.compress(query=REQUEST["query"], budget=0.5)["text"] == one["text"]


def test_a_merged_model_says_what_it_was_merged_from(adapter, place, tmp_path):
    from reet_hf.hub.merging import merge

    with inside(place):
        merge(str(adapter), tmp_path / "whole")
    record = record_of(tmp_path / "whole")
    assert record["merged"]["base_model_name_or_path"] == BASE and record["merged"]["r"] == 8
    card = ModelCard.load(tmp_path / "whole" / "README.md")
    assert card.data.library_name == "transformers" and "reet merge" in card.text and "lora" not in card.data.tags
    assert check_model_card(tmp_path / "whole", tmp_path / "whole")
    weights = ReetForCompression.from_pretrained(tmp_path / "whole")
    assert weights.dtype == torch.float16 and not hasattr(weights, "peft_config")


def test_windows_are_read_through_unmerged_layers_in_any_precision(adapter, place):
    from peft import PeftModel

    with inside(place):
        base = ReetForCompression.from_pretrained(BASE, dtype=torch.float32)
        unmerged = PeftModel.from_pretrained(base, str(adapter)).eval()
        merged = ReetForCompression.from_pretrained(adapter).float().eval()
    windows = [list(range(2, 12)), list(range(5, 9))]
    for precision, nearness in (("float32", 0.9999), ("bfloat16", 0.99)):
        found, wanted = (PackedEncoder(model.reet, precision).read(windows) for model in (unmerged, merged))
        for one, other in zip(found, wanted, strict=True):
            assert torch.nn.functional.cosine_similarity(one, other, dim=-1).min() > nearness


def test_the_command_line_takes_an_adapter(adapter, place, tmp_path, capsys):
    (tmp_path / "chat.json").write_text(json.dumps(REQUEST))
    with inside(place):
        assert command_line(["compress", str(tmp_path / "chat.json"), "--model", str(adapter), "--budget", "0.5"]) == 0
    assert capsys.readouterr().out.strip()


def test_an_adapter_of_the_bundled_weights_is_loaded_by_id_without_the_network(bundled_adapter, tmp_path):
    """From a cache as the Hub's client lays it out; the base is not in it, but comes with the package."""
    folder = bundled_adapter
    assert record_of(folder)["base"] == "reet/reet-base"
    cache, digest = tmp_path / "hub" / "models--you--bundled", "0" * 40
    shutil.copytree(folder, cache / "snapshots" / digest, ignore=shutil.ignore_patterns("checkpoint-*"))
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text(digest)
    code = (
        "import json, sys\nimport reet_hf\nfrom transformers import pipeline\nfrom reet_hf.cli import main\n"
        "request = json.load(open(sys.argv[1]))\n"
        "print(json.dumps(pipeline('reet-compression', model='you/bundled')(request, budget=0.5)['text']))\n"
        "import os; os.chdir(sys.argv[2])\n"
        "sys.exit(main(['compress', sys.argv[1], '--model', 'you/bundled', '--budget', '0.5']))\n"
    )
    (tmp_path / "chat.json").write_text(json.dumps(REQUEST))
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "chat.json"), str(tmp_path)],
        env={**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    first, rest = done.stdout.split("\n", 1)
    assert json.loads(first) == rest.rstrip("\n")
    with inside(tmp_path):
        own = pipeline("reet-compression", model=str(folder))
        assert own(REQUEST, budget=0.5)["text"] == json.loads(first)


def test_an_adapter_that_cannot_be_loaded_says_why(adapter, place, tmp_path, capsys, monkeypatch):
    other = tmp_path / "other"
    shutil.copytree(adapter, other, ignore=shutil.ignore_patterns("checkpoint-*"))
    config = json.loads((other / "adapter_config.json").read_text(encoding="utf-8"))
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "config.json").write_text('{"model_type": "bert"}')
    narrow = ReetForCompression(ReetForCompression.from_pretrained(place / BASE).config.__class__())
    narrow.save_pretrained(tmp_path / "narrow")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    (tmp_path / "chat.json").write_text(json.dumps(REQUEST))
    for base, words in (("plain", "'bert'"), ("narrow", "does not fit"), ("nobody/nothing", "nobody/nothing")):
        config["base_model_name_or_path"] = str(tmp_path / base) if (tmp_path / base).is_dir() else base
        (other / "adapter_config.json").write_text(json.dumps(config))
        (other / "config.json").unlink(missing_ok=True)
        for argv in (
            ["merge", str(other), "--output", str(tmp_path / "whole")],
            ["compress", str(tmp_path / "chat.json"), "--model", str(other)],
        ):
            assert command_line(argv) == 2
            assert words in capsys.readouterr().err
    with inside(place):
        for model, output, words in (
            (str(adapter), tmp_path / "full", "holds something"),
            (BASE, tmp_path / "whole", "need no merging"),
            ("nobody/nothing", tmp_path / "whole", "nobody/nothing"),
        ):
            assert command_line(["merge", model, "--output", str(output)]) == 2
            assert words in capsys.readouterr().err
        monkeypatch.setitem(sys.modules, "peft", None)
        assert command_line(["merge", str(adapter), "--output", str(tmp_path / "whole")]) == 2
        assert 'pip install "reet-hf[train]"' in capsys.readouterr().err
        with pytest.raises(ImportError, match=re.escape('pip install "reet-hf[train]"')):
            ReetForCompression.from_pretrained(adapter)
    with pytest.raises(ReetError, match=re.escape('pip install "reet-hf[train]"')):
        tune(place, "fine-tune-lora", "refused")
    assert not (tmp_path / "whole").exists()


def test_ids_stand_for_the_bundled_folder_and_other_folders_have_none(tmp_path, bundled, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert checkpoints.local_folder("reet/reet-base") == bundled
    assert checkpoints.bundled_model("you/reet-base") == "you/reet-base"
    assert checkpoints.public_id("reet/reet-base") == checkpoints.public_id(str(bundled)) == "reet/reet-base"
    assert checkpoints.public_id("you/model") == "you/model"
    (tmp_path / "reet-base").mkdir()
    assert checkpoints.public_id("reet-base") == checkpoints.public_id(str(tmp_path)) == ""


# --- resuming, watching, several processes


def test_a_resumed_adapter_ends_like_one_that_was_not_interrupted(place):
    options = {"save_steps": 3, "save_strategy": "steps", "eval_strategy": "no", "load_best_model_at_end": False}
    options |= {"early_stopping_patience": 0, "logging_steps": 1, "max_steps": 6, "save_total_limit": 3}
    whole = tune(place, "fine-tune-lora", "whole", **options)
    again = tune(place, "fine-tune-lora", "again", resume_from_checkpoint="whole/checkpoint-3", **options)
    first, second = (record_of(folder) for folder in (whole, again))
    curves = [[entry["loss"] for entry in record["log"]] for record in (first, second)]
    assert curves[1] == pytest.approx(curves[0], abs=1e-4) and len(curves[0]) == 6
    assert first["before"]["loss"] == second["before"]["loss"]
    assert "OUTPUT/checkpoint-3" in second["command"]


def test_training_ends_early_and_leaves_the_best_weights(place):
    """The tiny model keeps every answer from the start, so that nothing is better than the first evaluation."""
    options = {"learning_rate": 1e-3, "head_learning_rate": 5e-3, "num_train_epochs": 8, "early_stopping_patience": 1}
    options |= {"metric_for_best_model": "kept_at_20", "greater_is_better": True}
    record = record_of(tune(place, "fine-tune", "stopped", **options))
    measured = [entry for entry in record["log"] if "eval_loss" in entry]
    assert {entry["eval_kept_at_20"] for entry in measured} == {1.0}
    first, second = (entry["eval_loss"] for entry in measured)  # one more than its patience
    assert second < first and record["metrics"]["eval_loss"] == pytest.approx(first, abs=1e-5)


def test_a_tracker_gets_losses_and_evaluations(place, monkeypatch):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(place / "watched" / "runs"))
    tune(place, "fine-tune", "watched", report_to="tensorboard", logging_steps=1, max_steps=2)
    events = EventAccumulator(str(next((place / "watched" / "runs").rglob("events*")).parent)).Reload()
    assert {"train/loss", "eval/kept_at_20"} <= set(events.Tags()["scalars"])


def test_trackers_that_are_missing_are_named(monkeypatch):
    monkeypatch.setattr("reet_hf.training.tracking.find_spec", lambda name: None)
    check_trackers(["mlflow", "none"])
    check_trackers(None)
    with pytest.raises(ReetError, match="pip install wandb"):
        check_trackers("wandb")


def test_a_frozen_encoder_leaves_the_other_head_as_it_was(place):
    folder = tune(place, "fine-tune", "frozen", frozen=["reet."], learning_rate=1e-3, head_learning_rate=5e-3)
    before, after = (ReetForCompression.from_pretrained(each, dtype=torch.float32) for each in (place / BASE, folder))
    models = (before.reet.parameters(), after.reet.parameters())
    assert all(torch.equal(one.half().float(), other) for one, other in zip(*models, strict=True))
    assert not torch.equal(before.scorer.key.weight, after.scorer.key.weight)


def test_two_processes_train_one_adapter(place, free_port):
    command = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "2", "--cpu"]
    argv = [str(RECIPES / "fine-tune-lora.yaml"), "--data", "talks", "--initial", BASE, "--initial_id", BASE]
    argv += ["--max_steps", "2", "--output_dir", "two", "--disable_tqdm", "true"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_PORT": free_port}
    environment.pop("WORLD_SIZE", None)
    done = subprocess.run(
        [*command, "--main_process_port", free_port, str(ROOT / "train" / "train_scorer.py"), *argv],
        env=environment,
        cwd=place,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    record = record_of(place / "two")
    assert record["processes"] == 2 and record["before"] and (place / "two" / "README.md").is_file()


def test_a_log_is_thinned_and_keeps_its_end():
    history = [{"step": step, "loss": 1 / step, "epoch": 1, "grad_norm": 2} for step in range(1, 1001)]
    history += [{"step": 1000, "eval_loss": 0.5, "eval_runtime": 3}]
    log = saving.run_log(history)
    assert len(log) <= 26 and log[-2]["step"] == log[-1]["step"] == 1000 and "grad_norm" not in log[0]


def test_a_published_card_loads_the_model_by_its_id(bundled_adapter, tmp_path):
    told = {"repo_id": "you/chats", "tag": "v1", "branch": "main", "private": False, "dry_run": True}
    run_publish(SimpleNamespace(folder=bundled_adapter, output=tmp_path / "kept", **told), os.environ)
    card = (tmp_path / "kept" / "README.md").read_text(encoding="utf-8")
    assert 'model="you/chats"' in card and 'model="bundled"' not in card
    assert "# chats\n" in card and "- name: chats\n" in card
    own = bundled_adapter / "README.md"
    assert 'model="bundled"' in own.read_text(encoding="utf-8")
    changed = tmp_path / "changed"
    shutil.copytree(bundled_adapter, changed)
    (changed / "README.md").write_text("---\nlicense: mit\n---\n\nMine.\n", encoding="utf-8")
    address_card(changed, changed, "you/chats")
    assert (changed / "README.md").read_text(encoding="utf-8").endswith("Mine.\n")
