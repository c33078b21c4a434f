"""What text and ledger keep together: python -m eval.ledger --data FOLDER --extraction_data FOLDER

Survival of marked names under a budget, in the text alone and with the ledger; numbers, dates, identifiers and
addresses kept verbatim; the value that holds now in task dialogues; and the time that extraction adds to scoring.
Written to `eval/results/ledger/<model>.json`; the report makes tables of it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import regex
from tqdm.auto import tqdm

from eval import records
from eval.revision import revision
from eval.systems.reet import scorer
from eval.tables import table
from eval.tasks import mtr
from reet_hf.compressor import Compressor
from reet_hf.conversation import Conversation, parse_messages
from reet_hf.coverage import coverage
from reet_hf.extraction.extractor import ReetExtractor
from reet_hf.extraction.labels import Guide, guide_of, marked
from reet_hf.ledger import Ledger
from reet_hf.metrics import latest_value, stale_as_current
from reet_hf.records import Compressed, Span
from reet_hf.references import LITERAL, name_key
from reet_hf.registration import DEFAULT_MODEL, bundled_model
from reet_hf.state import State, accounts_of, mentioned_in
from reet_hf.training.dataset import Rows
from reet_hf.training.extraction import extraction_files

FOLDER = records.FOLDER / "ledger"
BUDGETS = (50, 33, 20)
NAMED = ("crossner-dev", "redocred-train-held", "litbank-dev")
TEXT, BOTH = "in the text", "in text or ledger"
JOINED = 20  # sentences of a set that has a row for each make one context
_WORDINGS = (  # how the questions of task dialogues name a slot
    r"^What (?P<slot>.+) applies in the end \((?P<domain>.+)\)\?$",
    r"^Which (?P<slot>.+) was asked for \((?P<domain>.+)\)\?$",
    r"^(?P<domain>[^:]+): what (?P<slot>.+) did they settle on\?$",
)
WORDINGS = tuple(regex.compile(pattern) for pattern in _WORDINGS)


def contexts(rows: Rows, guide: Guide) -> Iterator[tuple[str, set[frozenset[str]]]]:
    """Texts of some length, and of every entity that is marked in them its names."""
    size = JOINED if np.mean([len(row["text"].split()) for row in rows]) < 100 else 1
    for first in range(0, len(rows), size):
        part = rows[first : first + size]
        names: dict[tuple[int, Any], set[str]] = defaultdict(set)
        for number, row in enumerate(part):
            for entity in row["entities"]:
                name = row["text"][slice(*marked(entity))]
                if guide.kind(name) == "named":
                    names[number, entity["cluster"]].add(name)
        if names:
            yield "\n".join(row["text"] for row in part), set(map(frozenset, names.values()))


def survival(entities: Iterable[frozenset[str]], result: Compressed, ledger: Ledger) -> dict[str, float]:
    """Shares of names, and of entities of which a name does, that stand in the text, and in it or the ledger.

    Args:
        entities: The names of each.
        result: Its text counts.
        ledger: Names and facts that still hold count.
    """
    said = [*(name for known in ledger.entities for name in known.names), *(fact.text for fact in ledger.current())]
    places = {TEXT: [result.text], BOTH: [result.text, *said]}
    lines = {place: "\n".join(f" {name_key(text)} " for text in texts) for place, texts in places.items()}
    keys = [own for names in entities if (own := {name_key(name) for name in names} - {""})]
    shares = {}
    for place, text in lines.items():
        each = [[f" {key} " in text for key in own] for own in keys]
        shares[f"names, {place}"] = float(np.mean([kept for own in each for kept in own]))
        shares[f"entities, {place}"] = float(np.mean([any(own) for own in each]))
    return shares


def names_kept(compressor: Compressor, files: Mapping[str, Rows]) -> dict[str, dict[str, Any]]:
    """By data set and budget in percent the mean of `survival`, without a query."""
    found: dict[str, dict[str, Any]] = {}
    for each in NAMED:
        shares: dict[int, list[dict[str, float]]] = defaultdict(list)
        for text, names in tqdm(list(contexts(files[each], guide_of(each))), desc=each):
            state = compressor.encode(Conversation(parse_messages([{"role": "document", "content": text}])))
            for budget in BUDGETS:
                result = compressor.compress_turn(state, None, budget=budget / 100)
                if result.tokens.compressed > result.tokens.budget:
                    raise AssertionError(f"{each}: {result.tokens}")
                shares[budget].append(survival(names, result, accounts_of(state).ledger))
        found[each] = {
            str(budget): {key: round(float(np.mean([one[key] for one in own])), 4) for key in own[0]}
            | {"contexts": len(own)}
            for budget, own in shares.items()
        }
    return found


def they_fit(state: State, limit: int) -> bool:
    """Whether the shortest forms of sentences that have every number, identifier and the like are within a budget."""
    places = state.units["sentence"].places
    _, literal = coverage(places, np.zeros(len(places)), mentioned_in(state))
    counts = state.counts
    return counts is not None and bool(counts.forms["sentence"][0][literal > 0].sum() <= limit)


def literals_kept(compressor: Compressor, sets: Mapping[str, Rows], turns: int) -> dict[str, Any]:
    """Share of numbers, dates, identifiers and addresses kept verbatim at 50 % where they fit, by use of a query."""
    found: dict[str, Any] = {}
    for name, rows in sets.items():
        shares: dict[str, list[float]] = defaultdict(list)
        for row in tqdm(rows, desc=name):
            state = compressor.encode(Conversation(parse_messages(row["messages"])))
            literal = {mention.text for mention in state.mentions if mention.type in LITERAL}
            queries: list[str | None] = [None, *(question["question"] for question in row["questions"][:turns])]
            for query in queries if literal else []:
                result = compressor.compress_turn(state, query, budget=0.5)
                if they_fit(state, result.tokens.budget):
                    share = float(np.mean([text in result.text for text in literal]))
                    shares["no query" if query is None else "query"].append(share)
        found[name] = {key: [round(float(np.mean(own)), 4), len(own)] for key, own in shares.items()}
    return found


def slot_of(question: str) -> tuple[str, str] | None:
    """Domain and slot that a question of a task dialogue asks for."""
    for wording in WORDINGS:
        if match := wording.match(question):
            return match["domain"].casefold(), match["slot"].casefold()
    return None


def former_values(rows: Rows) -> Iterator[tuple[dict[str, Any], dict[str, Any], list[dict[str, int]]]]:
    """Rows, questions for values that changed, and places of earlier messages with another value of the same slot.

    The data do not tell former values; any value that the slot has in some dialogue, and which answers no other
    question of this one, is taken for one where it stands before the present value.
    """
    values: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in rows:
        for question in row["questions"]:
            if slot := slot_of(question["question"]):
                values[slot] |= {answer.casefold() for answer in question["answers"] if len(answer) > 1}
    for row in rows:
        answers = {answer.casefold() for question in row["questions"] for answer in question["answers"]}
        for question in row["questions"]:
            slot = slot_of(question["question"])
            if question["kind"] != "latest_value" or not question["answer_spans"] or slot is None:
                continue
            last = max(span["message"] for span in question["answer_spans"])
            stale = []
            for number, message in enumerate(row["messages"][:last]):
                for value in values[slot] - answers:
                    pattern = rf"\b{regex.escape(value)}\b"
                    for match in regex.finditer(pattern, message["content"], regex.IGNORECASE):
                        stale.append({"message": number, "start": match.start(), "end": match.end()})
            yield row, question, stale


def values_kept(compressor: Compressor, rows: Rows) -> dict[str, Any]:
    """Present values in task dialogues by strategy and budget: right, and an old one shown instead."""
    shares: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for row, question, stale in tqdm(list(former_values(rows)), desc="present values"):
        state = compressor.encode(Conversation(parse_messages(row["messages"])))
        texts = [message["content"] for message in row["messages"]]
        spans = question["answer_spans"]
        for strategy in ("extractive", "facts"):
            for budget in BUDGETS:
                result = compressor.compress_turn(state, question["question"], budget=budget / 100, strategy=strategy)
                scores = [score(texts, spans, stale, result.pieces) for score in (latest_value, stale_as_current)]
                shares[f"{strategy}, {budget} %"].append((scores[0], scores[1]))
        facts = [fact for fact in accounts_of(state).ledger.facts if fact.current]
        known = _apart({span for fact in facts for span in fact.sources})
        scores = [score(texts, spans, stale, known) for score in (latest_value, stale_as_current)]
        shares["ledger"].append((scores[0], scores[1]))
    return {
        key: {
            "right": round(float(np.mean([right for right, _ in own])), 4),
            "stale": round(float(np.mean([stale for _, stale in own])), 4),
            "questions": len(own),
        }
        for key, own in shares.items()
    }


def _apart(spans: Iterable[Span]) -> list[Span]:
    """Spans in order, those that touch as one."""
    merged: list[Span] = []
    for span in sorted(spans):
        last = merged[-1] if merged else None
        if last is not None and last.message == span.message and span.start <= last.end:
            merged[-1] = Span(last.message, last.start, max(last.end, span.end))
        else:
            merged.append(span)
    return merged


def added_time(compressor: Compressor, sets: Mapping[str, Rows], repeats: int) -> dict[str, Any]:
    """Seconds to read a context and score one query, without and with extraction, and the ratio of both sums."""
    alone = Compressor(compressor.scorer, compressor.counter)
    seconds = np.zeros(2)
    for rows in sets.values():
        for row in rows[:repeats]:
            conversation = Conversation(parse_messages(row["messages"]))
            query = row["questions"][0]["question"]
            for place in (0, 1, 0, 1):
                start = time.perf_counter()
                own = (alone, compressor)[place]
                state = own.encode(conversation)
                own.scorer.score(state.scored, query, ())
                seconds[place] += time.perf_counter() - start
    return {"scoring": round(float(seconds[0]), 2), "with extraction": round(float(seconds[1]), 2)} | {
        "ratio": round(float(seconds[1] / seconds[0]), 3)
    }


def page(folder: Path = FOLDER) -> str:
    """Markdown tables of everything that was measured, empty if there is nothing."""
    parts = []
    for path in sorted(folder.glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        shown = [f"{what}, {place}" for what in ("entities", "names") for place in (TEXT, BOTH)]
        rows = [
            [each, f"{budget} %", *(f"{own[key]:.3f}" for key in shown), str(own["contexts"])]
            for each, budgets in record["names"].items()
            for budget, own in budgets.items()
        ]
        head = ["data set", "budget", *shown, "contexts"]
        parts.append(f"`{record['model']}`, marked entities by name, without a query:\n\n{table(head, rows)}")
        rows = [
            [each, key, f"{share:.3f}", str(count)]
            for each, own in record["literals"].items()
            for key, (share, count) in own.items()
        ]
        head = ["data set", "regime", "numbers, dates, identifiers kept at 50 %", "outputs where they fit"]
        parts.append(table(head, rows))
        rows = [[key, f"{own['right']:.3f}", f"{own['stale']:.3f}"] for key, own in record["values"].items()]
        parts.append(table(["present values of task dialogues", "right", "an old one instead"], rows))
        told = record["time"]
        parts.append(f"Reading and one query take {told['ratio']:.2f} times as long with extraction as without.")
    return "\n\n".join(parts)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default=DEFAULT_MODEL, help="Hub id or folder")
    parser.add_argument("--data", required=True, help="folder of parquet files in the multi-turn schema")
    parser.add_argument("--extraction_data", required=True, help="the same in the extraction schema")
    parser.add_argument("--rows", type=int, default=12, help="rows of each multi-turn set")
    parser.add_argument("--turns", type=int, default=4, help="questions of each of them")
    parser.add_argument("--output", type=Path, default=FOLDER)
    said = parser.parse_args(argv)
    own = scorer(said.model)
    compressor = Compressor(own, own.tokenizer, ReetExtractor(own.model, own.tokenizer))
    sets = mtr.load(said.data, rows=said.rows)
    dialogues = mtr.load(said.data)["sgd-dev"]
    record = {
        "model": said.model,
        "revision": revision(bundled_model(said.model)),
        "rows": said.rows,
        "names": names_kept(compressor, extraction_files(said.extraction_data, NAMED)),
        "literals": literals_kept(compressor, sets, said.turns),
        "values": values_kept(compressor, dialogues),
        "time": added_time(compressor, sets, 2),
    }
    said.output.mkdir(parents=True, exist_ok=True)
    path = said.output / f"{Path(said.model).name}.json"
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(page(said.output))


if __name__ == "__main__":
    main()
