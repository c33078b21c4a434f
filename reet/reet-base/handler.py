"""What an Inference Endpoint loads from this repository."""

from reet_hf.serving.endpoint import EndpointHandler

__all__ = ["EndpointHandler"]
