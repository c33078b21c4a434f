"""Exported encoders on disk: read from a model's folder, or made once and kept.

An export says which weights it has, so that none is ever read for others. One that had to be made is kept under the
fingerprint of these weights and the versions of the libraries that made it, and stands there whole or not at all.
"""

from __future__ import annotations

import copy
import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from filelock import FileLock
from huggingface_hub import cached_assets_path
from torch import nn
from transformers.utils import cached_file
from transformers.utils import logging as transformers_logging

from ..errors import ReetError
from ..modeling.modeling_reet import ReetModel

WEIGHTS = "reet_weights"  # what an export calls the fingerprint of its weights
INPUTS = ("input_ids", "attention_mask")
OUTPUT = "token_states"
NEARNESS = {"float32": 0.9999, "bfloat16": 0.99, "int8": 0.99}  # least cosine of a state to the model's
TALKATIVE = ("torch.onnx", "onnxruntime.quantization.matmul_nbits_quantizer")  # loggers of exporters
MAKERS = ("torch", "transformers", "onnx", "onnxscript", "openvino")


@dataclass(frozen=True)
class Format:
    """How one backend keeps an encoder.

    Attributes:
        backend: Its name, which is that of the folder within a model's too, as `optimum` and the Hub have it.
        files: What an export consists of, the one to open first.
        make: Writes an export of a model in float32 to a folder, marked with the model's fingerprint.
    """

    backend: str
    files: tuple[str, ...]
    make: Callable[[ReetModel, Path], None]


