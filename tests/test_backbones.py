"""Encoders beside BERT, with random weights of their classes: the recipes run, the pipeline takes what they make."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from conftest import ROOT, city_rows
from transformers import AutoModel, DebertaV2Config, ModernBertConfig, PreTrainedConfig, pipeline

from reet_hf import ReetForCompression
from reet_hf.training.distillation import keep_layers
from train.train_scorer import main

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}


def modernbert(vocabulary: int) -> PreTrainedConfig:
    special = {"cls_token_id": 1, "sep_token_id": 2, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    return ModernBertConfig(vocab_size=vocabulary, **SIZES, **special, global_attn_every_n_layers=2, local_attention=16)


def deberta(vocabulary: int) -> PreTrainedConfig:
    relative = {"relative_attention": True, "position_buckets": 8, "norm_rel_ebd": "layer_norm", "share_att_key": True}
    return DebertaV2Config(
        vocab_size=vocabulary,
        **SIZES,
        **relative,
        pos_att_type=["p2c", "c2p"],
        position_biased_input=False,
        type_vocab_size=0,
    )


BACKBONES = {"reet-modernbert": modernbert, "reet-deberta": deberta}


@pytest.fixture(scope="module", params=BACKBONES)
def trained(request, tokenizer, tmp_path_factory) -> Path:
    """What a recipe makes of a random encoder, with fewer and smaller steps."""
    folder = tmp_path_factory.mktemp(request.param)
    torch.manual_seed(0)
    AutoModel.from_config(BACKBONES[request.param](len(tokenizer))).save_pretrained(folder / "encoder")
    tokenizer.save_pretrained(folder / "encoder")
    pq.write_table(pa.Table.from_pylist(city_rows(6)), folder / "cities-train.parquet")
    recipe = yaml.safe_load((ROOT / "train" / "recipes" / f"{request.param}.yaml").read_text(encoding="utf-8"))
    recipe |= {
        "mixture": {"cities-train": 1},
        "evaluation": {"cities-train": 1},
        "max_steps": 2,
        "warmup_steps": 0,
        "learning_rate": 1e-2,
        "gradient_accumulation_steps": 1,
        "bf16": False,
        "use_cpu": True,
        "output_dir": str(folder / "run"),
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    argv = [str(folder / "recipe.yaml"), "--data", str(folder), "--encoder", str(folder / "encoder")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["train/train_scorer.py", *argv])
        main(argv)
    return folder / "run"


def test_what_a_recipe_makes_compresses(trained):
    compress = pipeline("reet-compression", model=str(trained))
    text = "the visa expires in june. the order is in rome. when does the visa expires? " * 4
    out = compress({"context": text, "query": "where is the order?"}, budget=0.4)
    assert 0 < out["tokens"]["compressed"] <= out["tokens"]["budget"]
    assert all(text[piece["start"] : piece["end"]] in out["text"] for piece in out["pieces"])


def test_only_the_word_embeddings_are_frozen_by_a_recipe(trained):
    """The relative positions of DeBERTa are trained though their name says embeddings."""
    start = dict(AutoModel.from_pretrained(trained.parent / "encoder").named_parameters())
    model = ReetForCompression.from_pretrained(trained, dtype=torch.float32)
    named = model.reet.encoder.named_parameters()
    same = {name for name, parameter in named if torch.equal(parameter, start[name].half().float())}
    words = {name for name in start if "word_embeddings" in name or "tok_embeddings" in name}
    assert words <= same
    assert not {name for name in same if "weight" in name and "embeddings" not in name}


def test_half_of_the_layers_still_read(trained):
    model = ReetForCompression.from_pretrained(trained, dtype=torch.float32).eval()
    smaller = keep_layers(model, [1])
    ids = torch.tensor([[1, 5, 6, 7, 2]])
    states = smaller.reet(ids, torch.ones_like(ids)).token_states
    assert states.shape == (1, 5, SIZES["hidden_size"])
    assert sum(p.numel() for p in smaller.parameters()) < sum(p.numel() for p in model.parameters())
    assert model.config.encoder.num_hidden_layers == 2
