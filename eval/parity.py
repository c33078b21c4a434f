"""What encoder backends change: python -m eval.parity --data FOLDER --backend torch,openvino --precision bfloat16

Every encoder is measured against PyTorch in float32 on the same conversations and questions: token states, calibrated
chances, what is kept of each sentence, what survives of answers and evidence, and tokens a second. One file holds all
encoders that were measured; measuring one again replaces its entry.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from eval import records
from eval.revision import revision
from eval.systems.base import Kept, QueryOptional
from eval.systems.reet import extractor, scorer
from eval.tasks import mtr
from eval.work import digest
from reet_hf.budget import resolve_counter
from reet_hf.conversation import Conversation, parse_messages
from reet_hf.encoders import BACKENDS, WindowEncoder, check_choice, make_encoder
from reet_hf.errors import ReetError
from reet_hf.records import Span, Turn
from reet_hf.registration import DEFAULT_MODEL, bundled_model
from reet_hf.scoring.scorer import ReetScorer
from reet_hf.segmentation import units
from reet_hf.windows import plan_windows, special_frame, tokenize

BUDGETS = (0.33, 0.2)
MEASURES = ("answer_survival", "evidence_recall")
BOUNDS = {"flips": 0.005, "units_same": 0.99, "retention_points": 0.5}
PACKAGES = ("reet-hf", "torch", "transformers", "onnx", "onnxscript", "onnxruntime", "openvino")
REFERENCE = ("torch", "float32")
TIMED_WINDOWS, ROUNDS = 48, 5
DEFINITIONS = {
    "cosine": "between a token's state and that of the reference, in the timed windows: mean, and the lowest",
    "chance_change": "difference of a token's calibrated chance for a question: mean, 99.9 % quantile, largest",
    "flips": "share of tokens whose chance is on the other side of one half",
    "units_chosen": "by budget the share of sentences of which both keep something, or neither does",
    "units_same": "by budget the share of sentences of which exactly the same characters are kept",
    "kept_same": "the same share among the sentences of which either keeps anything",
    "outputs_same": "by budget the share of questions for which everything kept is the same",
    "retention": "by budget and measure the mean over data sets, in percent; change: from the reference, points",
    "batch_difference": "largest difference of a state between windows read together and each alone",
    "tokens_per_second": "of 48 windows read four at a time, best of five rounds, alternating with the reference",
    "speed": "tokens a second by those of the reference: median over rounds",
    "passes": "flips, units_same and retention change of every budget within the bounds",
}

Row = Mapping[str, Any]


@dataclass
class Seen:
    """What one encoder made of one row.

    Attributes:
        chances: For each question those of all tokens, of shape `(tokens,)`.
        kept: For each question what was kept under each budget.
    """

    chances: list[np.ndarray] = field(default_factory=list)
    kept: list[list[Kept]] = field(default_factory=list)


@dataclass
class Differences:
    """Sums over rows of how an encoder differs from the reference; budgets by their number."""

    changes: list[np.ndarray] = field(default_factory=list)
    flips: list[np.ndarray] = field(default_factory=list)
    chosen: dict[int, list[bool]] = field(default_factory=dict)
    same: dict[int, list[bool]] = field(default_factory=dict)
    kept_same: dict[int, list[bool]] = field(default_factory=dict)
    outputs: dict[int, list[bool]] = field(default_factory=dict)

    def add(self, spans: Sequence[Span], own: Seen, reference: Seen) -> None:
        """Count one row, whose sentences are `spans`."""
        for ours, theirs in zip(own.chances, reference.chances, strict=True):
            self.changes.append(np.abs(ours - theirs))
            self.flips.append((ours >= 0.5) != (theirs >= 0.5))
        for outputs in zip(own.kept, reference.kept, strict=True):
            for place, (one, other) in enumerate(zip(*outputs, strict=True)):
                pairs = list(zip(parts_of(spans, one.pieces), parts_of(spans, other.pieces), strict=True))
                self.chosen.setdefault(place, []).extend(bool(a) == bool(b) for a, b in pairs)
                self.same.setdefault(place, []).extend(a == b for a, b in pairs)
                self.kept_same.setdefault(place, []).extend(a == b for a, b in pairs if a or b)
                self.outputs.setdefault(place, []).append(one.pieces == other.pieces)

    def summary(self) -> dict[str, Any]:
        """The measures of `DEFINITIONS` that come from differences."""
        changes = np.concatenate(self.changes)
        return {
            "chance_change": {
                "mean": _short(changes.mean()),
                "q99.9": _short(np.quantile(changes, 0.999)),
                "largest": _short(changes.max()),
            },
            "flips": _short(np.concatenate(self.flips).mean()),
            "units_chosen": _by_budget({place: np.mean(values) for place, values in self.chosen.items()}),
            "units_same": _by_budget({place: np.mean(values) for place, values in self.same.items()}),
            "kept_same": _by_budget({place: np.mean(values) for place, values in self.kept_same.items()}),
            "outputs_same": _by_budget({place: np.mean(values) for place, values in self.outputs.items()}),
        }


def parts_of(spans: Sequence[Span], pieces: Sequence[Span]) -> list[tuple[tuple[int, int], ...]]:
    """For each span the half-open characters of it that lie in pieces.

    Args:
        spans, pieces: In reading order, neither overlapping among themselves.
    """
    found: list[tuple[tuple[int, int], ...]] = []
    first = 0
    for span in spans:
        while first < len(pieces) and (pieces[first].message, pieces[first].end) <= (span.message, span.start):
            first += 1
        own, place = [], first
        while place < len(pieces) and (pieces[place].message, pieces[place].start) < (span.message, span.end):
            own.append((max(pieces[place].start, span.start), min(pieces[place].end, span.end)))
            place += 1
        found.append(tuple(own))
    return found


def see(system: QueryOptional, row: Row, turns: int) -> tuple[Seen, list[Span]]:
    """What a system makes of a row's first questions, asked in order as in the regime `session`, and its sentences."""
    state = system.open(row["messages"])
    seen = Seen()
    history: list[Turn] = []
    for question in row["questions"][:turns]:
        seen.kept.append(system.compress(state, question["question"], tuple(history), BUDGETS))
        scores = system.scorer.found
        seen.chances.append(np.zeros(0) if scores is None or scores.chances is None else scores.chances)
        history.append(Turn(question["question"], (question["answers"] or [""])[0]))
    return seen, [unit.span for unit in units(state.conversation, "sentence")]


