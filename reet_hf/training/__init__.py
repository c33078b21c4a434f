"""Pieces of the training scripts."""
