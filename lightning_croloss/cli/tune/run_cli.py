"""The run of ``croloss fit``, built and not begun: what each piece of work of a search starts from."""

from __future__ import annotations

from lightning.pytorch import Trainer
from lightning.pytorch.cli import SaveConfigCallback

from lightning_croloss.callbacks import RecallReport
from lightning_croloss.cli.lightning_cli import CROLossCLI


class RunCLI(CROLossCLI):
    """Builds what ``croloss fit`` builds, and runs nothing."""

    def _run_subcommand(self, subcommand: str) -> None:
        self.before_fit()


def built_run(config: str) -> RunCLI:
    """Return what ``croloss fit`` would build from the file of a config."""
    return RunCLI(["fit", "--config", config])


def leave_reports(trainer: Trainer) -> None:
    """Print, draw and write nothing of a run that has not ended."""
    left_out = (RecallReport, SaveConfigCallback)
    trainer.callbacks = [each for each in trainer.callbacks if not isinstance(each, left_out)]  # type: ignore[attr-defined]