def retention(sets: Mapping[str, Sequence[Row]], seen: Mapping[str, Sequence[Seen]], place: int) -> dict[str, float]:
    """Mean over data sets of each measure under the budget at `place`, in percent."""
    found: dict[str, float] = {}
    for measure in MEASURES:
        means = []
        for name, rows in sets.items():
            scores = [
                score[measure]
                for row, own in zip(rows, seen[name], strict=True)
                for question, kept in zip(row["questions"], own.kept, strict=False)
                if measure in (score := mtr.score(dict(row), question, kept[place]))
            ]
            means += [np.mean(scores)] if scores else []
        found[measure] = 100 * float(np.mean(means))
    return found


def windows_of(sets: Mapping[str, Sequence[Row]], own: ReetScorer) -> list[list[int]]:
    """The first windows of the first row of each data set in turn, with special tokens."""
    before, after = special_frame(own.tokenizer)
    capacity = own.config.window_tokens - len(before) - len(after)
    found: list[list[list[int]]] = []
    for rows in sets.values():
        table = tokenize(Conversation(parse_messages(rows[0]["messages"])), own.tokenizer, 0, 0)
        places = plan_windows(table.units, capacity)
        found.append([[*before, *table.ids[start:end].tolist(), *after] for start, end in places])
    most = -(-TIMED_WINDOWS // len(found))
    return [window for windows in found for window in windows[:most]][:TIMED_WINDOWS]


def reading(encoder: WindowEncoder, windows: Sequence[list[int]]) -> float:
    """Seconds to read windows, four at a time, as a conversation is read."""
    start = time.perf_counter()
    for first in range(0, len(windows), 4):
        encoder.read(windows[first : first + 4])
    return time.perf_counter() - start


def speed(encoder: WindowEncoder, reference: WindowEncoder, windows: Sequence[list[int]]) -> dict[str, Any]:
    """Tokens a second of an encoder, and how many times those of the reference."""
    tokens = sum(map(len, windows))
    reading(encoder, windows)
    pairs = [(reading(encoder, windows), reading(reference, windows)) for _ in range(ROUNDS)]
    return {
        "tokens_per_second": round(tokens / min(own for own, _ in pairs)),
        "reference_tokens_per_second": round(tokens / min(theirs for _, theirs in pairs)),
        "speed": _short(statistics.median(theirs / own for own, theirs in pairs)),
    }


def cosine(encoder: WindowEncoder, reference: WindowEncoder, windows: Sequence[list[int]]) -> dict[str, float]:
    """How near an encoder's states are to those of the reference."""
    own, theirs = (torch.cat(each.read(windows)).float() for each in (encoder, reference))
    found = torch.nn.functional.cosine_similarity(own, theirs, dim=-1)
    return {"mean": _short(found.mean()), "lowest": _short(found.min())}


def batch_difference(encoder: WindowEncoder, windows: Sequence[list[int]]) -> float:
    """Largest difference of a state between windows of several lengths read together and each alone."""
    some = [window[: len(window) - 3 * number] for number, window in enumerate(windows[:8])]
    together = encoder.read(some)
    pairs = zip(together, (encoder.read([window])[0] for window in some), strict=True)
    return max(float((one.float() - other.float()).abs().max()) for one, other in pairs)


def compare(
    sets: Mapping[str, Sequence[Row]], build: Callable[[WindowEncoder], QueryOptional], turns: int, reference: Any
) -> Callable[[WindowEncoder], dict[str, Any]]:
    """A function from an encoder to its measures, the reference having read everything once.

    Args:
        sets: Rows by data set.
        build: From an encoder to the system that reads with it.
        turns: At most so many questions of each row.
        reference: The encoder that the others are compared with.
    """
    plain = build(reference)
    theirs = {name: [see(plain, row, turns) for row in rows] for name, rows in sets.items()}
    before = {name: [seen for seen, _ in found] for name, found in theirs.items()}
    base = [retention(sets, before, place) for place in range(len(BUDGETS))]

    def measured(encoder: WindowEncoder) -> dict[str, Any]:
        system, differences = build(encoder), Differences()
        own: dict[str, list[Seen]] = {}
        for name, rows in sets.items():
            own[name] = []
            for row, (seen, spans) in zip(rows, theirs[name], strict=True):
                own[name].append(see(system, row, turns)[0])
                differences.add(spans, own[name][-1], seen)
        found = differences.summary()
        kept = [retention(sets, own, place) for place in range(len(BUDGETS))]
        found["retention"] = _by_budget(
            {
                place: {m: {"percent": _short(v), "change": _short(v - base[place][m])} for m, v in values.items()}
                for place, values in enumerate(kept)
            }
        )
        found["passes"] = passes(found)
        return found

    return measured


def passes(found: Mapping[str, Any]) -> bool:
    """Whether measures are within `BOUNDS`."""
    changes = [abs(each["change"]) for values in found["retention"].values() for each in values.values()]
    return (
        found["flips"] <= BOUNDS["flips"]
        and min(found["units_same"].values()) >= BOUNDS["units_same"]
        and max(changes) <= BOUNDS["retention_points"]
    )


def _by_budget(values: Mapping[int, Any]) -> dict[str, Any]:
    names = [f"{budget:.0%}" for budget in BUDGETS]
    return {names[p]: v if isinstance(v, dict) else _short(v) for p, v in sorted(values.items())}


def _short(value: Any) -> float:
    return float(f"{float(value):.5g}")


def processor() -> str:
    """The name of the processor, as Linux says it; its architecture elsewhere."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text(encoding="utf-8").splitlines() if told.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def wanted(arguments: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """Pairs of a backend and a precision that were asked for and are offered.

    Raises:
        ReetError: If no such pair is offered.
    """
    asked = arguments.precision.split(",")
    for backend in arguments.backend.split(","):
        check_choice(backend)
    pairs = [(b, p) for b in arguments.backend.split(",") for p in BACKENDS[b] if p in asked]
    pairs = [pair for pair in pairs if pair != REFERENCE]
    if not pairs:
        raise ReetError(
            f"`precision` must be one that `backend` {arguments.backend} offers beside the reference, got "
            f"{arguments.precision!r}; leave it out to measure all that there are."
        )
    yield from pairs


def parser() -> argparse.ArgumentParser:
    """The command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", required=True, help="folder of parquet files, of which *-dev are read")
    options.add_argument("--backend", default=",".join(BACKENDS), help=f"comma-separated: {', '.join(BACKENDS)}")
    options.add_argument(
        "--precision", default="float32,bfloat16,int8", help="comma-separated; those a backend has count"
    )
    options.add_argument("--model", default=DEFAULT_MODEL, help="Hub id or folder of the checkpoint")
    options.add_argument("--rows", type=int, default=10, help="at most so many conversations of each data set")
    options.add_argument("--turns", type=int, default=5, help="at most so many questions of each conversation")
    options.add_argument("--threads", type=int, default=0, help="CPU threads; all cores by default")
    options.add_argument("--output", type=Path, default=records.FOLDER / "speed" / "parity.json")
    return options


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and write, so that each encoder is on disk as soon as it is done."""
    arguments = parser().parse_args(argv)
    pairs = list(wanted(arguments))
    torch.set_num_threads(arguments.threads or os.cpu_count() or 1)
    sets = mtr.load(arguments.data, rows=arguments.rows)
    folder = bundled_model(arguments.model)
    own = scorer(arguments.model)
    counter, found_by = resolve_counter(folder), extractor(own)

    def build(encoder: WindowEncoder) -> QueryOptional:
        return QueryOptional(ReetScorer(own.model, own.tokenizer, encoder=encoder), counter, extractor=found_by)

    reference = make_encoder(REFERENCE[0], own.model.reet, REFERENCE[1])
    windows = windows_of(sets, own)
    measure = compare(sets, build, arguments.turns, reference)
    record = {
        "schema_version": 1,
        "reference": " ".join(REFERENCE),
        "model": arguments.model if arguments.model == DEFAULT_MODEL else Path(arguments.model).name,
        "revision": revision(folder),
        "data": {name: {"rows": len(rows), "fingerprint": digest(rows)} for name, rows in sets.items()},
        "questions": sum(len(row["questions"][: arguments.turns]) for rows in sets.values() for row in rows),
        "budgets": list(BUDGETS),
        "bounds": BOUNDS,
        "definitions": DEFINITIONS,
        "encoders": {},
    }
    for backend, precision in pairs:
        encoder = make_encoder(backend, own.model.reet, precision, folder)
        entry = {"identity": encoder.identity, **measure(encoder), **speed(encoder, reference, windows)}
        entry["cosine"] = cosine(encoder, reference, windows)
        entry["batch_difference"] = _short(batch_difference(encoder, windows))
        entry["hardware"] = {**records.hardware(1, torch.get_num_threads()), "processor": processor()}
        entry["packages"] = records.packages(PACKAGES)
        write(record, f"{backend} {precision}", entry, arguments.output)
        print(json.dumps({f"{backend} {precision}": entry}))


def write(record: dict[str, Any], name: str, entry: dict[str, Any], path: Path) -> None:
    """Write an entry beside those that were measured on the same rows and weights before."""
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    same = all(before.get(key) == record[key] for key in record if key != "encoders")
    encoders = {**(before["encoders"] if same else {}), **record["encoders"], name: entry}
    record["encoders"] = dict(sorted(encoders.items()))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
