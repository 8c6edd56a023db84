"""ResumableTraining: a run goes on from any checkpoint as if it had not been interrupted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning.pytorch.strategies.launchers.multiprocessing import _MultiProcessingLauncher
from lightning.pytorch.utilities import rank_zero_warn

from lightning_croloss.data.batch import RetrievalBatch
from lightning_croloss.models.checkpoint import KEY
from lightning_croloss.models.sampled_training import SampledTraining
from lightning_croloss.training.best_checkpoint import paths_of_the_best
from lightning_croloss.training.best_models import forget_best_models, keep_best_models
from lightning_croloss.training.checkpoint_space import check_checkpoint_space
from lightning_croloss.training.continuation import Continuation
from lightning_croloss.training.lightning_internals import (
    lacking,
    missing_internals,
    refuse_to_resume,
)
from lightning_croloss.training.position import Position
from lightning_croloss.training.resume import count_resumed_epoch
from lightning_croloss.training.saved_position import check_position
from lightning_croloss.training.saved_states import check_run
from lightning_croloss.training.whole_files import write_whole_files

#: Under which a process that a trainer has started tells what its callbacks have kept.
BEST = "best_checkpoints"


class ResumableTraining(SampledTraining):
    """The hooks that note where a checkpoint is taken and go on from there.

    Also brings back what is learned of the data in processes that a trainer starts itself (``ddp_spawn``, and
    every strategy for notebooks): Lightning brings back the weights alone.

    Attributes:
        best_checkpoints: what the callbacks have kept in such a process, see ``best_checkpoint.py``.
    """

    num_items: int

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._position = Position()
        self._continuation: Continuation | None = None
        self._in_started_process = False
        self.best_checkpoints: dict[str, str] = {}

    def setup(self, stage: str) -> None:
        """Forget an earlier fit, take note of who started this process; let nothing be written by halves."""
        write_whole_files(self.trainer)
        if stage == "fit":
            # of one that failed, or of another trainer: a checkpoint that is resumed is loaded after this
            self._position, self._continuation, self._saved_states = Position(), None, None
            self._position.missing = missing_internals(self.trainer)
        self._in_started_process = isinstance(self.trainer.strategy.launcher, _MultiProcessingLauncher)

    def on_fit_start(self) -> None:
        """Refuse to train what cannot be kept."""
        super().on_fit_start()
        check_checkpoint_space(self.trainer, self)
        if self._position.missing:
            rank_zero_warn(f"{lacking(self._position.missing)}: checkpoints of this run cannot be resumed")

    def on_train_start(self) -> None:
        """Let a resumed run do first what the uninterrupted one did next (see continuation.py)."""
        super().on_train_start()
        continuation, self._continuation = self._continuation, None
        if continuation is not None:
            continuation.begin(self.trainer, self)
        elif not self._position.missing:
            count_resumed_epoch(self.trainer)

    def on_train_batch_end(self, outputs: Any, batch: RetrievalBatch, batch_idx: int) -> None:
        """Note how things stand if training is about to stop."""
        self._position.note_stop(self.trainer, self)

    def on_validation_end(self) -> None:
        """Note how things stand if training is about to stop."""
        if self.trainer.state.fn == "fit" and not self.trainer.sanity_checking:
            self._position.note_stop(self.trainer, self)

    def note_position(self, checkpoint: dict[str, Any]) -> None:
        """Put the moment in training into a checkpoint that is about to be written."""
        # without a trainer: others trained, in processes that the trainer started
        here = self._trainer is not None
        checkpoint[KEY]["position"] = (
            self._position.describe(self.trainer, self, checkpoint) if here else {"unknown": True}
        )

    def continue_from(self, checkpoint: dict[str, Any]) -> None:
        """Prepare to go on with the run of a checkpoint; one of the first format has no position."""
        if self._trainer is None:
            return
        if self.trainer.state.fn != "fit":
            forget_best_models(self.trainer, checkpoint)
            return
        refuse_to_resume(self._position.missing)
        check_run(self.trainer, checkpoint)
        begun = checkpoint["global_step"] > 0
        self._saved_states = checkpoint["optimizer_states"], checkpoint["lr_schedulers"], begun
        position = checkpoint[KEY].get("position", {})
        in_training = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["ready"] > 0
        told = in_training and "position" in checkpoint[KEY]
        check_position(position, self.state_dict(), dict(self.named_parameters()), told)
        if "missing" in position:
            raise ValueError(
                "the checkpoint cannot be resumed: it was saved with a release of lightning that does not "
                "say where in training it was; start a new run from its weights with --pretrained"
            )
        self._continuation = None
        if "moment" in position:
            self._continuation = Continuation(checkpoint, position)
            Continuation.leave_out_searches(self.trainer)
        elif "position" not in checkpoint[KEY]:
            rank_zero_warn(
                "the checkpoint is of an early release and does not say what was still to be done: what "
                "comes at the end of an epoch may be left out once"
            )
        elif "unknown" in position:
            rank_zero_warn(
                "the checkpoint was saved by a process that had others train, and knows their weights only: "
                "training begins anew with them; those of ModelCheckpoint can be resumed"
            )
        keep_best_models(self.trainer, checkpoint)

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Return the weights; at the end of a process that a trainer has started, the metadata with them."""
        state = super().state_dict(*args, **kwargs)
        if self._in_started_process and self.trainer.state.finished:
            self.metadata.save(state)
            state[KEY][BEST] = paths_of_the_best(self.trainer)
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Load weights, and the metadata that came with them from a process that a trainer has started."""
        if KEY in state_dict:
            self.metadata.load(dict(state_dict), self.num_items)
            self.best_checkpoints = dict(state_dict[KEY].get(BEST, {}))
            state_dict = {name: value for name, value in state_dict.items() if name != KEY}
        return super().load_state_dict(state_dict, *args, **kwargs)
