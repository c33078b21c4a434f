"""REET as a server: one model and many sessions behind HTTP, the Model Context Protocol and Inference Endpoints."""
