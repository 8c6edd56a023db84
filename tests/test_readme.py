"""The Python blocks of the README and of the page on training run as they stand."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
TRAINING = (ROOT / "docs" / "training.md").read_text()
BLOCKS, TRAINING_BLOCKS = (
    re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL) for page in (README, TRAINING)
)
#: Blocks that the README shows the output of.
PRINTING = re.findall(r"```python\n([^`]*?print[^`]*?)```\n\n```text\n(.*?)```", README, flags=re.DOTALL)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
@pytest.mark.filterwarnings("ignore")
def test_block(number: int) -> None:
    names: dict[str, object] = {}
    exec(compile(BLOCKS[number], f"README.md, block {number}", "exec"), names)
    if "load_pretrained" in BLOCKS[number]:
        return  # see below
    assert bool(names["users"].grad.abs().sum() > 0)  # type: ignore[attr-defined]


@pytest.mark.filterwarnings("ignore")
def test_the_blocks_of_the_page_on_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One after another: the later ones go on with what the earlier ones made."""
    pytest.importorskip("recbole", reason="the blocks train on the dataset that RecBole bundles")
    monkeypatch.chdir(tmp_path)
    # a default for the Trainer of the page: every line runs, on a part of the data
    monkeypatch.setenv("PL_TRAINER_LIMIT_TRAIN_BATCHES", "20")
    names: dict[str, object] = {}
    for number, block in enumerate(TRAINING_BLOCKS):
        with warnings.catch_warnings():
            # what our own code warns of, a reader would have to mend in the example
            warnings.filterwarnings("error", module=r"lightning_croloss")
            exec(compile(block, f"training.md, block {number}", "exec"), names)
    printed = capsys.readouterr().out
    assert len(re.findall(r"^ +0\.\d+  \d+", printed, flags=re.MULTILINE)) == 10
    built = names["model"].configure_optimizers()  # type: ignore[attr-defined]
    assert built["optimizer"].param_groups[0]["lr"] == pytest.approx(1e-4)  # a tenth, at first


@pytest.mark.parametrize("number", range(len(PRINTING)))
def test_what_a_block_prints(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Tokens and titles to the letter, scores up to rounding."""
    pytest.importorskip("recbole", reason="the titles come from the dataset that RecBole bundles")
    code, expected = PRINTING[number]
    exec(compile(code, f"README.md, printing block {number}", "exec"), {})
    scores = re.compile(r"\d+\.\d+")
    printed = capsys.readouterr().out.strip()
    assert scores.sub("", printed).split() == scores.sub("", expected).split()
    assert [float(score) for score in scores.findall(printed)] == pytest.approx(
        [float(score) for score in scores.findall(expected)], abs=2e-3
    )


def test_there_are_blocks() -> None:
    assert len(BLOCKS) >= 2
    assert len(TRAINING_BLOCKS) >= 1
    assert len(PRINTING) >= 1
