"""One folder serves both users: those with the package, and those who load its code with `trust_remote_code`."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest
from transformers import AutoConfig, AutoModel, AutoModelForTokenClassification, pipeline

from reet_hf import ReetCompressionPipeline, ReetConfig, ReetError, ReetForCompression, ReetModel
from reet_hf.hub.bundle import PACKAGE, REMOTE_CODE, build_bundle, flat_source, requirements, travelling_modules

REQUEST = {
    "messages": [
        {"role": "user", "content": "The order is in. The visa expires in June: see order 7."},
        {"role": "assistant", "content": "A b c, d e f. The order, the visa. When does the order expire?"},
    ],
    "query": "When does the visa expire?",
}
OPTIONS = {"budget": 0.6, "unit": "sentence"}

WITHOUT_PACKAGE = """
import importlib.util, json, sys
sys.modules["reet_hf"] = None  # an import fails, wherever the package may be installed
assert importlib.util.find_spec("reet_hf") is None
from transformers import AutoConfig, AutoModel, AutoModelForTokenClassification, AutoTokenizer, pipeline

folder, request, options, answer, saved = sys.argv[1:]
trust = {"trust_remote_code": True}
compress = pipeline("reet-compression", model=folder, **trust)
model = AutoModel.from_pretrained(folder, **trust).eval()
tokens = AutoTokenizer.from_pretrained(folder, **trust)("the visa", return_tensors="pt")
scorer = AutoModelForTokenClassification.from_pretrained(folder, **trust)
scorer.save_pretrained(saved)
classes = [AutoConfig.from_pretrained(folder, **trust), model, scorer, compress]
with open(answer, "w") as file:
    json.dump(
        {
            "classes": [type(item).__name__ for item in classes],
            "modules": [type(item).__module__.split(".")[0] for item in classes],
            "states": model(tokens["input_ids"]).token_states[0].tolist(),
            "result": compress(json.loads(request), **json.loads(options)),
            "imported": sorted(name for name, module in sys.modules.items() if name.startswith("reet_hf") and module),
        },
        file,
    )
"""


@pytest.fixture(scope="module")
def bundle(tiny_folder, tmp_path_factory) -> Path:
    return build_bundle(tiny_folder, tmp_path_factory.mktemp("hub") / "tiny-bundle")


def as_downloaded(bundle: Path, cache: Path) -> str:
    """The id under which the Hub's cache on this machine knows the folder."""
    repository, revision = cache / "models--reet--tiny-bundle", "0" * 40
    shutil.copytree(bundle, repository / "snapshots" / revision)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(revision)
    return "reet/tiny-bundle"


@pytest.fixture(scope="module", params=["folder", "hub"])
def remote(request, bundle, tmp_path_factory) -> dict:
    """What a process sees that has the folder, or has downloaded the repository, but not the package."""
    place = tmp_path_factory.mktemp("elsewhere")
    model = str(bundle) if request.param == "folder" else as_downloaded(bundle, place / "cache")
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME")}
    environment |= {"HF_HUB_CACHE": str(place / "cache"), "HF_MODULES_CACHE": str(place / "modules")}
    environment |= {"HF_HUB_OFFLINE": "1"}
    arguments = [model, json.dumps(REQUEST), json.dumps(OPTIONS), str(place / "answer.json"), str(place / "saved")]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_PACKAGE, *arguments],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return {**json.loads((place / "answer.json").read_text()), "saved": place / "saved"}


def places(result: dict) -> list[tuple[int, int, int]]:
    return [(piece["message"], piece["start"], piece["end"]) for piece in result["pieces"]]


def test_without_the_package_the_code_of_the_folder_runs(remote):
    assert remote["classes"] == ["ReetConfig", "ReetModel", "ReetForCompression", "ReetCompressionPipeline"]
    assert set(remote["modules"]) == {"transformers_modules"}
    assert remote["imported"] == []


