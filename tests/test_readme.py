"""The README's Python blocks run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
@pytest.mark.filterwarnings("ignore")
def test_block(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "RecBole" in BLOCKS[number]:
        pytest.importorskip("recbole", reason="the block trains on the dataset that RecBole bundles")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(BLOCKS[number], f"README.md, block {number}", "exec"), names)
    if "items" in names:
        assert tuple(names["items"].shape) == (1, 10)  # type: ignore[attr-defined]
    else:
        assert bool(names["users"].grad.abs().sum() > 0)  # type: ignore[attr-defined]


def test_there_are_blocks() -> None:
    assert len(BLOCKS) >= 2
