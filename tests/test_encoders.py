"""What reads windows: every backend answers as PyTorch does, whatever is read beside a window, from its own export."""

from __future__ import annotations

import copy
import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SIZES
from test_backbones import BACKBONES
from transformers import BertConfig, BertModel, pipeline

from reet_hf import ReetConfig, ReetForCompression
from reet_hf.encoders import BACKENDS, exports, make_encoder
from reet_hf.encoders import export as export_encoder
from reet_hf.encoders.fused import one_kernel, whole_products
from reet_hf.encoders.grouping import BATCH, STEP, padded_length, read_grouped
from reet_hf.encoders.packed import PackedEncoder
from reet_hf.errors import ReetError
from reet_hf.modeling.modeling_reet import ReetModel
from reet_hf.modeling.processor import rounded_rows

NEEDS = {"onnx": ("onnx", "onnxruntime", "onnxscript"), "openvino": ("openvino",)}
LENGTHS = (5, 40, 40, 256, 17, 250, 241, 100, 3)
MESSAGES = [
    {"role": "user", "content": "I booked flight LH 432 to Oslo for 14 May. Is breakfast included in the fare?"},
    {"role": "assistant", "content": "Your fare has hand luggage only. Breakfast costs 12 euros and is paid on board."},
    {"role": "user", "content": "Please note that my passport number is C01X00T47 and that it expires in June 2027."},
    {"role": "assistant", "content": "I have noted your passport. The visa for Norway takes ten days. It is sunny."},
]
QUESTION = "When does my passport expire?"


def exported_backends() -> list:
    """Each backend that needs other libraries, skipped where they are missing."""
    found = []
    for name, libraries in NEEDS.items():
        lacking = [library for library in libraries if importlib.util.find_spec(library) is None]
        skip = pytest.mark.skipif(bool(lacking), reason=f"{', '.join(lacking)} is not installed")
        found.append(pytest.param(name, marks=skip))
    return found


natively = pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="oneDNN has no bfloat16 on this processor"
)
each_backend = pytest.mark.parametrize("backend", exported_backends())


@pytest.fixture(scope="module")
def model(bundled) -> ReetModel:
    return ReetForCompression.from_pretrained(bundled, dtype=torch.float32).eval().reet


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> Path:
    """Where the exports of the bundled weights are kept between tests."""
    return tmp_path_factory.mktemp("exports")


@pytest.fixture(scope="module")
def windows() -> list[list[int]]:
    generator = torch.Generator().manual_seed(0)
    rows = [torch.randint(1000, 20_000, (length - 2,), generator=generator).tolist() for length in LENGTHS]
    return [[101, *row, 102] for row in rows]


@pytest.fixture(scope="module")
def wanted(model, windows) -> list[torch.Tensor]:
    with torch.inference_mode():
        return [model(torch.tensor([window])).token_states[0] for window in windows]


def near(found, wanted) -> float:
    """The least cosine of a state."""
    return torch.nn.functional.cosine_similarity(torch.cat(found), torch.cat(wanted), dim=-1).min().item()


@each_backend
def test_states_are_those_of_the_model(backend, model, kept, windows, wanted):
    found = make_encoder(backend, model, "float32", exports=kept).read(windows)
    assert all(states.dtype == torch.float32 for states in found)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=0)


@each_backend
def test_the_precision_of_its_own_choice_stays_near(backend, model, kept, windows, wanted):
    encoder = make_encoder(backend, model, exports=kept)
    assert encoder.identity.split()[0] == backend and encoder.identity.split()[1] in BACKENDS[backend]
    assert near(encoder.read(windows), wanted) > 0.999


@natively
def test_fewer_operations_stay_as_near_as_all_of_them(model, windows, wanted):
    fused, by_modules = PackedEncoder(model, "bfloat16"), PackedEncoder(model, "bfloat16")
    by_modules.fused = None
    assert fused.fused is not None
    found, plain = fused.read(windows), by_modules.read(windows)
    assert [states.shape for states in found] == [states.shape for states in wanted]
    assert near(found, wanted) > min(0.9995, near(plain, wanted))
    for window, states in zip(windows, found, strict=True):
        assert near(fused.read([window]), [states]) > 0.9995


