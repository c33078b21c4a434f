"""Make every table and plot from eval/results: python -m eval.report [--check]

Writes the results section of README.md, `eval/results/README.md`, the page on benchmarks, the plots beside it, a page
for each study of ablations and one for speed, the summary that the model card is made from, the card, and the card's
`.eval_results`.
`--check` writes nothing and says whether all are current.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from eval import ablations, benchmarks, calibration, extraction, ledger, load, parity_page, plots
from eval.agents import page as agents
from eval.board import RECALL, SURVIVAL, Board, title
from eval.bootstrap import RESAMPLES
from eval.learned import training_rows
from eval.records import FOLDER
from eval.regimes import REGIMES
from eval.speed import page as speed
from eval.summary import BUDGET, MODELS, REGIME, TASK, summary
from eval.tables import headline, latency, overview, sections, shown, table
from reet_hf.hub import cards, eval_results

SPEED = "Speed: what was aimed at"
BACKENDS = "What the encoder computed elsewhere or in another precision changes"
LATENCY = "Milliseconds, one process alone on its machine, the slowest data set"
EXTRACTION = "Mentions, facts and links that are found (exact spans whatever their type, unless said otherwise)"
LEDGER = "What text and ledger keep together"
AGENTS = "Agents: valid messages, what the next call needs, sessions on disk"
SERVED = "A server under load"
CHANCES = "Expected calibration error of the chances that sentences are needed, in 15 bins"
TRAINED = "How the learned systems were trained: steps of the stages, at most so many passes over each file"
ROOT = Path(__file__).resolve().parent.parent
START, END = "<!-- results: written by eval/report.py -->", "<!-- end of results -->"
HEADLINE, HEADLINE_END = "<!-- headline: written by eval/report.py -->", "<!-- end of headline -->"
HEADLINE_BUDGETS = (20, 33)
HEADLINE_SYSTEMS = ("last_k", "bm25", "minilm", "llmlingua2_recipe", "cross_encoder", "maxsim", "reet_small", "reet")
SPEED_PLOTS = {"turns": plots.speed_turns, "stages": plots.speed_stages, "peers": plots.speed_cold}
PAGE = """# Results

Made by `make report` from the files of this folder; each is one system on one task in one regime under one budget.
Means over data sets, each counting the same; ± is half the width of the 95 % interval from {resamples} bootstrap draws
of whole contexts. Data sets of `mtr`, with the texts that were used: {sets}. Where no answer stands in the text
(qmsum-dev) there is evidence recall and no survival. Ret(t) is answer survival at turn t; few texts have a late turn,
so read Ret(t) downwards, and along a line only the differences, which are of texts that have both turns. Regimes,
budgets and measures: [eval/README.md](../README.md). Survival alone is cheap: read it beside evidence recall and a
reader's retention (its F1 on what was kept over its F1 on the full context).

Answer survival by turn, texts with ten questions or more:

![Answer survival by turn](plots/by-turn.svg)

The same on the generated tasks, 20 questions each:

![Answer survival by turn, generated tasks](plots/by-turn-generated.svg)

![Answer survival by budget](plots/by-budget.svg)

