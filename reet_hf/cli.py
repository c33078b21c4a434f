"""The `reet` command: results on stdout, messages on stderr, exit status 2 for input that cannot be honoured."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .encoders.choices import BACKENDS
from .errors import ReetError
from .hub.command import add_publish, run_publish
from .hub.merging import add_merge, run_merge
from .many.command import add_many, check_form, compress_many
from .serving.command import add_mcp, add_serve, serve, serve_mcp
from .version import __version__

FORMATS = ("text", "json", "messages")
EXTRACTED = ("json", "linear", "markdown", "records")


def budget(text: str) -> float | int:
    """A budget as typed: digits alone are tokens, anything with a point is a keep rate."""
    try:
        return int(text) if text.strip("+-").isdigit() else float(text)
    except ValueError:
        rule = f"must be a keep rate in (0, 1] like 0.3 or a number of tokens like 2000, got {text!r}"
        raise argparse.ArgumentTypeError(rule) from None


def parser() -> argparse.ArgumentParser:
    """The command line of `reet`."""
    root = argparse.ArgumentParser(prog="reet", description="Compress conversations to a token budget.")
    root.add_argument("--version", action="version", version=f"reet {__version__}")
    commands = root.add_subparsers(dest="command", required=True, metavar="COMMAND")
    compress = commands.add_parser(
        "compress",
        help="compress a text or a conversation, or a file of many",
        description="Compress a text file, or a JSON file with messages or a context, to a token budget; or a file of "
        "many records.",
    )
    compress.add_argument("file", metavar="FILE", nargs="?", help="text or JSON; - reads standard input")
    compress.add_argument("--budget", type=budget, help="keep rate like 0.3 (the default), or tokens like 2000")
    compress.add_argument(
        "--threshold",
        type=float,
        help="keep what is needed with at least this chance",
    )
    compress.add_argument("--query", help="what will be asked; without it what any question may need stays")
    compress.add_argument(
        "--format", choices=FORMATS, help="what is printed (default: text), or written (default: json, all of it)"
    )
    compress.add_argument(
        "--strategy", default="extractive", help="extractive (the default), or facts: lines of what is said of whom"
    )
    compress.add_argument("--unit", default="auto", help="word, clause, sentence, message or auto")
    compress.add_argument(
        "--protect", action="append", default=[], metavar="RULE", help="a role, regex or message number; repeatable"
    )
    compress.add_argument(
        "--keep-recent", type=int, metavar="N", help="the last N turns must survive (default: one, where it fits)"
    )
    compress.add_argument(
        "--keep-system",
        action=argparse.BooleanOptionalAction,
        help="system messages must survive, or may be cut (default: they survive where they fit)",
    )
    compress.add_argument(
        "--keep-tags", action="append", default=[], metavar="ROLE", help="<keep>...</keep> of this role survives"
    )
    compress.add_argument("--markers", action="store_true", help="show what was left out, with ids and tokens")
    compress.add_argument("--tools", metavar="FILE", help="JSON list of tool definitions that the budget must hold too")
    compress.add_argument("--tokenizer", help="counts the budget: tokenizer id or folder, or a tiktoken encoding")
    add_model(compress)
    add_many(compress)
    compress.set_defaults(run=run_compress)
    extract = commands.add_parser(
        "extract",
        help="find entities and what is said of them",
        description="Find the entities of a text or JSON file and what is said of them.",
    )
    extract.add_argument("file", metavar="FILE", help="text or JSON; - reads standard input")
    extract.add_argument("--query", help="what will be asked; only facts that may answer it are printed")
    extract.add_argument("--format", choices=EXTRACTED, default="json", help="what is printed (default: json)")
    add_model(extract)
    extract.set_defaults(run=run_extract)
    for command, run in ((add_serve(commands), run_serve), (add_mcp(commands), run_mcp)):
        add_model(command)
        command.set_defaults(run=run)
    export = commands.add_parser(
        "export",
        help="write the encoder for another runtime",
        description="Write the encoder of a checkpoint for another runtime, beside its weights or to another folder.",
    )
    export.add_argument("folder", metavar="FOLDER", help="a checkpoint")
    export.add_argument("--backend", required=True, choices=list(BACKENDS)[1:], help="what is to run it")
    export.add_argument("--output", metavar="FOLDER", help="where it is written (default: into the checkpoint)")
    export.add_argument(
        "--precision", default="float32", help="float32 (default), or int8 for weights in eight bits (onnx)"
    )
    export.set_defaults(run=run_export)
    add_publish(commands).set_defaults(run=lambda arguments: run_publish(arguments, os.environ))
    add_merge(commands).set_defaults(run=run_merge)
    return root


def add_model(command: argparse.ArgumentParser) -> None:
    """Add which model is used, and what computes its encoder."""
    command.add_argument("--model", help="checkpoint id or folder (default: the bundled weights)")
    command.add_argument("--backend", default="torch", help=f"{', '.join(BACKENDS)}: what computes the encoder")
    command.add_argument("--precision", default="auto", help="what it is computed in (default: the fastest there is)")


def read_input(name: str, query: str | None) -> Any:
    """The input that a file holds: JSON messages or context, else its text; `query` wins over the file's own.

    Raises:
        ReetError: If the file cannot be read or is not UTF-8.
    """
    try:
        raw = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        text = raw.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ReetError(f"FILE must be a readable UTF-8 file or -, got {name!r} ({error}).") from error
    content: Any = text
    if text.lstrip()[:1] in ("{", "["):
        try:
            content = json.loads(text)
        except ValueError as error:
            if name.endswith(".json"):
                raise ReetError(
                    f"FILE must be JSON where it is called so, but {name!r} is not ({error}); mend it, or use -."
                ) from error
            content = text
    if isinstance(content, dict) and ("messages" in content or "context" in content):
        known = {key: content[key] for key in ("messages", "context", "query", "history") if key in content}
        return {**known, "query": query or known.get("query")}
    if isinstance(content, list) and content and all(isinstance(item, dict) and "role" in item for item in content):
        return {"messages": content, "query": query}
    return {"context": text, "query": query}


def read_tools(name: str | None) -> Any:
    """The tool definitions of a JSON file.

    Raises:
        ReetError: If it cannot be read as JSON.
    """
    if name is None:
        return None
    try:
        return json.loads(Path(name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ReetError(f"--tools must be a readable file with a JSON list, got {name!r} ({error}).") from error


def protection(rules: Sequence[str]) -> list[str | int]:
    """Rules as typed: whole numbers are message numbers."""
    return [int(rule) if rule.lstrip("-").isdigit() else rule for rule in rules]


def load_pipeline(task: str, arguments: argparse.Namespace, **options: Any) -> Any:
    """A pipeline of the model that was named, or of the bundled one.

    Args:
        task: Of the pipeline.
        arguments: Of the command line, see `add_model`.
        **options: What else `transformers.pipeline` takes.

    Raises:
        ReetError: If it cannot be loaded.
    """
    import transformers
    from transformers.utils import logging

    from .modeling.checkpoints import adapter_folder
    from .registration import bundled_model

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    model = arguments.model or bundled_model()
    if "/" not in model and not Path(model).exists():  # the Hub would be asked again and again without a network
        raise ReetError(
            f"--model must be a folder or a Hub id such as reet/reet-base, got {model!r}, which is neither."
        )
    try:
        source = str(adapter_folder(model) or model)
        load: Any = transformers.pipeline  # its overloads know the library's own tasks only
        return load(task, model=source, backend=arguments.backend, precision=arguments.precision, **options)
    except ReetError:
        raise
    except (ImportError, OSError, ValueError) as error:
        raise ReetError(
            f"--model must be a checkpoint id or folder, but {model!r} cannot be loaded: {error}"
        ) from error


def run_extract(arguments: argparse.Namespace) -> None:
    """Extract from one file and print what was found."""
    inputs = read_input(arguments.file, arguments.query)
    out = load_pipeline("reet-extraction", arguments)(inputs, output_format=arguments.format)
    print(out if isinstance(out, str) else json.dumps(out, ensure_ascii=False, indent=2))


def run_serve(arguments: argparse.Namespace) -> None:
    """Serve HTTP until told to end."""
    serve(arguments, os.environ, lambda: load_pipeline("reet-compression", arguments))


def run_mcp(arguments: argparse.Namespace) -> None:
    """Serve the Model Context Protocol until told to end."""
    serve_mcp(arguments, lambda: load_pipeline("reet-compression", arguments))


def run_export(arguments: argparse.Namespace) -> None:
    """Export an encoder and print the files that were written."""
    from .encoders.backends import export

    for path in export(arguments.folder, arguments.backend, arguments.output, arguments.precision):
        print(path)


def options_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options of a compression that a command line names.

    Raises:
        ReetError: If the tool definitions cannot be read.
    """
    return {
        "budget": arguments.budget,
        "threshold": arguments.threshold,
        "unit": arguments.unit,
        "strategy": arguments.strategy,
        "tokenizer": arguments.tokenizer,
        "protect": protection(arguments.protect),
        "keep_recent": arguments.keep_recent,
        "keep_system": arguments.keep_system,
        "keep_tags": arguments.keep_tags,
        "markers": arguments.markers,
        "tools": read_tools(arguments.tools),
    }


