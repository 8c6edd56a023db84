"""The command line: ``croloss``."""

from lightning_croloss.cli.run import main

__all__ = ["main"]
