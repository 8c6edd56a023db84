"""The entry point: what answers before torch is imported."""

import os
import platform
import subprocess
import sys
from importlib.metadata import version

import pytest

import lightning_croloss
from lightning_croloss.cli import main
from lightning_croloss.cli.run import WORKSPACES


def test_the_versions_to_name_in_a_report(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--version"])
    assert capsys.readouterr().out.splitlines() == [
        f"lightning-croloss {lightning_croloss.__version__}",
        f"Python {platform.python_version()}",
        f"torch {version('torch')}",
        f"lightning {version('lightning')}",
        f"lightning-croloss-serving {version('lightning-croloss-serving')}",
    ]


def test_the_versions_need_no_heavy_import() -> None:
    code = (
        "import sys; from lightning_croloss.cli import main; main(['--version']); "
        "print(sorted({'torch', 'lightning', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("given", [None, ":16:8"])
def test_recurrent_layers_on_a_gpu_round_alike_in_each_run(
    monkeypatch: pytest.MonkeyPatch, given: str | None
) -> None:
    name, value = WORKSPACES
    monkeypatch.delenv(name, raising=False)
    if given is not None:
        monkeypatch.setenv(name, given)
    try:
        main(["zoo", "list"])
        assert os.environ[name] == (given or value)
    finally:
        os.environ.pop(name, None)
