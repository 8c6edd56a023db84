"""The folder imports no framework, and a file whose framework is missing says what to install."""

from __future__ import annotations

import ast
import sys
from importlib import import_module
from pathlib import Path

import pytest

import lightning_croloss.integrations


def test_the_folder_imports_nothing() -> None:
    assert lightning_croloss.integrations.__file__ is not None
    body = ast.parse(Path(lightning_croloss.integrations.__file__).read_text()).body
    assert [type(node) for node in body] == [ast.Expr]  # its docstring


def test_what_is_missing_is_named_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*sys.modules]:
        if name.partition(".")[0] == "sentence_transformers":
            monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    monkeypatch.delitem(sys.modules, "lightning_croloss.integrations.sentence_transformers", raising=False)
    with pytest.raises(ImportError, match=r"no sentence-transformers: pip install '.*\[integrations\]'"):
        import_module("lightning_croloss.integrations.sentence_transformers")


def test_the_trainers_loss_needs_no_framework(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    monkeypatch.delitem(sys.modules, "lightning_croloss.integrations.transformers", raising=False)
    assert import_module("lightning_croloss.integrations.transformers").TrainerLoss
