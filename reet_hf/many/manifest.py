"""What an output was made of and with which options, in a small file beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from glob import escape
from pathlib import Path
from typing import Any

from ..errors import ReetError
from ..journal import write_file
from ..version import __version__
from .parts import PART_BYTES, PART_RECORDS, Survey

FORMAT, SCHEMA_VERSION = "reet-many", 1
AGAIN = "repeat the command as it was, name another --output, or start anew with --overwrite"


@dataclass(frozen=True)
class Plan:
    """What is done: two runs with the same plan write the same output.

    Attributes:
        survey: What the input holds.
        revision: What tells apart models, see `Compressor.revision`.
        options: Names and values, as plain JSON types, of all that has a say in what is written.
    """

    survey: Survey
    revision: str
    options: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """The plan as plain JSON types, with the version of this package, whose results are its own."""
        return {
            "format": FORMAT,
            "schema_version": SCHEMA_VERSION,
            "reet_hf": __version__,
            "model": self.revision,
            "part": {"records": PART_RECORDS, "bytes": PART_BYTES},
            "input": asdict(self.survey),
            "options": dict(self.options),
        }


def manifest_path(output: Path) -> Path:
    """Where the manifest of an output is."""
    return output.with_name(f"{output.name}.manifest.json")


def write_manifest(output: Path, plan: Plan, finished: Mapping[str, Any] | None = None) -> None:
    """Put the manifest beside an output, for one process at a time; `finished` says what the whole output holds."""
    told, path = {**plan.to_dict(), "finished": finished}, manifest_path(output)
    for left in path.parent.glob(f"{escape(path.name)}.*.tmp"):  # by one that was killed
        left.unlink()
    write_file(path, json.dumps(told, ensure_ascii=False, indent=2).encode("utf-8") + b"\n")


def read_manifest(output: Path) -> dict[str, Any] | None:
    """The manifest of an output, `None` if there is none.

    Raises:
        ReetError: If it is no such manifest.
    """
    path = manifest_path(output)
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(told, dict) and (told["format"], told["schema_version"]) == (FORMAT, SCHEMA_VERSION):
            return told
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError):
        pass
    raise ReetError(f"--output {str(output)!r} has a manifest, {path.name}, that cannot be read; {AGAIN}.")


def check_same(output: Path, told: Mapping[str, Any], plan: Plan) -> None:
    """Nothing, if a manifest is that of the plan; a run that stopped at errors may go on past them.

    Raises:
        ReetError: If it is not, naming what is other.
    """
    other = differences(told, plan.to_dict())
    if other.keys() == {"--on-error"} and told["options"]["on_error"] == "stop":
        return
    if other:
        named = "; ".join(f"{name} was {old}, is {new}" for name, (old, new) in list(other.items())[:5])
        raise ReetError(f"--output {str(output)!r} was begun otherwise: {named:.600}. To go on {AGAIN}.")


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """What two plans differ in, by the name that a user knows it by; values as JSON, where 1 is not 1.0."""
    found = {}
    for name in ("model", "reet_hf", "part"):
        found[f"the {name}"] = _both(old.get(name), new[name])
    before, after = old.get("input", {}), new["input"]
    if before.get("sha256") != after["sha256"]:
        found["the input"] = (f"{before.get('records')} records", f"{after['records']} others")
    for name in sorted({*old.get("options", {}), *new["options"]}):
        found["--" + name.replace("_", "-")] = _both(old.get("options", {}).get(name), new["options"].get(name))
    return {name: (a, b) for name, (a, b) in found.items() if a != b}


def _both(old: Any, new: Any) -> tuple[str, str]:
    one, other = (json.dumps(value, ensure_ascii=False, sort_keys=True) for value in (old, new))
    return one, other
