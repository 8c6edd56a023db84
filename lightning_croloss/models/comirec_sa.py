"""ComiRec-SA: several interests of each user, by self-attention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lightning_croloss.common.checks import check_counts
from lightning_croloss.data.batch import RetrievalBatch
from lightning_croloss.models.history_model import HistoryModel
from lightning_croloss.models.layers import positions_from_end
from lightning_croloss.models.layers.interest_layers import interest_layers
from lightning_croloss.models.layers.self_attention import SelfAttentiveReadout


class ComiRecSA(HistoryModel):
    """Read several interests out of the history by self-attention.

    Cen et al., "Controllable Multi-Interest Framework for Recommendation", KDD 2020. Each interest is a
    weighted mean of the history; its weights are ``softmax(W2 tanh(W1 (E + P)))`` over the events E with
    learned positions P. As in the authors' code the positions decide the weights and are not averaged. In
    training the interest closest to the target stands for the user. For the diversity that the paper controls
    see :meth:`recommend`.

    Args:
        num_items: size of the catalogue, from the data.
        num_interests: number of interests K.
        attention_dim: width of the attention's hidden layer; None is ``4 * embedding_dim``, as in the paper.
        use_positions: whether the weights depend on the position of an event, counted from the end.
        num_positions: number of positions that are told apart; events further back share the last of them.
        hidden_dims: widths of the hidden layers that each interest passes, empty for a single linear map;
            None leaves the interests as they are, as in the paper.
        dropout: probability that a hidden unit of these layers is dropped in training.
        **kwargs: arguments of ``HistoryModel`` and ``RetrievalModel``.
    """

    def __init__(
        self,
        num_items: int,
        num_interests: int = 4,
        attention_dim: int | None = None,
        use_positions: bool = True,
        num_positions: int = 50,
        hidden_dims: Sequence[int] | None = None,
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_items, **kwargs)
        dim = self.embedding_dim
        attention_dim = 4 * dim if attention_dim is None else attention_dim
        check_counts(num_interests=num_interests, attention_dim=attention_dim, num_positions=num_positions)
        self.num_positions = num_positions
        self.attention = SelfAttentiveReadout(dim, attention_dim, num_interests)
        self.positions = nn.Parameter(torch.randn(num_positions, dim) * dim**-0.5) if use_positions else None
        self.interest_layers = interest_layers(dim, hidden_dims, dropout)

    def encode_users(self, batch: RetrievalBatch) -> Tensor:
        """Return the interests of each user, (B, K, D)."""
        events, mask = self.embed_history(batch)
        keys = events
        if self.positions is not None:
            keys = events + self.positions[positions_from_end(mask.shape[1], self.num_positions, mask.device)]
        return self.normalize(self.interest_layers(self.attention(events, keys, mask)))
