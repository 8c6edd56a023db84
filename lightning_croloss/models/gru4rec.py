"""GRU4Rec: the history through a gated recurrent network."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from lightning_croloss.common.checks import check_probability, check_widths
from lightning_croloss.models.sequence_model import SequenceModel


class GRU4Rec(SequenceModel):
    """Read the history with gated recurrent units; the user is the state after the last event.

    Hidasi et al., "Session-based Recommendations with Recurrent Neural Networks", ICLR 2016, on histories
    instead of parallel sessions, with the embeddings of the items as input and a linear map from the last
    state to the space of the items.

    Args:
        num_items: size of the catalogue, from the data.
        hidden_dims: widths of the recurrent layers, one or more.
        dropout: probability that an output of a recurrent layer is dropped in training.
        **kwargs: arguments of ``SequenceModel``, ``HistoryModel`` and ``RetrievalModel``.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self, num_items: int, hidden_dims: Sequence[int] = (128,), dropout: float = 0.0, **kwargs: Any
    ) -> None:
        super().__init__(num_items, **kwargs)
        check_widths(hidden_dims=hidden_dims)
        if not hidden_dims:
            raise ValueError("hidden_dims must name the width of at least one recurrent layer, got none")
        check_probability(dropout=dropout)
        widths = [self.embedding_dim, *hidden_dims]
        layers = [nn.GRU(width, hidden, batch_first=True) for width, hidden in pairwise(widths)]
        _init_layers(layers)
        self.recurrent_layers = nn.ModuleList(layers)
        self.dropout = nn.Dropout(dropout)
        self.output_map = nn.Linear(widths[-1], self.embedding_dim)
        nn.init.zeros_(self.output_map.bias)

    def event_states(self, events: Tensor, numbers: Tensor, lengths: Tensor) -> Tensor:
        """Return the states (B, L, hidden_dims[-1]) of the last recurrent layer, see ``SequenceModel``."""
        for layer in self.recurrent_layers:
            events = self.dropout(layer(events)[0])
        return events

    def read_out(self, states: Tensor) -> Tensor:
        """Map states (B, hidden_dims[-1]) to (B, D)."""
        vectors: Tensor = self.output_map(states)
        return vectors


def _init_layers(layers: Sequence[nn.GRU]) -> None:
    """Let the gates hear the events from the first step on.

    For cosines embeddings start with length 1, for which PyTorch's own start, meant for components of that
    size, would hold all gates half open and all users near the bias of the output. The recurrent matrix of
    each gate is orthogonal, so that what was remembered neither fades nor grows.
    """
    for number, layer in enumerate(layers):
        for name, weight in layer.named_parameters():
            if name == "weight_ih_l0":
                nn.init.normal_(weight, std=1.0 if number == 0 else layer.input_size**-0.5)
            elif name == "weight_hh_l0":
                for gate in weight.chunk(3):
                    nn.init.orthogonal_(gate)
            else:
                nn.init.zeros_(weight)
