"""Serving: a model exported to ONNX and an index, and the Recommender that needs no torch.

``serving.export`` and ``serving.encoder`` use torch and are not imported here.
"""

from lightning_croloss.serving.recommender import Recommender

__all__ = ["Recommender"]
