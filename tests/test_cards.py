"""A card says only what its files say, and all of it; the code on it runs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard

from reet_hf import ReetError
from reet_hf.hub.bundle import build_bundle, requirements
from reet_hf.hub.cards import build_card, files_of, main, read_person
from reet_hf.hub.eval_results import eval_results_yaml

PERSON = Path(__file__).resolve().parent.parent / "model_cards" / "reet-base.md"
RECIPE = Path(__file__).resolve().parent.parent / "train" / "recipes" / "reet-base-5.yaml"
SYSTEMS = ("random", "tfidf", "bm25", "minilm", "reet")


def make_results(model: str = "reet/reet-base") -> dict:
    """Results in which no two numbers are the same."""
    sets, value = {}, 100
    for number, (name, measure) in enumerate([("cuad-dev", "answer_survival"), ("qmsum-dev", "evidence_recall")]):
        entry: dict = {"questions": 611 + number, "measure": measure}
        for key in ("systems", "half_interval", "evidence_recall"):
            entry[key] = {system: (value := value + 7) / 1000 for system in SYSTEMS}
        sets[name] = entry
    return {
        "system": "reet",
        "task": "mtr-session",
        "version": "1",
        "regime": "session",
        "rate": 0.23,
        "turns": 13,
        "model": model,
        "hardware": {"cores": 17, "machine": "x86_64"},
        "packages": {"torch": "2.99.1", "transformers": "5.77.0"},
        "sets": sets,
        "mean": {
            measure: {system: (value := value + 7) / 1000 for system in SYSTEMS}
            for measure in ("answer_survival", "evidence_recall")
        },
        "overruns": 4321,
        "verbatim": 0.987,
    }


def make_training() -> dict:
    recipe = yaml.safe_load(RECIPE.read_text(encoding="utf-8"))
    mixtures = {name: recipe[name] for name in ("mixture", "extraction_mixture")}
    files = [name for mixture in mixtures.values() for name in mixture]
    return {
        "command": "accelerate launch train/train_reet.py train/recipes/reet-base-5.yaml --data DATA",
        "encoder": "all-MiniLM-L6-v2",
        "recipe": {**mixtures, "max_tokens": 2049, "frozen": ["embeddings"], "model": {}, "expect": {}},
        "seed": 71,
        "processes": 3,
        "steps": 1234,
        "runtime_seconds": 5678.9,
        "data_fingerprint": {name: f"{number:016x}" for number, name in enumerate(files)},
        "metrics": {"eval_kept_at_20": 0.8123, "train_loss": 0.4567},
        "versions": {"reet_hf": "0.1.0", "torch": "2.99.1"},
    }


@pytest.fixture
def project(tiny_folder, tmp_path) -> Path:
    """A checkout with a model, what a person wrote, and results."""
    folder = tmp_path / "reet" / "reet-base"
    shutil.copytree(tiny_folder, folder)
    (folder / "training.json").write_text(json.dumps(make_training()))
    shutil.copytree(PERSON.parent, tmp_path / "model_cards")
    (tmp_path / "eval" / "results" / "summary").mkdir(parents=True)
    (tmp_path / "eval" / "results" / "summary" / "reet-base.json").write_text(json.dumps(make_results()))
    return tmp_path


def build(project: Path) -> ModelCard:
    return build_card(
        project / "reet" / "reet-base",
        project / "model_cards" / "reet-base.md",
        project / "eval" / "results" / "summary" / "reet-base.json",
    )


def rows_of(text: str) -> list[list[str]]:
    """Cells of every table row."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


def test_every_number_of_the_results_stands_in_its_row(project):
    text, results = build(project).text, make_results()
    rows = rows_of(text)
    for name, entry in results["sets"].items():
        measure = entry["measure"].replace("_", " ")
        pairs = zip(entry["systems"].values(), entry["half_interval"].values(), strict=True)
        assert [name, measure, str(entry["questions"]), *(f"{v:.3f} ±{half:.3f}" for v, half in pairs)] in rows
        assert [name, *(f"{value:.3f}" for value in entry["evidence_recall"].values())] in rows
    survival, recall = ([f"{value:.3f}" for value in means.values()] for means in results["mean"].values())
    assert ["mean of answer survival", "", "", *survival] in rows and ["mean", *recall] in rows
    assert ["set", "measure", "questions", *SYSTEMS] in rows
    for number in ("23%", "13 questions", "4321", "98.7%", "17", "2.99.1", "5.77.0"):
        assert number in text


