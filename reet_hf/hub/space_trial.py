"""Start the page of a Space, ask it what it answers to, and end it: python space_trial.py APP.py

A metric's page computes its example as well.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import urllib.request
from pathlib import Path
from typing import Any


def run(script: str) -> list[str]:
    """Names of what the page answers to by its API.

    Raises:
        RuntimeError: If it defines no page, the page is empty, or it answers to nothing.
    """
    from gradio_client import Client

    sys.path.insert(0, str(Path(script).parent))
    demo: Any = runpy.run_path(script, run_name="space").get("demo")
    if demo is None:
        raise RuntimeError(f"{script} defines no page named demo.")
    _, address, _ = demo.launch(prevent_thread_lock=True, quiet=True, share=False)
    try:
        with urllib.request.urlopen(address, timeout=60) as page:
            if b"<html" not in page.read().lower():
                raise RuntimeError(f"{address} is no page.")
        client = Client(address, verbose=False)
        named = sorted(client.view_api(return_format="dict")["named_endpoints"])
        example = Path(script).with_name("example.json")
        if example.is_file():
            fields = json.loads(example.read_text(encoding="utf-8")).values()
            scores = client.predict(*map(json.dumps, fields), api_name="/compute")
            if not isinstance(scores, dict) or not scores:
                raise RuntimeError(f"{script} must compute scores of its example, got {scores!r}.")
    finally:
        demo.close()
    if not named:
        raise RuntimeError(f"{script} answers to no name.")
    return named


if __name__ == "__main__":
    print(", ".join(run(sys.argv[1])))
    sys.stdout.flush()
    os._exit(0)  # threads of the page may outlive it
