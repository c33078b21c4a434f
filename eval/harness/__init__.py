"""The systems under test inside EleutherAI's lm-evaluation-harness: `python -m eval.harness --help`."""
