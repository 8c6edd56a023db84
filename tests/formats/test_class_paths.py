"""Every class path that a release has written is known for good."""

import importlib

import pytest

from lightning_croloss.common.former_names import today
from lightning_croloss.configurable import class_path
from tests.formats.class_paths import is_public
from tests.formats.kept import HERE


@pytest.mark.parametrize("path", (HERE / "version_1/class_paths.txt").read_text().split())
def test_every_class_path_that_was_written_is_known(path: str) -> None:
    module, _, name = today(path).rpartition(".")
    cls = getattr(importlib.import_module(module), name)
    assert cls.__name__ == path.rpartition(".")[2]
    assert is_public(class_path(cls)), class_path(cls)
