"""The README is true: its Python blocks run with the bundled weights, its commands and tables are current."""

from __future__ import annotations

import re
import subprocess

import pytest
from conftest import ROOT

from eval import report

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def test_python_blocks_run_in_order(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reet").symlink_to(ROOT / "reet")
    names: dict = {}
    for block in BLOCKS:
        exec(compile(block, "README.md", "exec"), names)
    assert names["second"]["tokens"]["compressed"] <= 40


def test_the_first_output_is_what_the_first_block_prints(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reet").symlink_to(ROOT / "reet")
    shown = re.search(r"```text\n(.*?)```", README, flags=re.DOTALL)
    exec(compile(BLOCKS[0], "README.md", "exec"), {})
    assert shown is not None and capsys.readouterr().out == shown[1]


def test_the_figure_is_the_one_of_the_documentation():
    drawn = (ROOT / "pages/diagrams/once.svg").read_text(encoding="utf-8").splitlines()
    shown = (ROOT / "docs/images/how-it-works.svg").read_text(encoding="utf-8")
    style = re.search(r"<style>.*?</style>\n", shown, flags=re.DOTALL)
    assert style is not None and shown.replace(style[0], "").splitlines() == drawn


def test_it_opens_with_the_two_commands_and_the_pipeline():
    head = README[:2000]
    assert head.index("make demo") < head.index("make test") < head.index('pipeline("reet-compression"')


def test_tables_are_those_of_the_results():
    assert report.main(["--check"]) == 0


def test_every_make_target_has_help():
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in ("demo", "test", "check", "train-toy", "results", "reproduce", "report", "clean"):
        assert f"make {target}" in shown


@pytest.mark.parametrize("name", re.findall(r"\]\(((?!http)[^)#]+)\)", README))
def test_links_lead_somewhere(name):
    assert (ROOT / name).exists()
