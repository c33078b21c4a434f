"""Runs from the command line: files, their content, going on after a crash, several processes, clear refusals."""

from __future__ import annotations

import json
import subprocess

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import ROOT, in_two_processes

from eval import offers, records, run, work
from eval.readers.base import Answer, Reader
from eval.task import Task
from eval.tasks import mtr, mtr_follow_ups
from reet_hf.errors import ReetError

CITIES = ("Oslo", "Lisbon", "Quito", "Hanoi", "Dakar", "Perth", "Turin", "Lima")


def make_row(number: int) -> dict:
    messages, questions = [], []
    for place, city in enumerate(CITIES):
        day = f"{place + 3} of {('May', 'June', 'July')[number % 3]}"
        text = f"We talked about the weather for a long while. The trip to {city} starts on the {day}. It rained again."
        messages.append({"role": "user", "name": "", "content": text})
        start = text.index(day)
        span = {"message": place, "start": start, "end": start + len(day)}
        evidence = {"message": place, "start": text.index("The trip"), "end": text.index(" It rained")}
        questions.append(
            {
                "question": f"When does the trip to {city} start?",
                "answers": [day],
                "kind": "extractive",
                "answer_spans": [span],
                "evidence": [evidence],
            }
        )
    row = {"id": f"trips-{number}", "source": "test", "license": "Apache-2.0"}
    return {**row, "messages": messages, "questions": questions}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for name, start in (("trips-dev", 0), ("more-dev", 9), ("trips-train", 20)):
        pq.write_table(pa.Table.from_pylist([make_row(start + n) for n in range(6)]), folder / f"{name}.parquet")
    return folder


def measured(data, output, *more: str) -> list[records.Result]:
    run.main(["--task", "mtr", "--data", str(data), "--output", str(output), *more])
    return records.read_all(output)


def test_files_are_named_by_what_was_measured_and_hold_every_score(data, tmp_path):
    found = measured(data, tmp_path, "--system", "bm25,last_k", "--regime", "all", "--budget", "33,20")
    assert {result.name for result in found} == {path.name for path in tmp_path.glob("*.json")}
    regimes = {(r.system, r.regime) for r in found}
    assert {regime for name, regime in regimes if name == "bm25"} == {"session", "first_query"}
    assert {regime for name, regime in regimes if name == "last_k"} == {"session", "once", "first_query", "rolling"}
    for result in found:
        assert set(result.sets) == {"trips-dev", "more-dev"}
        for scores in result.sets.values():
            assert len(scores.rows) == 6 and all(len(row.scores["answer_survival"]) == 8 for row in scores.rows)
            assert scores.costs["overruns"] == 0 and scores.costs["verbatim"] == 1
            assert scores.costs["rate"] <= result.budget / 100
    session = next(r for r in found if r.name == f"bm25--mtr@v{mtr.VERSION}--session--33.json")
    assert session.ratios("answer_survival")[0].above.sum() > 0.9 * 6 * 8  # each query names its city
    assert session.packages["torch"] and session.hardware["processes"] == 1


def test_a_file_of_a_folder_is_a_task_of_its_own(data, tmp_path):
    found = measured(data / "trips-dev.parquet", tmp_path, "--system", "bm25", "--rows", "2")
    assert [result.name for result in found] == [f"bm25--mtr-trips-dev@v{mtr.VERSION}--session--20.json"]
    assert len(found[0].sets["trips-dev"].rows) == 2
    assert found[0].options["task"]["data"] == "trips-dev.parquet"  # no folder of this machine


def test_follow_ups_say_less_than_the_questions_that_they_stand_for(data, tmp_path):
    plain, leaning = (task.load(str(data), rows=3) for task in (mtr, mtr_follow_ups))
    for name, rows in plain.items():
        for row, other in zip(rows, leaning[name], strict=True):
            assert row["questions"][0] == other["questions"][0]
            for before, after in zip(row["questions"][1:], other["questions"][1:], strict=True):
                assert "trip" in before["question"] and "trip" not in after["question"]
                assert {**before, "question": ""} == {**after, "question": ""}
    again = mtr_follow_ups.load(str(data), rows=3)
    assert again == leaning and mtr_follow_ups.load(str(data), rows=3, seed=1) != leaning
    run.main(["--system", "bm25", "--task", "mtr_follow_ups", "--data", str(data), "--output", str(tmp_path)])
    (found,) = records.read_all(tmp_path)
    assert found.task == "mtr_follow_ups" and found.ratios("answer_survival")[0].above.sum() > 0


def test_scores_of_what_is_random_are_means_over_three_seeds(data, tmp_path):
    found = measured(data, tmp_path, "--system", "random", "--budget", "33")[0]
    assert found.seeds == [0, 1, 2]
    values = {v for s in found.sets.values() for row in s.rows for v in row.scores["answer_survival"]}
    assert values & {0.333, 0.667}
    one = measured(data, tmp_path / "one", "--system", "random", "--budget", "33", "--option", "random.seed=7")[0]
    assert one.seeds == [7]