@pytest.mark.parametrize("within", [whole_products, one_kernel])
def test_attention_is_that_of_the_whole_matrix(within):
    query, key, value = torch.randn(3, 2, 9, 4, generator=torch.Generator().manual_seed(0))
    expected = (query @ key.transpose(1, 2)).softmax(-1) @ value
    torch.testing.assert_close(within(query, key, value), expected)


@natively
def test_what_is_written_out_agrees_for_projections_and_is_for_bert_alone():
    torch.manual_seed(0)
    rows = [torch.randint(3, 60, (length,)).tolist() for length in (5, 33, 17, 60)]
    bert = BertConfig(vocab_size=60, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)
    for backbone in (bert, *(make(60) for make in BACKBONES.values())):
        config = ReetConfig(encoder_config=backbone, **{**SIZES, "window_tokens": 64, "projection_dim": 12})
        model = ReetForCompression(config).eval().reet
        encoder = PackedEncoder(model, "bfloat16")
        assert (encoder.fused is not None) == (type(model.encoder) is BertModel)
        with torch.inference_mode():
            usual = [model(torch.tensor([row])).token_states[0] for row in rows]
        assert near(encoder.read(rows), usual) > 0.99, backbone.model_type
    bert.hidden_act = "relu"
    other = ReetForCompression(ReetConfig(encoder_config=bert, **SIZES)).eval().reet
    assert PackedEncoder(other, "bfloat16").fused is None


def test_where_an_operation_is_missing_modules_read(model, windows, wanted, monkeypatch):
    def missing(*arguments):
        raise NotImplementedError("not on this processor")

    monkeypatch.setattr("reet_hf.encoders.fused.FusedBert.read", missing)
    encoder = PackedEncoder(model, "bfloat16")
    assert encoder.fused is None and near(encoder.read(windows[:3]), wanted[:3]) > 0.999


def test_rows_come_in_few_numbers_and_hardly_more_than_asked():
    asked = range(1, 5000)
    found = [rounded_rows(rows) for rows in asked]
    assert all(rows <= more < rows + max(16, rows / 7) for rows, more in zip(asked, found, strict=True))
    assert len(set(found)) < 60 and found == sorted(found)


@each_backend
def test_states_do_not_depend_on_what_is_read_beside_a_window(backend, model, kept, windows):
    encoder = make_encoder(backend, model, exports=kept)
    together, backwards = encoder.read(windows), encoder.read(windows[::-1])[::-1]
    for window, one, other in zip(windows, together, backwards, strict=True):
        torch.testing.assert_close(one, encoder.read([window])[0], atol=1e-5, rtol=0)
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)
    assert encoder.read([]) == []


@pytest.mark.parametrize("backend", exported_backends()[1:])
@pytest.mark.parametrize(("tiles", "threads", "steady"), [(True, 1, False), (True, 2, True), (False, 1, True)])
def test_openvino_chooses_float32_where_its_bfloat16_is_not_steady(
    backend, tiles, threads, steady, tiny_model, tmp_path, monkeypatch
):
    import openvino

    native = "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    monkeypatch.setattr("reet_hf.encoders.openvino_encoder.multiplies_tiles", lambda: tiles)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    chosen = make_encoder(backend, tiny_model.reet, exports=tmp_path).identity
    assert chosen == f"openvino {'bfloat16' if native and steady else 'float32'}"


@pytest.mark.parametrize("encoder", exported_backends()[:1])
def test_weights_in_eight_bits_are_smaller_and_stay_near(encoder, model, kept, windows, wanted, bundled, tmp_path):
    small = make_encoder(encoder, model, "int8", exports=kept)
    assert small.identity == "onnx int8" and near(small.read(windows), wanted) > 0.999
    make_encoder(encoder, model, "float32", exports=kept)
    sizes = {path.name: path.stat().st_size for path in kept.glob("onnx-*/*.onnx")}
    assert sizes["model_int8.onnx"] < 0.7 * sizes["model.onnx"]
    compress = pipeline(
        "reet-compression", model=str(bundled), device="cpu", backend="onnx", precision="int8", exports=kept
    )
    out = compress({"messages": MESSAGES, "query": QUESTION}, budget=0.4, keep_recent=0)
    assert "June 2027" in out["text"]


