"""Rows from SGD, the Schema-Guided Dialogue data set: what a user and an assistant settled on.

Source: https://github.com/google-research-datasets/dstc8-schema-guided-dialogue, the JSON of the DSTC8
challenge. Licence: CC BY-SA 4.0, share-alike with attribution. Paper: Rastogi et al., "Towards Scalable
Multi-Domain Conversational Agents: The Schema-Guided Dialogue Dataset", AAAI 2020,
https://arxiv.org/abs/1909.05855.

A row is a dialogue. A question asks for the value that a slot has in the end. Its wording is made from the
slot's description; its answers are the wordings of the value in the annotated state. The kind is
`latest_value` if the slot had another value before, else `state`. The evidence is the utterance with the last
annotated mention of the value; without one, the last that has its words when it comes into the state; else
the utterance that brings it there. Slots that are "dontcare" are not asked for.

    python -m train.data.sgd --split train --output sgd-train.parquet
"""

import re
import sys
from collections.abc import Iterable, Iterator
from zlib import crc32

from train.data import command, sources, spans
from train.data.schema import Record, same

SOURCE = "google-research-datasets/dstc8-schema-guided-dialogue"
ARCHIVE = f"https://github.com/{SOURCE}/archive/refs/heads/master.zip"
LICENSE = "CC BY-SA 4.0"
_ROLES = {"USER": "user", "SYSTEM": "assistant"}
_WORDINGS = (
    "What is the {slot} ({domain})?",
    "Which {slot} was chosen ({domain})?",
    "What {slot} did they agree on in the end ({domain})?",
    "In this {domain} request, what is the {slot}?",
)

Slot = tuple[str, str]
"""A service and the name of one of its slots."""
History = list[tuple[int, list[str]]]
"""The values of a slot one after the other: the turn each came with, and its wordings."""


def load(split: str, source: str = ARCHIVE) -> Iterator[Record]:
    """The dialogues of a split: `{dialogue_id, services, turns}`, and `schema`: the schemas of the services.

    Args:
        split: "train", "validation" or "test".
        source: A URL, a clone or a part of one, or a file of dialogues with its `schema.json` beside it.
    """
    path = sources.local(source)
    if path is None:
        raise ValueError(f"source must be a clone of {SOURCE} or the URL of its archive, but is {source!r}")
    for file in sources.files(path, split, "{split}/dialogues_*.json"):
        services = sources.read_json(file.with_name("schema.json"))
        schema = {service["service_name"]: service for service in services}
        for dialogue in sources.read_json(file):
            yield {**dialogue, "schema": [schema[name] for name in dialogue["services"]]}


def rows(records: Iterable[Record], split: str = "train") -> Iterator[Record]:
    """The rows of the dialogues; one in which no slot got a value gives none.

    Args:
        records: As `load` yields them.
        split: Goes into the ids, since the splits number their dialogues alike.
    """
    for record in records:
        if questions := list(_questions(record)):
            yield {
                "id": f"sgd-{split}-{record['dialogue_id']}",
                "source": SOURCE,
                "license": LICENSE,
                "messages": [
                    {"role": _ROLES[turn["speaker"]], "name": "", "content": turn["utterance"]}
                    for turn in record["turns"]
                ],
                "questions": sorted(questions, key=lambda question: question["evidence"][0]["message"]),
            }


def _questions(record: Record) -> Iterator[Record]:
    descriptions = {
        (service["service_name"], slot["name"]): slot["description"]
        for service in record["schema"]
        for slot in service["slots"]
    }
    turns = record["turns"]
    for slot, history in _histories(turns).items():
        entered, values = history[-1]
        if values == ["dontcare"]:
            continue
        place = _annotated(turns, slot, values) or _verbatim(turns[: entered + 1], values)
        message = place["message"] if place else entered
        yield {
            "question": _wording(f"{record['dialogue_id']} {slot}", slot, descriptions[slot], values),
            "answers": list(dict.fromkeys(values)),
            "kind": "latest_value" if len(history) > 1 else "state",
            "answer_spans": [place] if place else [],
            "evidence": [spans.whole(message, turns[message]["utterance"])],
        }


def _histories(turns: list[Record]) -> dict[Slot, History]:
    """What each slot was, one value after the other; a value that gains a wording is still the same one."""
    histories: dict[Slot, History] = {}
    for number, turn in enumerate(turns):
        for frame in turn["frames"]:
            for name, values in frame.get("state", {}).get("slot_values", {}).items():
                history = histories.setdefault((frame["service"], name), [])
                if history and _agree(history[-1][1], values):
                    history[-1] = (history[-1][0], values)
                else:
                    history.append((number, values))
    return histories


def _agree(some: list[str], others: list[str]) -> bool:
    return any(same(one, other) for one in some for other in others)


def _annotated(turns: list[Record], slot: Slot, values: list[str]) -> spans.Span | None:
    """The last annotated mention of one of the values; slots with a fixed set of values have none."""
    for number in reversed(range(len(turns))):
        utterance = turns[number]["utterance"]
        for frame in turns[number]["frames"]:
            for mention in frame.get("slots", []):
                border = (mention["start"], mention["exclusive_end"])
                named = (frame["service"], mention["slot"]) == slot
                if named and _agree([utterance[border[0] : border[1]]], values):
                    return spans.span(number, border)
    return None


def _verbatim(turns: list[Record], values: list[str]) -> spans.Span | None:
    """Where a value stands in the last of the turns that has it; a value may come from another service."""
    # A bare number far back is rather a part of a time or a date.
    numeric = all(value.isdigit() for value in values)
    for number in reversed(range(max(0, len(turns) - 2) if numeric else 0, len(turns))):
        for value in values:
            if border := spans.locate(turns[number]["utterance"], value):
                return spans.span(number, border)
    return None


def _wording(key: str, slot: Slot, description: str, values: list[str]) -> str:
    """A question out of a slot's description, in one of a few wordings; equal keys get the same one."""
    domain = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", slot[0].rpartition("_")[0]).lower()
    described = description[0].lower() + description[1:].rstrip(" .?")
    if values[0] in ("True", "False"):
        # Such slots are described as "Whether …" or "Boolean flag indicating if …".
        claim = re.sub(r"^.*?\b(?:if|whether(?: or not)?) ", "", described)
        return f"True or false in this {domain} request: {claim}?"
    return _WORDINGS[crc32(key.encode()) % len(_WORDINGS)].format(slot=described, domain=domain)


if __name__ == "__main__":
    sys.exit(command.run(load, rows, ARCHIVE))
