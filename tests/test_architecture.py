"""Imports point one way, and some things stand nowhere in the project; every rule is shown to fail on a bad tree."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from transformers import PreTrainedConfig

from reet_hf import ReetConfig

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "reet_hf"
SCRIPTS = ("train", "eval", "spaces", "examples")

# A module may import those of lower rank. What is not named here is a stage if it is a module, a family if a folder.
LAYERS = (
    ("errors", "uncollected"),
    ("records",),
    ("stage", "modeling"),
    ("encoders",),
    ("family",),
    ("compressor",),
    ("pipelines", "hub"),
    ("training",),
    ("registration",),
    ("many",),
    ("integrations",),
    ("serving",),
    ("__init__",),
    ("cli",),
    ("__main__",),
)
RANKS = {part: number for number, layer in enumerate(LAYERS) for part in layer}
MODELS = ("torch", "transformers", "sentence_transformers", "gliner")  # what a stage must work without
MACHINE_PATH = re.compile(r"(?<![\w.~:/-])/(?:work|home|root|Users|mnt|private)/\w|\b[A-Za-z]:\\Users\\")
PASSED_OVER = re.compile(r"^(?:\.git|\.?venv|\..+_cache|\.hypothesis|__pycache__|.+\.egg-info|dist|build|.+-run)$")

CONFIG_KEYS = {"dropout", "encoder_config", "history_turns", "history_tokens", "projection_dim", "query_tokens"}
CONFIG_KEYS |= {
    "lexical_match",
    "neighbours",
    "entity_gate",
    "interaction",
    "token_dim",
    "unit_dim",
    "window_tokens",
}
CONFIG_KEYS |= {"extraction", "extraction_dim", "span_dim", "entity_words", "fact_words", "channels", "fact_kinds"}
CONFIG_KEYS |= {"importance_scale", "importance_shift", "prior_scale", "prior_shift"}

Import = tuple[str, bool]  # dotted name of a module, whether it is imported when the importing one is


def python_files(root: Path, *folders: str) -> dict[str, Path]:
    """Dotted name to file of every module below the folders."""
    found = {}
    for folder in folders:
        for path in sorted((root / folder).rglob("*.py")):
            if not any(PASSED_OVER.match(part) for part in path.relative_to(root).parts):
                parts = path.relative_to(root).with_suffix("").parts
                found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(name: str, path: Path, modules: dict[str, Path]) -> set[Import]:
    """What a module imports, by dotted name; of the project the module, of others the package."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    parents = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef) or _for_types(n)]
    later = {node for parent in parents for node in ast.walk(parent)}
    found: set[Import] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {(alias.name, node not in later) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *(node.module or "").split(".")]).strip(".")
            for alias in node.names:
                submodule = f"{origin}.{alias.name}"
                found.add((submodule if submodule in modules else origin, node not in later))
    return found


