"""What must work without RecBole."""

import subprocess
import sys

import pytest

from lightning_croloss.data import RecBoleDataModule
from lightning_croloss.errors import MissingExtraError


@pytest.mark.slow
def test_import_is_lazy():
    code = "import sys, lightning_croloss.data; print([m for m in ('recbole', 'pandas') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_missing_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "recbole", None)
    with pytest.raises(MissingExtraError, match=r"RecBoleDataModule needs the extra \[recbole\]"):
        RecBoleDataModule().load()
