"""lm-evaluation-harness with the model `reet`: python -m eval.harness run --model reet --model_args ... --tasks ...

    python -m eval.harness run --model reet --tasks longbench_hotpotqa,longbench_trec --output_path FOLDER \\
        --model_args pretrained=CAUSAL_LM,compressor=reet/reet-base,budget=0.33

Everything else is the harness's own command line; `eval.harness.model.CompressingLm` says what the model takes. What
was compressed stands in the result under `config.reet`.
"""

from __future__ import annotations

import importlib


def main() -> None:
    """Register the model, then do what the command line says."""
    importlib.import_module("eval.harness.model")  # says what to install if it is not there
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()


if __name__ == "__main__":
    main()
