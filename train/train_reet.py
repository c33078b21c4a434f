"""Train scorer and extractor on one encoder: accelerate launch train/train_reet.py RECIPE.yaml [--name value ...]

Every batch has a conversation with its questions and windows with their entities and facts, and every step follows the
sum of both losses. A recipe says what `JointArguments` do beside `TrainingArguments`; see `train/recipes/`.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, set_seed

from reet_hf import ReetForCompression, ReetForEntityExtraction
from reet_hf.extraction.examples import ExtractionCollator
from reet_hf.modeling.checkpoints import public_id
from reet_hf.scoring.collator import ScoringCollator
from reet_hf.training.arguments import JointArguments, read_recipe
from reet_hf.training.cards import CardCallback
from reet_hf.training.dataset import VARIATION, ScoringDataset, fingerprint, read_files
from reet_hf.training.extraction import ExtractionDataset, extraction_files, extraction_scores
from reet_hf.training.joint import JointCollator, JointDataset
from reet_hf.training.launch import run_script
from reet_hf.training.metrics import scoring_metrics
from reet_hf.training.saving import save_run
from reet_hf.training.trainer import ScoringTrainer


def build_model(arguments: JointArguments) -> ReetForCompression:
    """A trained scorer with an extraction head: that of a trained extractor, or a new one."""
    options = {**arguments.model, "extraction": True}
    model = ReetForCompression.from_pretrained(arguments.initial, dtype=torch.float32, **options)
    if arguments.extractor:
        trained = ReetForEntityExtraction.from_pretrained(arguments.extractor, dtype=torch.float32)
        model.extractor.load_state_dict(trained.extractor.state_dict())
    model.loss_weights |= arguments.losses
    model.extraction_weights |= arguments.extraction_losses
    for name, parameter in model.named_parameters():
        parameter.requires_grad = not any(part in name for part in arguments.frozen)
    return model


def main(argv: list[str]) -> None:
    """Parse, read data, build, train, evaluate, save."""
    arguments, training = read_recipe(argv, JointArguments)
    for name in ("initial", "extractor"):
        folder = getattr(arguments, name)
        if (folder or name == "initial") and not (Path(folder) / "training.json").is_file():
            sys.exit(f"`{name}` must be a finished run with training.json, got {folder!r}.")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    set_seed(training.seed)
    tokenizer = AutoTokenizer.from_pretrained(arguments.initial)
    model = build_model(arguments)
    files = read_files(arguments.data, sorted({*arguments.mixture, *arguments.evaluation}))
    marked = extraction_files(
        arguments.extraction_data, [*arguments.extraction_mixture, *arguments.extraction_evaluation]
    )
    limits: dict[str, Any] = {
        "max_tokens": arguments.max_tokens,
        "max_questions": arguments.max_questions,
        "seed": training.seed,
    }
    conversations = ScoringDataset(
        files, tokenizer, arguments.mixture, **{name: getattr(arguments, name) for name in VARIATION}, **limits
    )
    windows = ExtractionDataset(
        marked,
        tokenizer,
        arguments.extraction_mixture,
        fact_kinds=model.config.fact_kinds or [],
        window_tokens=model.config.window_tokens,
        seed=training.seed,
    )
    trainer = ScoringTrainer(
        model=model,
        args=training,
        train_dataset=JointDataset(conversations, windows),
        eval_dataset=ScoringDataset(files, tokenizer, arguments.evaluation, vary=False, **limits),
        data_collator=JointCollator(ScoringCollator.of(tokenizer, model.config), ExtractionCollator(tokenizer)),
        processing_class=tokenizer,
        compute_metrics=scoring_metrics,
        callbacks=[CardCallback()],
        head_learning_rate=arguments.head_learning_rate,
        extractor_learning_rate=arguments.extractor_learning_rate,
    )
    result = trainer.train(resume_from_checkpoint=training.resume_from_checkpoint)
    metrics = {**result.metrics, **trainer.evaluate()}
    if trainer.is_world_process_zero():
        own = trainer.accelerator.unwrap_model(trainer.model)
        for name in arguments.extraction_evaluation:
            found = extraction_scores(own, tokenizer, marked[name], name, arguments.threshold)
            metrics |= {f"eval_{name}_{key}": value for key, value in found.items()}
        prints = fingerprint(arguments.data, list(arguments.mixture))
        prints |= fingerprint(arguments.extraction_data, list(arguments.extraction_mixture))
        sources = {"initial": arguments.initial, "extractor": arguments.extractor}
        save_run(trainer, tokenizer, arguments, metrics, prints, sources, {"base": public_id(arguments.initial)})
        print(json.dumps(metrics, indent=2))


if __name__ == "__main__":
    run_script(main, os.environ)
