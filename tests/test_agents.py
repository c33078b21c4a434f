"""Histories of agents, what is valid in them, and the scripts that compress them."""

from __future__ import annotations

import copy
import json
from random import Random

import pytest

from eval import agent_identifiers, agent_validity
from eval.agents.checks import kinds, problems
from eval.agents.forms import FORMS, OWN_FORMS, comma_separated, json_lines, markdown_table
from eval.agents.histories import AgentRun, agent_run
from eval.agents.irregular import IRREGULARITIES, small_run
from eval.agents.kinds import KINDS
from eval.agents.measures import age_of, identifier_scores, said, usable, value_scores
from eval.agents.systems import SIMPLE, tokens_of
from eval.agents.things import World
from reet_hf.budget import resolve_counter
from reet_hf.errors import ReetError


def call(number: str, **arguments) -> dict:
    return {"id": number, "type": "function", "function": {"name": "look", "arguments": json.dumps(arguments)}}


def history() -> list[dict]:
    """A valid history with what every rule is about."""
    table = "| id | who |\n| --- | --- |\n| 1 | Ann |\n| 2 | Lee |"
    image = {"type": "image_url", "image_url": {"url": "https://img.example/a.png"}}
    return [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "What is there?"}, image]},
        {"role": "assistant", "content": None, "tool_calls": [call("a", x=1), call("b", x=2)]},
        {"role": "tool", "tool_call_id": "a", "content": '{"items": [1, 2, 3]}'},
        {"role": "tool", "tool_call_id": "b", "content": '{"n": 1}\n{"n": 2}'},
        {"role": "assistant", "content": "Two lists. ```x```"},
        {"role": "user", "content": "And the rest?"},
        {"role": "assistant", "content": "", "tool_calls": [call("c"), call("d")]},
        {"role": "tool", "tool_call_id": "c", "content": table},
        {"role": "tool", "tool_call_id": "d", "content": "Code:\n```\nx = 1\ny = 2\n```\n"},
        {"role": "assistant", "content": "That is all."},
    ]


def without(*numbers: int) -> list[dict]:
    return [message for number, message in enumerate(history()) if number not in numbers]


def with_content(number: int, content) -> list[dict]:
    messages = history()
    messages[number]["content"] = content
    return messages


def changed_call(**changes) -> list[dict]:
    messages = history()
    messages[2]["tool_calls"][0] |= changes
    return messages


BROKEN = [
    ("role", [{"role": "robot", "content": "x"}]),
    ("role", ["x"]),
    ("form", with_content(1, [{"type": "text"}])),
    ("form", with_content(1, [{"type": "text", "text": 1}])),
    ("form", with_content(1, [{"type": "sound", "text": "x"}])),
    ("form", with_content(1, {"type": "text", "text": "x"})),
    ("form", with_content(1, [])),
    ("form", with_content(3, None)),
    ("form", with_content(5, None)),
    ("form", [{"role": "user"}]),
    ("form", [{"role": "user", "content": "x", "age": 3}]),
    ("form", [{"role": "user", "content": "x"}, {"role": "tool", "content": "x"}]),
    ("form", changed_call(type="thing")),
    ("form", changed_call(function={"name": "look"})),
    ("form", changed_call(function={"name": "look", "arguments": {"x": 1}})),
    ("form", [{"role": "assistant", "content": "x", "tool_calls": []}]),
    ("orphan result", without(2)),
    ("orphan result", [*history()[:5], history()[3], *history()[5:]]),
    ("orphan result", [*history()[:5], history()[5], history()[6], history()[4]]),
    ("unanswered call", without(4)),
    ("unanswered call", history()[:4]),
    ("unanswered call", history()[:3]),
    ("unanswered call", [*history()[:3], history()[6], *history()[3:5]]),
    ("system order", [*history()[1:6], history()[0], *history()[6:]]),
    ("first message", without(1)),
    ("first message", history()[5:]),
    ("role order", without(5)),
    ("role order", without(6, 7, 8, 9)),
    ("role order", without(2, 3, 4, 5)),
    ("untouched", changed_call(function={"name": "look", "arguments": '{"x":1}'})),
    ("untouched", changed_call(function={"name": "see", "arguments": '{"x": 1}'})),
    ("untouched", [{**message, "name": "ann"} if message["role"] == "user" else message for message in history()]),
    ("untouched", with_content(1, [{"type": "image_url", "image_url": {"url": "https://img.example/b.png"}}])),
    ("untouched", [{"role": "developer", "content": "x"}, *history()[1:]]),
    ("json", with_content(3, '{"items": [1, 2')),
    ("json", with_content(3, "[1, 2]")),
    ("json lines", with_content(4, '{"n": 1}\n{"n":')),
    ("table head", with_content(8, "| 1 | Ann |\n| 2 | Lee |")),
    ("fence", with_content(9, "Code:\n```\nx = 1")),
    ("emptied", with_content(6, " ")),
]


