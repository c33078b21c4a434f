"""What a compressed history of an agent still tells its next call: python -m eval.agent_identifiers [--rolling]

At each turn whose calls use identifiers from earlier results, the history up to the user's message is compressed,
without a query and for that message; measured is the share of the identifiers that survive verbatim, and of changed
values whose present one does. With `--rolling` nothing else is left to the application: the output of one compaction
and the next turn are the input of the next one. Simple ways of shortening stand beside. Written to
`eval/results/agent`.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm

from eval import records
from eval.agents.checks import kinds, problems
from eval.agents.histories import VERSION, AgentRun, agent_run
from eval.agents.irregular import as_query
from eval.agents.measures import age_of, facts_of, identifier_scores, names_of, said, uses_at, value_scores
from eval.agents.systems import SIMPLE, tokens_of
from eval.bootstrap import Ratio, difference, estimate
from eval.revision import revision
from eval.systems.reet import extractor, scorer
from reet_hf import Compressor
from reet_hf.conversation import Conversation, parse_messages
from reet_hf.errors import ReetError
from reet_hf.registration import DEFAULT_MODEL, bundled_model

FOLDER = records.FOLDER / "agent"
REET, ASKED = "REET", "REET, query"
MAIN = "identifiers: text"
LENGTHS = (0, 1000, 2000)  # tokens of a history from which on a group of them begins
MOST_POINTS = 6


@dataclass
class Tally:
    """Scores of one system at one rate.

    Attributes:
        sums: By measure, for each history the sum of its scores and their number.
        wrong: Invalid outputs by kind.
        outputs, overruns, refused: Numbers of outputs, of those over their budget, of budgets that were refused.
        rates: Tokens of each output over those of its input.
    """

    sums: dict[str, dict[int, list[float]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    wrong: Counter[str] = field(default_factory=Counter)
    outputs: int = 0
    overruns: int = 0
    refused: int = 0
    rates: list[float] = field(default_factory=list)

    def add(self, history: int, measure: str, score: float) -> None:
        """One score of one history."""
        self.sums[measure][history].append(score)

    def ratio(self, measure: str, histories: int) -> Ratio:
        """The scores of a measure by history."""
        own = self.sums[measure]
        above = np.array([sum(own.get(number, ())) for number in range(histories)])
        return Ratio(above, np.array([len(own.get(number, ())) for number in range(histories)]))


Tallies = dict[str, dict[str, Tally]]  # by rate, by system


@dataclass(frozen=True)
class Point:
    """A history at one time, before it is compressed.

    Attributes:
        history: Its number.
        turn: The last turn that is in it, in part or whole.
        before: How many messages of the whole history are over.
    """

    history: int
    turn: int
    before: int


def compressor_of(model: str) -> Compressor:
    """The compressor of a checkpoint, with its ledger if it has one."""
    own = scorer(model)
    return Compressor(own, own.tokenizer, extractor(own))


def reached(call: Callable[[Any], dict[str, Any]], budget: Any, tally: Tally) -> dict[str, Any]:
    """An output under a budget, or under the floor that a refusal names."""
    try:
        return call(budget)
    except ReetError as error:
        if error.floor is None:
            raise
        tally.refused += 1
        return call(error.floor)


def score(tally: Tally, point: Point, run: AgentRun, scores: dict[str, list[tuple[str, dict[str, float]]]]) -> None:
    """Scores entered under their measure, those of identifiers by age as well."""
    for what, own in scores.items():
        for age, values in own:
            for measure, value in values.items():
                tally.add(point.history, f"{what}: {measure}", value)
                if age and measure == "text":
                    tally.add(point.history, f"{what} of age {age}: text", value)


def check(tally: Tally, messages: Sequence[Any], original: Sequence[Any], tokens: int, limit: int, whole: int) -> None:
    """An output counted with what is wrong with it."""
    tally.outputs += 1
    tally.overruns += tokens > limit
    tally.wrong += kinds(problems(messages, original))
    tally.rates.append(tokens / max(1, whole))


def once(compressor: Compressor, run: AgentRun, number: int, rates: Sequence[float], tallies: Tallies) -> None:
    """One history compressed at turns that use something, at most `MOST_POINTS` of them, spread evenly."""
    state = None
    turns = sorted({use.turn for use in run.uses})
    for turn in turns[:: -(-len(turns) // MOST_POINTS) or 1]:
        uses = uses_at(run, turn)
        point = Point(number, turn, run.starts[turn] + 1)
        messages = run.messages[: point.before]
        state = compressor.encode(Conversation(parse_messages(messages)), state)
        whole = tokens_of(messages, compressor.counter)
        ages = [age_of(turn - run.turn_of(use.source_message)) for use in uses]
        long = length_of(whole)
        for rate in rates:
            found = outputs(compressor, state, messages, rate, whole, tallies[str(rate)], seed=number * 1000 + turn)
            for tally, (kept, facts, names, tokens, limit) in found:
                text = said(kept)
                there = identifier_scores(uses, text, facts, names)
                values = [("", each) for each in value_scores(run.changes, point.before, text)]
                entered = {"identifiers": list(zip(ages, there, strict=True)), "values": values}
                entered[f"identifiers, {long}"] = [("", {"text": each["text"]}) for each in there]
                score(tally, point, run, entered)
                check(tally, kept, messages, tokens, limit, whole)


def length_of(tokens: int) -> str:
    """The group of `LENGTHS` that a history of so many tokens belongs to."""
    first = max(length for length in LENGTHS if length <= tokens)
    after = next((length for length in LENGTHS if length > tokens), None)
    return f"history from {first:,} tokens" if after is None else f"history of {first:,} to {after:,} tokens"


Output = tuple[list[Any], str, str, int, int]  # messages, facts, entities, tokens, limit


def outputs(
    compressor: Compressor,
    state: Any,
    messages: list[Any],
    rate: float,
    whole: int,
    tallies: dict[str, Tally],
    seed: int,
) -> Iterator[tuple[Tally, Output]]:
    """What each system makes of one history under one budget."""
    for system, query in ((REET, None), (ASKED, as_query(messages))):
        tally = tallies[system]
        out = reached(lambda b, q=query: compressor.compress_turn(state, q, (), budget=b).to_dict(), rate, tally)  # type: ignore[misc]
        tokens = out["tokens"]
        yield tally, (out["messages"], facts_of(out), names_of(out), tokens["compressed"], tokens["budget"])
    limit = math.floor(rate * whole + 1e-9)
    for system, make in SIMPLE.items():
        kept = make(messages, limit, compressor.counter, Random(seed))
        yield tallies[system], (kept, "", "", tokens_of(kept, compressor.counter), limit)


def rolling(compressor: Compressor, run: AgentRun, number: int, rates: Sequence[float], tallies: Tallies) -> None:
    """One history compacted after each turn; what was dropped is gone."""
    whole = tokens_of(run.messages, compressor.counter)
    for rate in rates:
        for system in (REET, *SIMPLE):
            _roll(compressor, run, number, system, math.floor(rate * whole), tallies[str(rate)][system])


def _roll(compressor: Compressor, run: AgentRun, number: int, system: str, limit: int, tally: Tally) -> None:
    known: list[Any] = []
    ends = [*run.starts[1:], len(run.messages)]
    for turn, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
        given = [*known, *run.messages[start:end]]
        facts = names = ""
        if system == REET:
            out = reached(lambda b, m=given: compressor.compress(m, budget=b).to_dict(), limit, tally)  # type: ignore[misc]
            known, tokens = list(out["messages"]), out["tokens"]["compressed"]
            facts, names = facts_of(out), names_of(out)
        else:
            known = SIMPLE[system](given, limit, compressor.counter, Random(number * 1000 + turn))
            tokens = tokens_of(known, compressor.counter)
        point = Point(number, turn, end)
        text = said(known)
        later = {u.identifier: u for u in run.uses if u.turn > turn and u.source_message < end}
        ages = [f"{age_of(max(1, turn - run.turn_of(use.source_message)))}" for use in later.values()]
        there = identifier_scores(list(later.values()), text, facts, names)
        values = value_scores(run.changes, end, text)
        entered = {"identifiers": list(zip(ages, there, strict=True)), "values": [("", each) for each in values]}
        due = [s for use, s in zip(later.values(), there, strict=True) if use.turn == turn + 1]
        entered["identifiers when they are used"] = [("", each) for each in due]
        entered[f"identifiers after compaction {turn + 1}"] = [("", {"text": each["text"]}) for each in there]
        entered[f"values after compaction {turn + 1}"] = [("", each) for each in values]
        score(tally, point, run, entered)
        check(tally, known, given, tokens, limit, tokens_of(given, compressor.counter))


def summary(tallies: dict[str, Tally], histories: int) -> dict[str, Any]:
    """Estimates with intervals of each system, and how far REET is above each other one, on the same histories."""
    found: dict[str, Any] = {}
    for system, tally in tallies.items():
        if not tally.outputs:
            continue
        shares = {}
        for measure in sorted(tally.sums):
            value = estimate([tally.ratio(measure, histories)])
            if value is not None:
                count = sum(map(len, tally.sums[measure].values()))
                shares[measure] = {**_rounded(value), "count": count}
        found[system] = {
            "measures": shares,
            "outputs": tally.outputs,
            "invalid": dict(sorted(tally.wrong.items())),
            "overruns": tally.overruns,
            "refused": tally.refused,
            "rate": round(float(np.mean(tally.rates)), 4),
        }
        if system != REET:
            own = difference([tallies[REET].ratio(MAIN, histories)], [tally.ratio(MAIN, histories)])
            found[system]["REET above it"] = None if own is None else _rounded(own)
    return found


def _rounded(value: Any) -> dict[str, float]:
    told = {name: round(number, 4) for name, number in asdict(value).items()}
    return {name: told[name] for name in ("value", "low", "high")}


def page(result: dict[str, Any]) -> str:
    """The main shares as lines of text."""
    lines = []
    for rate, systems in result["rates"].items():
        for system, own in systems.items():
            told = {name: one["value"] for name, one in own["measures"].items() if "compaction" not in name}
            lines.append(f"{rate}  {system:24s} {told} invalid {own['invalid']}")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", default=DEFAULT_MODEL, help="Hub id or folder")
    options.add_argument("--rates", default="", help="comma-separated; .5,.33,.2 by default, .33 for --rolling")
    options.add_argument("--histories", type=int, help="40 by default, 10 for --rolling")
    options.add_argument(
        "--turns", type=int, default=24, help="of each history; 20 for --rolling, a compaction after each"
    )
    options.add_argument("--tokens", type=int, default=170, help="about so many in a tool result")
    options.add_argument(
        "--seed", type=int, default=1000, help="of the first history; the others have the next ones"
    )  # nothing was chosen on these
    options.add_argument("--rolling", action="store_true")
    options.add_argument(
        "--output", type=Path, help="a file; identifiers.json or rolling.json of the results by default"
    )
    arguments = options.parse_args(argv)
    rates = [float(rate) for rate in (arguments.rates or (".33" if arguments.rolling else ".5,.33,.2")).split(",")]
    histories = arguments.histories or (10 if arguments.rolling else 40)
    turns = min(arguments.turns, 20) if arguments.rolling else arguments.turns
    compressor = compressor_of(arguments.model)
    tallies: Tallies = {str(rate): defaultdict(Tally) for rate in rates}
    start, measure = time.perf_counter(), rolling if arguments.rolling else once
    tokens = []
    for number in tqdm(range(histories), unit="history"):
        run = agent_run(arguments.seed + number, turns, arguments.tokens)
        tokens.append(tokens_of(run.messages, compressor.counter))
        measure(compressor, run, number, rates, tallies)
    result = {
        "schema_version": 1,
        "histories_version": VERSION,
        "contract": "rolling" if arguments.rolling else "once",
        "histories": histories,
        "seed": arguments.seed,
        "turns": turns,
        "tokens": {"mean": round(float(np.mean(tokens))), "least": min(tokens), "most": max(tokens)},
        "rates": {rate: summary(own, histories) for rate, own in tallies.items()},
        "model": Path(arguments.model).name,
        "revision": revision(bundled_model(arguments.model)),
        "seconds": round(time.perf_counter() - start, 1),
        "hardware": records.hardware(1, torch.get_num_threads()),
        "packages": records.packages(),
    }
    path = arguments.output or FOLDER / ("rolling.json" if arguments.rolling else "identifiers.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(page(result))


if __name__ == "__main__":
    main()
