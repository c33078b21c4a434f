"""Check that all places name the one version of reet_hf/version.py: python -m release.version [TAG]

With a tag, also that it is the version's and that changelog and citation say when it was released.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VERSION = re.compile(r'^__version__ = "(\d+\.\d+\.\d+(?:(?:a|b|rc)\d+)?)"$', flags=re.MULTILINE)
HEADING = re.compile(r"^## (\S+) \((unreleased|\d{4}-\d{2}-\d{2})\)$")


def version(root: Path = ROOT) -> str:
    """The version of the package in a checkout, read without importing it.

    Raises:
        ValueError: If the file holds none of the form 1.2.3, or 1.2.3rc1.
    """
    found = VERSION.search((root / "reet_hf" / "version.py").read_text(encoding="utf-8"))
    if not found:
        raise ValueError('reet_hf/version.py must hold a line like __version__ = "1.2.3"')
    return found.group(1)


def releases(root: Path = ROOT) -> list[tuple[str, str]]:
    """Version and date, or "unreleased", of each section of the changelog, newest first.

    Raises:
        ValueError: If a section has another heading.
    """
    found = []
    for line in (root / "CHANGELOG.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            heading = HEADING.match(line)
            if not heading:
                raise ValueError(f"CHANGELOG.md must name releases like '## 1.2.3 (2030-12-31)', got {line!r}")
            found.append((heading.group(1), heading.group(2)))
    return found


def cited(root: Path = ROOT) -> dict[str, str]:
    """The simple entries of CITATION.cff, which a machine without a YAML parser reads too."""
    lines = re.findall(r"^([\w-]+): +\"?(.+?)\"?$", (root / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)
    return dict(lines)


def disagreements(tag: str | None = None, root: Path = ROOT) -> Iterator[str]:
    """What is at odds with the version, line by line, each with what to do.

    Args:
        tag: Name of the tag that is released, if one is.
        root: The checkout.
    """
    current, citation, history = version(root), cited(root), releases(root)
    if citation.get("version") != current:
        yield f"CITATION.cff has version {citation.get('version')} where reet_hf/version.py has {current}"
    if not history or history[0][0] != current:
        yield f"CHANGELOG.md must begin with a section for {current}"
        return
    date = history[0][1]
    if date != "unreleased" and citation.get("date-released") != date:
        yield f"CITATION.cff must have `date-released: {date}`, the date that CHANGELOG.md has"
    if date == "unreleased" and "date-released" in citation:
        yield "CITATION.cff has `date-released`, but CHANGELOG.md says unreleased: remove it, or date the section"
    if tag is None:
        return
    if tag != f"v{current}":
        yield f"the tag must be v{current}, got {tag}: tag the commit that raises the version"
    if date == "unreleased":
        yield f"CHANGELOG.md says {current} is unreleased: put the date there, and in CITATION.cff"


def main(argv: Sequence[str]) -> int:
    """Print the version and what is at odds with it; 1 if something is, else 0."""
    print(version())
    found = list(disagreements(argv[0] if argv else None))
    for line in found:
        print(line, file=sys.stderr)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
