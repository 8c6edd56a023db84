"""The user side of a model as an ONNX graph."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lightning_croloss.data.batch import RetrievalBatch
from lightning_croloss.errors import MissingExtraError
from lightning_croloss.models import HistoryModel, RetrievalModel
from lightning_croloss.recommend.top_items import evaluating
from lightning_croloss.serving.layout import HISTORY, INTERESTS, USERS

OPSET = 20


class UserEncoder(nn.Module):
    """From histories, and users where the model knows them, to the users' vectors.

    What an id embeds to, features included, is one table here: the graph looks ids up and knows no features.

    Args:
        model: the model; it is copied.
    """

    def __init__(self, model: RetrievalModel) -> None:
        super().__init__()
        model = _copy(model)
        self.needs_users = model.knows_users
        with torch.no_grad(), evaluating(model):
            if isinstance(model, HistoryModel):
                ids = torch.arange(model.num_items + 1, device=model.device)
                self.items = nn.Embedding.from_pretrained(model.embed_items(ids).float())
                model.embed_items = self.items.forward  # type: ignore[method-assign]
            if model.user_feature_embedding is not None:
                ids = torch.arange(model.num_users + 1, device=model.device)
                features = nn.Embedding.from_pretrained(model.user_feature_embedding(ids).float())
                model.user_feature_embedding = features  # type: ignore[assignment]
        for name, module in list(model.named_modules()):
            if isinstance(module, nn.GRU):
                parent, _, child = name.rpartition(".")
                setattr(model.get_submodule(parent), child, OnnxGRU(module))
        self.model = model
        self.eval()

    def forward(self, history: Tensor, users: Tensor | None = None) -> Tensor:
        """Encode users.

        Args:
            history: (B, L) int64 item ids, left-padded with 0, oldest first, L at least 1.
            users: (B,) int64 user ids, 0 = unknown; for models that know users.

        Returns:
            (B, K, D) float32.
        """
        if users is None:
            users = torch.zeros_like(history[:, 0])
        batch = RetrievalBatch(history, targets=history[:, :1], users=users)
        vectors: Tensor = self.model.encode_users(batch).float()
        return vectors


class OnnxGRU(nn.Module):
    """One layer of ``nn.GRU`` as ONNX's own operator: PyTorch's export unrolls it to a fixed length.

    Args:
        layer: the layer, batch first.
    """

    def __init__(self, layer: nn.GRU) -> None:
        super().__init__()
        self.hidden_size = layer.hidden_size
        weights = {name: _reordered(value) for name, value in layer.named_parameters()}
        self.input_weight = nn.Parameter(weights["weight_ih_l0"].unsqueeze(0))
        self.hidden_weight = nn.Parameter(weights["weight_hh_l0"].unsqueeze(0))
        self.bias = nn.Parameter(torch.cat([weights["bias_ih_l0"], weights["bias_hh_l0"]]).unsqueeze(0))

    def forward(self, events: Tensor) -> tuple[Tensor, None]:
        """Return the states (B, L, hidden_size) after each of the events (B, L, D)."""
        batch_size, length, _ = events.shape
        states = torch.onnx.ops.symbolic(
            "GRU",
            (events.transpose(0, 1), self.input_weight, self.hidden_weight, self.bias),
            attrs={"hidden_size": self.hidden_size, "linear_before_reset": 1},
            dtype=events.dtype,
            shape=(length, 1, batch_size, self.hidden_size),
            version=14,
        )
        return states.squeeze(1).transpose(0, 1), None


def _reordered(gates: Tensor) -> Tensor:
    """Bring the gates from PyTorch's order, reset, update, new, into ONNX's: update, reset, new."""
    reset, update, new = gates.detach().float().chunk(3)
    return torch.cat([update, reset, new])


def write_encoder(model: RetrievalModel, path: Path) -> None:
    """Write the user encoder of a model as ONNX, for any number of users and events.

    Args:
        model: the model.
        path: the file.

    Raises:
        MissingExtraError: onnx or onnxscript is not installed.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtraError("exporting a model", "export") from error
    encoder = UserEncoder(model)
    batch = torch.export.Dim("batch", min=1)
    length = torch.export.Dim("length", min=1, max=model.max_length)
    # sizes that the export does not take for constants
    history = torch.randint(1, model.num_items + 1, (3, 7))
    inputs: dict[str, Tensor] = {HISTORY: history}
    shapes: dict[str, Any] = {HISTORY: {0: batch, 1: length}}
    if encoder.needs_users:
        inputs[USERS], shapes[USERS] = torch.zeros(3, dtype=torch.long), {0: batch}
    with _quiet():
        program = torch.onnx.export(
            encoder,
            kwargs=inputs,
            dynamo=True,
            dynamic_shapes=shapes,
            input_names=list(inputs),
            output_names=[INTERESTS],
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None
    # the exporter notes for each node the lines of code it comes from, with the paths of this machine
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()
    program.save(str(path), external_data=False)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what the exporter says about itself."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _copy(model: RetrievalModel) -> RetrievalModel:
    """Return a copy without the trainer that the model may be attached to."""
    trainer = model._trainer
    model._trainer = None
    try:
        return copy.deepcopy(model).cpu().float()
    finally:
        model._trainer = trainer
