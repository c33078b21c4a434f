"""What `reet publish` takes and does."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi

from ..errors import ReetError
from ..version import __version__
from .adapter import build_adapter, check_adapter, is_adapter
from .bundle import PACKAGE, build_bundle, is_model
from .checks import HOME, check_exports, check_model, check_model_card, check_source
from .output import check_output
from .publish import check_id, check_place, publish
from .space import SDK, build_space, check_space, is_space
from .tuned_cards import address_card


@dataclass(frozen=True)
class Kind:
    """A kind of repository.

    Attributes:
        repo_type: What the Hub calls it.
        fits: Whether a folder is of this kind.
        build: From a folder to the new one that is uploaded.
        check: Takes the new folder, the one it was built from, and the environment, and says line by line what it
            found true.
    """

    repo_type: str
    fits: Callable[[Path], bool]
    build: Callable[[Path, Path], Path]
    check: Callable[[Path, Path, Mapping[str, str]], list[str]]


def check_bundle(folder: Path, source: Path, environment: Mapping[str, str]) -> list[str]:
    """What was found true of a model's bundle, one line each; see `Kind.check`."""
    return [*check_model_card(folder, source), *check_model(folder, environment), *check_exports(folder, source)]


KINDS = (
    Kind("model", is_adapter, build_adapter, check_adapter),
    Kind("model", is_model, build_bundle, check_bundle),
    Kind("space", is_space, build_space, lambda new, old, env: check_space(new, env)),
)
HOMES = (HOME, "spaces", "eval/metrics")
"""Folders of a checkout whose folders are repositories named as they are."""


def add_publish(commands: Any) -> argparse.ArgumentParser:
    """Add `reet publish` to the commands."""
    command: argparse.ArgumentParser = commands.add_parser(
        "publish",
        help="upload a model or a Space to the Hub",
        description="Build a repository of the Hub, check that it works and says only what was measured, and upload it "
        "in one commit. It needs a token with write access: hf auth login.",
    )
    command.add_argument(
        "folder",
        metavar="FOLDER",
        nargs="?",
        type=Path,
        help="saved model, or a Space (default: the one of this project that has the id's name)",
    )
    command.add_argument("--repo-id", required=True, metavar="NAMESPACE/NAME", help="repository; made if there is none")
    command.add_argument("--branch", default="main", help="made if there is none (default: main)")
    command.add_argument("--tag", default=f"v{__version__}", help=f"set when all has arrived (default: v{__version__})")
    command.add_argument("--private", action="store_true", help="a new repository is seen by its owners only")
    command.add_argument("--dry-run", action="store_true", help="build and check, and upload nothing")
    command.add_argument("--output", type=Path, metavar="FOLDER", help="keep what is uploaded in this new folder")
    return command


def find_source(repo_id: str, package: Path = PACKAGE) -> Path:
    """The folder of this project that is published under an id: of the checkout, else of the package.

    Raises:
        ReetError: If there is none.
    """
    name = repo_id.split("/")[-1]
    places = [*(package.parent / home / name for home in HOMES), package / "weights" / name]
    for folder in places:
        if folder.is_dir():
            return folder
    raise ReetError(
        f"FOLDER must be named, since this project has nothing called {name!r}: reet publish FOLDER --repo-id …"
    )


def kind_of(folder: Path) -> Kind:
    """The kind of a folder.

    Raises:
        ReetError: If it is none that is known.
    """
    if not folder.is_dir():
        raise ReetError(f"FOLDER must be a folder, got {str(folder)!r}; name one with a saved model or a Space.")
    for kind in KINDS:
        if kind.fits(folder):
            return kind
    raise ReetError(
        "FOLDER must hold a saved REET model or adapter (config.json) or a Space (README.md with `sdk`), but "
        f"{folder} has neither; write a model with save_pretrained."
    )


def run_publish(arguments: argparse.Namespace, environment: Mapping[str, str]) -> None:
    """Build, check and upload a folder; what was found and sent is told on stderr, where it is now on stdout.

    Token, rights and name come first: the checks take a while.

    Args:
        arguments: Of the command line.
        environment: The script's `os.environ`.

    Raises:
        ReetError: If the folder cannot be published as it is, or the Hub does not take it.
    """
    check_id(arguments.repo_id)
    source = arguments.folder or find_source(arguments.repo_id)
    check_source(source)
    kind = kind_of(source)
    if arguments.output:
        check_output(arguments.output)
    api = HfApi()
    if not arguments.dry_run:
        check_place(arguments.repo_id, repo_type=kind.repo_type, branch=arguments.branch, api=api)
    with tempfile.TemporaryDirectory() as scratch:
        folder = kind.build(source, arguments.output or Path(scratch) / "repository")
        if kind.repo_type == "model":
            address_card(folder, source, arguments.repo_id)
        files = [path for path in folder.rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in files)
        _tell(f"{arguments.repo_id}: a {kind.repo_type} of {len(files)} files, {size / 1e6:.1f} MB, from {source}")
        for line in kind.check(folder, source, environment):
            _tell(f"  {line}")
        if arguments.dry_run:
            _tell("Nothing was uploaded (--dry-run).")
            named = [path.relative_to(folder).as_posix() for path in sorted(files)]
            told = {"repo_id": arguments.repo_id, "repo_type": kind.repo_type, "files": named, "bytes": size}
        else:
            told = publish(
                folder,
                arguments.repo_id,
                repo_type=kind.repo_type,
                space_sdk=SDK if kind.repo_type == "space" else None,
                branch=arguments.branch,
                tag=arguments.tag,
                private=arguments.private,
                api=api,
            ).to_dict()
    print(json.dumps(told, indent=2))


def _tell(line: str) -> None:
    print(line, file=sys.stderr)