def test_both_users_get_the_same_result(remote, compress, tiny_model, tokenizer):
    ours, theirs = compress(REQUEST, **OPTIONS), remote["result"]
    assert ours["pieces"], "the request must keep something for the comparison to mean anything"
    assert places(ours) == places(theirs)
    assert [piece["importance"] for piece in theirs["pieces"]] == pytest.approx(
        [piece["importance"] for piece in ours["pieces"]], abs=1e-5
    )
    assert {key: ours[key] for key in ours if key != "pieces"} == {k: v for k, v in theirs.items() if k != "pieces"}
    states = tiny_model.reet(tokenizer("the visa", return_tensors="pt")["input_ids"]).token_states[0]
    assert sum(remote["states"], []) == pytest.approx(states.flatten().tolist(), abs=1e-5)


def test_a_model_loaded_without_the_package_saves_its_code_again(remote):
    files = {path.name for path in remote["saved"].iterdir()}
    assert {"configuration_reet.py", "modeling_reet.py", "turn_head.py"} <= files


@pytest.mark.parametrize("trust", [None, True])
def test_with_the_package_its_own_classes_load_without_trust(bundle, compress, trust):
    loaded = pipeline("reet-compression", model=str(bundle), trust_remote_code=trust)
    assert type(loaded) is ReetCompressionPipeline
    assert type(loaded.model) is ReetForCompression
    assert loaded(REQUEST, **OPTIONS) == compress(REQUEST, **OPTIONS)
    assert type(AutoModel.from_pretrained(bundle, trust_remote_code=trust)) is ReetModel
    scorer = AutoModelForTokenClassification.from_pretrained(bundle, trust_remote_code=trust)
    assert type(scorer) is ReetForCompression


def test_a_local_configuration_neither_shows_nor_saves_the_remote_code(bundle, tmp_path):
    assert REMOTE_CODE.keys() <= json.loads((bundle / "config.json").read_text()).keys()
    config = AutoConfig.from_pretrained(bundle)
    assert type(config) is ReetConfig
    config.save_pretrained(tmp_path)
    assert not REMOTE_CODE.keys() & json.loads((tmp_path / "config.json").read_text()).keys()


def test_the_folder_holds_what_is_needed_and_nothing_else(tiny_folder, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for path in tiny_folder.iterdir():
        (source / path.name).write_bytes(path.read_bytes())
    (source / "README.md").write_text("card")
    (source / "training_args.bin").write_text("pickled")
    (source / "checkpoint-1").mkdir()
    (source / ".eval_results").mkdir()
    (source / ".eval_results" / "own.yaml").write_text("- value: 1\n")
    (source / ".eval_results" / "notes.txt").touch()
    bundle = build_bundle(source, tmp_path / "bundle")
    names = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}
    assert {"README.md", "model.safetensors", "tokenizer.json", "config.json", ".eval_results/own.yaml"} <= names
    assert not {"training_args.bin", "checkpoint-1", "__init__.py", ".eval_results/notes.txt"} & names
    assert "Apache License" in (bundle / "LICENSE").read_text(encoding="utf-8")  # of the code
    assert {path.name for path in bundle.glob("*.py")} == set(travelling_modules())
    again = build_bundle(bundle, tmp_path / "again")
    assert all((again / name).read_bytes() == (bundle / name).read_bytes() for name in names)


def test_every_name_in_the_configuration_is_a_class_that_travels():
    modules = travelling_modules()
    references = [*REMOTE_CODE["auto_map"].values()]
    references += [task["impl"] for task in REMOTE_CODE["custom_pipelines"].values()]
    for reference in references:
        module, name = reference.split(".")
        assert f"class {name}(" in modules[f"{module}.py"].read_text(encoding="utf-8")


def test_requirements_are_dependencies_of_the_package_by_the_names_that_pip_knows():
    found = requirements()
    assert {"torch", "transformers", "numpy", "regex", "markdown-it-py"} <= set(found)
    required = [line for line in distribution("reet-hf").requires or [] if "extra ==" not in line]
    assert set(found) <= {re.split(r"[^\w.-]", line)[0] for line in required}


def test_an_import_that_no_dependency_brings_is_named(tmp_path):
    package = make_package(tmp_path, errors="import pytest\n\nclass Wrong(ValueError): ...\n")
    with pytest.raises(ReetError, match="errors.py imports pytest, which no dependency"):
        requirements(package)


