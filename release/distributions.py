"""Check the sdist and the wheel of a folder: python -m release.distributions [FOLDER]

Both must be small enough for the package index, hold what they need and nothing that belongs to one machine.
"""

from __future__ import annotations

import re
import sys
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from release.version import ROOT, version

LARGEST = 100_000_000  # bytes, of one file
WEIGHTS = "reet_hf/weights/reet-base"
IN_WHEEL = (
    *(f"{WEIGHTS}/{name}" for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")),
    *(f"{WEIGHTS}/{name}" for name in ("README.md", "training.json")),
    "reet_hf/py.typed",
)
"""Beside each file of the package."""
IN_SDIST = (
    *("LICENSE", "README.md", "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "SECURITY.md", "THIRD_PARTY.md"),
    *("Makefile", "constraints.txt", "pyproject.toml", "PKG-INFO", "reet/reet-base/model.safetensors"),
    *("tests/conftest.py", "train/__init__.py", "eval/__init__.py", "release/__init__.py", "examples/demo.py"),
)
NOT_IN_SDIST = ("eval/results/", "reet/reet-small/", "dist/", "build/")
NOWHERE = re.compile(r"(^|/)(__pycache__|\.venv|\.git|\.\w+_cache|\.hypothesis|[^/]+-run)/|\.py[co]$|(^|/)\.DS_Store$")


def package_files(root: Path = ROOT) -> set[str]:
    """Files of the package in a checkout, as a wheel names them."""
    found = {path.relative_to(root).as_posix() for path in (root / "reet_hf").rglob("*") if path.is_file()}
    return {name for name in found if not NOWHERE.search(name) and not name.startswith("reet_hf/weights/")}


def contents(path: Path) -> set[str]:
    """Names of the files in a wheel, or of those in an sdist below its one folder."""
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel:
            return {name for name in wheel.namelist() if not name.endswith("/")}
    with tarfile.open(path) as sdist:
        return {member.name.split("/", 1)[-1] for member in sdist.getmembers() if member.isfile()}


def wrong_contents(path: Path, root: Path = ROOT) -> Iterator[str]:
    """What is missing in a distribution, and what must not be there."""
    names = contents(path)
    if path.suffix == ".whl":
        metadata = f"reet_hf-{version(root)}.dist-info/"
        needed = {*IN_WHEEL, *package_files(root), metadata + "entry_points.txt", metadata + "licenses/LICENSE"}
        strange = {name for name in names if not name.startswith(("reet_hf/", metadata))}
    else:
        needed = {*IN_SDIST, *package_files(root)}
        strange = {name for name in names if name.startswith(NOT_IN_SDIST)}
    strange |= {name for name in names if NOWHERE.search(name)}
    yield from (f"{path.name} lacks {name}" for name in sorted(needed - names))
    yield from (f"{path.name} must not hold {name}" for name in sorted(strange))


def problems(folder: Path, root: Path = ROOT) -> Iterator[str]:
    """What is wrong with the distributions of a folder, which must be one sdist and one wheel of the version."""
    current = version(root)
    expected = {f"reet_hf-{current}.tar.gz", f"reet_hf-{current}-py3-none-any.whl"}
    found = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    yield from (f"{name} is missing in {folder}: make build" for name in sorted(expected - found))
    yield from (f"{folder} must hold nothing but this release, got {name}" for name in sorted(found - expected))
    for name in sorted(expected & found):
        size = (folder / name).stat().st_size
        if size > LARGEST:
            yield f"{name} has {size / 1e6:.1f} MB, and at most {LARGEST / 1e6:.0f} MB are allowed: leave something out"
        yield from wrong_contents(folder / name, root)


def main(argv: Sequence[str]) -> int:
    """Print sizes and problems; 1 if there is a problem, else 0."""
    folder = Path(argv[0]) if argv else ROOT / "dist"
    found = list(problems(folder))
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB")
    for line in found:
        print(line, file=sys.stderr)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
