"""The page on the field's benchmarks: what was run, what would run the rest, what others have published.

Made by `eval.report` from `eval/benchmarks.yaml` and from results: `eval/results/synthetic` holds those on SCBench's
synthetic tasks in their generated form, `eval/results/benchmarks` would hold those on the benchmarks themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from eval.board import SURVIVAL, Board, mean, title
from eval.bootstrap import Ratio, estimate
from eval.records import Result
from eval.tables import shown, table
from eval.tasks.synthetic import LENGTHS, LOADS

FACTS = Path(__file__).with_name("benchmarks.yaml")
TASK = "synthetic"
REGIMES = ("session", "first_query", "once")
BUDGETS = (33, 20, 10)
WANTED = (
    *("last_k", "random", "stopwords_idf", "lexrank", "tfidf", "bm25", "minilm", "llmlingua2_recipe", "maxsim"),
    *("cross_encoder", "reet_small", "reet"),
)
NONE = (
    "No figure of REET on these stands here, as none was run: a language model of some size has to read what is kept."
)
FIFTHS = [(fifth / 5, (fifth + 1) / 5) for fifth in range(5)]
COMMAND = (
    "python eval/run.py --task {task} --data FOLDER {options} --system full,bm25,llmlingua2_recipe,reet "
    "--reader openai_compatible --option openai_compatible.url=URL --option openai_compatible.model=MODEL "
    "--output eval/results/benchmarks"
)
PAGE = """# The field's benchmarks

Made by `make report`. Each benchmark is a file of [eval/tasks](../tasks) that loads, asks and grades as its authors'
code does; what differs stands in its first lines. `--estimate --price IN,OUT` says calls, tokens and dollars before a
run, `--limit` takes a sample, and a run that was stopped goes on where it was. `FOLDER` holds the benchmark's files;
without `--data` they come from the Hub.

{benchmarks}

{ran}

What others have published, for orientation; readers, samples and settings differ, so none of it compares with figures
of ours:

{published}

## SCBench's synthetic tasks, generated

