"""One compression by a saved model, printed as JSON: python -m reet_hf.hub.trial FOLDER

As a file, python trial.py FOLDER, it makes every import of the package fail wherever it may be installed, so that the
code in the folder runs. Each is run in a process of its own, which knows nothing of the one that started it.
"""

from __future__ import annotations

import json
import sys
from typing import Any

BUDGET = 0.5
MESSAGES = [
    {"role": "system", "content": "You answer questions about travel papers."},
    {"role": "user", "content": "I land in Oslo on Monday. My visa expires in June. The hotel is booked."},
    {"role": "assistant", "content": "Noted: the visa expires in June. Shall I look for trains as well?"},
    {"role": "user", "content": "No trains. I will rent a car, a small one. When does the visa expire?"},
]
REQUEST = {"messages": MESSAGES, "query": "When does the visa expire?"}
"""What is compressed; every word of it is made up."""


def run(folder: str, packaged: bool) -> dict[str, Any]:
    """What a compression gives, and which package its classes came from."""
    if not packaged:
        sys.modules["reet_hf"] = None  # type: ignore[assignment]
    from transformers import pipeline

    trust = {} if packaged else {"trust_remote_code": True}
    load: Any = pipeline
    compress = load("reet-compression", model=folder, **trust)
    classes = (type(compress), type(compress.model), type(compress.model.config))
    return {
        "result": compress(REQUEST, budget=BUDGET),
        "packages": sorted({kind.__module__.split(".")[0] for kind in classes}),
    }


if __name__ == "__main__":
    answer = run(sys.argv[1], packaged=bool(__package__))
    print(json.dumps(answer))
