"""How a script was started: by several CPU processes if asked for, and by which command, to be written down."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
from torch import distributed
from transformers import TrainingArguments

from ..errors import ReetError
from .arguments import OF_ONE_START, SECRET

PLACES = {
    "--data": "DATA",
    "--extraction_data": "EXTRACTION-DATA",
    "--extractor": "EXTRACTOR",
    "--encoder": "ENCODER",
    "--output_dir": "OUTPUT",
    "--initial": "INITIAL",
    "--teacher": "TEACHER",
}
MACHINE_OPTIONS = frozenset({name.removeprefix("--") for name in PLACES} | {"threads"})
"""Options that belong to a machine, not to a recipe."""
LEFT_OUT = frozenset(OF_ONE_START) - {"output_dir", "resume_from_checkpoint", "seed"}
"""Options that a published command does not show."""

_PLACE = re.compile(
    r"""(?<![\w.~:/-])(?:~\w*/|/|[A-Za-z]:[/\\])(?=[\w.~])(?:[^\s'",:;{}\[\]()]*[/\\](?=[\w.~]))?"""
)  # up to a last part


def launched_processes(command: list[str]) -> int:
    """The value of `--num_processes` on an `accelerate launch` command line, 1 if it is none."""
    launches = any(word == "launch" or word.endswith(("commands.launch", "launch.py")) for word in command)
    if not launches or not any("accelerate" in word for word in command):
        return 1
    for place, word in enumerate(command):
        name, _, value = word.partition("=")
        if name in ("--num_processes", "--num-processes"):
            return int(value or command[place + 1])
    return 1


def start_cpu_processes(argv: list[str], environment: Mapping[str, str]) -> bool:
    """Whether the script was started again as several processes, and has ended.

    On CPUs accelerate 1.x needs MPI for more than one process and otherwise starts a single one without a word. Then
    the processes are started here, by torch's own launcher.

    Args:
        argv: The script and its arguments, as in `sys.argv`.
        environment: The script's `os.environ`, where accelerate leaves its settings.
    """
    on_cpu = environment.get("ACCELERATE_USE_CPU", "").lower() in ("true", "1")
    if not on_cpu or "WORLD_SIZE" in environment:
        return False
    parent = psutil.Process().parent()
    count = launched_processes(parent.cmdline()) if parent else 1
    if count < 2:
        return False
    from torch.distributed.run import main

    print(f"Starting {count} CPU processes.", file=sys.stderr)
    main(["--nproc_per_node", str(count), "--master_port", environment.get("MASTER_PORT", "29500"), *argv])
    return True


def run_script(main: Callable[[list[str]], Any], environment: Mapping[str, str]) -> None:
    """Run a script, as several CPU processes if it was launched so; what it refuses ends it with status 2.

    Args:
        main: Takes the script's arguments. Of several processes each leaves their group when it has ended: a process
            that exits as a member can be aborted by a thread of its own.
        environment: The script's `os.environ`.
    """
    if start_cpu_processes(sys.argv, environment):
        return
    try:
        main(sys.argv[1:])
    except ReetError as refused:
        print(refused, file=sys.stderr)
        sys.exit(2)
    finally:
        if distributed.is_available() and distributed.is_initialized():
            distributed.destroy_process_group()


def published_command(argv: Sequence[str], training: TrainingArguments) -> str:
    """The command line of a training run as others may read it.

    Folders of this machine are replaced by what they stand for, and what belongs to one start of the run is left out,
    secrets among it.

    Args:
        argv: The script, its recipe and its options, as in `sys.argv`.
        training: What the run was trained with, which knows its device and its processes.
    """
    on_cpu = ["--cpu"] if training.device.type == "cpu" else []
    launch = ["accelerate", "launch", *on_cpu, "--num_processes", str(training.world_size)]
    shown = [f"train/{Path(argv[0]).name}", f"train/recipes/{Path(argv[1]).name}"]
    for option, value in zip(argv[2::2], argv[3::2], strict=False):
        if option in PLACES:
            shown += [option, PLACES[option]]
        elif option == "--resume_from_checkpoint":
            shown += [option, f"OUTPUT/{Path(value).name}"]  # the step at which this run took over
        elif option.lstrip("-") not in LEFT_OUT and not SECRET.search(option.lstrip("-")):
            shown += [option, without_places(value)]
    return shlex.join([*launch, *shown])


def without_places(told: Any) -> Any:
    """What a run tells of itself, with the last part alone of every absolute path in it.

    Args:
        told: Text, or a record of dicts, lists and other values.
    """
    if isinstance(told, str):
        return _PLACE.sub("", told)
    if isinstance(told, Mapping):
        return {without_places(name): without_places(value) for name, value in told.items()}
    return [without_places(value) for value in told] if isinstance(told, (list, tuple)) else told
