"""Train the turn-aware scorer: accelerate launch train/train_scorer.py train/recipes/reet-base.yaml --data FOLDER"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModel, AutoTokenizer, set_seed

from reet_hf import ReetConfig, ReetError, ReetForCompression
from reet_hf.scoring.collator import ScoringCollator
from reet_hf.training.arguments import ScorerArguments, read_recipe
from reet_hf.training.dataset import VARIATION, ScoringDataset, fingerprint, read_files
from reet_hf.training.distillation import keep_layers
from reet_hf.training.launch import run_script
from reet_hf.training.metrics import scoring_metrics
from reet_hf.training.projection import start_from_components
from reet_hf.training.saving import save_run
from reet_hf.training.trainer import ScoringTrainer

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


def main(argv: list[str]) -> None:
    """Parse, read data, build, train, evaluate, save."""
    arguments, training = read_recipe(argv)
    if arguments.initial and not (Path(arguments.initial) / "training.json").is_file():
        sys.exit(f"`initial` must be a finished run with training.json, got {arguments.initial!r}.")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    set_seed(training.seed)
    tokenizer = AutoTokenizer.from_pretrained(arguments.encoder)
    model = build_model(arguments)
    files = read_files(arguments.data, sorted({*arguments.mixture, *arguments.evaluation}))
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
        model=model,
        args=training,
        train_dataset=examples,
        eval_dataset=ScoringDataset(files, tokenizer, arguments.evaluation, vary=False, **limits),
        data_collator=collator,
        processing_class=tokenizer,
        compute_metrics=scoring_metrics,
        head_learning_rate=arguments.head_learning_rate,
        teacher=teacher,
        distillation=arguments.distillation,
    )
    result = trainer.train(resume_from_checkpoint=training.resume_from_checkpoint)
    metrics = {**result.metrics, **trainer.evaluate()}
    if trainer.is_world_process_zero():
        other = arguments.teacher if arguments.teacher != arguments.initial else ""
        sources = {"initial": arguments.initial, "teacher": other}
        prints = fingerprint(arguments.data, list(arguments.mixture))
        save_run(trainer, tokenizer, arguments, metrics, prints, sources)
        print(json.dumps(metrics, indent=2))
    missed = {name: metrics.get(name) for name, floor in arguments.expect.items() if not metrics.get(name, 0) >= floor}
    if missed:
        sys.exit(f"The run missed what its recipe expects: {missed}, expected {arguments.expect}.")


if __name__ == "__main__":
    run_script(main, os.environ)
