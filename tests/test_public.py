"""The public names come without heavy imports."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.slow
def test_the_package_alone_imports_no_torch() -> None:
    code = (
        "import sys, lightning_croloss; print(sorted({'torch', 'lightning'} & set(sys.modules))); "
        "from lightning_croloss import *; print(lightning_croloss.losses.CROLoss is CROLoss); "
        "print(hasattr(lightning_croloss, 'CROLos'), 'MIND' in dir(lightning_croloss))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:3] == ["[]", "True", "False True"]


@pytest.mark.slow
def test_import_is_light() -> None:
    code = (
        "import sys, lightning.pytorch.cli; before = set(sys.modules); import lightning_croloss.public; "
        "heavy = {'recbole', 'pandas', 'wandb', 'matplotlib', 'polars', 'faiss'}; "
        "print(sorted(heavy & (set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
