"""PlainHyperparameters: the constructor's arguments as plain types, in every checkpoint."""

from __future__ import annotations

import copy

from lightning.pytorch.core.mixins.hparams_mixin import HyperparametersMixin

from lightning_croloss.configurable import Configurable, class_path, to_config


class PlainHyperparameters(Configurable, HyperparametersMixin):
    """Keeps the hyperparameters of a Lightning module so that a checkpoint of plain types rebuilds it."""

    def after_init(self) -> None:
        """Keep the hyperparameters as plain types, from which the model is built again."""
        config = {name: to_config(value) for name, value in self._init_arguments.items()}
        config["_class_path"] = class_path(type(self))
        config["_instantiator"] = "lightning.pytorch.cli.instantiate_module"
        self._set_hparams(config)
        self._hparams_initial = copy.deepcopy(self._hparams)
        self._log_hyperparams = True  # to the loggers