@pytest.mark.parametrize("encoder", exported_backends()[:1])
def test_an_export_in_eight_bits_says_nothing_and_leaves_logging_as_it_was(encoder, tiny_folder, tmp_path):
    code = (
        "import logging, sys\n"
        "from reet_hf.encoders import export\n"
        "before = logging.getLogger().level, logging.getLogger().handlers[:]\n"
        "export(sys.argv[1], 'onnx', sys.argv[2], 'int8')\n"
        "assert before == (logging.getLogger().level, logging.getLogger().handlers)\n"
    )
    command = [sys.executable, "-c", code, str(tiny_folder), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "INFO" not in done.stdout + done.stderr


@pytest.mark.parametrize("encoder", exported_backends()[:1])
def test_a_checkpoint_brings_its_export_in_eight_bits(encoder, tiny_model, tiny_folder, tmp_path, monkeypatch):
    (written,) = export_encoder(tiny_folder, encoder, tmp_path, "int8")
    assert written == tmp_path / "onnx" / "model_int8.onnx" and [path.name for path in written.parent.iterdir()] == [
        written.name
    ]
    monkeypatch.setattr(exports, "write", None)
    assert make_encoder(encoder, tiny_model.reet, "int8", tmp_path, tmp_path / "kept").identity == "onnx int8"
    with pytest.raises(ReetError, match="`precision` of an export for openvino must be float32, got 'bfloat16'"):
        export_encoder(tiny_folder, "openvino", tmp_path, "bfloat16")


@each_backend
def test_an_export_is_made_once(backend, model, kept, monkeypatch):
    first = make_encoder(backend, model, "float32", exports=kept)
    before = {path: path.stat().st_mtime_ns for path in kept.glob(f"{backend}-*/*")}

    def never(*args):
        raise AssertionError("an export was made again")

    monkeypatch.setattr(exports, "write", never)
    make_encoder(backend, copy.deepcopy(model), "float32", exports=kept)
    assert before and {path: path.stat().st_mtime_ns for path in kept.glob(f"{backend}-*/*")} == before
    assert first.identity == f"{backend} float32"


@each_backend
def test_a_failed_export_leaves_nothing(backend, tiny_model, tmp_path, monkeypatch):
    monkeypatch.setattr(exports.os, "replace", lambda *names: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        make_encoder(backend, tiny_model.reet, exports=tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".onnx", ".xml", ".bin")]


@each_backend
def test_a_checkpoint_brings_its_export(backend, tiny_model, tokenizer, tmp_path, monkeypatch):
    tiny_model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    files = export_encoder(tmp_path / "model", backend)
    assert all(path.parent == tmp_path / "model" / backend and path.is_file() for path in files)
    with monkeypatch.context() as patch:
        patch.setattr(exports, "write", None)
        encoder = make_encoder(backend, tiny_model.reet, folder=tmp_path / "model", exports=tmp_path / "kept")
    with torch.inference_mode():
        states = tiny_model.reet(torch.tensor([[2, 7, 9, 3]])).token_states[0]
    assert near(encoder.read([[2, 7, 9, 3]]), [states]) > 0.99
    trained = copy.deepcopy(tiny_model.reet)
    with torch.no_grad():
        trained.encoder.embeddings.LayerNorm.bias.add_(0.5)
    with pytest.raises(ReetError, match=f"other weights.*reet export --backend {backend}"):
        make_encoder(backend, trained, folder=tmp_path / "model", exports=tmp_path / "kept")


@each_backend
@pytest.mark.parametrize("backbone", BACKBONES)
def test_other_encoders_are_exported(backend, backbone, tmp_path):
    torch.manual_seed(0)
    config = ReetConfig(encoder_config=BACKBONES[backbone](60), **{**SIZES, "window_tokens": 64})
    model = ReetForCompression(config).eval().reet
    rows = [torch.randint(3, 60, (length,)).tolist() for length in (5, 64, 40)]
    with torch.inference_mode():
        wanted = [model(torch.tensor([row])).token_states[0] for row in rows]
    found = make_encoder(backend, model, "float32", exports=tmp_path).read(rows)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=0)


@each_backend
def test_an_encoder_that_cannot_be_exported_is_named(backend, tiny_model, tmp_path, monkeypatch):
    def stumble(*args, **kwargs):
        raise RuntimeError("no such operator")

    monkeypatch.setattr(exports.TokenStates, "forward", stumble)
    with pytest.raises(ReetError, match="cannot export the encoder BertModel.*backend='torch'"):
        make_encoder(backend, tiny_model.reet, exports=tmp_path)


