"""The card of a model that was tuned on one's own conversations, written when a training run is saved.

Every number on it comes from `training.json` beside the weights.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from ..errors import ReetError
from .cards import files_of, listed, mixture_section, shown, table_of

TEMPLATE = Path(__file__).with_name("tuned_card_template.md")
MEASURES = ("kept_at_20", "loss")
MAIN = MEASURES[0]
COLUMNS = ("conversations", "questions", "held_out_conversations", "held_out_questions")

Record = Mapping[str, Any]


def write_card(folder: str | Path, model_id: str | None = None) -> Path:
    """The card that was written into a folder.

    Args:
        folder: Of a finished run.
        model_id: What its example loads; default: the folder's name.
    """
    path = Path(folder) / "README.md"
    build_tuned_card(folder, model_id).save(path)
    return path


def address_card(folder: Path, source: Path, repo_id: str) -> None:
    """Have the example on a card that `write_card` wrote load the model by the id under which it is published.

    A card that a person has changed is left as it is.

    Args:
        folder: What is published.
        source: What it was built from, with `training.json`.
        repo_id: Of the repository.
    """
    path = folder / "README.md"
    if (source / "training.json").is_file() and path.is_file():
        written = build_tuned_card(source).content if "base" in _record(source) else None
        if path.read_text(encoding="utf-8") == written:
            build_tuned_card(source, repo_id).save(path)


def build_tuned_card(folder: str | Path, model_id: str | None = None) -> ModelCard:
    """The card of a run.

    Args:
        folder: With `training.json`.
        model_id: What its example loads, and by whose last part the model is called; default: the folder's name.

    Raises:
        ReetError: If there is no record of the run.
    """
    folder = Path(folder)
    record = _record(folder)
    model_id = model_id or folder.resolve().name
    name = model_id.split("/")[-1]
    adapter = bool(record["recipe"].get("lora")) and "merged" not in record
    base = _base(record)
    metrics = {key: record["metrics"][f"eval_{key}"] for key in MEASURES if f"eval_{key}" in record["metrics"]}
    data = ModelCardData(
        model_name=name,
        base_model=base or None,
        library_name="peft" if adapter else "transformers",
        pipeline_tag="token-classification",
        tags=["reet", "reet-compression", "context-compression", *(("lora", "peft") if adapter else ())],
        eval_results=[_result(record, metrics[MAIN])] if MAIN in metrics else None,
    )
    parts = {
        "model_name": name,
        "model_id": model_id,
        "install": "reet-hf peft" if adapter else "reet-hf",
        "summary": _summary(record, base, adapter),
        "measured": _measured(record),
        "results": _results(record, metrics, base),
        "data": _data(record),
        "training": _training(record),
        "other_head": _other_head(record),
    }
    template = TEMPLATE.read_text(encoding="utf-8")
    places = set(re.findall(r"{{ (\w+) }}", template))
    if places != parts.keys():
        raise ReetError(f"{TEMPLATE.name} must have the places {sorted(parts)}, but has {sorted(places)}.")
    return ModelCard.from_template(data, template_str=f"---\n{{{{ card_data }}}}\n---\n\n{template}", **parts)


def _record(folder: Path) -> Record:
    made_by = folder / "training.json"
    if not made_by.is_file():
        raise ReetError(f"{folder} must hold training.json to get a card; train/train_scorer.py writes both.")
    return json.loads(made_by.read_text(encoding="utf-8"))


def _base(record: Record) -> str:
    """The Hub id of what a run went on from; empty if it has none: its record does not name a model by another's."""
    if "base" in record or "initial" in record:
        return record.get("base", "")
    return record["encoder"] if "/" in record["encoder"] else ""


def _result(record: Record, value: float) -> EvalResult:
    return EvalResult(
        task_type="token-classification",
        task_name="Context compression",
        dataset_type="own-conversations",
        dataset_name=f"held out of {', '.join(record.get('files', {}))}" if record.get("files") else "held out",
        metric_type="kept_evidence",
        metric_name="Questions whose answer is kept at 20% of the tokens",
        metric_value=value,
    )