def test_numbers_of_tables_come_from_files_only(project):
    known = json.dumps([make_results(), make_training()])
    section = re.search(r"## Results\n(.*?)\n## ", build(project).text, flags=re.DOTALL)
    assert section is not None
    scores = re.findall(r"\b0\.\d{3}\b", section[1])
    assert scores and all(score in known or score.rstrip("0") in known for score in scores)


def test_training_and_architecture_come_from_their_files(project, tiny_model):
    rows, training = rows_of(build(project).text), make_training()
    for number, (name, passes) in enumerate(files_of(training).items()):
        assert [f"`{name}`", str(passes), f"`{number:016x}`"] in rows
    for row in (["`seed`", "71"], ["`steps`", "1234"], ["`max_tokens`", "2049"], ["`eval_kept_at_20`", "0.8123"]):
        assert row in rows
    assert training["command"] in build(project).text
    assert ["parameters", str(sum(p.numel() for p in tiny_model.parameters()))] in rows
    assert ["`window_tokens`", str(tiny_model.config.window_tokens)] in rows


def test_every_stage_is_told_the_first_one_first(project):
    def stage(number: int, **more) -> dict:
        mixture = {"cuad-train": number}
        recipe = {"mixture": mixture, "max_tokens": 9000 + number}
        return make_training() | {"recipe": recipe, "command": f"train-{number}", "data_fingerprint": mixture} | more

    average = {"command": "average-3", "share": 0.375}
    head = stage(7)
    last = make_training() | {"initial": stage(2, initial=stage(1)), "average": average, "afterwards": "Nothing else."}
    last["initial"] |= {"extractor": head}
    (project / "reet/reet-base/training.json").write_text(json.dumps(last))
    text = build(project).text
    told = [
        "Stage 1 of 3",
        "train-1\n",
        "9001",
        "head that stage 2 starts from",
        "train-7\n",
        "9007",
        "Stage 2 of 3",
        "train-2\n",
        "9002",
    ]
    told += ["Stage 3 of 3", last["command"]]
    told += ["0.375", "average-3\n", "Nothing else."]
    assert not [words for words in told if words not in text]
    places = [text.index(words) for words in told]
    assert places == sorted(places)
    passes = files_of(last)["cuad-train"] + 1 + 2 + 7  # of all stages together
    assert ["`cuad-train`", str(passes), f"`{last['data_fingerprint']['cuad-train']}`"] in rows_of(text)


def test_what_holds_for_all_models_is_said_once(project):
    file = project / "model_cards/reet-base.md"
    file.write_text(f"{file.read_text()}\n## Intended use\n\nOther ones.\n")
    text = build(project).text
    assert text.count("## Intended use") == 1 and text.index("It is not meant to summarise") < text.index("Other ones.")
    file.write_text(f"{file.read_text()}\n## Intended use\n\nMore.\n")
    with pytest.raises(ReetError, match="each of the sections .* in one file once"):
        build(project)


def test_nothing_is_left_to_fill_in(project):
    content = build(project).content
    assert not re.search(r"\{\{|\}\}|\{%|\bNone\b|TODO|Undefined", content)
    assert " ".join(requirements()) in content
    assert not re.search(r"\n## [^\n]+\n\s*(?:\n## |$)", content), "a section is empty"


def test_front_matter_is_what_the_hub_reads(project):
    content = build(project).content
    front = yaml.safe_load(content.split("---\n")[1])
    assert front["license"] == "apache-2.0"
    assert front["library_name"] == "transformers"
    assert front["pipeline_tag"] == "token-classification"
    assert front["base_model"] == "sentence-transformers/all-MiniLM-L6-v2"
    assert front["language"] == "en"
    assert "reet" in front["tags"]
    assert all("/" in name for name in front["datasets"])
    (entry,) = front["model-index"]
    assert entry["name"] == "reet-base"
    values = {result["dataset"]["name"]: result["metrics"][0]["value"] for result in entry["results"]}
    assert values == {name: found["systems"]["reet"] for name, found in make_results()["sets"].items()}
    assert {result["metrics"][0]["type"] for result in entry["results"]} == {"answer_survival", "evidence_recall"}
    again = ModelCard(content)
    assert [result.metric_value for result in again.data.eval_results or []] == list(values.values())


def test_the_code_on_the_card_runs(project, monkeypatch, capsys):
    monkeypatch.chdir(project)
    blocks = re.findall(r"```python\n(.*?)```", build(project).text, flags=re.DOTALL)
    assert len(blocks) == 3
    names: dict = {}
    for block in blocks[:2]:
        exec(compile(block, "card", "exec"), names)
    assert names["result"]["pieces"] and names["second"]["pieces"]
    assert names["restored"][: len(names["messages"])] == names["messages"]
    assert capsys.readouterr().out


