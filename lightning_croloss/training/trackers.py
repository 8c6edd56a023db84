"""What the experiment trackers are told besides the metrics that Lightning logs."""

from __future__ import annotations

from pathlib import Path

import yaml
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger

Results = dict[str, dict[int, float]]


def log_curve(logger: Logger, results: Results, stage: str, picture: Path | None) -> None:
    """Log the metrics against N: as a chart to W&B, as a picture to TensorBoard.

    Args:
        logger: any logger; others than these two have nowhere to put a curve.
        results: for each metric its value at each N.
        stage: "val" or "test".
        picture: the plot as a PNG, if it was drawn.
    """
    if isinstance(logger, WandbLogger):
        import wandb

        series = wandb.plot.line_series(
            xs=[list(by_n) for by_n in results.values()],
            ys=[list(by_n.values()) for by_n in results.values()],
            keys=list(results),
            title=f"{stage} metrics against N",
            xname="N",
        )
        logger.experiment.log({f"{stage}/metrics_against_n": series})
    elif isinstance(logger, TensorBoardLogger) and picture is not None:
        import matplotlib.image

        pixels = matplotlib.image.imread(picture)
        logger.experiment.add_image(f"{stage}/metrics_against_n", pixels, dataformats="HWC")


def log_checkpoint(logger: Logger, path: Path) -> None:
    """Keep a checkpoint as an artefact of a W&B run, offline too, where its logger's ``log_model`` cannot."""
    if isinstance(logger, WandbLogger) and not logger._log_model:  # else Lightning does it
        import wandb

        artifact = wandb.Artifact(f"model-{logger.experiment.id}", type="model")
        artifact.add_file(str(path), name=path.name)
        logger.experiment.log_artifact(artifact, aliases=["best"])


def log_config(logger: Logger, config: str) -> None:
    """Log the resolved config: nested to W&B, as text to TensorBoard; every run's folder has it as a file.

    Args:
        logger: any logger.
        config: YAML.
    """
    if isinstance(logger, WandbLogger):
        logger.experiment.config.update({"config": yaml.safe_load(config)}, allow_val_change=True)
    elif isinstance(logger, TensorBoardLogger):
        logger.experiment.add_text("config", f"```yaml\n{config}\n```")
