"""HistoryModel: what every architecture shares that sees the user's history of items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn
from torch.nn import functional

from lightning_croloss.common.checks import check_probability
from lightning_croloss.common.uniform_draws import uniform_draws
from lightning_croloss.data.batch import RetrievalBatch
from lightning_croloss.data.coverage import count_unseen_histories
from lightning_croloss.data.own_rows_loader import said_by_all
from lightning_croloss.models.item_smoothing import check_item_graph, take_item_graph
from lightning_croloss.models.known_users import refuse_unseen_users
from lightning_croloss.models.layers import (
    EventFeatureEmbedding,
    drop_history,
    feature_embedding,
    id_embedding,
    pool_events,
    pool_history,
    rows_of_ids,
)
from lightning_croloss.models.layers.smoothed_embedding import SmoothedEmbedding
from lightning_croloss.models.retrieval_model import RetrievalModel
from lightning_croloss.sharding.deferred import DeferredEmbedding
from lightning_croloss.sharding.embedding import IdEmbedding

#: The methods here that make the vectors of items of the rows of their table.
ROWS = ("encode_items", "embed_items", "_item_rows")


class HistoryModel(RetrievalModel):
    """Base of the architectures with one table of item embeddings, for the catalogue and for histories.

    Item features add to the embeddings. An item that training never saw is then represented by its features
    alone, in the catalogue as in histories; ``id_dropout`` makes the model practise that (Volkovs et al.,
    "DropoutNet", NeurIPS 2017). The two dropouts of the history regularise, which on data of moderate size
    matters more than the choice of the loss.

    Args:
        num_items: size of the catalogue, from the data.
        item_features: specifications of the items' features, from the data.
        history_dropout: probability that an event of the history is dropped in training.
        embedding_dropout: probability that a component of an event's embedding is dropped in training.
        id_dropout: probability that an item's id is dropped in training, so that its features must do;
            without effect if there are none.
        use_item_id: whether items have embeddings of their own besides their features.
        item_graph_weight: what the embeddings of the items that stand near an item in the histories of
            training add to its own, see ``SmoothedEmbedding``; 0 = nothing. A step then costs a sweep over
            the whole table of the items.
        item_graph_window: how many events such items are apart at most.
        event_features: specifications of the features of events, from the data; their embeddings add to those
            of the history's items.
        **kwargs: arguments of ``RetrievalModel``.

    Attributes:
        use_user_id: whether an embedding of the user's id is an input, in the architectures that offer it.
        starts_small: whether the embeddings of ids and features start small where scores are dot products:
            with ``embedding_dim ** -0.5`` of the length that they have for cosines. An item's scores are then
            near 0 until it is learned. Else its random vector, which has scores of the size of what is
            learned, is first to be unlearned, item by item.

    Raises:
        ValueError: an argument is out of range, items have neither ids nor features, or those of a graph have
            no ids or are to have sparse gradients.
    """

    use_user_id = False
    starts_small = False
    seen_items: Tensor

    def __init__(
        self,
        num_items: int,
        item_features: Sequence[Mapping[str, Any]] = (),
        history_dropout: float = 0.0,
        embedding_dropout: float = 0.0,
        id_dropout: float = 0.1,
        use_item_id: bool = True,
        item_graph_weight: float = 0.0,
        item_graph_window: int = 3,
        event_features: Sequence[Mapping[str, Any]] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(num_items, **kwargs)
        check_probability(
            history_dropout=history_dropout, embedding_dropout=embedding_dropout, id_dropout=id_dropout
        )
        if not (use_item_id or item_features):
            raise ValueError("items have no input: set use_item_id, or give the data item_features")
        check_item_graph(item_graph_weight, item_graph_window, use_item_id, kwargs.get("sparse_gradients"))
        #: (num_items + 1,) bool, items that a pretrained model has seen; None without one.
        self.known_items: Tensor | None = None
        self.history_dropout = history_dropout
        self.embedding_dropout = embedding_dropout
        self.id_dropout = id_dropout
        dim = self.embedding_dim
        if use_item_id and item_graph_weight:
            self.item_embedding = SmoothedEmbedding(num_items, dim, item_graph_weight, item_graph_window)
        else:
            self.item_embedding = id_embedding(num_items, dim) if use_item_id else None
        self.item_feature_embedding = feature_embedding(item_features, num_items, dim, "items")
        if event_features:
            self.event_feature_embedding = EventFeatureEmbedding(event_features, dim)
        self.start_small(self.item_embedding, self.item_feature_embedding, self.event_feature_embedding)
        if item_features:
            # until training begins, and in a model that never trained, every item counts as seen
            self.register_buffer("seen_items", torch.ones(num_items + 1, dtype=torch.bool))

    def start_small(self, *tables: nn.Module | None) -> None:
        """Shorten tables of embeddings that have just been drawn, if the model ``starts_small``."""
        if not self.starts_small or self.similarity != "dot":
            return
        factor = self.embedding_dim**-0.5
        for table in tables:
            if isinstance(table, DeferredEmbedding):
                table.shorten(factor)
                continue
            with torch.no_grad():
                for weight in () if table is None else table.parameters():
                    weight.mul_(factor)

    def setup(self, stage: str) -> None:
        """Take from the data what training needs, here also which items training has seen.

        Warns of evaluation histories that the model can know nothing about.

        Raises:
            ValueError: the data's histories have more events than the model can see, or the split evaluates
                users whose ids training never sees.
        """
        super().setup(stage)
        if self.use_user_id:
            refuse_unseen_users(self.data, "use_user_id", "set use_user_id to false, or split by LeaveOneOut")
        data = self.data
        if self._smoothed is not None:
            take_item_graph(self._smoothed.graph, data, stage)
        if data is not None and self.max_length is not None and data.max_history > self.max_length:
            raise ValueError(
                f"the model's max_length={self.max_length} is less than the data's "
                f"max_history={data.max_history}: raise the one or lower the other"
            )
        if stage != "fit" or data is None:
            return
        seen = data.item_counts > 0
        if self.known_items is not None:
            seen = seen | self.known_items
        if self.item_feature_embedding is not None:
            # padding counts as seen until the first training, so that this tells whether there was one
            seen = seen if self.seen_items[0] else seen | self.seen_items.to(seen.device)
            seen[0] = False
            self.seen_items.copy_(seen)
            return
        for part, rows in (("validation", data.rows.valid), ("test", data.rows.test)):
            unseen = count_unseen_histories(data.interactions, rows, seen, data.max_history)
            total = len(rows)
            if data.interactions.share is not None:
                unseen, total = (sum(said_by_all(count)) for count in (unseen, total))
            if unseen:
                rank_zero_warn(
                    f"{unseen:,} of {total:,} {part} histories hold only items unseen in training: the "
                    "model knows nothing of them; filter rare items or give the data item features"
                )

    def visible(self, batch: RetrievalBatch) -> RetrievalBatch:
        """Return the batch with the last ``max_length`` events of each history, all if there is no limit."""
        if self.max_length is None or batch.history.shape[1] <= self.max_length:
            return batch
        return batch.last_events(self.max_length)

    def embed_items(self, ids: Tensor | None) -> Tensor:
        """Return the embeddings of items, ids and features added, not normalised.

        Args:
            ids: item ids of any shape ``(...)``, 0 for zeros; None for the whole catalogue, over shards for
                the items of this process.

        Returns:
            (..., D), or (num_items, D).
        """
        if self.item_feature_embedding is None and self.item_embedding is not None:
            found: Tensor = self._item_rows() if ids is None else self.item_embedding(ids)
            return found
        assert self.item_feature_embedding is not None
        embeddings: Tensor = self.item_feature_embedding(self._ids_here() if ids is None else ids)
        return embeddings if self.item_embedding is None else embeddings + self._own_embeddings(ids)

    def item_fields(self, ids: Tensor | None) -> list[Tensor]:
        """Return what :meth:`embed_items` adds: embeddings (..., D) of the id, if any, and each feature."""
        assert self.item_feature_embedding is not None
        own = [] if self.item_embedding is None else [self._own_embeddings(ids)]
        return [*own, *self.item_feature_embedding.fields(self._ids_here() if ids is None else ids)]

    def _ids_here(self) -> Tensor:
        """Return the ids of all items, over shards of those of this process."""
        own = range(1, self.num_items + 1) if self.item_shards is None else self.item_shards.own_items
        return torch.arange(own.start, own.stop, device=self.device)

    def _own_embeddings(self, ids: Tensor | None) -> Tensor:
        """Return the embeddings of the ids alone, of items with features: zeros where these must do."""
        assert self.item_embedding is not None
        # a look-up is a collective of all processes, and all rows are none
        found: Tensor = self._item_rows() if ids is None else self.item_embedding(ids)
        kept = self.seen_items[self._ids_here() if ids is None else ids]
        if self.training and self.id_dropout > 0.0:
            kept = kept & (uniform_draws(kept.shape, kept.device) >= self.id_dropout)
        return found * kept.unsqueeze(-1)

    def embed_history(self, batch: RetrievalBatch, real: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the embeddings (B, L, D) of each history's events and a mask (B, L), True = a real event.

        In training the dropouts apply.

        Args:
            batch: the histories.
            real: (B, L) bool, where events are; None: where items are, as everywhere but where one is hidden.
        """
        history = drop_history(batch.history, self.history_dropout, self.training)
        events = self.embed_items(history)
        if self.event_feature_embedding is not None:
            # a mask or target that a model puts behind the history has no features
            width = batch.history.shape[1] if batch.events is None else batch.events.width
            real = batch.history != 0 if real is None else real
            added = self.event_feature_embedding(batch.events, real[:, :width])
            added = functional.pad(added, (0, 0, 0, batch.history.shape[1] - width))
            events = events + added * (history != 0).unsqueeze(-1)
        return functional.dropout(events, self.embedding_dropout, self.training), history != 0

    def pooled_history(self, batch: RetrievalBatch, how: str) -> Tensor:
        """Return the events of each history pooled into one vector, (B, D); zeros for one without events.

        In training the dropouts apply, and a processor looks at no padding.

        Args:
            batch: the histories.
            how: one of ``POOLINGS``.
        """
        as_ours = type(self).embed_history is HistoryModel.embed_history and "embed_history" not in vars(self)
        plain = as_ours and self.training and how != "max" and self.event_feature_embedding is None
        if not (plain and batch.history.is_cpu) or torch.compiler.is_compiling():
            return pool_history(*self.embed_history(batch), how)
        history = drop_history(batch.history, self.history_dropout, self.training)
        rows, columns = history.nonzero(as_tuple=True)
        events = functional.dropout(self.embed_items(history[rows, columns]), self.embedding_dropout)
        return pool_events(events, rows, len(history), how)

    def embed_user_features(self, batch: RetrievalBatch) -> Tensor:
        """Return the embeddings (B, D) of the users' features, for a model that has them."""
        assert self.user_feature_embedding is not None
        embeddings: Tensor = self.user_feature_embedding(batch.users, batch.user_features)
        return embeddings

    def encode_items(self, ids: Tensor | None) -> Tensor:
        """Return item vectors, (..., D), or (num_items, D); over shards those of this process."""
        return self.normalize(self.embed_items(ids))

    @property
    def plain_item_table(self) -> IdEmbedding | None:
        """The table whose rows make the vectors of items: without features, and without a graph."""
        if self.item_feature_embedding is not None:
            return None
        return self.table_behind(HistoryModel, *ROWS)

    def encode_catalogue(self) -> Tensor:
        """Return the vectors of all items, (num_items, D) float32, without gradient."""
        if self._smoothed is not None:  # whoever swaps weights behind our back calls this afterwards
            self._smoothed.forget()
        return super().encode_catalogue()

    # ------------------------------------------------------------------ the graph of the items

    def id_embeddings(self) -> list[IdEmbedding]:
        """Return the embeddings of ids whose gradients may be sparse: not one that a graph reaches."""
        return [each for each in super().id_embeddings() if each is not self._smoothed]

    def loss_of(self, batch: RetrievalBatch) -> Tensor:
        """Return the training loss of one batch, a scalar with gradient; smooths the items once."""
        if self._smoothed is None:
            return super().loss_of(batch)
        with self._smoothed.step(one_gradient=self._compiler_ctx is None):
            return super().loss_of(batch)

    def _candidate_rows(self) -> AbstractContextManager[Tensor | None]:
        """Return, for one step, the rows of a table that all are candidates: the smoothed one too."""
        table = self._smoothed
        if table is None or not self._takes_whole_tables:
            return super()._candidate_rows()
        alone = self.item_feature_embedding is None and self.made_of_rows(HistoryModel, *ROWS)
        # on an accelerator a normalised copy costs nothing
        return nullcontext(table.table() if alone and table.weight.is_cpu else None)

    @property
    def supports_shards(self) -> bool:
        """Whether the tables of ids may lie in shards: not if a graph reaches across all rows."""
        return self._smoothed is None

    @property
    def _smoothed(self) -> SmoothedEmbedding | None:
        table = self.item_embedding
        return table if isinstance(table, SmoothedEmbedding) else None

    def _item_rows(self) -> Tensor:
        """Return the embeddings of all ids from 1 on, with those of neighbours if there are any.

        Over shards, which no graph reaches across, those of this process.
        """
        assert self.item_embedding is not None
        return rows_of_ids(self.item_embedding) if self._smoothed is None else self._smoothed.table()[1:]