@pytest.mark.parametrize("problem", ["source", "type", "target"])
def test_folders_that_cannot_be_used_are_refused(problem, tiny_folder, tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    if problem != "source":
        for path in tiny_folder.iterdir():
            (source / path.name).write_bytes(path.read_bytes())
    if problem == "type":
        (source / "config.json").write_text('{"model_type": "bert"}')
    if problem == "target":
        target.mkdir()
        (target / "notes.txt").write_text("mine")
    with pytest.raises(ReetError, match=f"`{'target' if problem == 'target' else 'source'}` must"):
        build_bundle(source, target)
    assert problem == "target" or not target.exists()


# Synthetic packages: every way of importing, and every way in which a module cannot travel.


def make_package(folder: Path, **changed: str) -> Path:
    """A package `pack` whose pipeline imports in every form, with some modules replaced."""
    modules = {
        "errors": "class Wrong(ValueError): ...\n",
        "words": "from .errors import Wrong\n",
        "modeling/configuration_reet": "import json\n",
        "modeling/modeling_reet": "from .configuration_reet import json\n",
        "pipelines/compression_pipeline": (
            "from ..scoring.scorer import (\n    Scorer,\n    pool,\n)\nfrom ..modeling import modeling_reet as model\n"
            "from .. import errors\n\ndef later():\n    from ..words import Wrong\n    return Wrong, errors, model\n"
        ),
        "scoring/scorer": "from ..errors import Wrong as Scorer\npool = 1\n",
    } | {name.replace("__", "/"): text for name, text in changed.items()}
    package = folder / "pack"
    for name, text in modules.items():
        path = package / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "__init__.py").touch()
        path.write_text(text)
    return package


def test_every_form_of_import_becomes_a_flat_one(tmp_path, tiny_folder):
    package = make_package(tmp_path)
    names = [
        "compression_pipeline.py",
        "configuration_reet.py",
        "errors.py",
        "modeling_reet.py",
        "scorer.py",
        "words.py",
    ]
    assert list(travelling_modules(package)) == names
    assert requirements(package) == []
    bundle = build_bundle(tiny_folder, tmp_path / "flat", package=package)
    (bundle / "__init__.py").touch()
    code = "from flat import compression_pipeline as c; print([x.__name__ for x in c.later()], c.pool, c.Scorer)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "['Wrong', 'flat.errors', 'flat.modeling_reet'] 1 <class 'flat.errors.Wrong'>\n"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"scoring__scorer": "from ..extraction.scorer import y\n", "extraction__scorer": "y = 1\n"}, "extraction/sc"),
        ({"words": "from . import Wrong\n"}, "words.py, line 1 imports Wrong from a package"),
        ({"words": "from pack.errors import Wrong\n"}, "words.py, line 1 imports pack by its name"),
        ({"words": "import pack.errors\n"}, "words.py, line 1 imports pack by its name"),
        ({"words": "from ...other import x\n"}, "words.py, line 1"),
        ({"words": "from .requests import x\n", "requests": "x = 1\n"}, "import requests.py as 'requests'; rename it"),
        ({"words": "from .onnx import x\n", "onnx": "x = 1\n"}, "import onnx.py as 'onnx'"),
        ({"words": "from .queue import x\n", "queue": "x = 1\n"}, "import queue.py as 'queue'"),
        ({"words": "from .compression import x\n", "compression": "x = 1\n"}, "import compression.py as"),
        ({"words": '"""A docstring:\nfrom .nowhere import x\n"""\nWrong = 1\n'}, "words.py: transformers sees"),
    ],
)
def test_what_cannot_travel_is_named(tmp_path, tiny_folder, changed, message):
    package = make_package(tmp_path, **changed)
    with pytest.raises(ReetError, match=message):
        build_bundle(tiny_folder, tmp_path / "flat", package=package)


def test_the_error_of_a_shared_name_names_both_files(tmp_path):
    package = make_package(tmp_path, words="from .scoring.errors import Wrong\n", scoring__errors="Wrong = 1\n")
    with pytest.raises(ReetError) as caught:
        travelling_modules(package)
    assert "scoring/errors.py" in str(caught.value) and " errors.py" in str(caught.value)


def test_flat_source_changes_nothing_but_imports():
    for path in travelling_modules(PACKAGE).values():
        before, after = path.read_text(encoding="utf-8").splitlines(), flat_source(path).splitlines()
        changed = [line for line in before if line not in after]
        assert all(line.startswith("from .") for line in changed)
