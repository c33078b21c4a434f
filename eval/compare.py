"""Compare results that were measured again with those of eval/results: python -m eval.compare FOLDER"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from eval import records
from eval.board import RECALL, SURVIVAL, Board, mean
from eval.tables import shown, table

TOLERANCE = 0.01  # other processors round other sums; a score of one question may turn over


def rows(again: Board, committed: Board) -> Iterator[tuple[float | None, list[str]]]:
    """For each result that was measured again and each measure how far it is from the committed one, and its line."""
    for key, result in again.results.items():
        before = committed.results.get(key)
        for measure in (SURVIVAL, RECALL):
            new, old = mean(result, measure), mean(before, measure)
            distance = abs(new.value - old.value) if new and old else None
            yield distance, [result.name, measure.replace("_", " "), shown(new), shown(old), _verdict(distance)]


def _verdict(distance: float | None) -> str:
    if distance is None:
        return "not committed"
    return "agrees" if distance <= TOLERANCE else f"differs by {distance:.3f}"


def main(argv: Sequence[str]) -> int:
    """Print the table; 1 if a result differs by more than the tolerance, or nothing is there to compare, else 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the new result files are")
    parser.add_argument("--committed", type=Path, default=records.FOLDER, help="where the others are")
    arguments = parser.parse_args(argv)
    found = list(rows(Board(arguments.folder), Board(arguments.committed)))
    print(table(["result", "measure", "measured again", "committed", ""], [line for _, line in found]))
    distances = [distance for distance, _ in found if distance is not None]
    return int(not distances or max(distances) > TOLERANCE)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
