"""Datasets and configuration of the RecBole library."""

from lightning_croloss.data.recbole.datamodule import RecBoleDataModule

__all__ = ["RecBoleDataModule"]
