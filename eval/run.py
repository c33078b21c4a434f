"""Measure systems on tasks: python eval/run.py --system reet,bm25 --task mtr --data FOLDER --regime all --budget all

Several processes or machines share the work under `accelerate launch`; a run that was stopped goes on where it was
left. Systems, tasks and readers are the files of `eval/systems`, `eval/tasks` and `eval/readers`.
"""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from tqdm.auto import tqdm

from eval import estimate, records
from eval.offers import WHOLE, chosen, module_of, offered, options_of, percents
from eval.readers.base import Reader
from eval.readers.cache import CachedReader
from eval.regimes import REGIMES, regimes_of
from eval.systems.base import System
from eval.task import Task
from eval.work import Plan, Worker, digest, do, jobs_of, together
from reet_hf.budget import TokenCounter, resolve_counter
from reet_hf.errors import ReetError
from reet_hf.registration import bundled_model
from reet_hf.training.launch import run_script

BUDGETS = (50, 33, 20, 10, 6)
SEEDS = (0, 1, 2)

Sets = dict[str, list[dict[str, Any]]]


def published(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as they are written to a result: a folder of this machine by its name only."""
    return {k: Path(v).name if isinstance(v, str) and Path(v).exists() else v for k, v in options.items()}


def build_systems(name: str, counter: TokenCounter, options: Mapping[str, Any]) -> tuple[list[System], list[int]]:
    """The system, once for each seed if anything in it is random, and the seeds."""
    build = module_of("systems", name).build
    first = build(counter, **options)
    if not first.stochastic or "seed" in options:
        return [first], [options["seed"]] if "seed" in options else []
    return [build(counter, **options, seed=seed) for seed in SEEDS], list(SEEDS)


def build_readers(arguments: argparse.Namespace, options: Mapping[str, Mapping[str, Any]]) -> list[Reader]:
    """Readers that remember their answers on disk."""
    found: list[Reader] = []
    for name in (each for each in arguments.reader.split(",") if each not in ("", "none")):
        build = module_of("readers", name).build
        reader = build(**chosen(build, {"encoder": arguments.encoder}, options.get(name, {})))
        found.append(CachedReader(reader, arguments.output / ".cache"))
    return found


@dataclass(frozen=True)
class Loaded:
    """A task as it was asked for: its name in results, version, rows by set with digests, options and functions."""

    name: str
    version: str
    sets: Sets
    fingerprints: dict[str, str]
    options: dict[str, Any]
    task: Task


def load_task(arguments: argparse.Namespace, own: Mapping[str, Any]) -> Loaded:
    """The task with its rows."""
    module = module_of("tasks", arguments.task)
    options = chosen(module.load, {"data": arguments.data, "rows": arguments.rows}, own)
    data = Path(arguments.data or "")
    name = f"{arguments.task}-{data.stem}" if data.suffix == ".parquet" else arguments.task
    sets = module.load(**options)
    fingerprints = {key: digest(rows) for key, rows in sets.items()}
    return Loaded(name, module.VERSION, sets, fingerprints, published(options), Task.of(module))


def plan_of(arguments: argparse.Namespace, system: System, task: Loaded, readers: Sequence[Reader], ran: Any) -> Plan:
    """What is measured of one system; `ran` is what else tells two runs apart."""
    seen = percents(arguments.reader_budget) if system.budgeted else [WHOLE]
    budgets = percents(arguments.budget) if system.budgeted else [WHOLE]
    budgets = [budget for budget in budgets if budget in seen or not arguments.readings_only]
    regimes = regimes_of(system, arguments.regime.split(",")) if system.budgeted else ["once"]
    identity = {
        "ran": [ran, system.revision, arguments.turns],
        "task": [task.name, task.version, task.fingerprints],
        "readers": [
            [reader.name, reader.revision, dict(reader.options), arguments.reader_rows, seen] for reader in readers
        ],
        "asked": [regimes, budgets, arguments.readings_only],
    }
    return Plan(
        name=f"{task.name}--{digest(identity)}",
        regimes=tuple(regimes),
        budgets=tuple(budgets),
        turns=arguments.turns,
        reader_rows=arguments.reader_rows if readers else 0,
        reader_budgets=tuple(seen),
    )


def measure(name: str, arguments: argparse.Namespace, task: Loaded, readers: Sequence[Reader]) -> list[Path]:
    """The result files of one system; on all processes but the first, none."""
    state = PartialState()
    every = options_of(arguments.option)
    counter = resolve_counter(arguments.counter or bundled_model())
    own = chosen(module_of("systems", name).build, {"encoder": arguments.encoder}, every.get(name, {}))
    systems, seeds = build_systems(name, counter, own)
    plan = plan_of(arguments, systems[0], task, readers, [name, published(own), seeds, str(arguments.counter)])
    folder = arguments.output / ".unfinished" / f"{name}--{plan.name}"
    worker = Worker(systems, task.task, readers, counter, plan)
    jobs = jobs_of(task.sets, arguments.reader_rows if arguments.readings_only else None)
    mine = jobs[state.process_index :: state.num_processes]
    progress = tqdm(mine, desc=f"{name} on {task.name}", unit="job", disable=not state.is_local_main_process)
    done = gather_object([((job.set_name, job.start), found) for job, found in do(progress, worker.run, folder)])
    if not state.is_main_process:
        return []
    shared = {
        "system": arguments.name or name,
        "task": task.name,
        "version": task.version,
        "turns": plan.turns,
        "seeds": seeds,
        "revision": systems[0].revision,
        "options": {"system": published(own), "task": task.options},
        "readers": {reader.name: {"revision": reader.revision, **reader.options} for reader in readers},
        "hardware": records.hardware(state.num_processes, torch.get_num_threads()),
        "packages": records.packages(),
    }
    paths = write_results(plan, task.fingerprints, dict(done), shared, arguments)
    shutil.rmtree(folder)
    return paths


def write_results(
    plan: Plan,
    fingerprints: Mapping[str, str],
    outcomes: Mapping[tuple[str, int], Any],
    shared: dict[str, Any],
    arguments: argparse.Namespace,
) -> list[Path]:
    """One file for each regime and budget of a plan."""
    paths = []
    for regime in plan.regimes:
        for place, budget in enumerate(plan.budgets):
            found = together(fingerprints, outcomes, (regime, place))
            result = records.Result(regime=regime, budget=budget, sets=found, **shared)
            if arguments.readings_only:
                result = records.with_readings(records.read(arguments.output / result.name), result)
            paths.append(records.write(result, arguments.output))
    return paths


def parser() -> argparse.ArgumentParser:
    """The command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--system", required=True, help=f"comma-separated: {', '.join(offered('systems'))}")
    options.add_argument("--task", required=True, help=f"one of {', '.join(offered('tasks'))}")
    options.add_argument(
        "--data",
        help="for mtr and mtr_follow_ups: a parquet file, a folder of them, or the Hub id of a data set; for a public "
        "benchmark: a folder with its files, or nothing for the Hub",
    )
    options.add_argument(
        "--rows",
        "--limit",
        type=int,
        help="at most so many rows of each set; of generated tasks, of each of three seeds",
    )
    options.add_argument("--regime", default="session", help=f"comma-separated or all: {', '.join(REGIMES)}")
    options.add_argument("--budget", default="20", help=f"percent of the tokens, comma-separated or all: {BUDGETS}")
    options.add_argument("--turns", type=int, default=20, help="at most so many questions of each row, in order")
    options.add_argument("--reader", default="none", help=f"comma-separated: none, {', '.join(offered('readers'))}")
    options.add_argument("--reader-rows", type=int, default=12, help="rows of each set that readers see")
    options.add_argument("--reader-budget", default="33,20", help="budgets that readers see")
    options.add_argument("--readings-only", action="store_true", help="add readers' scores to results that are there")
    options.add_argument("--estimate", action="store_true", help="say what readers would be asked, and do nothing else")
    options.add_argument("--price", help="with --estimate: dollars for a million tokens read and written, as 0.15,0.60")
    options.add_argument("--encoder", help="Hub id or folder of the encoder that baselines start from")
    options.add_argument("--counter", help="tokenizer that counts the budget; that of the bundled model by default")
    options.add_argument("--option", action="append", default=[], help="name.option=value of a system, task or reader")
    options.add_argument("--name", help="what one system with options is called in results, e.g. reet_words")
    options.add_argument("--threads", type=int, default=0, help="CPU threads of each process; 0 shares the cores out")
    options.add_argument("--output", type=Path, default=records.FOLDER, help="folder of the result files")
    return options


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The command line, with `all` spelled out."""
    arguments = parser().parse_args(argv)
    if arguments.name and "," in arguments.system:
        raise ReetError(f"`name` must name one system, but `system` has several: {arguments.system}; run them apart.")
    if arguments.readings_only and arguments.reader == "none":
        raise ReetError("`readings-only` adds the scores of readers, but `reader` names none; name one.")
    if arguments.estimate and arguments.reader == "none":
        raise ReetError("`estimate` says what readers are asked, but `reader` names none; name one.")
    if arguments.price and not arguments.estimate:
        raise ReetError("`price` is told by an estimate; add --estimate.")
    if arguments.price:
        arguments.price = estimate.prices(arguments.price)
    if arguments.regime == "all":
        arguments.regime = ",".join(REGIMES)
    unknown = [name for name in arguments.regime.split(",") if name not in REGIMES]
    if unknown:
        raise ReetError(f"`regime` must be among {', '.join(REGIMES)}, or all, got {unknown[0]!r}.")
    if arguments.budget == "all":
        arguments.budget = ",".join(str(budget) for budget in BUDGETS)
    return arguments


def main(argv: Sequence[str]) -> None:
    """Measure one system after the other, so that each is on disk as soon as it is done."""
    arguments = parse(argv)
    on_cpu = not torch.cuda.is_available()  # without being told, accelerate starts each CPU process as the only one
    state = PartialState(cpu=on_cpu, timeout=timedelta(days=7))  # who has short rows waits for the others at the end
    torch.set_num_threads(arguments.threads or max(1, (os.cpu_count() or 1) // state.num_processes))
    options = options_of(arguments.option)
    task = load_task(arguments, options.get(arguments.task, {}))
    if arguments.estimate:
        if state.is_main_process:
            counter = resolve_counter(arguments.counter or bundled_model())
            print(estimate.page(arguments, task.sets, task.task, options, counter))
        return
    readers = build_readers(arguments, options)
    for name in arguments.system.split(","):
        for path in measure(name, arguments, task, readers):
            print(path)


if __name__ == "__main__":
    run_script(main, os.environ)
