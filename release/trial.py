"""Use a wheel as its user does: python -m release.trial WHEEL [--dependencies FOLDER ...]

The wheel is installed into a new virtual environment and used from an empty folder, with the weights inside. With
`--dependencies` nothing is downloaded: what the package depends on is imported from those folders.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

TEXT = "My visa expires on 12 June 2027. I like cats. Oslo is cold in spring. The hotel has a garden."
QUERY = "When does the visa expire?"
KEPT = "12 June 2027"
BUDGET = 12
PROGRAM = """
import json, sys
import reet_hf
from transformers import pipeline

compress = pipeline("reet-compression")
out = compress({"context": sys.argv[1], "query": sys.argv[2]}, budget=int(sys.argv[3]))
told = {"text": out["text"], "version": reet_hf.__version__, "package": reet_hf.__file__, "path": sys.path}
print(json.dumps({**told, "model": compress.model.name_or_path, "compressed": out["tokens"]["compressed"]}))
"""


def install(wheel: Path, folder: Path, dependencies: Sequence[Path] = ()) -> Path:
    """A new environment with a wheel: the folder of its commands.

    Args:
        wheel: The file.
        folder: Where the environment is made.
        dependencies: Folders of installed packages to import from in place of installing any. Their `.pth` files are
            not read, so what is installed there in editable form stays unseen.
    """
    venv.create(folder)
    commands = folder / ("Scripts" if os.name == "nt" else "bin")
    python = str(commands / "python")
    options = ["--no-index", "--no-deps"] if dependencies else []
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python]
    run([*pip, "install", "--quiet", *options, str(wheel)], folder)
    if dependencies:
        site = run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], folder).strip()
        lines = "".join(f"{path.resolve()}\n" for path in dependencies)
        (Path(site) / "dependencies.pth").write_text(lines, encoding="utf-8")
    return commands


def use(commands: Path, folder: Path) -> dict[str, Any]:
    """What the command and the pipeline of an environment give for one text, run in a folder.

    Returns:
        `printed`, what `reet compress` prints, and of the pipeline `text`, `compressed` tokens, `version`, the file
        `package`, the folder `model`, and Python's `path`.
    """
    line = ["compress", "-", "--query", QUERY, "--budget", str(BUDGET)]
    printed = run([str(commands / "reet"), *line], folder, TEXT)
    told = run([str(commands / "python"), "-c", PROGRAM, TEXT, QUERY, str(BUDGET)], folder)
    return {"printed": printed, **json.loads(told.splitlines()[-1])}


def run(command: Sequence[str], folder: Path, given: str | None = None) -> str:
    """What a command prints that runs in a folder and knows of no other Python.

    Raises:
        RuntimeError: If it fails.
    """
    others = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    environment = {name: value for name, value in os.environ.items() if name not in others}
    environment |= {"HF_HUB_OFFLINE": "1", "PYTHONNOUSERSITE": "1"}
    done = subprocess.run(command, cwd=folder, input=given, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:4])} … failed with status {done.returncode}:\n{done.stderr}")
    return done.stdout


def problems(told: dict[str, Any], environment: Path) -> list[str]:
    """What `use` told that a user of the wheel must not see."""
    inside = environment.resolve()
    found = [f"the {name} kept {told[name]!r}" for name in ("text", "printed") if KEPT not in told[name]]
    if told["compressed"] > BUDGET:
        found.append(f"the pipeline kept {told['compressed']} tokens of {BUDGET}")
    for name in ("package", "model"):
        if not Path(told[name]).resolve().is_relative_to(inside):
            found.append(f"the {name} is not the wheel's but {told[name]}")
    return found


def main(argv: Sequence[str]) -> int:
    """Print what the wheel did; 1 if that is not what it should do, else 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wheel", type=Path, help="the file")
    parser.add_argument("--dependencies", type=Path, nargs="+", default=[], metavar="FOLDER", help="import from these")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as scratch:
        environment, elsewhere = Path(scratch) / "environment", Path(scratch) / "elsewhere"
        elsewhere.mkdir()
        told = use(install(arguments.wheel.resolve(), environment, arguments.dependencies), elsewhere)
        print(json.dumps({name: value for name, value in told.items() if name != "path"}, indent=2))
        found = problems(told, environment)
    for line in found:
        print(line, file=sys.stderr)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
