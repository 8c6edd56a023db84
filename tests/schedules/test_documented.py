"""The block of the page on the loss runs as it stands, without a warning, and prints what it says."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "loss.md").read_text()
BLOCKS = [
    block for block in re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL) if "LossScheduler" in block
]


def test_the_loop_with_a_scheduler(capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = BLOCKS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exec(compile(block, "loss.md", "exec"), {})
    (said,) = re.findall(r"print\(.*\)  # (.*)", block)
    assert capsys.readouterr().out.strip() == said
