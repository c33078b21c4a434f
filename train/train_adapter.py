"""Train a model of our size to compare with: accelerate launch train/train_adapter.py RECIPE.yaml --data FOLDER"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from peft import (
    LoraConfig,
    TaskType,
    get_peft_model,
    get_peft_model_state_dict,
    load_peft_weights,
    set_peft_model_state_dict,
)
from tqdm.auto import tqdm
from transformers import (
    AutoModelForQuestionAnswering,
    AutoModelForTokenClassification,
    AutoTokenizer,
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    Trainer,
    set_seed,
)

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a launched script finds `eval` and `train` there

from eval.adapters import ENCODER, base_model
from eval.readers.extractive import ExtractiveReader
from eval.systems.base import QueryBlind, QueryRequired
from eval.systems.cross_encoder import CrossEncoder
from eval.systems.llmlingua2_recipe import LlmLingua2Recipe
from reet_hf.budget import resolve_counter
from reet_hf.training.dataset import Rows, fingerprint, read_files
from reet_hf.training.launch import MACHINE_OPTIONS, published_command
from train.adapters.arguments import AdapterArguments, read_recipe
from train.adapters.measures import reading_metrics, sampled, selection_metrics
from train.adapters.reading import read_examples
from train.adapters.token_labels import preserve_examples, prune_examples

LINEAR = ["query", "key", "value", "dense"]  # every linear layer of the encoder
PACKAGES = ("torch", "transformers", "peft", "tokenizers", "datasets", "accelerate", "numpy")
SCHEDULE = (
    "learning_rate",
    "lr_scheduler_type",
    "weight_decay",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "num_train_epochs",
    "warmup_steps",
    "max_grad_norm",
)


class AdapterTrainer(Trainer):
    """A `Trainer` that evaluates through what the adapter is made for.

    Args:
        measure: From the model in evaluation mode to metrics.
        **options: Those of `Trainer`.
    """

    def __init__(self, measure: Callable[[Any], dict[str, float]], **options: Any) -> None:
        super().__init__(**options)
        self.measure = measure

    def evaluate(self, *_: Any, metric_key_prefix: str = "eval", **__: Any) -> dict[str, float]:
        model: Any = self.model
        found = {f"{metric_key_prefix}_{name}": value for name, value in self.measure(model.eval()).items()}
        self.log(found)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, found)
        return found


def build_model(arguments: AdapterArguments, share: float = 0.5) -> Any:
    """The pretrained encoder, frozen, with low-rank updates of its linear layers and a head: new or to go on from.

    Args:
        arguments: The recipe.
        share: How many of the tokens are positive. A new head of a token classifier begins with the bias that guesses
            so; else the first steps teach the encoder one answer for all tokens, from which it does not recover.
    """
    reads = arguments.objective == "read"
    auto = AutoModelForQuestionAnswering if reads else AutoModelForTokenClassification
    config = LoraConfig(
        task_type=TaskType.QUESTION_ANS if reads else TaskType.TOKEN_CLS,
        r=arguments.rank,
        lora_alpha=arguments.alpha,
        lora_dropout=0.0,
        target_modules=LINEAR,
        modules_to_save=["qa_outputs" if reads else "classifier"],
    )
    base = base_model(auto, arguments.encoder)
    if not reads:
        base.classifier.bias.data = torch.tensor([0.0, math.log(share / (1 - share))])
    model = get_peft_model(base, config)
    if arguments.initial:
        fresh, known = get_peft_model_state_dict(model), load_peft_weights(arguments.initial, device="cpu")
        set_peft_model_state_dict(model, {name: known.get(name, weight) for name, weight in fresh.items()})
    return model


def build_examples(arguments: AdapterArguments, files: Mapping[str, Rows], tokenizer: Any, seed: int) -> Dataset:
    """All windows of one epoch; a file that is passed over several times gives other windows each time."""
    chooser = np.random.default_rng(seed)
    sizes = (arguments.shortest_tokens or arguments.window_tokens, arguments.window_tokens)
    examples = []
    for name, passes in arguments.mixture.items():
        rows = [row for row in files[name] if row["questions"]]
        times = np.full(len(rows), int(passes))
        times[chooser.permutation(len(rows))[: round((passes % 1) * len(rows))]] += 1
        for row, count in zip(tqdm(rows, desc=name, mininterval=5), times.tolist(), strict=True):
            if count and arguments.objective == "preserve":
                examples.extend(preserve_examples(row, tokenizer, sizes[1], arguments.negatives, count, chooser))
            elif count:
                make = read_examples if arguments.objective == "read" else prune_examples
                asked = [chosen for _ in range(count) for chosen in _some(row, arguments.max_questions, chooser)]
                examples.extend(make({**row, "questions": asked}, tokenizer, sizes, arguments.negatives, chooser))
    lengths = [len(example["input_ids"]) for example in examples]
    return Dataset.from_list(examples).add_column("length", lengths)


def positive_share(examples: Dataset) -> float:
    """The share of positive tokens among those with a label, at least 0.01 and at most 0.99."""
    labels = np.concatenate(examples["labels"])
    return float(np.clip((labels == 1).sum() / (labels >= 0).sum(), 0.01, 0.99))


def _some(row: Mapping[str, Any], count: int, chooser: np.random.Generator) -> list[dict[str, Any]]:
    """At most `count` of the questions of a row, in order."""
    places = sorted(chooser.permutation(len(row["questions"]))[:count].tolist())
    return [row["questions"][place] for place in places]


def build_measure(
    arguments: AdapterArguments, files: Mapping[str, Rows], tokenizer: Any
) -> Callable[[Any], dict[str, float]]:
    """What evaluation measures: reading whole contexts, or what is kept of them."""
    if arguments.objective == "read":
        kinds = ("extractive", "state", "latest_value")
        asked = {name: sampled(files[name], count, kinds) for name, count in arguments.evaluation.items()}
        return lambda model: reading_metrics(
            ExtractiveReader(model, tokenizer, "", size=arguments.window_tokens), asked
        )
    counter = resolve_counter(tokenizer)
    asked = {name: sampled(files[name], count) for name, count in arguments.evaluation.items()}
    if arguments.objective == "preserve":
        return lambda model: selection_metrics(
            QueryBlind(LlmLingua2Recipe(model, tokenizer, arguments.window_tokens), counter, "word"), asked
        )
    return lambda model: selection_metrics(
        QueryRequired(CrossEncoder(model, tokenizer, arguments.window_tokens), counter), asked
    )


def save(trainer: Trainer, arguments: AdapterArguments, metrics: Mapping[str, Any]) -> None:
    """The adapter in half precision, and how it was made."""
    folder = Path(str(trainer.args.output_dir))
    model: Any = trainer.accelerator.unwrap_model(trainer.model).half()
    model.peft_config["default"].base_model_name_or_path = _public_encoder(arguments.encoder)
    model.save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)  # the empty card that PEFT writes
    minutes = metrics["train_runtime"] / 60
    record = {
        "command": published_command(sys.argv, trainer.args),
        "encoder": _public_encoder(arguments.encoder),
        "recipe": {name: value for name, value in vars(arguments).items() if name not in MACHINE_OPTIONS},
        "schedule": {name: getattr(trainer.args, name) for name in SCHEDULE},
        "seed": trainer.args.seed,
        "examples": len(trainer.train_dataset),  # type: ignore[arg-type]
        "steps": trainer.state.global_step,
        "minutes": round(minutes, 1),
        "data_fingerprint": fingerprint(arguments.data, list(arguments.mixture)),
        "metrics": {name: value for name, value in metrics.items() if name.startswith(("eval_", "train_loss"))},
        "versions": {name: version(name) for name in PACKAGES},
    }
    if arguments.initial:
        record["initial"] = json.loads((Path(arguments.initial) / "training.json").read_text(encoding="utf-8"))
    (folder / "training.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _public_encoder(encoder: str) -> str:
    """The Hub id; a folder stands for the default encoder, since no folder of this machine is published."""
    return ENCODER if Path(encoder).exists() else encoder


def main(argv: list[str]) -> None:
    """Parse, read data, build, train, evaluate, save."""
    arguments, training = read_recipe(argv)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    set_seed(training.seed)
    tokenizer = AutoTokenizer.from_pretrained(arguments.encoder)
    files = read_files(arguments.data, sorted({*arguments.mixture, *arguments.evaluation}))
    collator = DataCollatorWithPadding if arguments.objective == "read" else DataCollatorForTokenClassification
    examples = build_examples(arguments, files, tokenizer, training.seed)
    share = 0.5 if arguments.objective == "read" else positive_share(examples)
    trainer = AdapterTrainer(
        measure=build_measure(arguments, files, tokenizer),
        model=build_model(arguments, share),
        args=training,
        train_dataset=examples,
        eval_dataset=[],
        data_collator=collator(tokenizer),
        processing_class=tokenizer,
    )
    result = trainer.train(resume_from_checkpoint=training.resume_from_checkpoint)
    metrics = {**result.metrics, **trainer.evaluate()}
    if trainer.is_world_process_zero():
        save(trainer, arguments, metrics)
    print(json.dumps(metrics, indent=2))
    missed = {name: metrics.get(name) for name, floor in arguments.expect.items() if not metrics.get(name, 0) >= floor}
    if missed:
        sys.exit(f"The run missed what its recipe expects: {missed}, expected {arguments.expect}.")


if __name__ == "__main__":
    main(sys.argv[1:])
