"""``croloss fit --seeds 3``: the same run with several seeds, and the mean of what they reach.

Each run is a process of its own, the one that a user would start with ``--seed_everything``: so it equals
that run bit for bit, on any device and with any strategy.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any

from jsonargparse import Namespace

from lightning_croloss.cli.lightning_cli import CROLossCLI
from lightning_croloss.cli.messages import say
from lightning_croloss.cli.run_note import NOTE
from lightning_croloss.cli.seed_results import SeedRun, format_seeds, summarize, table_of_runs
from lightning_croloss.cli.seeds_option import OPTION
from lightning_croloss.cli.weights import wrote
from lightning_croloss.common.files import write_atomically
from lightning_croloss.training.steps_taken import why_unmeasured

#: A seed is below this.
LIMIT = 2**32
#: More runs than this are named seed by seed: a larger number is a seed.
MOST = 100
#: What starts several processes of one command says so by these.
LAUNCHED = ("WORLD_SIZE", "SLURM_NTASKS")


def launched_by() -> str | None:
    """Return the variable by which this is one of several processes of a command; None if it is one alone."""
    return next((name for name in LAUNCHED if os.environ.get(name, "1") != "1"), None)


def program(is_ours: bool) -> list[str]:
    """Return what starts ``croloss`` once more, before its words.

    Args:
        is_ours: whether this process was started as ``croloss``: it is then started in the same way.
    """
    if is_ours:
        return sys.orig_argv[: len(sys.orig_argv) - len(sys.argv[1:])]
    return [sys.executable, "-m", "lightning_croloss"]


def run_seeds(words: Sequence[str], program: Sequence[str]) -> list[SeedRun]:
    """Train and test with each seed, one after the other; print and keep what they reach.

    Args:
        words: the command line.
        program: what starts ``croloss`` in a process of its own, before its words.

    Raises:
        ValueError: the command line cannot be one of several runs.
        SystemExit: a run failed, with its status.
    """
    text, rest = without_seeds(words)
    config = _checked(rest, text)
    seeds = seeds_of(text, config.get("seed_everything"))
    if "," in text and wrote(rest, "seed_everything"):
        raise ValueError(f"{OPTION} {text} names the seeds: leave --seed_everything out")
    runs: list[SeedRun] = []
    folder: Path | None = None
    for number, seed in enumerate(seeds, start=1):
        say(f"run {number} of {len(seeds)}: seed {seed}")
        try:
            note = _run([*program, *rest, f"--seed_everything={seed}"], seed)
        except BaseException:
            say(f"the run of seed {seed} did not end; {_done(runs)}")
            raise
        runs.append(SeedRun(seed, note["folder"], note["metrics"]))
        if folder is None:
            folder = _own_folder(Path(note["beside"]))
        write_atomically(folder / "results.csv", table_of_runs(runs).encode())
    assert folder is not None
    write_atomically(folder / "summary.json", json.dumps(summarize(runs), indent=2).encode())
    print("\n" + format_seeds(runs))
    print(f"results:    {folder / 'results.csv'}")
    print(f"summary:    {folder / 'summary.json'}")
    return runs


def without_seeds(words: Sequence[str]) -> tuple[str, list[str]]:
    """Return the value of ``--seeds``, and the other words.

    Raises:
        ValueError: it is given twice, or without a value.
    """
    found, rest = [], []
    waiting = iter(words)
    for word in waiting:
        name, mark, value = word.partition("=")
        if name == OPTION:
            found.append(value if mark else next(waiting, ""))
        else:
            rest.append(word)
    if len(found) > 1:
        raise ValueError(f"{OPTION} is given {len(found)} times: give it once, as in {OPTION} 1,2,3")
    return found[0], rest


def seeds_of(text: str, first: Any = None) -> list[int]:
    """Read ``--seeds``: a number of seeds, or seeds with commas between them.

    Args:
        text: its value.
        first: the seed that a number of seeds begins with; what is no integer stands for 42.

    Raises:
        ValueError: it is neither, a seed comes twice, or there is one run only.
    """
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(
            f"{OPTION} must be a number of seeds, such as 3, or seeds, such as 1,2,3; got {text!r}"
        ) from None
    if "," not in text:
        if numbers[0] > MOST:
            raise ValueError(
                f"{OPTION} {text} asks for {numbers[0]:,} runs: for the run with seed {text} give "
                f"--seed_everything {text}; more than {MOST} seeds stand with commas between them"
            )
        start = first if type(first) is int else 42
        numbers = list(range(start, start + max(0, numbers[0])))
    if len(numbers) < 2:
        raise ValueError(
            f"{OPTION} {text} asks for {len(numbers)} runs, and a deviation needs two: for one run give "
            "--seed_everything"
        )
    if len(set(numbers)) < len(numbers):
        twice = next(number for number in numbers if numbers.count(number) > 1)
        raise ValueError(f"{OPTION}: seed {twice} is given twice")
    if wrong := [number for number in numbers if not 0 <= number < LIMIT]:
        raise ValueError(f"{OPTION}: a seed must be 0 … {LIMIT - 1}, got {wrong[0]}")
    return numbers


class ParsedCLI(CROLossCLI):
    """Reads a command line as ``croloss fit`` does, and runs nothing."""

    def _parse_ckpt_path(self) -> None:
        pass

    _set_seed = before_instantiate_classes = instantiate_classes = _parse_ckpt_path

    def _run_subcommand(self, subcommand: str) -> None:
        pass


def _checked(words: list[str], text: str) -> Mapping[str, Any]:
    """Return the config of each run; what several runs cannot have is refused before the first.

    Raises:
        ValueError: naming the field.
    """
    config: Mapping[str, Any] = ParsedCLI(words).config["fit"]
    if (name := launched_by()) is not None:
        raise ValueError(
            f"{OPTION} starts each run itself, and cannot be one of the {os.environ[name]} processes of "
            f"{name}: start one job for each seed, with --seed_everything"
        )
    trainer = config["trainer"]
    logger = trainer.get("logger")
    loggers = logger if isinstance(logger, list) else [logger]
    arguments = [each["init_args"] for each in loggers if isinstance(each, Namespace) and "init_args" in each]
    fixed = [name for given in arguments for name in ("version", "id") if given.get(name) is not None]
    untested = why_unmeasured("test", trainer)
    refused = {
        f"--ckpt_path goes on with one run, and {OPTION} {text} begins new ones": config.get("ckpt_path"),
        f"{OPTION} compares what the tests measure: leave test_after_fit=false out": not config[
            "test_after_fit"
        ],
        f"{OPTION}: each run would write metrics_per_user: measure them with croloss test": config.get(
            "metrics_per_user"
        ),
        f"{OPTION} compares what the tests measure, which is nothing: {untested}": untested,
        f"{OPTION}: a dry run measures nothing: leave trainer.fast_dev_run out": trainer.get("fast_dev_run"),
        f"{OPTION}: each run takes a version of its own: leave the logger's {' and '.join(fixed)} out": fixed,
    }
    for sentence, given in refused.items():
        if given:
            raise ValueError(sentence)
    return config


def _run(command: Sequence[str], seed: int) -> dict[str, Any]:
    """Run one command to its end and return what it notes."""
    with tempfile.TemporaryDirectory(prefix="croloss-seeds-") as folder:
        note = Path(folder) / "note.json"
        status = run_process(command, os.environ | {NOTE: str(note)})
        if status:
            sys.exit(status)
        if not note.exists():
            raise ValueError(f"the run of seed {seed} measured nothing: is trainer.limit_test_batches 0?")
        content: dict[str, Any] = json.loads(note.read_text())
        return content


def run_process(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a command, pass signals on to it, and return its exit status.

    It is a group of processes of its own, so that Ctrl-C reaches it once, from here, and none is left behind.

    Raises:
        KeyboardInterrupt: after Ctrl-C, once the command has ended.
        SystemExit: after SIGTERM or SIGHUP, likewise.
    """
    received: list[int] = []
    process: subprocess.Popen[bytes] | None = None

    def pass_on(number: int, frame: FrameType | None = None) -> None:
        # no exception: one in the midst of starting the process would lose it
        received.append(number)
        if process is not None and process.returncode is None:
            with suppress(ProcessLookupError):  # it has just ended
                os.killpg(process.pid, number)

    with _handled(pass_on):
        process = subprocess.Popen(command, env=environment, start_new_session=True)
        for number in received[:]:  # while it was starting
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)
        status = process.wait()
    if received:
        raise KeyboardInterrupt if received[0] == signal.SIGINT else SystemExit(128 + received[0])
    return status if status >= 0 else 128 - status


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Let a function handle the signals that end a program, except for those that are ignored (nohup)."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    heeded = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in heeded}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def _own_folder(parent: Path) -> Path:
    """Make a folder that no other command has."""
    parent.mkdir(parents=True, exist_ok=True)
    for number in count():
        folder = parent / f"seeds_{number}"
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise AssertionError("unreachable")


def _done(runs: Sequence[SeedRun]) -> str:
    if not runs:
        return "no other has"
    return "those before are in " + ", ".join(f"{run.folder} (seed {run.seed})" for run in runs)
