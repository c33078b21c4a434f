"""Makes the models and pipelines known to `transformers`; done once, on import."""

from __future__ import annotations

import logging

from transformers import AutoConfig, AutoModel, AutoModelForTokenClassification
from transformers.pipelines import PIPELINE_REGISTRY

from .modeling.checkpoints import DEFAULT_MODEL, bundled_model
from .modeling.configuration_reet import ReetConfig
from .modeling.modeling_reet import ReetForCompression, ReetModel
from .pipelines.compression_pipeline import ReetCompressionPipeline
from .pipelines.extraction import ReetExtractionPipeline

__all__ = ["DEFAULT_MODEL", "bundled_model", "register"]


class _OtherModels(logging.Filter):
    """Lets pass what the library says of a default model that may change, unless it comes with the package."""

    def filter(self, record: logging.LogRecord) -> bool:
        return f"defaulted to {bundled_model()} " not in record.getMessage()


def register() -> None:
    """Register config, models and pipelines."""
    AutoConfig.register("reet", ReetConfig, exist_ok=True)
    AutoModel.register(ReetConfig, ReetModel, exist_ok=True)
    AutoModelForTokenClassification.register(ReetConfig, ReetForCompression, exist_ok=True)
    logging.getLogger("transformers.pipelines").addFilter(_OtherModels())
    pipelines = {"reet-compression": ReetCompressionPipeline, "reet-extraction": ReetExtractionPipeline}
    for task, pipeline_class in pipelines.items():
        PIPELINE_REGISTRY.register_pipeline(
            task,
            pipeline_class=pipeline_class,
            pt_model=ReetForCompression,
            default={"model": (bundled_model(), "main")},
            type="text",
        )