@each_backend
def test_pipelines_keep_what_they_keep_with_torch(backend, bundled, kept):
    plain = pipeline("reet-compression", model=str(bundled), device="cpu", precision="float32")
    other = pipeline(
        "reet-compression", model=str(bundled), device="cpu", backend=backend, precision="float32", exports=kept
    )
    inputs = {"messages": MESSAGES, "query": QUESTION}
    one, two = (each(inputs, budget=0.4, keep_recent=0) for each in (plain, other))
    assert one["text"] == two["text"] and "June 2027" in two["text"]
    assert plain.compressor.revision != other.compressor.revision

    def extracted(**options):
        extract = pipeline("reet-extraction", model=str(bundled), device="cpu", precision="float32", **options)
        return extract(MESSAGES)

    found = extracted(backend=backend, exports=kept)
    assert found and found == extracted()


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_a_missing_library_is_named_with_its_extra(backend, tiny_model, tmp_path, monkeypatch):
    for library in NEEDS[backend]:
        monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ReetError, match=rf'`backend` {backend!r}.*pip install "reet-hf\[{backend}\]"'):
        make_encoder(backend, tiny_model.reet, exports=tmp_path)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"backend": "tensorrt"}, "`backend` must be one of torch, onnx, openvino, got 'tensorrt'"),
        ({"backend": "onnx", "precision": "bfloat16"}, "'bfloat16'; bfloat16 needs backend='torch' or 'openvino'"),
        (
            {"backend": "openvino", "precision": "int8"},
            "`precision` must be auto or float32, bfloat16 .* got 'int8'; int8 needs backend='onnx'",
        ),
        ({"precision": "half"}, "`precision` must be auto or float32, bfloat16, float16 for backend 'torch'"),
    ],
)
def test_what_is_not_offered_is_refused(options, told, tiny_model, tiny_folder):
    with pytest.raises(ReetError, match=told):
        make_encoder(options.get("backend", "torch"), tiny_model.reet, options.get("precision", "auto"))
    with pytest.raises(ReetError, match=told):
        pipeline("reet-compression", model=str(tiny_folder), device="cpu", **options)


def test_exports_compute_on_the_cpu(tiny_model):
    with pytest.raises(ReetError, match="'meta'; use device='cpu'"):
        make_encoder("onnx", copy.deepcopy(tiny_model.reet).to("meta"))


def test_only_a_folder_can_be_exported_into_itself(tmp_path):
    with pytest.raises(ReetError, match="`output` must name a folder"):
        export_encoder("reet/none", "onnx")
    with pytest.raises(ReetError, match="`backend` must be onnx or openvino"):
        export_encoder(tmp_path, "torch")


def test_fingerprints_tell_weights_apart_and_nothing_else(tiny_model):
    before = exports.fingerprint(tiny_model.reet)
    changed = copy.deepcopy(tiny_model.reet)
    assert exports.fingerprint(changed) == before
    with torch.no_grad():
        next(changed.parameters()).view(-1)[-1] += 1e-3
    assert exports.fingerprint(changed) != before


def test_windows_of_one_padded_length_are_read_together():
    seen = []

    def run(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        seen.append((ids.shape, mask.sum(1).tolist()))
        assert ((ids == 9) == (mask == 0)).all()
        return np.repeat(ids[..., None], 2, -1).astype(np.float32)

    lengths = [3, STEP, STEP + 1, 30, 2, *[STEP] * BATCH]
    rows = [[number % 8] * length for number, length in enumerate(lengths)]
    found = read_grouped(run, rows, 30, 9)
    assert [states[:, 0].tolist() for states in found] == rows
    assert [shape for shape, _ in seen] == [(BATCH, STEP), (3, STEP), (2, 30)]


@pytest.mark.parametrize(
    ("tokens", "longest", "padded"), [(1, 256, STEP), (STEP, 256, STEP), (250, 256, 256), (250, 251, 251), (60, 40, 60)]
)
def test_padding_goes_to_a_step_but_not_beyond_the_longest_window(tokens, longest, padded):
    assert padded_length(tokens, longest) == padded
