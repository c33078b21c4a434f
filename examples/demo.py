"""Compress the example conversations with the bundled weights and show what was kept: python examples/demo.py"""

from __future__ import annotations

import json
import time
from pathlib import Path

from tqdm.auto import tqdm
from transformers import pipeline
from transformers.utils import logging

import reet_hf  # noqa: F401  (registers the pipeline)

FOLDER = Path(__file__).parent
RULE = "-" * 88


def show(name: str, example: dict, out: dict, seconds: float) -> None:
    """Print one conversation before and after, with its receipt."""
    tokens, receipt = out["tokens"], out["receipt"]
    original = [message["content"] or "" for message in example.get("messages", [])] or example["context"]
    before = "\n".join(original)
    print(f"\n{RULE}\n{name}: {len(original)} messages\nquestion: {example['query']}\n{RULE}")
    print(f"BEFORE ({tokens['original']} tokens)\n{before[:600]}\n[... {max(len(before) - 600, 0)} more characters]")
    print(f"\nAFTER ({tokens['compressed']} of at most {tokens['budget']} tokens, {seconds:.2f} s)\n{out['text']}")
    kept, dropped = receipt["kept"], receipt["dropped"]
    print(f"\nRECEIPT: {len(kept)} names, numbers and constraints kept, {len(dropped)} dropped")
    print("  kept:    " + ", ".join(dict.fromkeys(mention["text"] for mention in kept))[:300])
    print("  dropped: " + ", ".join(dict.fromkeys(mention["text"] for mention in dropped))[:300])
    first = out["pieces"][0]
    print(f"  each piece says where it is from, the first: {json.dumps(first)}")
    print(f"  the answer {example['answer']!r} is {'kept' if example['answer'] in out['text'] else 'LOST'}")


def main() -> None:
    """Compress every example to a third of its tokens."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    compress = pipeline("reet-compression", model="reet/reet-base", progress=True)
    files = sorted(FOLDER.glob("*.json"))
    results = []
    for file in tqdm(files, desc="compressing", unit="file"):
        example = json.loads(file.read_text(encoding="utf-8"))
        inputs = {key: example[key] for key in ("messages", "context", "query") if key in example}
        start = time.perf_counter()
        out = compress(inputs, budget=1 / 3)
        results.append((file.stem, example, out, time.perf_counter() - start))
    for result in results:
        show(*result)


if __name__ == "__main__":
    main()
