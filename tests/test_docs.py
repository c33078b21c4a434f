"""The documentation is true: its code runs and prints what stands there, its numbers are measured, the site builds."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from conftest import ROOT
from upstream import Body, Reply, Upstream, completion

import reet_hf
from eval import run
from pages import hooks, numbers
from pages import outputs as outputs_of_pages
from pages.places import filled, without_files
from reet_hf import ReetError, cli

DOCS = ROOT / "docs"
PAGES = sorted(page for page in DOCS.rglob("*.md") if "images" not in page.parts)
NAMES = [str(page.relative_to(DOCS)) for page in PAGES]
BLOCK = re.compile(r"^(```+)(\w+)(?: title=\"([^\"\n]+)\")?\n(.*?)^\1$", flags=re.DOTALL | re.MULTILINE)
PRINTS = "it prints"
RUN = re.compile(r"(?:cat \S+ \| )?reet (?:compress|extract) |python eval/run\.py --system reet,bm25,stopwords_idf ")
NOT_RUN = {  # lines of shell that are not run here, by what they begin with, and why
    "pip install": "the network",
    "git clone": "the network",
    "hf auth login": "the network",
    "accelerate launch ": "minutes of training; tests/test_finetuning.py runs the recipes on little",
    "reet merge": "needs an adapter; tests/test_finetuning.py",
    "reet publish": "needs a Hub; tests/test_publish.py has one on this machine",
    "reet serve": "runs until it is stopped; tests/test_server.py, tests/test_proxy.py",
    "make reproduce": "minutes; tests/test_eval_run.py runs the same on little",
    "make results": "hours",
    "make report": "tests/test_readme.py checks that it has nothing to write",
    "make speed": "twenty minutes of an idle machine; tests/test_eval_speed.py",
    "python -m train.data.": "the network; tests/test_train_data.py builds from small files",
    "python -m eval.compare": "needs results; tests/test_eval_run.py",
    "python -m eval.agent_": "minutes; tests/test_agents.py",
    "python -m eval.cache_simulation": "minutes; tests/test_cache_simulation.py",
    "python -m eval.crash": "minutes; tests/test_journal.py",
    "python -m eval.robustness": "minutes; tests/test_hostile.py",
    "python eval/run.py --system rare_words": "a file in eval/systems; the block below it does the same",
    "python eval/run.py --system reet,bm25 --task mtr --data data": "needs the data sets",
    "python eval/run.py --task longbench": "needs its files; tests/test_longbench.py, tests/test_estimate.py",
    "python eval/run.py --system reet --task synthetic": "minutes; tests/test_eval_run.py runs the same on little",
}
NOT_RUN_LINES = 29
FAILURES = {  # of docs/limits.md: what is lost, and what is there in its place
    "The change that does not name what it changes": ("Thursday", "Monday"),
    "The telegram that says the opposite": ("could have come", "he could come on Friday"),
    "Two steps to the answer": ("Tomasz", "The keys of the boat house"),
    "A sum": ("40 euros", "28 euros"),
    "She": ("Marta", "she keeps a parrot"),
    "A language it was not trained on": ("Mühlgasse", "Aufzug"),
    "The best of six": ("Lantern", "Saffron"),
    "The chatter stays, the code goes": ("0.5", "the logo is crooked"),
    "The rows that repeat the question": ("1Z-884-QP2", "carrier North"),
    "A booking without a ledger": ("Copper Pot", "{}"),
    "A name that is none": ("Oslo", "'Understood'"),
}
# What looks measured in a text and is not: limits that were chosen, definitions, sizes.
CHOSEN = {
    "concepts/ledger.md": ["20 %"],
    "concepts/retention.md": ["50, 33, 20, 10 and 6 %", "95 %", "20 %", "33 %"],
    "concepts/sessions.md": ["16,000 tokens"],
    "how-to/agent.md": ["2,000 tokens"],
    "how-to/rag.md": ["20 %", "SQuAD 2.0"],
    "how-to/fine-tune.md": ["15 %"],
    "reproduce.md": ["20 %", "0.01"],
}
MEASURED = re.compile(
    r"(?<![\w.])(?:\d[\d,]*(?:\.\d+)? ?(?:%|ms\b|seconds?\b|s\b|MB\b|GB\b|M\b|tokens\b|times\b|points?\b)|\d*\.\d+)"
)


def blocks(text: str) -> list[tuple[str, str, str]]:
    """Language, title and content of each block of code."""
    return [(block[2], block[3] or "", block[4]) for block in BLOCK.finditer(text)]


def shell_lines(content: str) -> list[str]:
    """The commands of a block of shell, each in one line and without what is said of it."""
    lines = re.sub(r"\\\n\s*", "", content).splitlines()
    return [line.split("  #")[0].split(" # ")[0].strip() for line in lines if line.strip() and line[0] != "#"]


def measure(arguments: list[str]) -> None:
    """What `python eval/run.py` does, with the threads left as they are: what later pages print depends on them."""
    threads = torch.get_num_threads()
    with contextlib.redirect_stdout(io.StringIO()):
        run.main([*arguments, "--threads", str(threads)])


def run_shell(content: str) -> None:
    """Run what can be run of a block of shell, in this process, which is fast."""
    for line in filter(RUN.match, shell_lines(content)):
        read, _, command = line.rpartition("| ")
        words = shlex.split(command)
        if words[0] == "python":
            measure(words[2:])
            continue
        told = io.StringIO()
        quiet = contextlib.redirect_stderr(io.StringIO())
        with (
            open(read.split()[1] if read else os.devnull) as piped,
            mock.patch.object(sys, "stdin", piped),
            contextlib.redirect_stdout(told),
            quiet,
        ):
            assert cli.main(words[1:]) == 0, line
        assert told.getvalue() or "--output" in words, line


def outputs(text: str) -> list[str]:
    """What each Python block of a page prints, run in order in one namespace, commands between them."""
    names: dict[str, Any] = {"__name__": "__docs__"}
    found = []
    for language, title, content in blocks(text):
        if language == "bash":
            run_shell(content)
        if language != "python":
            continue
        told = io.StringIO()
        with contextlib.redirect_stdout(told), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exec(compile(content, title or "page", "exec"), names)
        found.append(told.getvalue())
    return found


def with_outputs(text: str, printed: list[str]) -> str:
    """A page with the blocks that say what is printed as they should be."""
    left, last = iter(printed), ""

    def fresh(block: re.Match[str]) -> str:
        nonlocal last
        if block[2] == "python":
            last = next(left)
        if block[3] != PRINTS:
            return block[0]
        fence = "`" * max(3, *(1 + len(run) for run in re.findall("`+", last)), 0)
        return f'{fence}text title="{PRINTS}"\n{last.rstrip()}\n{fence}'

    return BLOCK.sub(fresh, text)


def answering(body: Body) -> Reply:
    """A model that says what it could read: how many messages it was sent."""
    return Reply(completion(f"I was sent {len(body['messages'])} messages."))


@contextlib.contextmanager
def surroundings(folder: Path) -> Iterator[None]:
    """A folder as the pages expect it, and a provider of language models on this machine."""
    before, environment = Path.cwd(), dict(os.environ)
    (folder / "fine-tune-run").symlink_to(ROOT / "reet" / "reet-base")
    for name in ("eval", "reet", "examples/notes.txt"):
        (folder / Path(name).name).symlink_to(ROOT / name)
    asked = {"context": ["The ferry sails at 18:20. It rained.", "The pier is closed."], "query": "When does it sail?"}
    (folder / "questions.jsonl").write_text(json.dumps(asked) + "\n")
    with Upstream(answering) as upstream:
        os.environ.update(OPENAI_BASE_URL=upstream.url, OPENAI_API_KEY="none", HF_HUB_OFFLINE="1")
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)
            os.environ.clear()
            os.environ.update(environment)


@pytest.mark.parametrize("name", NAMES)
def test_code_runs_and_prints_what_stands_there(name, tmp_path):
    text = (DOCS / name).read_text(encoding="utf-8")
    with surroundings(tmp_path):
        printed = outputs(text)
    assert with_outputs(text, printed) == text, "run `python tests/test_docs.py` and read what has changed"


def test_commands_are_run_or_say_why_not():
    left = {
        name: [line for kind, _, content in blocks(text) if kind == "bash" for line in shell_lines(content)]
        for name, text in ((name, (DOCS / name).read_text(encoding="utf-8")) for name in NAMES)
    }
    left = {name: [line for line in lines if not RUN.match(line)] for name, lines in left.items()}
    every = [line for lines in left.values() for line in lines]
    assert not [line for line in every if not line.startswith(tuple(NOT_RUN))]
    assert all(any(line.startswith(start) for line in every) for start in NOT_RUN)
    trained = "how-to/fine-tune.md"  # its commands are those of tests/test_finetuning.py
    assert sum(len(lines) for name, lines in left.items() if name != trained) == NOT_RUN_LINES


def test_the_failures_are_still_failures():
    gallery = (DOCS / "limits.md").read_text(encoding="utf-8").split("## The failures")[1].split("\n## ")[0]
    parts = dict(part.split("\n", 1) for part in gallery.split("\n### ")[1:])
    assert list(parts) == list(FAILURES)
    for name, (lost, instead) in FAILURES.items():
        printed = next(content for _, title, content in blocks(parts[name]) if title == PRINTS)
        assert lost not in printed and instead in printed, name


def spoken(text: str) -> str:
    """A page without code, places that are filled, addresses and front matter."""
    text = BLOCK.sub("", text)
    text = re.sub(r"<!-- finetuning.*?end of finetuning -->", "", text, flags=re.DOTALL)
    return re.sub(r"\{\{.*?\}\}|`[^`\n]+`|\]\([^)]*\)", "", text, flags=re.DOTALL)


@pytest.mark.parametrize("name", NAMES)
def test_no_number_of_a_measurement_is_typed(name):
    text = spoken((DOCS / name).read_text(encoding="utf-8"))
    for chosen in CHOSEN.get(name, []):
        assert chosen in text
        text = text.replace(chosen, "")
    assert not MEASURED.findall(text)


@pytest.mark.parametrize("typed", ["It keeps .949 of them.", "At 94.9 % of", "in 215 ms and", "1.56 times", "4.0 s"])
def test_a_typed_number_is_seen(typed):
    assert MEASURED.search(typed)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The built site."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_site_has_all_pages_and_names(site):
    for name in [*NAMES, "quickstart.md"]:
        page = site / name.replace("index.md", "").removesuffix(".md") / "index.html"
        assert "{{" not in re.sub(r"<(pre|code).*?</\1>", "", page.read_text(encoding="utf-8"), flags=re.DOTALL), name
        assert "data-markup" not in page.read_text(encoding="utf-8")
    shown = "".join(page.read_text(encoding="utf-8") for page in (site / "reference").rglob("*.html"))
    for name in set(reet_hf.__all__) - {"__version__"}:
        defined = getattr(reet_hf, name)
        assert re.search(rf'id="(?:reet_hf\.{name}|{defined.__module__}\.{name})"', shown), name


def test_the_site_asks_nobody_else(site):
    loaded = re.compile(r'<(?:script|link|img|iframe|source)\b[^>]*(?:src|href)="((?:https?:)?//[^"]*)"')
    for page in site.rglob("*.html"):
        assert not loaded.findall(page.read_text(encoding="utf-8")), page
    for style in site.rglob("*.css"):
        assert not re.search(r"(?:@import|url\()\s*[\"']?(?:https?:)?//", style.read_text(encoding="utf-8")), style


def test_numbers_are_those_of_the_results():
    fills = hooks.FILLS
    assert filled('{{ score("reet") }}', fills).text in (ROOT / "README.md").read_text(encoding="utf-8")
    record = json.loads((ROOT / "eval/results/agent/crash.json").read_text())
    assert filled('{{ measured("agent/crash.json", "points") }}', fills).text == str(record["points"])
    with pytest.raises(ReetError, match="has no"):
        filled('{{ score("reet", budget=7) }}', fills)
    with pytest.raises(ReetError, match="literals"):
        filled("{{ score(open('x')) }}", fills)
    with pytest.raises(ReetError, match="there are"):
        filled("{{ wish(1) }}", fills)
    assert filled("```\n{{ wish(1) }}\n```", fills).text == "```\n{{ wish(1) }}\n```"


def test_links_to_files_outside_the_site_are_text():
    folder = DOCS / "how-to"
    text = "[tables](../../eval/results/README.md#speed), [the budget](../concepts/budget.md#steps)"
    assert without_files(text, folder, DOCS) == "tables, [the budget](../concepts/budget.md#steps)"
    with pytest.raises(ReetError, match="is not there"):
        without_files("[gone](../../eval/gone.md)", folder, DOCS)


def test_the_notebook_begins_with_its_installation():
    page = outputs_of_pages.quickstart()
    assert page.index("%pip install --quiet reet-hf") < page.index('pipeline("reet-compression")')
    assert f"({numbers.parameters()} parameters)" in page
    assert page.startswith("# ") and page.count(f'title="{PRINTS}"') >= 5


def main() -> None:
    """Write what the code of all pages, or of those that are named, prints now."""
    import tempfile

    for name in sys.argv[1:] or NAMES:
        text = (DOCS / name).read_text(encoding="utf-8")
        with tempfile.TemporaryDirectory() as folder, surroundings(Path(folder)):
            fresh = with_outputs(text, outputs(text))
        if fresh != text:
            (DOCS / name).write_text(fresh, encoding="utf-8")
            print(name)


if __name__ == "__main__":
    main()
