"""Write the tables of README.md from eval/results: python -m eval.report [--check]"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
START, END = "<!-- results: written by eval/report.py -->", "<!-- end of results -->"
TITLES = {
    "random": "random",
    "tfidf": "TF-IDF",
    "bm25": "BM25",
    "minilm": "MiniLM cosine",
    "reet": "**REET**",
}
SETS = {
    "cuad-dev": "CUAD, contracts",
    "fairytaleqa-dev": "FairytaleQA, stories",
    "sgd-dev": "SGD, task dialogues",
    "squad2-dev": "SQuAD 2.0, encyclopedia",
    "friendsqa-dev": "FriendsQA, TV dialogue",
    "qmsum-dev": "QMSum, meetings (evidence recall)",
}


def retention_table(result: dict[str, Any]) -> str:
    """A Markdown table of every set and system, with the mean."""
    systems = [name for name in TITLES if name in result["mean"]]
    lines = ["| set | questions | " + " | ".join(TITLES[name] for name in systems) + " |"]
    lines.append("|---|---|" + "---|" * len(systems))
    for stem, entry in result["sets"].items():
        scores = " | ".join(f"{entry['systems'][name]:.3f}" for name in systems)
        lines.append(f"| {SETS.get(stem, stem)} | {entry['questions']} | {scores} |")
    means = " | ".join(f"{result['mean'][name]:.3f}" for name in systems)
    lines.append(f"| mean of the sets | | {means} |")
    return "\n".join(lines)


def report(results: Path) -> str:
    """The results section of the README."""
    retention = json.loads((results / "reet-base-dev.json").read_text(encoding="utf-8"))
    cost = json.loads((results / "turn-cost.json").read_text(encoding="utf-8"))
    return "\n".join(
        [
            START,
            f"Share of gold answers whose words are all kept at {retention['rate']:.0%} of the tokens, development "
            f"sets, the first {retention['turns']} questions of each text in order, one session a text:",
            "",
            retention_table(retention),
            "",
            f"Budget overruns: {retention['overruns']}. Verbatim pieces: {retention['verbatim']:.0%}. Survival says "
            "that the words are there, not what a reader makes of them.",
            "",
            f"A turn of {cost['new_tokens']} new tokens costs {cost['long_ms']:.0f} ms in a session of "
            f"{cost['history_tokens']:,} tokens and {cost['empty_ms']:.0f} ms in an empty one "
            f"({cost['ratio']:.2f} times), on {cost['hardware']['cores']} CPU cores, in one run.",
            END,
        ]
    )


def main(argv: list[str]) -> int:
    """Rewrite README.md, or with `--check` say whether it is up to date."""
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    head, rest = text.split(START)
    updated = head + report(ROOT / "eval" / "results") + rest.split(END)[1]
    if "--check" in argv:
        return int(updated != text)
    readme.write_text(updated, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
