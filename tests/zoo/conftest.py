"""A small model, built once for the tests of the zoo."""

import warnings
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """Return the folder in which a model was built: its zoo, config and table."""
    pytest.importorskip("polars", reason="the zoo's tables need polars and pyarrow")
    pytest.importorskip("scipy", reason="item kNN needs scipy")
    from lightning_croloss.cli.lightning_cli import run_fit
    from lightning_croloss.zoo.building import build
    from tests.zoo.cases import NAME, write_inputs

    folder = tmp_path_factory.mktemp("built")
    write_inputs(folder)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "LightningCLI's args parameter")
        patch.chdir(folder)
        build(NAME, Path("dnn.yaml"), Path("zoo"), run_fit, data_folder="tables", dtype="float16")
    return folder


@pytest.fixture
def here(built, monkeypatch):
    monkeypatch.chdir(built)
    return built