def test_the_whole_and_valid_parts_have_no_problems():
    assert problems(history()) == problems(history(), history()) == problems([], history()) == []
    assert problems(without(0, 1, 2, 3, 4, 5), history()) == []
    shorter = with_content(3, '{"items": [1]}')
    shorter[8]["content"] = "\n".join(shorter[8]["content"].splitlines()[:3])
    shorter[9]["content"] = "Code:\n```\ny = 2\n```"
    assert problems(shorter, history()) == []


@pytest.mark.parametrize(("kind", "messages"), BROKEN, ids=[f"{kind}-{n}" for n, (kind, _) in enumerate(BROKEN)])
def test_what_is_broken_is_found(kind, messages):
    assert kind in kinds(problems(messages, history()))


def test_what_the_history_had_may_be_in_the_output():
    twice = [*history(), {"role": "user", "content": "One."}, {"role": "user", "content": "Two."}]
    assert problems(without(2, 3, 4, 5), twice) == []
    late = [*history()[1:], {"role": "system", "content": "Stop."}, {"role": "user", "content": "Why?"}]
    assert problems(late, late) == []
    greeted = [{"role": "assistant", "content": "Hello."}, *history()[1:]]
    assert problems(greeted, greeted) == []
    assert problems(greeted[2:5], greeted) == []


def first_shown(run: AgentRun, text: str) -> int:
    return next(n for n, message in enumerate(run.messages) if text in said([message]))


def check_run(run: AgentRun) -> None:
    assert problems(run.messages, run.messages) == []
    for use in run.uses:
        assert first_shown(run, use.identifier) == use.source_message
        assert run.messages[use.source_message]["role"] in ("tool", "user")
        assert run.turn_of(use.source_message) < use.turn == run.turn_of(use.message)
        calls = run.messages[use.message]["tool_calls"]
        assert any(use.identifier in json.loads(each["function"]["arguments"]).values() for each in calls)
        asked = said([run.messages[run.starts[use.turn]]])
        assert use.identifier not in asked and all(name in asked for name in use.about)
    for change in run.changes:
        assert len(set(change.values)) == len(change.values) == len(change.messages) > 1
        assert [first_shown(run, value) for value in change.values] == list(change.messages)
    called = {each["function"]["name"] for message in run.messages for each in message.get("tool_calls") or ()}
    assert called == {tool["function"]["name"] for tool in run.tools}


def test_histories_are_well_formed_and_what_is_said_of_them_is_true():
    runs = [agent_run(seed, turns=1 + seed % 12, plain=True) for seed in range(970)]
    runs += [agent_run(seed, turns=20) for seed in range(30)]
    for run in runs:
        check_run(run)
    uses = [use for run in runs for use in run.uses]
    assert len(uses) > 1500 and sum(len(run.changes) for run in runs) > 300
    assert {run.messages[use.source_message]["role"] for run in runs for use in run.uses} == {"tool", "user"}


def test_a_seed_gives_one_history():
    assert agent_run(5, turns=9) == agent_run(5, turns=9)
    assert agent_run(5, turns=9) != agent_run(6, turns=9)
    assert small_run(5) == small_run(5)
    first = agent_run(3, turns=4).messages
    assert agent_run(3, turns=4).messages is not first


