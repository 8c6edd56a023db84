"""The resolved config of a run, kept in its folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback

from lightning_croloss.cli.messages import say
from lightning_croloss.training.run_folder import own_file
from lightning_croloss.training.run_versions import share_versions
from lightning_croloss.training.trackers import log_config


class SaveResolvedConfig(SaveConfigCallback):
    """Keep the resolved config in the run's own folder, whatever the logger, and tell the trackers."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Let all processes agree on the run's folder; the first one writes the config."""
        share_versions(trainer)
        super().setup(trainer, pl_module, stage)

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write ``config.yaml``, or ``config-1.yaml`` … if there is one already, and log its content."""
        config = self.config.clone()
        config["metrics_per_user"] = None  # a file of this run alone
        config.pop("overwrite", None)
        _fill_loss(config, pl_module)
        text = self.parser.dump(config, skip_none=False)
        path = own_file(trainer, self.config_filename, lambda path: path.write_bytes(text.encode()))
        if not trainer.loggers:  # it lies among the user's own files
            say(f"config: {path}")
        for logger in trainer.loggers:
            log_config(logger, text)


def _fill_loss(config: Namespace, model: LightningModule) -> None:
    """Write what the model keeps of its loss in place of what was given, so that the file means the same.

    That is what the loss chose itself where it was left out, and the long form of what has a short one: both
    together would be given twice.
    """
    given, kept = config.get("model.init_args.loss"), model.hparams.get("loss")
    if not isinstance(given, Namespace) or not isinstance(kept, Mapping) or "init_args" not in given:
        return
    found = given["init_args"]
    for name, value in (kept.get("init_args") or {}).items():
        if name in found:
            found[name] = _parsed(value)


def _parsed(value: Any) -> Any:
    """Return a class and its arguments as the parser holds them; other values stay."""
    if not (isinstance(value, Mapping) and "class_path" in value):
        return value
    arguments = {name: _parsed(entry) for name, entry in (value.get("init_args") or {}).items()}
    return Namespace(class_path=value["class_path"], init_args=Namespace(**arguments))