class TokenStates(nn.Module):
    """A model as a function from two tensors to one, which exporters want."""

    def __init__(self, model: ReetModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """States of windows, of shape `(windows, tokens, width)`."""
        return self.model(input_ids, attention_mask).token_states


def copied(model: ReetModel) -> ReetModel:
    """A copy in float32 that an exporter may change."""
    return copy.deepcopy(model).float().eval()


@contextmanager
def quiet() -> Iterator[None]:
    """Exporters without what they say about themselves, and without what they change of the root logger."""
    root, verbosity = logging.getLogger(), transformers_logging.get_verbosity()
    loggers = [root, *map(logging.getLogger, TALKATIVE)]
    levels, handlers = [logger.level for logger in loggers], root.handlers[:]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers[1:]:
            logger.setLevel(logging.ERROR)
        transformers_logging.set_verbosity_error()
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
            root.handlers[:] = handlers
            transformers_logging.set_verbosity(verbosity)


def probe(model: ReetModel) -> tuple[torch.Tensor, torch.Tensor]:
    """Two windows of different lengths, as ids and attention mask, that exporters trace and exports are tried with."""
    ids = torch.arange(22).reshape(2, 11) % (min(model.config.encoder.vocab_size, 97) - 1) + 1
    mask = torch.ones_like(ids)
    mask[1, 7:] = 0
    return ids, mask


def fingerprint(model: ReetModel) -> str:
    """Hex digits of all weights of an encoder and its projection, whatever precision they are loaded in."""
    told = sha256()
    for name, weights in sorted(model.state_dict().items()):
        told.update(f"{name} {tuple(weights.shape)}".encode())
        told.update(weights.detach().float().cpu().contiguous().numpy())
    return told.hexdigest()[:24]


def find(form: Format, model: ReetModel, weights: str, folder: str | Path | None, exports: str | Path | None) -> Path:
    """The first file of an export of `model`: of its folder, else as it was kept, else made now.

    Args:
        form: How the backend keeps it.
        model: What it is made of.
        weights: The model's `fingerprint`.
        folder: The model's folder or Hub id.
        exports: Where exports are kept, see `encoders.backends.make_encoder`.

    Raises:
        ReetError: If none can be made.
    """
    if shipped := _shipped(form, model, folder):
        return shipped
    made = sha256(" ".join((weights, *_versions())).encode()).hexdigest()[:16]
    kept = home(form.backend, exports) / f"{form.backend}-{made}"
    first = kept / form.files[0]  # which is written last
    if not first.is_file():
        with FileLock(f"{kept}.lock"):
            if not first.is_file():
                write(form, model, kept)
    return first


def check_export(
    form: Format,
    model: ReetModel,
    precision: str,
    path: Path,
    marks: tuple[str, str],
    read: Callable[[Sequence[Sequence[int]]], list[torch.Tensor]],
) -> None:
    """Refuse an export that is not of a model's weights, or does not compute what the model does.

    Args:
        form, model: As for `find`.
        precision: What it is computed in.
        path: The export's first file.
        marks: The fingerprints of the model, and of the weights that the export says it has.
        read: States of windows, computed from it.

    Raises:
        ReetError: If it is to be refused.
    """
    also = " --precision int8" if precision == "int8" else ""
    way = f"make it again with `reet export --backend {form.backend}{also}`, or delete it"
    if marks[0] != marks[1]:
        raise ReetError(f"The export {path} was made of other weights than `model` has; {way}.")
    ids, mask = probe(model)
    windows = [row[kept.bool()].tolist() for row, kept in zip(ids, mask, strict=True)]
    with torch.inference_mode():
        wanted = torch.cat([model(torch.tensor([window])).token_states[0] for window in windows]).float()
    found = torch.cat(read(windows)).float()
    nearness = torch.nn.functional.cosine_similarity(found, wanted, dim=-1).min().item()
    if not nearness >= NEARNESS[precision]:
        raise ReetError(
            f"The export {path} must compute what the model does, but its states are at a cosine of "
            f"{nearness:.4f} to the model's; {way}, or use backend='torch'."
        )


def home(backend: str, exports: str | Path | None) -> Path:
    """The folder of what is kept for a backend; it is there."""
    if exports is None:
        return cached_assets_path("reet", "encoders", backend)
    folder = Path(exports)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write(form: Format, model: ReetModel, folder: Path) -> list[Path]:
    """The files of an export, written to `folder`, which is made; an older export there is replaced.

    Raises:
        ReetError: If the model cannot be exported.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        _made(form, model, work)
        folder.mkdir(exist_ok=True)
        for name in reversed(form.files):  # the one that is opened first comes last
            os.replace(work / name, folder / name)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return [folder / name for name in form.files]


def _made(form: Format, model: ReetModel, folder: Path) -> None:
    try:
        form.make(model, folder)
    except (ReetError, OSError):
        raise
    except Exception as error:  # exporters raise whatever an encoder's code makes them stumble over
        raise ReetError(
            f"`backend` {form.backend!r} cannot export the encoder {type(model.encoder).__name__} "
            f"({type(error).__name__}: {str(error).strip().partition(chr(10))[0]}); use backend='torch'."
        ) from error


def _shipped(form: Format, model: ReetModel, folder: str | Path | None) -> Path | None:
    """The first file of an export that a model's folder or Hub repository has."""
    if not folder:
        return None
    if Path(folder).is_dir():
        path = Path(folder) / form.backend / form.files[0]
        return path if path.is_file() else None
    commit = getattr(model.config, "_commit_hash", None)
    if commit is None:  # not loaded from the Hub
        return None
    found = []
    for name in form.files:
        path_or_none = cached_file(
            str(folder),
            f"{form.backend}/{name}",
            revision=commit,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )
        if path_or_none is None:
            return None
        found.append(Path(path_or_none))
    return found[0]


def _versions() -> list[str]:
    found = []
    for name in MAKERS:
        try:
            found.append(f"{name}={version(name)}")
        except PackageNotFoundError:
            continue
    return found


def missing(error: ImportError, backend: str) -> ReetError:
    """What to say where a backend's library is not installed."""
    return ReetError(f'`backend` {backend!r} needs another library ({error}): pip install "reet-hf[{backend}]".')
