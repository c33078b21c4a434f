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
from .bundle import PACKAGE, read_config
from .cards import COMMON, TEMPLATE, all_files, build_card, parameters
from .eval_results import FILE, eval_results_yaml

NUMBER = re.compile(r"(?<![\w.])[+-]?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?%?(?!\w|\.\d)", re.IGNORECASE)
TOKEN = re.compile(r"(?<!\w)hf_\w{20,}")  # what gives access to an account of the Hub
TEXTS = (".md", ".json", ".yaml", ".txt", ".jinja", ".py")
DIGEST = re.compile(r"[0-9a-f]{16,}")
TOLERANCE = 1e-3
SECONDS = 600
HOME = "reet"  # the folder of a checkout with this project's models
EXPORTS = {
    "onnx/model.onnx": "onnx",
    "onnx/model_int8.onnx": "onnx --precision int8",
    "openvino/openvino_model.xml": "openvino",
}
"""What a backend opens, if it lies in a model's folder, and what `reet export --backend` makes it for."""
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


def check_exports(folder: Path, source: Path) -> list[str]:
    """What was found true of the exports in a folder, one line, or none if there are no exports.

    Args:
        folder: With a model or an adapter that can be loaded.
        source: What it was built from, for the error.

    Raises:
        ReetError: If one is of other weights.
    """
    found = [name for name in EXPORTS if (folder / name).is_file()]
    if not found:
        return []
    import torch

    from ..encoders.exports import fingerprint
    from ..modeling.modeling_reet import ReetForCompression

    mark = fingerprint(ReetForCompression.from_pretrained(folder, dtype=torch.float32).reet).encode()
    for name in found:
        if mark not in (folder / name).read_bytes():
            raise ReetError(
                f"{source / name} must be an export of the weights beside it, but is of others; make it again: "
                f"reet export {source} --backend {EXPORTS[name]}"
            )
    return [f"its exports are of its weights: {', '.join(found)}"]


def check_source(source: Path, package: Path = PACKAGE) -> None:
    """Refuse a model that came with the package: what its card says can be checked in a checkout only.

    Raises:
        ReetError: If it is one.
    """
    if source.resolve().parent == (package / "weights").resolve():
        raise ReetError(
            f"FOLDER must be a model of your own, but {source} came with the package, without the results that its "
            "card is checked against; publish it from a checkout of this project."
        )


def check_model_card(folder: Path, source: Path, checkout: Path = PACKAGE.parent) -> list[str]:
    """What was found true of a model's card and of its `.eval_results`, one line each.

    A model of this project, in the checkout's folder of models, has a summary in `eval/results` and its card must be
    what is made from it. Of any other model, whatever it is called, the scores in the front matter must be among the
    metrics in `training.json`.

    Args:
        folder: The bundle.
        source: What it was built from, whose last part is the model's name.
        checkout: Where `reet`, `eval/results` and `model_cards` are.

    Raises:
        ReetError: If there is no card, it is not current, a number on it was not measured, or a file holds a token.
    """
    check_no_token(folder)
    path, made_by = folder / "README.md", folder / "training.json"
    if not path.is_file():
        raise ReetError(f"{source} must have a card, README.md; write it, or train with the scripts in train/.")
    card = ModelCard.load(path)
    name = source.resolve().name
    summary, person = checkout / "eval/results/summary" / f"{name}.json", checkout / "model_cards" / f"{name}.md"
    trained = [read_config(made_by)] if made_by.is_file() else []
    own = source.resolve() == (checkout / HOME / name).resolve()
    if not (own and summary.is_file() and person.is_file()):
        return check_card(ModelCard(f"---\n{card.data.to_yaml()}\n---\n"), trained)
    results = json.loads(summary.read_text(encoding="utf-8"))
    current = {path: build_card(source, person, summary).content, folder / FILE: eval_results_yaml(results)}
    for file, text in current.items():
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            raise ReetError(f"{source / file.relative_to(folder)} must say what {summary} does; run: make report.")
    written = [file.read_text(encoding="utf-8") for file in (TEMPLATE, person, person.with_name(COMMON))]
    config = read_config(folder / "config.json")
    passes = [all_files(record)[0] for record in trained]  # sums over the stages
    records = [results, *trained, *passes, config, {"parameters": parameters(folder)}]
    checked = check_card(card, records, "\n".join(written), results)
    return ["its card and .eval_results are made from eval/results", *checked]


def check_no_token(folder: Path) -> None:
    """Refuse a folder with a file that holds what looks like a token of the Hub.

    Raises:
        ReetError: If there is one, naming file and line.
    """
    for path in sorted(path for path in folder.rglob("*") if path.suffix in TEXTS and path.is_file()):
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if TOKEN.search(line):
                raise ReetError(
                    f"{path.relative_to(folder)}, line {number}, must hold no token of the Hub, but has one that begins"
                    f" with {TOKEN.findall(line)[0][:6]!r}; take it out, and revoke it if anybody may have seen it: "
                    "https://huggingface.co/settings/tokens"
                )


def check_card(
    card: ModelCard,
    records: Sequence[Mapping[str, Any]],
    written: str = "",
    scores: Mapping[str, Any] | None = None,
) -> list[str]:
    """What was found true of a card, one line.

    Args:
        card: With front matter.
        records: Everything that was measured or recorded of the model.
        written: Text that a person wrote or a template holds, whose numbers are names and constants.
        scores: The results file that the numbers in the section Results and in the front matter must be in, those of a
            set in what it holds of the set; default: any of `records`.

    Raises:
        ReetError: If a number on the card is in none of them, naming all such numbers with their lines.
    """
    known = set(numbers_in(records))
    constants = {text for text in NUMBER.findall(written)}
    passed_over, section = set(written.splitlines()), ""
    unknown, count = [], 0
    for line in card.text.splitlines():
        section = line.strip() if line.startswith("## ") else section
        if line in passed_over:
            continue
        allowed = _scores_of(line.strip("| ").split(" | ")[0], scores) if scores and section == "## Results" else known
        for text in NUMBER.findall(re.sub(r"`[^`]*`", "", line)):
            count += 1
            if text not in constants and not founded(text, allowed):
                unknown.append(f"{text} in {line.strip()[:100]!r}")
    for result in getattr(card.data, "eval_results", None) or []:
        count += 1
        if not founded(str(result.metric_value), _scores_of(result.dataset_name, scores) if scores else known):
            unknown.append(f"{result.metric_value} of {result.metric_name!r} in the front matter")
    if unknown:
        raise ReetError(
            "A card must hold no number that was not measured, but these are in no results file: "
            f"{'; '.join(unknown)}. Make the card again: make report."
        )
    return [f"all {count} numbers of the card were measured"]


def _scores_of(name: str, scores: Mapping[str, Any]) -> set[Decimal]:
    """The numbers that a results file holds of a set, of the mean, or, under another name, at all."""
    parts = {**scores["sets"], **dict.fromkeys(("mean", "mean of answer survival"), scores["mean"])}
    return set(numbers_in(parts.get(name, scores)))


def numbers_in(record: Any) -> Iterator[Decimal]:
    """Every number in a record of dicts, lists, numbers and texts; digits of a digest are none."""
    if isinstance(record, Mapping):
        for key, value in record.items():
            yield from numbers_in(key)
            yield from numbers_in(value)
    elif isinstance(record, str):
        yield from (_number(text) for text in NUMBER.findall(DIGEST.sub("", record)))
        yield from (Decimal(digits) for digits in re.findall(r"\d+(?:\.\d+)?", DIGEST.sub("", record)))
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
