"""The config that a search by the clock hands back: that of a fit like its winner's."""

from __future__ import annotations

import copy
import math

from lightning_croloss.cli.tune.base import Config
from lightning_croloss.cli.tune.configs import judged_by
from lightning_croloss.cli.tune.table.state import Progress
from lightning_croloss.tuning.objective import Objective


def final_config(design: Config, progress: Progress, objective: Objective) -> tuple[Config, dict[str, str]]:
    """Return the config of a fit that ends about where the best checkpoint was, and why it does.

    Args:
        design: the config of the winner, without length and callbacks.
        progress: how far it has been trained.
        objective: what is looked for.
    """
    config = copy.deepcopy(design)
    reasons = {}
    steps = round(1.5 * progress.best_step)
    falling = progress.falling
    if falling is not None and progress.best_step > falling[0]:
        steps = falling[1]
        config["model"]["init_args"] |= _falling_rate(*falling)
        reasons["model.init_args.lr_scheduler"] = (
            f"as it was for the last {falling[1] - falling[0]:,} steps, over which it falls to none; the "
            "milestone and total_iters go with the length of the training"
        )
    best, more = progress.best_step / progress.epoch, ""
    if progress.best_step == progress.step:
        more = ", when the time was over: more are likely to be better"
    trainer = config["trainer"]
    if best >= 1:
        trainer["max_epochs"] = math.ceil(steps / progress.epoch)
        reasons["trainer.max_epochs"] = f"it was best after {best:.3g}{more}"
    else:
        trainer["max_steps"] = max(1, steps)
        trainer["val_check_interval"] = max(1, min(progress.epoch, progress.best_step // 4))
        reasons["trainer.max_steps"] = (
            f"it was best after {progress.best_step:,} of the {progress.epoch:,} of an epoch{more}"
        )
    return judged_by(config, [objective]), reasons


def _falling_rate(begin: int, end: int) -> Config:
    """Return the arguments of a model whose learning rate falls to none between two steps."""
    falls = {"start_factor": 1.0, "end_factor": 0.0, "total_iters": end - begin}
    schedulers = [
        {"class_path": "ConstantLR", "init_args": {"factor": 1.0}},
        {"class_path": "LinearLR", "init_args": falls},
    ]
    return {
        "lr_scheduler": {
            "class_path": "SequentialLR",
            "init_args": {"schedulers": schedulers, "milestones": [begin]},
        },
        "lr_scheduler_interval": "step",
    }


__all__ = ["final_config"]
