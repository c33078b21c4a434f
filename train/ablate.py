"""Train and measure variants of the scorer: train/ablate.py train/recipes/ablations.yaml --data FOLDER [--only A,B]

The YAML has the name of a `study`, a reduced `recipe`, `seeds`, and `variants`, each a mapping of the recipe's options
that it changes; a new line there is a new variant. What it does not say it has from the file beside it that it names as
its `base`. Every variant is trained with every seed, one run after another in this process, all variants with the first
seed before any with the second. Each run is measured on the contexts of `evaluation`, the same for all, with at most
`max_tokens` tokens and their first `max_questions` questions in order:

- `kept_at_20`: share of questions whose answer sentence is kept at 20 % of the tokens, by importance with query and
  history (`reet_hf.training.metrics.kept_evidence`; the share of the evidence where no answer stands in the text)
- `kept_at_10`: the same at 10 %
- `prior_at_33`: the same at 33 % by the query-blind prior

What is written is one JSON a variant with the values of every question, no weights. A run that is in the file already
is not done again, so a stopped grid goes on where it was left. `python -m eval.report` makes the table of them.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from transformers import AutoTokenizer, PreTrainedTokenizerBase, set_seed

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a launched script finds `eval` and `train` there

from eval import ablations
from eval.ablations import Ablation, Run, Scores
from reet_hf.errors import ReetError
from reet_hf.scoring.collator import ScoringCollator, ScoringExample
from reet_hf.training.arguments import ScorerArguments, parse_options
from reet_hf.training.dataset import VARIATION, Rows, ScoringDataset, fingerprint, read_files
from reet_hf.training.metrics import kept_evidence
from reet_hf.training.projection import start_from_components
from reet_hf.training.trainer import ScoringTrainer
from train.train_scorer import build_model

ROOT = Path(__file__).resolve().parents[1]
OUTPUT = ROOT / "eval" / "results" / "ablations"
EVALUATION_SEED = 0  # of the parts of long contexts that are measured


@dataclass(frozen=True)
class Grid:
    """What `train/recipes/ablations.yaml` says.

    Attributes:
        study: Folder of the results; another one once the code has changed what the options mean.
        recipe: Options of `ScorerArguments` and `TrainingArguments`.
        seeds: One run of each variant for each.
        variants: Options that a variant changes, by its name.
    """

    study: str
    recipe: dict[str, Any]
    seeds: list[int]
    variants: dict[str, dict[str, Any]]

    def settings(self, variant: str) -> dict[str, Any]:
        """All options of a variant."""
        return {**self.recipe, **self.variants[variant]}

    def files(self, variant: str) -> set[str]:
        """Names of the files that a variant is trained and measured on."""
        return {name for part in ("mixture", "evaluation") for name in self.settings(variant)[part]}


@dataclass
class Examples:
    """Scoring examples of files; those made with the same options are made once."""

    files: dict[str, Rows]
    tokenizer: PreTrainedTokenizerBase
    made: dict[str, dict[str, ScoringExample]] = field(default_factory=dict)

    def get(self, mixture: dict[str, float], **options: Any) -> dict[str, ScoringExample]:
        """Examples by their row's id (and pass, where a file is passed over more than once); see `ScoringDataset`."""
        key = json.dumps([mixture, options], sort_keys=True)
        if key not in self.made:
            dataset = ScoringDataset(self.files, self.tokenizer, mixture, **options)
            found: dict[str, ScoringExample] = {}
            for number, row in enumerate(dataset.rows):
                name = row["id"] if row["id"] not in found else f"{row['id']} {number}"
                found[name] = dataset[number]
            self.made[key] = found
        return self.made[key]


def read_grid(file: str | Path, only: Sequence[str] = (), seeds: Sequence[int] = ()) -> Grid:
    """The grid of a YAML file, or the part of it that is asked for.

    Raises:
        ReetError: If a variant is asked for that is not there; `ValueError` for an option that does not exist.
    """
    said = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
    if other := said.get("base"):
        base = yaml.safe_load((Path(file).parent / other).read_text(encoding="utf-8"))
        said = {**base, **said, "recipe": {**base["recipe"], **said.get("recipe", {})}}
    variants = {name: changes or {} for name, changes in said["variants"].items()}
    grid = Grid(said["study"], said["recipe"], list(seeds) or said["seeds"], variants)
    if unknown := set(only) - set(grid.variants):
        have = ", ".join(grid.variants)
        raise ReetError(f"`--only` must name variants of {file} ({have}), got {', '.join(sorted(unknown))}.")
    for variant in grid.variants:
        parse_options(grid.settings(variant))
    return replace(grid, variants={k: v for k, v in grid.variants.items() if k in only or not only})


