"""Tables and plots say what the result files say; the same files give the same bytes."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree

import pytest

from eval import compare, learned, plots, records, report
from eval.board import Board, mean
from eval.bootstrap import Estimate
from eval.records import Result, RowScores, SetScores
from eval.tables import (
    by_age,
    by_budget,
    by_set,
    full_context,
    generated,
    latency,
    leads,
    overview,
    reading,
    sections,
    shown,
)
from reet_hf.errors import ReetError

COSTS = {
    "rate": 0.2,
    "target": 0.2,
    "rate_error": 0.001,
    "overruns": 0.0,
    "worst_overrun": 0.0,
    "verbatim": 1.0,
    "outputs": 4.0,
    "turn_ms_p50": 3.0,
    "turn_ms_p95": 4.0,
    "cold_ms_p50": 9.0,
    "cold_ms_p95": 10.0,
}


def make_result(system: str, survival: list[list], task="mtr", regime="session", budget=20, **more) -> Result:
    f1 = more.pop("f1", None)
    rows = []
    for number, scores in enumerate(survival):
        found = {"answer_survival": scores, "evidence_recall": [score / 2 for score in scores]}
        if f1 is not None:
            found["toy.f1"] = f1[number]
        rows.append(RowScores(f"row-{number}", found, more.get("ages", [])))
    sets = {"a-dev": SetScores("f", rows, COSTS), "b-dev": SetScores("f", rows[:1], COSTS)}
    fields = {"version": "2", "turns": 20, "seeds": [], "revision": "r", "options": {}, "readers": {}}
    return Result(system, task, regime=regime, budget=budget, hardware={}, packages={}, sets=sets, **fields)


@pytest.fixture
def folder(tmp_path):
    full = make_result("full", [[1, 1], [1, 1]], regime="once", budget=100, f1=[[0.8, None], [0.5, 0.5]])
    results = [
        full,
        make_result("reet", [[1, 1], [1, 0]], f1=[[0.8, 0.3], [0.25, None]]),
        make_result("bm25", [[1, 0], [0, 0]], f1=[[0.4, 0.1], [0.0, None]]),
        make_result("lexrank", [[0, 0], [0, 0]]),
        make_result("a_stranger", [[0, 1], [0, 0]]),
        make_result("reet", [[1, 1], [1, 1]], budget=33),
        make_result("reet", [[1, 0], [0, 0]], regime="rolling", ages=[9, 0]),
        make_result("reet", [[1, 0], [1, 0]], task="latest_value"),
    ]
    for result in results:
        records.write(result, tmp_path)
    return tmp_path


@pytest.fixture
def board(folder):
    return Board(folder)


def cells(table: str, system: str) -> list[str]:
    line = next(line for line in table.splitlines() if line.startswith(f"| {system} |"))
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def test_an_estimate_is_shown_with_half_its_interval():
    assert shown(Estimate(0.8743, 0.8603, 0.8883, 0.1)) == ".874 ±.014"
    assert shown(Estimate(-0.05, -0.07, -0.03, 0.1), signed=True) == "-.050 ±.020"
    assert shown(Estimate(1.0, 1.0, 1.0, 0.1)) == "1.000 ±.000"
    assert shown(None) == "–"


def test_means_count_every_data_set_the_same(board):
    # set a: 3 of 4 questions, set b: 2 of 2
    assert mean(board.get("reet", "mtr", "session", 20), "answer_survival").value == pytest.approx((0.75 + 1) / 2)
    assert cells(overview(board, "mtr", "session", 20), "**REET**")[0].startswith(".875 ±")


def test_turns_and_degradation(board):
    result = board.get("reet", "mtr", "session", 20)
    assert mean(result, "answer_survival", turn=2).value == pytest.approx((0.5 + 1) / 2)
    assert mean(result, "answer_survival", turn=3) is None
    below = result.degradation("answer_survival", 1, 2)[0]
    assert below.above.tolist() == [0, 1] and below.below.tolist() == [1, 1]


def test_a_readers_retention_counts_questions_that_both_have(board):
    result = board.get("reet", "mtr", "session", 20)
    first, second = board.reader_ratios(result, "toy")
    # row 0 has no full score at turn 2, row 1 no kept score at turn 2
    assert first.above.tolist() == [0.8, 0.25] and first.below.tolist() == [0.8, 0.5]
    assert second.above.tolist() == [0.8]
    assert ".904" in overview(board, "mtr", "session", 20)  # (1.05 / 1.3 + 1) / 2
    assert ".600" in cells(full_context(board, "mtr"), "toy")[1]  # (0.8 + 0.5 + 0.5) / 3
    assert cells(reading(board, "mtr", "session", 20), "**REET**")[1:4] == [
        f".808 ±{(1 - 0.5) / 2:.3f}".replace("0.", "."),  # set a: 1.05 / 1.3, its two contexts 1 and 0.5
        "1.000 ±.000",
        cells(overview(board, "mtr", "session", 20), "**REET**")[2],
    ]


def test_the_lead_is_over_the_best_that_is_not_ours(board):
    assert board.best_rival("mtr", "session", 20, "answer_survival") == "bm25"
    line = next(line for line in leads(board, "mtr", "answer_survival").splitlines() if "20 %" in line)
    assert "BM25" in line and "+.500" in line


def test_who_is_new_stands_in_tables_without_being_named_anywhere(board):
    assert cells(by_set(board, "mtr", "session", 20), "a stranger")[0].startswith(".250")


def test_what_was_not_measured_is_a_dash(board):
    assert cells(by_budget(board, "mtr", "session", "answer_survival"), "BM25 sentences")[0] == "–"


def test_ages_are_told_apart(board):
    # nine chunks came after what turn 1 asks for; it is kept in one of two rows of set a
    found = cells(by_age(board, "mtr", 20), "**REET**")
    assert found[0].startswith(".000") and found[1] == "–" and found[2].startswith(".750")


def test_generated_tasks_have_their_own_table(board):
    assert "latest value" in generated(board, "session", 20)
    headings = [heading for heading, _ in sections(board)]
    assert any("Generated tasks" in heading for heading in headings)


def test_plots_are_the_same_every_time_and_follow_the_theme(board, tmp_path):
    for draw, options in ((plots.by_turn, {"turns": 2}), (plots.by_budget, {})):
        draw(board, tmp_path / "one.svg", **options)
        draw(board, tmp_path / "two.svg", **options)
        text = (tmp_path / "one.svg").read_text()
        assert text == (tmp_path / "two.svg").read_text()
        ElementTree.fromstring(text)
        assert "prefers-color-scheme: dark" in text and "REET" in text
        assert not re.search(r"<text[^>]*fill:", text)  # a colour of its own would hide it on one of the themes


def test_a_table_says_of_how_many_texts_it_is(board):
    counts = cells(overview(board, "mtr", "session", 20), "*number of texts*")
    assert counts == ["3", "3", "0", "3", "0", "0", "0", "0", "0"]  # turns 5 and later do not exist; nobody read last


def test_the_full_context_stands_above(board):
    assert cells(overview(board, "mtr", "session", 20), "full context")[:2] == ["1.000 ±.000", ".500 ±.000"]


def test_turns_are_compared_on_the_same_texts():
    rows = [RowScores("long", {"answer_survival": [1, 0]}), RowScores("short", {"answer_survival": [1]})]
    result = make_result("reet", [[1]])
    result.sets = {"a-dev": SetScores("f", rows, COSTS)}
    assert result.ratios("answer_survival", 1)[0].below.sum() == 2
    assert result.ratios("answer_survival", 1, least=2)[0].below.tolist() == [1, 0]


def test_results_of_other_rows_are_never_compared(folder):
    other = make_result("bm25", [[1, 0], [0, 0]])
    other.sets["a-dev"].fingerprint = "another"
    records.write(other, folder)
    with pytest.raises(ReetError, match="same rows of a-dev"):
        leads(Board(folder), "mtr", "answer_survival")


def test_two_versions_of_a_task_are_refused(folder):
    other = make_result("tfidf", [[1, 0], [0, 0]])
    other.version = "1"
    records.write(other, folder)
    with pytest.raises(ReetError, match="one version of a task.* mtr in versions"):
        Board(folder)


def test_times_are_those_of_the_slowest_set(board):
    board.get("reet", "mtr", "session", 20).sets["b-dev"].costs = COSTS | {"turn_ms_p95": 1234.0}
    assert cells(latency(board, "mtr", "session", 20), "**REET**") == ["3", "1,234", "9"]


def test_training_is_told_from_the_first_stage_on(tmp_path):
    first = {"steps": 300, "recipe": {"objective": "read", "mixture": {"a-train": 0.5}}}
    record = {"steps": 20, "recipe": {"objective": "relevance", "rank": 8, "mixture": {"b-train": 2, "a-train": 1}}}
    for name in learned.FOLDERS.values():
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "training.json").write_text(json.dumps({**record, "initial": first}))
    head, lines = learned.training_rows(tmp_path)
    assert head == ["system", "tuned", "steps", "a", "b"]
    assert lines[-1] == ["**REET**", "LoRA, rank 8", "300 to read, 20", "1.5", "2"]


def test_where_a_baseline_is_ahead_is_said(folder):
    assert report.behind(Board(folder)).endswith(": nowhere.")
    records.write(make_result("bm25", [[1, 1], [1, 1]], regime="rolling"), folder)
    records.write(make_result("reet", [[0, 0], [0, 1]], regime="rolling"), folder)
    assert report.behind(Board(folder)).endswith(": `mtr`, `rolling`, 20 % (BM25 sentences).")


def test_what_history_adds_is_said(folder):
    assert report.history(Board(folder)) == ""
    records.write(make_result("reet_no_history", [[1, 0], [1, 0]]), folder)
    assert "+.375" in report.history(Board(folder))  # (3 - 2) / 4 of set a, (2 - 1) / 2 of set b


def test_comparing_finds_what_differs(folder, tmp_path, capsys):
    again = tmp_path / "again"
    records.write(make_result("reet", [[1, 1], [1, 0]]), again)
    assert compare.main([str(again), "--committed", str(folder)]) == 0
    records.write(make_result("bm25", [[1, 1], [0, 0]]), again)
    assert compare.main([str(again), "--committed", str(folder)]) == 1
    said = capsys.readouterr().out
    assert "differs by" in said and "agrees" in said
    assert compare.main([str(tmp_path / "empty"), "--committed", str(folder)]) == 1
    assert compare.main([str(folder), "--committed", str(tmp_path / "empty")]) == 1  # nothing to compare with
