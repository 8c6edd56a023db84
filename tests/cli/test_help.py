"""The help of the trainer's commands, and of the classes that a config names."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any, Literal

import pytest
from docstring_parser import parse
from lightning.pytorch import LightningModule

import lightning_croloss.public
from lightning_croloss import RetrievalDataModule, RetrievalModel
from lightning_croloss.cli import main
from lightning_croloss.cli.errors import _classes
from lightning_croloss.cli.help_format import in_words, without_markup
from lightning_croloss.cli.lightning_cli import CROLossCLI
from lightning_croloss.cli.parser import CROLossParser
from lightning_croloss.cli.trainer_help import trainer_help
from lightning_croloss.cli.trainer_options import DATA_MODULES, MODELS, TRAINER_COMMANDS, options_of
