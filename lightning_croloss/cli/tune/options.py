"""The options of ``croloss tune``: its own, and which words of its command line are those of a fit."""

from __future__ import annotations

import argparse
import math
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from lightning_croloss.cli.plain_parser import PlainParser, output_path

DESCRIPTION = """Find the loss for the N that will be deployed, and train the model with it.

About seven settings of the loss begin; those that reach less on the validation part are given up on the way,
and the best one is trained to its end. It all costs at most 2.5 fits, and is judged by Recall@N. Every option
of croloss fit may stand behind, as --trainer.max_epochs=5. A section 'tune:' of the config adds fields to
search over (space), or names the losses to try (losses).

With --interactions instead of --config there is no config to write: split, filters, architecture,
regularisation, negatives and loss are chosen by what the table is like and by what they reach, in --minutes
(60), --seeds included. Options of TableDataModule may stand behind, as --user_column, and features are read
from --items."""

EPILOG = """\
examples:
  croloss tune --config shop.yaml --n 100
  croloss tune --config shop.yaml --n 20 100 500 --processes 2
  croloss tune --config shop.yaml --n 100 --minutes 60
  croloss tune --interactions orders.parquet --n 100 --minutes 60 --user_column customer

The output folder holds best_n100.yaml, which fits as it is, best_n100.ckpt, its trained model, and rungs.csv.
The same command goes on with a search that was interrupted or killed."""

Number = TypeVar("Number", int, float)
SAMPLERS = ("random", "tpe")
METRICS = ("recall", "ndcg")


def tune_parser() -> PlainParser:
    """Return the parser of the options that are tune's own."""
    parser = PlainParser(
        prog="croloss tune",
        usage="croloss tune --config FILE --n N [N ...] [options] [options of croloss fit]\n"
        "       croloss tune --interactions FILE --n N [--minutes M] [--items FILE] [--user_column NAME ...]",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--config",
        "-c",
        action="append",
        metavar="FILE",
        help="the config of a fit; of several, later ones win",
    )
    several = "extend"  # --n 20 --n 100 is --n 20 100
    add(
        "--n",
        action=several,
        type=_count,
        nargs="+",
        metavar="N",
        help="the N that will be deployed, one or several",
    )
    add(
        "--interactions",
        metavar="FILE",
        help="instead of a config: the table of the events, with any option of TableDataModule behind",
    )
    add("--objective", choices=METRICS, default="recall", help="the metric @N of the validation (recall)")
    add(
        "--weights",
        action=several,
        type=_positive,
        nargs="+",
        metavar="W",
        help="one for each N: their weighted mean is then the one objective; without, each N has a winner",
    )
    add("--fits", type=_positive, metavar="F", help="the cost at most, in fits of full length (2.5)")
    add("--minutes", type=_positive, metavar="M", help="the time that all of it may take")
    add("--trials", type=_count, metavar="T", help="number of settings to try, with a space or --sampler tpe")
    add(
        "--sampler",
        choices=SAMPLERS,
        default="random",
        help="how settings beyond the portfolio are drawn (random); tpe needs the extra [tune]",
    )
    add(
        "--processes",
        type=_count,
        default=1,
        metavar="P",
        help="fits side by side, each on a GPU of its own (1)",
    )
    add("--seeds", metavar="SEEDS", help="train the winner with these too: a number of seeds (3), or 1,2,3")
    add(
        "--storage",
        metavar="URL",
        help="storage of Optuna (sqlite in the output folder, with the extra [tune])",
    )
    add(
        "--output",
        type=output_path,
        metavar="FOLDER",
        help="where everything is kept (runs/tune/<config>_n<N>)",
    )
    add("--overwrite", action="store_true", help="replace the search that the output folder holds")
    return parser


def parse_words(words: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Read the words after ``croloss tune``.

    Returns:
        Its own options, and the words that a fit takes, ``--config`` among them.
    """
    parser = tune_parser()
    own, rest = split_words(words)
    given = parser.parse_args(own)
    given.began = time.monotonic()  # before all that is imported
    if given.config is not None and given.interactions is not None:
        parser.error("give one of --config and --interactions, got both")
    if given.config is None and given.interactions is None:
        parser.error(
            "croloss tune needs --config FILE, or --interactions FILE: croloss tune --help explains it"
        )
    if given.n is None:
        parser.error("the following arguments are required: --n")
    if twice := [n for n in given.n if given.n.count(n) > 1]:
        parser.error(f"argument --n: {twice[0]} is given twice")
    if given.weights is not None and len(given.weights) != len(given.n):
        many = f"got {len(given.weights)} of them for {len(given.n)} N"
        parser.error(f"argument --weights: give one for each N: {many}")
    if given.weights is not None and len(given.n) == 1:
        parser.error("argument --weights: has no effect with one N: leave it out")
    return given, rest


def split_words(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the words of tune's own options, ``--config`` among them, and those of the fit, likewise."""
    values = {option: action.nargs for action in tune_parser()._actions for option in action.option_strings}
    own: list[str] = []
    rest: list[str] = []
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        name, mark, _ = word.partition("=")
        taken = [word]
        if mark or values.get(name) == 0:
            pass
        elif name in values and values[name] == "+":
            while waiting and not waiting[0].startswith("--"):
                taken.append(waiting.pop(0))
        elif word.startswith("-") and waiting and not waiting[0].startswith("--"):
            taken.append(waiting.pop(0))
        if name in values or not word.startswith("--"):
            own += taken
        else:
            rest += taken
        if name in ("--config", "-c"):
            rest += taken
    return own, rest


def default_output(config: str | None, ns: Sequence[int]) -> Path:
    """Return the folder of a search whose user names none; the same command finds it again."""
    stem = re.sub(r"[^\w.-]+", "_", Path(config).stem if config and "\n" not in config else "search")
    return Path("runs", "tune", f"{stem[:60]}_n{'_'.join(map(str, ns))}")


def _count(text: str) -> int:
    return _checked(text, int(text) if re.fullmatch(r"\d+", text) else 0, "an integer, 1 or more")


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    return _checked(text, value if math.isfinite(value) else 0.0, "a number above 0")


def _checked(text: str, value: Number, what: str) -> Number:
    if value <= 0:
        raise argparse.ArgumentTypeError(f"must be {what}, got {text!r}")
    return value


__all__ = ["METRICS", "SAMPLERS", "default_output", "parse_words", "split_words", "tune_parser"]
