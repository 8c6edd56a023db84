"""RecallReport: the results of an evaluation as a table, a file and a plot of Recall against N."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only

from lightning_croloss.common.plotting import plot_metrics_against_n
from lightning_croloss.common.text_table import aligned
from lightning_croloss.errors import MissingExtraError
from lightning_croloss.models.evaluation import EXCLUDED_TARGETS
from lightning_croloss.training.best_checkpoint import best_checkpoint
from lightning_croloss.training.run_folder import own_file
from lightning_croloss.training.trackers import Results, log_checkpoint, log_curve


class RecallReport(Callback):
    """Print a table of every metric @N when ``validate`` or ``test`` ends, and keep it beside the logs.

    Writes ``<stage>_results.json`` and, with the extra [plot], ``<stage>_recall_at_n.png`` into the run's
    folder, except in a dry run; if another run's are there, a number is added to the names. Where a part of
    the users was measured (``limit_test_batches``), table and file say so. Gives W&B and
    TensorBoard the curve, and W&B the best checkpoint of a fit.

    Args:
        plot: whether to draw Recall against N.
    """

    def __init__(self, plot: bool = True) -> None:
        self.plot = plot

    @rank_zero_only
    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the best checkpoint to the trackers that keep one."""
        best = Path(best_checkpoint(trainer))
        if best.is_file():
            for logger in trainer.loggers:
                log_checkpoint(logger, best)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report after ``Trainer.validate``; the validations inside a fit only log."""
        if trainer.state.fn == "validate":
            self._report(trainer, pl_module, "val")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report after ``Trainer.test``."""
        self._report(trainer, pl_module, "test")

    @rank_zero_only
    def _report(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        values = {name: float(value) for name, value in trainer.callback_metrics.items()}
        results = collect_results(values, stage)
        if not results:
            return
        print("\n" + format_table(results, stage))
        measured, of = measured_batches(trainer, stage)
        content: dict[str, object] = dict(results)
        if measured < of and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            overfits = stage == "val" and trainer.overfit_batches  # type: ignore[attr-defined]
            field = "overfit_batches" if overfits else f"limit_{stage}_batches"
            print(f"measured:   {measured:,} of {of:,} batches of users: {field} leaves out the rest")
            content["measured_batches"] = {"measured": measured, "of": of}
        excluded = int(values.get(f"{stage}/{EXCLUDED_TARGETS}", 0))
        if excluded:
            print(f"misses:     {excluded:,} targets that their users had before: exclude_history bars them")
        if trainer.ckpt_path:
            print(f"checkpoint: {trainer.ckpt_path}")
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        text = json.dumps(content, indent=2).encode()
        path = own_file(trainer, f"{stage}_results.json", lambda path: path.write_bytes(text))
        print(f"results:    {path}")
        picture = None
        if self.plot:
            picture = self._draw(results, trainer, f"{type(pl_module).__name__}, {stage}", stage)
        for logger in trainer.loggers:
            log_curve(logger, results, stage, picture)

    def _draw(self, results: Results, trainer: Trainer, title: str, stage: str) -> Path | None:
        def write(path: Path) -> None:
            plot_metrics_against_n(results, path, title=title)

        try:
            path = own_file(trainer, f"{stage}_recall_at_n.png", write)
        except MissingExtraError as missing:
            print(f"no plot:    {missing}")
            return None
        print(f"plot:       {path}")
        return path


def measured_batches(trainer: Trainer, stage: str) -> tuple[int, int]:
    """Return how many batches of a process were measured, and how many there are.

    Both are the first where a loader does not know how many it has.

    Args:
        trainer: the trainer, at the end of the evaluation.
        stage: "val" or "test".
    """
    found = trainer.num_test_batches if stage == "test" else trainer.num_val_batches
    loader: Any = trainer.test_dataloaders if stage == "test" else trainer.val_dataloaders
    measured = int(sum(found)) if all(map(math.isfinite, found)) else 0
    try:
        return measured, max(measured, len(loader))
    except TypeError:
        return measured, measured


def collect_results(values: dict[str, float], stage: str) -> Results:
    """Gather logged values ``{"test/recall@20": 0.1}`` into ``{"recall": {20: 0.1}}`` for one stage."""
    results: Results = {}
    for name, value in values.items():
        matched = re.fullmatch(rf"{stage}/(\w+)@(\d+)", name)
        if matched:
            results.setdefault(matched[1], {})[int(matched[2])] = value
    return {metric: dict(sorted(by_n.items())) for metric, by_n in results.items()}


def format_table(results: Results, stage: str) -> str:
    """Lay results out with a row for each metric and a column for each N."""
    ns = sorted({n for by_n in results.values() for n in by_n})
    longest = max(len(metric) for metric in results)
    rows = [[f"{stage} metrics".ljust(longest + 6), *(f"@{n}".rjust(6) for n in ns)]]
    for metric, by_n in results.items():
        rows.append([metric, *(f"{by_n[n]:.4f}" if n in by_n else "" for n in ns)])
    head, *lines = aligned(rows, "<" + ">" * len(ns), gap=3).splitlines()
    return "\n".join([head, "-" * len(head), *(line.ljust(len(head)) for line in lines)])