def test_the_code_for_those_without_the_package_runs_without_it(project):
    """From the folder that is published, where an import of the package fails."""
    text = build(project).text
    (block,) = [code for code in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL) if "trust_remote" in code]
    place = project / "elsewhere"
    build_bundle(project / "reet" / "reet-base", place / "reet" / "reet-base")
    hidden = 'import sys\nsys.modules["reet_hf"] = None\n'
    shown = "\nprint(type(compress).__module__.split('.')[0], result['tokens']['compressed'])\n"
    done = subprocess.run(
        [sys.executable, "-c", f"{hidden}{block}{shown}"],
        cwd=place,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_MODULES_CACHE": str(place / "modules")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    origin, count = done.stdout.split()
    assert origin == "transformers_modules" and int(count) > 0


def test_every_training_file_has_licence_and_caution():
    _, _, sections = read_person(PERSON)
    rows = [row for row in rows_of(sections["Training data"]) if row[0].startswith("`")]
    described = {row[0].strip("`"): row[1:] for row in rows}
    assert described.keys() == files_of(make_training()).keys()
    assert all(all(cells) for cells in described.values())
    assert re.search(r"DialogRE.*bAbI", sections["Training data"], flags=re.DOTALL)


def test_the_command_writes_the_readme(project, monkeypatch, capsys):
    monkeypatch.chdir(project)
    assert main(["reet/reet-base"]) == 0
    assert capsys.readouterr().out == "reet/reet-base/README.md\n"
    assert ModelCard.load("reet/reet-base/README.md").data.license == "apache-2.0"


def test_scores_say_that_their_task_is_no_data_set_and_where_it_is_explained():
    entries = yaml.safe_load(eval_results_yaml(make_results()))
    assert [entry["value"] for entry in entries] == [
        found["systems"]["reet"] for found in make_results()["sets"].values()
    ]
    for entry in entries:
        assert entry["dataset"]["id"] == "reet/mtr" and "not a data set of the Hub" in entry["notes"]
        assert entry["source"] == {"url": "https://huggingface.co/reet/reet-base#results", "name": "Model card"}


def test_what_the_extraction_head_read_is_among_the_risks_and_the_cautions_do_not_contradict_the_text():
    _, _, sections = read_person(PERSON)
    for words in ("tweets", "novels", "news", "defence"):
        assert words in sections["Risks"]
    assert "research only, such as" not in sections["Training data"]
    rows = {row[0].strip("`"): row[-1] for row in rows_of(sections["Training data"]) if row[0].startswith("`")}
    named = re.sub(r"^\|.*$", "", sections["Training data"], flags=re.MULTILINE).replace("QMSum", "`qmsum-train`")
    for_research = {name for name, caution in rows.items() if "research" in caution}
    assert for_research == {"qmsum-train", "policyqa-train", "friendsqa-train", "re3d-train"}
    assert all(f"`{name}`" in named for name in for_research)


def test_without_results_the_command_says_how_to_make_them(project, monkeypatch, capsys):
    monkeypatch.chdir(project)
    (project / "eval/results/summary/reet-base.json").unlink()
    assert main(["reet/reet-base"]) == 2
    error = capsys.readouterr().err
    assert "eval/results/summary/reet-base.json is missing" in error
    assert "python -m eval.report, after python eval/run.py --system reet --task mtr --data FOLDER" in error
    assert not (project / "reet/reet-base/README.md").exists()


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("eval/results/summary/reet-base.json", "reet/reet-base", "reet/other", "holds results of 'reet/other'"),
        ("eval/results/summary/reet-base.json", '"mean"', '"meant"', "lacks mean; make it with"),
        ("reet/reet-base/training.json", '"steps"', '"step"', "lacks steps"),
        ("model_cards/common.md", "| `cuad-train` |", "| cuad |", r"missing: \['cuad-train'\], not used: \[\]"),
        ("model_cards/common.md", "`covidqa-train`", "`babi-train`", r"not used: \['babi-train'\]"),
        ("model_cards/common.md", "## Limits", "## Boundaries", "each of the sections"),
    ],
)
def test_files_that_do_not_fit_are_refused(project, file, old, new, message):
    path = project / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(ReetError, match=message):
        build(project)


@pytest.mark.parametrize("file", ["reet/reet-base/training.json", "model_cards/reet-base.md"])
def test_a_missing_file_is_named(project, file):
    (project / file).unlink()
    with pytest.raises(ReetError, match=f"{Path(file).name} is missing"):
        build(project)
