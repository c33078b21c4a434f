"""Write THIRD_PARTY.md, the licence of each direct dependency: python -m release.licenses [--check]

Licences are those that installed packages say they have. What the core needs, directly or not, must not be under a
copyleft licence stronger than LGPL or MPL; with `--check` that is all that is done.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from release.dependencies import CORE, DEVELOPMENT, closure, declared, used_by
from release.version import ROOT

PAGE = ROOT / "THIRD_PARTY.md"
HEAD = """# Third-party software

Made by `make licenses` from pyproject.toml and from what the installed packages say of themselves. REET ships none of
them; `pip` installs them beside it. No licence of the core, including what it brings along, is a copyleft licence
stronger than LGPL or MPL; a test holds that. What is bundled is the project's own, Apache-2.0, but for the weights,
which started from public ones: the [model card](reet/reet-base/README.md) names those and the data, with their
licences.

`core` is installed always, the others by extras: `pip install "reet-hf[server]"`. CUDA builds of torch bring packages
of NVIDIA under its own licences.

| package | licence | used by |
|---|---|---|
"""

STRONG = re.compile(r"(?<!L)(?<!LESSER )(?<!LIBRARY )(A?GPL|(AFFERO )?GENERAL PUBLIC|SSPL|EUPL|OSL|CC-BY-SA|CC-BY-NC)")
NAMED = (
    (r"(the )?apache( software)?( license)?,?( version)? ?(2(\.0)?)?( license)?", "Apache-2.0"),
    (r"(the )?(mit|expat)( license)?( \(mit\))?", "MIT"),
    (r"(new |modified )?(3|three)-clause bsd( license)?|bsd[ -]3-clause( license)?", "BSD-3-Clause"),
    (r"(simplified )?(2|two)-clause bsd( license)?|bsd[ -]2-clause( license)?", "BSD-2-Clause"),
    (r"mozilla public license( version)? ?2\.0( \(mpl 2\.0\))?|mpl[ -]2\.0", "MPL-2.0"),
    (r"python software foundation license|psf(-2\.0)?", "PSF-2.0"),
)
"""Ways of writing a licence, and its SPDX identifier."""
SIGNS = (
    ("Apache License", "Apache-2.0"),
    ("Permission is hereby granted, free of charge", "MIT"),
    ("Neither the name of", "BSD-3-Clause"),
)
"""Words of a licence's text, and its SPDX identifier."""
SHORT = 100  # characters; what is longer is a licence's text and not its name


def license_of(package: Distribution) -> str:
    """The licence of an installed package, as an SPDX expression where it says one that can be told, else its words.

    Raises:
        ValueError: If it says none.
    """
    metadata = package.metadata
    for expression in metadata.get_all("License-Expression") or []:
        return str(expression)
    said = "".join(metadata.get_all("License") or []).strip()
    names_file = re.fullmatch(r"licen[cs]e(\.\w+)?", said, flags=re.IGNORECASE)
    if 0 < len(said) <= SHORT and "\n" not in said and not names_file:
        return _spdx(said)
    titles = [line.split(" :: ")[-1] for line in metadata.get_all("Classifier") or [] if line.startswith("License ::")]
    titles = [title for title in titles if title not in ("OSI Approved", "BSD License")]  # which of them is not said
    if titles:
        return " OR ".join(dict.fromkeys(_spdx(title) for title in titles))
    for text in (said, *_license_texts(package)):
        for sign, identifier in SIGNS:
            if sign in text:
                return identifier
    raise ValueError(f"{metadata['Name']} says no licence: look it up, and teach release/licenses.py to see it")


def _spdx(name: str) -> str:
    known = (identifier for pattern, identifier in NAMED if re.fullmatch(pattern, name, flags=re.IGNORECASE))
    return next(known, name)


def _license_texts(package: Distribution) -> Iterator[str]:
    for file in package.files or []:
        if re.match(r"(LICEN[CS]E|COPYING)", file.name, flags=re.IGNORECASE) and ".dist-info" in str(file):
            yield file.read_text(encoding="utf-8")


def strong_copyleft(license: str) -> bool:
    """Whether a licence leaves no choice but a copyleft licence stronger than LGPL or MPL."""
    return all(STRONG.search(choice.upper()) for choice in re.split(r"\bOR\b", license))


def core_problems() -> Iterator[str]:
    """Packages that the core needs, directly or not, whose licence is too strong or unknown."""
    for name, package in closure(declared()[CORE]).items():
        try:
            license = license_of(package)
        except ValueError as error:
            yield str(error)
            continue
        if strong_copyleft(license):
            yield f"the core needs {name}, which is under {license}: do without it"


def page() -> str:
    """The text of THIRD_PARTY.md.

    Raises:
        PackageNotFoundError: If a direct dependency is not installed.
        ValueError: If one says no licence.
    """
    lines = []
    for name, groups in used_by().items():
        shown = ", ".join("development" if group == DEVELOPMENT else group for group in groups)
        lines.append(f"| {name} | {license_of(distribution(name))} | {shown} |\n")
    return HEAD + "".join(lines)


def listed(path: Path = PAGE) -> dict[str, tuple[str, list[str]]]:
    """Licence and groups of each package of a written page."""
    rows = re.findall(r"^\| ([\w.-]+) \| (.+) \| (.+) \|$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {name: (license, groups.split(", ")) for name, license, groups in rows if name != "package"}


def main(argv: Sequence[str]) -> int:
    """Check what the core needs and write the page; 1 if a licence is too strong or not known, else 0."""
    try:
        found = list(core_problems())
        if "--check" not in argv:
            PAGE.write_text(page(), encoding="utf-8")
    except PackageNotFoundError as error:
        found = [f"{error.name} is not installed: make test sets up all that there is"]
    except ValueError as error:
        found = [str(error)]
    for line in found:
        print(line, file=sys.stderr)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
