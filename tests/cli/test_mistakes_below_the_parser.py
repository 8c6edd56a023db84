"""Mistakes that surface below the parser: in constructors, optimizers, addresses and bounds."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest

from lightning_croloss.models.checkpoint import read_checkpoint
from tests.cli.cases import error_of
from tests.cli.small import FIT, NO_PLOT

pytestmark = [pytest.mark.filterwarnings("ignore"), NO_PLOT]

SCHEDULED = """trainer:
  callbacks:
    - class_path: CROLossCallback
      init_args:
        n: {{class_path: {schedule}, init_args: {given}}}
    - class_path: ModelCheckpoint
"""


@pytest.mark.parametrize(
    ("schedule", "given", "said"),
    [
        ("Geometric", "{start: 0, end: 5}", "Geometric needs start and end above 0, got start=0.0"),
        ("Geometric", "{start: 9, end: -1}", "Geometric needs start and end above 0"),
        ("Linear", "{start: 9, end: 5, until: -1}", "until must be a fraction in [0, 1]"),
        ("Linear", "{start: 9, end: 5, begin: .8, until: .2}", "until must not come before begin"),
        ("Steps", "{values: [9, 5], milestones: []}", "milestones"),
    ],
)
def test_a_constructor_within_a_list_is_heard(
    schedule: str, given: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("c.yaml").write_text(SCHEDULED.format(schedule=schedule, given=given))
    told = error_of(capsys, "fit", *FIT, "--config=c.yaml")
    assert said in told
    assert "Expected" not in told


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--model.optimizer=Adam", "--model.optimizer.lr=-1"], "optimizer.lr: Invalid learning rate: -1.0"),
        (["--model.optimizer=AdamW", "--model.optimizer.betas=[1.5,.9]"], "optimizer.betas: "),
        (["--model.optimizer=Adam", "--model.optimizer.eps=-1"], "optimizer.eps: "),
        (["--model.optimizer=SparseAdam"], "optimizer: SparseAdam does not support dense gradients"),
        (["--trainer.max_time=1h"], "trainer.max_time: "),
        (["--seed_everything=-3"], "seed_everything must be 0 … 4294967295, got -3"),
        ([f"--seed_everything={2**32}"], "seed_everything must be 0 … 4294967295"),
        (["--seed=3"], "there is no field 'seed'; did you mean 'seed_everything'?"),
        (["--metrics_per_user=each.xlsx"], "output 'each.xlsx' must end in .parquet"),
        (["--ckpt_path=memory://nowhere.ckpt"], "ckpt_path: memory://nowhere.ckpt cannot be read"),
        (["--ckpt_path=nosuch://nowhere.ckpt"], "ckpt_path: nosuch://nowhere.ckpt cannot be read"),
    ],
)
def test_the_field_is_named(options: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert error_of(capsys, "fit", *FIT, *options).startswith(said)


def test_appending_has_its_sign_behind(capsys: pytest.CaptureFixture[str]) -> None:
    Path("c.yaml").write_text("trainer:\n  +callbacks:\n    - class_path: LearningRateMonitor\n")
    assert "write callbacks+ with the sign behind it" in error_of(capsys, "fit", *FIT, "--config=c.yaml")


def test_what_is_at_an_address_is_judged_as_a_file_is() -> None:
    with fsspec.open("memory://text.ckpt", "wb") as file:
        file.write(b"hello")
    with pytest.raises(ValueError, match=r"text.ckpt.* is not a checkpoint"):
        read_checkpoint("memory://text.ckpt")
