"""What ``croloss fit`` tests, names and says at its end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import ProgressBar, TQDMProgressBar

from lightning_croloss import YouTubeDNN, load_pretrained
from lightning_croloss.cli import main
from lightning_croloss.cli.lightning_cli import run_fit
from tests.cli.small import DATA, FIT, NO_PLOT, QUIET, measured, newest

pytestmark = [
    NO_PLOT,
    pytest.mark.filterwarnings("ignore:LightningCLI's args parameter", "ignore:.*was deprecated in v4.49"),
]
STEPS = [
    "--trainer.callbacks+=ModelCheckpoint",
    "--trainer.callbacks.every_n_train_steps=1",
    "--trainer.callbacks.filename=steps",
]
BEST = [
    "--trainer.callbacks+=ModelCheckpoint",
    "--trainer.callbacks.monitor=val/recall@5",
    "--trainer.callbacks.mode=max",
    "--trainer.callbacks.filename=best",
]
FOLDER = Path("runs/croloss/version_0/checkpoints")


Saying = Callable[..., str]


@pytest.fixture
def said_by(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Saying:
    """Run a fit, and return what it prints and what Lightning tells."""

    def run(*arguments: str) -> str:
        caplog.clear()
        main(["fit", *arguments])
        printed = capfd.readouterr()
        return printed.out + printed.err + caplog.text

    return run


def test_the_checkpoint_that_is_chosen_by_a_metric_is_tested(said_by: Saying) -> None:
    said = said_by(*FIT, *STEPS, *BEST)
    assert f"checkpoint: {FOLDER / 'best.ckpt'}" in said
    assert (FOLDER / "steps.ckpt").exists()


def averaging(epochs: int, start: int, *more: str) -> list[str]:
    return [
        *FIT,
        f"--trainer.max_epochs={epochs}",
        "--trainer.callbacks+=lightning.pytorch.callbacks.StochasticWeightAveraging",
        "--trainer.callbacks.swa_lrs=0.05",
        f"--trainer.callbacks.swa_epoch_start={start}",
        "--trainer.callbacks.annealing_strategy=linear",
        *BEST,
        *more,
    ]


def test_averaged_weights_are_kept_and_tested(said_by: Saying) -> None:
    said = said_by(*averaging(4, 2))
    path = FOLDER / "averaged.ckpt"
    assert f"checkpoint: {path}" in said
    assert "the mean of the weights at the beginning of 3 epochs, which is kept in" in said
    content = torch.load(path, weights_only=True)
    (state,) = (each for name, each in content["callbacks"].items() if name.startswith("Stochastic"))
    averages, last = state["average_model_state"], content["lightning_croloss"]["position"]["weights"]
    for name, value in content["state_dict"].items():
        if name in dict(YouTubeDNN.load_from_checkpoint(path).named_parameters()):
            assert torch.equal(value, averages[name])
            assert not torch.equal(value, last[name])
    results = json.loads((FOLDER.parent / "test_results.json").read_text())
    assert measured("test", DATA, *QUIET, "--model=YouTubeDNN", f"--ckpt_path={path}") == results
    best = measured("test", DATA, *QUIET, "--model=YouTubeDNN", f"--ckpt_path={FOLDER / 'best.ckpt'}")
    assert best != results
    assert isinstance(load_pretrained(str(path)), YouTubeDNN)


def test_a_longer_run_goes_on_from_averaged_weights_as_one_run_does() -> None:
    main(["fit", *averaging(3, 2, "--test_after_fit=false")])
    main(["fit", *averaging(4, 2, "--test_after_fit=false", f"--ckpt_path={FOLDER / 'averaged.ckpt'}")])
    main(["fit", *averaging(4, 2, "--test_after_fit=false")])
    resumed, whole = (
        torch.load(path, weights_only=True)["state_dict"]
        for path in (FOLDER / "averaged-v1.ckpt", newest("**/averaged.ckpt"))
    )
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


@pytest.mark.parametrize(
    ("start", "more", "why"),
    [
        (9, [], "it was to begin later"),
        (1, ["--trainer.max_steps=4"], "training ended before its last epoch"),
    ],
    ids=["begins too late", "stops too early"],
)
@pytest.mark.parametrize("kept", [True, False], ids=["best", "none kept"])
def test_where_nothing_is_averaged_all_is_as_without(
    said_by: Saying, start: int, more: list[str], why: str, kept: bool
) -> None:
    options = [*FIT, "--trainer.max_epochs=3", *more]
    options += BEST if kept else ["--trainer.enable_checkpointing=false"]
    main(["fit", *options])
    without = json.loads(Path("runs/croloss/version_0/test_results.json").read_text())
    swa = [option for option in averaging(3, start) if option not in BEST]
    said = said_by(*swa, *options[len(FIT) :])
    assert not list(Path().rglob("averaged*"))
    assert (f"the weights are not averaged, since {why}" in said) == kept
    if start == 9:
        assert json.loads(Path("runs/croloss/version_1/test_results.json").read_text()) == without


@pytest.mark.parametrize(
    ("option", "why"),
    [
        ("max_epochs=0", "trainer.max_epochs is 0"),
        ("max_steps=0", "trainer.max_steps is 0"),
        ("limit_train_batches=0", "trainer.limit_train_batches is 0"),
        ("max_time=00:00:00:00", "trainer.max_time was over before the first step"),
    ],
)
def test_a_fit_without_a_step_says_so(said_by: Saying, option: str, why: str) -> None:
    said = said_by(*FIT, f"--trainer.{option}")
    assert f"croloss: nothing was trained, since {why}: the model has random weights" in said


def test_a_fit_with_a_step_says_nothing_of_it(said_by: Saying) -> None:
    assert "nothing was trained" not in said_by(*FIT, "--trainer.max_steps=1")


def test_a_report_of_the_users_own_takes_the_place_of_ours(said_by: Saying) -> None:
    said = said_by(*FIT, "--trainer.callbacks+=RecallReport", "--trainer.callbacks.plot=false")
    assert said.count("test metrics") == said.count("results:") == 1
    assert "plot:" not in said
    assert not list(Path().rglob("*.png"))


def test_a_progress_bar_of_the_users_own_takes_the_place_of_ours() -> None:
    bar = "--trainer.callbacks+=TQDMProgressBar"
    trainer, _ = run_fit([*FIT, bar, "--trainer.enable_progress_bar=true", "--test_after_fit=false"])
    assert [type(each) for each in trainer.callbacks if isinstance(each, ProgressBar)] == [TQDMProgressBar]
