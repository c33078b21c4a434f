"""Chances: the fit, the error, and what `threshold` does with them."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import city_rows

from eval import calibration
from reet_hf import ReetConfig, ReetError
from reet_hf.metrics import expected_calibration_error
from reet_hf.training.calibration import Outcomes, fit_scaling, sentence_chances
from train.calibrate import main as calibrate

TEXT = (
    "Ann Lee lives in Oslo. Her visa expires on 3 June 2024, so she must renew it. The order AB-12 costs $87.50. "
    "Nobody called the office about either of them. Her cat is called Tibbles."
)
QUERY = "When does the visa expire?"


def test_the_error_is_the_mean_gap_between_chance_and_share():
    assert expected_calibration_error([0.9, 0.9, 0.1, 0.1], [1, 1, 0, 0]) == pytest.approx(0.1)
    assert expected_calibration_error([0.5, 0.5], [1, 0]) == 0.0
    assert expected_calibration_error([1.0, 0.0], [0, 1]) == 1.0
    assert expected_calibration_error([], []) == 0.0
    assert expected_calibration_error([0.2, 0.8], [1, 0], bins=1) == pytest.approx(0.0)
    with pytest.raises(ReetError, match="`outcomes` must have one value a chance, got 1 for 2"):
        expected_calibration_error([0.5, 0.5], [1])


def drawn(scale: float, shift: float, seed: int, sentences: int = 4000) -> Outcomes:
    """Sentences of three tokens whose chance is that of scaled and shifted logits."""
    chooser = np.random.default_rng(seed)
    logits = np.repeat(chooser.normal(0, 2, sentences), 3)
    numbers = np.repeat(np.arange(sentences), 3)
    chances = 1 / (1 + np.exp(-(scale * logits[::3] + shift)))
    return Outcomes(logits, numbers, chooser.random(sentences) < chances)


def test_the_fit_finds_the_scale_and_shift_that_made_the_outcomes():
    found = drawn(0.5, -1.0, seed=1)
    scale, shift = fit_scaling({"one": [found]})
    assert (scale, shift) == pytest.approx((0.5, -1.0), abs=0.1)
    before = expected_calibration_error(sentence_chances(found, 1.0, 0.0).tolist(), found.needed.tolist())
    after = expected_calibration_error(sentence_chances(found, scale, shift).tolist(), found.needed.tolist())
    assert after < 0.03 < before


def test_every_set_counts_alike_however_large():
    small, large = drawn(1.0, 2.0, seed=2, sentences=500), drawn(1.0, -2.0, seed=3, sentences=8000)
    _, shift = fit_scaling({"small": [small], "large": [large]})
    assert abs(shift) < 0.5


def test_a_checkpoint_is_calibrated_and_measured(tiny_folder, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder, folder)
    (folder / "training.json").write_text("{}")
    pq.write_table(pa.Table.from_pylist(city_rows(4)), tmp_path / "cities-train.parquet")
    pq.write_table(pa.Table.from_pylist(city_rows(3)), tmp_path / "cities-dev.parquet")
    calibrate([str(folder), "--data", str(tmp_path), "--files", "cities-train"])
    config = ReetConfig.from_pretrained(folder)
    assert (config.importance_scale, config.importance_shift) != (1.0, 0.0)
    assert (config.prior_scale, config.prior_shift) != (1.0, 0.0)
    assert set(json.loads((folder / "training.json").read_text())["calibration"]["data_fingerprint"]) == {
        "cities-train"
    }

    errors = {}
    for model in (tiny_folder, folder):
        calibration.main(["--model", str(model), "--data", str(tmp_path), "--output", str(tmp_path / "out")])
        record = json.loads((tmp_path / "out" / f"{model.name}.json").read_text())
        errors[model] = calibration.pooled(record["kinds"]["importance"])
    assert errors[folder] < errors[tiny_folder]
    lines = calibration.page(tmp_path / "out").splitlines()
    assert len(lines) == 6 and all(line.count("|") == lines[0].count("|") for line in lines)


def test_sets_count_alike_in_the_pooled_error():
    sets = {
        "a": {"sentences": 10, "bins": [[0.5, 1.0, 10]]},
        "b": {"sentences": 1000, "bins": [[0.5, 0.0, 1000]]},
    }
    assert calibration.pooled(sets) == 0.0
    assert calibration.pooled({"a": sets["a"]}) == 0.5


@pytest.mark.parametrize("query", [QUERY, None])
def test_a_threshold_keeps_what_is_likely_enough(compress, query):
    inputs = {"context": TEXT, "query": query}
    scored = [piece["importance"] for piece in compress(inputs, budget=1.0, unit="sentence")["pieces"]]
    border = sorted(scored)[len(scored) // 2]
    out = compress(inputs, threshold=border, unit="sentence")
    assert [piece["importance"] for piece in out["pieces"]] == [chance for chance in scored if chance >= border]
    assert compress(inputs, threshold=0.0)["text"] == compress(inputs, budget=1.0)["text"] == TEXT


def test_a_threshold_nobody_reaches_keeps_what_is_protected(compress):
    assert compress(TEXT, threshold=1.0)["text"] == ""
    assert compress(TEXT, threshold=1.0, protect=[r"AB-\d+"])["text"] == "AB-12"


def test_a_threshold_stays_within_a_budget(compress):
    out = compress({"context": TEXT, "query": QUERY}, threshold=0.0, budget=12, unit="sentence")
    assert 0 < out["tokens"]["compressed"] <= 12


@pytest.mark.parametrize("threshold", [-0.1, 1.1, "high", True, float("nan")])
def test_a_threshold_that_is_no_chance_is_refused(compress, threshold):
    with pytest.raises(ReetError, match="`threshold` must be a chance between 0 and 1"):
        compress(TEXT, threshold=threshold)
