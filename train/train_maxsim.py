"""Train the MaxSim baseline: accelerate launch train/train_maxsim.py train/recipes/maxsim.yaml --data FOLDER

Late interaction as in ColBERT (arXiv:2004.12832): a question should score the sentence that answers it above other
sentences of the same context and above the sentences of the other questions in the batch.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from sentence_transformers import MultiVectorEncoder, MultiVectorEncoderTrainer, MultiVectorEncoderTrainingArguments
from sentence_transformers.base.evaluation import BaseEvaluator
from sentence_transformers.multi_vector_encoder.losses import MultiVectorMultipleNegativesRankingLoss
from transformers import set_seed

import reet_hf
from eval.systems.maxsim import ENCODER, PROJECTION, WIDTH, MaxSim, untrained
from reet_hf.training.arguments import recipe_options
from reet_hf.training.dataset import Rows, ScoringDataset, fingerprint, read_files
from reet_hf.training.launch import published_command
from train.ranking import Context, kept_at_20, read_context, training_examples

SCHEDULE = (
    "learning_rate",
    "weight_decay",
    "per_device_train_batch_size",
    "max_steps",
    "warmup_steps",
    "max_grad_norm",
    "max_length",
)
STARTERS = 500  # sentences whose token vectors give the projection its start
PACKAGES = ("torch", "transformers", "sentence-transformers", "peft", "accelerate")


@dataclass
class MaxSimArguments:
    """Choices of this script that `MultiVectorEncoderTrainingArguments` does not have.

    Args:
        base: Hub id of the encoder, which is what is written down.
        encoder: Folder of the same encoder, where the Hub is out of reach.
        data: Folder of parquet files in the multi-turn schema.
        mixture: File name (without ending) to passes over it; rows are chosen as for the scorer.
        evaluation: File name to share of its rows used for evaluation during training.
        max_questions: Questions of a context that are used in one pass.
        evaluation_questions: Questions of a context that the evaluation asks, the first ones.
        negatives: Other sentences of the same context for each question.
        rank: Rank of the LoRA adapters of all linear layers; everything else of the encoder stays as it is.
        expect: Evaluation metrics that the finished run must reach, by name.
        threads: CPU threads; 0 leaves the choice to torch.
    """

    base: str = ENCODER
    encoder: str = ""
    data: str = ""
    mixture: dict[str, float] = field(default_factory=dict)
    evaluation: dict[str, float] = field(default_factory=dict)
    max_questions: int = 12
    evaluation_questions: int = 12
    negatives: int = 3
    rank: int = 64
    expect: dict[str, float] = field(default_factory=dict)
    threads: int = 0


def read_recipe(argv: Sequence[str]) -> tuple[MaxSimArguments, MultiVectorEncoderTrainingArguments]:
    """The recipe named first in `argv`, changed by the `--name value` pairs after it.

    Raises:
        ReetError: If there is no recipe, the pairs cannot be read, or no data are named; `TypeError` for a name that
            is no option.
    """
    options = recipe_options(argv)
    own = {name: options.pop(name) for name in MaxSimArguments.__dataclass_fields__ if name in options}
    return MaxSimArguments(**own), MultiVectorEncoderTrainingArguments(**options)


class RankingEvaluator(BaseEvaluator):
    """`kept_at_20` of the model in training.

    Args:
        contexts: What is ranked, by data set.
    """

    def __init__(self, contexts: Mapping[str, Sequence[Context]]) -> None:
        super().__init__()
        self.contexts = contexts
        self.primary_metric = "kept_at_20"

    def __call__(
        self, model: Any, output_path: str | None = None, epoch: float = -1, steps: int = -1
    ) -> dict[str, float]:
        return kept_at_20(MaxSim(model), self.contexts)


def held_out(files: Mapping[str, Rows], arguments: MaxSimArguments, seed: int) -> dict[str, list[Context]]:
    """The evaluation's contexts by file: the rows that the scorer is evaluated on under the same seed."""
    names = {id(row): name for name in arguments.evaluation for row in files[name]}
    found: dict[str, list[Context]] = {name: [] for name in arguments.evaluation}
    for row in ScoringDataset(files, None, arguments.evaluation, seed=seed).rows:
        found[names[id(row)]].append(read_context(row, arguments.evaluation_questions))
    return found


