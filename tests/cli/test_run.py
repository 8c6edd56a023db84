"""The entry point: what answers before torch is imported."""

import platform
import subprocess
import sys
from importlib.metadata import version

import pytest

import lightning_croloss
from lightning_croloss.cli import main


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
