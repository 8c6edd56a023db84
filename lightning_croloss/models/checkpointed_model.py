"""CheckpointedModel: what a checkpoint holds besides the weights, and how it is taken back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch.utilities import rank_zero_warn

from croloss_serving.common.terminal import printable
from lightning_croloss.common.class_only import class_only
from lightning_croloss.common.plain_content import check_expansion, check_tensors
from lightning_croloss.common.safe_config import TrustedClasses
from lightning_croloss.configurable import to_config
from lightning_croloss.data.datamodule import RetrievalDataModule
from lightning_croloss.errors import PretrainedError
from lightning_croloss.models.checkpoint import (
    KEY,
    Source,
    built_model,
    check_intact,
    read_checkpoint,
    tensors_of,
)
from lightning_croloss.models.graphs import check_same_graphs, keep_graphs
from lightning_croloss.models.hyperparameters import PlainHyperparameters
from lightning_croloss.models.layers.event_features import EventFeatureEmbedding
from lightning_croloss.models.metadata import check_events, check_features
from lightning_croloss.models.own_parts import choice_of, keep_choice
from lightning_croloss.models.resumable_training import ResumableTraining
from lightning_croloss.models.weights import check_weights
from lightning_croloss.training.averaged_checkpoint import measure_averages
from lightning_croloss.training.double_precision import convert_before_restoring
from lightning_croloss.training.sharded.folder import rest_of
from lightning_croloss.training.sharded.loading import refuse_part

if TYPE_CHECKING:
    from typing_extensions import Self


class CheckpointedModel(PlainHyperparameters, ResumableTraining):
    """The checkpoint hooks of Lightning, and a model built again from a checkpoint's file.

    Attributes:
        event_feature_embedding: the embedding of the features of the history's events; None without.
        reads_times: whether the model reads the times of the history's events, where the data has any.
    """

    event_feature_embedding: EventFeatureEmbedding | None
    reads_times: bool
    #: what was said already, of what is said once
    _warned_of: set[str]

    @property
    def data(self) -> RetrievalDataModule | None:
        """The data module that the trainer was given, if it is one of this package's."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        return data if isinstance(data, RetrievalDataModule) else None

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
        where = str(checkpoint_path)
        model = built_model(cls, content, where, TrustedClasses(allow, imported=True), kwargs)
        weights = content["state_dict"]
        if not isinstance(model, cls):
            raise PretrainedError(
                f"{checkpoint_path} holds a {type(model).__name__}, not a {cls.__name__}: load it with "
                f"{type(model).__name__}.load_from_checkpoint"
            )
        model.configure_model()
        try:
            model.on_load_checkpoint(content)
        except ValueError as error:
            raise PretrainedError(f"{where}: {error}") from error
        strict = model.strict_loading if strict is None else strict
        check_weights(model, weights, where, f" of {model.num_items:,} items", strict)
        found = model.load_state_dict(weights, strict=strict)
        if left := [*found.missing_keys, *found.unexpected_keys]:
            names = printable(", ".join(left))
            rank_zero_warn(f"{checkpoint_path} and the {type(model).__name__} do not share {names}")
        return model.to(next((value.device for value in weights.values()), model.device))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put the vocabulary and what exact resume needs beside the weights."""
        self.metadata.save(checkpoint)
        keep_graphs(self, checkpoint)
        checkpoint[KEY]["learning_rate"] = self._optimization.learning_rate
        if (choice := choice_of(self.loss)) is not None:
            checkpoint[KEY]["by_rule"] = choice
        if state := self.loss.training_state():
            checkpoint[KEY]["loss"] = state
        self.note_position(checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take them back; refuse a checkpoint of another catalogue.

        Raises:
            ValueError: the catalogue, the users or the features of the checkpoint are not those of the model
                or of its data.
        """
        if self._trainer is not None:
            self._check_file(checkpoint)
            convert_before_restoring(self.trainer, self)
            if self.trainer.state.fn != "fit":
                measure_averages(self.trainer)
        self.metadata.load(checkpoint, self.num_items)
        if self._trainer is not None and (data := self.data) is not None:
            if self.trainer.state.fn == "fit":
                self.metadata.go_on_with(data)
            else:
                self._say_trained_on(data, self.trainer.state.fn != "predict")
        events = self.metadata.events
        if events or self.metadata.item_vocabulary is not None:  # else it has met no data of this package
            check_events(events, self.event_feature_embedding, self.reads_times)
        given = checkpoint.get("hyper_parameters")
        if not isinstance(given, Mapping):
            raise ValueError("the checkpoint is damaged: it holds no hyperparameters")
        check_features(given, self.hparams)  # before the weights, whose shapes say less
        if self._trainer is not None:
            self._check_weights_of(checkpoint)
        if keep_choice(self.loss, checkpoint[KEY].get("by_rule")) and "loss" in self._init_arguments:
            self.hparams["loss"] = to_config(self._init_arguments["loss"])
        # the optimizer is built after this
        self._optimization.learning_rate = self._rate_at_setup = checkpoint[KEY].get("learning_rate")
        state = checkpoint[KEY].get("loss", {})
        goes_on = self._trainer is not None and self.trainer.state.fn == "fit"
        if not isinstance(state, dict) or (goes_on and self.loss.training_state().keys() - state.keys()):
            raise ValueError("the checkpoint is damaged: it lacks what its loss keeps between steps")
        self.loss.load_training_state(state)
        self.continue_from(checkpoint)

    def _say_trained_on(self, data: RetrievalDataModule, measures: bool) -> None:
        """Say once of data that they were divided or read otherwise when the model was trained."""
        told = self.metadata.warning_of(data, measures)
        if told is not None and told not in self._warned_of:
            self._warned_of.add(told)
            rank_zero_warn(told)

    def _check_file(self, checkpoint: dict[str, Any]) -> None:
        """Refuse what the trainer is about to load if it is damaged; its own reader checks no checksums."""
        path = str(rest_of(self.trainer.ckpt_path or ""))
        refuse_part(checkpoint, path or "the checkpoint")
        if path and "://" not in path and Path(path).is_file():
            check_intact(path)
        check_expansion(checkpoint, path or "the checkpoint")
        check_tensors(checkpoint, path or "the checkpoint")

    def _check_weights_of(self, checkpoint: dict[str, Any]) -> None:
        if not self.trainer.strategy.restore_checkpoint_after_setup:  # else it holds a part of the weights
            where = str(self.trainer.ckpt_path or "the checkpoint")
            size = f" of {self.num_items:,} items"
            tensors_of(checkpoint, where)
            check_weights(self, checkpoint["state_dict"], where, size, self.strict_loading)
            replaced = checkpoint.get("current_model_state")  # by the averages of them
            if isinstance(replaced, Mapping):
                check_weights(self, replaced, where, size, strict=False)
            if self.trainer.state.fn == "fit":
                check_same_graphs(self, checkpoint)
