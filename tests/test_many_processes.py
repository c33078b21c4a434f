"""Files of many records under `accelerate launch`, with the bundled weights and a worker that is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping

import pytest
from conftest import CITIES, ROOT, in_two_processes

RECORDS = 192  # six parts


def make_line(number: int) -> bytes:
    text = f"The visa expires in May. The flight to {CITIES[number % 6]} leaves at {number % 12}:40 from B{number}."
    return json.dumps({"id": number, "context": text, "query": "When does the flight leave?"}).encode() + b"\n"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("many") / "in.jsonl"
    path.write_bytes(b"".join(make_line(number) for number in range(RECORDS)))
    return path


@pytest.fixture(scope="module")
def expected(source):
    """What one process writes that nothing interrupts."""
    output = source.with_name("expected.jsonl")
    run = started([sys.executable, *asked(source, output)])
    _, told = run.communicate(timeout=200)
    assert run.returncode == 0, told
    return output.read_bytes()


def asked(source, output) -> list[str]:
    return ["-m", "reet_hf.cli", "compress", "--input", str(source), "--output", str(output), "--budget", "0.5"]


def started(command: list[str], environment: Mapping[str, str] = os.environ) -> subprocess.Popen:
    # with as many threads for all, as rounding depends on them
    environment = {**environment, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment)


def launched(source, output, port: str) -> subprocess.Popen:
    launch = ["-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2", "--main_process_port", port]
    return started([sys.executable, *launch, *asked(source, output)])


def test_two_processes_one_of_which_is_killed_write_what_one_would(source, expected, free_port):
    output, folder = source.with_name("out.jsonl"), source.with_name("out.jsonl.unfinished")
    run = launched(source, output, free_port)
    while not list(folder.glob("*.part")) and not (folder / "output.json").exists():
        assert run.poll() is None, run.stderr.read()
        time.sleep(0.02)
    workers = [int(path.name.split("-")[1]) for path in folder.glob("process-*.lock")]
    os.kill(workers[0], signal.SIGKILL)
    _, told = run.communicate(timeout=120)
    assert run.returncode != 0 and "Starting 2 CPU processes" in told and not output.exists()
    assert 1 <= len(workers) <= 2
    done = {path.name: path.read_bytes() for path in folder.glob("*.part")}
    grown = (folder / "output").read_bytes() if (folder / "output").exists() else b""
    assert done or grown
    assert grown.splitlines() == expected.splitlines()[: grown.count(b"\n")]
    for body in done.values():
        assert set(body.splitlines()[1:]) <= set(expected.splitlines())

    run = started(*in_two_processes(free_port, *asked(source, output)))
    _, told = run.communicate(timeout=200)
    assert run.returncode == 0, told
    assert output.read_bytes() == expected and not folder.exists()
    assert told.count(f"{RECORDS} records, ") == 1  # one of them tells
