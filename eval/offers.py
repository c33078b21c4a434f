"""The files of `eval/systems`, `eval/tasks` and `eval/readers` by name, and what a command line asks of them."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from reet_hf.errors import ReetError

WHOLE = 100  # the budget, in percent, of a system that obeys none


def offered(kind: str) -> list[str]:
    """Names of the files of `eval/<kind>` that can be run."""
    folder = Path(__file__).parent / kind
    entry = "def load(" if kind == "tasks" else "def build("
    return sorted(path.stem for path in folder.glob("*.py") if entry in path.read_text(encoding="utf-8"))


def module_of(kind: str, name: str) -> Any:
    """The file of `eval/<kind>` that is called `name`.

    Raises:
        ReetError: If there is none.
    """
    if name not in offered(kind):
        raise ReetError(f"`{kind[:-1]}` must be one of {', '.join(offered(kind))}, got {name!r}.")
    return importlib.import_module(f"eval.{kind}.{name}")


def chosen(function: Callable[..., Any], general: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Options for `function`: general ones if it knows them, its own in any case.

    Raises:
        ReetError: If it does not know one of its own.
    """
    known = inspect.signature(function).parameters
    unknown = [name for name in own if name not in known]
    if unknown:
        raise ReetError(
            f"`option` {unknown[0]!r} is not known to {function.__module__}, which takes {', '.join(known) or 'none'}."
        )
    return {**{name: value for name, value in general.items() if name in known and value is not None}, **own}


def options_of(pairs: Sequence[str]) -> dict[str, dict[str, Any]]:
    """`name.option=value` pairs as options by name, the values read as YAML.

    Raises:
        ReetError: If a pair has another form.
    """
    found: dict[str, dict[str, Any]] = {}
    for pair in pairs:
        left, equals, value = pair.partition("=")
        name, dot, option = left.partition(".")
        if not (equals and dot and option):
            raise ReetError(f"`option` must have the form name.option=value, got {pair!r}, e.g. reet.unit=word.")
        try:
            found.setdefault(name, {})[option] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ReetError(
                f"`option` must have a YAML value, got {value!r}; quote it, as in {left}='\"{value}\"'."
            ) from error
    return found


def percents(text: str) -> list[int]:
    """Budgets in percent.

    Raises:
        ReetError: If one is no whole number from 1 to 100.
    """
    parts = text.split(",")
    if not all(part.isdigit() and 1 <= int(part) <= WHOLE for part in parts):
        raise ReetError(f"`budget` must be percents from 1 to 100 with commas between, or all, got {text!r}.")
    return [int(part) for part in parts]
