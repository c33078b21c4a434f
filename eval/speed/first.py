"""Seconds from nothing to a first result, in a process of its own: python eval/speed/first.py MODEL

Nothing is imported before the clock runs but what reads it. Prints JSON: seconds of `import`, `load` and `first`.
"""

import json
import sys
import time

MESSAGES = [
    {
        "role": "user",
        "content": "I am Ann Lee, order 4417, seven boxes of green tea for Oslo. My visa expires in June.",
    },
    {"role": "assistant", "content": "Thank you, Ann. Order 4417 was shipped on Monday and arrives on 12 May at noon."},
]


def main() -> None:
    """Measure and print."""
    begun = time.perf_counter()
    import reet_hf  # noqa: F401  its import is what is timed

    imported = time.perf_counter()
    from transformers import pipeline

    from reet_hf.registration import bundled_model

    compress = pipeline("reet-compression", model=bundled_model(sys.argv[1]))  # type: ignore[call-overload]
    loaded = time.perf_counter()
    compress({"messages": MESSAGES, "query": "When does the order arrive?"}, budget=0.5)
    done = time.perf_counter()
    print(json.dumps({"import": imported - begun, "load": loaded - imported, "first": done - loaded}))


if __name__ == "__main__":
    main()
