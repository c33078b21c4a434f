"""Train the entity–fact extractor: accelerate launch train/train_extractor.py RECIPE.yaml --data FOLDER [--name value]

Beside what `TrainingArguments` have, a recipe says what `ExtractorArguments` do; see `train/recipes/extractor.yaml`.
Precision, recall and F1 of entities and facts on the files of `evaluation` are printed at the end.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, set_seed

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from reet_hf import ReetConfig, ReetForCompression
from reet_hf.extraction.examples import ExtractionCollator
from reet_hf.modeling.modeling_reet import ReetForEntityExtraction
from reet_hf.training.arguments import ExtractorArguments, read_recipe
from reet_hf.training.dataset import fingerprint, read_files
from reet_hf.training.extraction import ExtractionDataset, extraction_scores, held_out
from reet_hf.training.launch import MACHINE_OPTIONS, published_command
from reet_hf.training.trainer import ReetTrainer


def build_model(arguments: ExtractorArguments) -> ReetForEntityExtraction:
    """The encoder of a trained REET model with a new extraction head."""
    scorer = ReetForCompression.from_pretrained(arguments.initial, dtype=torch.float32)
    config = ReetConfig(**{**scorer.config.to_dict(), **arguments.model})
    model = ReetForEntityExtraction(config)
    model.reet.load_state_dict(scorer.reet.state_dict())
    model.extraction_weights |= arguments.losses
    for name, parameter in model.named_parameters():
        parameter.requires_grad = not any(part in name for part in arguments.frozen)
    return model


def main(argv: list[str]) -> None:
    """Parse, read data, build, train, evaluate, save."""
    arguments, training = read_recipe(argv, ExtractorArguments)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    set_seed(training.seed)
    tokenizer = AutoTokenizer.from_pretrained(arguments.initial)
    model = build_model(arguments)
    names = {*arguments.mixture, *arguments.evaluation}
    files = held_out(read_files(arguments.data, sorted(n.removesuffix("-held") for n in names)))
    kinds = model.config.fact_kinds or []
    examples = ExtractionDataset(
        files, tokenizer, arguments.mixture, fact_kinds=kinds, pack_tokens=arguments.pack_tokens, seed=training.seed
    )
    trainer = ReetTrainer(
        model=model,
        args=training,
        train_dataset=examples,
        data_collator=ExtractionCollator(tokenizer),
        processing_class=tokenizer,
        head_learning_rate=arguments.head_learning_rate,
    )
    result = trainer.train()
    own = trainer.accelerator.unwrap_model(trainer.model)
    scores = {
        name: extraction_scores(own, tokenizer, files[name], name, arguments.threshold) for name in arguments.evaluation
    }
    folder = Path(str(training.output_dir))
    own.half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    record: dict[str, Any] = {
        "command": published_command(sys.argv, trainer.args),
        "recipe": {name: value for name, value in vars(arguments).items() if name not in MACHINE_OPTIONS},
        "seed": training.seed,
        "steps": trainer.state.global_step,
        "metrics": result.metrics | {"scores": scores},
        "data_fingerprint": fingerprint(arguments.data, [n.removesuffix("-held") for n in arguments.mixture]),
    }
    (folder / "training.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(scores, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
