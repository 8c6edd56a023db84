"""What a resumed run knows of the best checkpoints of the run that it continues, in whatever folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_warn


def keep_best_models(trainer: Trainer, checkpoint: dict[str, Any]) -> None:
    """Let each ``ModelCheckpoint`` know the best scores so far though it may write to another folder.

    Lightning would forget them, and a worse model would become the best. A checkpoint that moved together
    with the one that is resumed is looked for beside it; one that is gone is forgotten, with a warning.

    Args:
        trainer: the trainer of the resumed run.
        checkpoint: the content of the checkpoint; the states of these callbacks are replaced.
    """
    states = checkpoint.get("callbacks", {})
    beside = Path(str(trainer.ckpt_path)).parent
    for callback in trainer.checkpoint_callbacks:
        state = states.get(callback.state_key)
        if not isinstance(callback, ModelCheckpoint) or not isinstance(state, dict) or "dirpath" not in state:
            continue
        found = _with_files_that_exist(state, beside, callback.mode)
        if trainer.world_size > 1:  # all processes must decide alike, whatever files each of them sees
            found = trainer.strategy.broadcast(found)
        states[callback.state_key] = {**found, "dirpath": callback.dirpath}


def _with_files_that_exist(state: dict[str, Any], beside: Path, mode: str) -> dict[str, Any]:
    kept = dict(state)
    for name in ("best_model_path", "last_model_path"):
        kept[name] = _find(kept.get(name) or "", beside)
    scores = {_find(path, beside): score for path, score in (kept.get("best_k_models") or {}).items()}
    lost = "" in scores or bool(state.get("best_model_path") and not kept["best_model_path"])
    scores.pop("", None)
    kept["best_k_models"] = scores
    if not lost:
        kept["kth_best_model_path"] = _find(kept.get("kth_best_model_path") or "", beside)
        return kept
    rank_zero_warn(
        f"the best checkpoint so far, {state.get('best_model_path')}, or another of the best, is neither "
        "there nor in the folder of the resumed one: its score is forgotten"
    )
    in_order = sorted(scores, key=lambda path: float(scores[path]), reverse=mode == "max")
    if in_order:
        kept["best_model_path"], kept["kth_best_model_path"] = in_order[0], in_order[-1]
        kept["best_model_score"], kept["kth_value"] = scores[in_order[0]], scores[in_order[-1]]
    else:
        kept["best_model_score"] = None
        kept["kth_best_model_path"] = ""
    return kept


def _find(path: str, beside: Path) -> str:
    """Return where a checkpoint lies: as it was written, or beside the resumed one; "" if nowhere."""
    if not path or "://" in path or Path(path).exists():
        return path
    moved = beside / Path(path).name
    return str(moved.resolve()) if moved.exists() else ""
