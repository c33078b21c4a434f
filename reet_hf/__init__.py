"""REET: relevance-engineered efficient tokens, context compression for LLM conversations.

Importing the package registers its configuration, models and pipelines with `transformers`.
"""

from .compressor import Compressor
from .errors import ReetError
from .modeling.configuration_reet import ReetConfig
from .modeling.modeling_reet import ReetForCompression, ReetForEntityExtraction, ReetForTokenScoring, ReetModel
from .pipelines.compression_pipeline import ReetCompressionPipeline
from .recall import recall_tool
from .records import Compressed
from .registration import register
from .session import Session
from .store import SessionStore
from .version import __version__

__all__ = [
    "Compressed",
    "Compressor",
    "ReetCompressionPipeline",
    "ReetConfig",
    "ReetError",
    "ReetForCompression",
    "ReetForEntityExtraction",
    "ReetForTokenScoring",
    "ReetModel",
    "Session",
    "SessionStore",
    "__version__",
    "recall_tool",
]

register()
