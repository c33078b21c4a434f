"""The model card: `python -m reet_hf.hub.cards reet/reet-base` writes README.md into that folder.

Every number on a card comes from a file: the weights and their configuration, `training.json` beside them, and a
summary that `eval/report.py` wrote. What only a person knows stands in `model_cards/NAME.md`.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData
from safetensors import safe_open

from ..errors import ReetError
from .bundle import requirements

TEMPLATE = Path(__file__).with_name("card_template.md")
COMMON = "common.md"  # beside what a person wrote about one model: sections that hold for all
SECTIONS = ("Intended use", "Limits", "Risks", "Training data")
TABLES = {  # further numbers of each set and system that a results file may hold
    "evidence_recall": "Share of the content words of the gold evidence that is kept:",
}
RESULT_KEYS = ("system", "task", "version", "regime", "rate", "turns", "model", "hardware", "packages", "sets", "mean")
TRAINING_KEYS = ("command", "recipe", "seed", "steps", "data_fingerprint", "metrics")

Record = Mapping[str, Any]


def build_card(folder: str | Path, person: str | Path, results: str | Path) -> ModelCard:
    """The card of the model in `folder`, whose last two parts are its Hub id.

    Args:
        folder: Saved model with `training.json`.
        person: Markdown with front matter and the sections in `SECTIONS`.
        results: JSON file that `eval/report.py` wrote for this model.

    Raises:
        ReetError: If a file is missing or does not belong to this model, naming it and what makes it.
    """
    folder = Path(folder).resolve()
    model_id = f"{folder.parent.name}/{folder.name}"
    measured = read_results(Path(results), model_id)
    trained = _read_json(folder / "training.json", TRAINING_KEYS, "train/train_scorer.py writes it beside the weights")
    front, summary, sections = read_person(Path(person))
    mixture, digests = all_files(trained)
    _check_mixture(Path(person), sections["Training data"], mixture)
    parts = {
        "model_id": model_id,
        "summary": summary,
        "requirements": " ".join(requirements()),
        **{name.lower().replace(" ", "_"): text for name, text in sections.items()},
        **{key: measured[key] for key in ("task", "version", "regime", "turns")},
        **{key: listed(measured[key]) for key in ("hardware", "packages")},
        "rate": f"{measured['rate']:.0%}",
        "results": results_section(measured),
        "architecture": architecture_section(folder),
        "mixture": mixture_section(mixture, digests),
        "training": training_section(trained),
    }
    template = TEMPLATE.read_text(encoding="utf-8")
    places = set(re.findall(r"{{ (\w+) }}", template))
    if places != parts.keys():
        raise ReetError(f"{TEMPLATE.name} must have the places {sorted(parts)}, but has {sorted(places)}.")
    fields = {**front, "model_name": folder.name, "eval_results": eval_results(measured)}
    return ModelCard.from_template(
        ModelCardData(**fields), template_str=f"---\n{{{{ card_data }}}}\n---\n\n{template}", **parts
    )


def read_results(path: Path, model_id: str) -> Record:
    """The results file of a model.

    Raises:
        ReetError: If it is missing, incomplete or of another model.
    """
    command = "python -m eval.report, after python eval/run.py --system reet --task mtr --data FOLDER"
    results = _read_json(path, RESULT_KEYS, f"make it with: {command}")
    if results["model"].split("/")[-1] != model_id.split("/")[-1]:
        raise ReetError(f"{path} holds results of {results['model']!r}, not of {model_id!r}; make it with: {command}.")
    return results


def read_person(path: Path) -> tuple[dict[str, Any], str, dict[str, str]]:
    """Front matter, opening paragraph and sections of what a person wrote about a model, and about all of them.

    Raises:
        ReetError: If the file or a section is missing, or a section has no place on a card.
    """
    if not path.is_file():
        raise ReetError(f"{path} is missing; write it with front matter and the sections {', '.join(SECTIONS)}.")
    card = ModelCard(path.read_text(encoding="utf-8"))
    shared = path.with_name(COMMON)
    texts = [shared.read_text(encoding="utf-8")] if shared.is_file() else []
    (summary, own), common = _parts(card.text), [_parts(text)[1] for text in texts]
    parts = [part for part in (*common, own) if part is not None]
    sections = {title: "\n\n".join(part[title] for part in parts if title in part) for part in parts for title in part}
    whole = len(parts) == 1 + len(texts) and all((summary, *(text for part in parts for text in part.values())))
    if sections.keys() != set(SECTIONS) or not whole:
        raise ReetError(
            f"{path} must have an opening paragraph, and it or {COMMON} beside it each of the sections "
            f"{', '.join(SECTIONS)}, in one file once and none of them empty, but they have "
            f"{', '.join(sections) or 'none'}."
        )
    return card.data.to_dict(), summary, sections


def results_section(results: Record) -> str:
    """Tables of every set and system, and what was checked beside."""
    sets: Record = results["sets"]
    means: Record = results["mean"]
    systems = list(dict.fromkeys(system for values in means.values() for system in values))
    table = []
    for name, entry in sets.items():
        scores = [_score(entry["systems"].get(system), entry["half_interval"].get(system)) for system in systems]
        table.append([name, entry["measure"].replace("_", " "), entry["questions"], *scores])
    survival = [_score(means["answer_survival"].get(system)) for system in systems]
    table.append(["mean of answer survival", "", "", *survival])
    parts = [table_of(["set", "measure", "questions", *systems], table)]
    for key, title in TABLES.items():
        found = {name: entry[key] for name, entry in sets.items() if key in entry}
        if found:
            found["mean"] = means[key]
            lines = [[name, *(_score(values.get(system)) for system in systems)] for name, values in found.items()]
            parts += [title, table_of(["set", *systems], lines)]
    checks = [f"Budgets overrun: {results['overruns']}."] if "overruns" in results else []
    checks += [f"Pieces that are verbatim: {results['verbatim']:.1%}."] if "verbatim" in results else []
    parts += [" ".join(checks)] if checks else []
    return "\n\n".join(parts)


def eval_results(results: Record) -> list[EvalResult]:
    """The model's own score on every set, for the front matter."""
    found = []
    for name, entry in results["sets"].items():
        title = entry["measure"].replace("_", " ").capitalize()
        dataset, _, split = name.rpartition("-")
        found.append(
            EvalResult(
                task_type="token-classification",
                task_name=f"{results['task']} {results['version']}",
                dataset_type=dataset or name,
                dataset_name=name,
                dataset_split=split,
                metric_type=entry["measure"],
                metric_name=f"{title} at {results['rate']:.0%} of the tokens",
                metric_value=entry["systems"][results["system"]],
            )
        )
    return found


