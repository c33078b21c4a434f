"""What a run would ask of readers, counted against a run that asks."""

from __future__ import annotations

import json

import pytest

from eval import run
from eval.estimate import prices
from reet_hf.errors import ReetError

COMMAND = ["--task", "synthetic", "--option", "synthetic.lengths=4k", "--option", "synthetic.tasks=key_value,math_find"]


def cells(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]


def test_calls_and_tokens_are_those_of_the_work(capsys, tmp_path):
    """Five questions of two rows of two sets; a third and a fifth of 4,000 tokens in two regimes, or all of them."""
    asked = ["--system", "full,bm25", "--reader", "openai_compatible,extractive", "--reader-rows", "2"]
    more = ["--regime", "session,first_query", "--budget", "33,20,10", "--output", str(tmp_path)]
    run.main([*COMMAND, *asked, *more, "--estimate", "--price", "2,10"])
    head, _, *rows = cells(capsys.readouterr().out)
    assert head == ["system", "reader", "calls", "tokens read", "tokens written", "dollars"]
    found = {(system, reader): [float(cell.replace(",", "")) for cell in rest] for system, reader, *rest in rows}
    for reader, written in (("openai_compatible", 32), ("extractive", 0)):
        assert found["full", reader][0] == 20 and found["full", reader][2] == 20 * written
        assert found["bm25", reader][0] == 80 and found["bm25", reader][2] == 80 * written
        assert 20 * 3700 < found["full", reader][1] < 20 * 4500
        texts = found["full", reader][1] - 20 * 85
        assert found["bm25", reader][1] == pytest.approx(2 * 0.53 * texts + 80 * 85, rel=0.03)
        for system in ("full", "bm25"):
            calls, read, wrote, dollars = found[system, reader]
            paid = (2 * read + 10 * wrote) / 1e6 if reader == "openai_compatible" else 0
            assert dollars == pytest.approx(paid, abs=0.005)
    assert found["all", ""][:3] == [sum(own[n] for key, own in found.items() if key[1]) for n in range(3)]
    assert not list(tmp_path.iterdir()), "nothing was run"


def test_a_benchmark_s_own_prompts_are_counted(capsys, tmp_path):
    record = {
        "input": "Who keeps the key?",
        "context": "Ann keeps the key. " * 50,
        "answers": ["Ann"],
        "all_classes": None,
    }
    record |= {"length": 200, "dataset": "hotpotqa", "language": "en", "_id": "a"}
    (tmp_path / "hotpotqa.jsonl").write_text(json.dumps(record) + "\n", encoding="utf-8")
    asked = ["--task", "longbench", "--option", "longbench.sets=hotpotqa", "--data", str(tmp_path), "--system", "full"]
    run.main([*asked, "--reader", "causal_lm", "--estimate"])
    ((_, reader, calls, read, written), _) = cells(capsys.readouterr().out)[2:]
    assert (reader, calls, written) == ("causal_lm", "1", "32")
    assert 250 < int(read) < 400


@pytest.mark.parametrize("text", ["", "1", "1,2,3", "a,b", "-1,2"])
def test_prices_are_two_numbers(text):
    with pytest.raises(ReetError, match="`price` must be dollars for a million tokens read and written, as in"):
        prices(text)


def test_an_estimate_needs_a_reader_and_a_price_an_estimate():
    with pytest.raises(ReetError, match="`estimate` says what readers are asked, but `reader` names none"):
        run.parse([*COMMAND, "--system", "full", "--estimate"])
    with pytest.raises(ReetError, match="`price` is told by an estimate; add --estimate"):
        run.parse([*COMMAND, "--system", "full", "--price", "1,2"])
