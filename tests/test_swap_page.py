"""Every Python block of the page on swapping the loss runs as it stands.

The blocks of a section run one after another in one namespace, which begins with what the page says it
begins with: a few tiny tensors. A section about a framework that is not installed is skipped.
"""

from __future__ import annotations

import re
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.integrations.recbole_data import working_recbole

PAGE = (Path(__file__).parent.parent / "docs" / "swap.md").read_text()
#: What must be installed for the blocks of a section.
NEEDS = {
    "sentence-transformers": ("sentence_transformers", "datasets", "accelerate"),
    "RecBole": ("recbole",),
    "RecTools": ("rectools",),
    "torch-rechub": ("torch_rechub",),
    "Hugging Face Trainer": ("transformers", "accelerate"),
    "pytorch-metric-learning": ("pytorch_metric_learning",),
}


def sections() -> dict[str, list[str]]:
    """Return the blocks of each section by its heading; the page's beginning is ""."""
    found = {}
    for part in re.split(r"^## ", PAGE, flags=re.MULTILINE):
        heading = "" if part.startswith("# ") else part.partition("\n")[0]
        found[heading] = re.findall(r"^```python\n(.*?)^```$", part, flags=re.DOTALL | re.MULTILINE)
    return found


SECTIONS = sections()


def names_at_the_beginning() -> dict[str, Any]:
    torch.manual_seed(0)
    item_ids = torch.randint(1, 41, (16,))
    users, items = torch.randn(2, 16, 8).requires_grad_()
    return {
        "torch": torch,
        "users": torch.nn.functional.normalize(users, dim=-1),
        "items": torch.nn.functional.normalize(items, dim=-1),
        "item_ids": item_ids,
        "item_counts": torch.bincount(torch.cat([item_ids, torch.arange(1, 41)])),
    }


@pytest.mark.parametrize("section", [name for name, blocks in SECTIONS.items() if blocks])
def test_the_blocks_of_a_section(section: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for needed in NEEDS.get(section, ()):
        pytest.importorskip(needed, reason=f"the section is about {section}: {needed} is not installed")
    monkeypatch.chdir(tmp_path)
    names = names_at_the_beginning()
    with working_recbole(tmp_path) if section == "RecBole" else nullcontext():
        run(section, names)


def run(section: str, names: dict[str, Any]) -> None:
    for number, block in enumerate(SECTIONS[section]):
        with warnings.catch_warnings():
            # what our own code warns of, a reader would have to mend in the example
            warnings.filterwarnings("error", module=r"lightning_croloss")
            exec(compile(block, f"swap.md, {section or 'the beginning'}, block {number}", "exec"), names)


def test_the_readme_begins_with_the_same_example() -> None:
    readme = (Path(__file__).parent.parent / "README.md").read_text()
    assert SECTIONS[""] == re.findall(r"^```python\n(.*?)^```$", readme, flags=re.DOTALL | re.MULTILINE)[:1]


def test_every_framework_has_its_section() -> None:
    assert {"Plain PyTorch", *NEEDS} <= SECTIONS.keys()
