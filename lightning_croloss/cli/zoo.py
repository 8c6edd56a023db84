"""``croloss zoo list|show|build|evaluate``: the pretrained models."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from croloss_serving.common.home_folder import expanded
from croloss_serving.common.terminal import printable
from lightning_croloss.cli.plain_parser import PlainParser, add_allow_classes
from lightning_croloss.cli.zoo_folder import find_in_zoo
from lightning_croloss.common.text_table import aligned
from lightning_croloss.errors import PretrainedError
from lightning_croloss.pretrained.figures import check_metrics
from lightning_croloss.pretrained.layout import METRICS, STORED, read_card, read_manifest, read_metrics
from lightning_croloss.pretrained.registry import find_pretrained, list_pretrained


def main(arguments: list[str]) -> None:
    """Run ``croloss zoo`` with the arguments after it."""
    parser = _parser()
    parsed, rest = parser.parse_known_args(arguments)
    if rest and parsed.run is not _build:
        parsed.parser.error(f"unrecognized arguments: {' '.join(rest)}")
    parsed.options = rest
    if (data := getattr(parsed, "data", None)) is not None:
        parsed.data = str(expanded(data))
        if not Path(parsed.data).is_dir():
            raise ValueError(f"--data: there is no folder {data!r}")
    run: Callable[[argparse.Namespace], None] = parsed.run
    run(parsed)


class Once(argparse.Action):
    """Refuse an option that is given twice, of which argparse would use the last one alone."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: Any = None
    ) -> None:
        """Keep the value of the option."""
        if getattr(namespace, self.dest) is not None:
            parser.error(f"{option} is given twice: write one config")
        setattr(namespace, self.dest, values)


def _parser() -> PlainParser:
    parser = PlainParser("croloss zoo", description="The pretrained models.")
    commands = parser.add_subparsers(required=True, metavar="list|show|build|evaluate")

    def command(name: str, run: Callable[[argparse.Namespace], None], help: str) -> PlainParser:
        added = commands.add_parser(name, help=help, description=help)
        added.add_argument("--zoo", type=expanded, help="A zoo folder, instead of the installed one.")
        added.set_defaults(run=run, parser=added)
        return added

    command("list", _list, "List the models and their test Recall.")

    show = command("show", _show, "Print the card of a model.")
    show.add_argument("name", help="A name of 'croloss zoo list', a folder, or hf://owner/name.")

    build = command(
        "build",
        _build,
        "Train a model as croloss fit does, test its best checkpoint, measure the simple baselines, and "
        "write it with its card into the zoo. Options of croloss fit may follow.",
    )
    which = build.add_mutually_exclusive_group(required=True)
    which.add_argument("--config", type=expanded, action=Once, help="Config of the model.")
    which.add_argument("--all", action="store_true", help="Build every model of the zoo that is missing.")
    build.add_argument("--name", help="Its name, <dataset>/<model>.")
    build.add_argument("--dataset", help="With --all: only the models of this data set.")
    build.add_argument("--data", help="Folder that holds the files of the data (video.parquet and so on).")
    build.add_argument(
        "--weights",
        choices=STORED,
        help="How the weights are stored; float32 is kept where Recall would fall (float32).",
    )
    build.add_argument("--overwrite", action="store_true", help="Build existing models again.")

    check = command("evaluate", _evaluate, "Measure every figure of a card again; fail if one differs.")
    chosen = check.add_mutually_exclusive_group(required=True)
    chosen.add_argument("name", nargs="?", help="The model.")
    chosen.add_argument("--all", action="store_true", help="Every model of the zoo whose data is available.")
    check.add_argument("--data", help="Folder that holds the files of the data (video.parquet and so on).")
    add_allow_classes(check)
    return parser


def _list(parsed: argparse.Namespace) -> None:
    lines, damaged = [], []
    for name in list_pretrained(parsed.zoo):
        try:
            lines.append([printable(name), *_figures(find_pretrained(name))])
        except PretrainedError as error:
            damaged.append(f"{name} is left out: {error}")
    if lines:
        print(aligned([["model", "metric", "test", "parameters"], *lines], "<<>>"))
    elif not damaged:
        print("the zoo is empty")
    for sentence in damaged:  # the others are what was asked for: no failure
        print(f"croloss: {printable(sentence)}", file=sys.stderr)


def _figures(folder: Path) -> list[str]:
    """Return the metric by which a model was chosen, its value, and the number of parameters.

    Raises:
        PretrainedError: they cannot be read, or are not those that the manifest vouches for.
    """
    metrics = read_metrics(folder, read_manifest(folder, (METRICS,)))
    by = metrics.get("choose_by")
    if by is None:
        return ["", "", ""]
    check_metrics(metrics, folder / METRICS)
    return [f"recall@{by}", f"{metrics['test'][f'recall@{by}']:.4f}", f"{metrics['parameters']:,}"]


def _show(parsed: argparse.Namespace) -> None:
    folder = find_in_zoo(parsed.name, parsed.zoo)
    read_manifest(folder)
    print(printable(read_card(folder), kept="\n"), end="")


def _build(parsed: argparse.Namespace) -> None:
    from lightning_croloss.cli.zoo_factory import build_models

    build_models(parsed)


def _evaluate(parsed: argparse.Namespace) -> None:
    from lightning_croloss.cli.zoo_factory import evaluate_models

    evaluate_models(parsed)


__all__ = ["main"]
