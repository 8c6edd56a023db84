"""RetrievalModel: training, exact evaluation and recommendation, shared by every architecture."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn

from croloss_serving.recommend.results import Recommendations
from croloss_serving.recommend.tokens import Token
from croloss_serving.recommend.user_features import UserFeatures
from lightning_croloss.common.checks import check_choice, check_counts
from lightning_croloss.common.class_only import class_only
from lightning_croloss.common.deprecation import warn_deprecated
from lightning_croloss.common.safe_config import TrustedClasses
from lightning_croloss.data.batch import RetrievalBatch
from lightning_croloss.data.datamodule import RetrievalDataModule
from lightning_croloss.data.request import DataRequest
from lightning_croloss.errors import PretrainedError
from lightning_croloss.losses import RetrievalLoss
from lightning_croloss.models.checkpoint import KEY, Source, built_model, read_checkpoint
from lightning_croloss.models.evaluation import ExactEvaluation
from lightning_croloss.models.hyperparameters import PlainHyperparameters
from lightning_croloss.models.known_users import refuse_unknown_users
from lightning_croloss.models.layers.features import FeatureEmbedding
from lightning_croloss.models.layers.unit_length import unit_length
from lightning_croloss.models.metadata import ModelMetadata, check_features
from lightning_croloss.models.own_parts import own_loss, own_negatives
from lightning_croloss.models.resumable_training import ResumableTraining
from lightning_croloss.negatives import Negatives
from lightning_croloss.recommend.histories import batch_of_histories, blocks_of_histories, check_one_user_each
from lightning_croloss.recommend.prediction import Prediction
from lightning_croloss.recommend.token_recommender import TokenRecommender, similar_items
from lightning_croloss.recommend.top_items import TopItems
from lightning_croloss.training.monitors import check_monitors
from lightning_croloss.training.nan_guard import NaNGuard
from lightning_croloss.training.optimization import Optimization

if TYPE_CHECKING:
    from typing_extensions import Self

SIMILARITIES = ("cosine", "dot")


class RetrievalModel(PlainHyperparameters, ResumableTraining, ExactEvaluation):
    """Base of the architectures: a subclass implements :meth:`encode_users` and :meth:`encode_items`.

    Args:
        num_items: size of the catalogue, from the data: item ids are 1 … num_items, 0 is padding.
        embedding_dim: width D of user and item vectors.
        loss: the training loss; None is ``CROLoss()``. The model trains with a copy that knows the size of
            the catalogue: see its attribute ``loss``.
        negatives: the sampler of negatives; None is ``UniformNegatives()``. The model draws from a copy.
        similarity: "cosine" (unit vectors) or "dot".
        ns: the N of every metric @N.
        exclude_history: never rank or recommend an item that the user had before. A target among these is a
            miss.
        optimizer: any torch optimizer; None is Adam with learning rate 0.001.
        lr_scheduler: any torch learning rate scheduler; None keeps the rate.
        lr_scheduler_interval: "epoch" or "step": how often the scheduler steps.
        tile_elements: number of scores that evaluation holds at a time.
        sparse_gradients: whether the embeddings of ids get gradients of the rows in use only, updated by
            ``LazyAdam``: a step then costs the same at any size of the catalogue. None: from 50,000 rows on,
            if the optimizer is Adam or AdamW with plain settings, the negatives are sampled, the model is not
            compiled, and no gradients are added up between accelerators; these stay dense in any case.

    Attributes:
        all_positions: whether the model trains on windows with a target at each position, see
            :meth:`training_users`.
        needs_history: whether a training row must have a history; else a user's first event is a target too.
        needs_known_users: whether the model can recommend to users of known ids only.
        num_users: number of users that the model knows by their ids or features; 0 if none.
        max_length: number of events of a history that the architecture sees at most; None = all.
        predicts_n: number of items that ``Trainer.predict`` recommends to each user.
        predicts_unseen_only: whether it leaves out the items that the user had before; None is
            ``exclude_history``.
        prediction: what it makes its lists with, from its start on.
        item_embedding: the embedding of the items' ids; None without.
        user_embedding: the embedding of the users' ids; None without.
        item_feature_embedding: the embedding of the items' features; None without.
        user_feature_embedding: the embedding of the users' features; None without.

    Raises:
        ValueError: an argument is out of range.
    """

    all_positions = False
    needs_history = True
    needs_known_users = False
    num_users: int = 0
    max_length: int | None = None

    def __init__(
        self,
        num_items: int,
        embedding_dim: int = 64,
        loss: RetrievalLoss | None = None,
        negatives: Negatives | None = None,
        similarity: str = "cosine",
        ns: Sequence[int] = (20, 50, 100, 200, 500),
        exclude_history: bool = False,
        optimizer: OptimizerCallable | None = None,
        lr_scheduler: LRSchedulerCallable | None = None,
        lr_scheduler_interval: str = "epoch",
        tile_elements: int = 2**24,
        sparse_gradients: bool | None = None,
    ) -> None:
        super().__init__(ns, exclude_history, tile_elements)
        check_counts(num_items=num_items, embedding_dim=embedding_dim)
        check_choice("similarity", similarity, SIMILARITIES)
        if max(ns, default=0) > num_items:
            raise ValueError(
                f"ns holds {max(ns)}, but the catalogue has only {num_items} items: every recall@{max(ns)} "
                "would be 1; choose smaller ns"
            )
        self.num_items = num_items
        self.embedding_dim = embedding_dim
        self.loss = own_loss(loss, num_items)
        self.negatives = own_negatives(negatives, num_items)
        self.similarity = similarity
        self._optimization = Optimization(
            optimizer, lr_scheduler, lr_scheduler_interval, sparse_gradients, self.negatives
        )
        # not as class attributes, which would hide the modules that a subclass assigns
        self.item_embedding: nn.Embedding | None = None
        self.user_embedding: nn.Embedding | None = None
        self.item_feature_embedding: FeatureEmbedding | None = None
        self.user_feature_embedding: FeatureEmbedding | None = None
        self.metadata = ModelMetadata()
        self._finite = NaNGuard(self.loss)
        self.predicts_n = min(100, num_items)
        self.predicts_unseen_only: bool | None = None
        self.prediction: Prediction | None = None

    # ------------------------------------------------------------------ what an architecture is

    def normalize(self, vectors: Tensor) -> Tensor:
        """Bring vectors to unit length if the similarity is cosine."""
        return unit_length(vectors) if self.similarity == "cosine" else vectors

    def item_categories(self, name: str) -> Tensor:
        """Return the categories (num_items + 1, W) of the items, 0 = no more.

        Args:
            name: the item feature, categorical or multi-valued, that holds them.

        Raises:
            ValueError: the model has no item features or not this one, or it is a number.
        """
        if self.item_feature_embedding is None:
            raise ValueError(
                f"category={name!r}: this {type(self).__name__} has no item features; give the data "
                "item_features and train a model that takes them, or call retrieval.diverse_items"
            )
        return self.item_feature_embedding.categories(name)

    # ------------------------------------------------------------------ training

    def setup(self, stage: str) -> None:
        """Take from the data module what training needs; refuse metrics to monitor that do not exist."""
        super().setup(stage)
        data = self.data
        if data is not None:
            self.metadata.take_from(
                data, self.knows_users, stage == "fit", self.user_feature_embedding is not None
            )
            data.prepare_for(
                DataRequest(
                    known_positives=self.negatives.exclude_known_positives,
                    whole_history=self.predicts_without_history
                    if stage == "predict"
                    else self.exclude_history,
                    first_events=not self.needs_history,
                    known_users_only=self.needs_known_users,
                    user_features=self.user_feature_embedding is not None,
                    all_positions=self.all_positions,
                    recounted=True,
                )
            )
            if stage == "fit":
                self.negatives.prepare(data.item_counts, data.target_counts)
                self._fill_features(data)
        if stage == "fit":
            self._use_sparse_gradients()
            self._rate_at_setup = self._optimization.learning_rate
            callbacks = self.trainer.callbacks  # type: ignore[attr-defined]
            check_monitors([*callbacks, self._optimization.lr_scheduler], self.metric_names("val"))

    def on_train_start(self) -> None:
        """Check what the schedulers monitor that were really built, and begin or go on."""
        check_monitors(self.trainer.lr_scheduler_configs, self.metric_names("val"))
        super().on_train_start()

    # ------------------------------------------------------------------ prediction

    @property
    def predicts_without_history(self) -> bool:
        """Whether ``Trainer.predict`` leaves out the items that the user had before."""
        return self.exclude_history if self.predicts_unseen_only is None else self.predicts_unseen_only

    def on_predict_epoch_start(self) -> None:
        """Encode the catalogue once."""
        self.prediction = Prediction(self, self.predicts_n, self.predicts_without_history)

    def predict_step(self, batch: RetrievalBatch, batch_idx: int) -> tuple[Tensor, Tensor]:
        """Return the ids (B, n) and scores (B, n) of the best items, n being ``predicts_n``."""
        assert self.prediction is not None
        return self.prediction(batch)

    @property
    def facts(self) -> ModelMetadata:
        """Deprecated: the former name of ``metadata``."""
        warn_deprecated("RetrievalModel.facts", "metadata", "0.2")
        return self.metadata

    @property
    def data(self) -> RetrievalDataModule | None:
        """The data module that the trainer was given, if it is one of this package's."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        return data if isinstance(data, RetrievalDataModule) else None

    @property
    def knows_users(self) -> bool:
        """Whether the model has embeddings or features of single users."""
        return self.user_embedding is not None or self.user_feature_embedding is not None

    # ------------------------------------------------------------------ use

    def recommend(
        self,
        histories: Sequence[Sequence[int]] | Tensor | None = None,
        n: int = 100,
        exclude_history: bool | None = None,
        users: Tensor | None = None,
        diversity: float = 0.0,
        category: str | None = None,
        candidates: int | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return the n best items for each user, by ids; :meth:`recommend_tokens` speaks in tokens.

        Args:
            histories: for each user the item ids of its events, oldest first; or a (B, L) tensor of them,
                left-padded with 0. None: users without events, or of whom the ids are enough.
            n: how many items.
            exclude_history: whether to leave out the items of the history; None is the model's own
                ``exclude_history``, as in evaluation.
            users: (B,) ids of the users, 0 = unknown, for models that use user ids or features; None = all
                unknown.
            diversity: what an item gains, in units of the score, for each item chosen before it that is of
                another category; 0 chooses by the score alone. See ``retrieval.diverse_items``.
            category: name of the item feature, categorical or multi-valued, that holds the categories.
            candidates: number of best items that the diverse ones are chosen from; None is five times n.

        Returns:
            ids (B, n) and scores (B, n), best first, or with diversity in the order of choice; where fewer
            than n items are left, the rest is 0 and −∞.

        Raises:
            ValueError: an id outside 0 … num_items, n outside 1 … num_items, users that are not one known
                id for each history, or diversity without a category that the model has.
        """
        if self.needs_known_users:
            refuse_unknown_users(users, type(self).__name__)
        longest = self.metadata.max_history
        parts = list(blocks_of_histories(histories, longest))
        if users is not None and len(parts) > 1:
            check_one_user_each(users, len(histories or ()))
        batches = [
            batch_of_histories(
                None if histories is None else histories[part],
                None if users is None else users[part],
                num_items=self.num_items,
                num_users=self.num_users,
                max_history=longest,
                device=self.device,
            )
            for part in parts
        ]
        top_items = TopItems(self, n, exclude_history, diversity, category, candidates)
        ids, scores = zip(*map(top_items, batches), strict=True)
        return torch.cat(ids), torch.cat(scores)

    def recommend_tokens(
        self,
        histories: Sequence[Sequence[Token]] | None = None,
        n: int = 10,
        exclude_history: bool | None = None,
        allow: Collection[Token] | None = None,
        deny: Collection[Token] | None = None,
        diversity: float | None = None,
        category: str | None = None,
        users: Sequence[Token] | None = None,
        user_features: UserFeatures | None = None,
    ) -> Recommendations:
        """Return the n best items for each history of tokens, as tokens with titles and scores.

        Tokens that the model does not know are counted and passed over; a user of whom it knows nothing gets
        the most popular items of training. To encode the catalogue once for many calls, keep a
        ``models.TokenRecommender``, which takes the same arguments.

        Args:
            histories: for each user the tokens of its events, text or integers, oldest first; None = no
                events of any of the users.
            n: how many items.
            exclude_history: whether to leave out the items of the history; None is the model's own
                ``exclude_history``, as in evaluation.
            allow: tokens of the only items to recommend; None = all.
            deny: tokens of items never to recommend.
            diversity: as in :meth:`recommend`; None is 0.
            category: as in :meth:`recommend`.
            users: the token of each user, for a model that uses ids or features of users; None = all unknown.
            user_features: for each feature of users a value of each user, for those whom the model does not
                know; see :class:`TokenRecommender`.

        Raises:
            ValueError: the model has no vocabulary, users or their features do not fit the model or the
                histories, or n or the diversity is out of range.
            TypeError: tokens are neither text nor integers.
        """
        recommender = TokenRecommender(self, n, exclude_history, allow, deny, diversity, category)
        return recommender(histories, users, user_features)

    def similar_items(self, tokens: Sequence[Token], n: int = 10) -> Recommendations:
        """Return for each item the n items whose vectors are most similar; see ``models.similar_items``."""
        return similar_items(self, tokens, n)

    # ------------------------------------------------------------------ checkpoints

    @class_only
    def load_from_checkpoint(  # type: ignore[override]
        cls,
        checkpoint_path: Source,
        map_location: Any = None,
        hparams_file: str | None = None,
        strict: bool | None = None,
        weights_only: bool | None = None,
        allow: Iterable[type | str] = (),
        **kwargs: Any,
    ) -> Self:
        """Build a model of this class, or of a subclass, from a checkpoint; see Lightning's method.

        Unlike Lightning's, it imports nothing because the file names it: a checkpoint may name classes of
        this package and of torch, and subclasses of this package's bases that are imported already.

        Args:
            checkpoint_path: the file, of a run of the command line or of a ``Trainer`` in Python.
            map_location: where tensors go, as in ``torch.load``; None is the CPU.
            hparams_file: not supported: the checkpoint holds its hyperparameters.
            strict: whether the weights must fit exactly; None is the model's ``strict_loading``, True unless
                a subclass says otherwise. If they need not, a warning names those that do not fit.
            weights_only: False also opens pickles, which can run code; None is True.
            allow: further classes that the checkpoint may name, or their dotted paths, which are imported.
            **kwargs: arguments of the constructor in place of the checkpoint's: another ``loss``, for
                example.

        Raises:
            PretrainedError: the file is not a checkpoint, is damaged, of a newer format version, of another
                class, or names a class that is not trusted.
            ValueError: ``hparams_file`` is given.
            TypeError: it is called on a model instead of a class.
        """
        if hparams_file is not None:
            raise ValueError("hparams_file is not supported: a checkpoint holds its hyperparameters")
        content = read_checkpoint(
            checkpoint_path, "cpu" if map_location is None else map_location, weights_only is not False
        )
        weights = content.get("state_dict")
        if not isinstance(weights, dict):
            raise PretrainedError(f"{checkpoint_path} is not a checkpoint: it holds no weights")
        model = built_model(cls, content, str(checkpoint_path), TrustedClasses(allow, imported=True), kwargs)
        if not isinstance(model, cls):
            raise PretrainedError(
                f"{checkpoint_path} holds a {type(model).__name__}, not a {cls.__name__}: load it with "
                f"{type(model).__name__}.load_from_checkpoint"
            )
        model.configure_model()
        model.on_load_checkpoint(content)
        found = model.load_state_dict(weights, strict=model.strict_loading if strict is None else strict)
        if left := [*found.missing_keys, *found.unexpected_keys]:
            rank_zero_warn(f"{checkpoint_path} and the {type(model).__name__} do not share {', '.join(left)}")
        return model.to(next((value.device for value in weights.values()), model.device))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put the vocabulary and what exact resume needs beside the weights."""
        self.metadata.save(checkpoint)
        checkpoint[KEY]["learning_rate"] = self._optimization.learning_rate
        self.note_position(checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take them back; refuse a checkpoint of another catalogue.

        Raises:
            ValueError: the catalogue, the users or the features of the checkpoint are not those of the model
                or of its data.
        """
        self.metadata.load(checkpoint, self.num_items)
        # the optimizer is built after this
        self._optimization.learning_rate = self._rate_at_setup = checkpoint[KEY].get("learning_rate")
        check_features(checkpoint["hyper_parameters"], self.hparams)
        self.continue_from(checkpoint)

    # ------------------------------------------------------------------ inside

    def _fill_features(self, data: RetrievalDataModule) -> None:
        embeddings = (self.item_feature_embedding, self.user_feature_embedding)
        for embedding, features in zip(embeddings, data.features, strict=True):
            if embedding is not None:
                embedding.fill(features)