def started(grid: Grid, variant: str, data: dict[str, str], folder: str | Path) -> Ablation:
    """The variant with the runs that are done.

    Args:
        grid: What there is to run.
        variant: A name in it.
        data: Digests of its files.
        folder: Where results are.

    Raises:
        ReetError: If they were done with other options or data.
    """
    own = {name: data[name] for name in sorted(grid.files(variant))}
    fresh = Ablation(variant, grid.variants[variant], grid.settings(variant), own)
    file = ablations.path(folder, variant)
    if not file.is_file():
        return fresh
    before = ablations.read(file)
    if (before.settings, before.data) != (fresh.settings, fresh.data):
        raise ReetError(f"{file} was made with other options or data; remove it or name another --output.")
    return before


def run(arguments: ScorerArguments, training: Any, examples: Examples) -> Run:
    """Train once and measure."""
    limits = {"max_tokens": arguments.max_tokens, "max_questions": arguments.max_questions}
    shown = list(
        examples.get(
            arguments.mixture, **{name: getattr(arguments, name) for name in VARIATION}, seed=training.seed, **limits
        ).values()
    )
    held_out = {
        name: examples.get({name: share}, vary=False, seed=EVALUATION_SEED, **limits)
        for name, share in arguments.evaluation.items()
    }
    begun = time.process_time()
    set_seed(training.seed)
    model = build_model(arguments)
    collator = ScoringCollator.of(examples.tokenizer, model.config)
    if arguments.projection_init == "pca":
        start_from_components(model, shown, collator)
    trainer = ScoringTrainer(
        model=model,
        args=training,
        train_dataset=shown,
        data_collator=collator,
        head_learning_rate=arguments.head_learning_rate,
    )
    trained = trainer.train()
    sets = {name: measure(model, contexts, collator) for name, contexts in held_out.items()}
    return Run(
        seed=training.seed,
        examples=len(shown),
        tokens=sum(len(example.table) for example in shown),
        steps=trained.global_step,
        seconds=round(time.process_time() - begun, 1),
        train_loss=round(trained.training_loss, 4),
        sets=sets,
    )


@torch.no_grad()
def measure(model: Any, contexts: dict[str, ScoringExample], collator: ScoringCollator) -> dict[str, Scores]:
    """Every measure of every question that has evidence, by context."""
    model.eval()
    found = {}
    for name, example in contexts.items():
        batch = collator([example])
        batch = {key: value.to(model.device) for key, value in batch.items()}
        output = model(**batch)
        labels, units = batch["relevance_labels"], batch["token_units"]
        prior = output.prior.unsqueeze(1).expand_as(output.importance)
        kept = {
            "kept_at_20": kept_evidence(output.importance, labels, units, 0.2),
            "kept_at_10": kept_evidence(output.importance, labels, units, 0.1),
            "prior_at_33": kept_evidence(prior, labels, units, 0.33),
        }
        found[name] = {key: [round(v, 4) for v in values[0].tolist() if v >= 0] for key, values in kept.items()}
    return found


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("grid", help="YAML with recipe, seeds and variants")
    parser.add_argument("--data", required=True, help="folder of parquet files in the multi-turn schema")
    parser.add_argument("--encoder", help="folder of the recipe's encoder where there is no network")
    parser.add_argument("--output", default=str(OUTPUT), help="folder of the studies, each with one JSON a variant")
    parser.add_argument("--only", default="", help="variants to run, separated by commas")
    parser.add_argument("--seeds", default="", help="seeds to run instead of the file's, separated by commas")
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> None:
    """Run what is not done yet."""
    said = parse(argv)
    names = [name for name in said.only.split(",") if name]
    grid = read_grid(said.grid, names, [int(seed) for seed in said.seeds.split(",") if seed])
    output = Path(said.output) / grid.study
    used = sorted(set().union(*map(grid.files, grid.variants)))
    files, prints = read_files(said.data, used), fingerprint(said.data, used)
    for variant in grid.variants:
        started(grid, variant, prints, output)
    encoder = said.encoder or grid.recipe["encoder"]
    examples = Examples(files, AutoTokenizer.from_pretrained(encoder))
    for seed in grid.seeds:
        for variant in grid.variants:
            ablation = started(grid, variant, prints, output)
            if seed in ablation.seeds:
                continue
            with tempfile.TemporaryDirectory() as scratch:
                own = {"data": said.data, "encoder": encoder, "output_dir": scratch, "seed": seed, "data_seed": seed}
                arguments, training = parse_options({**grid.settings(variant), **own})
                torch.set_num_threads(arguments.threads or torch.get_num_threads())
                done = run(arguments, training, examples)
            ablation.runs.append(done)
            ablations.write(ablation, output)
            scores = ", ".join(f"{name} {done.mean(name):.3f}" for name in ablations.MEASURES)
            print(f"{variant}, seed {seed}: {scores}, {done.seconds:.0f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
