"""What a resumed run knows of the best checkpoints of the run that it continues, in whatever folder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, tensor

from croloss_serving.common.terminal import printable
from lightning_croloss.training.run_files import folder_of_run, run_file, without_paths

#: What the state of a ``ModelCheckpoint`` holds, which is made anew here.
_OWN = (
    "dirpath",
    "best_k_models",
    "best_model_path",
    "best_model_score",
    "kth_best_model_path",
    "kth_value",
    "last_model_path",
    "current_score",
)


def keep_best_models(trainer: Trainer, checkpoint: dict[str, Any]) -> None:
    """Let each ``ModelCheckpoint`` know the best scores so far though it may write to another folder.

    Lightning would forget them, and a worse model would become the best. Paths of a checkpoint count only
    within the folder of the one that is resumed and the callback's own, since ``ModelCheckpoint`` deletes
    what it knows: a checkpoint that moved together with the resumed one is found there, one that is gone or
    lies elsewhere is forgotten, with a warning.

    Args:
        trainer: the trainer of the resumed run.
        checkpoint: the content of the checkpoint; the states of these callbacks are replaced.
    """
    states = checkpoint.get("callbacks", {})
    callbacks = trainer.checkpoint_callbacks
    beside = folder_of_run(str(trainer.ckpt_path), callbacks)
    for callback in callbacks:
        state = states.pop(callback.state_key, None)
        former = states.pop(callback._legacy_state_key, None)  # Lightning would take this one instead
        state = former if state is None else state
        if not isinstance(state, dict):
            continue
        if not isinstance(callback, ModelCheckpoint):
            states[callback.state_key] = without_paths(state)
            continue
        found = _with_files_of_the_run(state, callback, beside, callbacks)
        if trainer.world_size > 1:  # all processes must decide alike, whatever files each of them sees
            found = trainer.strategy.broadcast(found)
        states[callback.state_key] = {**found, "dirpath": callback.dirpath}


def forget_best_models(trainer: Trainer, checkpoint: dict[str, Any]) -> None:
    """Leave what a trainer knows of its best checkpoints as it is, where a checkpoint is only measured."""
    states = checkpoint.get("callbacks", {})
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, Checkpoint):
            states.pop(callback.state_key, None)
            states.pop(callback._legacy_state_key, None)


def _with_files_of_the_run(
    state: dict[str, Any], callback: ModelCheckpoint, beside: str, callbacks: Sequence[Checkpoint]
) -> dict[str, Any]:
    own = None if callback.dirpath is None else str(callback.dirpath)

    def find(path: object) -> str:
        return run_file(path, beside, own, callback.FILE_EXTENSION, callbacks)

    kept = {name: without_paths(value) for name, value in state.items() if name not in _OWN}
    best, last, kth = (
        find(state.get(f"{name}_path")) for name in ("best_model", "last_model", "kth_best_model")
    )
    of_file = state.get("best_k_models")
    listed = of_file if isinstance(of_file, dict) else {}
    scores = {find(path): _score(score) for path, score in listed.items()}
    named = state.get("best_model_path")
    names_none = named is None or (isinstance(named, str) and not named)
    lost = "" in scores or any(score is None for score in scores.values()) or not (best or names_none)
    known = {path: score for path, score in scores.items() if path and score is not None}
    kept |= {
        "best_k_models": known,
        "best_model_path": best,
        "best_model_score": _score(state.get("best_model_score")),
        "last_model_path": last,
        "current_score": _score(state.get("current_score")),
        "kth_best_model_path": kth,
        "kth_value": _score(state.get("kth_value")),
    }
    full = 0 < callback.save_top_k <= len(known)
    whole = not known or (best in known and (kth in known or not (kth or full)))
    if lost:
        rank_zero_warn(
            f"the best checkpoint so far, {printable(str(named)[:200])}, or another of the best, is "
            "neither there nor in the folder of the resumed one: its score is forgotten"
        )
    if lost or not whole:
        in_order = sorted(known, key=lambda path: float(known[path]), reverse=callback.mode == "max")
        if in_order:
            kept["best_model_path"], kept["kth_best_model_path"] = in_order[0], in_order[-1]
            kept["best_model_score"], kept["kth_value"] = known[in_order[0]], known[in_order[-1]]
        else:
            kept |= {"best_model_path": best, "best_model_score": None, "kth_best_model_path": ""}
    if kept["kth_value"] is None:
        kept["kth_value"] = callback.kth_value
    return kept


def _score(value: object) -> Tensor | None:
    """Return a score of a file as a tensor; None if it is not a number."""
    if isinstance(value, Tensor):
        if value.numel() != 1 or value.is_complex() or value.is_meta or value.ndim:
            return None
        return None if math.isnan(float(value)) else value
    if isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isnan(value):
        return tensor(float(value))
    return None
