"""What a training recipe says beside `TrainingArguments`, and how it is read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml
from transformers import HfArgumentParser, TrainingArguments

from ..errors import ReetError
from ..extraction.extractor import THRESHOLD
from ..modeling.extraction_head import EXTRACTION_LOSSES
from ..modeling.scoring_loss import LOSS_WEIGHTS
from .dataset import LABELS, LICENSES

PROJECTION_INITS = ("random", "pca")
OF_ONE_START = (
    "output_dir",
    "logging_dir",
    "run_name",
    "use_cpu",
    "disable_tqdm",
    "report_to",
    "resume_from_checkpoint",
    "push_to_hub",
    "hub_token",
    "hub_model_id",
    "seed",
)
SECRET = re.compile(r"(?:^|_)(?:token|key|secret|password)$")
"""What the name of an option ends with whose value is nobody else's business."""


def _known_losses(name: str, given: Iterable[str], known: Iterable[str]) -> None:
    if unknown := set(given) - set(known):
        raise ReetError(f"`{name}` must weigh {', '.join(known)}, got {', '.join(sorted(unknown))}.")


@dataclass
class ScorerArguments:
    """Choices of `train/train_scorer.py` that `TrainingArguments` does not have.

    Args:
        encoder: Hub id or folder of the encoder to start from.
        initial: A trained REET model to go on from, instead of a pretrained encoder with a new head: its folder, or its
            Hub id, which is the bundled folder where that is `reet/reet-base`.
        layers: Numbers of the encoder layers of `initial` that are kept; all if there are none.
        teacher: Folder of a trained REET model whose states and logits are targets as well.
        distillation: Weight of the distance to the teacher beside the loss of the labels.
        data: Folder of parquet or JSONL files in the multi-turn schema.
        mixture: File name (without ending) to passes over it in one epoch; once over all files if there are none.
        evaluation: File name to share of its rows used for evaluation during training.
        model: Fields of `ReetConfig` that differ from their defaults, or from what `initial` has.
        projection_init: How a projection begins where `model` asks for one: `random`, or `pca`, the leading directions
            of the pretrained encoder's token states.
        encoder_dropout: Dropout inside the encoder; on a CPU it costs more time than it earns.
        head_learning_rate: Learning rate of the head; `learning_rate` is the encoder's.
        frozen: Parameters whose name holds one of these stay as they are.
        fixed: Parameters whose name ends with a key have its value in every place and keep it.
        losses: Weights of the loss terms `token`, `ranking`, `prior`, `prior_ranking` that differ from their defaults.
        labels: `multi`, or `single`: of each context one question, chosen at random, is all that labels it.
        mixed: Chance that another context follows in the same example, whose sentences are no evidence for the first.
        shortened: Chance that the oldest part of a context is shown as an earlier compression leaves it.
        follow_ups: Chance that a question has a pronoun for what it shares with the one before.
        max_tokens: Longest part of a context in one example.
        max_questions: Questions of a context that share one encoder pass.
        expect: Evaluation metrics that the finished run must reach, by name.
        threads: CPU threads of each process; 0 leaves the choice to torch.
    """

    encoder: str = "sentence-transformers/all-MiniLM-L6-v2"
    initial: str = ""
    layers: list[int] = field(default_factory=list)
    teacher: str = ""
    distillation: float = 1.0
    data: str = ""
    mixture: dict[str, float] = field(default_factory=dict)
    evaluation: dict[str, float] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    projection_init: str = "random"
    encoder_dropout: float = 0.0
    head_learning_rate: float = 5e-4
    frozen: list[str] = field(default_factory=lambda: ["embeddings"])
    fixed: dict[str, float] = field(default_factory=dict)
    losses: dict[str, float] = field(default_factory=dict)
    labels: str = "multi"
    mixed: float = 0.0
    shortened: float = 0.0
    follow_ups: float = 0.0
    max_tokens: int = 4096
    max_questions: int = 16
    expect: dict[str, float] = field(default_factory=dict)
    threads: int = 0

    def __post_init__(self) -> None:
        for name, rule in (("projection_init", PROJECTION_INITS), ("labels", LABELS)):
            if getattr(self, name) not in rule:
                raise ReetError(f"`{name}` must be one of {', '.join(rule)}, got {getattr(self, name)!r}.")
        _known_losses("losses", self.losses, LOSS_WEIGHTS)


@dataclass
class FineTuningArguments(ScorerArguments):
    """Choices of `train/train_scorer.py`: those of a scorer, and those of going on from one with one's own data.

    Args:
        initial_id: Hub id of `initial` where that is a folder: what an adapter and its card name as their base.
        licenses: Which rows may train: `commercial`, those whose licence permits commercial use, the rule of all
            weights that this project publishes; or `any`, your own rows.
        held_out: Share of the conversations that is evaluated on and not trained on, where `evaluation` names no files.
        lora: Train an adapter of the encoder instead of its weights: `r`, `lora_alpha`, `lora_dropout` and what else
            `peft.LoraConfig` has, see `training.adapters`.
        early_stopping_patience: Evaluations without a better `metric_for_best_model` after which training ends; 0
            trains all epochs.
    """

    initial_id: str = ""
    licenses: str = "commercial"
    held_out: float = 0.0
    lora: dict[str, Any] = field(default_factory=dict)
    early_stopping_patience: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.licenses not in LICENSES:
            raise ReetError(f"`licenses` must be one of {', '.join(LICENSES)}, got {self.licenses!r}.")
        if not 0 <= self.held_out < 1:
            raise ReetError(f"`held_out` must be a share of at least 0 and below 1, got {self.held_out}; try 0.1.")
        if self.lora and not self.initial:
            raise ReetError("`lora` needs a model to go on from, got none; add --initial reet/reet-base.")


