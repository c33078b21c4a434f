"""Histories of agents that work with tools through the tasks of a user, in the chat format of OpenAI.

A turn is a user's message, rounds of calls with their results, and an answer. A call of a later turn uses identifiers
that an earlier result or message has shown; the user only describes what is meant. Some values change over time.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from eval.agents.forms import EMPTY, ERRORS, FORMS, OWN_FORMS, PROSE, code, confirmation, other
from eval.agents.kinds import KINDS
from eval.agents.phrases import (
    ANSWERS,
    ASKED,
    CHANGED,
    CHATS,
    DEVELOPER,
    DONE,
    LEADS,
    LOOKUPS,
    MOST_VALUES,
    SAID,
    SLOTS,
    SYSTEM,
    TOLD,
    WORK,
    Slot,
)
from eval.agents.things import STREETS, Act, Thing, World, date, word
from reet_hf.errors import ReetError

VERSION = "1"
"""Of the histories that a seed gives; raise it where they change."""
ALPHANUMERIC = "abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"

Message = dict[str, Any]
Call = tuple[str, Mapping[str, Any], str]  # tool, arguments, result


@dataclass(frozen=True)
class Use:
    """A call's need of something from before.

    Attributes:
        turn: In which turn the call is made, from 0 on.
        message: Number of the message with the call.
        identifier: What it needs, verbatim in its arguments.
        source_message: Number of the message of an earlier turn that showed it first.
        about: What the user's request calls it by: its owner and its subject.
    """

    turn: int
    message: int
    identifier: str
    source_message: int
    about: tuple[str, str] = ("", "")


@dataclass(frozen=True)
class Change:
    """A value that changes: what it is of, its values in order, and the message that first says each."""

    what: str
    values: tuple[str, ...]
    messages: tuple[int, ...]


@dataclass(frozen=True)
class AgentRun:
    """A history.

    Attributes:
        messages: In order.
        tools: Definitions of the tools that are called.
        uses: In order of the calls.
        changes: Of each value that changes.
        starts: Number of the user's message that begins each turn.
    """

    messages: list[Message]
    tools: list[dict[str, Any]]
    uses: list[Use]
    changes: list[Change]
    starts: list[int]

    def turn_of(self, message: int) -> int:
        """The turn that a message belongs to; what stands before the first turn belongs to it."""
        return max(0, bisect_right(self.starts, message) - 1)


KINDS_OF_TURNS = ("lookup", "act", "change", "work", "told", "chat")
WEIGHTS = (24, 32, 28, 8, 4, 4)


def agent_run(seed: int, turns: int = 24, result_tokens: int = 170, plain: bool = False) -> AgentRun:
    """The history of a seed, the same on every platform.

    Args:
        seed: Any whole number.
        turns: Messages of the user that begin a turn.
        result_tokens: About how many tokens a tool result has; the real number varies around it by a factor of two.
        plain: Short results and answers, for many small histories.

    Raises:
        ReetError: If there are no turns or no tokens.
    """
    if turns < 1 or result_tokens < 1:
        raise ReetError(f"`turns` and `result_tokens` must be at least 1, got {turns} and {result_tokens}.")
    return _History(Random(f"agent {seed}"), turns, 25 if plain else result_tokens, plain).run()


@dataclass
class _Value:
    """A slot with the values said so far."""

    slot: Slot
    owner: str
    values: list[str] = field(default_factory=list)
    messages: list[int] = field(default_factory=list)


class _History:
    def __init__(self, rng: Random, turns: int, tokens: int, plain: bool) -> None:
        self.rng, self.turns, self.tokens, self.plain = rng, turns, tokens, plain
        self.world = World(rng, people=8 + turns // 4)
        self.messages: list[Message] = []
        self.starts: list[int] = []
        self.tools: dict[str, dict[str, Any]] = {}
        self.uses: list[Use] = []
        self.shown: list[tuple[Thing, int, int]] = []  # thing, message that showed it first, turn
        self.slots: list[_Value] = []

    def run(self) -> AgentRun:
        self._opening()
        for turn in range(self.turns):
            what = (
                self.rng.choices(KINDS_OF_TURNS, WEIGHTS)[0]
                if turn
                else self.rng.choice(["lookup", "lookup", "change"])
            )
            usable = [entry for entry in self.shown if entry[2] < turn]
            if what == "act" and usable:
                self._act(turn, usable)
            else:
                {"change": self._change, "work": self._work, "told": self._told, "chat": self._chat}.get(
                    what, self._lookup
                )(turn)
        changes = [
            Change(f"{each.slot.name} of {each.owner}", tuple(each.values), tuple(each.messages))
            for each in self.slots
            if len(each.values) > 1
        ]
        return AgentRun(self.messages, list(self.tools.values()), self.uses, changes, self.starts)

    def _opening(self) -> None:
        count = self.rng.choice([0, 1, 1, 1, 1, 1, 2])
        for number in range(count):
            role = "developer" if number or self.rng.random() < 0.1 else "system"
            self._add(role, self.rng.choice(SYSTEM if number == 0 and not self.plain else DEVELOPER))

    def _add(self, role: str, content: Any, **fields: Any) -> int:
        self.messages.append({"role": role, "content": content, **fields})
        return len(self.messages) - 1

    def _user(self, text: str) -> int:
        """The user's message that begins a turn; now and then with a picture or some talk."""
        if self.rng.random() < (0.05 if self.plain else 0.2):
            text = f"{self.rng.choice(PROSE)} {text}"
        self.starts.append(len(self.messages))
        if self.rng.random() < 0.06:
            url = f"https://img.example/{word(self.rng, 8)}.png"
            parts = [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": url}}]
            return self._add("user", parts if self.rng.random() < 0.7 else parts[::-1])
        return self._add("user", text)

    def _answer(self, text: str) -> int:
        if not self.plain and self.rng.random() < 0.15:
            text = f"{text}\n\n{self.rng.choice([code(self.rng), '- ' + chr(10).join(self.rng.sample(PROSE, 2))])}"
        return self._add("assistant", text)

    def _call(self, calls: Sequence[Call]) -> int:
        """A message with calls, then their results; the number of the former."""
        made, results = [], []
        for tool, arguments, result in calls:
            own = self.world.fresh(lambda rng: f"call_{word(rng, 12, ALPHANUMERIC)}")
            text = json.dumps(arguments, ensure_ascii=False)
            made.append({"id": own, "type": "function", "function": {"name": tool, "arguments": text}})
            results.append((own, result))
            self.tools.setdefault(tool, _definition(tool, arguments))
        number = self._add("assistant", self.rng.choice(LEADS), tool_calls=made)
        for own, result in results:
            self._add("tool", result, tool_call_id=own)
        return number

    def _lookup(self, turn: int) -> None:
        kinds = self.rng.sample(KINDS, self.rng.choice([1, 1, 1, 2, 3]))
        self._user(" ".join(self.rng.choice(LOOKUPS).format(plural=kind.plural) for kind in kinds))
        if self.rng.random() < 0.1:
            self._call([(kinds[0].lookup, {"limit": 20}, self.rng.choice([*ERRORS, *EMPTY]))])
        calls, found = [], []
        for kind in kinds:
            size = 0 if self.plain else self.tokens * self.rng.uniform(0.5, 2.0)
            things = self.world.things(kind, max(self.rng.randint(1, 3), int(size / 45)))
            if not things:
                continue
            forms = (*FORMS, OWN_FORMS[kind.name]) if kind.name in OWN_FORMS else FORMS
            form = (
                OWN_FORMS[kind.name] if kind.name in OWN_FORMS and self.rng.random() < 0.3 else self.rng.choice(forms)
            )
            calls.append((kind.lookup, {"limit": self.rng.choice([10, 20, 50])}, form(things, self.rng)))
            found.append(things)
        if not calls:
            self._answer("There is nothing new.")
            return
        number = self._call(calls)
        for place, things in enumerate(found, start=1):
            self.shown += [(thing, number + place, turn) for thing in things]
        one = self.rng.choice(found[0])
        text = self.rng.choice(ANSWERS).format(owner=one.owner, subject=one.subject, count=len(found[0]))
        self._answer(f"{text} Its number is {one.identifier}." if self.rng.random() < 0.15 else text)

    def _act(self, turn: int, usable: Sequence[tuple[Thing, int, int]]) -> None:
        chosen = self.rng.sample(usable, min(len(usable), self.rng.choice([1, 1, 1, 2, 2, 3, 4])))
        acts = [self.rng.choice(thing.kind.acts) for thing, _, _ in chosen]
        requests = [
            self.rng.choice(act.requests).format(owner=thing.owner, subject=thing.subject)
            for act, (thing, _, _) in zip(acts, chosen, strict=True)
        ]
        self._user(" ".join(requests))
        results = [confirmation(act.tool, thing, self.rng) for act, (thing, _, _) in zip(acts, chosen, strict=True)]
        if acts[0].tool in ("read_file", "get_trace", "get_pod_logs", "run_tests"):
            results[0] = other(self.rng, self.tokens)
        arguments = [_arguments(act, thing, self.rng) for act, (thing, _, _) in zip(acts, chosen, strict=True)]
        failed = self.rng.random() < 0.1
        first = [self.rng.choice(ERRORS) if failed and not number else result for number, result in enumerate(results)]
        number = self._call([(act.tool, own, said) for act, own, said in zip(acts, arguments, first, strict=True)])
        for act, (thing, source, _) in zip(acts, chosen, strict=True):
            needed = [thing.identifier, *(str(thing.fields[name]) for name in act.uses)]
            self.uses += [Use(turn, number, each, source, (thing.owner, thing.subject)) for each in needed]
        if failed:
            self._call([(acts[0].tool, arguments[0], results[0])])
        self.shown = [entry for entry in self.shown if entry not in chosen or self.rng.random() < 0.25]
        self._answer(self.rng.choice(DONE))

    def _change(self, turn: int) -> None:
        """A value is said, read or changed."""
        known = [each for each in self.slots if len(each.values) < MOST_VALUES]
        if known and self.rng.random() < 0.75:
            value = self.rng.choice(known)
        else:
            slot = self.rng.choice(SLOTS)
            free = [
                owner
                for owner in self.world.owners[slot.owners]
                if all((e.slot, e.owner) != (slot, owner) for e in self.slots)
            ]
            if not free:
                return self._chat(turn)
            value = _Value(slot, self.rng.choice(free))
            self.slots.append(value)
        said, name, owner = self.world.fresh(value.slot.draw), value.slot.name, value.owner
        field_name = name.replace(" ", "_")
        if self.rng.random() < 0.5:
            pattern = self.rng.choice(CHANGED if value.values else SAID)
            number = self._user(pattern.format(slot=name, owner=owner, value=said))
            told = json.dumps({"ok": True, "updated": field_name})
            self._call([("update_record", {"record": owner, "field": field_name, "value": said}, told)])
        else:
            self._user(self.rng.choice(ASKED).format(slot=name, owner=owner))
            record = {"record": owner, field_name: said, "checked": date(self.rng), "source": self.rng.choice(STREETS)}
            text = self.rng.choice(
                (json.dumps(record, ensure_ascii=False), "\n".join(f"{key}: {each}" for key, each in record.items()))
            )
            number = self._call([("get_record", {"record": owner}, text)]) + 1
        value.values.append(said)
        value.messages.append(number)
        self._answer(self.rng.choice(DONE) if self.rng.random() < 0.7 else f"The {name} of {owner} is {said}.")

    def _work(self, turn: int) -> None:
        """Calls whose results nobody needs later."""
        request = self.rng.choice(WORK)
        self._user(request[3])
        for _ in range(self.rng.choice([1, 1, 2, 3])):
            calls: list[Call] = []
            for _ in range(self.rng.choice([1, 1, 1, 2, 3, 4])):
                tool, name, argument, _ = self.rng.choice([request, *WORK])
                empty = self.rng.random() < 0.12
                tokens = int(self.tokens * self.rng.uniform(0.5, 1.5))
                result = self.rng.choice([*EMPTY, *ERRORS]) if empty else other(self.rng, tokens)
                calls.append((tool, {name: argument, "page": self.rng.randint(1, 9)}, result))
            self._call(calls)
        self._answer(self.rng.choice(PROSE))

    def _told(self, turn: int) -> None:
        """The user says an identifier."""
        things = self.world.things(self.rng.choice(KINDS), 1)
        if not things:
            return self._chat(turn)
        thing = things[0]
        told = {"owner": thing.owner, "subject": thing.subject, "identifier": thing.identifier, "name": thing.kind.name}
        number = self._user(self.rng.choice(TOLD).format(**told))
        if not any(act.uses for act in thing.kind.acts):
            self.shown.append((thing, number, turn))
        self._answer("Noted, thank you.")

    def _chat(self, turn: int) -> None:
        said, answer = self.rng.choice(CHATS)
        self._user(said)
        self._answer(answer)


def _arguments(act: Act, thing: Thing, rng: Random) -> dict[str, Any]:
    more = {name: draw(rng) for name, draw in (act.more or {}).items()}
    return {thing.kind.key: thing.identifier, **{name: thing.fields[name] for name in act.uses}, **more}


def _definition(tool: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """A tool as OpenAI describes it."""
    types = {bool: "boolean", int: "integer", str: "string"}
    properties = {name: {"type": types[type(value)]} for name, value in arguments.items()}
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    about = {"name": tool, "description": f"{tool.replace('_', ' ').capitalize()}.", "parameters": schema}
    return {"type": "function", "function": about}
