"""RetrievalModel: training, exact evaluation and recommendation, shared by every architecture."""

from __future__ import annotations

from collections.abc import Sequence

from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from lightning_croloss.common.checks import check_choice, check_counts
from lightning_croloss.common.deprecation import warn_deprecated
from lightning_croloss.common.unit_length import unit_length
from lightning_croloss.data.datamodule import RetrievalDataModule
from lightning_croloss.data.request import DataRequest
from lightning_croloss.errors import DataError
from lightning_croloss.losses import RetrievalLoss
from lightning_croloss.models.checkpointed_model import CheckpointedModel
from lightning_croloss.models.cutoffs import DEFAULT, chosen_cutoffs
from lightning_croloss.models.evaluation import ExactEvaluation
from lightning_croloss.models.layers.event_features import EventFeatureEmbedding
from lightning_croloss.models.layers.features import FeatureEmbedding
from lightning_croloss.models.metadata import ModelMetadata
from lightning_croloss.models.own_parts import own_loss, own_negatives
from lightning_croloss.models.recommending import Recommending
from lightning_croloss.negatives import Negatives
from lightning_croloss.sharding.embedding import IdEmbedding, ShardedEmbedding
from lightning_croloss.sharding.row_shards import RowShards
from lightning_croloss.training.monitors import check_logged, check_monitors
from lightning_croloss.training.nan_guard import NaNGuard
from lightning_croloss.training.optimization import Optimization
from lightning_croloss.training.sharded.refusals import refuse_strategy
from lightning_croloss.training.table_gradients import RowIds, SpareGradients, is_plain
from lightning_croloss.training.trainer_checks import check_trainer
from lightning_croloss.training.validation_times import check_validation_times

SIMILARITIES = ("cosine", "dot")


