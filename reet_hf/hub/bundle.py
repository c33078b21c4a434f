"""A Hub repository as a folder: weights, tokenizer, card, and the code that runs them without the package.

`transformers` fetches code file by file under `trust_remote_code`, following imports of the form
`from .name import ...`, and all files lie flat in one folder. So the package's relative imports are rewritten.
"""

from __future__ import annotations

import ast
import json
import re
import shutil
from collections.abc import Iterator, Sequence
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from transformers.dynamic_module_utils import get_imports, get_relative_imports

from ..errors import ReetError
from .dependencies import STANDARD, core_modules, taken_modules

PACKAGE = Path(__file__).resolve().parent.parent
ROOTS = ("modeling/configuration_reet.py", "modeling/modeling_reet.py", "pipelines/compression_pipeline.py")
REMOTE_CODE = {
    "auto_map": {
        "AutoConfig": "configuration_reet.ReetConfig",
        "AutoModel": "modeling_reet.ReetModel",
        "AutoModelForTokenClassification": "modeling_reet.ReetForCompression",
    },
    "custom_pipelines": {
        "reet-compression": {
            "impl": "compression_pipeline.ReetCompressionPipeline",
            "pt": ["AutoModelForTokenClassification"],
            "type": "text",
        }
    },
}
REQUIRED = ("config.json", "*.safetensors", "tokenizer_config.json")
OPTIONAL = (
    "*.safetensors.index.json",
    "tokenizer.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "*.model",
    "chat_template.jinja",
    "training.json",
    "handler.py",
    "requirements.txt",
    "onnx/model.onnx",
    "onnx/model_int8.onnx",
    "openvino/openvino_model.*",
    "README.md",
    "LICENSE",
    ".eval_results/*.yaml",
)

_HEADER = re.compile(r"from\s+\.+[\w.]*\s+import\b")


def read_config(path: Path) -> dict[str, Any]:
    """The settings in a file of a saved model.

    Raises:
        ReetError: If it holds no JSON object.
    """
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ReetError(f"{path} must hold JSON, but does not ({error}); write it with save_pretrained.") from error
    if not isinstance(settings, dict):
        raise ReetError(f"{path} must hold a JSON object, got {str(settings)[:40]!r}; write it with save_pretrained.")
    return settings


def is_model(folder: Path) -> bool:
    """Whether a folder holds a saved REET model.

    Raises:
        ReetError: If its configuration cannot be read.
    """
    config = folder / "config.json"
    return config.is_file() and read_config(config).get("model_type") == "reet"


def build_bundle(source: str | Path, target: str | Path, *, package: Path = PACKAGE) -> Path:
    """The folder `target`, ready for `upload_folder`: what `source` holds of a model, and the code to run it.

    Only files known to belong to a model are copied, so checkpoints and pickled training arguments stay behind.

    Args:
        source: Folder that `save_pretrained` of model and tokenizer wrote.
        target: Folder to make; it must not exist or be empty.
        package: The package whose modules travel.

    Raises:
        ReetError: If `source` is no saved REET model, `target` holds something, or the code cannot lie in one folder.
    """
    source, target = Path(source), Path(target)
    missing = [pattern for pattern in REQUIRED if not any(source.glob(pattern))]
    if missing:
        raise ReetError(
            f"`source` must be a folder with a saved model and tokenizer, but {source} has no {', '.join(missing)}; "
            "write it with save_pretrained of both."
        )
    config = read_config(source / "config.json")
    if config.get("model_type") != "reet":
        raise ReetError(f"`source` must hold a model of type 'reet', but {source} has {config.get('model_type')!r}.")
    if target.exists() and any(target.iterdir()):
        raise ReetError(f"`target` must be a new or empty folder, but {target} holds files; remove them first.")
    code = {name: flat_source(path, package) for name, path in travelling_modules(package).items()}
    copy_files(source, target, (*REQUIRED, *OPTIONAL))
    (target / "config.json").write_text(json.dumps({**config, **REMOTE_CODE}, indent=2) + "\n", encoding="utf-8")
    license_text = distribution("reet-hf").read_text("licenses/LICENSE")
    if license_text and not (target / "LICENSE").exists():  # of the code that travels
        (target / "LICENSE").write_text(license_text, encoding="utf-8")
    for name, text in code.items():
        (target / name).write_text(text, encoding="utf-8")
        _check_seen(target / name)
    return target


