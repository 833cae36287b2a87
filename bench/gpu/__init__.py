"""Recordings of a real GPU: needs torch, transformers, nvidia-ml-py and numpy, nothing else of the project's."""
