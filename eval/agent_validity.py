"""Whether compressed histories of agents can be sent as they are: python -m eval.agent_validity [--histories 20000]

Random small histories with random budgets and options are compressed; an output is valid if each of its messages has
the form of the `openai` package's types, calls and results are paired, roles stand in an order that the history had,
and what was JSON still is; see `eval.agents.checks`. A refused budget must name one that does. Scores come from a
scorer without a model, those of some histories from the bundled model. Written to `eval/results/agent/validity.json`;
ends with 1 if anything is invalid. `--only SEED` shows one history with its options and output.
"""

from __future__ import annotations

import argparse
import copy
import json
import multiprocessing
import sys
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

import torch
from jinja2 import TemplateError
from tqdm.auto import tqdm
from transformers import AutoTokenizer
from transformers.utils import logging

from eval import records
from eval.agents.checks import LEADING, problems, text_of
from eval.agents.histories import VERSION
from eval.agents.irregular import as_query, small_run
from eval.agents.scorer import CLOSED_TEMPLATE, OPEN_TEMPLATE, WordScorer, characters, words
from eval.revision import revision
from eval.systems.reet import extractor, scorer
from reet_hf import Compressor
from reet_hf.budget import resolve_counter, tool_tokens
from reet_hf.conversation import Conversation, parse_messages
from reet_hf.errors import ReetError
from reet_hf.options import Options
from reet_hf.registration import DEFAULT_MODEL, bundled_model
from reet_hf.rendering import rendered_tokens, whole

OFFERED = frozenset(option.name for option in fields(Options))
COUNTERS = {"words": 55, "characters": 15, "tokenizer": 8, "open template": 14, "closed template": 8}  # percent
KEPT = "Never call before nine o'clock."
CHUNK = 50  # histories that a process gets at once
EXAMPLES = 5
MOST_SEEDS = 200


@dataclass(frozen=True)
class Case:
    """A history with what is asked of the compressor.

    Attributes:
        seed: What it was made of.
        messages: The history.
        query: For which it is compressed.
        options: Of the compression, without what counts.
        counter: Name of what counts, one of `COUNTERS`.
        scorer: Name of what scores: `words`, `chances` or `bundled`.
    """

    seed: int
    messages: list[dict[str, Any]]
    query: str | None
    options: dict[str, Any]
    counter: str
    scorer: str


@dataclass
class Outcome:
    """What came of a case: problems as `kind: what`, and a few counts."""

    seed: int
    scorer: str
    found: list[str] = field(default_factory=list)
    refused: bool = False
    empty: bool = False
    output: Any = None


def case_of(seed: int, bundled: bool) -> Case:
    """The case of a seed.

    Args:
        seed: Any whole number.
        bundled: Whether the bundled model scores it.
    """
    rng = Random(f"case {seed}")
    run = small_run(seed)
    messages = run.messages
    options: dict[str, Any] = {
        "budget": _budget(rng),
        "unit": rng.choice(["auto"] * 4 + ["word", "clause", "sentence", "message"]),
    }
    kind = "bundled" if bundled else rng.choice(["words", "chances"])
    if rng.random() < 0.2:
        options["protect"] = rng.choice(
            [[r"ORD-\d+"], ["user"], [-1], [0], [r"\b\d{2}:\d{2}\b"], ["tool"], [(0, 0, 1)]]
        )
        if options["protect"] == [(0, 0, 1)] and not text_of(messages[0]):
            options["protect"] = [0]
    drawn: dict[str, Any] = {
        "keep_recent": rng.choice([None, None, None, 1, 1, 2, 3]),
        "keep_system": rng.choice([None, None, None, None, True, True, False]),
        "markers": rng.random() < 0.3,
        "tools": run.tools if rng.random() < 0.15 else None,
    }
    if rng.random() < 0.1:
        drawn["keep_tags"] = ("user",)
        _tag(messages, rng)
    if kind != "words" and rng.random() < 0.05:
        drawn["threshold"] = rng.choice([0.0, 0.2, 0.9])
    drawn["ask_last"] = Random(f"ask {seed}").choice([None, None, None, True, False])
    options.update({name: value for name, value in drawn.items() if name in OFFERED and value is not None})
    counter = rng.choices(list(COUNTERS), list(COUNTERS.values()))[0]
    if counter == "closed template" and not _renders(messages):
        counter = "open template"
    return Case(seed, messages, as_query(messages) if rng.random() < 0.4 else None, options, counter, kind)


def _budget(rng: Random) -> float | int:
    chance = rng.random()
    if chance < 0.05:
        return 1.0
    if chance < 0.75:
        return round(rng.uniform(0.05, 1.0), 3)
    return rng.randint(1, 60) if chance < 0.93 else rng.randint(61, 2000)


