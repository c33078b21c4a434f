"""Train the turn-aware scorer: accelerate launch train/train_scorer.py train/recipes/reet-base.yaml --data FOLDER

It tunes a trained one on your own conversations as well: train/recipes/fine-tune.yaml, see docs/how-to/fine-tune.md.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModel, AutoTokenizer, TrainingArguments, set_seed

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a launched script finds `train` there

from reet_hf import ReetConfig, ReetError, ReetForCompression
from reet_hf.modeling.checkpoints import local_folder, public_id
from reet_hf.scoring.collator import ScoringCollator
from reet_hf.training.adapters import add_adapter
from reet_hf.training.arguments import FineTuningArguments, ScorerArguments, read_recipe, set_options
from reet_hf.training.cards import CardCallback
from reet_hf.training.dataset import (
    VARIATION,
    Rows,
    ScoringDataset,
    data_files,
    fingerprint,
    read_files,
    split_conversations,
)
from reet_hf.training.distillation import keep_layers
from reet_hf.training.launch import run_script
from reet_hf.training.metrics import scoring_metrics
from reet_hf.training.projection import start_from_components
from reet_hf.training.saving import run_log, save_run, told_of_files
from reet_hf.training.tracking import check_trackers, early_stopping
from reet_hf.training.trainer import ScoringTrainer
from train.data.own import own_row

DROPOUTS = (  # what encoders call theirs
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "attention_dropout",
    "embedding_dropout",
    "mlp_dropout",
)


def build_model(arguments: ScorerArguments) -> ReetForCompression:
    """A model whose encoder is the pretrained one and whose head is new, or the one to go on from."""
    if arguments.initial:
        model = ReetForCompression.from_pretrained(arguments.initial, dtype=torch.float32, **arguments.model)
        if arguments.layers:
            model = keep_layers(model, arguments.layers)
    else:
        encoder_config = AutoConfig.from_pretrained(arguments.encoder)
        for name in DROPOUTS:
            if hasattr(encoder_config, name):
                setattr(encoder_config, name, arguments.encoder_dropout)
        if Path(arguments.encoder).exists():  # no folder of this machine in what is published
            encoder_config.name_or_path = Path(arguments.encoder).name
        model = ReetForCompression(ReetConfig(encoder_config=encoder_config, **arguments.model))
        pretrained = AutoModel.from_pretrained(arguments.encoder, dtype=torch.float32)
        wanted = model.reet.encoder.state_dict()
        model.reet.encoder.load_state_dict({k: v for k, v in pretrained.state_dict().items() if k in wanted})
    model.loss_weights |= arguments.losses
    for name, parameter in model.named_parameters():
        parameter.requires_grad = not any(part in name for part in arguments.frozen)
    for ending, value in arguments.fixed.items():
        hold(model, ending, value)
    return model


def hold(model: ReetForCompression, ending: str, value: float) -> None:
    """Give every parameter whose name ends with `ending` this value in all places and train it no more.

    Raises:
        ReetError: If there is no such parameter.
    """
    held = [parameter for name, parameter in model.named_parameters() if name.endswith(ending)]
    if not held:
        raise ReetError(f"`fixed` must name parameters by the ends of their names, got {ending!r}; see the model's.")
    for parameter in held:
        torch.nn.init.constant_(parameter, value)
        parameter.requires_grad = False


def resolved(arguments: FineTuningArguments) -> tuple[FineTuningArguments, str]:
    """The arguments with the folder of `initial`, and its Hub id or else the encoder's; empty for a folder without one.

    Raises:
        ReetError: If `initial` cannot be found or is no finished run, or an adapter would have no base to name.
    """
    if not arguments.initial:
        return arguments, public_id(arguments.encoder)
    try:
        folder = local_folder(arguments.initial)
    except (OSError, ValueError) as error:  # an id that is none, or nothing under it
        raise ReetError(f"`initial` must be a folder or a Hub id, got {arguments.initial!r}: {error}") from error
    if not (folder / "training.json").is_file():
        raise ReetError(f"`initial` must be a finished run with training.json, got {arguments.initial!r}.")
    base = arguments.initial_id or public_id(arguments.initial)
    if arguments.lora and not base:
        raise ReetError(
            f"`lora` needs the Hub id of `initial`, which an adapter names as its base, got the folder "
            f"{arguments.initial!r}; add --initial_id YOU/NAME, under which you publish it."
        )
    return replace(arguments, initial=str(folder)), base


def read_data(
    arguments: FineTuningArguments, training: TrainingArguments
) -> tuple[FineTuningArguments, dict[str, Rows]]:
    """The arguments with every file that is trained and evaluated on, and the rows of each.

    Raises:
        ReetError: If there is no data, or a row breaks a rule.
    """
    mixture = arguments.mixture or dict.fromkeys(set(data_files(arguments.data)) - set(arguments.evaluation), 1.0)
    if not mixture:
        raise ReetError(f"`data` must hold .parquet or .jsonl files to train on, got none in {arguments.data}.")
    mixture = dict(sorted(mixture.items())) if not arguments.mixture else mixture
    names = sorted({*mixture, *arguments.evaluation})
    files = read_files(arguments.data, names, arguments.licenses, own_row)
    evaluation, strategy = arguments.evaluation, training.eval_strategy
    if arguments.held_out and not evaluation:
        files = split_conversations({name: files[name] for name in mixture}, arguments.held_out, training.seed)
        evaluation = {f"{name}-held": 1.0 for name in mixture}
    if not evaluation and strategy != "no":
        raise ReetError(f"`eval_strategy` {strategy} needs conversations that are not trained on; add --held_out 0.15.")
    return replace(arguments, mixture=mixture, evaluation=evaluation), files


def main(argv: list[str]) -> None:
    """Parse, read data, build, train, evaluate, save."""
    given, training = read_recipe(argv, FineTuningArguments)
    arguments, base = resolved(given)
    check_trackers(training.report_to)
    stopping = early_stopping(training, arguments.early_stopping_patience)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    set_seed(training.seed)
    tokenizer = AutoTokenizer.from_pretrained(arguments.initial or arguments.encoder)
    arguments, files = read_data(arguments, training)
    model = build_model(arguments)
    limits: dict[str, Any] = {
        "max_tokens": arguments.max_tokens,
        "max_questions": arguments.max_questions,
        "seed": training.seed,
    }
    examples = ScoringDataset(
        files, tokenizer, arguments.mixture, **{name: getattr(arguments, name) for name in VARIATION}, **limits
    )
    collator = ScoringCollator.of(tokenizer, model.config)
    if arguments.projection_init == "pca" and not arguments.initial:
        start_from_components(model, examples, collator)
    teacher = ReetForCompression.from_pretrained(arguments.teacher, dtype=torch.float32) if arguments.teacher else None
    trainer = ScoringTrainer(
        model=add_adapter(model, arguments.lora) if arguments.lora else model,
        args=training,
        train_dataset=examples,
        eval_dataset=ScoringDataset(files, tokenizer, arguments.evaluation, vary=False, **limits),
        data_collator=collator,
        processing_class=tokenizer,
        compute_metrics=scoring_metrics,
        callbacks=[CardCallback()],
        head_learning_rate=arguments.head_learning_rate,
        teacher=teacher,
        distillation=arguments.distillation,
    )
    before = trainer.evaluate(metric_key_prefix="before") if arguments.initial and arguments.evaluation else {}
    for callback in stopping:
        trainer.add_callback(callback)
    started = time.process_time()
    result = trainer.train(resume_from_checkpoint=training.resume_from_checkpoint)
    spent = time.process_time() - started
    log = run_log(trainer.state.log_history)  # before the evaluation of what is saved, which may be of an earlier step
    metrics = {**result.metrics, **(trainer.evaluate() if arguments.evaluation else {})}
    if trainer.is_world_process_zero():
        other = arguments.teacher if arguments.teacher != arguments.initial else ""
        sources = {"initial": arguments.initial, "teacher": other}
        prints = fingerprint(arguments.data, list(arguments.mixture))
        told = {
            "base": base,
            "cpu_seconds": round(spent, 1),
            "files": told_of_files(files, list(arguments.mixture)),
            "before": {name.removeprefix("before_"): value for name, value in before.items()},
            "options": set_options(argv, TrainingArguments),
            "log": log,
        }
        save_run(trainer, tokenizer, arguments, metrics, prints, sources, told)
        print(json.dumps({**before, **metrics}, indent=2))
    missed = {name: metrics.get(name) for name, floor in arguments.expect.items() if not metrics.get(name, 0) >= floor}
    if missed:
        sys.exit(f"The run missed what its recipe expects: {missed}, expected {arguments.expect}.")


if __name__ == "__main__":
    run_script(main, os.environ)
