"""A fit that a signal ends leaves a checkpoint, and says the command that goes on with it."""

from __future__ import annotations

import shlex
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_croloss.cli import main
from tests.cli.small import LAST, MODEL, NO_PLOT, SMALL

pytestmark = NO_PLOT
BATCHES, EPOCHS = 6, 2
RUN = [
    "fit",
    *SMALL,
    *MODEL,
    "--data.num_users=120",
    f"--trainer.max_epochs={EPOCHS}",
    f"--trainer.limit_train_batches={BATCHES}",
    *LAST,
    "--trainer.callbacks.monitor=val/recall@5",
    "--trainer.callbacks.mode=max",
    "--trainer.callbacks.filename=best",
]
UNTESTED = "--test_after_fit=false"
ACCUMULATED = "--trainer.accumulate_grad_batches=4"
AVERAGED = "--trainer.callbacks+=lightning.pytorch.callbacks.EMAWeightAveraging"
#: A hook at which the signal comes, which call of it, and options of the run.
MOMENTS = {
    "in a step": ("on_before_optimizer_step", 3, []),
    "between accumulated batches": ("on_train_batch_start", 5, [ACCUMULATED]),
    "at the end of a batch": ("on_train_batch_end", 7, []),
    "in the last batch of an epoch": ("on_train_batch_start", BATCHES - 1, []),
    "in a validation": ("on_validation_batch_start", 1, []),
    "in a validation of averages": ("on_validation_batch_start", 1, [AVERAGED]),
    "while a checkpoint is written": ("on_save_checkpoint", 0, []),
    "at the end of an epoch": ("on_train_epoch_end", 0, []),
    "at the end of the last epoch's validation": ("on_validation_epoch_end", EPOCHS - 1, []),
}


def interrupted(capfd: pytest.CaptureFixture[str], *arguments: str, status: int = 143) -> str:
    """Run a command that a signal ends, and return the advice that it gives."""
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    assert caught.value.code == status
    said = capfd.readouterr().err
    assert "Traceback" not in said
    lines = [line for line in said.splitlines() if line.startswith("croloss: interrupted")]
    assert len(lines) == 1
    return lines[0].removeprefix("croloss: interrupted").removeprefix("; ")


def signal_at(hook: str, call: int = 0, number: int = signal.SIGTERM) -> list[str]:
    return [
        "--trainer.callbacks+=tests.killer.SignalAt",
        f"--trainer.callbacks.hook={hook}",
        f"--trainer.callbacks.call={call}",
        f"--trainer.callbacks.number={int(number)}",
    ]


def last(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)
    return content


def without_the_signal(config: str) -> None:
    """Take what sends the signal out of a kept config, in which it would do so again."""
    path = Path(config)
    before, _, rest = path.read_text().partition("  - class_path: tests.killer.SignalAt\n")
    lines = rest.splitlines(keepends=True)
    while lines and lines[0].startswith("    "):
        del lines[0]
    path.write_text(before + "".join(lines))


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_command_that_it_says_ends_as_the_uninterrupted_run(
    moment: str, capfd: pytest.CaptureFixture[str]
) -> None:
    hook, call, options = MOMENTS[moment]
    main([*RUN, *options, UNTESTED, "--trainer.logger.init_args.name=whole"])
    advice = interrupted(capfd, *RUN, *options, UNTESTED, *signal_at(hook, call))
    assert advice == (
        "go on with: croloss fit --config runs/croloss/version_0/config.yaml "
        "--ckpt_path runs/croloss/version_0/checkpoints/interrupted.ckpt"
    )
    words = shlex.split(advice.removeprefix("go on with: croloss "))
    without_the_signal(words[2])
    main(words)
    whole, resumed = last(Path("runs/whole/version_0")), last(Path("runs/croloss/version_0"))
    assert whole["global_step"] == resumed["global_step"]
    for name, value in whole["state_dict"].items():
        assert torch.equal(value, resumed["state_dict"][name]), name
    torch.testing.assert_close(
        whole["optimizer_states"][0]["state"], resumed["optimizer_states"][0]["state"], rtol=0, atol=0
    )
    scores = [
        next(state for name, state in each["callbacks"].items() if name.startswith("ModelCheckpoint"))
        for each in (whole, resumed)
    ]
    assert scores[0]["best_model_score"] == scores[1]["best_model_score"]
    assert Path(scores[1]["best_model_path"]).name == "best.ckpt"