def test_the_full_context_is_measured_once(data, tmp_path):
    found = measured(data, tmp_path, "--system", "full", "--regime", "all", "--budget", "all")
    assert [(r.regime, r.budget) for r in found] == [("once", 100)]
    assert found[0].ratios("answer_survival")[0].above.sum() == 6 * 8


def test_a_stopped_run_goes_on_where_it_was_left(data, tmp_path, monkeypatch):
    whole = work.Worker.run
    done: list[tuple[str, int]] = []

    def fails_late(self, job):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append((job.set_name, job.start))
        return whole(self, job)

    monkeypatch.setattr(work.Worker, "run", fails_late)
    with pytest.raises(KeyboardInterrupt):
        measured(data, tmp_path, "--system", "bm25")
    assert records.read_all(tmp_path) == []

    def writes_down(self, job):
        done.append((job.set_name, job.start))
        return whole(self, job)

    monkeypatch.setattr(work.Worker, "run", writes_down)
    result = measured(data, tmp_path, "--system", "bm25")[0]
    assert len(done) == len(set(done)) == 4  # two sets of six rows, four rows a job
    monkeypatch.setattr(work.Worker, "run", whole)
    again = measured(data, tmp_path / "again", "--system", "bm25")[0]
    assert {n: s.rows for n, s in again.sets.items()} == {n: s.rows for n, s in result.sets.items()}
    assert not list((tmp_path / ".unfinished").iterdir())


def test_several_processes_find_what_one_finds(data, tmp_path, free_port):
    one = measured(data, tmp_path / "one", "--system", "bm25", "--budget", "33,10")
    shared = ["--task", "mtr", "--data", str(data), "--system", "bm25", "--budget", "33,10"]
    script = [str(ROOT / "eval" / "run.py"), *shared, "--output", str(tmp_path / "two")]
    command, environment = in_two_processes(free_port, *script)
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    two = records.read_all(tmp_path / "two")
    assert [r.name for r in two] == [r.name for r in one]
    assert two[0].hardware["processes"] == 2
    for a, b in zip(one, two, strict=True):
        assert {n: s.rows for n, s in a.sets.items()} == {n: s.rows for n, s in b.sets.items()}


class Broken(Reader):
    """Answers the gold of one city, fails on another, and is wrong otherwise."""

    name, revision = "broken", "1"
    suits = staticmethod(lambda question: True)

    def answers(self, asked):
        said = {"Oslo": Answer("3 of May"), "Lisbon": Answer(error="503 from the server")}
        return [next((said[city] for city in said if city in question), Answer("")) for question, _ in asked]


def test_a_failed_call_is_an_error_and_no_wrong_answer():
    row = make_row(0)
    plan = work.Plan("p", ("once",), (100,), 20, reader_rows=1, reader_budgets=(100,))
    counter = run.resolve_counter(lambda text: len(text.split()))
    system = offers.module_of("systems", "full").build(counter)
    cells = work.Worker([system], Task.of(mtr), [Broken()], counter, plan).row(row, 0)
    cell = cells["once", 0]
    assert cell.row.scores["broken.f1"][:3] == [1, None, 0]
    assert cell.errors == {"broken: 503 from the server": 1}
    later = work.Worker([system], Task.of(mtr), [Broken()], counter, plan).row(row, 1)["once", 0]
    assert "broken.f1" not in later.row.scores  # readers see the first rows only


class FailsAtSecondSeed(Broken):
    """Answers one seed's questions and fails on all of the next one's."""

    def __init__(self):
        self.calls = 0

    def answers(self, asked):
        self.calls += 1
        return [Answer("3 of May") if self.calls == 1 else Answer(error="503") for _ in asked]


def test_a_reader_that_fails_at_one_seed_leaves_no_score_and_breaks_nothing():
    row = make_row(0)
    plan = work.Plan("p", ("once",), (50,), 20, reader_rows=1, reader_budgets=(50,))
    counter = run.resolve_counter(lambda text: len(text.split()))
    systems, _ = run.build_systems("random", counter, {})
    cell = work.Worker(systems, Task.of(mtr), [FailsAtSecondSeed()], counter, plan).row(row, 0)["once", 0]
    assert set(cell.row.scores["broken.f1"]) == {None} and cell.row.scores["answer_survival"][0] is not None
    assert cell.errors == {"broken: 503": 2 * len(row["questions"])}


def test_a_run_and_readings_for_it_go_on_from_different_jobs(data, tmp_path):
    arguments = ["--task", "mtr", "--data", str(data), "--output", str(tmp_path), "--system", "bm25"]
    both = [*arguments, "--reader", "extractive", "--reader-rows", "5"]
    names = []
    for argv in (both, [*both, "--readings-only"]):
        parsed = run.parse(argv)
        task = run.load_task(parsed, {})
        system = run.build_systems("bm25", run.resolve_counter(len), {})[0][0]
        names.append(run.plan_of(parsed, system, task, [Broken()], []).name)
    assert names[0] != names[1]