def copy_files(source: Path, target: Path, patterns: Sequence[str]) -> None:
    """Copy the files of `source` that fit a pattern to the same places in `target`, which is made."""
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted({path for pattern in patterns for path in source.glob(pattern)}):
        copy = target / path.relative_to(source)
        copy.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, copy)


def travelling_modules(package: Path = PACKAGE) -> dict[str, Path]:
    """File name in the bundle to file in the package, for all modules that the models and the pipeline import.

    Raises:
        ReetError: If two of them have the same file name, or one has that of a module of the standard library or of a
            dependency, for which it would be taken where the folder is searched for modules first.
    """
    found: dict[str, Path] = {}
    waiting = [package / root for root in ROOTS]
    while waiting:
        path = waiting.pop()
        other = found.setdefault(path.name, path)
        if other != path:
            raise ReetError(
                "Modules that travel to the Hub lie in one folder and need different names, but "
                f"{_shown(other, package)} and {_shown(path, package)} share theirs; rename one."
            )
        if path.stem in taken_modules():
            raise ReetError(
                "Modules that travel to the Hub must not be named as others are: an Inference Endpoint looks for "
                f"modules in the repository first and would import {_shown(path, package)} as {path.stem!r}; rename it."
            )
        for _, modules in _relative_imports(path, package):
            waiting.extend(module for module in modules.values() if found.get(module.name) != module)
    return dict(sorted(found.items()))


def requirements(package: Path = PACKAGE) -> list[str]:
    """What `pip install` needs for the travelling modules, without what is optional, in alphabetical order.

    Raises:
        ReetError: If a module imports what the package does not depend on.
    """
    known, found = core_modules(), set()
    for path in travelling_modules(package).values():
        for name in sorted(set(get_imports(path)) - STANDARD):
            if name not in known:
                raise ReetError(
                    f"{_shown(path, package)} imports {name}, which no dependency of the package brings; add one to "
                    "pyproject.toml, or import it where its absence is caught."
                )
            found.add(known[name])
    return sorted(found)


def flat_source(path: Path, package: Path = PACKAGE) -> str:
    """The source of a module with its relative imports changed to `from .name import ...`.

    An import of a module itself (`from . import name`) keeps its form, with a line before it that the loader sees.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    for node, modules in sorted(_relative_imports(path, package), key=lambda found: found[0].lineno, reverse=True):
        first, last = node.lineno - 1, node.end_lineno or node.lineno
        if "" in modules:
            lines[first] = _HEADER.sub(f"from .{modules[''].stem} import", lines[first], count=1)
            continue
        indent = " " * node.col_offset
        replaced = []
        for alias in node.names:
            renamed = f" as {alias.asname}" if alias.asname else ""
            replaced.append(
                f"{indent}from .{alias.name} import __name__ as _{alias.name}  # so that the file is fetched"
            )
            replaced.append(f"{indent}from . import {alias.name}{renamed}")
        lines[first:last] = replaced
    return "\n".join(lines) + "\n"


def _relative_imports(path: Path, package: Path) -> Iterator[tuple[ast.ImportFrom, dict[str, Path]]]:
    """Each relative import and the files it names: under "" the module whose names it imports, else modules by name.

    Raises:
        ReetError: For an import that no flat folder can honour.
    """
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        place = f"{_shown(path, package)}, line {getattr(node, 'lineno', 0)}"
        absolute = [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
        absolute += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if any(name.split(".")[0] == package.name for name in absolute):
            raise ReetError(f"{place} imports {package.name} by its name, which does not travel; import relatively.")
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        folder = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
        module = folder.with_suffix(".py")
        if node.module and module.is_file():
            yield node, {"": module}
            continue
        modules = {alias.name: folder / f"{alias.name}.py" for alias in node.names}
        unknown = [name for name, file in modules.items() if not file.is_file()]
        if unknown:
            raise ReetError(
                f"{place} imports {', '.join(unknown)} from a package, whose __init__ does not travel; import from the "
                "module that defines it."
            )
        yield node, modules


def _check_seen(path: Path) -> None:
    """Refuse a written module whose imports `transformers`, which reads them by pattern, does not see as they are."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    real = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level and node.module}
    seen = set(get_relative_imports(path))
    if seen != real:
        raise ReetError(
            f"{path.name}: transformers sees the relative imports {sorted(seen)} where the code has {sorted(real)}; "
            "write each import on its own line and none in a docstring."
        )


def _shown(path: Path, package: Path) -> str:
    return path.relative_to(package).as_posix() if path.is_relative_to(package) else path.name
