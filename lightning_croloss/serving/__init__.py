"""Serving: a model exported to ONNX and an index, and the Recommender that needs no torch.

The Recommender comes from ``lightning-croloss-serving``, which can be installed alone, without torch.
``serving.export`` and ``serving.encoder`` use torch and are not imported here.
"""

from croloss_serving import Recommender

__all__ = ["Recommender"]