class RetrievalModel(CheckpointedModel, ExactEvaluation, Recommending):
    """Base of the architectures: a subclass implements :meth:`encode_users` and :meth:`encode_items`.

    Args:
        num_items: size of the catalogue, from the data: item ids are 1 … num_items, 0 is padding.
        embedding_dim: width D of user and item vectors.
        loss: the training loss; None is ``CROLoss()``. The model trains with a copy that knows the size of
            the catalogue: see its attribute ``loss``.
        negatives: the sampler of negatives; None is ``UniformNegatives()``. The model draws from a copy.
        similarity: "cosine" (unit vectors) or "dot".
        ns: the N of every metric @N, below the size of the catalogue. Of the default those are left out that
            are not.
        exclude_history: never rank or recommend an item that the user had before. A target among these is a
            miss.
        optimizer: any torch optimizer; None is Adam with learning rate 0.001.
        lr_scheduler: any torch learning rate scheduler; None keeps the rate.
        lr_scheduler_interval: "epoch" or "step": how often the scheduler steps.
        tile_elements: number of scores that evaluation holds at a time.
        sparse_gradients: whether the embeddings of ids get gradients of the rows in use only, updated by
            ``LazyAdam``: a step then costs the same at any size of the catalogue. None: from 50,000 rows on,
            if the optimizer is Adam or AdamW with plain settings, the negatives are sampled, and the model is
            not compiled. Several accelerators exchange the rows under DDP; under other strategies, and in a
            model that is nothing but such embeddings, their gradients stay dense in any case.

    Attributes:
        all_positions: whether the model trains on windows with a target at each position, see
            :meth:`training_users`.
        needs_history: whether a training row must have a history; else a user's first event is a target too.
        tells_first_events: whether a user's first event is a target although the model needs a history, since
            training shows it later ones.
        needs_known_users: whether the model can recommend to users of known ids only.
        num_users: number of users that the model knows by their ids or features; 0 if none.
        max_length: number of events of a history that the architecture sees at most; None = all.
        item_embedding: the embedding of the items' ids; None without.
        user_embedding: the embedding of the users' ids; None without.
        item_feature_embedding: the embedding of the items' features; None without.
        user_feature_embedding: the embedding of the users' features; None without.
        event_feature_embedding: the embedding of the features of the history's events; None without.
        reads_times: whether the model reads the times of the history's events, where the data has any.

    Raises:
        ValueError: an argument is out of range.
    """

    all_positions = False
    needs_history = True
    tells_first_events = False
    needs_known_users = False
    num_users: int = 0
    max_length: int | None = None
    reads_times = False

    def __init__(
        self,
        num_items: int,
        embedding_dim: int = 64,
        loss: RetrievalLoss | None = None,
        negatives: Negatives | None = None,
        similarity: str = "cosine",
        ns: Sequence[int] = DEFAULT,
        exclude_history: bool = False,
        optimizer: OptimizerCallable | None = None,
        lr_scheduler: LRSchedulerCallable | None = None,
        lr_scheduler_interval: str = "epoch",
        tile_elements: int = 2**24,
        sparse_gradients: bool | None = None,
    ) -> None:
        check_counts(num_items=num_items, embedding_dim=embedding_dim)
        super().__init__(chosen_cutoffs(ns, num_items), exclude_history, tile_elements)
        check_choice("similarity", similarity, SIMILARITIES)
        self.num_items = num_items
        self.embedding_dim = embedding_dim
        self.loss = own_loss(loss, num_items)
        if loss is not None and self._init_arguments.get("loss") is loss:
            self._init_arguments = {**self._init_arguments, "loss": self.loss}  # with what a rule chose
        self.negatives = own_negatives(negatives, num_items)
        self.similarity = similarity
        self._optimization = Optimization(
            optimizer, lr_scheduler, lr_scheduler_interval, sparse_gradients, self.negatives
        )
        # not as class attributes, which would hide the modules that a subclass assigns
        self.item_embedding: IdEmbedding | None = None
        self.user_embedding: IdEmbedding | None = None
        self.item_feature_embedding: FeatureEmbedding | None = None
        self.user_feature_embedding: FeatureEmbedding | None = None
        self.event_feature_embedding: EventFeatureEmbedding | None = None
        self.metadata = ModelMetadata()
        self._finite = NaNGuard(self.loss)
        self._spare_gradients = SpareGradients()
        self._row_ids = RowIds()
        self.predicts_n = min(100, num_items)

    # ------------------------------------------------------------------ what an architecture is

    def normalize(self, vectors: Tensor) -> Tensor:
        """Bring vectors to unit length if the similarity is cosine."""
        return unit_length(vectors) if self.similarity == "cosine" else vectors

    def made_of_rows(self, owner: type, *methods: str) -> bool:
        """Tell whether the vectors of items are the rows of ``item_embedding`` alone, normalised if cosine.

        Args:
            owner: the class whose methods make vectors of its rows.
            methods: their names; where a subclass has one of its own, it may make them otherwise.
        """
        of_owner = {"normalize": RetrievalModel, **dict.fromkeys(methods, owner)}
        return all(
            getattr(type(self), name) is getattr(cls, name) and name not in vars(self)
            for name, cls in of_owner.items()
        )

    def table_behind(self, owner: type, *methods: str) -> IdEmbedding | None:
        """Return ``item_embedding`` if its rows are those vectors and it is a plain table.

        For ``plain_item_table``; arguments as of :meth:`made_of_rows`.
        """
        plain = self.made_of_rows(owner, *methods) and is_plain(self.item_embedding)
        return self.item_embedding if plain else None

    @property
    def supports_shards(self) -> bool:
        """Whether the tables of ids may lie in shards, see the strategy ``croloss_sharded``."""
        return True

    @property
    def item_shards(self) -> RowShards | None:
        """Which process holds which rows of the items, see ``Encoder``."""
        table = self.item_embedding
        if isinstance(table, ShardedEmbedding) and table.shards.num_shards > 1:
            return table.shards
        return None

    def time_parameters(self) -> list[str]:
        """Return the names of the parameters that hold what is learned of the time between events."""
        kinds = [] if self.event_feature_embedding is None else self.event_feature_embedding.kinds
        numbers = [number for number, kind in enumerate(kinds) if kind == "time"]
        return [f"event_feature_embedding.embeddings.{number}.weight" for number in numbers]

    # ------------------------------------------------------------------ training

    def setup(self, stage: str) -> None:
        """Take from the data module what training needs; refuse metrics to monitor that do not exist."""
        refuse_strategy(self, self.trainer.strategy)
        super().setup(stage)
        if stage == "fit":
            check_trainer(self.trainer)  # type: ignore[arg-type]
        if stage != "predict":
            self._check_catalogue()
        data = self.data
        if self.loss.needs_user_ids:
            self.loss.num_users = None if data is None else data.num_users
        if data is not None:
            self._check_sizes(data)
            learns = self.metadata.item_vocabulary is None
            self.metadata.take_events(
                data, self.reads_times, self.event_feature_embedding, learns, stage == "fit"
            )
            self.metadata.take_from(
                data, self.knows_users, stage == "fit", self.user_feature_embedding is not None
            )
            if stage != "fit":
                self._say_trained_on(data, stage != "predict")
            data.prepare_for(
                DataRequest(
                    known_positives=self.negatives.exclude_known_positives,
                    whole_history=self.predicts_without_history
                    if stage == "predict"
                    else self.exclude_history,
                    first_events=self.tells_first_events or not self.needs_history,
                    known_users_only=self.needs_known_users,
                    user_features=self.user_feature_embedding is not None,
                    all_positions=self.all_positions,
                    recounted=True,
                    events=self.metadata.events,
                )
            )
            if stage == "fit":
                self.negatives.prepare(data.item_counts, self.target_counts(data))
                self._fill_features(data)
        if stage == "fit":
            self._use_sparse_gradients()
            self._rate_at_setup = self._optimization.learning_rate
            callbacks = self.trainer.callbacks  # type: ignore[attr-defined]
            watchers = [*callbacks, self._optimization.lr_scheduler]
            check_monitors(watchers, self.metric_names("val"))
            if type(self).__module__.startswith(f"{__package__}."):  # a subclass may log what it likes
                check_logged(watchers, self.metric_names("val"), self.trainer)

    def on_train_start(self) -> None:
        """Check what the schedulers monitor that were really built, and begin or go on."""
        check_monitors(self.trainer.lr_scheduler_configs, self.metric_names("val"))
        check_validation_times(self.trainer, self.metric_names("val"))  # type: ignore[arg-type]
        super().on_train_start()

    @property
    def facts(self) -> ModelMetadata:
        """Deprecated: the former name of ``metadata``."""
        warn_deprecated("RetrievalModel.facts", "metadata", "0.2")
        return self.metadata

    def target_counts(self, data: RetrievalDataModule) -> Tensor:
        """Return (num_items + 1,) how often each item is a target in an epoch, on average, for the sampler.

        An architecture that makes targets of its own of the training rows says so here.
        """
        return data.target_counts

    # ------------------------------------------------------------------ inside

    def _check_catalogue(self) -> None:
        """Refuse a catalogue of one item; say once which N of the default mean nothing."""
        if self.num_items < 2:
            raise DataError(
                f"the catalogue has {self.num_items} item: a model needs at least 2 items to choose from"
            )
        asked = self.hparams.get("ns")
        measured = list(self.metric_cutoffs)
        if isinstance(asked, list) and sorted(asked) != measured and "cutoffs" not in self._warned_of:
            self._warned_of.add("cutoffs")
            rank_zero_warn(
                f"the catalogue has {self.num_items} items: the metrics are at N = {measured} instead of the "
                f"default {asked}, as recall@N of N items would be 1; choose others by ns"
            )

    def _check_sizes(self, data: RetrievalDataModule) -> None:
        """Refuse data of other sizes than the model was built for, if it has met none whose ids it knows."""
        told = "the model was built with {0}={1:,}, but the data has {2:,} {3}: give it data.{0}"
        if self.metadata.item_vocabulary is None and self.num_items != data.num_items:
            raise ValueError(told.format("num_items", self.num_items, data.num_items, "items"))
        if not self.knows_users or self.metadata.user_fingerprint is not None:
            return
        if self.num_users != data.num_users:
            raise ValueError(told.format("num_users", self.num_users, data.num_users, "users"))

    def _fill_features(self, data: RetrievalDataModule) -> None:
        embeddings = (self.item_feature_embedding, self.user_feature_embedding)
        for embedding, features in zip(embeddings, data.features, strict=True):
            if embedding is not None:
                embedding.fill(features)
