"""A model's own scores in the form that the Hub reads from `.eval_results/`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml
from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

FILE = ".eval_results/mtr.yaml"


def eval_results_yaml(summary: Mapping[str, Any]) -> str:
    """The YAML of the scores in a summary that `eval/report.py` wrote, one entry for each data set."""
    notes = (
        f"regime {summary['regime']}, {summary['rate']:.0%} of the tokens, up to {summary['turns']} turns, "
        f"task version {summary['version']}"
    )
    entries = [
        EvalResultEntry(
            dataset_id="reet/mtr",
            task_id=f"{name}-{entry['measure'].replace('_', '-')}",
            value=entry["systems"][summary["system"]],
            notes=notes,
        )
        for name, entry in summary["sets"].items()
    ]
    return yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False)
