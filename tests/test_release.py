"""A release holds together: one version, sdist and wheel, the wheel used as a user does, licences, workflows."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from markdown_it import MarkdownIt
from markdown_it.token import Token
from packaging.metadata import Metadata
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import reet_hf
from reet_hf.cli import parser
from reet_hf.hub.bundle import OPTIONAL, REQUIRED, copy_files
from reet_hf.hub.command import find_source, kind_of
from reet_hf.metrics import CITATION
from release import dependencies, distributions, licenses, trial, version

WORKFLOWS = {path.name: yaml.safe_load(path.read_text()) for path in sorted((ROOT / ".github/workflows").glob("*.yml"))}
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, flags=re.MULTILINE))


def build(folder: Path, *options: str) -> Path:
    """The folder, with what `make build` makes."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), *options, str(ROOT)]
    done = subprocess.run(command, cwd=folder.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A folder with the sdist, and the wheel that is built from it."""
    return build(tmp_path_factory.mktemp("built"))


@pytest.fixture(scope="module")
def wheel(built) -> Path:
    return next(built.glob("*.whl"))


@pytest.fixture(scope="module")
def metadata(wheel) -> Metadata:
    with zipfile.ZipFile(wheel) as opened:
        name = next(name for name in opened.namelist() if name.endswith(".dist-info/METADATA"))
        return Metadata.from_email(opened.read(name))


def test_sdist_and_wheel_are_small_and_hold_what_they_should(built):
    assert list(distributions.problems(built)) == []
    assert distributions.LARGEST == 100_000_000
    assert all(path.stat().st_size < distributions.LARGEST for path in built.iterdir())


def test_the_checkout_gives_the_wheel_that_the_sdist_gives(built, wheel, tmp_path):
    direct = build(tmp_path / "direct", "--wheel") / wheel.name
    assert direct.read_bytes() == wheel.read_bytes()


def test_faults_of_distributions_are_told(built, wheel, tmp_path, monkeypatch):
    monkeypatch.setattr(distributions, "LARGEST", 1_000_000)
    assert sum("at most 1 MB" in line for line in distributions.problems(built)) == 2
    monkeypatch.undo()
    assert sum("is missing" in line for line in distributions.problems(tmp_path / "nothing")) == 2
    faulty = tmp_path / "faulty"
    faulty.mkdir()
    with zipfile.ZipFile(wheel) as good, zipfile.ZipFile(faulty / wheel.name, "w") as bad:
        for name in good.namelist():
            if not name.endswith(("py.typed", ".safetensors")):
                bad.writestr(name, good.read(name))
        bad.writestr("tests/conftest.py", "")
        bad.writestr("reet_hf/__pycache__/cli.cpython-311.pyc", "")
    (faulty / "notes.txt").write_text("")
    told = "\n".join(distributions.problems(faulty))
    for fault in ("lacks reet_hf/py.typed", "lacks reet_hf/weights/reet-base/model.safetensors", "got notes.txt"):
        assert fault in told
    for fault in ("must not hold tests/conftest.py", "must not hold reet_hf/__pycache__", ".tar.gz is missing"):
        assert fault in told


def test_the_metadata_are_those_of_the_project(metadata):
    assert metadata.name == "reet-hf" and str(metadata.version) == reet_hf.__version__
    assert metadata.license_expression == "Apache-2.0" and metadata.license_files == ["LICENSE"]
    assert metadata.requires_python and metadata.description_content_type == "text/markdown"
    supported = {text.split(" :: ")[-1] for text in metadata.classifiers or [] if "Python :: 3." in text}
    assert supported == {"3.10", "3.11", "3.12", "3.13"}
    assert all(Version(text) in metadata.requires_python for text in supported)
    declared = dependencies.declared()
    assert set(metadata.provides_extra or []) == set(declared) - {dependencies.CORE}
    core = {canonicalize_name(each.name) for each in metadata.requires_dist or [] if "extra" not in str(each.marker)}
    assert core == {canonicalize_name(each.name) for each in declared[dependencies.CORE]}


def parts(markdown: str) -> list[Token]:
    """All parts of a text in order, those within a line too."""
    return [part for block in MarkdownIt().parse(markdown) for part in (block, *(block.children or []))]


WORDS = ("text", "code_inline")


def said(markdown: str) -> tuple[list[str], str]:
    """The code of a text, and its words but for those of images."""
    code = [part.content for part in parts(markdown) if part.type == "fence"]
    return code, " ".join("".join(part.content for part in parts(markdown) if part.type in WORDS).split())


def test_what_the_package_index_shows_has_no_link_into_the_checkout(metadata, tmp_path):
    """It has neither the checkout nor a page for it: files of a published model are on the Hub, in this version."""
    shown = metadata.description
    addresses = [str(part.attrs[key]) for part in parts(shown) for key in ("href", "src") if key in part.attrs]
    assert addresses and all(address.startswith("https://") for address in addresses)
    found = [re.fullmatch(r"https://huggingface\.co/reet/([\w-]+)(?:/blob/([^/]+)/(.+))?", each) for each in addresses]
    models = {(link[1], link[3] or "README.md"): link[2] for link in found if link}
    linked = re.findall(r"\]\(reet/([\w-]+)/([^)]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert models.keys() == set(linked) and len(models) > 2
    for (name, file), tag in models.items():
        assert (tag is None) == (file == "README.md") and tag in (None, f"v{reet_hf.__version__}")
        copy_files(ROOT / "reet" / name, tmp_path / name, (*REQUIRED, *OPTIONAL))  # what is published
        assert (tmp_path / name / file).is_file()


def test_what_the_package_index_shows_is_the_readme(metadata):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert said(metadata.description) == said(readme)
    assert "](docs/images/" in readme and "![" not in metadata.description


def test_the_wheel_works_elsewhere_with_the_weights_inside(wheel, tmp_path):
    """The environment of the tests lends what the package depends on, and not its editable installation."""
    lent = [Path(folder) for folder in sys.path if Path(folder).name in ("site-packages", "dist-packages")]
    environment, elsewhere = tmp_path / "environment", tmp_path / "elsewhere"
    elsewhere.mkdir()
    told = trial.use(trial.install(wheel, environment, lent), elsewhere)
    assert trial.problems(told, environment) == []
    assert told["version"] == reet_hf.__version__
    assert str(ROOT) not in told["path"] and not Path(told["package"]).is_relative_to(ROOT)
    faulty = {"text": "I like cats.", "compressed": 99, "package": str(ROOT / "reet_hf/__init__.py")}
    assert len(trial.problems({**told, **faulty}, environment)) == 3


def make_checkout(folder: Path, number: str, changelog: str, citation: str) -> Path:
    (folder / "reet_hf").mkdir(parents=True)
    (folder / "reet_hf/version.py").write_text(f'__version__ = "{number}"\n')
    (folder / "CHANGELOG.md").write_text(changelog)
    (folder / "CITATION.cff").write_text(citation)
    return folder


def test_the_version_stands_in_one_place_and_others_agree():
    assert version.version() == reet_hf.__version__
    assert list(version.disagreements()) == []
    project = (ROOT / "pyproject.toml").read_text()
    assert 'dynamic = ["readme", "version"]' in project and 'path = "reet_hf/version.py"' in project
    history = version.releases()
    assert [number for number, _ in history] == sorted({n for n, _ in history}, key=Version, reverse=True)
    assert all(date != "unreleased" for _, date in history[1:])


@pytest.mark.parametrize(
    ("number", "changelog", "citation", "tag", "words"),
    [
        ("1.2.0", "## 1.2.0 (unreleased)\n", "version: 1.2.0\n", None, []),
        ("1.2.0", "## 1.2.0 (unreleased)\n", "version: 1.2.0\n", "v1.2.0", ["is unreleased"]),
        ("1.2.0", "## 1.2.0 (2030-12-31)\n", "version: 1.2.0\ndate-released: 2030-12-31\n", "v1.2.0", []),
        (
            "1.2.0",
            "## 1.2.0 (2030-12-31)\n",
            "version: 1.2.0\ndate-released: 2030-12-31\n",
            "v1.2.1",
            ["must be v1.2.0"],
        ),
        ("1.2.0", "## 1.2.0 (2030-12-31)\n", "version: 1.2.0\n", None, ["date-released: 2030-12-31"]),
        ("1.2.0", "## 1.2.0 (unreleased)\n", "version: 1.2.0\ndate-released: 2030-12-31\n", None, ["unreleased"]),
        (
            "1.2.0",
            "## 1.1.0 (2030-12-31)\n",
            "version: 1.1.0\n",
            None,
            ["CITATION.cff has version 1.1.0", "begin with"],
        ),
    ],
)
def test_what_is_at_odds_with_the_version_is_told(number, changelog, citation, tag, words, tmp_path):
    told = list(version.disagreements(tag, make_checkout(tmp_path / "checkout", number, changelog, citation)))
    assert len(told) == len(words) and all(word in line for word, line in zip(words, told, strict=True))


def test_a_version_or_heading_of_another_form_is_refused(tmp_path):
    checkout = make_checkout(tmp_path / "checkout", "1.2", "## Unreleased\n", "")
    with pytest.raises(ValueError, match="__version__"):
        version.version(checkout)
    with pytest.raises(ValueError, match="## Unreleased"):
        version.releases(checkout)


def test_the_citation_follows_its_format():
    """The rules of Citation File Format 1.2.0 for the keys that are used."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    text = {"cff-version", "message", "title", "abstract", "license", "type", "url", "version"}
    assert citation.keys() <= text | {"authors", "keywords", "date-released"}
    assert all(isinstance(citation[key], str) and citation[key].strip() for key in text)
    assert citation["cff-version"] == "1.2.0" and citation["type"] == "software" and citation["license"] == "Apache-2.0"
    assert citation["authors"] == [{"name": "The REET developers"}]
    assert len(set(citation["keywords"])) == len(citation["keywords"]) > 0
    for key in ("title", "url"):
        assert f"{key} = {{{citation[key]}}}" in CITATION
    assert {"version", "url"} <= version.cited().keys()


def test_every_direct_dependency_is_listed_with_its_licence():
    used = dependencies.used_by()
    listed = licenses.listed()
    assert listed.keys() == used.keys(), "make licenses"
    for name, groups in used.items():
        license, shown = listed[name]
        assert license.strip() and shown == [
            "development" if each == dependencies.DEVELOPMENT else each for each in groups
        ]
        assert "core" not in groups or not licenses.strong_copyleft(license)
    assert set(dependencies.declared()) == {each for groups in used.values() for each in groups}


def test_the_page_of_licences_names_every_package_and_its_use():
    """The licence itself is compared by whoever runs `make licenses`: a new release may word it otherwise."""

    def named(page: str) -> list[list[str]]:
        return [line.split("|")[1::2] for line in page.splitlines() if line.startswith("|")]

    written = licenses.PAGE.read_text(encoding="utf-8")
    assert named(written) == named(licenses.page()), "make licenses"
    assert len(named(written)) > 40 and written.startswith(licenses.HEAD)


def test_nothing_that_the_core_needs_is_under_a_strong_copyleft():
    assert list(licenses.core_problems()) == []
    assert {"torch", "transformers", "tokenizers"} <= dependencies.closure(dependencies.declared()["core"]).keys()


@pytest.mark.parametrize(
    ("license", "strong"),
    [
        ("MIT", False),
        ("LGPL-2.1-or-later", False),
        ("GNU Lesser General Public License v3", False),
        ("MPL-2.0 AND MIT", False),
        ("GPL-3.0-only", True),
        ("AGPL-3.0-or-later", True),
        ("GNU General Public License v2 (GPLv2)", True),
        ("GNU Affero General Public License v3", True),
        ("MIT AND GPL-2.0-only", True),
        ("MIT OR GPL-2.0-only", False),
    ],
)
def test_strong_copyleft_is_seen(license, strong):
    assert licenses.strong_copyleft(license) is strong


class Installed(Distribution):
    """An installed package with given metadata and one licence file."""

    def __init__(self, folder: Path, metadata: str, text: str = "") -> None:
        self.folder = folder
        (folder / "LICENSE").write_text(text)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.4\nName: it\nVersion: 1\n{metadata}")
        (folder / "RECORD").write_text("it-1.dist-info/LICENSE,,\n")

    def read_text(self, filename: str) -> str | None:
        path = self.folder / filename
        return path.read_text() if path.is_file() else None

    def locate_file(self, path) -> Path:
        return self.folder / Path(path).name


@pytest.mark.parametrize(
    ("metadata", "text", "license"),
    [
        ("License-Expression: MIT OR Apache-2.0\n", "", "MIT OR Apache-2.0"),
        ("License: Apache License, Version 2.0\n", "", "Apache-2.0"),
        ("License: Apache 2.0\n", "", "Apache-2.0"),
        ("License: BSD 3-Clause License\n", "", "BSD-3-Clause"),
        ("Classifier: License :: OSI Approved :: MIT License\n", "", "MIT"),
        ("Classifier: License :: OSI Approved :: BSD License\n", "... Neither the name of it ...", "BSD-3-Clause"),
        ("License: MIT License\n        Permission is hereby granted, free of charge, to any\n", "", "MIT"),
        ("", "Apache License\nVersion 2.0", "Apache-2.0"),
        ("Classifier: License :: OSI Approved :: Python Software Foundation License\n", "", "PSF-2.0"),
    ],
)
def test_a_licence_is_read_wherever_a_package_says_it(metadata, text, license, tmp_path):
    assert licenses.license_of(Installed(tmp_path, metadata, text)) == license


def test_a_package_that_says_no_licence_is_named(tmp_path):
    with pytest.raises(ValueError, match="it says no licence"):
        licenses.license_of(Installed(tmp_path, ""))


def test_a_closure_follows_extras_and_markers(monkeypatch):
    known = {
        "a": ["b>=1", 'c; extra == "more"', 'd; python_version < "3"'],
        "b": ["a"],
        "c": [],
    }

    class Known(Distribution):
        def __init__(self, name: str) -> None:
            self.lines = known[name]

        requires = property(lambda self: self.lines)

        def read_text(self, filename):
            return None

        def locate_file(self, path):
            return path

    monkeypatch.setattr(dependencies, "distribution", Known)
    assert list(dependencies.closure([Requirement("A")])) == ["a", "b"]
    assert list(dependencies.closure([Requirement("a[more]")])) == ["a", "b", "c"]


def test_the_audit_gets_versions_and_names_an_extra_that_is_none(capsys):
    assert dependencies.main(["server"]) == 0
    lines = capsys.readouterr().out.splitlines()
    installed = importlib.metadata.version("fastapi")
    assert f"fastapi=={installed}" in lines and all(re.fullmatch(r"[\w.-]+==[\w.!]+", line) for line in lines)
    assert dependencies.main(["sever"]) == 2
    assert "no extra sever" in capsys.readouterr().err


def of_make(name: str) -> list[str]:
    """The words of a variable of the Makefile."""
    value = re.search(rf"^{name} := ((?:.*\\\n)*.*)$", MAKEFILE, flags=re.MULTILINE)
    assert value, name
    return value[1].replace("\\\n", " ").split()


def test_the_audit_looks_at_all_that_users_install():
    """Every extra is audited, or named as one that only whoever develops or measures REET installs."""
    audited, left_out = set(of_make("AUDITED")), set(of_make("NOT_AUDITED"))
    assert audited | left_out == dependencies.declared().keys() - {dependencies.CORE} and not audited & left_out
    assert left_out == {"eval", "harness", "repoqa", "peers", "docs", dependencies.DEVELOPMENT}
    shown = subprocess.run(["make", "-n", "-o", ".venv/.installed", "audit"], cwd=ROOT, capture_output=True, text=True)
    assert f"release.dependencies {' '.join(of_make('AUDITED'))} >" in shown.stdout


def commands(workflow: dict) -> Iterator[list[str]]:
    """The words of each command that a workflow runs."""
    for job in workflow["jobs"].values():
        for step in job["steps"]:
            for line in step.get("run", "").splitlines():
                if line.strip():
                    yield shlex.split(line.replace("${{ matrix.python }}", "3.13"), comments=True)


def test_the_workflows_are_those_of_a_release():
    assert {"audit.yml", "check.yml", "minimum.yml", "release.yml"} <= WORKFLOWS.keys()
    jobs = WORKFLOWS["check.yml"]["jobs"]
    tested = set(jobs["test"]["strategy"]["matrix"]["python"])
    tested |= {
        step["with"]["python-version"] for job in ("check", "core") for step in jobs[job]["steps"] if "with" in step
    }
    assert tested == set(WORKFLOWS["release.yml"]["jobs"]["trial"]["strategy"]["matrix"]["python"])
    assert tested == {"3.10", "3.11", "3.12", "3.13"}
    assert WORKFLOWS["release.yml"][True] == {"push": {"tags": ["v*"]}}  # YAML 1.1 reads `on` so
    assert "schedule" in WORKFLOWS["audit.yml"][True]


@pytest.mark.parametrize("name", WORKFLOWS)
def test_what_a_workflow_runs_is_there(name):
    """Targets of the Makefile, scripts and modules of the checkout; nothing else is run."""
    found = list(commands(WORKFLOWS[name]))
    assert found
    for words in found:
        if words[0] == "make":
            assert set(word for word in words[1:] if "=" not in word) <= TARGETS
        elif words[:2] == ["python", "-m"]:
            assert words[2].startswith("release.") and importlib.util.find_spec(words[2])
        else:
            assert (ROOT / words[0]).is_file() and (ROOT / words[0]).stat().st_mode & 0o100


RIGHTS = {
    ("release.yml", "pypi"): {"id-token": "write"},
    ("docs.yml", "build"): {"contents": "read", "pages": "read"},
    ("docs.yml", "deploy"): {"id-token": "write", "pages": "write"},
}
"""The only jobs that may do anything but read the checkout."""


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_may_do_no_more_than_it_must(name):
    workflow = WORKFLOWS[name]
    assert workflow["permissions"] == {"contents": "read"}
    for job, content in workflow["jobs"].items():
        assert content["timeout-minutes"] <= 60
        assert content.get("permissions", {}) == RIGHTS.get((name, job), {})
        for step in content["steps"]:
            action = step.get("uses")
            assert not action or re.fullmatch(r"actions/[\w-]+@v\d+|pypa/gh-action-pypi-publish@release/v1", action)
            assert "${{" not in step.get("run", "").replace("${{ matrix.python }}", "")
            assert "secrets." not in str(step) or (name, job) == ("release.yml", "hub")


def test_a_release_is_built_tried_and_only_then_published():
    jobs = WORKFLOWS["release.yml"]["jobs"]
    order = {job: content.get("needs") for job, content in jobs.items()}
    assert order == {"build": None, "trial": "build", "pypi": "trial", "hub": "pypi"}
    assert jobs["pypi"]["environment"]["name"] == "pypi" and jobs["hub"]["environment"]["name"] == "hub"
    runs = [step["run"] for step in jobs["build"]["steps"] if "run" in step]
    assert runs == ['python -m release.version "$GITHUB_REF_NAME"', ".ci/run", "make build"]
    assert [step["uses"] for step in jobs["pypi"]["steps"]][-1].startswith("pypa/gh-action-pypi-publish@")


def test_make_publishes_every_model_and_space_and_nothing_else():
    shown = subprocess.run(
        ["make", "-n", "-o", ".venv/.installed", "publish"], cwd=ROOT, capture_output=True, text=True
    )
    names = re.search(r"for name in (.+?); do", shown.stdout)
    assert names, shown.stdout + shown.stderr
    published = names.group(1).split()
    assert {"reet-base", "reet-small", "reet-demo", "answer_survival"} <= set(published)
    metrics = {path.parent.name for path in (ROOT / "eval/metrics").glob("*/README.md")}
    assert set(published) == {"reet-base", "reet-small", "reet-demo", *metrics}
    for name in published:
        arguments = parser().parse_args(["publish", "--repo-id", f"reet/{name}"])
        assert kind_of(find_source(arguments.repo_id))


def test_the_oldest_versions_are_tested_where_nothing_but_the_core_is():
    command = ["make", "-n", "minimum", "PYTHON=python3.10"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout
    assert "--resolution lowest-direct -r pyproject.toml" in shown and "python3.10 -m venv" in shown
    tests = re.findall(r"tests/test_\w+\.py", shown)
    assert len(tests) > 30 and all((ROOT / name).is_file() for name in tests)
    assert "tests/test_publish.py" in tests and re.search("uv pip install .* fastapi .*pytest.* uvicorn", shown)


def test_the_security_policy_says_what_a_reporter_needs():
    text = (ROOT / "SECURITY.md").read_text()
    assert f"{'.'.join(reet_hf.__version__.split('.')[:2])}.x" in text
    for words in ("Report a vulnerability", "working days", "trust_remote_code", "sessions", "--tokens"):
        assert words in text
    assert "https://huggingface.co/reet/reet-base/discussions" in text  # who has no repository


@pytest.mark.skipif(not shutil.which("git") or not (ROOT / ".git").exists(), reason="needs a git checkout")
def test_no_file_of_the_package_is_left_out_of_a_release_by_gitignore():
    listed = subprocess.run(["git", "ls-files", "reet_hf"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert set(listed.split()) <= distributions.package_files()
