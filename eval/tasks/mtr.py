"""Multi-turn retention in regime `session`: the whole history, the queries in order, the state kept between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from reet_hf import Compressor, Session
from reet_hf.conversation import parse_messages
from reet_hf.metrics import answer_survival, evidence_recall
from reet_hf.records import Span

VERSION = "1"


@dataclass
class Tally:
    """Sums over the questions of one data set."""

    survival: list[float] = field(default_factory=list)
    recall: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    overruns: int = 0
    pieces: int = 0
    verbatim: int = 0

    def scores(self) -> dict[str, float]:
        """Means of the measures that the data set allows."""
        named = {"answer_survival": self.survival, "evidence_recall": self.recall}
        return {name: sum(values) / len(values) for name, values in named.items() if values}


def load(path: Path) -> list[dict[str, Any]]:
    """Rows of a parquet file in the multi-turn schema."""
    return pq.read_table(path).to_pylist()


def run_row(row: Mapping[str, Any], compressor: Compressor, rate: float, turns: int, tally: Tally) -> None:
    """Ask the first `turns` questions of a row in order and add what was kept to `tally`."""
    session = Session(compressor)
    session.append(row["messages"])
    texts = [message.text for message in parse_messages(row["messages"])]
    for question in row["questions"][:turns]:
        out = session.compress(question["question"], budget=rate)
        session.answer((question["answers"] or [""])[0])
        pieces = [Span(piece["message"], piece["start"], piece["end"]) for piece in out["pieces"]]
        if question["answer_spans"]:
            tally.survival.append(answer_survival(texts, question["answer_spans"], pieces))
        if question["evidence"]:
            tally.recall.append(evidence_recall(texts, question["evidence"], pieces))
        tally.rates.append(out["tokens"]["compressed"] / max(out["tokens"]["original"], 1))
        tally.overruns += out["tokens"]["compressed"] > out["tokens"]["budget"]
        tally.pieces += len(pieces)
        tally.verbatim += sum(_verbatim(texts, out["messages"], pieces))


def _verbatim(texts: list[str], messages: list[dict[str, Any]], pieces: list[Span]) -> Iterator[bool]:
    rendered = "\n".join(str(message["content"] or "") for message in messages)
    for piece in pieces:
        yield texts[piece.message][piece.start : piece.end] in rendered
