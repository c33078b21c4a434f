"""The simulated prompt cache, the systems that keep a run short, and the figures of a small run."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("sklearn")

from eval import cache_simulation
from eval.agents.histories import agent_run
from eval.cache_simulation import (
    BLOCK,
    LEAST,
    NOTE,
    Full,
    Prompts,
    Reader,
    Reet,
    Summary,
    Tally,
    Window,
    cached,
    main,
    simulate,
    windowed,
)
from reet_hf import Compressor

LIMIT = 2500  # tokens of a tokenizer that knows letters


@pytest.fixture(scope="module")
def run():
    return agent_run(10, 8, 40)


@pytest.fixture(scope="module")
def prompts(tokenizer):
    return Prompts(tokenizer)


def views(system, messages):
    """What the system makes of every beginning that a request is made for."""
    for place, message in enumerate(messages):
        if place and message["role"] == "assistant":
            yield place, system.view(messages[:place])


def check(sent, messages):
    """Calls have their results, the system's message comes first, then a user's."""
    waiting = []
    for message in sent:
        if message["role"] == "tool":
            waiting.remove(message["tool_call_id"])
            continue
        assert not waiting
        waiting = [call["id"] for call in message.get("tool_calls") or ()]
    assert not waiting
    head = [message for message in messages if message["role"] in ("system", "developer")]
    assert sent[: len(head)] == head
    assert sent[len(head)]["role"] == "user"


@given(same=st.integers(0, 3000), before=st.integers(0, 300), after=st.integers(0, 300))
@settings(deadline=None)
def test_whole_blocks_of_a_long_enough_beginning_are_cached(same, before, after):
    start = np.arange(same)
    found = cached(np.append(start, np.full(before, -1)), np.append(start, np.full(after, -2)))
    assert found == (same // BLOCK * BLOCK if same >= LEAST else 0)


def test_nothing_is_cached_of_nothing():
    assert cached(np.zeros(0, dtype=np.int64), np.arange(5000)) == 0


def test_a_window_holds_the_last_turns_that_fit(run, prompts):
    system = Window(prompts.count, LIMIT)
    for place, sent in views(system, run.messages):
        check(sent, run.messages[:place])
        assert prompts.count(sent) <= LIMIT
        assert sent[-1] == run.messages[place - 1]
    assert system.rebases > 3
    assert windowed(run.messages, 10**9, prompts.count) == run.messages


def test_a_summary_stands_for_what_was_before(run, prompts):
    system = Summary(prompts.count, LIMIT, prompts.counter)
    last = []
    for place, sent in views(system, run.messages):
        check(sent, run.messages[:place])
        assert prompts.count(sent) <= LIMIT
        assert sent[-1] == run.messages[place - 1] or NOTE in sent[-1]["content"]
        assert sum(NOTE in str(message["content"]) for message in sent) == min(system.rebases, 1)
        last = sent
    assert 0 < system.rebases < 10
    assert len(last) < len(run.messages)


def test_a_stable_prefix_costs_less_than_compressing_anew(run, prompts, compress):
    compressor = Compressor(compress.compressor.scorer, prompts.counter)
    reader = Reader(compressor)
    systems = {"all": Full(), "anew": Reet(reader, LIMIT), "stable": Reet(reader, LIMIT, rebase_to=0.5)}
    found = simulate(run, systems, prompts)
    assert found["all"].there == found["all"].needed == len(run.uses) > 0
    assert found["all"].cached > found["stable"].cached > found["anew"].cached
    assert found["stable"].longest <= LIMIT
    assert found["anew"].longest <= LIMIT < found["all"].longest
    assert 0 < found["stable"].rebases < found["anew"].rebases
    billed = {name: tally.record(0.1)["billed_tokens"] for name, tally in found.items()}
    assert billed["stable"] < billed["anew"]
    assert found["stable"].record(1.0)["billed_tokens"] == found["stable"].prompt


def test_what_is_brought_back_stays_in_the_run(run, prompts, compress):
    compressor = Compressor(compress.compressor.scorer, prompts.counter)
    system = Reet(Reader(compressor), LIMIT, asks=False, rebase_to=0.5, recall=300)
    for _, sent in views(system, run.messages):
        assert prompts.count(sent) <= LIMIT
    given_messages = [m for m in system.messages if m not in run.messages]
    assert [message["role"] for message in given_messages] == ["assistant", "tool"] * (len(given_messages) // 2)
    assert given_messages
    for call, result in zip(given_messages[::2], given_messages[1::2], strict=True):
        assert result["tool_call_id"] == call["tool_calls"][0]["id"]
        assert prompts.counter.count(result["content"]) <= 300


def test_tallies_add_up():
    one = Tally(prompt=100, cached=50, longest=60, needed=4, there=1, requests=2, rebases=1, seconds=1.0)
    both = one + replace(one, longest=70, there=3)
    assert both == Tally(200, 100, 70, 8, 4, 4, 2, 2.0)
    record = both.record(0.1)
    assert (record["cache_hit_share"], record["survival"], record["billed_tokens"]) == (0.5, 0.5, 110)
    assert Tally().record(0.1)["cache_hit_share"] == 0


def test_the_script_writes_a_record(tiny_folder, tmp_path, capsys):
    output = tmp_path / "deep" / "cache.json"
    words = ["--model", tiny_folder, "--seeds", 1, 2, "--turns", 2, "--budgets", 3000, "--output", output]
    main([str(word) for word in words])
    record = json.loads(output.read_text(encoding="utf-8"))
    assert record["seeds"] == [1, 2]
    assert len(record["history_tokens"]) == 2
    assert record["cache"] == {"block": BLOCK, "least": LEAST, "factor": 0.1}
    assert record["revision"] and record["generator"] and record["packages"]
    shown = capsys.readouterr().out
    systems = record["budgets"]["3000"]
    for name, own in systems.items():
        assert name in shown
        assert 0 <= own["cache_hit_share"] <= 1 and 0 <= own["survival"] <= 1
    assert systems["no compression"]["survival"] == 1
    assert cache_simulation.FILE.name == "cache.json"