def architecture_section(folder: Path) -> str:
    """Sizes from the configuration, and the number of parameters from the weights."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    encoder = config["encoder_config"]
    rows = [["parameters", parameters(folder)], ["precision", config.get("dtype")], ["encoder", encoder["model_type"]]]
    rows += [[f"encoder {key.replace('_', ' ')}", encoder.get(key)] for key in ("num_hidden_layers", "hidden_size")]
    own = ("token_dim", "unit_dim", "window_tokens", "query_tokens", "history_turns", "history_tokens")
    return table_of(["", ""], [*rows, *([f"`{key}`", config[key]] for key in own)])


def parameters(folder: Path) -> int:
    """Number of parameters in the weights of a folder."""
    count = 0
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "numpy") as weights:
            count += sum(math.prod(weights.get_slice(name).get_shape()) for name in weights.keys())  # noqa: SIM118
    return count


def stages_of(trained: Record) -> list[tuple[str, Record]]:
    """Every run that led to the weights with its title, the first one first."""
    chain = [trained]
    while "initial" in chain[0]:
        chain.insert(0, chain[0]["initial"])
    found = []
    for number, stage in enumerate(chain, 1):
        if "extractor" in stage:
            found.append((f"The extraction head that stage {number} starts from", stage["extractor"]))
        found.append((f"Stage {number} of {len(chain)}", stage))
    return found


def files_of(stage: Record) -> dict[str, float]:
    """Passes over each file of one stage, conversations and marked texts."""
    return {**stage["recipe"]["mixture"], **stage["recipe"].get("extraction_mixture", {})}


def all_files(trained: Record) -> tuple[dict[str, float], dict[str, str]]:
    """Passes over each file in all stages together, and the digest of each."""
    passes: Counter[str] = Counter()
    digests: dict[str, str] = {}
    for _, stage in stages_of(trained):
        passes.update(files_of(stage))
        digests |= stage["data_fingerprint"]
    return {name: round(count, 4) for name, count in sorted(passes.items())}, digests


def _parts(text: str) -> tuple[str, dict[str, str] | None]:
    """What stands before the first section, and the sections; `None` if one comes twice."""
    summary, *rest = re.split(r"^## +(.+)$", text.strip(), flags=re.MULTILINE)
    titles = [title.strip() for title in rest[::2]]
    sections = dict(zip(titles, (part.strip() for part in rest[1::2]), strict=True))
    return summary.strip(), sections if len(sections) == len(titles) else None


def mixture_section(mixture: Record, fingerprints: Record) -> str:
    """Passes over each training file, and the digest that identifies it."""
    rows = [[f"`{name}`", passes, f"`{fingerprints[name]}`"] for name, passes in mixture.items()]
    return table_of(["file", "passes", "SHA-256, first digits"], rows)


def training_section(trained: Record) -> str:
    """Of each stage, the first one first: its command, what it ran with, its files, and what came out."""
    return "\n\n".join(
        f"{title}:\n\n{_stage(stage)}\n\n{mixture_section(files_of(stage), stage['data_fingerprint'])}"
        for title, stage in stages_of(trained)
    )


def _stage(trained: Record) -> str:
    """The command of one stage, what it ran with, and what came out."""
    single = ("encoder", "seed", "processes", "steps", "runtime_seconds")
    settings = {key: trained[key] for key in single if trained.get(key) is not None}
    settings |= {
        key: value
        for key, value in trained["recipe"].items()
        if key not in ("mixture", "extraction_mixture") and value not in ({}, [], None, "")
    }
    settings |= trained.get("schedule", {})
    rows = [[f"`{key}`", shown(value)] for key, value in settings.items()]
    metrics = [[f"`{key}`", shown(value)] for key, value in trained["metrics"].items()]
    parts = [f"```bash\n{trained['command']}\n```", table_of(["setting", "value"], rows)]
    parts += [table_of(["metric of the finished run", "value"], metrics)] if metrics else []
    parts += [f"Versions: {listed(trained['versions'])}."] if trained.get("versions") else []
    if average := trained.get("average"):
        told = f"The weights are the mean of this stage's ({average['share']} of it) and those it was trained from:"
        parts += [told, f"```bash\n{average['command']}\n```"]
    return "\n\n".join([*parts, *filter(None, [trained.get("afterwards")])])


def _check_mixture(person: Path, section: str, mixture: Record) -> None:
    described = set(re.findall(r"^\| *`([^`]+)` *\|", section, flags=re.MULTILINE))
    if described != set(mixture):
        raise ReetError(
            f"{person} must name, in the table of its section 'Training data', the licence of exactly the files "
            f"that training.json lists; missing: {sorted(set(mixture) - described)}, "
            f"not used: {sorted(described - set(mixture))}."
        )


def _read_json(path: Path, keys: Sequence[str], way_out: str) -> Record:
    if not path.is_file():
        raise ReetError(f"{path} is missing; {way_out}.")
    record = json.loads(path.read_text(encoding="utf-8"))
    missing = [key for key in keys if key not in record]
    if missing:
        raise ReetError(f"{path} must hold {', '.join(keys)}, but lacks {', '.join(missing)}; {way_out}.")
    return record


def table_of(head: Sequence[Any], rows: Sequence[Sequence[Any]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def _score(value: float | None, half_interval: float | None = None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if half_interval is None else f"{value:.3f} ±{half_interval:.3f}"


def shown(value: Any) -> str:
    """A setting as a reader sees it, floats in four digits."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {shown(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(shown, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def listed(values: Record) -> str:
    """Names with their values, in one line."""
    return ", ".join(f"{key} {value}" for key, value in values.items())


def main(argv: Sequence[str] | None = None) -> int:
    """Write the card of one folder; 0, or 2 with the reason on stderr."""
    parser = argparse.ArgumentParser(prog="python -m reet_hf.hub.cards", description="Write a model's card.")
    parser.add_argument("folder", type=Path, help="saved model with training.json, such as reet/reet-base")
    parser.add_argument("--person", type=Path, help="default: model_cards/NAME.md")
    parser.add_argument("--results", type=Path, help="default: eval/results/summary/NAME.json")
    arguments = parser.parse_args(argv)
    name = arguments.folder.resolve().name
    person = arguments.person or Path("model_cards") / f"{name}.md"
    results = arguments.results or Path("eval/results/summary") / f"{name}.json"
    try:
        card = build_card(arguments.folder, person, results)
    except ReetError as error:
        print(error, file=sys.stderr)
        return 2
    card.save(arguments.folder / "README.md")
    print(arguments.folder / "README.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