def build_model(arguments: MaxSimArguments, sentences: list[str]) -> MultiVectorEncoder:
    """The encoder with fresh adapters in all linear layers and a projection; only these are trained.

    The projection starts as the principal directions of the token vectors of `sentences`: little is lost at the start.
    """
    encoder = arguments.encoder or arguments.base
    model: Any = untrained(encoder)
    states: Any = untrained(encoder, width=0).encode_document(sentences)
    directions = torch.linalg.svd(torch.cat(states), full_matrices=False)[2][:WIDTH]
    model[1].linear.weight.data[: len(directions)] = directions
    rank, pooler = arguments.rank, ["pooler.dense"]  # the pooler is not on the way to the token vectors
    model.add_adapter(LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", exclude_modules=pooler))
    return model


def write_weights(model: Any, folder: Path, base: str) -> None:
    """Adapter and projection in half precision; the model has them in half precision too after that.

    Args:
        model: What `build_model` returned.
        folder: Where to.
        base: Hub id of the encoder that the adapter belongs to.
    """
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.half()
    encoder = model.transformers_model
    encoder.peft_config["default"].base_model_name_or_path = base
    encoder.save_pretrained(folder)
    (folder / PROJECTION).mkdir(parents=True, exist_ok=True)
    model[1].save(str(folder / PROJECTION))


def save(trainer: MultiVectorEncoderTrainer, arguments: MaxSimArguments, metrics: dict[str, Any]) -> None:
    """The weights, and how they were made."""
    folder = Path(str(trainer.args.output_dir))
    write_weights(trainer.accelerator.unwrap_model(trainer.model), folder, arguments.base)
    record = {
        "command": published_command(sys.argv, trainer.args),
        "encoder": arguments.base,
        "recipe": {k: v for k, v in vars(arguments).items() if k not in ("base", "encoder", "data", "threads")},
        "schedule": {name: getattr(trainer.args, name) for name in SCHEDULE},
        "seed": trainer.args.seed,
        "processes": trainer.args.world_size,
        "steps": trainer.state.global_step,
        "minutes": round(metrics["train_runtime"] / 60, 1),
        "data_fingerprint": fingerprint(arguments.data, list(arguments.mixture)),
        "metrics": {k: v for k, v in metrics.items() if k.startswith(("eval_kept", "train_loss"))},
        "versions": {"reet_hf": reet_hf.__version__, **{name: version(name) for name in PACKAGES}},
    }
    (folder / "training.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def main(argv: list[str]) -> None:
    """Parse, read data, build, train, evaluate, save."""
    arguments, training = read_recipe(argv)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    set_seed(training.seed)
    files = read_files(arguments.data, sorted({*arguments.mixture, *arguments.evaluation}))
    rows = ScoringDataset(files, None, arguments.mixture, seed=training.seed).rows
    found = training_examples(rows, arguments.max_questions, arguments.negatives, training.seed)
    count = training.max_steps * training.train_batch_size
    examples = Dataset.from_list(list(islice(found, count) if count > 0 else found))
    model = build_model(arguments, examples["gold"][:STARTERS])
    trainer = MultiVectorEncoderTrainer(
        model=model,
        args=training,
        train_dataset=examples,
        loss=MultiVectorMultipleNegativesRankingLoss(model, mini_batch_size=4),  # few to a pass: less padding
        evaluator=RankingEvaluator(held_out(files, arguments, training.seed)),
    )
    result = trainer.train()
    metrics = {**result.metrics, **trainer.evaluate()}
    if trainer.is_world_process_zero():
        save(trainer, arguments, metrics)
        print(json.dumps(metrics, indent=2))
    missed = {name: metrics.get(name) for name, floor in arguments.expect.items() if not metrics.get(name, 0) >= floor}
    if missed:
        sys.exit(f"The run missed what its recipe expects: {missed}, expected {arguments.expect}.")


if __name__ == "__main__":
    main(sys.argv[1:])
