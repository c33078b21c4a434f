"""Train a GLiNER on the extractor's data, for comparison: python train/train_gliner.py RECIPE.yaml --data FOLDER

GLiNER (Zaratiana et al., arXiv:2311.08526) as its own package trains it, from the same pretrained encoder and on the
same texts. Its labels are the kinds of mention, without types; a text is asked for the kinds that its data set marks.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gliner import GLiNER, GLiNERConfig
from gliner.training import TrainingArguments
from transformers import set_seed

from eval.extraction import span_scores
from eval.extractors import gliner
from reet_hf.extraction.labels import Guide, guide_of, marked
from reet_hf.training.arguments import parse_options, recipe_options
from reet_hf.training.dataset import fingerprint
from reet_hf.training.extraction import chosen_rows, extraction_files
from reet_hf.training.launch import MACHINE_OPTIONS, published_command

PACKAGES = ("torch", "transformers", "gliner")


@dataclass
class GlinerArguments:
    """Choices of this script that `gliner.training.TrainingArguments` does not have.

    Args:
        encoder: Hub id or folder of the encoder to start from.
        data: Folder of parquet files in the extraction schema.
        mixture: File name (without ending) to passes over it.
        evaluation: File names that are scored at the end; `NAME-held` is the held-out part of a training file.
        max_width: Words of the longest span.
        max_words: Words of a piece of text.
        threads: CPU threads; 0 leaves the choice to torch.
    """

    encoder: str = "sentence-transformers/all-MiniLM-L6-v2"
    data: str = ""
    mixture: dict[str, float] = field(default_factory=dict)
    evaluation: list[str] = field(default_factory=list)
    max_width: int = 12
    max_words: int = 160
    threads: int = 0


def examples_of(row: dict[str, Any], guide: Guide, splitter: Any, words: int) -> list[dict[str, Any]]:
    """Pieces of a text as GLiNER trains on them; a mention that a border cuts is left out.

    Args:
        row: Of the extraction schema.
        guide: Of its data set.
        splitter: From a text to its words, as the model has it.
        words: Most words of a piece.
    """
    found = list(splitter(row["text"]))
    starts = {start: number for number, (_, start, _) in enumerate(found)}
    ends = {end: number for number, (_, _, end) in enumerate(found)}
    spans = set()
    for entity in row["entities"]:
        start, end = marked(entity)
        kind = guide.kind(row["text"][start:end])
        if kind is not None and start in starts and end in ends:
            spans.add((starts[start], ends[end], gliner.LABELS[kind]))
    made = []
    for first in range(0, len(found), words):
        part = found[first : first + words]
        inside = [
            [a - first, b - first, label] for a, b, label in sorted(spans) if first <= a and b < first + len(part)
        ]
        labels = [gliner.LABELS[kind] for kind in guide.kinds]
        made.append({"tokenized_text": [word for word, _, _ in part], "ner": inside, "ner_labels": labels})
    return made


def in_batches(examples: Sequence[dict[str, Any]], size: int, seed: int) -> list[dict[str, Any]]:
    """The examples in such an order that each `size` of them are about as long: less padding."""
    chooser = np.random.default_rng(seed)
    shuffled = [examples[place] for place in chooser.permutation(len(examples)).tolist()]
    ordered = sorted(shuffled, key=lambda example: len(example["tokenized_text"]))
    batches = [ordered[first : first + size] for first in range(0, len(ordered), size)]
    return [example for place in chooser.permutation(len(batches)).tolist() for example in batches[place]]


def build_model(arguments: GlinerArguments) -> GLiNER:
    """A GLiNER with a pretrained encoder and new layers above it."""
    config = GLiNERConfig(
        model_name=arguments.encoder,
        max_width=arguments.max_width,
        hidden_size=384,
        max_len=arguments.max_words,
        dropout=0.1,
    )
    return GLiNER.from_config(config, backbone_from_pretrained=True)


def main(argv: Sequence[str]) -> None:
    """Parse, read data, build, train, evaluate, save."""
    arguments, training = parse_options(recipe_options(argv), GlinerArguments, TrainingArguments)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    set_seed(training.seed)
    model: Any = build_model(arguments)
    for name, parameter in model.named_parameters():
        parameter.requires_grad = "word_embeddings" not in name  # as those of the extraction head's encoder
    files = extraction_files(arguments.data, [*arguments.mixture, *arguments.evaluation])
    splitter = model.data_processor.words_splitter
    examples = [
        example
        for name, row in chosen_rows(files, arguments.mixture, training.seed)
        for example in examples_of(row, guide_of(name), splitter, arguments.max_words)
    ]
    training.train_sampling_strategy = "sequential"
    ordered = in_batches(examples, training.per_device_train_batch_size, training.seed)
    trainer = model.train_model(ordered, None, training_args=training)
    model.eval()
    found = gliner.Gliner(model, gliner.THRESHOLDS)
    scores = {name: span_scores(found, files[name], guide_of(name)) for name in arguments.evaluation}
    folder = Path(str(training.output_dir))
    model.save_pretrained(folder)
    record = {
        "command": published_command([sys.argv[0], *argv], training),
        "encoder": Path(arguments.encoder).name,
        "recipe": {name: value for name, value in vars(arguments).items() if name not in MACHINE_OPTIONS},
        "seed": training.seed,
        "steps": trainer.state.global_step,
        "examples": len(examples),
        "data_fingerprint": fingerprint(arguments.data, list(arguments.mixture)),
        "metrics": scores,
        "versions": {name: version(name) for name in PACKAGES},
    }
    (folder / "training.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(scores, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
