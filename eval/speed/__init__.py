"""How fast REET is, measured in one run on one machine; see `eval.speed.__main__`."""