def test_histories_have_the_size_that_was_asked_for():
    run = agent_run(1, turns=24)
    assert len(run.starts) == 24
    assert all(run.messages[start]["role"] == "user" for start in run.starts)
    lengths = [sum(len(said([m])) for m in agent_run(n, turns=12, result_tokens=400).messages) for n in range(8)]
    assert sum(lengths) > 2 * sum(len(said(agent_run(n, turns=12, result_tokens=60).messages)) for n in range(8))
    with pytest.raises(ReetError, match="`turns`"):
        agent_run(1, turns=0)


def test_histories_have_every_kind_of_result_and_message():
    messages = [message for seed in range(60) for message in agent_run(seed, turns=20).messages]
    results = [message["content"] for message in messages if message["role"] == "tool"]
    signs = (
        '{"',
        "[{",
        '"}\n{"',
        "| --- |",
        "```",
        "Traceback",
        "@@ -",
        "heartbeat",
        "commit ",
        "ERROR",
        "Error",
        "🚚",
    )
    assert all(any(sign in result for result in results) for sign in signs)
    assert "" in results and "[]" in results
    assert {message["role"] for message in messages} == {"system", "developer", "user", "assistant", "tool"}
    leads = {message["content"] for message in messages if message.get("tool_calls")}
    assert {None, ""} < leads and max(len(message.get("tool_calls") or ()) for message in messages) == 4
    assert any(isinstance(message["content"], list) for message in messages)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_form_tells_the_identifier_with_owner_and_subject(kind):
    world = World(Random(kind.name))
    things = world.things(kind, 5)
    forms = (*FORMS, OWN_FORMS[kind.name]) if kind.name in OWN_FORMS else FORMS
    for form in forms:
        text = form(things, Random(0))
        for thing in things:
            assert all(each in text for each in (thing.identifier, thing.owner, thing.subject)), form
            needed = {name for act in kind.acts for name in act.uses}
            assert all(str(thing.fields[name]) in text for name in needed), form


def test_forms_are_what_they_are_called():
    things = World(Random(0)).things(KINDS[0], 4)
    rng = Random(0)
    for form in FORMS[:3]:
        assert json.loads(form(things, rng))
    assert [json.loads(line)["order_id"] for line in json_lines(things, rng).splitlines()] == [
        t.identifier for t in things
    ]
    assert len({line.count("|") for line in markdown_table(things, rng).splitlines()}) == 1
    assert len({line.count(",") for line in comma_separated(things, rng).splitlines()}) == 1


def test_small_histories_are_valid_with_all_irregularities():
    runs = [small_run(seed) for seed in range(400)]
    assert all(problems(run.messages, run.messages) == [] for run in runs)
    sizes = [len(run.messages) for run in runs]
    assert sum(size <= 25 for size in sizes) > 340 and max(sizes) > 40
    assert {run.messages[-1]["role"] for run in runs} >= {"user", "assistant", "tool"}
    for _, change in IRREGULARITIES:
        given = [agent_run(seed, turns=6, plain=True).messages for seed in range(30)]
        assert any(change(copy.deepcopy(messages), Random(1)) != messages for messages in given)
        assert all(problems(change(copy.deepcopy(messages), Random(1))) in ([], *FIRST) for messages in given)


FIRST = [["first message: the first message is of role assistant, not user"]]
FIRST += [["system order: a system message stands after another"]]


def test_survival_is_told_by_place():
    run = next(run for run in (agent_run(seed, turns=12) for seed in range(9)) if run.uses)
    use = run.uses[0]
    text = f"{use.about[0]} has {use.identifier} for {use.about[1]}"
    every = {"text": 1.0, "text, with owner and subject": 1.0, "text or facts": 1.0, "text, facts or entities": 1.0}
    assert identifier_scores([use], text) == [every]
    assert usable(use, text) and not usable(use, f"{use.about[0]} {'x ' * 400} {use.identifier}")
    assert identifier_scores([use], "", names=use.identifier)[0] == {
        **dict.fromkeys(every, 0.0),
        "text, facts or entities": 1.0,
    }
    assert identifier_scores([use], "", facts=use.identifier)[0]["text or facts"] == 1.0
    assert [age_of(turns) for turns in (1, 2, 5, 10, 30)] == ["1 to 2", "1 to 2", "3 to 5", "6 to 10", "11 or more"]


