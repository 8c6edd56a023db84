"""RetrievalModel: training, exact evaluation and recommendation, shared by every architecture."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor
from torch.nn import functional
from torch.optim import Optimizer

from lightning_croloss.common.checks import check_choice, check_counts
from lightning_croloss.common.safe_config import TrustedClasses
from lightning_croloss.configurable import Configurable, class_path, to_config
from lightning_croloss.data.batch import RetrievalBatch
from lightning_croloss.data.datamodule import RetrievalDataModule
from lightning_croloss.errors import PretrainedError
from lightning_croloss.losses import CROLoss, RetrievalLoss
from lightning_croloss.models.checkpoint import Source, built_model, read_checkpoint
from lightning_croloss.models.evaluation import ExactEvaluation
from lightning_croloss.models.known_users import refuse_unknown_users
from lightning_croloss.models.layers.features import FeatureEmbedding
from lightning_croloss.models.metadata import CheckpointFacts, check_features
from lightning_croloss.negatives import Negatives, UniformNegatives
from lightning_croloss.recommend.histories import batch_of_histories
from lightning_croloss.recommend.results import Recommendations
from lightning_croloss.recommend.token_recommender import TokenRecommender, similar_items
from lightning_croloss.recommend.tokens import Token
from lightning_croloss.recommend.top_items import TopItems
from lightning_croloss.training.logging_steps import logs_next_step
from lightning_croloss.training.monitors import check_monitors
from lightning_croloss.training.nan_guard import FiniteLoss
from lightning_croloss.training.optimizers import build_optimizers, without_numpy
from lightning_croloss.training.resume import batches_so_far, count_resumed_epoch, seed_step
from lightning_croloss.training.sparse_gradients import (
    check_sparse,
    clip_gradients,
    id_embeddings,
    lazy_optimizer,
    pays,
)

if TYPE_CHECKING:
    from typing_extensions import Self

SIMILARITIES = ("cosine", "dot")


class RetrievalModel(Configurable, ExactEvaluation):
    """Base of the architectures: a subclass implements :meth:`encode_users` and :meth:`encode_items`.

    Args:
        num_items: size of the catalogue, from the data: item ids are 1 … num_items, 0 is padding.
        embedding_dim: width D of user and item vectors.
        loss: the training loss; None is ``CROLoss()``.
        negatives: the sampler of negatives; None is ``UniformNegatives()``.
        similarity: "cosine" (unit vectors) or "dot".
        ns: the N of every metric @N.
        exclude_history: never rank an item that the user had before, in validation and test.
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
        if lr_scheduler_interval not in ("epoch", "step"):
            raise ValueError(
                f'lr_scheduler_interval must be "epoch" or "step", got {lr_scheduler_interval!r}'
            )
        if max(ns, default=0) > num_items:
            raise ValueError(
                f"ns holds {max(ns)}, but the catalogue has only {num_items} items: every recall@{max(ns)} "
                "would be 1; choose smaller ns"
            )
        self.num_items = num_items
        self.embedding_dim = embedding_dim
        self.loss = CROLoss() if loss is None else loss
        self.negatives = UniformNegatives() if negatives is None else negatives
        self.similarity = similarity
        self._optimizer = without_numpy(optimizer)
        self._lr_scheduler = without_numpy(lr_scheduler)
        self._lr_scheduler_interval = lr_scheduler_interval
        if self.loss.num_items is None:
            self.loss.num_items = num_items
        elif self.loss.num_items != num_items:
            raise ValueError(
                f"the loss was given num_items={self.loss.num_items}, but the catalogue has {num_items} "
                "items: leave it out"
            )
        for name, value in self.loss.schedulable().items():
            self.loss.check_value(name, float(value))  # again, now that the catalogue is known
        self.negatives.set_num_items(num_items)
        check_sparse(sparse_gradients, self._optimizer, self.negatives)
        self._sparse_gradients = sparse_gradients
        self._lazy = False
        # not as class attributes, which would hide the modules that a subclass assigns
        self.item_feature_embedding: FeatureEmbedding | None = None
        self.user_feature_embedding: FeatureEmbedding | None = None
        self.facts = CheckpointFacts()
        self._finite = FiniteLoss(self.loss)
        self.predicts_n = min(100, num_items)

    def after_init(self) -> None:
        """Keep the hyperparameters as plain types, from which Lightning rebuilds the model."""
        config = {name: to_config(value) for name, value in self._init_arguments.items()}
        config["_class_path"] = class_path(type(self))
        config["_instantiator"] = "lightning.pytorch.cli.instantiate_module"
        self._set_hparams(config)
        self._hparams_initial = copy.deepcopy(self._hparams)
        self._log_hyperparams = True  # to the loggers

    # ------------------------------------------------------------------ what an architecture is

    def select_interest(self, users: Tensor, positives: Tensor) -> Tensor:
        """Choose the vector that stands for each user in training: the interest closest to the target.

        Args:
            users: (B, K, D).
            positives: (B, D) vectors of the targets.

        Returns:
            (B, D).
        """
        if users.shape[1] == 1:
            return users[:, 0]
        closest = torch.einsum("bkd,bd->bk", users, positives).argmax(1)
        return users[torch.arange(users.shape[0], device=users.device), closest]

    def normalize(self, vectors: Tensor) -> Tensor:
        """Bring vectors to unit length if the similarity is cosine."""
        return functional.normalize(vectors, dim=-1) if self.similarity == "cosine" else vectors

    def item_categories(self, name: str) -> Tensor:
        """Return the categories (num_items + 1, W) of the items, 0 = no more.

        Args:
            name: the item feature, categorical or multi-valued, that holds them.

        Raises:
            ValueError: the model has no item features, no such one, or it is a number.
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
        data = self.data
        if data is not None:
            self.facts.take_from(data, self.knows_users, trains=stage == "fit")
            data.include_whole_history = (
                self.predicts_unseen_only if stage == "predict" else self.exclude_history
            )
            if stage == "fit":
                data.all_positions = self.all_positions
                data.include_first_events = not self.needs_history
                self.negatives.prepare(data.item_counts, data.target_counts)
                if self.negatives.exclude_known_positives:
                    data.include_known_positives = True
                self._fill_features(data)
        if stage == "fit":
            self._use_sparse_gradients()
            callbacks = self.trainer.callbacks  # type: ignore[attr-defined]
            check_monitors([*callbacks, self._lr_scheduler], self.metric_names("val"))

    @property
    def data(self) -> RetrievalDataModule | None:
        """The data module that the trainer was given, if it is one of this package's."""
        data = getattr(self.trainer, "datamodule", None)
        return data if isinstance(data, RetrievalDataModule) else None

    @property
    def knows_users(self) -> bool:
        """Whether the model has embeddings or features of single users."""
        names = ("user_embedding", "user_feature_embedding")
        return any(getattr(self, name, None) is not None for name in names)

    def on_train_start(self) -> None:
        """Let a run that was resumed in the middle of an epoch be resumed again (see resume.py)."""
        count_resumed_epoch(self.trainer)

    def on_train_batch_start(self, batch: RetrievalBatch, batch_idx: int) -> None:
        """Seed the step by its place in training, so that a resumed run draws what the whole run drew."""
        seed_step(self.facts.seed, batches_so_far(self.trainer), self.global_rank, self.device)

    def training_users(self, batch: RetrievalBatch) -> tuple[Tensor, RetrievalBatch]:
        """Return the users' vectors (P, K, D) and a batch of P rows with the target of each.

        One for each row of the batch, unless an architecture trains on many places of a history at once.
        """
        return self.encode_users(batch), batch

    def loss_of(self, batch: RetrievalBatch) -> Tensor:
        """Return the training loss of one batch, a scalar with gradient."""
        users, batch = self.training_users(batch)
        targets = batch.targets[:, 0]
        positives = self.encode_items(targets)
        candidates = self.negatives.sample(batch)
        return self.loss.from_embeddings(
            self.select_interest(users, positives),
            positives,
            self.encode_items(None if candidates.whole_catalogue else candidates.ids),
            target_ids=targets,
            candidate_ids=candidates.ids,
            excluded_ids=candidates.excluded_ids,
            candidate_log_prob=candidates.log_prob,
            num_sampled=candidates.num_sampled,
            sample_weight=batch.sample_weight,
        )

    def training_step(self, batch: RetrievalBatch, batch_idx: int) -> Tensor:
        """Return the loss of one batch.

        Raises:
            NonFiniteLossError: the loss is NaN or infinite.
        """
        loss = self.loss_of(batch)
        self._note(loss, batch.batch_size)
        return loss

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # a compiled step stops here: what follows is Lightning's
    def _note(self, loss: Tensor, batch_size: int) -> None:
        """Check the loss, and log it every so many steps."""
        logs_now = logs_next_step(self.trainer)
        self._finite.check(loss, self.trainer.global_step, wait=logs_now)
        if logs_now:
            self.log("train/loss", loss.detach(), prog_bar=True, batch_size=batch_size)

    def configure_optimizers(self) -> Any:
        """Build the optimizer and the scheduler of the configuration."""
        optimizer = lazy_optimizer(self._optimizer) if self._lazy else self._optimizer
        return build_optimizers(self.parameters(), optimizer, self._lr_scheduler, self._lr_scheduler_interval)

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the gradients, sparse ones too, which PyTorch's own clipping refuses."""
        if self._lazy and gradient_clip_val:
            clip_gradients(self.parameters(), float(gradient_clip_val), gradient_clip_algorithm or "norm")
        else:
            super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def teardown(self, stage: str) -> None:
        """Leave a model whose gradients any optimizer can take."""
        if stage == "fit":
            self._set_sparse(False)

    # ------------------------------------------------------------------ use

    def recommend(
        self,
        histories: Sequence[Sequence[int]] | Tensor | None = None,
        n: int = 100,
        exclude_history: bool = True,
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
            exclude_history: leave out the items of the history.
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
        batch = batch_of_histories(
            histories,
            users,
            num_items=self.num_items,
            num_users=self.num_users,
            max_history=self.facts.max_history,
            device=self.device,
        )
        return TopItems(self, n, exclude_history, diversity, category, candidates)(batch)

    def recommend_tokens(
        self,
        histories: Sequence[Sequence[Token]],
        n: int = 10,
        exclude_history: bool = True,
        allow: Collection[Token] | None = None,
        deny: Collection[Token] | None = None,
        diversity: float | None = None,
        category: str | None = None,
    ) -> Recommendations:
        """Return the n best items for each history of tokens, as tokens with titles and scores.

        Tokens that the model does not know are counted and passed over; a history without any known token
        gets the most popular items of training. To encode the catalogue once for many calls, keep a
        ``models.TokenRecommender``, which takes the same arguments.

        Args:
            histories: for each user the tokens of its events, text or integers, oldest first.
            n: how many items.
            exclude_history: leave out the items of the history.
            allow: tokens of the only items to recommend; None = all.
            deny: tokens of items never to recommend.
            diversity: as in :meth:`recommend`; None is 0.
            category: as in :meth:`recommend`.

        Raises:
            ValueError: the model has no vocabulary or recommends to known users only, or n or the diversity
                is out of range.
            TypeError: tokens are neither text nor integers.
        """
        return TokenRecommender(self, n, exclude_history, allow, deny, diversity, category)(histories)

    def similar_items(self, tokens: Sequence[Token], n: int = 10) -> Recommendations:
        """Return for each item the n items whose vectors are most similar; see ``models.similar_items``."""
        return similar_items(self, tokens, n)

    # ------------------------------------------------------------------ checkpoints

    @classmethod
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

        Other than Lightning's it imports nothing on the word of the file: a checkpoint may name classes of
        this package and of torch, and subclasses of this package's bases that are imported already.

        Args:
            checkpoint_path: the file, of a run of the command line or of a ``Trainer`` in Python.
            map_location: where tensors go, as in ``torch.load``; None is the CPU.
            hparams_file: not supported: the checkpoint holds its hyperparameters.
            strict: whether the weights must fit exactly; None is True.
            weights_only: False also opens pickles, which can run code; None is True.
            allow: further classes that the checkpoint may name, or their dotted paths, which are imported.
            **kwargs: arguments of the constructor in place of the checkpoint's: another ``loss``, for
                example.

        Raises:
            PretrainedError: the file is no checkpoint, is damaged, of a newer format version, of another
                class, or names a class that is not trusted.
            ValueError: ``hparams_file`` is given.
        """
        if hparams_file is not None:
            raise ValueError("hparams_file is not supported: a checkpoint holds its hyperparameters")
        content = read_checkpoint(
            checkpoint_path, "cpu" if map_location is None else map_location, weights_only is not False
        )
        model = built_model(cls, content, str(checkpoint_path), TrustedClasses(allow, imported=True), kwargs)
        if not isinstance(model, cls):
            raise PretrainedError(
                f"{checkpoint_path} holds a {type(model).__name__}, not a {cls.__name__}: load it with "
                f"{type(model).__name__}.load_from_checkpoint"
            )
        model.on_load_checkpoint(content)
        model.load_state_dict(content["state_dict"], strict=strict is not False)
        device = next((value.device for value in content["state_dict"].values()), model.device)
        return model.to(device)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put the vocabulary and what exact resume needs beside the weights."""
        self.facts.save(checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take them back; refuse a checkpoint of another catalogue.

        Raises:
            ValueError: the catalogue, the users or the features of the checkpoint are not those of the model
                or of its data.
        """
        self.facts.load(checkpoint, self.num_items)
        check_features(checkpoint["hyper_parameters"], self.hparams)

    # ------------------------------------------------------------------ inside

    def _use_sparse_gradients(self) -> None:
        """Decide for this training; before the strategy wraps the model, which must know."""
        trainer = self.trainer
        on_devices = trainer.world_size > 1 and trainer.strategy.root_device.type != "cpu"
        compiled = getattr(self, "_compiler_ctx", None) is not None
        self._set_sparse(
            pays(self, self._sparse_gradients, self._optimizer, self.negatives, on_devices, compiled)
        )

    def _set_sparse(self, sparse: bool) -> None:
        self._lazy = sparse
        for embedding in id_embeddings(self):
            embedding.sparse = sparse

    def _fill_features(self, data: RetrievalDataModule) -> None:
        for name, features in zip(("item", "user"), data.features, strict=True):
            embedding = getattr(self, f"{name}_feature_embedding", None)
            if embedding is not None:
                embedding.fill(features)
