"""A model's own scores in the form that the Hub reads from `.eval_results/`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml
from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

FILE = ".eval_results/mtr.yaml"
TASK = "reet/mtr"
HUB = "https://huggingface.co"


def eval_results_yaml(summary: Mapping[str, Any]) -> str:
    """The YAML of the scores in a summary that `eval/report.py` wrote, one entry for each data set.

    The format wants the id of a data set of the Hub. There is none for this task, which is code of this project on rows
    that are not redistributed, so the entries appear on no leaderboard; each says so and leads to the card, which says
    how the scores were measured.
    """
    notes = (
        f"regime {summary['regime']}, {summary['rate']:.0%} of the tokens, up to {summary['turns']} turns, "
        f"task version {summary['version']}; {TASK} is a task of this project's evaluation, not a data set of the Hub"
    )
    entries = [
        EvalResultEntry(
            dataset_id=TASK,
            task_id=f"{name}-{entry['measure'].replace('_', '-')}",
            value=entry["systems"][summary["system"]],
            source_url=f"{HUB}/{summary['model']}#results",
            source_name="Model card",
            notes=notes,
        )
        for name, entry in summary["sets"].items()
    ]
    return yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False)
