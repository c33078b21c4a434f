"""A Space of the Hub as a folder: what is copied of it, and what must hold before it is published."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from huggingface_hub import SpaceCard

from ..errors import ReetError
from . import space_trial
from .checks import in_clean_process

FIELDS = ("title", "emoji", "colorFrom", "colorTo", "sdk", "sdk_version", "app_file", "license", "short_description")
SDK = "gradio"  # what runs the Spaces that are published here
LONGEST_DESCRIPTION = 60  # the Hub refuses more
FROM_CHECKOUT = "from_checkout.txt"  # names files of the checkout, a line each, that a Space carries as well
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", ".*", FROM_CHECKOUT)


def is_space(folder: Path) -> bool:
    """Whether the card of a folder names what runs it, as that of a Space does."""
    card = folder / "README.md"
    return card.is_file() and bool(SpaceCard(card.read_text(encoding="utf-8")).data.get("sdk"))


def build_space(source: Path, target: Path) -> Path:
    """The new folder `target` with the files of a Space; what programs leave behind and hidden files are not copied.

    Files and folders of the checkout that `from_checkout.txt` in `source` lists come to the same paths in `target`.

    Raises:
        ReetError: If something that is listed is not there.
    """
    shutil.copytree(source, target, ignore=LEFT_OUT, dirs_exist_ok=True)
    checkout = source.resolve().parents[1]
    for name in carried(source):
        found = checkout / name
        if not found.exists():
            raise ReetError(f"{source / FROM_CHECKOUT} lists {name}, which is not in {checkout}; correct the list.")
        if found.is_dir():
            shutil.copytree(found, target / name, ignore=LEFT_OUT, dirs_exist_ok=True)
        else:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(found, target / name)
    return target


def carried(source: Path) -> list[str]:
    """Paths of files and folders of the checkout, two folders above `source`, that its list names."""
    listed = source / FROM_CHECKOUT
    lines = listed.read_text(encoding="utf-8").splitlines() if listed.is_file() else []
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def check_space(folder: Path, environment: Mapping[str, str]) -> list[str]:
    """What was found true of a Space, one line each: its card is whole, and its page answers in a clean process.

    Args:
        folder: What `build_space` made.
        environment: That of the command, see `in_clean_process`.

    Raises:
        ReetError: If something else than Gradio runs it, a field or a file is missing, or the page does not come up.
    """
    fields = SpaceCard.load(folder / "README.md").data.to_dict()
    if fields.get("sdk") != SDK:
        raise ReetError(
            f"`sdk` in {folder / 'README.md'} must be {SDK}, got {fields.get('sdk')!r}; upload other Spaces with "
            "`hf upload --repo-type space`."
        )
    missing = [name for name in FIELDS if not fields.get(name)]
    if missing:
        raise ReetError(
            f"{folder / 'README.md'} must have the fields {', '.join(FIELDS)}, but lacks {', '.join(missing)}."
        )
    described = fields["short_description"]
    if len(described) > LONGEST_DESCRIPTION:
        raise ReetError(
            f"`short_description` must have at most {LONGEST_DESCRIPTION} characters, got {len(described)} in "
            f"{described!r}; shorten it."
        )
    absent = [name for name in (fields["app_file"], "requirements.txt") if not (folder / name).is_file()]
    if absent:
        raise ReetError(
            f"{folder} must hold the files {fields['app_file']} and requirements.txt, but lacks {absent[0]}."
        )
    arguments = [str(Path(space_trial.__file__).resolve()), str((folder / fields["app_file"]).resolve())]
    rule = f"The page of {folder} must come up where what it needs is installed (pip install 'reet-hf[demo,eval]')"
    names = in_clean_process(arguments, rule, environment)
    return ["its card has every field that the Hub asks for", f"its page comes up and answers to {names}"]