def _for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def home(name: str) -> str:
    """The part of the package that a module belongs to: a folder, or the module itself."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def rank(name: str, modules: dict[str, Path]) -> int:
    """The place of a module in the one direction of imports."""
    file = modules.get(f"{PACKAGE}.{home(name)}")
    return RANKS.get(home(name), RANKS["family" if file and file.name == "__init__.py" else "stage"])


def against_the_arrows(root: Path) -> Iterator[str]:
    """Imports of a higher part, of another part of the same rank, of scripts, and by what travels of anything else."""
    modules = python_files(root, PACKAGE, *SCRIPTS)
    for name, path in modules.items():
        for target, _ in imports(name, path, modules):
            top = target.split(".")[0]
            if not name.startswith(PACKAGE) or top not in (PACKAGE, *SCRIPTS):
                continue
            mine, theirs = 0 if home(name) == "modeling" else rank(name, modules), rank(target, modules)
            stages = mine == theirs == RANKS["stage"] and home(target) != "modeling"
            if top in SCRIPTS or (home(name) != home(target) and theirs >= mine and not stages):
                yield f"{name} imports {target}"


def heavy_stages(root: Path) -> Iterator[str]:
    """Errors, records and stages that import torch or transformers when they are imported."""
    modules = python_files(root, PACKAGE)
    for name, path in modules.items():
        if rank(name, modules) <= RANKS["stage"] and home(name) != "modeling":
            for target, at_once in imports(name, path, modules):
                if at_once and target.split(".")[0] in MODELS:
                    yield f"{name} imports {target}"


def cycles(root: Path) -> Iterator[str]:
    """Modules that import themselves over others."""
    modules = python_files(root, PACKAGE, *SCRIPTS)
    graph = {n: {t for t, _ in imports(n, path, modules) if t in modules and t != n} for n, path in modules.items()}
    while leaves := [name for name, targets in graph.items() if not targets & graph.keys()]:
        for name in leaves:
            del graph[name]
    imported = {target for targets in graph.values() for target in targets}
    yield from sorted(graph.keys() & imported)


def forbidden_code(root: Path) -> Iterator[str]:
    """`assert` as a check, bare `except`, and an environment read by anything but a script."""
    for name, path in python_files(root, PACKAGE, *SCRIPTS).items():
        script = not name.startswith(PACKAGE) or home(name) in ("cli", "__main__")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            attribute = node.attr if isinstance(node, ast.Attribute) else ""
            names = [alias.name for alias in node.names] if isinstance(node, ast.ImportFrom) else []
            if isinstance(node, ast.Assert):
                yield f"{name}, line {node.lineno}: assert"
            elif isinstance(node, ast.ExceptHandler) and node.type is None:
                yield f"{name}, line {node.lineno}: bare except"
            elif not script and ({attribute, *names} & {"environ", "environb", "getenv"}):
                yield f"{name}, line {node.lineno}: reads the environment"


def machine_paths(root: Path) -> Iterator[str]:
    """Text files with a path that exists on one machine only."""
    for path in sorted(root.rglob("*")):
        parts = path.relative_to(root).parts
        if any(PASSED_OVER.match(part) for part in parts) or not path.is_file():
            continue
        data = path.read_bytes()
        if b"\0" not in data[:8192]:
            for number, line in enumerate(data.decode("utf-8", errors="replace").splitlines(), start=1):
                if MACHINE_PATH.search(line):
                    yield f"{'/'.join(parts)}, line {number}"


RULES = (against_the_arrows, heavy_stages, cycles, forbidden_code, machine_paths)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_project_keeps_the_rule(rule):
    assert list(rule(ROOT)) == []


GOOD = {
    "reet_hf/__init__.py": "from .registration import register\n",
    "reet_hf/errors.py": "",
    "reet_hf/records.py": "from .errors import E\n",
    "reet_hf/selection.py": "from . import budget\nfrom .records import Span\n",
    "reet_hf/budget.py": "from .records import Span\ndef f():\n    import torch\n",
    "reet_hf/modeling/__init__.py": "",
    "reet_hf/modeling/head.py": "import torch\n",
    "reet_hf/modeling/model.py": "from .head import Head\n",
    "reet_hf/scoring/__init__.py": "",
    "reet_hf/scoring/scorer.py": "import torch\nfrom ..modeling.head import Head\nfrom .labels import x\n",
    "reet_hf/scoring/labels.py": "from ..budget import b\n",
    "reet_hf/extraction/__init__.py": "",
    "reet_hf/compressor.py": "from .scoring.scorer import S\n",
    "reet_hf/pipelines/__init__.py": "",
    "reet_hf/pipelines/compression.py": "from ..compressor import C\n",
    "reet_hf/hub/__init__.py": "",
    "reet_hf/hub/cards.py": "from ..errors import E\n",
    "reet_hf/registration.py": "from .pipelines.compression import P\n",
    "reet_hf/cli.py": "import os\nimport reet_hf\nprint(os.environ)\n",
    "train/run.py": "import os\nfrom reet_hf import register\nprint(os.getenv('X'))\n",
    "README.md": "See https://site.org/home/page and ./work/x, or /usr/bin/env.\n",
}

BAD = [
    (against_the_arrows, "reet_hf/errors.py", "from .records import Span\n"),
    (against_the_arrows, "reet_hf/records.py", "from .budget import b\n"),
    (against_the_arrows, "reet_hf/selection.py", "from .scoring import labels\n"),
    (against_the_arrows, "reet_hf/selection.py", "from .modeling.head import Head\n"),
    (against_the_arrows, "reet_hf/selection.py", "def f():\n    from .compressor import C\n"),
    (against_the_arrows, "reet_hf/extraction/labels.py", "from ..scoring.labels import x\n"),
    (against_the_arrows, "reet_hf/extraction/labels.py", "import reet_hf.compressor\n"),
    (against_the_arrows, "reet_hf/compressor.py", "from .pipelines.compression import P\n"),
    (against_the_arrows, "reet_hf/hub/cards.py", "from ..pipelines import compression\n"),
    (against_the_arrows, "reet_hf/hub/cards.py", "from .. import registration\n"),
    (against_the_arrows, "reet_hf/hub/cards.py", "from .. import __version__\n"),
    (against_the_arrows, "reet_hf/registration.py", "from reet_hf import cli\n"),
    (against_the_arrows, "reet_hf/cli.py", "from train.run import x\n"),
    (heavy_stages, "reet_hf/records.py", "import torch.nn\n"),
    (heavy_stages, "reet_hf/newcomer.py", "try:\n    from transformers import x\nexcept ImportError:\n    x = None\n"),
    (against_the_arrows, "reet_hf/modeling/head.py", "from ..errors import E\n"),
    (against_the_arrows, "reet_hf/modeling/head.py", "from reet_hf import errors\n"),
    (cycles, "reet_hf/budget.py", "from .selection import s\n"),
    (cycles, "reet_hf/budget.py", "def f():\n    from . import selection\n"),
    (forbidden_code, "reet_hf/budget.py", "assert 1\n"),
    (forbidden_code, "train/run.py", "def f():\n    assert 1\n"),
    (forbidden_code, "eval/run.py", "try:\n    pass\nexcept:\n    pass\n"),
    (forbidden_code, "reet_hf/budget.py", "import os\nx = os.environ['X']\n"),
    (forbidden_code, "reet_hf/budget.py", "from os import getenv\n"),
    (machine_paths, "train/recipe.yaml", "data: /" + "work/data\n"),
    (machine_paths, "README.md", "Look into `/" + "home/anna/x`.\n"),
    (machine_paths, ".github/workflow.yml", "run: C:" + "\\Users\\anna\n"),
]


def write_tree(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.mark.parametrize(
    ("rule", "name", "text"), BAD, ids=[f"{rule.__name__}-{number}" for number, (rule, *_) in enumerate(BAD)]
)
def test_the_rule_fails_on_a_bad_tree(rule, name, text, tmp_path):
    good, bad = write_tree(tmp_path / "good", GOOD), write_tree(tmp_path / "bad", {**GOOD, name: text})
    assert list(rule(good)) == []
    found = list(rule(bad))
    assert found and any(Path(name).stem in line for line in found)


def unknown_keys(saved: dict) -> set[str]:
    """Keys that a configuration stored without knowing them."""
    return saved.keys() - PreTrainedConfig().to_dict().keys() - CONFIG_KEYS - {"architectures", "dtype"}


def test_configuration_keys_are_the_documented_ones(tiny_model, tmp_path, bundled):
    own = ReetConfig().to_dict().keys() - PreTrainedConfig().to_dict().keys()
    documented = set(re.findall(r"^        (\w+):", ReetConfig.__doc__ or "", flags=re.MULTILINE))
    assert own == documented == CONFIG_KEYS
    tiny_model.config.save_pretrained(tmp_path)
    assert unknown_keys(json.loads((tmp_path / "config.json").read_text())) == set()
    if (bundled / "config.json").is_file():
        assert unknown_keys(json.loads((bundled / "config.json").read_text())) == set()


def test_an_unknown_configuration_key_is_noticed():
    assert unknown_keys(ReetConfig(window_token=8).to_dict()) == {"window_token"}
