"""Ablations: a grid runs once and goes on where it was left, and its page says what the files say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from conftest import ROOT, SIZES, city_rows

from eval import ablations, report
from eval.ablations import Ablation, Run, comparison
from reet_hf import ReetError
from reet_hf.modeling.modeling_reet import ReetScoringOutput
from reet_hf.scoring.collator import ScoringCollator
from reet_hf.training.dataset import read_files
from train import ablate

GRID = ROOT / "train" / "recipes" / "ablations.yaml"
RECIPE = {
    "encoder": "an/encoder",
    "mixture": {"cities-train": 1},
    "evaluation": {"cities-dev": 1},
    "model": {**SIZES, "entity_gate": True},
    "head_learning_rate": 5e-3,
    "max_steps": 2,
    "save_strategy": "no",
    "report_to": "none",
    "disable_tqdm": True,
    "use_cpu": True,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for name, count in (("cities-train", 12), ("cities-dev", 4)):
        pq.write_table(pa.Table.from_pylist(city_rows(count)), folder / f"{name}.parquet")
    return folder


@pytest.fixture
def grid(tmp_path, data, encoder):
    """Writes a grid and returns the command line that runs it."""

    def write(variants: dict, **recipe) -> list[str]:
        file = tmp_path / "grid.yaml"
        said = {"study": "cities", "recipe": {**RECIPE, **recipe}, "seeds": [1, 2], "variants": variants}
        file.write_text(yaml.safe_dump(said))
        folders = ["--data", str(data), "--encoder", str(encoder), "--output", str(tmp_path / "out")]
        return [str(file), *folders]

    return write


def test_every_variant_runs_with_every_seed_and_no_folder_is_written_down(grid, tmp_path, data, encoder):
    ablate.main(grid({"single": {"labels": "single"}, "full": {}}))
    found = ablations.read_all(tmp_path / "out" / "cities")
    assert [ablation.variant for ablation in found] == ["full", "single"]
    assert [run.train_loss for run in found[0].runs] != [run.train_loss for run in found[1].runs]
    for ablation in found:
        assert ablation.seeds == [1, 2] and set(ablation.data) == {"cities-train", "cities-dev"}
        for run in ablation.runs:
            assert run.steps == 2 and run.examples == 12 and run.tokens > 12 * 50
            contexts = run.sets["cities-dev"]
            assert set(contexts) == {"r0", "r1", "r2", "r3"}
            for scores in contexts.values():
                assert set(scores) == set(ablations.MEASURES)
                assert {len(values) for values in scores.values()} == {5}
                assert {value for values in scores.values() for value in values} <= {0.0, 1.0}
    text = "".join(file.read_text() for file in (tmp_path / "out" / "cities").iterdir())
    assert str(data) not in text and str(encoder) not in text and str(tmp_path) not in text
    assert len(list((tmp_path / "out" / "cities").iterdir())) == 2


class Oracle(torch.nn.Module):
    """Importance is the answer, and the prior its opposite."""

    device = torch.device("cpu")

    def forward(self, relevance_labels: torch.Tensor, **batch: torch.Tensor) -> ReetScoringOutput:
        assert not self.training
        return ReetScoringOutput(importance=relevance_labels, prior=-relevance_labels.amax(1))


def test_importance_is_measured_at_two_rates_and_the_prior_without_a_query(data, tokenizer):
    examples = ablate.Examples(read_files(data, ["cities-dev"]), tokenizer)
    options = {"vary": False, "max_tokens": 90}  # in which one sentence is more than a tenth
    contexts = examples.get({"cities-dev": 1}, **options)
    found = ablate.measure(Oracle(), contexts, ScoringCollator(tokenizer, 32, 24))
    assert list(found) == ["r0", "r1", "r2", "r3"]
    for name, scores in found.items():
        units = contexts[name].table.units
        shares = [np.mean(units == units[row == 1][0]) for row in contexts[name].relevance]
        assert {0.1 < share <= 0.2 for share in shares} == {True}
        count = len(shares)
        assert scores == {"kept_at_20": [1.0] * count, "kept_at_10": [0.0] * count, "prior_at_33": [0.0] * count}
    assert examples.get({"cities-dev": 1}, **options) is contexts


def test_a_file_passed_over_twice_gives_every_example_its_own_name(data, tokenizer):
    examples = ablate.Examples(read_files(data, ["cities-dev"]), tokenizer)
    assert len(examples.get({"cities-dev": 2})) == 8


def test_a_stopped_grid_goes_on_where_it_was_left(grid, tmp_path, monkeypatch):
    done: list[tuple[int, dict]] = []
    whole = ablate.run

    def stops(arguments, training, examples):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append((training.seed, arguments.fixed))
        return whole(arguments, training, examples)

    monkeypatch.setattr(ablate, "run", stops)
    argv = grid({"full": {}, "no-gate": {"fixed": {"entity_gate": 0}}})
    with pytest.raises(KeyboardInterrupt):
        ablate.main(argv)
    assert done == [(1, {}), (1, {"entity_gate": 0}), (2, {})]
    left = ablations.read(tmp_path / "out" / "cities" / "full.json")
    rest: list[int] = []

    def goes_on(arguments, training, examples):
        rest.append(training.seed)
        return whole(arguments, training, examples)

    monkeypatch.setattr(ablate, "run", goes_on)
    ablate.main(argv)
    assert rest == [2]
    assert ablations.read(tmp_path / "out" / "cities" / "full.json") == left
    assert ablations.read(tmp_path / "out" / "cities" / "no-gate.json").seeds == [1, 2]


def test_one_seed_gives_one_result(grid, tmp_path):
    argv = grid({"full": {}})
    ablate.main([*argv, "--seeds", "2"])
    first = ablations.read(tmp_path / "out" / "cities" / "full.json").runs[0]
    (tmp_path / "out" / "cities" / "full.json").unlink()
    ablate.main(argv)
    again = ablations.read(tmp_path / "out" / "cities" / "full.json").runs
    assert [run.seed for run in again] == [1, 2]
    assert (again[1].sets, again[1].train_loss) == (first.sets, first.train_loss)


def test_results_of_other_options_are_not_mixed(grid):
    ablate.main([*grid({"full": {}}), "--seeds", "1"])
    with pytest.raises(ReetError, match="other options"):
        ablate.main(grid({"full": {}}, head_learning_rate=1e-3))


def test_parts_of_a_grid_are_asked_for_by_name(grid):
    argv = grid({"full": {}, "no-gate": {"fixed": {"entity_gate": 0}}})
    assert list(ablate.read_grid(argv[0], only=["no-gate"]).variants) == ["no-gate"]
    with pytest.raises(ReetError, match="no-gates"):
        ablate.read_grid(argv[0], only=["no-gates"])
    with pytest.raises(ValueError, match="no_such_option"):
        ablate.read_grid(grid({"full": {"no_such_option": 1}})[0])


def test_the_grid_in_the_repository_is_valid_and_measures_what_it_does_not_train_on():
    grid = ablate.read_grid(GRID)
    assert grid.variants["full"] == {} and len(grid.seeds) == 3
    assert all(overrides for name, overrides in grid.variants.items() if name != "full")
    for variant in grid.variants:
        settings = grid.settings(variant)
        assert all(name.endswith("-train") for name in settings["mixture"])
        assert all(name.endswith("-dev") for name in settings["evaluation"])


def test_a_study_has_from_its_base_what_it_does_not_say():
    base, grid = ablate.read_grid(GRID), ablate.read_grid(GRID.with_name("ablation-cross.yaml"))
    assert grid.study != base.study and grid.seeds == base.seeds
    assert grid.recipe == {**base.recipe, "max_questions": grid.recipe["max_questions"]}
    assert grid.settings("cross-encoder")["model"] == {"interaction": "cross"} and len(grid.variants) == 2


def ablation(variant: str, *seeds: dict[str, list[float]], overrides: dict | None = None) -> Ablation:
    """Runs with seeds 1, 2, ..., each with the same values for every measure of contexts `a`, `b`, ..."""
    runs = []
    for seed, contexts in enumerate(seeds, 1):
        sets = {"x-dev": {name: dict.fromkeys(ablations.MEASURES, values) for name, values in contexts.items()}}
        runs.append(Run(seed, examples=3, tokens=900, steps=2, seconds=1.0, train_loss=1.0, sets=sets))
    return Ablation(variant, overrides or {}, {}, {"x-dev": "0"}, runs)


def cells(text: str, variant: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.startswith(f"| `{variant}` |"))
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def test_a_variant_is_compared_with_the_full_recipe_on_the_same_seeds():
    full = ablation("full", {"a": [1, 1], "b": [1]}, {"a": [1, 0], "b": [1]}, {"a": [0, 0], "b": [0]})
    worse = ablation("worse", {"a": [1, 0], "b": [0]}, {"a": [0, 0], "b": [0]}, overrides={"model": {"neighbours": 0}})
    text = comparison([full, worse])
    changes, score, lead, *_, by_seed = cells(text, "worse")
    assert changes == "`model: {neighbours: 0}`" and by_seed == "-.667, -.667"
    assert score.startswith(".167 ")  # (1/3 + 0) / 2
    assert lead.startswith("**-.667 ") and lead.endswith("**")  # of full (1 + 2/3) / 2 with those seeds
    own = cells(text, "full")
    assert own[1].startswith(".556 ") and own[2] == "–" and own[-1] == "1.000, .667, .000"


def test_a_difference_that_zero_lies_in_is_not_marked():
    full = ablation("full", {"a": [1, 0], "b": [0, 1], "c": [1, 1]})
    other = ablation("other", {"a": [1, 1], "b": [0, 0], "c": [1, 1]})
    assert cells(comparison([full, other]), "other")[2].startswith("+.000 ±")


def test_a_difference_that_one_seed_alone_shows_is_not_marked():
    high, low = {"a": [1, 1], "b": [1]}, {"a": [0, 0], "b": [0]}
    full = ablation("full", high, low)
    assert cells(comparison([full, ablation("other", low, low)]), "other")[2] == "-.500 ±.000"
    assert cells(comparison([full, ablation("other", low)]), "other")[2] == "-1.000 ±.000"
    assert cells(comparison([ablation("full", high, high), ablation("other", low, low)]), "other")[2].startswith("**")


def test_differing_questions_are_refused():
    with pytest.raises(ValueError, match="same questions"):
        comparison([ablation("full", {"a": [1, 1]}), ablation("other", {"a": [1]})])


def test_the_page_needs_the_full_recipe_and_is_written_from_files(tmp_path):
    ablations.write(ablation("alone", {"a": [1, 1]}), tmp_path)
    with pytest.raises(ReetError, match="full.json"):
        ablations.page(tmp_path)
    ablations.write(ablation("full", {"a": [1, 0]}), tmp_path)
    text = ablations.page(tmp_path)
    assert "900 tokens of 3 contexts" in text and "x-dev 1 texts with 2 questions" in text
    assert text.index("`full`") < text.index("`alone`")
    (tmp_path / "about.md").write_text("The code as it was in spring.\n")
    assert "# Ablations of the scorer\n\nThe code as it was in spring.\n\nMade by" in ablations.page(tmp_path)
    assert cells(text, "alone")[2].startswith("+.500")


def test_a_written_ablation_is_read_back_and_another_schema_refused(tmp_path):
    one = ablation("full", {"a": [1, 0.25], "b": []}, {"a": [0, 1], "b": []}, overrides={"labels": "single"})
    file = ablations.write(one, tmp_path)
    assert ablations.read(file) == one
    assert [path.name for path in tmp_path.iterdir()] == ["full.json"]
    file.write_text(json.dumps({**json.loads(file.read_text()), "schema_version": 0}))
    with pytest.raises(ReetError, match="schema_version"):
        ablations.read(file)


def test_the_report_writes_the_page_of_ablations_beside_them(tmp_path, monkeypatch):
    root, folder = tmp_path / "project", Path("eval") / "results" / "ablations" / "study"
    (root / folder).mkdir(parents=True)
    for name in ("README.md", "model_cards", "reet", "train", "eval/baselines", "eval/readers"):
        (root / name).symlink_to(ROOT / name)
    results = folder.parent.parent
    for path in (ROOT / results).iterdir():
        system = path.name.partition("--")[0]
        if path.name != folder.parent.name and (system == path.name or system in ("full", "reet", "bm25")):
            (root / results / path.name).symlink_to(path)
    ablations.write(ablation("full", {"a": [1, 0]}), root / folder)
    for drawn in ("by_turn", "by_budget"):
        monkeypatch.setattr(report.plots, drawn, lambda *arguments, **options: None)
    written = report.write(root, tmp_path / "target")
    assert tmp_path / "target" / folder / "README.md" in written
    assert (tmp_path / "target" / folder / "README.md").read_text() == ablations.page(root / folder)
