"""What the package depends on: what is installed for it by name, and the modules that this brings."""

from __future__ import annotations

import re
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, requires

PROJECT = "reet-hf"
NEWER = ("annotationlib", "compression")  # in the standard library since Python 3.14, and so perhaps not in this one's
STANDARD = frozenset(sys.stdlib_module_names).union(NEWER)


@cache
def core_modules() -> dict[str, str]:
    """Top-level module to the name under which it is installed, for what the package does not work without."""
    core = dict(_required(PROJECT, extras=False))
    return {
        module: core[name]
        for module, distributions in packages_distributions().items()
        for name in map(_normal, distributions)
        if name in core
    }


@cache
def taken_modules() -> frozenset[str]:
    """Top-level modules that are not the package's to define: the standard library's, and those of its dependencies.

    Counted are the dependencies of its core and of its extras, and theirs, as far as they are installed; those that it
    names itself count under their own name wherever they are not.
    """
    direct = _required(PROJECT, extras=True).keys() - {PROJECT}
    found: set[str] = set()
    waiting = [*direct]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(_required(name, extras=False).keys() - {PROJECT})
    brought = {
        module
        for module, distributions in packages_distributions().items()
        if any(_normal(name) in found for name in distributions)
    }
    return STANDARD.union(brought, (name.replace("-", "_") for name in direct))


def _required(name: str, extras: bool) -> dict[str, str]:
    """What an installed distribution requires, by normal name, as it is written; nothing if it is not installed."""
    try:
        lines = requires(name) or []
    except PackageNotFoundError:
        return {}
    written = [
        re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in lines if extras or not re.search(r"\bextra\b", line)
    ]
    return {_normal(each): each for each in written}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
