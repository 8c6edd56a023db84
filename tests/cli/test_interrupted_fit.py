"""A fit that a signal ends leaves a checkpoint, and says the command that goes on with it."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer

from lightning_croloss import YouTubeDNN
from lightning_croloss.cli import interruption, main
from lightning_croloss.cli.quiet import IDLE_MESSAGES
from lightning_croloss.training.sharded.folder import rest_of
from tests.cli.cases import PACKAGES
from tests.cli.small import DATA, FIT, LAST, MODEL, NO_PLOT, QUIET, SMALL, fit

pytestmark = [NO_PLOT, pytest.mark.usefixtures("heeding_signals")]
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
MOMENTS: dict[str, tuple[str, int, list[str]]] = {
    "in a step": ("on_before_optimizer_step", 3, []),
    "between accumulated batches": ("on_train_batch_start", 5, [ACCUMULATED]),
    "in the last batch of an epoch": ("on_train_batch_start", BATCHES - 1, []),
    "in a validation": ("on_validation_batch_start", 1, []),
    "in a validation of averages": ("on_validation_batch_start", 1, [AVERAGED]),
    "while a checkpoint is written": ("on_save_checkpoint", 0, []),
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


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[list[str]], dict[str, Any]]:
    """Return the last checkpoint of a run with the given options that nothing interrupts."""
    folder = tmp_path_factory.mktemp("whole")

    @cache
    def run(*options: str) -> dict[str, Any]:
        name = f"run-{len(list(folder.iterdir()))}"
        main(
            [
                *RUN,
                *options,
                UNTESTED,
                f"--trainer.logger.init_args.save_dir={folder}",
                f"--trainer.logger.init_args.name={name}",
            ]
        )
        return last(folder / name / "version_0")

    return lambda options: run(*options)


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_command_that_it_says_ends_as_the_uninterrupted_run(
    moment: str,
    uninterrupted: Callable[[list[str]], dict[str, Any]],
    capfd: pytest.CaptureFixture[str],
) -> None:
    hook, call, options = MOMENTS[moment]
    advice = interrupted(capfd, *RUN, *options, UNTESTED, *signal_at(hook, call))
    assert advice == (
        "go on with: croloss fit --config runs/croloss/version_0/config.yaml "
        "--ckpt_path runs/croloss/version_0/checkpoints/interrupted.ckpt"
    )
    words = shlex.split(advice.removeprefix("go on with: croloss "))
    without_the_signal(words[2])
    main(words)
    whole, resumed = uninterrupted(options), last(Path("runs/croloss/version_0"))
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


def test_in_the_test_after_the_fit(capfd: pytest.CaptureFixture[str]) -> None:
    advice = interrupted(capfd, *RUN, *signal_at("on_test_batch_start"))
    assert advice == (
        "the model is trained; test it with: croloss test --config runs/croloss/version_0/config.yaml "
        "--ckpt_path runs/croloss/version_0/checkpoints/best.ckpt"
    )
    words = shlex.split(advice.partition("croloss ")[2])
    without_the_signal(words[2])
    main(words)
    assert list(Path("runs").glob("*/*/test_results*.json"))


def test_when_training_ends(capfd: pytest.CaptureFixture[str]) -> None:
    advice = interrupted(capfd, *RUN, *signal_at("on_train_end"))
    assert advice.startswith("the model is trained; test it with: croloss test --config ")


@pytest.mark.parametrize("hook", ["setup", "on_sanity_check_start", "on_fit_start"])
def test_before_training(hook: str, capfd: pytest.CaptureFixture[str]) -> None:
    class_path = "--trainer.callbacks+=tests.cli.test_interrupted_fit.BeforeTraining"
    advice = interrupted(capfd, *RUN, class_path, f"--trainer.callbacks.hook={hook}", status=129)
    assert advice == "no checkpoint had been kept yet"
    assert not list(Path("runs").glob("*/*"))


class BeforeTraining(Callback):
    """Send SIGHUP in a hook before training."""

    def __init__(self, hook: str) -> None:
        def send(*arguments: Any, **options: Any) -> None:
            os.kill(os.getpid(), signal.SIGHUP)

        setattr(self, hook, send)


def test_without_checkpoints(capfd: pytest.CaptureFixture[str]) -> None:
    run = ["fit", *FIT, "--trainer.enable_checkpointing=false"]
    advice = interrupted(capfd, *run, *signal_at("on_train_batch_start", 1))
    assert advice == "no checkpoint is kept, since trainer.enable_checkpointing is false"


def test_a_batch_without_end(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interruption, "PATIENCE", 0.3)
    step = YouTubeDNN.training_step

    def slow(model: YouTubeDNN, *arguments: Any) -> Any:
        if model.trainer.global_step == BATCHES + 2:
            os.kill(os.getpid(), signal.SIGINT)
            end = time.monotonic() + 30
            while time.monotonic() < end:
                time.sleep(0.01)
        return step(model, *arguments)

    monkeypatch.setattr(YouTubeDNN, "training_step", slow)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # which a background process ignores
    try:
        advice = interrupted(capfd, *RUN, status=130)
    finally:
        signal.signal(signal.SIGINT, before)
    assert advice.endswith("--ckpt_path runs/croloss/version_0/checkpoints/last.ckpt")
    assert not list(Path("runs").glob("**/interrupted*"))


def test_a_checkpoint_that_cannot_be_saved(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    save = Trainer.save_checkpoint

    def full(trainer: Trainer, filepath: str, *arguments: Any, **options: Any) -> None:
        if "interrupted" in str(filepath):
            raise OSError(28, "No space left on device")
        save(trainer, filepath, *arguments, **options)

    monkeypatch.setattr(Trainer, "save_checkpoint", full)
    advice = interrupted(capfd, *RUN, *signal_at("on_train_batch_start", BATCHES + 1))
    assert advice.startswith(
        "a checkpoint could not be saved (No space left on device); go on with: croloss fit"
    )
    assert advice.endswith("/last.ckpt")


def test_the_checkpoint_of_another_run_stays(capfd: pytest.CaptureFixture[str]) -> None:
    folder = "--trainer.callbacks.dirpath=shared folder"
    run = [*RUN, folder, *signal_at("on_train_batch_start", 2)]
    first = interrupted(capfd, *run)
    content = Path("shared folder/interrupted.ckpt").read_bytes()
    second = interrupted(capfd, *run)
    assert first.endswith("--ckpt_path 'shared folder/interrupted.ckpt'")
    assert second.endswith("--ckpt_path 'shared folder/interrupted-v1.ckpt'")
    assert Path("shared folder/interrupted.ckpt").read_bytes() == content
    third = interrupted(capfd, *run, "--ckpt_path=shared folder/interrupted.ckpt")
    # the later position of the same run takes its place
    assert third.endswith("--ckpt_path 'shared folder/interrupted.ckpt'")
    assert Path("shared folder/interrupted.ckpt").read_bytes() != content


@pytest.mark.parametrize(
    ("command", "hook"),
    [
        ("test", "on_test_batch_start"),
        ("validate", "on_validation_batch_start"),
        ("predict", "on_predict_batch_start"),
    ],
)
def test_the_other_commands(command: str, hook: str, capfd: pytest.CaptureFixture[str]) -> None:
    checkpoint = fit()
    before = set(Path().rglob("*"))
    run = [command, DATA, "--model=YouTubeDNN", *QUIET, f"--ckpt_path={checkpoint}", *signal_at(hook)]
    assert interrupted(capfd, *run, *(["--n=5"] if command == "predict" else [])) == ""
    left = {path for path in set(Path().rglob("*")) - before if path.is_file()}
    assert not [path for path in left if path.name.startswith(".") or path.suffix == ".parquet"]


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "ddp_spawn", "croloss_sharded"])
def test_two_processes_end_together_and_go_on(strategy: str) -> None:
    """The first process is sent the signal; the other ends with it."""
    devices = ["--trainer.devices=2", f"--trainer.strategy={strategy}"]
    log = Path("log")
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "lightning_croloss", *RUN, *devices, "--trainer.max_epochs=5000"],
            stdout=file,
            stderr=file,
            env=os.environ | {"PYTHONPATH": PACKAGES, "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )
        while process.poll() is None and not list(Path().rglob("last.ckpt")):
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        status = process.wait(timeout=120)
    said = log.read_text()
    assert status == 143, said
    assert "Traceback" not in said
    assert not [idle for idle in ("sync_dist", "LeafSpec", *IDLE_MESSAGES) if idle in said]
    assert said.splitlines()[-1].startswith("croloss: interrupted; go on with: croloss fit --config")
    checkpoint = Path("runs/croloss/version_0/checkpoints/interrupted.ckpt")
    assert torch.load(rest_of(checkpoint), weights_only=True)["global_step"] > 0
    until = time.monotonic() + 20  # what the first process waited for may itself take a moment to be gone
    while _running(process.pid) and time.monotonic() < until:
        time.sleep(0.05)
    assert not _running(process.pid)


def _running(group: int) -> list[Path]:
    return [path for path in Path("/proc").glob("[0-9]*/stat") if _in_group(path, group)]


def _in_group(stat: Path, group: int) -> bool:
    """Tell whether a process belongs to a group and runs, which one that nobody waited for does not."""
    try:
        state, _, of_group = stat.read_text().rpartition(")")[2].split()[:3]
    except OSError:
        return False
    return int(of_group) == group and state != "Z"
