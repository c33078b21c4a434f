"""The state of the page as Python that anyone can run."""

from __future__ import annotations

import json
import pprint
from typing import Any

from inputs import parse_input
from reply import MODEL, budget_of, patterns

SHORT = 1500  # characters of a conversation that stands in the code itself
FILE = "conversation.json"


def snippet(text: str, query: str, budget: float, unit: str, protect: str, tokens: dict[str, int]) -> str:
    """Python that gives the result of the page; a longer conversation is read from the file that the page offers.

    Args:
        text: As for `reply.compress`, as are `query`, `budget`, `unit` and `protect`.
        tokens: `tokens` of the result, which the code prints as well.
    """
    inputs = parse_input(text, query)
    written = pprint.pformat(inputs, width=100, sort_dicts=False)
    inside = len(written) <= SHORT
    lines = ["import json", "from pathlib import Path", ""] if not inside else []
    lines += ["import reet_hf  # registers the pipeline; pip install reet-hf", "from transformers import pipeline", ""]
    model = f", model={MODEL!r}" if MODEL else ""
    lines.append(f'compress = pipeline("reet-compression"{model})')
    if inside:
        lines.append(f"inputs = {written}")
    else:
        lines.append(f'inputs = json.loads(Path("{FILE}").read_text(encoding="utf-8"))  # the button below saves it')
    options = [f"budget={budget_of(budget)!r}", f"unit={unit!r}"]
    if rules := patterns(protect):
        options.append(f"protect={list(rules)!r}")
    lines += [f"out = compress(inputs, {', '.join(options)})", ""]
    lines += ['print(out["text"])', f'print(out["tokens"])  # {tokens}']
    return "\n".join(lines) + "\n"


def conversation_file(text: str, query: str) -> str:
    """The inputs as the JSON text that the code reads."""
    inputs: dict[str, Any] = parse_input(text, query)
    return json.dumps(inputs, ensure_ascii=False, indent=1)
