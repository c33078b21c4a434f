"""The mean of two checkpoints."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from conftest import make_config

from reet_hf import ReetError, ReetForCompression
from train.average import main


@pytest.fixture
def stages(tiny_folder, tmp_path):
    """Folders of a later stage and of what it was trained from."""
    first, later = tmp_path / "first", tmp_path / "later"
    shutil.copytree(tiny_folder, first)
    shutil.copytree(tiny_folder, later)
    model = ReetForCompression.from_pretrained(first)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight))
    model.save_pretrained(later)
    (later / "training.json").write_text(json.dumps({"seed": 4, "initial": {"seed": 3}}))
    return later, first


@pytest.mark.parametrize("share", [0.5, 0.25])
def test_every_weight_is_the_mean_and_the_record_says_so(stages, tmp_path, share):
    main([*map(str, stages), "--output", str(tmp_path / "mean"), "--share", str(share)])
    later, first, mean = (
        ReetForCompression.from_pretrained(folder, dtype=torch.float32).state_dict()
        for folder in (*stages, tmp_path / "mean")
    )
    for name, weight in mean.items():
        assert torch.allclose(weight, share * later[name] + (1 - share) * first[name], rtol=1e-3, atol=1e-3), name
    record = json.loads((tmp_path / "mean" / "training.json").read_text())
    assert record["seed"] == 4 and record["initial"] == {"seed": 3} and record["average"]["share"] == share


def test_what_cannot_be_averaged_is_refused(stages, tmp_path, tokenizer):
    with pytest.raises(ReetError, match="`share` must be between 0 and 1, got 1.5"):
        main([*map(str, stages), "--output", str(tmp_path / "mean"), "--share", "1.5"])
    torch.manual_seed(0)
    ReetForCompression(make_config(len(tokenizer), unit_dim=8)).save_pretrained(stages[1])
    with pytest.raises(ReetError, match="must have the same weights, these differ: scorer.prior_in"):
        main([*map(str, stages), "--output", str(tmp_path / "mean")])
    assert not (tmp_path / "mean").exists()
