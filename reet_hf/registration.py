"""Makes the models and pipelines known to `transformers`; done once, on import."""

from __future__ import annotations

from pathlib import Path

from transformers import AutoConfig, AutoModel, AutoModelForTokenClassification
from transformers.pipelines import PIPELINE_REGISTRY

from .modeling.configuration_reet import ReetConfig
from .modeling.modeling_reet import ReetForCompression, ReetModel
from .pipelines.compression import ReetCompressionPipeline
from .pipelines.extraction import ReetExtractionPipeline

DEFAULT_MODEL = "reet/reet-base"


def bundled_model(model: str = DEFAULT_MODEL) -> str:
    """Folder of weights that come with the package or the checkout; the Hub id itself where there are none."""
    package = Path(__file__).resolve().parent
    for folder in (package / "weights" / Path(model).name, package.parent / model):
        if (folder / "config.json").is_file():
            return str(folder)
    return model


def register() -> None:
    """Register config, models and pipelines."""
    AutoConfig.register("reet", ReetConfig, exist_ok=True)
    AutoModel.register(ReetConfig, ReetModel, exist_ok=True)
    AutoModelForTokenClassification.register(ReetConfig, ReetForCompression, exist_ok=True)
    pipelines = {"reet-compression": ReetCompressionPipeline, "reet-extraction": ReetExtractionPipeline}
    for task, pipeline_class in pipelines.items():
        PIPELINE_REGISTRY.register_pipeline(
            task,
            pipeline_class=pipeline_class,
            pt_model=ReetForCompression,
            default={"model": (bundled_model(), "main")},
            type="text",
        )
