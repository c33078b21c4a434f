"""What the package depends on, as requirements with installed versions: python -m release.dependencies [EXTRA ...]

Direct dependencies are read from pyproject.toml, what they bring along from what is installed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from release.version import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CORE = "core"
DEVELOPMENT = "dev"


def declared(root: Path = ROOT) -> dict[str, list[Requirement]]:
    """The direct dependencies of a checkout: those of "core" and of each extra, without the package itself."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = {CORE: project["dependencies"], **project["optional-dependencies"]}
    found = {name: [Requirement(line) for line in lines] for name, lines in groups.items()}
    own = canonicalize_name(project["name"])
    return {name: [each for each in lines if canonicalize_name(each.name) != own] for name, lines in found.items()}


def used_by(root: Path = ROOT) -> dict[str, list[str]]:
    """The groups of each direct dependency, by canonical name in alphabetical order; "core" stands first."""
    found: dict[str, list[str]] = {}
    for group, requirements in declared(root).items():
        for name in dict.fromkeys(canonicalize_name(each.name) for each in requirements):
            found.setdefault(name, []).append(group)
    return dict(sorted(found.items()))


def closure(requirements: Iterable[Requirement]) -> dict[str, Distribution]:
    """The installed packages that requirements lead to on this machine, by canonical name in alphabetical order.

    Raises:
        PackageNotFoundError: If one of the given requirements is not installed.
    """
    found: dict[str, Distribution] = {}
    done: set[tuple[str, str]] = set()
    waiting = [(requirement, "") for requirement in requirements]
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        found[name] = distribution(name)
        for each in ("", *requirement.extras):
            if (name, each) not in done:
                done.add((name, each))
                waiting.extend((Requirement(line), each) for line in found[name].requires or [])
    return dict(sorted(found.items()))


def main(argv: Sequence[str]) -> int:
    """Print name and installed version of all that the core and the extras need; 2 if something is not installed."""
    groups = declared()
    unknown = [name for name in argv if name not in groups]
    if unknown:
        print(f"pyproject.toml has no extra {', '.join(unknown)}; it has {', '.join(groups)}", file=sys.stderr)
        return 2
    try:
        found = closure(requirement for name in (CORE, *argv) for requirement in groups[name])
    except PackageNotFoundError as error:
        print(f"{error.name} is not installed: make test sets up all that there is", file=sys.stderr)
        return 2
    for name, package in found.items():
        print(f"{name}=={package.version.split('+')[0]}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
