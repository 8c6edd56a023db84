"""The command line: ``croloss fit|validate|test --config file.yaml``."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger

from lightning_croloss.callbacks import RecallReport
from lightning_croloss.config_errors import one_sentence
from lightning_croloss.data import RetrievalDataModule
from lightning_croloss.errors import DataError, MissingExtraError, NonFiniteLossError
from lightning_croloss.models import RetrievalModel

#: Set this environment variable to see where an error came from.
TRACEBACK = "CROLOSS_TRACEBACK"


class CROLossParser(LightningArgumentParser):
    """A parser whose errors are one sentence."""

    def error(self, message: str, ex: Exception | None = None) -> Any:
        """Print the deepest cause of a config error and exit with status 2."""
        if os.environ.get(TRACEBACK) and ex is not None:
            traceback.print_exception(ex)
        self.exit(2, f"croloss: error: {one_sentence(message)}\n")


class CROLossCLI(LightningCLI):
    """LightningCLI for any ``RetrievalModel`` and ``RetrievalDataModule``, by class path or short name.

    The size of the catalogue is taken from the data; ``fit`` ends with a test of the best checkpoint.
    """

    def __init__(self, args: ArgsType = None, run: bool = True) -> None:
        super().__init__(
            RetrievalModel,
            RetrievalDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            seed_everything_default=42,
            auto_configure_optimizers=False,
            parser_class=CROLossParser,
            parser_kwargs={
                "prog": "croloss",
                "description": "Train, validate and test retrieval models on the Recall@N that will be deployed.",
                "fit": {"description": FIT_HELP},
            },
            trainer_defaults={
                "logger": {"class_path": "CSVLogger", "init_args": {"save_dir": "runs", "name": "croloss"}},
                "callbacks": [RecallReport()],
            },
            args=args,
            run=run,
            load_from_checkpoint_support=False,  # Configurable does it, for models made in Python too
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Let the model know its data, and add the test that follows a fit."""
        parser.link_arguments("data.num_items", "model.init_args.num_items", apply_on="instantiate")
        parser.add_argument(
            "--test_after_fit",
            type=bool,
            default=True,
            help="Whether fit ends with a test of the best checkpoint.",
        )

    def after_fit(self) -> None:
        """Test the best checkpoint, or the last weights if none was kept."""
        if not self._get(self.config, "test_after_fit"):
            return
        checkpoint = self.trainer.checkpoint_callback
        best = getattr(checkpoint, "best_model_path", "")
        self.trainer.test(
            self.model, self.datamodule, ckpt_path=best or None, verbose=False, weights_only=True
        )


FIT_HELP = (
    "Train a model. '--model=YouTubeDNN --help' does not list the model's own fields: use "
    "'--model.help=YouTubeDNN' (and '--data.help=RecBoleDataModule') for those; '--print_config' shows the "
    "complete configuration. Fields can be overridden: '--trainer.max_epochs=3'."
)


def main(args: ArgsType = None) -> None:
    """Run the command line; a mistake of the user's ends in one sentence and a non-zero status."""
    try:
        CROLossCLI(args)
    except Exception as error:
        if os.environ.get(TRACEBACK) or not _meant_for_user(error):
            raise
        print(f"croloss: error: {error} (set {TRACEBACK}=1 to see where)", file=sys.stderr)
        sys.exit(1)


def _meant_for_user(error: Exception) -> bool:
    """Tell errors that were raised to be read from failures inside the machinery."""
    if isinstance(error, (DataError, MissingExtraError, NonFiniteLossError, MisconfigurationException)):
        return True
    if not isinstance(error, (ValueError, TypeError)):
        return False
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and Path(frames[-1].filename).is_relative_to(Path(__file__).parent)


__all__ = ["CROLossCLI", "CSVLogger", "main"]
