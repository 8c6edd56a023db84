"""The user's own tables."""

from lightning_croloss.data.table.datamodule import TableDataModule

__all__ = ["TableDataModule"]
