"""From a fresh process to the first result."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from eval.speed import first
from eval.speed.clock import spread

ROOT = Path(__file__).resolve().parents[2]


def measure(model: str, threads: int, repetitions: int = 3) -> dict[str, Any]:
    """Seconds of importing, of loading the pipeline, of the first result on a short chat, and their sum.

    `process` is the whole life of the process as its parent sees it, the interpreter's start and end included.

    Args:
        model: Hub id or folder.
        threads: Of PyTorch.
        repetitions: Processes, one after the other.
    """
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(Path(first.__file__)), model]
    runs = []
    for _ in range(repetitions):
        begun = time.perf_counter()
        told = subprocess.run(command, env=environment, cwd=ROOT, check=True, capture_output=True, text=True).stdout
        run = json.loads(told.splitlines()[-1])
        runs.append({**run, "sum": sum(run.values()), "process": time.perf_counter() - begun})
    return {"seconds": {name: spread([run[name] for run in runs], 3) for name in runs[0]}}