def test_values_are_those_that_hold():
    run = next(run for run in (agent_run(seed, turns=20) for seed in range(9)) if run.changes)
    change = run.changes[0]
    end = len(run.messages)
    assert value_scores([change], change.messages[1], change.values[0]) == []
    assert value_scores([change], end, change.values[-1]) == [{"current": 1.0, "only an old one": 0.0}]
    assert value_scores([change], end, change.values[0]) == [{"current": 0.0, "only an old one": 1.0}]
    assert value_scores([change], end, "") == [{"current": 0.0, "only an old one": 0.0}]


@pytest.mark.parametrize("name", SIMPLE)
def test_simple_systems_keep_to_the_budget_and_to_pairs(name, tokenizer):
    counter = resolve_counter(tokenizer)
    for seed in range(4):
        messages = agent_run(seed, turns=6, result_tokens=60).messages
        for share in (0.2, 0.5, 1.0):
            limit = int(share * tokens_of(messages, counter))
            kept = SIMPLE[name](messages, limit, counter, Random(seed))
            assert tokens_of(kept, counter) <= limit
            texts_change = name in ("heads of results", "oldest results cleared")
            allowed = {"json", "json lines", "table head", "fence", "emptied"} if texts_change else set()
            assert set(kinds(problems(kept, messages))) <= allowed
            assert kept == messages or share < 1.0


def test_the_validity_script_counts_and_shows(tmp_path, capsys):
    path = tmp_path / "validity.json"
    given = ["--histories", "3", "--bundled", "0", "--processes", "1", "--output", str(path)]
    status = agent_validity.main(given)
    result = json.loads(path.read_text())
    assert result["histories"] == 3 and status == int(result["invalid"] > 0)
    assert sum(result["scorers"].values()) == 3
    capsys.readouterr()
    shown = agent_validity.main(["--only", "1"])
    text = capsys.readouterr().out
    assert '"seed": 1' in text and ("valid" in text.splitlines()[-2]) == (shown == 0)


def test_a_case_depends_on_its_seed_alone():
    assert agent_validity.case_of(7, False) == agent_validity.case_of(7, False)
    found = [agent_validity.case_of(seed, False) for seed in range(200)]
    assert {case.counter for case in found} == set(agent_validity.COUNTERS)
    assert {case.options["unit"] for case in found} >= {"auto", "word", "message"}
    assert any(isinstance(case.options["budget"], int) for case in found)
    assert all(problems(case.messages, case.messages) == [] for case in found)


def test_an_exception_and_a_broken_output_are_told(monkeypatch):
    case = agent_validity.case_of(3, False)

    def broken(case, **changed):
        raise KeyError("x")

    monkeypatch.setattr(agent_validity, "compress", broken)
    assert agent_validity.examine(case).found == ["exception: KeyError: 'x'"]

    def refusing(case, **changed):
        raise ReetError("No.", floor=None if changed else 9)

    monkeypatch.setattr(agent_validity, "compress", refusing)
    assert agent_validity.examine(case).found == ["floor: 9 tokens were said to do, then: No."]


@pytest.mark.parametrize("contract", ["once", "rolling"])
def test_the_identifier_script_measures_all_systems(contract, tmp_path, tiny_folder):
    path = tmp_path / "found.json"
    rates = [".5", ".2"] if contract == "once" else [".5"]
    given = ["--model", str(tiny_folder), "--histories", "3", "--turns", "5", "--tokens", "30"]
    given += ["--rates", ",".join(rates)]
    agent_identifiers.main([*given, "--output", str(path), *(["--rolling"] if contract == "rolling" else [])])
    result = json.loads(path.read_text())
    assert result["contract"] == contract and [float(rate) for rate in result["rates"]] == list(map(float, rates))
    for systems in result["rates"].values():
        assert set(systems) >= {"REET", *SIMPLE}
        for own in systems.values():
            share = own["measures"]["identifiers: text"]
            assert 0.0 <= share["low"] <= share["value"] <= share["high"] <= 1.0
            assert own["outputs"] > 0 and own["overruns"] == 0
