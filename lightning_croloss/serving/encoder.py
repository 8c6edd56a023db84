"""The user side of a model as an ONNX graph."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from croloss_serving.layout import EVENT_FEATURE, FEATURE_VECTORS, HISTORY, INTERESTS, TIMES, USERS
from lightning_croloss.data.batch import EventValues, RetrievalBatch
from lightning_croloss.errors import MissingExtraError
from lightning_croloss.models import HistoryModel, RetrievalModel
from lightning_croloss.recommend.top_items import evaluating

OPSET = 20


class UserEncoder(nn.Module):
    """From histories, and users where the model knows them, to the users' vectors.

    What an id embeds to, features included, is one table here: the graph looks ids up and knows no features.
    Those of new users come in as the sum of their embeddings, which ``croloss_serving.user_feature_vectors``
    makes.

    Args:
        model: the model; it is copied.
    """

    def __init__(self, model: RetrievalModel) -> None:
        super().__init__()
        model = _copy(model)
        self.needs_users = model.knows_users
        self.feature_width = 0
        self.events = model.metadata.events
        with torch.no_grad(), evaluating(model):
            if isinstance(model, HistoryModel):
                ids = torch.arange(model.num_items + 1, device=model.device)
                self.items = nn.Embedding.from_pretrained(model.embed_items(ids).float())
                model.embed_items = self.items.forward  # type: ignore[method-assign]
            if model.user_feature_embedding is not None:
                ids = torch.arange(model.num_users + 1, device=model.device)
                table = model.user_feature_embedding(ids).float()
                self.feature_width = table.shape[1]
                model.user_feature_embedding = UserFeatures(table)  # type: ignore[assignment]
        for name, module in list(model.named_modules()):
            if isinstance(module, nn.GRU):
                parent, _, child = name.rpartition(".")
                setattr(model.get_submodule(parent), child, OnnxGRU(module))
        self.model = model
        self.eval()

    def forward(
        self,
        history: Tensor,
        users: Tensor | None = None,
        user_features: Tensor | None = None,
        times: Tensor | None = None,
        event_features: list[Tensor] | None = None,
    ) -> Tensor:
        """Encode users.

        Args:
            history: (B, L) int64 item ids, left-padded with 0, oldest first, L at least 1.
            users: (B,) int64 user ids, 0 = unknown; for models that know users.
            user_features: (B, D) float32 embeddings of the features of unknown users, zeros where nothing is
                known, or (1, D) for all; for models that have features of users. (…, F · D) where the model
                has each of F features apart.
            times: (B, L) int64 whole times of the events; for models that were trained with them.
            event_features: for each feature of events that the model reads (B, L), int64 or float32.

        Returns:
            (B, K, D) float32.
        """
        if users is None:
            users = torch.zeros_like(history[:, 0])
        batch = RetrievalBatch(history, targets=history[:, :1], users=users)
        if self.events:
            batch.events = EventValues(times, event_features or [])
        batch.user_features = user_features  # type: ignore[assignment]  # embedded already
        vectors: Tensor = self.model.encode_users(batch).float()
        return vectors


class UserFeatures(nn.Module):
    """Embeddings of the features of users: of known ones from a table, of others what is given.

    Args:
        table: (num_users + 1, D), zeros for id 0.
    """

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.table = nn.Embedding.from_pretrained(table)

    def forward(self, users: Tensor, given: Tensor | None) -> Tensor:
        """Return (B, D) for users (B,) and what is given, (B, D) or (1, D)."""
        found: Tensor = self.table(users)
        if given is None:
            return found
        last = torch.arange(given.shape[0], device=users.device)[-1]
        rows = torch.minimum(torch.arange(users.shape[0], device=users.device), last)
        return found + given[rows] * (users == 0).unsqueeze(-1)


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
    # different sizes above 1, which the export does not take for constants or for one another
    num_users, length = 8, 7 if model.max_length is None else min(7, model.max_length)
    history = torch.randint(1, model.num_items + 1, (num_users, length))
    inputs: dict[str, Any] = {HISTORY: history}
    shapes: dict[str, Any] = {HISTORY: {0: batch}}
    if length > 1:  # else it is a constant
        shapes[HISTORY][1] = torch.export.Dim("length", min=1, max=model.max_length)
    if encoder.needs_users:
        inputs[USERS], shapes[USERS] = torch.zeros(num_users, dtype=torch.long), {0: batch}
    if encoder.feature_width:
        rows = torch.export.Dim("feature_rows", min=1)
        inputs[FEATURE_VECTORS], shapes[FEATURE_VECTORS] = torch.zeros(9, encoder.feature_width), {0: rows}
    names = list(inputs)
    if encoder.events.times is not None:
        inputs[TIMES], shapes[TIMES] = torch.arange(num_users * length).view_as(history), shapes[HISTORY]
        names.append(TIMES)
    if encoder.events.encodings:
        inputs["event_features"] = [
            torch.zeros(history.shape, dtype=torch.float32 if one.kind == "numeric" else torch.int64)
            for one in encoder.events.encodings
        ]
        shapes["event_features"] = [shapes[HISTORY]] * len(encoder.events.encodings)
        names += [EVENT_FEATURE + name for name in encoder.events.names]
    with _quiet():
        program = torch.onnx.export(
            encoder,
            kwargs=inputs,
            dynamo=True,
            dynamic_shapes=shapes,
            input_names=names,
            output_names=[INTERESTS],
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None
    if encoder.feature_width:
        nothing = np.zeros((1, encoder.feature_width), np.float32)
        _make_optional(program.model.graph, FEATURE_VECTORS, nothing)
    # the exporter notes for each node the lines of code it comes from, with the paths of this machine
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()
    program.save(str(path), external_data=False)


def _make_optional(graph: Any, name: str, default: NDArray[np.float32]) -> None:
    """Give an input of an ONNX graph a default: an initializer of the same name."""
    import onnx_ir

    (value,) = [value for value in graph.inputs if value.name == name]
    value.const_value = onnx_ir.tensor(default, name=name)
    graph.register_initializer(value)


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
