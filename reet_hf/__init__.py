"""REET: relevance-engineered efficient tokens, context compression for LLM conversations."""

from .modeling.configuration_reet import ReetConfig
from .modeling.modeling_reet import ReetForCompression, ReetForTokenScoring, ReetModel

__version__ = "0.1.0"
