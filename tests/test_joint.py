"""Extractor and joint training end to end on a tiny encoder, in one process and in two."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from conftest import ROOT, SIZES, city_rows, in_two_processes
from test_extraction import city_texts

from reet_hf import ReetForCompression, ReetForEntityExtraction
from reet_hf.errors import ReetError
from reet_hf.extraction.examples import ExtractionCollator
from reet_hf.scoring.collator import ScoringCollator
from reet_hf.training.dataset import ScoringDataset
from reet_hf.training.extraction import ExtractionDataset
from reet_hf.training.joint import JointCollator, JointDataset
from train import train_extractor, train_reet, train_scorer

HEAD = {"extraction_dim": 32, "span_dim": 8, "entity_words": 4, "fact_words": 6}
COMMON = {
    "learning_rate": 1e-3,
    "head_learning_rate": 5e-3,
    "per_device_train_batch_size": 2,
    "max_steps": 6,
    "logging_steps": 1,
    "report_to": "none",
    "use_cpu": True,
    "disable_tqdm": True,
    "seed": 3,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("joint-data")
    tables = {
        "cities-train": city_rows(12),
        "cities-dev": city_rows(4),
        "redocred-train": city_texts(30, 0),
        "btc-train": city_texts(12, 1),
    }
    for name, rows in tables.items():
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{name}.parquet")
    return folder


def command(folder: Path, script: str, **options) -> list[str]:
    """The command line of a training run that ends in `folder / script`."""
    file = folder / f"{script}.yaml"
    file.write_text(yaml.safe_dump({**COMMON, "output_dir": str(folder / script), **options}))
    return [f"train/{script}.py", str(file)]


@pytest.fixture(scope="module")
def trained(data, encoder, tmp_path_factory) -> Path:
    """A folder with a trained scorer and a trained extractor that started from its encoder."""
    folder = tmp_path_factory.mktemp("joint-run")
    with pytest.MonkeyPatch.context() as patch:
        cities = {"mixture": {"cities-train": 1}, "evaluation": {"cities-dev": 1}, "model": SIZES}
        patch.setattr("sys.argv", command(folder, "train_scorer", encoder=str(encoder), data=str(data), **cities))
        train_scorer.main(sys.argv[1:])
        options = {"mixture": {"redocred-train": 1}, "evaluation": ["redocred-train-held"], "model": HEAD}
        options |= {"data": str(data), "initial": str(folder / "train_scorer"), "frozen": ["reet."], "pack_tokens": 64}
        patch.setattr("sys.argv", command(folder, "train_extractor", **options))
        train_extractor.main(sys.argv[1:])
    return folder


def joint(folder: Path, trained: Path, data: Path, **options) -> list[str]:
    settings = {
        "mixture": {"cities-train": 2},
        "evaluation": {"cities-dev": 1},
        "extraction_mixture": {"redocred-train": 1, "btc-train": 1},
        "extraction_evaluation": ["redocred-train-held"],
        "data": str(data),
        "extraction_data": str(data),
        "initial": str(trained / "train_scorer"),
        "extractor": str(trained / "train_extractor"),
        "model": HEAD,
        **options,
    }
    return command(folder, "train_reet", **settings)


def test_a_frozen_encoder_is_the_scorers_still(trained):
    scorer = ReetForCompression.from_pretrained(trained / "train_scorer")
    extractor = ReetForEntityExtraction.from_pretrained(trained / "train_extractor")
    for name, weight in scorer.reet.state_dict().items():
        assert torch.equal(weight, extractor.reet.state_dict()[name]), name
    record = json.loads((trained / "train_extractor" / "training.json").read_text())
    assert record["initial"]["recipe"]["mixture"] == {"cities-train": 1}
    assert 0 <= record["metrics"]["eval_redocred-train-held_entity_f1"] <= 1


def test_both_heads_learn_from_where_they_were_and_the_record_tells_of_both(trained, data, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", joint(tmp_path, trained, data, max_steps=12, save_steps=12))
    train_reet.main(sys.argv[1:])
    folder = tmp_path / "train_reet"
    model = ReetForCompression.from_pretrained(folder)
    before = ReetForEntityExtraction.from_pretrained(trained / "train_extractor")
    assert model.config.extraction
    moved = {
        name.partition(".")[0]
        for name, weight in before.state_dict().items()
        if (weight != model.state_dict()[name]).any()
    }
    assert moved == {"reet", "extractor"}
    record = json.loads((folder / "training.json").read_text())
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "was trained with it, on the marked texts above" in card and "was not trained further" not in card
    assert all(f"| `{name}` |" in card and digest in card for name, digest in record["data_fingerprint"].items())
    assert f"{record['metrics']['eval_kept_at_20']:.4f}" in card
    assert set(record["data_fingerprint"]) == {"cities-train", "redocred-train", "btc-train"}
    assert record["initial"]["steps"] == record["extractor"]["steps"] == 6
    assert {"eval_kept_at_20", "eval_redocred-train-held_entity_f1"} <= set(record["metrics"])
    assert str(data) not in json.dumps(record) and str(tmp_path) not in json.dumps(record)
    state = json.loads((folder / "checkpoint-12" / "trainer_state.json").read_text())
    curve = [entry["loss"] for entry in state["log_history"] if "loss" in entry]
    assert sum(curve[-3:]) < sum(curve[:3])


def test_a_head_alone_learns_further_and_everything_else_is_as_it_was(trained, data, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", joint(tmp_path, trained, data, max_steps=1))
    train_reet.main(sys.argv[1:])
    options = {"mixture": {"redocred-train": 1}, "evaluation": ["redocred-train-held"], "data": str(data)}
    options |= {"initial": str(tmp_path / "train_reet"), "further": True, "dropout": 0.4, "pack_tokens": 64}
    monkeypatch.setattr("sys.argv", command(tmp_path, "train_extractor", **options))
    train_extractor.main(sys.argv[1:])
    before, after = (ReetForCompression.from_pretrained(tmp_path / name) for name in ("train_reet", "train_extractor"))
    changed = {name for name, weight in before.state_dict().items() if (weight != after.state_dict()[name]).any()}
    assert changed and {name.partition(".")[0] for name in changed} == {"extractor"}
    configs = [{**model.config.to_dict(), "_name_or_path": ""} for model in (before, after)]
    assert configs[0] == configs[1]
    record = json.loads((tmp_path / "train_extractor" / "training.json").read_text())
    assert record["recipe"]["dropout"] == 0.4 and record["initial"]["extractor"]["steps"] == 6


@pytest.mark.parametrize("change", [{}, {"model": {"span_dim": 16}}])
def test_a_head_that_is_not_there_or_another_one_learns_no_further(trained, data, tmp_path, monkeypatch, change):
    options = {"mixture": {"redocred-train": 1}, "data": str(data), "further": True, **change}
    options["initial"] = str(trained / ("train_extractor" if change else "train_scorer"))
    monkeypatch.setattr("sys.argv", command(tmp_path, "train_extractor", **options))
    with pytest.raises(ReetError, match="`further` must be given"):
        train_extractor.main(sys.argv[1:])


def test_two_processes_train_both_heads(trained, data, tmp_path, free_port):
    argv = joint(tmp_path, trained, data, max_steps=2, gradient_accumulation_steps=2)
    argv[0] = str(ROOT / argv[0])
    command, environment = in_two_processes(free_port, *argv)
    done = subprocess.run(
        command, env={**environment, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "train_reet" / "training.json").read_text())["processes"] == 2


def test_a_joint_example_has_a_conversation_and_about_all_windows_are_seen(tokenizer, tiny_model):
    rows = {"cities-train": city_rows(6)}
    scoring = ScoringDataset(rows, tokenizer, {"cities-train": 1})
    texts = {"btc-train": city_texts(40, 2)}
    extraction = ExtractionDataset(texts, tokenizer, {"btc-train": 1}, fact_kinds=["relation", "clause"])
    both = JointDataset(scoring, extraction)
    assert len(both) == 6 and len(extraction) <= 6
    seen = [window for number in range(len(both)) for window in both[number][1]]
    assert {window.ids.tobytes() for window in seen} == {window.ids.tobytes() for window in extraction.windows}
    collator = JointCollator(ScoringCollator.of(tokenizer, tiny_model.config), ExtractionCollator(tokenizer))
    batch = collator([both[0], both[1]])
    assert len(batch["token_positions"]) == 2
    assert len(batch["extraction"]["input_ids"]) == len(both[0][1]) + len(both[1][1])
    assert set(collator([scoring[0]])) == set(batch) - {"extraction"}
