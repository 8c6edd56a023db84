"""Commands that would measure nothing, and what a fit says of its model where no test follows."""

from __future__ import annotations

from pathlib import Path

import pytest

from lightning_croloss import YouTubeDNN
from lightning_croloss.cli import main
from lightning_croloss.cli.tune.base import read_base
from lightning_croloss.errors import DataError
from lightning_croloss.training.steps_taken import why_unmeasured
from tests.cli.cases import error_of
from tests.cli.small import FIT, LAST, NO_PLOT, SMALL

pytestmark = [pytest.mark.filterwarnings("ignore"), NO_PLOT]
NONE = "--trainer.limit_test_batches=0"
CHECKPOINT = "runs/croloss/version_0/checkpoints/epoch=0-step=3.ckpt"


@pytest.mark.parametrize(
    ("command", "field"), [("validate", "limit_val"), ("test", "limit_test"), ("predict", "limit_predict")]
)
@pytest.mark.parametrize("none", ["0", "0.0"])
def test_a_command_that_takes_no_batch_is_refused(
    command: str, field: str, none: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["fit", *FIT, "--test_after_fit=false"])
    capsys.readouterr()
    words = [*SMALL, f"--ckpt_path={CHECKPOINT}"]
    said = error_of(capsys, command, *words, f"--trainer.{field}_batches={none}")
    assert said.startswith(f"{command} would do nothing, since trainer.{field}_batches is 0: leave it out")
    assert not list(Path().glob("predictions*"))
    section = {f"{field}_batches": float(none)}
    assert why_unmeasured(command, section | {"fast_dev_run": 1}) is None
    assert why_unmeasured(command, {f"{field}_batches": 0.1}) is why_unmeasured(command, {}) is None


def test_what_compares_tests_needs_some(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--metrics_per_user=each.csv"], ["--seeds=2"]):
        said = error_of(capsys, "fit", *FIT, NONE, *words)
        assert "trainer.limit_test_batches is 0" in said
        assert "metrics_per_user is of the test that ends a fit" in said or "--seeds compares what" in said
    with pytest.raises(ValueError, match=r"^trainer.limit_test_batches is 0, and the winner is tested"):
        read_base([*FIT, NONE])
    assert not read_base([*FIT, NONE, "--test_after_fit=false"]).tests
    assert not Path("runs").exists()


@pytest.mark.parametrize(("words", "why"), [(["--test_after_fit=false"], False), ([NONE], True)])
def test_a_fit_without_a_test_names_its_checkpoint(
    words: list[str], why: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["fit", *FIT, *words])
    said = capsys.readouterr()
    assert f"checkpoint: {CHECKPOINT}" in said.out
    assert ("nothing was tested, since trainer.limit_test_batches is 0" in said.err) == why
    main(["fit", *FIT, *words, "--trainer.enable_checkpointing=false"])
    assert "checkpoint:" not in capsys.readouterr().out


def test_a_share_of_the_test_below_one_batch_is_refused_before_the_fit(
    capsys: pytest.CaptureFixture[str],
) -> None:
    share = "--trainer.limit_test_batches=0.2"  # of 60 users, 16 in a batch
    said = error_of(capsys, "fit", *FIT, share)
    assert said.startswith(
        "trainer.limit_test_batches: 0.2 of the 4 batches of the test is less than one: give"
    )
    assert "at least 0.25, or a whole number of batches" in said
    assert not Path("runs").exists()
    main(["fit", *FIT, share, "--test_after_fit=false"])
    main(["fit", *FIT, "--trainer.limit_test_batches=0.25"])
    assert "1 of 4 batches" in capsys.readouterr().out


def test_a_test_that_fails_leaves_a_model_that_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise DataError("the test of this batch fails")

    monkeypatch.setattr(YouTubeDNN, "test_step", fail)
    with pytest.raises(SystemExit):
        main(["fit", *FIT, *LAST])
    said = capsys.readouterr().err
    assert said.count("croloss: error: the test of this batch fails") == 1
    folder = "runs/croloss/version_0"
    assert f"croloss: the model is trained; test it with: croloss test --config {folder}/config.yaml" in said
    assert said.index("the model is trained") < said.index("croloss: error")
