"""Each example runs as a user runs it, and learns."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
#: script: the quantity that falls while it trains, and the Recall of held-out pairs to reach
LEARNS = {
    "plain_pytorch.py": ("loss", 0.45),
    "own_lightning_module.py": ("soft rank", 0.4),
    "query_document_encoders.py": ("loss", 0.6),
}


def run(script: str, folder: Path) -> str:
    """Return what a script prints, run alone and elsewhere."""
    root = EXAMPLES.parent
    paths = [str(root), str(root / "serving"), os.environ.get("PYTHONPATH")]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / script)], capture_output=True, text=True, cwd=folder, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("script", LEARNS)
@pytest.mark.slow
def test_example_learns(script: str, tmp_path: Path) -> None:
    falls, reached = LEARNS[script]
    printed = run(script, tmp_path)
    recall = dict(re.findall(r"^(before|after): recall@\d+ ([\d.]+)$", printed, flags=re.MULTILINE))
    values = [float(value) for value in re.findall(rf"\b{falls} ([\d.]+)", printed)]
    assert float(recall["before"]) < 0.1
    assert float(recall["after"]) > reached
    assert len(values) >= 4
    assert values[-1] < 0.8 * values[0]
    assert not list(tmp_path.iterdir()), "an example leaves files behind"


def test_every_example_is_tested_and_in_the_table() -> None:
    scripts = {path.name for path in EXAMPLES.glob("*.py")}
    assert scripts == set(LEARNS)
    assert (
        set(re.findall(r"^\| `(\w+\.py)`", (EXAMPLES / "README.md").read_text(), flags=re.MULTILINE))
        == scripts
    )
