"""Exports of one model after another, without the graph being written each time."""

from __future__ import annotations

from pathlib import Path

from lightning_croloss import RetrievalModel
from lightning_croloss.serving.encoder import write_encoder


class WrittenOnce:
    """``write_encoder`` that keeps the graph of a model for the model's next export.

    Tracing a model takes seconds, and no index and no option of an export changes the graph.
    """

    def __init__(self) -> None:
        self._graphs: dict[RetrievalModel, bytes] = {}

    def __call__(self, model: RetrievalModel, path: Path) -> None:
        """Write the graph to a file."""
        if model in self._graphs:
            path.write_bytes(self._graphs[model])
        else:
            write_encoder(model, path)
            self._graphs[model] = path.read_bytes()