def _tag(messages: list[dict[str, Any]], rng: Random) -> None:
    """Tags in one message of a user, if there is one with a text."""
    own = [message for message in messages if message["role"] == "user" and isinstance(message["content"], str)]
    if own:
        message = rng.choice(own)
        message["content"] = f"{message['content']} <keep>{KEPT}</keep> Thank you."


@lru_cache(maxsize=1)
def _bundled() -> Compressor:
    own = scorer(DEFAULT_MODEL)
    return Compressor(own, own.tokenizer, extractor(own))


@lru_cache(maxsize=8)
def _tokenizer(name: str) -> Any:
    tokenizer = AutoTokenizer.from_pretrained(bundled_model(DEFAULT_MODEL))
    tokenizer.name_or_path = DEFAULT_MODEL  # errors name it, and results hold no path of a machine
    tokenizer.chat_template = {"open template": OPEN_TEMPLATE, "closed template": CLOSED_TEMPLATE}.get(name)
    return tokenizer


@lru_cache(maxsize=8)
def _counting(name: str) -> Any:
    return resolve_counter({"words": words, "characters": characters}.get(name) or _tokenizer(name))


def _renders(messages: list[dict[str, Any]]) -> bool:
    """Whether the template that refuses most takes a history."""
    try:
        _tokenizer("closed template").apply_chat_template(messages, tokenize=False)
    except TemplateError:
        return False
    return True


def compress(case: Case, **changed: Any) -> dict[str, Any]:
    """The output of the compressor as plain JSON types."""
    if case.scorer == "bundled":
        compressor = _bundled()
    else:
        compressor = Compressor(WordScorer(case.seed % 7, chances=case.scorer == "chances"), words)
    inputs: Any = copy.deepcopy(case.messages)
    if case.query is not None:
        inputs = {"messages": inputs, "query": case.query}
    options = {**case.options, **changed, "tokenizer": _counting(case.counter)}
    return compressor.compress(inputs, **options).to_dict()


def examine(case: Case) -> Outcome:
    """A case compressed and checked, with a budget that is said to do where its own was refused."""
    outcome = Outcome(case.seed, case.scorer)
    try:
        try:
            out = compress(case)
        except ReetError as error:
            if error.floor is None:
                outcome.found.append(f"error without floor: {error}")
                return outcome
            outcome.refused = True
            try:
                out = compress(case, budget=error.floor)
            except ReetError as again:
                outcome.found.append(f"floor: {error.floor} tokens were said to do, then: {again}")
                return outcome
    except Exception as error:  # whatever is raised is what this looks for
        outcome.found.append(f"exception: {type(error).__name__}: {error}")
        return outcome
    outcome.output, outcome.empty = out, not out["messages"]
    outcome.found += [*problems(out["messages"], case.messages), *_counted(case, out), *_promised(case, out)]
    return outcome


def _counted(case: Case, out: Mapping[str, Any]) -> Iterator[str]:
    """Whether the budget holds and the count is that of the output."""
    tokens, counter = out["tokens"], _counting(case.counter)
    if tokens["compressed"] > tokens["budget"]:
        yield f"overrun: {tokens}"
    tools = case.options.get("tools")
    if counter.chat:
        count = counter.chat(out["messages"], tools)
    else:
        count = counter.count(out["text"]) + tool_tokens(counter, tools)
    if count != tokens["compressed"] and (out["messages"] or tokens["compressed"]):
        yield f"count: {tokens['compressed']} tokens were said, {count} are there"
    if json.loads(json.dumps(out)) != out:
        yield "json: the output changes when it is written as JSON"


def _promised(case: Case, out: Mapping[str, Any]) -> Iterator[str]:
    """Whether what the options promise to keep was kept."""
    told, original = list(out["messages"]), case.messages
    budget = case.options["budget"]
    if isinstance(budget, float) and budget == 1.0 and "threshold" not in case.options:
        for message in original:
            if not any(_whole(message, other) for other in told):
                yield f"whole: {str(message)[:120]} is not there under the budget of 1.0"
                break
    if case.options.get("keep_system"):
        for number, message in enumerate(original):
            if message["role"] in ("system", "developer") and not any(_whole(message, other) for other in told):
                yield f"system lost: message {number} is not in the output as it was"
    recent = case.options.get("keep_recent")
    if recent:
        starts = [number for number, message in enumerate(original) if message["role"] == "user"]
        first = starts[-min(recent, len(starts))] if starts else len(original)
        for message in original[first:]:
            if message["role"] not in LEADING and not any(_whole(message, other) for other in told):
                yield f"recent lost: {str(message)[:120]} of the last {recent} turns is not in the output as it was"
                break
    if "keep_tags" in case.options:
        there, kept = (any(KEPT in text_of(message) for message in each) for each in (original, told))
        if there and not kept:
            yield "tags: what stood in keep tags is gone"


