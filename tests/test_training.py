"""Training end to end on a tiny encoder: recipe, seed, resume, two processes, what is written."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from conftest import ROOT, SIZES, city_rows
from transformers import TrainingArguments

from reet_hf import ReetError, ReetForCompression
from reet_hf.scoring.collator import ScoringCollator
from reet_hf.scoring.labels import prior_targets
from reet_hf.training.arguments import parse_options, read_recipe
from reet_hf.training.dataset import ScoringDataset, read_files
from reet_hf.training.launch import launched_processes, published_command, without_places
from reet_hf.training.metrics import kept_evidence
from reet_hf.training.projection import start_from_components
from train.train_scorer import build_model, main


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    pq.write_table(pa.Table.from_pylist(city_rows(12)), folder / "cities-train.parquet")
    pq.write_table(pa.Table.from_pylist(city_rows(4)), folder / "cities-dev.parquet")
    pq.write_table(pa.Table.from_pylist(city_rows(2, "research use only")), folder / "closed-train.parquet")
    return folder


@pytest.fixture
def recipe(tmp_path, encoder):
    """Writes a recipe and returns the command line that trains it."""

    def write(**options) -> list[str]:
        settings = {
            "encoder": str(encoder),
            "mixture": {"cities-train": 1},
            "evaluation": {"cities-dev": 1},
            "model": {**SIZES, "entity_gate": True},
            "learning_rate": 1e-3,
            "head_learning_rate": 5e-3,
            "per_device_train_batch_size": 2,
            "max_steps": 8,
            "logging_steps": 1,
            "report_to": "none",
            "use_cpu": True,
            "disable_tqdm": True,
            "seed": 3,
            "output_dir": str(tmp_path / "run"),
            **options,
        }
        file = tmp_path / f"recipe-{len(list(tmp_path.iterdir()))}.yaml"
        file.write_text(yaml.safe_dump(settings))
        return [str(file)]

    return write


def train(argv: list[str], monkeypatch, data: Path) -> None:
    argv = [*argv, "--data", str(data)]
    monkeypatch.setattr("sys.argv", ["train_scorer.py", *argv])
    main(argv)


def losses(folder: Path) -> list[float]:
    """Training losses of a run, from the state of its last checkpoint."""
    last = max(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    history = json.loads((last / "trainer_state.json").read_text())["log_history"]
    return [entry["loss"] for entry in history if "loss" in entry]


def test_one_seed_gives_one_loss_and_the_run_leaves_a_loadable_model(recipe, data, tmp_path, monkeypatch):
    for name in ("a", "b"):
        train(recipe(output_dir=str(tmp_path / name), save_steps=8), monkeypatch, data)
    assert losses(tmp_path / "a") == losses(tmp_path / "b")
    model = ReetForCompression.from_pretrained(tmp_path / "a")
    assert next(model.parameters()).dtype == torch.float16
    assert not {"pad_token_id", "use_cache"} & set(json.loads((tmp_path / "a" / "config.json").read_text()))
    record = json.loads((tmp_path / "a" / "training.json").read_text())
    assert record["steps"] == 8 and record["seed"] == 3
    assert set(record["data_fingerprint"]) == {"cities-train"}
    assert 0 <= record["metrics"]["eval_kept_at_20"] <= 1
    assert str(tmp_path) not in json.dumps(record["command"])
    assert str(data) not in json.dumps(record)


def test_a_resumed_run_ends_like_one_that_was_not_interrupted(recipe, data, tmp_path, monkeypatch):
    train(recipe(output_dir=str(tmp_path / "whole"), save_steps=4), monkeypatch, data)
    resumed = tmp_path / "whole"
    reference = losses(resumed)
    checkpoint = str(resumed / "checkpoint-4")
    train(
        recipe(output_dir=str(tmp_path / "again"), save_steps=8, resume_from_checkpoint=checkpoint), monkeypatch, data
    )
    assert losses(tmp_path / "again") == pytest.approx(reference, abs=1e-4)


def test_training_learns_and_missing_an_expected_metric_fails(recipe, data, tmp_path, monkeypatch):
    with pytest.raises(SystemExit, match="eval_kept_at_20"):
        train(recipe(max_steps=1, expect={"eval_kept_at_20": 1.1}), monkeypatch, data)
    train(recipe(output_dir=str(tmp_path / "long"), max_steps=40, save_steps=40), monkeypatch, data)
    curve = losses(tmp_path / "long")
    assert sum(curve[-5:]) < 0.8 * sum(curve[:5])


def test_accelerate_starts_two_processes(recipe, data, tmp_path, free_port):
    command = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "2", "--cpu"]
    argv = [*recipe(max_steps=2, output_dir=str(tmp_path / "two")), "--data", str(data)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MASTER_PORT": free_port}
    environment.pop("WORLD_SIZE", None)
    done = subprocess.run(
        [*command, "--main_process_port", free_port, str(ROOT / "train" / "train_scorer.py"), *argv],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads((tmp_path / "two" / "training.json").read_text())["processes"] == 2


def test_number_of_processes_is_read_from_the_launch_command():
    assert launched_processes(["python", "/bin/accelerate", "launch", "--cpu", "--num_processes", "3", "x.py"]) == 3
    assert launched_processes(["accelerate", "launch", "--num-processes=2", "x.py"]) == 2
    assert launched_processes(["bash"]) == 1


def test_published_command_names_no_folder_of_this_machine(tmp_path):
    argv = [f"{tmp_path}/train/train_scorer.py", f"{tmp_path}/toy.yaml", "--data", f"{tmp_path}/data"]
    argv += ["--learning_rate", "1", "--resume_from_checkpoint", f"{tmp_path}/run/checkpoint-30"]
    command = published_command(argv, TrainingArguments(use_cpu=True))
    assert command == (
        "accelerate launch --cpu --num_processes 1 train/train_scorer.py train/recipes/toy.yaml "
        "--data DATA --learning_rate 1 --resume_from_checkpoint OUTPUT/checkpoint-30"
    )


def test_published_command_and_options_hold_no_secret_and_no_path():
    secret, home = "hf_" + "Ab1" * 11, "/ho" + "me/anna"
    argv = ["train/train_scorer.py", "toy.yaml", "--data", "data", "--max_tokens", "512", "--seed", "3"]
    argv += ["--hub_token", secret, "--logging_dir", f"{home}/logs", "--evaluation", f"{{{home}/chats-held: 1}}"]
    argv += ["--deepspeed", f"{home}/zero.json", "--api_key", "k-1", "--run_name", "anna", "--push_to_hub", "true"]
    command = published_command(argv, TrainingArguments(use_cpu=True))
    assert command == (
        "accelerate launch --cpu --num_processes 1 train/train_scorer.py train/recipes/toy.yaml --data DATA "
        "--max_tokens 512 --seed 3 --evaluation '{chats-held: 1}' --deepspeed zero.json"
    )
    told = {
        "evaluation": {f"{home}/a": 1.0},
        "list": [f"{home}/b/", "https://x.org/c/d"],
        "modules": r"x\.(a|b)",
        "n": 2,
    }
    kept = {"evaluation": {"a": 1.0}, "list": ["b/", "https://x.org/c/d"], "modules": r"x\.(a|b)", "n": 2}
    assert without_places(told) == kept


def test_rows_for_research_only_are_refused(data):
    with pytest.raises(ReetError, match="research use only"):
        read_files(data, ["closed-train"])
    with pytest.raises(ReetError, match="cities-train"):
        read_files(data, ["absent"])


def test_recipes_in_the_repository_are_valid(data):
    for name in ("reet-base", "reet-base-2", "toy"):
        file = ROOT / "train" / "recipes" / f"{name}.yaml"
        scorer, training = read_recipe([str(file), "--data", str(data), "--learning_rate", "1.0e-5"])
        assert scorer.mixture and scorer.evaluation and training.learning_rate == 1e-5
        assert "dialogre" not in str(scorer.mixture)
    assert read_recipe([str(ROOT / "train/recipes/toy.yaml"), "--data", "x"])[0].expect


def test_numbers_may_be_written_with_an_exponent(data):
    argv = [str(ROOT / "train/recipes/toy.yaml"), "--data", str(data)]
    scorer, training = read_recipe([*argv, "--head_learning_rate", "1e-3", "--learning_rate", "6e-5"])
    assert scorer.head_learning_rate == 1e-3 and training.learning_rate == 6e-5
    assert parse_options({"learning_rate": "1e-4", "output_dir": "x"})[1].learning_rate == 1e-4


@pytest.mark.parametrize(
    ("argv", "words"),
    [([], "recipe"), (["R"], "--data"), (["R", "--data"], "pairs"), (["R", "--data", "x", "--lr", "1"], "lr")],
)
def test_wrong_command_lines_are_refused(recipe, argv, words):
    argv = [recipe()[0] if word == "R" else word for word in argv]
    with pytest.raises(ValueError, match=re.escape(words)):
        read_recipe(argv)


def test_long_contexts_are_cut_around_evidence(data, tokenizer):
    files = read_files(data, ["cities-train"])
    dataset = ScoringDataset(files, tokenizer, {"cities-train": 1.5}, max_tokens=60, max_questions=3, seed=1)
    assert len(dataset) == 18
    for number in range(len(dataset)):
        shown = dataset[number]
        assert len(shown.table) <= 60 and 0 < len(shown.queries) <= 3
        assert shown.relevance.shape == (len(shown.queries), len(shown.table))
        assert any(row.any() for row in shown.relevance)
    again = ScoringDataset(files, tokenizer, {"cities-train": 1.5}, max_tokens=60, max_questions=3, seed=1)
    assert [again[n].queries for n in range(18)] == [dataset[n].queries for n in range(18)]


def test_fixed_parameters_keep_their_value_through_training(recipe, data, tmp_path, monkeypatch):
    fixed = {"entity_gate": 0, "unit_mix.weight": 0, "sharpness": 12}
    train(recipe(fixed=fixed, max_steps=3), monkeypatch, data)
    head = ReetForCompression.from_pretrained(tmp_path / "run").scorer
    assert head.entity_gate.item() == 0 and not head.unit_mix.weight.any() and head.sharpness.item() == 12
    assert head.token_out.bias.item() != -1
    with pytest.raises(ReetError, match="no_such_weight"):
        train(recipe(fixed={"no_such_weight": 0}, max_steps=1), monkeypatch, data)


def test_loss_weights_and_labels_of_the_recipe_are_trained_with(recipe, data, tmp_path, monkeypatch):
    curves = []
    for options in ({}, {"labels": "single"}, {"losses": {"token": 0, "ranking": 0, "prior": 0}}):
        folder = tmp_path / f"run-{len(curves)}"
        train(recipe(max_steps=2, save_steps=2, output_dir=str(folder), **options), monkeypatch, data)
        curves.append(losses(folder))
    multi, single, nothing = curves
    assert nothing == [0, 0] and min(multi) > 0
    assert single != multi


@pytest.mark.parametrize(
    ("options", "words"),
    [({"labels": "some"}, "multi, single"), ({"projection_init": "svd"}, "pca"), ({"losses": {"kl": 1}}, "kl")],
)
def test_choices_that_do_not_exist_are_refused(recipe, data, options, words):
    with pytest.raises(ReetError, match=words):
        read_recipe([*recipe(**options), "--data", str(data)])


def test_single_labels_know_one_question_of_a_context(data, tokenizer):
    files = read_files(data, ["cities-train"])
    asked = {}
    for labels in ("multi", "single"):
        dataset = ScoringDataset(files, tokenizer, {"cities-train": 1}, labels=labels, seed=4)
        asked[labels] = [dataset[number] for number in range(len(dataset))]
    assert {len(shown.queries) for shown in asked["multi"]} == {5}
    for shown, alone in zip(asked["multi"], asked["single"], strict=True):
        assert len(alone.queries) == 1 and set(alone.queries) <= set(shown.queries)
        assert np.array_equal(alone.prior, prior_targets(alone.relevance))
        assert alone.prior.sum() < shown.prior.sum()
    assert len({alone.queries[0] for alone in asked["single"]}) > 1


def test_mixed_contexts_hold_the_questions_of_both_and_the_evidence_of_each(data, tokenizer):
    files = read_files(data, ["cities-train"])
    plain, mixed = (
        ScoringDataset(files, tokenizer, {"cities-train": 1}, max_tokens=400, max_questions=20, seed=4, mixed=chance)
        for chance in (0.0, 1.0)
    )
    for number in range(len(plain)):
        alone, both = plain[number], mixed[number]
        assert len(both.queries) == 2 * len(alone.queries) and both.relevance.shape == (10, len(both.table))
        assert len(both.table) <= 400 and (np.diff(both.table.units) >= 0).all() and (np.diff(both.ages) <= 0).all()
        for row in both.relevance:
            messages = set(both.table.messages[row > 0].tolist())
            assert len(messages) == 1
        assert (both.prior > 0).sum() == sum((row > 0).sum() for row in both.relevance)
    whole = ScoringDataset(files, tokenizer, {"cities-train": 1}, seed=4)
    assert [whole[n].queries for n in range(12)] == [plain[n].queries for n in range(12)]


def test_a_projection_begins_at_the_directions_that_keep_the_states(recipe, data, tokenizer):
    """Kept: the share of the states' squared length; a random projection of 4 of 32 keeps about an eighth."""
    shown = ScoringDataset(read_files(data, ["cities-train"]), tokenizer, {"cities-train": 1})
    collator = ScoringCollator(tokenizer, window_tokens=32, query_tokens=24)
    arguments = read_recipe(
        [*recipe(model={"window_tokens": 32, "history_tokens": 0, "projection_dim": 4}), "--data", str(data)]
    )[0]
    model = build_model(arguments)
    start_from_components(model, shown, collator)
    batch = collator([shown[3]])
    with torch.no_grad():
        states = model.reet.encoder(batch["input_ids"], batch["attention_mask"]).last_hidden_state[0]
        projected = model.reet.projection(states)
    weight = model.reet.projection.weight
    assert torch.allclose(weight @ weight.T, torch.eye(4), atol=1e-5)
    assert projected.square().sum() > 0.5 * states.square().sum()
    norms = projected.square().sum(0)
    assert norms[0] == norms.max()


def test_a_projection_needs_a_width(recipe, data, monkeypatch):
    with pytest.raises(ReetError, match="projection_dim"):
        train(recipe(projection_init="pca", max_steps=1), monkeypatch, data)


def test_kept_evidence_takes_the_best_sentences_first():
    units = torch.tensor([[0] * 2 + [1] * 2 + [2] * 2 + [3] * 2 + [4] * 2])
    relevance = torch.zeros(1, 2, 10)
    relevance[0, :, 4] = 1.0
    importance = torch.zeros(1, 2, 10)
    importance[0, 0, 4:6] = 5.0
    importance[0, 1, 0:2] = 5.0
    assert kept_evidence(importance, relevance, units).tolist() == [[1.0, 0.0]]
    assert kept_evidence(importance, torch.zeros(1, 2, 10), units).tolist() == [[-1.0, -1.0]]
    importance[0, 1, 4:6] = 4.0
    assert kept_evidence(importance, relevance, units, 0.4).tolist() == [[1.0, 1.0]]
    assert kept_evidence(importance, relevance, units, 0.1).tolist() == [[0.0, 0.0]]
