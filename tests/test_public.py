"""The public names come without heavy imports."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.slow
def test_imports_are_light() -> None:
    """One after another in one process: what is imported for one question is there for the next."""
    code = """
import sys, lightning_croloss
print(sorted({'torch', 'lightning'} & set(sys.modules)))
from lightning_croloss import LossScheduler, log_prob_from_counts
from lightning_croloss.schedules import Constant, Cosine, Geometric, Linear, Steps
print(sorted({'lightning', 'pytorch_lightning'} & set(sys.modules)))
import lightning_croloss.data
print([name for name in ('recbole', 'pandas') if name in sys.modules])
import lightning.pytorch.cli
before = set(sys.modules)
import lightning_croloss.public
heavy = {'recbole', 'pandas', 'wandb', 'matplotlib', 'polars', 'faiss'}
print(sorted(heavy & (set(sys.modules) - before)))
from lightning_croloss import *
print(lightning_croloss.losses.CROLoss is CROLoss)
print(hasattr(lightning_croloss, 'CROLos'), 'MIND' in dir(lightning_croloss))
print('polars' in sys.modules)
sys.modules['polars'] = None
try:
    lightning_croloss.TableDataModule('x.parquet').load()
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *printed, error = done.stdout.splitlines()
    assert printed == ["[]", "[]", "[]", "[]", "True", "False True", "False"]
    assert error.startswith("TableDataModule needs the extra [tables]")