def run_compress(arguments: argparse.Namespace) -> None:
    """Compress one file and print the result, or the records of a file into another one."""
    if check_form(arguments):
        run_many(arguments)
        return
    inputs = read_input(arguments.file, arguments.query)
    compress = load_pipeline("reet-compression", arguments, progress=sys.stderr.isatty())
    out = compress(inputs, **options_of(arguments))
    if arguments.format in ("text", None):
        print(out["text"])
    else:
        print(json.dumps(out if arguments.format == "json" else out["messages"], ensure_ascii=False, indent=2))
    counts = out["tokens"]
    print(f"{counts['original']} -> {counts['compressed']} tokens (budget {counts['budget']})", file=sys.stderr)


def run_many(arguments: argparse.Namespace) -> None:
    """Compress the records of a file, in as many CPU processes as `accelerate launch` was asked for."""
    if "ACCELERATE_USE_CPU" in os.environ:
        from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

        from .training.launch import start_cpu_processes

        try:
            if start_cpu_processes(["-m", "reet_hf.cli", *sys.argv[1:]], os.environ):
                return
        except ChildFailedError as failed:  # which has said why
            sys.exit(max(failed.get_first_failure()[1].exitcode, 1))

    def load(**options: Any) -> Any:
        return load_pipeline("reet-compression", arguments, **options)

    compress_many(arguments, options_of(arguments), os.environ, load)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return the exit status."""
    arguments = parser().parse_args(argv)
    try:
        arguments.run(arguments)
    except ReetError as error:
        print(f"reet: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


if __name__ == "__main__":
    sys.exit(main())