Answer survival on the generated forms of five of SCBench's tasks ([what differs](../tasks/synthetic.py)): no reader, so
this says what is still there and not what a model makes of it. {contexts} contexts, five questions each, of 4, 32 and
128 thousand tokens; ± is half of the 95 % interval over contexts. What REET looks up instead of guessing (identifiers,
beginnings and ends of words, ranks, labels of examples) was built for tasks of these kinds; before that it kept much
less ([log](LOG.md)). Other systems read the same texts as they are. Without the question, in `once` and from the second
turn of `first_query` on, little of it helps. {missing}
"""


def facts() -> dict[str, Any]:
    """What is known of the benchmarks, and what others have published, each with its source."""
    return yaml.safe_load(FACTS.read_text(encoding="utf-8"))


def page(results: Path) -> str:
    """The page for the results in a folder."""
    told = facts()
    board, ran = Board(results / "synthetic"), Board(results / "benchmarks")
    lines = [_line(each, ran) for each in told["benchmarks"]]
    said = [[each["benchmark"], each["system"], each["figure"], each["source"]] for each in told["published"]]
    one = board.get("reet", TASK, REGIMES[0], BUDGETS[0])
    head = PAGE.format(
        benchmarks=table(["benchmark", "what it holds", "source", "run here", "what would run it"], lines),
        published=table(["benchmark", "system", "published", "source"], said),
        ran="\n\n".join(_ran(ran)) or NONE,
        missing=_missing(board),
        contexts=sum(len(entry.rows) for entry in one.sets.values()) if one else 0,
    )
    return "\n".join([head, *(f"### {heading}\n\n{text}\n" for heading, text in _sections(board))])


def _line(benchmark: dict[str, Any], ran: Board) -> list[str]:
    readers = ran.readers(benchmark["task"]) if benchmark["task"] in ran.tasks else []
    done = f"with {', '.join(readers) or 'no reader'}" if benchmark["task"] in ran.tasks else "no"
    command = " ".join(COMMAND.format(**benchmark).split())
    return [benchmark["name"], benchmark["holds"], benchmark["source"], done, f"`{command}`"]


def _ran(board: Board) -> Iterator[str]:
    """For each benchmark, regime and budget that was run a table: one line a system, a column a score of a reader."""
    for task, regime, budget in product(board.tasks, REGIMES, board.budgets):
        systems = board.systems(task, regime, budget)
        results = [(system, board.get(system, task, regime, budget)) for system in ["full", *systems] if systems]
        held = [(system, result) for system, result in results if result]
        names = sorted(
            {n for _, r in held for own in r.sets.values() for row in own.rows for n in row.scores if "." in n}
        )
        if held and names:
            rows = [[title(system), *(shown(mean(result, name)) for name in names)] for system, result in held]
            yield f"`{task}`, regime `{regime}`, {budget} % of the tokens:\n\n{table(['system', *names], rows)}"


def _missing(board: Board) -> str:
    """Which systems were not run on the synthetic tasks, and what would."""
    missing = [name for name in WANTED if name not in board.systems(TASK, REGIMES[0])]
    if not missing:
        return "All systems were run."
    command = f"--task {TASK} --system {','.join(missing)} --encoder FOLDER --output eval/results/{TASK}"
    return (
        f"Not run, for the time that these lengths take: {'; '.join(map(title, missing))} "
        f"(`python eval/run.py {command}`)."
    )


def _sections(board: Board) -> Iterator[tuple[str, str]]:
    for regime in REGIMES:
        for budget in BUDGETS:
            if systems := board.systems(TASK, regime, budget):
                yield f"Regime `{regime}`, {budget} % of the tokens", by_set(board, systems, regime, budget)
    regime, budget = REGIMES[0], BUDGETS[0]
    if systems := board.systems(TASK, regime, budget):
        yield f"By place of the evidence, regime `{regime}`, {budget} %", by_place(board, systems, regime, budget)
        yield f"By turn, regime `{regime}`, {budget} %", by_turn(board, systems, regime, budget)


def by_set(board: Board, systems: Sequence[str], regime: str, budget: int) -> str:
    """One line a system: survival in each task, and at each length, as means over the others."""

    def columns(result: Result) -> Iterator[list[Ratio]]:
        yield result.ratios(SURVIVAL)
        for task in LOADS:
            yield result.ratios(SURVIVAL, sets=there(result, [f"{task}-{length}" for length in LENGTHS]))
        for length in LENGTHS:
            yield result.ratios(SURVIVAL, sets=there(result, [f"{task}-{length}" for task in LOADS]))

    head = ["mean", *(task.replace("_", " ") for task in LOADS), *LENGTHS]
    return _table(board, systems, regime, budget, head, columns)


def there(result: Result, names: Iterable[str]) -> list[str]:
    """Those sets that were measured."""
    return [name for name in names if name in result.sets]


def by_place(board: Board, systems: Sequence[str], regime: str, budget: int) -> str:
    """One line a system: survival by where in the text the evidence begins."""
    head = [f"{100 * low:.0f} to {100 * high:.0f} %" for low, high in FIFTHS]
    return _table(board, systems, regime, budget, head, lambda r: (r.by_place(SURVIVAL, *each) for each in FIFTHS))


def by_turn(board: Board, systems: Sequence[str], regime: str, budget: int) -> str:
    """One line a system: survival at each turn."""
    turns = range(1, 6)
    head = [f"turn {turn}" for turn in turns]
    return _table(board, systems, regime, budget, head, lambda r: (r.ratios(SURVIVAL, turn) for turn in turns))


def _table(board: Board, systems: Sequence[str], regime: str, budget: int, head: Sequence[str], columns: Any) -> str:
    rows = []
    for system in systems:
        result = board.get(system, TASK, regime, budget)
        found: Iterable[list[Ratio]] = columns(result)
        rows.append([title(system), *(shown(estimate(each)) for each in found)])
    return table(["system", *head], rows)
