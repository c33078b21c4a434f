"""What reads windows of tokens: a model's own encoder in PyTorch, or the same weights exported to another runtime."""

from .backends import WindowEncoder, export, make_encoder
from .choices import BACKENDS, check_choice

__all__ = ["BACKENDS", "WindowEncoder", "check_choice", "export", "make_encoder"]
