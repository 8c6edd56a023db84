"""What a restored model needs where its weights are in double precision."""

from __future__ import annotations

from lightning.pytorch import LightningModule, Trainer


def convert_before_restoring(trainer: Trainer, module: LightningModule) -> None:
    """Convert a module that is about to be restored, if it is trained in double precision.

    Lightning (2.6) restores the weights first and converts the module later: those of a checkpoint would be
    rounded to single precision on the way, and the run would not go on exactly. Half precision loses nothing.
    """
    if trainer.precision == "64-true":
        trainer.precision_plugin.convert_module(module)