def test_readings_are_added_to_results_that_are_there(data, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "build_readers", lambda arguments, options: [Broken()] * (arguments.reader != "none"))
    asked = ["--system", "last_k", "--budget", "33,20", "--reader-rows", "5", "--reader-budget", "20"]
    before = measured(data, tmp_path, *asked)
    after = measured(data, tmp_path, *asked, "--reader", "extractive", "--readings-only")
    at_once = measured(data, tmp_path / "at-once", *asked, "--reader", "extractive")
    assert [r.name for r in after] == [r.name for r in before]
    for one, other in zip(after, at_once, strict=True):
        assert {n: s.rows for n, s in one.sets.items()} == {n: s.rows for n, s in other.sets.items()}
        assert set(one.readers) == ({"broken"} if one.budget == 20 else set())
        assert [s.errors for s in one.sets.values()] == [s.errors for s in other.sets.values()]
    read_rows = [("broken.f1" in row.scores) for row in after[0].sets["trips-dev"].rows]
    assert read_rows == [True] * 5 + [False]
    changed = next(path for path in tmp_path.glob("last_k*--20.json"))
    changed.write_text(changed.read_text().replace('"turns": 20', '"turns": 19'))
    with pytest.raises(ReetError, match="measure it again"):
        measured(data, tmp_path, *asked, "--reader", "extractive", "--readings-only")


def test_results_survive_a_round_trip(data, tmp_path):
    found = measured(data, tmp_path, "--system", "last_k", "--regime", "rolling")[0]
    path = records.write(found, tmp_path / "copy")
    assert records.read(path) == found
    assert json.loads(path.read_text())["schema_version"] == records.SCHEMA_VERSION
    broken = path.with_name("x--y@v1--once--20.json")
    broken.write_text("{}")
    with pytest.raises(ReetError, match="schema_version"):
        records.read(broken)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--system", "nothing"], "must be one of .*bm25"),
        (["--system", "bm25", "--regime", "twice"], "must be among session"),
        (["--system", "bm25", "--budget", "0.2"], "percents from 1 to 100"),
        (["--system", "bm25", "--option", "bm25"], "name.option=value"),
        (["--system", "bm25", "--option", "bm25.speed=9"], "'speed' is not known"),
        (["--system", "bm25", "--option", "mtr.sets=*"], "quote it"),
        (["--system", "bm25,full", "--name", "both"], "must name one system"),
        (["--system", "bm25", "--reader", "nobody"], "must be one of"),
        (["--system", "bm25", "--readings-only"], "names none"),
    ],
)
def test_refusals_say_what_would_do(data, tmp_path, more, says):
    with pytest.raises(ReetError, match=says):
        measured(data, tmp_path, *more)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"data": ""}, "add --data"),
        ({"data": "no/such-set"}, "is no file"),
        ({"sets": "*-test"}, r"named \*-test"),
    ],
)
def test_data_that_is_not_there_is_named(data, options, says):
    with pytest.raises(ReetError, match=says):
        mtr.load(**{"data": str(data), **options})


def test_columns_that_are_missing_are_named(tmp_path):
    pq.write_table(pa.Table.from_pylist([{"id": "a", "messages": []}]), tmp_path / "bad-dev.parquet")
    with pytest.raises(ReetError, match="lacks questions"):
        mtr.load(str(tmp_path))


def test_a_sample_of_rows_is_the_same_every_time(data):
    once = mtr.load(str(data), rows=3)
    assert once == mtr.load(str(data), rows=3)
    assert [len(rows) for rows in once.values()] == [3, 3]


def test_splits_of_a_data_set_are_sets(data, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path))
    for name, source in (("train", "trips-train"), ("test", "trips-dev")):
        (tmp_path / "hub").mkdir(exist_ok=True)
        (tmp_path / "hub" / f"{name}.parquet").write_bytes((data / f"{source}.parquet").read_bytes())
    found = mtr._from_hub(str(tmp_path / "hub"))  # the loader reads a folder as it reads a repository of the Hub
    assert {name: [row["id"] for row in rows] for name, rows in found.items()} == {
        "test": [f"trips-{n}" for n in range(6)]
    }
    train = mtr._from_hub(str(tmp_path / "hub"), "tr*")["train"]
    assert [row["id"] for row in train] == [f"trips-{n}" for n in range(20, 26)]
    with pytest.raises(ReetError, match="splits named dev"):
        mtr._from_hub(str(tmp_path / "hub"), "dev")
    assert found["test"] == mtr.load(str(data / "trips-dev.parquet"))["trips-dev"]
