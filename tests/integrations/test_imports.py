"""The folder imports no framework, and a file whose framework is missing says what to install."""

from __future__ import annotations

import ast
import sys
from importlib import import_module
from pathlib import Path

import pytest

import lightning_croloss.integrations

assert lightning_croloss.integrations.__file__ is not None
FOLDER = Path(lightning_croloss.integrations.__file__).parent
#: The packages that each file needs, and what brings them.
NEEDS = {
    "pytorch_metric_learning": ("pytorch_metric_learning", "lightning-croloss[integrations]"),
    "recbole": ("recbole", "lightning-croloss[recbole]"),
    "rectools": ("rectools", "rectools[torch]"),
    "sentence_transformers": ("sentence_transformers", "lightning-croloss[integrations]"),
    "torch_rechub": ("torch_rechub", "lightning-croloss[integrations]"),
}


def hide(package: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a package seem not installed, and let the files of ours be imported anew."""
    for name in [*sys.modules]:
        if name.partition(".")[0] == package:
            monkeypatch.setitem(sys.modules, name, None)
        elif name.startswith(f"lightning_croloss.integrations.{module}"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)


def test_the_folder_imports_nothing() -> None:
    body = ast.parse((FOLDER / "__init__.py").read_text()).body
    assert [type(node) for node in body] == [ast.Expr]  # its docstring


@pytest.mark.parametrize("module", NEEDS)
def test_what_is_missing_is_named_with_what_brings_it(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    package, brought_by = NEEDS[module]
    hide(package, module, monkeypatch)
    with pytest.raises(ImportError) as caught:
        import_module(f"lightning_croloss.integrations.{module}")
    said = str(caught.value)
    assert f" is missing or too old: pip install '{brought_by}' (" in said
    assert "\n" not in said


def test_every_framework_of_the_folder_is_tried() -> None:
    """Whatever a file imports that the package itself does not need is among NEEDS."""
    found = set()
    for path in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = (
                    [node.module or ""] if isinstance(node, ast.ImportFrom) else [n.name for n in node.names]
                )
                found |= {name.partition(".")[0] for name in names}
    own = {"torch", "lightning_croloss", "croloss_serving"}
    assert found - sys.stdlib_module_names - own == {name for name, _ in NEEDS.values()}


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_files_are_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) < 80


def test_the_trainers_loss_needs_no_framework(monkeypatch: pytest.MonkeyPatch) -> None:
    hide("transformers", "transformers", monkeypatch)
    assert import_module("lightning_croloss.integrations.transformers").TrainerLoss
