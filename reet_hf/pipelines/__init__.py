"""Pipelines of `transformers` that `import reet_hf` registers."""
