"""A model of lm-evaluation-harness that reads compressed contexts: importing this registers it as `reet`.

The prompt of each request is the harness's own; the context of its document, where it stands there, is replaced by what
a system of `eval/systems` keeps of it for the document's question. Any model of the harness then reads the prompt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eval.harness.contexts import Fields
from eval.harness.requests import LOGGER, RequestCompressor, total
from eval.offers import chosen, module_of
from eval.run import published
from reet_hf.budget import resolve_counter
from reet_hf.errors import ReetError
from reet_hf.registration import bundled_model

try:
    import lm_eval.models  # noqa: F401  (registers the harness's own)
    from lm_eval.api.model import LM
    from lm_eval.api.registry import get_model, register_model
except ImportError as missing:
    raise ImportError("EleutherAI's lm-evaluation-harness is the package lm-eval: pip install lm-eval") from missing

OWN = "system_"  # what options of the system begin with


@register_model("reet")
class CompressingLm(LM):
    """Another model behind a compressor.

    Samples that the harness logs show its own prompts, as they were before compression.

    Args:
        inner: Name of the model in the harness that reads the prompts.
        system: A file of `eval/systems`.
        compressor: Hub id or folder of the system's checkpoint, for systems that have the option `model`.
        budget: Share of each context's tokens (float, as 0.33) or a number of tokens (int).
        counter: Tokenizer that counts the budget; that of the bundled model by default.
        encoder: Hub id or folder of the encoder that baselines start from.
        context_field, question_field: Where documents have context and question, see `Fields`.
        without_context: `"error"`, or `"pass"` to let requests without a context in their prompt through whole.
        options: Those of the system with `system_` before their names; all others go to the inner model, as
            `pretrained`.
    """

    def __init__(
        self,
        inner: str = "hf",
        system: str = "reet",
        compressor: str | None = None,
        budget: float | int = 0.33,
        counter: str | None = None,
        encoder: str | None = None,
        context_field: str | None = None,
        question_field: str | None = None,
        without_context: str = "error",
        **options: Any,
    ) -> None:
        super().__init__()
        if inner == "reet":
            raise ReetError("`inner` must be another model of the harness, such as hf or vllm, got 'reet'.")
        own = {name[len(OWN) :]: value for name, value in options.items() if name.startswith(OWN)}
        own |= {"model": compressor} if compressor is not None else {}
        build = module_of("systems", system).build
        built = chosen(build, {"encoder": encoder}, own)
        counts = resolve_counter(counter or bundled_model())
        compressing = build(counts, **built)
        fields = Fields(context_field, question_field)
        self.requests = RequestCompressor(compressing, counts, budget, fields, without_context)
        self.settings: Mapping[str, Any] = {
            "system": system,
            "options": published(built),
            "revision": compressing.revision,
            "budget": budget,
            "counter": published({"counter": counter})["counter"],
            "inner": inner,
        }
        theirs = {name: value for name, value in options.items() if not name.startswith(OWN)}
        self.inner: Any = get_model(inner).create_from_arg_obj(theirs)

    def __getattr__(self, name: str) -> Any:
        """What else the harness asks of a model is the inner one's: tokenizer, batch sizes, lengths."""
        if name == "inner":  # not made yet
            raise AttributeError(name)
        return getattr(self.inner, name)

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """What the inner model says after each compressed prompt."""
        return self.inner.generate_until(self._compressed(requests))

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """The inner model's log-likelihood of each continuation after its compressed prompt."""
        return self.inner.loglikelihood(self._compressed(requests))

    def loglikelihood_rolling(self, requests: Sequence[Any]) -> list[float]:
        """The inner model's log-likelihood of whole texts, if they may be let through; compressed ones are others."""
        self.requests.skip(
            requests,
            "`tasks` must ask about a context, but this one measures the likelihood of a text itself; take the inner "
            "model alone, or let such requests through whole with without_context=pass.",
        )
        return self.inner.loglikelihood_rolling(requests)

    def _compressed(self, requests: Sequence[Any]) -> list[Any]:
        return self.requests.compress(requests, quiet=self.rank != 0)

    def get_model_info(self) -> dict[str, Any]:
        """For the `config` of a result: what the inner model tells, and under `reet` what was compressed, by task.

        With several processes the counts are those of the first one.
        """
        told = self.inner.get_model_info() if hasattr(self.inner, "get_model_info") else {}
        counts = self.requests.counts
        own = {
            **self.settings,
            **total(counts).report(),
            "tasks": {name: each.report() for name, each in counts.items()},
        }
        return {**told, "reet": own}

    def set_cache_hook(self, cache_hook: Any) -> None:
        """A cache of answers knows prompts as they were before compression."""
        super().set_cache_hook(cache_hook)
        if cache_hook.dbdict is not None:
            LOGGER.warning(
                "use_cache stores answers by the whole prompt: take another file for each system, budget and model, "
                "or answers of one are read as those of another; requests found there are not counted."
            )

    @property
    def rank(self) -> int:
        """The inner model's."""
        return self.inner.rank

    @property
    def world_size(self) -> int:
        """The inner model's."""
        return self.inner.world_size

    @property
    def device(self) -> Any:
        """The inner model's."""
        return self.inner.device

    @property
    def tokenizer_name(self) -> str:
        """The inner model's."""
        return self.inner.tokenizer_name

    def all_gather(self, tensor: Any) -> Any:
        """As the inner model does."""
        return self.inner.all_gather(tensor)

    def gather_object(self, obj: Any, dst: int = 0) -> Any:
        """As the inner model does."""
        return self.inner.gather_object(obj, dst)

    def barrier(self) -> None:
        """As the inner model does."""
        self.inner.barrier()

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """The inner model's."""
        return self.inner.chat_template(chat_template)

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """As the inner model does."""
        return self.inner.apply_chat_template(chat_history, add_generation_prompt)
