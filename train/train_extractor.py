"""Train the entity–fact extractor: accelerate launch train/train_extractor.py RECIPE.yaml --data FOLDER [--name value]

Beside what `TrainingArguments` have, a recipe says what `ExtractorArguments` do; see `train/recipes/extractor.yaml`.
Precision, recall and F1 of entities and facts on the files of `evaluation` are printed at the end.
"""

from __future__ import annotations

import json
import os

import torch
from transformers import AutoTokenizer, set_seed

from reet_hf import ReetConfig, ReetForCompression, ReetForEntityExtraction
from reet_hf.errors import ReetError
from reet_hf.extraction.examples import ExtractionCollator
from reet_hf.training.arguments import ExtractorArguments, read_recipe
from reet_hf.training.dataset import fingerprint
from reet_hf.training.extraction import ExtractionDataset, extraction_files, extraction_scores
from reet_hf.training.launch import run_script
from reet_hf.training.saving import save_run
from reet_hf.training.trainer import ReetTrainer


def build_model(arguments: ExtractorArguments) -> ReetForEntityExtraction | ReetForCompression:
    """The encoder of a trained REET model with a new extraction head, or the whole model, of which the head is trained.

    Raises:
        ReetError: If a head is to be trained further that is not there, or in another form than it has.
    """
    whole = ReetForCompression.from_pretrained(arguments.initial, dtype=torch.float32)
    model: ReetForEntityExtraction | ReetForCompression = whole
    if arguments.further:
        if not whole.config.extraction or arguments.model:
            raise ReetError(
                "`further` must be given an `initial` with an extraction head and no `model`, got "
                f"{arguments.initial!r} with {arguments.model}; leave `further` out for a new head."
            )
        whole.requires_grad_(False)
        whole.extractor.requires_grad_(True)
    else:
        model = ReetForEntityExtraction(ReetConfig(**{**whole.config.to_dict(), **arguments.model}))
        model.reet.load_state_dict(whole.reet.state_dict())
        for name, parameter in model.named_parameters():
            parameter.requires_grad = not any(part in name for part in arguments.frozen)
    model.extraction_weights |= arguments.losses
    if arguments.dropout is not None:
        model.extractor.dropout.p = arguments.dropout
    return model


def main(argv: list[str]) -> None:
    """Parse, read data, build, train, evaluate, save."""
    arguments, training = read_recipe(argv, ExtractorArguments)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    set_seed(training.seed)
    tokenizer = AutoTokenizer.from_pretrained(arguments.initial)
    model = build_model(arguments)
    files = extraction_files(arguments.data, [*arguments.mixture, *arguments.evaluation])
    examples = ExtractionDataset(
        files,
        tokenizer,
        arguments.mixture,
        fact_kinds=model.config.fact_kinds or [],
        window_tokens=model.config.window_tokens,
        pack_tokens=arguments.pack_tokens,
        seed=training.seed,
    )
    trainer = ReetTrainer(
        model=model,
        args=training,
        train_dataset=examples,
        data_collator=ExtractionCollator(tokenizer),
        processing_class=tokenizer,
        head_learning_rate=arguments.head_learning_rate,
    )
    result = trainer.train(resume_from_checkpoint=training.resume_from_checkpoint)
    if not trainer.is_world_process_zero():
        return
    metrics = dict(result.metrics)
    own = trainer.accelerator.unwrap_model(trainer.model)
    for name in arguments.evaluation:
        found = extraction_scores(own, tokenizer, files[name], name, arguments.threshold)
        metrics |= {f"eval_{name}_{key}": value for key, value in found.items()}
    prints = fingerprint(arguments.data, list(arguments.mixture))
    save_run(trainer, tokenizer, arguments, metrics, prints, {"initial": arguments.initial})
    print(json.dumps(metrics, indent=2))


if __name__ == "__main__":
    run_script(main, os.environ)