def _whole(message: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether a message of an output has all of one of the history but white space."""
    same = all(other.get(name) == message.get(name) for name in ("role", "tool_calls", "tool_call_id"))
    return same and " ".join(text_of(message).split()) in " ".join(text_of(other).split())


def run(seeds: Sequence[int], every: int) -> list[tuple[int, str, list[str], bool, bool]]:
    """Outcomes of some seeds without their outputs; the bundled model scores every `every`-th, 0 for none."""
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    warnings.simplefilter("ignore")  # what is said of a budget that is too small for instructions
    found = []
    for seed in seeds:
        one = examine(case_of(seed, bool(every) and seed % every == 0))
        found.append((one.seed, one.scorer, one.found, one.refused, one.empty))
    return found


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Counts of all histories."""
    seeds = range(arguments.seed, arguments.seed + arguments.histories)
    every = max(1, arguments.histories // arguments.bundled) if arguments.bundled else 0
    chunks = [seeds[place : place + CHUNK] for place in range(0, len(seeds), CHUNK)]
    start, counts = time.perf_counter(), Counter[str]()
    examples: dict[str, list[dict[str, Any]]] = defaultdict(list)
    failed: dict[str, list[int]] = defaultdict(list)
    scorers: Counter[str] = Counter()
    invalid = 0
    with tqdm(total=len(seeds), unit="history") as progress:
        for done in _all(chunks, every, arguments.processes):
            for seed, kind, found, refused, empty in done:
                scorers[kind] += 1
                counts["refused with a budget that does"] += refused and not found
                counts["empty outputs"] += empty
                invalid += bool(found)
                for name in dict.fromkeys(each.partition(":")[0] for each in found):
                    counts[f"problem, {name}"] += 1
                    failed[name].append(seed)
                    if len(examples[name]) < EXAMPLES:
                        told = next(each for each in found if each.startswith(name))
                        examples[name].append({"seed": seed, "bundled": kind == "bundled", "told": told[:300]})
                progress.update()
            progress.set_postfix(invalid=invalid)
    kinds = {name.removeprefix("problem, "): n for name, n in sorted(counts.items()) if name.startswith("problem, ")}
    return {
        "schema_version": 1,
        "histories_version": VERSION,
        "histories": len(seeds),
        "seed": arguments.seed,
        "invalid": invalid,
        "problems": kinds,
        "examples": dict(sorted(examples.items())),
        "seeds": {name: own[:MOST_SEEDS] for name, own in sorted(failed.items())},
        "refused": counts["refused with a budget that does"],
        "empty": counts["empty outputs"],
        "scorers": dict(sorted(scorers.items())),
        "options": sorted(OFFERED),
        "model": DEFAULT_MODEL,
        "revision": revision(bundled_model(DEFAULT_MODEL)),
        "seconds": round(time.perf_counter() - start, 1),
        "hardware": records.hardware(arguments.processes, 1),
        "packages": records.packages([*records.PACKAGES, "openai", "pydantic"]),
    }


def _all(chunks: Sequence[Sequence[int]], every: int, processes: int) -> Iterator[list[Any]]:
    if processes == 1:
        yield from (run(chunk, every) for chunk in chunks)
        return
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(run, chunks, [every] * len(chunks))


def show(seed: int, bundled: bool) -> int:
    """A case with its output and problems on the screen; the number of problems."""
    case = case_of(seed, bundled)
    outcome = examine(case)
    told = {name: getattr(case, name) for name in ("seed", "scorer", "counter", "query", "options", "messages")}
    print(json.dumps(told, ensure_ascii=False, indent=1, default=str))
    out = outcome.output or {}
    print(json.dumps({name: out.get(name) for name in ("tokens", "omitted", "messages")}, ensure_ascii=False, indent=1))
    print("\n".join(outcome.found) or "valid", f"(refused at first: {outcome.refused})")
    conversation = Conversation(parse_messages(case.messages))
    print("tokens of the whole:", rendered_tokens(conversation, whole(conversation), _counting(case.counter)))
    return len(outcome.found)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write, or show one; 1 if anything was invalid."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--histories", type=int, default=20_000)
    options.add_argument("--seed", type=int, default=0, help="of the first history; the others have the next ones")
    options.add_argument("--bundled", type=int, default=500, help="so many of them are scored by the bundled model")
    options.add_argument("--processes", type=int, default=2)
    options.add_argument("--only", type=int, metavar="SEED", help="show this one; with --bundled 1 scored by the model")
    options.add_argument("--output", type=Path, default=records.FOLDER / "agent" / "validity.json")
    arguments = options.parse_args(argv)
    if arguments.only is not None:
        return int(show(arguments.only, arguments.bundled == 1) > 0)
    result = measure(arguments)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(
        json.dumps({name: result[name] for name in ("histories", "invalid", "problems", "refused", "empty")}, indent=1)
    )
    return int(result["invalid"] > 0)


if __name__ == "__main__":
    sys.exit(main())