def _summary(record: Record, base: str, adapter: bool) -> str:
    link = f"[{base}](https://huggingface.co/{base})" if base else "a model that has no name on the Hub"
    if adapter:
        return f"An adapter (LoRA) of {link} for conversations of one kind: it compresses them to a token budget."
    merged = ", an adapter merged into it" if "merged" in record else ""
    return f"This is {link}, tuned on conversations of one kind{merged}: it compresses them to a token budget."


def _measured(record: Record) -> str:
    """On what the scores were measured, and whether the weights were chosen by them."""
    where = "conversations that were not trained on" if "examples" not in record else "the run's own evaluation set"
    options: Record = record.get("options", {})
    chosen = (
        ", the same on which the best pass was chosen: expect a little less on new ones"
        if options.get("load_best_model_at_end")
        else ""
    )
    return f"Measured on {where}{chosen}."


def _results(record: Record, metrics: Record, base: str) -> str:
    before: Record = record.get("before", {})
    if not metrics:
        return "Nothing was measured: nothing was held out, or the weights that are left were not evaluated."
    rows = [[f"`{name}`", *([_score(before.get(name))] if before else []), _score(metrics[name])] for name in metrics]
    named = base or "the model it was tuned from"
    return table_of(["measure", *([f"{named}, before tuning"] if before else []), "this model"], rows)


def _data(record: Record) -> str:
    files: Record = record.get("files", {})
    prints: Record = record["data_fingerprint"]
    if not prints:
        count = f"{record['examples']} examples" if record.get("examples") else "examples"
        return f"{count[0].upper()}{count[1:]} of a data set that the run did not record."
    if not files:
        return mixture_section(files_of(record), prints)
    rows = [
        [f"`{name}`", *(entry[key] for key in COLUMNS), ", ".join(entry["licenses"]), f"`{prints[name]}`"]
        for name, entry in files.items()
        if name in prints
    ]
    head = ["file", *(name.replace("_", " ") for name in COLUMNS), "licences found", "fingerprint"]
    return table_of(head, rows)


def _training(record: Record) -> str:
    settings = {key: record[key] for key in ("seed", "processes", "steps", "runtime_seconds") if record.get(key)}
    own = ("mixture", "evaluation", "extraction_mixture", "extraction_evaluation")
    settings |= {k: v for k, v in record["recipe"].items() if k not in own and v not in ({}, [], None, "", 0, False)}
    settings |= record.get("options", {})
    parts = [f"```bash\n{record['command']}\n```"] if "command" in record else []
    if "merged" in record:
        parts.append(f"```bash\n{record['merged']['command']}\n```")
    parts.append(table_of(["setting", "value"], [[f"`{key}`", shown(value)] for key, value in settings.items()]))
    parts += [_curve(record["log"])] if record.get("log") else []
    return "\n\n".join([*parts, f"Versions: {listed(record['versions'])}."])


def _other_head(record: Record) -> str:
    """What the run did to the head that finds entities and facts."""
    if record["recipe"].get("extraction_mixture"):
        return "The head that finds entities and facts was trained with it, on the marked texts above."
    if "examples" in record:
        return "Whether entities and facts are found as before was not measured."
    return (
        "Entities and facts are found by the head of the model that it was tuned from, which was not trained further."
    )


def _curve(log: Sequence[Record]) -> str:
    keys = [key for key in ("loss", *(f"eval_{name}" for name in MEASURES)) if any(key in entry for entry in log)]
    rows: dict[int, dict[str, Any]] = {}
    for entry in log:
        rows.setdefault(entry["step"], {}).update(entry)
    lines = [[step, *(_score(entry.get(key)) for key in keys)] for step, entry in sorted(rows.items())]
    return table_of(["step", *(f"`{key}`" for key in keys)], lines)


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
