"""What reads windows of tokens: a model's own encoder in PyTorch, or the same weights exported to another runtime."""

from .backends import BACKENDS, WindowEncoder, check_choice, export, make_encoder

__all__ = ["BACKENDS", "WindowEncoder", "check_choice", "export", "make_encoder"]