![Evidence recall by budget](plots/recall-by-budget.svg)
"""


def results_page(board: Board, quick: Board, root: Path) -> str:
    """The page of all tables.

    Args:
        board: The results.
        quick: Those that were measured for their times, one process alone.
        root: The project.
    """
    own = board.results["reet", TASK, REGIME, BUDGET]
    sets = ", ".join(f"{name} {len(entry.rows)}" for name, entry in sorted(own.sets.items()))
    found = [
        *sections(board),
        (CHANCES, calibration.page(root / FOLDER.relative_to(ROOT) / "calibration")),
        (EXTRACTION, extraction.page(root / FOLDER.relative_to(ROOT) / "extraction")),
        (LEDGER, ledger.page(root / FOLDER.relative_to(ROOT) / "ledger")),
        (AGENTS, agents.page(root / FOLDER.relative_to(ROOT) / "agent")),
        (SERVED, load.page(root / FOLDER.relative_to(ROOT) / "serving")),
        (SPEED, speed.section(speed.read(root / FOLDER.relative_to(ROOT) / "speed"))),
        (BACKENDS, parity_page.page(root / FOLDER.relative_to(ROOT) / "speed")),
        (LATENCY, latency(quick, TASK, REGIME, BUDGET)),
        (TRAINED, table(*training_rows(root))),
    ]
    parts = [PAGE.format(resamples=f"{RESAMPLES:,}", sets=sets)]
    parts += [f"## {heading}\n\n{text}\n" for heading, text in found if text.count("\n") > 1]
    return "\n".join(parts)


def readme_headline(board: Board) -> str:
    """The table near the top of the README."""
    return "\n".join([HEADLINE, headline(board, TASK, REGIME, HEADLINE_BUDGETS, HEADLINE_SYSTEMS), HEADLINE_END])


def readme_section(board: Board, told: Sequence[str]) -> str:
    """The results section of the README; `told` is what it says of agents, servers and speed."""
    own = board.results["reet", TASK, REGIME, BUDGET]
    spent = [entry.costs for entry in own.sets.values()]
    return "\n".join(
        [
            START,
            f"Development sets, regime `{REGIME}`, {BUDGET} % of the tokens, the first {own.turns} questions of each "
            "text in order; ± is half of the 95 % interval. Few texts have a late turn: read Ret(t) downwards, and "
            "along a line only the differences, which are of texts that have both turns.",
            "",
            overview(board, TASK, REGIME, BUDGET),
            "",
            "![Answer survival by turn](eval/results/plots/by-turn.svg)",
            "",
            f"Budget overruns of REET: {sum(each['overruns'] for each in spent):.0f}. Its verbatim pieces: "
            f"{min(each['verbatim'] for each in spent):.0%}. The baselines of our size were trained on the same files "
            "with less compute. Survival says that the words are there, not what a reader makes of them. All regimes, "
            "budgets, data sets and costs, and how each was trained: [eval/results](eval/results/README.md).",
            "",
            *([earlier, ""] if (earlier := history(board)) else []),
            "\n\n".join([behind(board), *filter(None, told)]),
            END,
        ]
    )


def behind(board: Board) -> str:
    """A sentence on where a baseline keeps more answers than REET, the interval of the difference excluding zero."""
    said = []
    for task, regime in product(board.tasks, REGIMES):
        found: dict[str, list[int]] = {}
        for budget in board.budgets:
            rival = board.best_rival(task, regime, budget, SURVIVAL)
            lead = rival and board.lead("reet", rival, task, regime, budget, SURVIVAL)
            if rival and lead and lead.high < 0:
                found.setdefault(rival, []).append(budget)
        for rival, budgets in found.items():
            said.append(f"`{task}`, `{regime}`, {', '.join(map(str, budgets))} % ({title(rival)})")
    return (
        f"Where a baseline keeps more answers than REET, the interval excluding zero: {'; '.join(said) or 'nowhere'}."
    )


def generated_tasks(board: Board) -> list[str]:
    """The tasks beside the one on data sets that REET was measured on."""
    return [task for task in board.tasks if not task.startswith(TASK) and "reet" in board.systems(task, REGIME, BUDGET)]


def history(board: Board) -> str:
    """What earlier turns add to REET, with them minus without, paired over texts; empty if not measured."""
    said = []
    for measure, name in ((SURVIVAL, "answer survival"), (RECALL, "evidence recall")):
        lead = board.lead("reet", "reet_no_history", TASK, REGIME, BUDGET, measure)
        if lead is not None:
            said.append(f"{shown(lead, signed=True)} {name}")
    return f"What earlier turns add to REET there: {', '.join(said)}." if said else ""


def write(root: Path, target: Path) -> list[Path]:
    """Paths below `target` that were written from the results of the project in `root`."""
    results = root / FOLDER.relative_to(ROOT)
    board = Board(results)
    measured = speed.read(results / "speed")
    found = {
        model: summary(board, name) for name, model in MODELS.items() if (name, TASK, REGIME, BUDGET) in board.results
    }
    told = [agents.line(results / "agent"), load.line(results / "serving"), speed.line(measured)]
    page = (root / "README.md").read_text(encoding="utf-8")
    before, after = page.split(HEADLINE)[0], page.split(HEADLINE_END)[1]
    head, rest = f"{before}{readme_headline(board)}{after}".split(START)
    texts = {
        Path("README.md"): head + readme_section(board, told) + rest.split(END)[1],
        results.relative_to(root) / "README.md": results_page(board, Board(results / "latency"), root),
        results.relative_to(root) / "BENCHMARKS.md": benchmarks.page(results),
    }
    for model, scores in found.items():
        texts[_summary(results.relative_to(root), model)] = json.dumps(scores, indent=2) + "\n"
        texts[Path(model) / eval_results.FILE] = eval_results.eval_results_yaml(scores)
    for file in sorted((results / "ablations").glob(f"*/{ablations.FULL}.json")):
        texts[file.parent.relative_to(root) / "README.md"] = ablations.page(file.parent)
    if measured:
        texts[results.relative_to(root) / "speed" / "README.md"] = speed.page(measured)
    for path, text in texts.items():
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        (target / path).write_text(text, encoding="utf-8")
    drawn = target / results.relative_to(root) / "plots"
    plots.by_turn(board, drawn / "by-turn.svg")
    plots.by_turn(board, drawn / "by-turn-generated.svg", generated_tasks(board), 20)
    plots.by_budget(board, drawn / "by-budget.svg")
    plots.by_budget(board, drawn / "recall-by-budget.svg", measure=RECALL)
    for part, draw in SPEED_PLOTS.items():
        if part in measured.get("parts", {}):
            draw(measured["parts"], drawn / f"{draw.__name__.replace('_', '-')}.svg")
    for model in found:
        person = root / "model_cards" / f"{Path(model).name}.md"
        card = cards.build_card(root / model, person, _summary(target / results.relative_to(root), model))
        card.save(target / model / "README.md")
    return [
        *(target / path for path in texts),
        *sorted(drawn.glob("*.svg")),
        *(target / m / "README.md" for m in found),
    ]


def _summary(results: Path, model: str) -> Path:
    return results / "summary" / f"{Path(model).name}.json"


def stale(root: Path = ROOT) -> list[str]:
    """Files of the project in `root` that are not what its results say."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = {path.relative_to(folder): path.read_bytes() for path in write(root, Path(folder))}
    current = {path: (root / path).read_bytes() if (root / path).is_file() else b"" for path in fresh}
    return [str(path) for path, content in fresh.items() if content != current[path]]


def main(argv: Sequence[str]) -> int:
    """Write everything, or with `--check` say whether all is up to date."""
    if "--check" in argv:
        old = stale()
        print("\n".join(f"{name} is not what the results say; run: make report" for name in old), file=sys.stderr)
        return int(bool(old))
    for path in write(ROOT, ROOT):
        print(path.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