@dataclass
class ExtractorArguments:
    """Choices of `train/train_extractor.py` that `TrainingArguments` does not have.

    Args:
        initial: Folder of a trained REET model whose backbone is the start.
        data: Folder of parquet files in the extraction schema.
        mixture: File name (without ending) to passes over it in one epoch.
        evaluation: File names that are scored at the end; `NAME-held` is the held-out part of a training file.
        model: Fields of `ReetConfig` that differ from what `initial` has.
        head_learning_rate: Learning rate of the head; `learning_rate` is the encoder's.
        frozen: Parameters whose name holds one of these stay as they are.
        losses: Weights of the loss terms `entity`, `fact` and `link` that differ from their defaults.
        pack_tokens: Tokens of a pack of windows; a batch has `per_device_train_batch_size` packs.
        dropout: Of the head in training, if another than the model's.
        further: Go on with the head of `initial` and nothing else; what is left is `initial` whole with a better head.
        threshold: Chance above which a span is found in evaluation.
        threads: CPU threads of each process; 0 leaves the choice to torch.
    """

    initial: str = ""
    data: str = ""
    mixture: dict[str, float] = field(default_factory=dict)
    evaluation: list[str] = field(default_factory=list)
    model: dict[str, Any] = field(default_factory=dict)
    head_learning_rate: float = 2e-3
    frozen: list[str] = field(default_factory=lambda: ["word_embeddings"])
    losses: dict[str, float] = field(default_factory=dict)
    pack_tokens: int = 2048
    dropout: float | None = None
    further: bool = False
    threshold: float = THRESHOLD
    threads: int = 0

    def __post_init__(self) -> None:
        _known_losses("losses", self.losses, EXTRACTION_LOSSES)


@dataclass
class JointArguments(ScorerArguments):
    """Choices of `train/train_reet.py`: those of the scorer, whose names are as they were, and those of extraction.

    Args:
        extraction_data: Folder of parquet files in the extraction schema.
        extraction_mixture: File name (without ending) to passes over it in one epoch.
        extraction_evaluation: File names that are scored at the end; `NAME-held` is the held-out part of a file.
        extraction_losses: Weights of the loss terms `entity`, `fact` and `link` that differ from their defaults.
        extractor: Folder of a run of `train/train_extractor.py` whose head is the start; a new head if empty.
        extractor_learning_rate: Learning rate of the extraction head.
        threshold: Chance above which a span is found in evaluation.
    """

    extraction_data: str = ""
    extraction_mixture: dict[str, float] = field(default_factory=dict)
    extraction_evaluation: list[str] = field(default_factory=list)
    extraction_losses: dict[str, float] = field(default_factory=dict)
    extractor: str = ""
    extractor_learning_rate: float = 2e-3
    threshold: float = THRESHOLD

    def __post_init__(self) -> None:
        super().__post_init__()
        _known_losses("extraction_losses", self.extraction_losses, EXTRACTION_LOSSES)


def read_recipe(argv: Sequence[str], record: type = ScorerArguments) -> tuple[Any, TrainingArguments]:
    """The recipe named first in `argv`, changed by the `--name value` pairs after it, as a `record` and the rest.

    Raises:
        ReetError: If there is no recipe or the pairs cannot be read; `ValueError` for a name that is no option.
    """
    return parse_options(recipe_options(argv), record)


def parse_options(
    options: dict[str, Any], record: type = ScorerArguments, schedule: type = TrainingArguments
) -> tuple[Any, Any]:
    """The options of a recipe as a `record` and a `schedule`; `ValueError` for a name that is no option."""
    records: Any = (record, schedule)
    own, training = HfArgumentParser(records).parse_dict({k: _number(v) for k, v in options.items()})
    return own, training


def recipe_options(argv: Sequence[str]) -> dict[str, Any]:
    """The options of the recipe named first in `argv`, changed by the `--name value` pairs after it.

    Raises:
        ReetError: If there is no recipe, the pairs cannot be read, or no data are named.
    """
    if not argv or argv[0].startswith("-"):
        raise ReetError("Name a recipe first: SCRIPT.py RECIPE.yaml --data FOLDER [--name value ...].")
    if len(argv) % 2 == 0 or not all(name.startswith("--") for name in argv[1::2]):
        raise ReetError(f"After the recipe come pairs `--name value`, got {list(argv[1:])}.")
    options = yaml.safe_load(Path(argv[0]).read_text(encoding="utf-8"))
    options |= {name[2:]: yaml.safe_load(value) for name, value in zip(argv[1::2], argv[2::2], strict=True)}
    options = {name: _number(value) for name, value in options.items()}
    if not options.get("data"):
        raise ReetError("`data` must be a folder of multi-turn files: add --data FOLDER.")
    return options


def set_options(argv: Sequence[str], record: type = TrainingArguments) -> dict[str, Any]:
    """The options of a recipe and of the pairs after it that are fields of `record` and differ from its defaults.

    Those that belong to a machine or to one start of a run, and secrets, are left out.
    """
    defaults = {option.name: option.default for option in fields(record)}
    given = recipe_options(argv)
    told = [name for name in given if name in defaults and name not in OF_ONE_START and not SECRET.search(name)]
    return {name: given[name] for name in told if given[name] != defaults[name]}


def _number(value: Any) -> Any:
    """The value, but `1e-3`, which YAML 1.1 reads as a string, as a number."""
    if not isinstance(value, str):
        return value
    try:
        return float(value)
    except ValueError:
        return value
