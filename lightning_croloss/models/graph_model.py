"""GraphModel: what the architectures share that propagate embeddings over the graph of training events."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from lightning_croloss.common.uncompiled import uncompiled
from lightning_croloss.data.batch import RetrievalBatch
from lightning_croloss.models.layers.graph import InteractionGraph
from lightning_croloss.models.layers.weight_state import state_of
from lightning_croloss.models.matrix_factorization import MatrixFactorization
from lightning_croloss.sharding.embedding import IdEmbedding


@dataclass
class Propagated:
    """The vectors of all users and items, and which of them a training step has read.

    Attributes:
        own: (num_users + num_items, D) the embeddings that were propagated.
        users: (num_users + 1, D') what became of those of the users, zeros for id 0.
        items: (num_items + 1, D') the same of the items.
        read: for users and for items the ids that were read, None = all.
    """

    own: Tensor
    users: Tensor
    items: Tensor
    read: dict[str, list[Tensor | None]] = field(default_factory=lambda: {"users": [], "items": []})


class GraphModel(MatrixFactorization):
    """Base of the architectures that smooth the embeddings of users and items along the training events.

    A subclass implements :meth:`propagate`. A training step propagates the whole graph once and reads users,
    targets and candidates from the outcome; evaluation, prediction and recommending do it once for all users.

    The graph is that of the training events, ``rows.training_events`` of the data, whatever the split: no
    event of validation or test is an edge. It is built when training begins and travels with the weights, see
    ``InteractionGraph``; a model from a file keeps the graph of its own training, and goes on training with
    no other. A model that has none yet takes that of the data it is evaluated on, else its users and items
    are their embeddings alone. To train on loaders of your own call ``graph.set_edges`` before.

    Args:
        num_items: size of the catalogue, from the data.
        num_users: number of users, from the data.
        regularization: weight λ of ``λ / 2B`` times the squared lengths of the vectors that a step reads of
            its B users, their targets and the candidates. Unlike ``weight_decay`` it leaves all others alone.
        **kwargs: arguments of ``RetrievalModel``; not ``sparse_gradients``, as every row has a gradient.

    Attributes:
        graph: the graph.

    Raises:
        ValueError: an argument is out of range.
    """

    #: whether it regularises the outcome of the propagation instead of the embeddings themselves
    regularizes_outcome = False

    def __init__(self, num_items: int, num_users: int, regularization: float = 0.0, **kwargs: Any) -> None:
        if kwargs.get("sparse_gradients"):
            raise ValueError(
                f"sparse_gradients=True and {type(self).__name__}: each step reaches the rows of all users "
                "and items through the graph; leave sparse_gradients out"
            )
        super().__init__(num_items, num_users, **kwargs)
        if not 0.0 <= regularization < math.inf:
            raise ValueError(f"regularization must be a number of at least 0, got {regularization}")
        self.regularization = regularization
        self.graph = InteractionGraph(num_users, num_items)
        self._step: Propagated | None = None
        self._kept: tuple[tuple[Any, ...], Tensor, Propagated] | None = None

    @abstractmethod
    def propagate(self, embeddings: Tensor) -> Tensor:
        """Return the vectors of all nodes.

        Args:
            embeddings: (num_users + num_items, D), in the order of the nodes of the graph.

        Returns:
            (num_users + num_items, D').
        """

    def setup(self, stage: str) -> None:
        """Take from the data what training needs, here also the graph.

        Raises:
            ValueError: the split evaluates users whom training never sees, or there is nothing to build the
                graph of.
        """
        super().setup(stage)
        data = self.data
        if data is not None and (stage == "fit" or not self.graph.num_edges):
            self.graph.set_edges(*data.training_pairs)
        if stage == "fit" and not self.graph.num_edges:
            raise ValueError(
                f"{type(self).__name__} propagates along the events of training: give the trainer a data "
                "module of this package, or call model.graph.set_edges(users, items) before"
            )

    @property
    def supports_shards(self) -> bool:
        """Whether the tables of ids may lie in shards: the graph reaches across all rows."""
        return False

    def id_embeddings(self) -> list[IdEmbedding]:
        """Return none: the gradients of these embeddings are never sparse."""
        return []

    # ------------------------------------------------------------------ vectors

    def encode_users(self, batch: RetrievalBatch) -> Tensor:
        """Return one vector for each user, (B, 1, D'); zeros for user 0."""
        users = self._propagated(users=batch.users).users
        return self.normalize(functional.embedding(batch.users, users)).unsqueeze(1)

    def encode_items(self, ids: Tensor | None) -> Tensor:
        """Return item vectors, (..., D'), or (num_items, D')."""
        items = self._propagated(items=ids).items
        return self.normalize(items[1:] if ids is None else functional.embedding(ids, items))

    def encode_catalogue(self) -> Tensor:
        """Return the vectors of all items, (num_items, D') float32, without gradient; propagates anew."""
        self._kept = None  # whoever swaps weights behind our back calls this afterwards
        return super().encode_catalogue()

    def train(self, mode: bool = True) -> Any:
        """Switch to training mode, or out of it."""
        if mode:
            self._kept = None
        return super().train(mode)

    def _propagated(self, **read: Tensor | None) -> Propagated:
        """Return the outcome of the propagation: that of this step, or the kept one of an evaluation.

        Args:
            **read: the ids that are about to be read, under "users" or "items"; None = all.
        """
        if self._step is not None:
            for kind, ids in read.items():
                self._step.read[kind].append(ids)
            return self._step
        if self.training or torch.is_grad_enabled():
            return self._propagate()
        now, edges = state_of(self.parameters()), self.graph.edges
        if self._kept is None or self._kept[0] != now or self._kept[1] is not edges:
            self._kept = now, edges, self._propagate()
        return self._kept[2]

    @uncompiled
    def _propagate(self) -> Propagated:
        users, items = self.user_embedding.weight, self.item_embedding.weight
        own = torch.cat([users[1:], items[1:]])
        found = self.propagate(own)
        nothing = found.new_zeros(1, found.shape[1])
        of_users, of_items = found.split([self.num_users, self.num_items])
        return Propagated(own, torch.cat([nothing, of_users]), torch.cat([nothing, of_items]))

    def _apply(self, *args: Any, **kwargs: Any) -> Any:
        self._kept = None  # another type and back, in the same memory, has other values
        return super()._apply(*args, **kwargs)

    # ------------------------------------------------------------------ training

    def loss_of(self, batch: RetrievalBatch) -> Tensor:
        """Return the training loss of one batch, with the regularisation; the graph is propagated once."""
        self._step = step = self._propagate()
        try:
            loss = super().loss_of(batch)
        finally:
            self._step = None
        if not self.regularization:
            return loss
        return loss + self.regularization / (2 * batch.batch_size) * self._squared_lengths(step)

    def _squared_lengths(self, step: Propagated) -> Tensor:
        """Return the sum of the squared lengths of what a step has read, of one read twice twice."""
        users, items = step.users, step.items
        if not self.regularizes_outcome:
            of_users, of_items = step.own.split([self.num_users, self.num_items])
            nothing = step.own.new_zeros(1, step.own.shape[1])
            users, items = torch.cat([nothing, of_users]), torch.cat([nothing, of_items])
        wide = torch.promote_types(users.dtype, torch.float32)
        total = users.new_zeros((), dtype=wide)
        for vectors, read in ((users, step.read["users"]), (items, step.read["items"])):
            lengths = vectors.to(wide).square().sum(1)
            for ids in read:
                total = total + (lengths if ids is None else lengths[ids]).sum()
        return total
