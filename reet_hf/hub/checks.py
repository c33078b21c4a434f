"""What must hold of a folder before it is published: it runs in a clean process, its card says what was measured."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard

from ..errors import ReetError
from . import trial
from .bundle import PACKAGE
from .cards import COMMON, TEMPLATE, all_files, build_card, parameters
from .eval_results import FILE, eval_results_yaml

NUMBER = re.compile(r"(?<![\w.])[+-]?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?%?(?!\w|\.\d)", re.IGNORECASE)
TOLERANCE = 1e-3
SECONDS = 600
SETTINGS = {
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
    "GRADIO_ANALYTICS_ENABLED": "False",
    "PYTHONDONTWRITEBYTECODE": "1",
}
"""What a clean process finds in its environment."""


def check_model(folder: Path, environment: Mapping[str, str]) -> list[str]:
    """What was found true of a bundle, one line each: it compresses with the package and without, and alike.

    Args:
        folder: What `build_bundle` made.
        environment: That of the command, see `in_clean_process`.

    Raises:
        ReetError: If it does not, with the last lines of what the process said.
    """
    with_package, without = (try_model(folder, packaged, environment) for packaged in (True, False))
    if with_package["packages"] == without["packages"]:
        raise ReetError(f"{folder} must run its own code without the package, but ran {without['packages'][0]}.")
    first, second = with_package["result"], without["result"]
    places = [[(piece["message"], piece["start"], piece["end"]) for piece in out["pieces"]] for out in (first, second)]
    apart = [abs(a["importance"] - b["importance"]) for a, b in zip(first["pieces"], second["pieces"], strict=False)]
    if places[0] != places[1] or max(apart, default=0.0) > TOLERANCE:
        raise ReetError(
            f"{folder} must give the same result with the package and without, but keeps {first['text']!r} and "
            f"{second['text']!r}; the code in the folder is not that of the package: build it again."
        )
    counts = first["tokens"]
    return [
        f"loads and compresses with the package: {counts['compressed']} of {counts['original']} tokens, "
        f"{len(places[0])} pieces, all verbatim",
        "loads and compresses without it by its own code, with the same result",
    ]


def try_model(folder: Path, packaged: bool, environment: Mapping[str, str]) -> dict[str, Any]:
    """What `trial.run` returns in a clean process.

    Raises:
        ReetError: If the process fails, or its result breaks the budget or holds what is not verbatim.
    """
    script = ["-m", trial.__name__] if packaged else [str(Path(trial.__file__).resolve())]
    rule = f"{folder} must load {'with' if packaged else 'without'} the package"
    answer = json.loads(in_clean_process([*script, str(folder.resolve())], rule, environment))
    result, contents = answer["result"], [message["content"] for message in trial.MESSAGES]
    counts = result["tokens"]
    if not 0 < counts["compressed"] <= counts["budget"]:
        raise ReetError(f"{folder} must keep something within its budget, but counted {counts}.")
    strange = [p for p in result["pieces"] if contents[p["message"]][p["start"] : p["end"]] not in result["text"]]
    if strange:
        raise ReetError(f"{folder} must keep pieces verbatim, but {strange[0]} does not stand in its text.")
    return answer


def in_clean_process(arguments: Sequence[str], rule: str, environment: Mapping[str, str]) -> str:
    """What Python printed last, run in an empty folder, without the network and without this process's paths.

    Args:
        arguments: Of the interpreter.
        rule: What its failure means, as the beginning of an error.
        environment: That of the command, of which what concerns Python and the Hub is left out.

    Raises:
        ReetError: If it fails.
    """
    settings = {name: value for name, value in environment.items() if not name.startswith(("PYTHON", "HF_"))}
    with tempfile.TemporaryDirectory() as elsewhere:
        settings |= {**SETTINGS, "HF_HOME": elsewhere}
        try:
            done = subprocess.run(
                [sys.executable, *arguments],
                cwd=elsewhere,
                env=settings,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as late:
            raise ReetError(f"{rule}, but it had not ended after {SECONDS} seconds.") from late
    if done.returncode:
        said = "\n".join(done.stderr.strip().splitlines()[-8:])
        raise ReetError(f"{rule}, but the process ended with status {done.returncode}:\n{said}")
    return done.stdout.strip().splitlines()[-1]


def check_model_card(folder: Path, source: Path, checkout: Path = PACKAGE.parent) -> list[str]:
    """What was found true of a model's card and of its `.eval_results`, one line each.

    A model of this project has a summary in `eval/results` and its card must be what is made from it. Of any other
    model the scores in the front matter must be among the metrics in `training.json`.

    Args:
        folder: The bundle.
        source: What it was built from, whose last part is the model's name.
        checkout: Where `eval/results` and `model_cards` are.

    Raises:
        ReetError: If there is no card, it is not current, or a number on it was not measured.
    """
    path, made_by = folder / "README.md", folder / "training.json"
    if not path.is_file():
        raise ReetError(f"{source} must have a card, README.md; write it, or train with the scripts in train/.")
    card = ModelCard.load(path)
    name = source.resolve().name
    summary, person = checkout / "eval/results/summary" / f"{name}.json", checkout / "model_cards" / f"{name}.md"
    trained = [json.loads(made_by.read_text(encoding="utf-8"))] if made_by.is_file() else []
    if not (summary.is_file() and person.is_file()):
        return check_card(ModelCard(f"---\n{card.data.to_yaml()}\n---\n"), trained)
    results = json.loads(summary.read_text(encoding="utf-8"))
    current = {path: build_card(source, person, summary).content, folder / FILE: eval_results_yaml(results)}
    for file, text in current.items():
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            raise ReetError(f"{source / file.relative_to(folder)} must say what {summary} does; run: make report.")
    written = [file.read_text(encoding="utf-8") for file in (TEMPLATE, person, person.with_name(COMMON))]
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    passes = [all_files(record)[0] for record in trained]  # sums over the stages
    records = [results, *trained, *passes, config, {"parameters": parameters(folder)}]
    return ["its card and .eval_results are made from eval/results", *check_card(card, records, "\n".join(written))]


def check_card(card: ModelCard, records: Sequence[Mapping[str, Any]], written: str = "") -> list[str]:
    """What was found true of a card, one line.

    Args:
        card: With front matter.
        records: Everything that was measured or recorded of the model.
        written: Text that a person wrote or a template holds, whose numbers are names and constants.

    Raises:
        ReetError: If a number on the card is in none of them, naming all such numbers with their lines.
    """
    known = set(numbers_in(records))
    constants = {text for text in NUMBER.findall(written)}
    own = [line for line in card.text.splitlines() if line not in set(written.splitlines())]
    unknown, count = [], 0
    for line in own:
        for text in NUMBER.findall(re.sub(r"`[^`]*`", "", line)):
            count += 1
            if text not in constants and not founded(text, known):
                unknown.append(f"{text} in {line.strip()[:100]!r}")
    for result in getattr(card.data, "eval_results", None) or []:
        count += 1
        if not founded(str(result.metric_value), known):
            unknown.append(f"{result.metric_value} of {result.metric_name!r} in the front matter")
    if unknown:
        raise ReetError(
            "A card must hold no number that was not measured, but these are in no results file: "
            f"{'; '.join(unknown)}. Make the card again: make report."
        )
    return [f"all {count} numbers of the card were measured"]


def numbers_in(record: Any) -> Iterator[Decimal]:
    """Every number in a record of dicts, lists, numbers and texts."""
    if isinstance(record, Mapping):
        for key, value in record.items():
            yield from numbers_in(key)
            yield from numbers_in(value)
    elif isinstance(record, str):
        yield from (_number(text) for text in NUMBER.findall(record))
        yield from (Decimal(digits) for digits in re.findall(r"\d+(?:\.\d+)?", record))
    elif isinstance(record, Iterable):
        for item in record:
            yield from numbers_in(item)
    elif isinstance(record, (int, float)) and not isinstance(record, bool):
        yield Decimal(str(record))


def founded(text: str, known: Iterable[Decimal]) -> bool:
    """Whether a number as printed, which may be a percentage, is one of `known` rounded as it is."""
    shown = _number(text)
    half = Decimal((0, (5,), int(shown.as_tuple().exponent) - 1))
    scale = 100 if text.endswith("%") else 1
    return any(abs(scale * value - shown) <= half for value in known)


def _number(text: str) -> Decimal:
    return Decimal(text.replace(",", "").strip("+%"))
