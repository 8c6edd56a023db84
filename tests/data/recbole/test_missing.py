"""What must work without RecBole."""

import sys

import pytest

from lightning_croloss.data import RecBoleDataModule
from lightning_croloss.errors import MissingExtraError


def test_missing_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "recbole", None)
    with pytest.raises(MissingExtraError, match=r"RecBoleDataModule needs the extra \[recbole\]"):
        RecBoleDataModule().load()
