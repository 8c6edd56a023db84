"""``croloss zoo list|show|build|evaluate``: the pretrained models."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning_croloss.cli.lightning_cli import run_fit
from lightning_croloss.cli.trust import add_allow_classes, trusted_by_user
from lightning_croloss.common.text_table import aligned
from lightning_croloss.errors import PretrainedError, suggest
from lightning_croloss.pretrained.layout import CARD, read_manifest
from lightning_croloss.pretrained.loading import read_metrics
from lightning_croloss.pretrained.registry import find_pretrained, list_pretrained
from lightning_croloss.pretrained.saving import STORED
from lightning_croloss.zoo.evaluating import Figure, evaluate
from lightning_croloss.zoo.sources import AbsentDataError


def main(arguments: list[str]) -> None:
    """Run ``croloss zoo`` with the arguments after it."""
    parser = _parser()
    parsed, rest = parser.parse_known_args(arguments)
    if rest and parsed.run is not _build:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    parsed.options = rest
    if (data := getattr(parsed, "data", None)) is not None and not Path(data).is_dir():
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("croloss zoo", description="The pretrained models.", allow_abbrev=False)
    commands = parser.add_subparsers(required=True, metavar="list|show|build|evaluate")

    def command(name: str, run: Callable[[argparse.Namespace], None], help: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=help, description=help, allow_abbrev=False)
        added.add_argument("--zoo", type=Path, help="A zoo folder, instead of the installed one.")
        added.set_defaults(run=run)
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
    which.add_argument("--config", type=Path, action=Once, help="Config of the model.")
    which.add_argument("--all", action="store_true", help="Build every model of the zoo that is missing.")
    build.add_argument("--name", help="Its name, <dataset>/<model>.")
    build.add_argument("--dataset", help="With --all: only the models of this data set.")
    build.add_argument("--data", help="Folder that holds the files of the data (video.parquet and so on).")
    build.add_argument("--weights", choices=STORED, help="How the weights are stored (float32).")
    build.add_argument("--overwrite", action="store_true", help="Build existing models again.")

    check = command("evaluate", _evaluate, "Measure every figure of a card again; fail if one differs.")
    chosen = check.add_mutually_exclusive_group(required=True)
    chosen.add_argument("name", nargs="?", help="The model.")
    chosen.add_argument("--all", action="store_true", help="Every model of the zoo whose data is available.")
    check.add_argument("--data", help="Folder that holds the files of the data (video.parquet and so on).")
    add_allow_classes(check)
    return parser


def _list(parsed: argparse.Namespace) -> None:
    lines = []
    for name in list_pretrained(parsed.zoo):
        metrics = read_metrics(find_pretrained(name))
        by = metrics.get("choose_by")
        value = f"{metrics['test'][f'recall@{by}']:.4f}" if by else ""
        size = f"{metrics['parameters']:,}" if by else ""
        lines.append([name, f"recall@{by}" if by else "", value, size])
    print(
        aligned([["model", "metric", "test", "parameters"], *lines], "<<>>") if lines else "the zoo is empty"
    )


def _show(parsed: argparse.Namespace) -> None:
    folder = _folder(parsed.name, parsed.zoo)
    read_manifest(folder)
    print((folder / CARD).read_text("utf-8"), end="")


def _build(parsed: argparse.Namespace) -> None:
    from lightning_croloss.zoo.building import build

    zoo = parsed.zoo or Path("zoo")
    if not parsed.all:
        if parsed.name is None:
            raise ValueError("croloss zoo build --config needs --name <dataset>/<model>")
        if parsed.dataset is not None:
            raise ValueError("--dataset chooses among the recipes of --all: with --config leave it out")
        folder = build(
            parsed.name,
            parsed.config,
            zoo,
            run_fit,
            data_folder=parsed.data,
            options=parsed.options,
            dtype=parsed.weights or "float32",
            overwrite=parsed.overwrite,
        )
        print(f"wrote {folder}")
        return
    from lightning_croloss.zoo.recipes import RECIPES

    if parsed.name is not None or parsed.options:
        raise ValueError("croloss zoo build --all takes its names and options from the recipes: give none")
    if parsed.weights is not None:
        raise ValueError("croloss zoo build --all stores weights as the recipes say: leave out --weights")
    datasets = {recipe.name.partition("/")[0] for recipe in RECIPES}
    if parsed.dataset is not None and parsed.dataset not in datasets:
        raise ValueError(f"--dataset {parsed.dataset!r} has no recipes{suggest(parsed.dataset, datasets)}")
    skipped = []
    for recipe in RECIPES:
        if parsed.dataset not in (None, recipe.name.partition("/")[0]):
            continue
        if (zoo / recipe.name).exists() and not parsed.overwrite:
            print(f"{recipe.name}: exists")
            continue
        try:
            folder = build(
                recipe.name,
                Path(recipe.config),
                zoo,
                run_fit,
                data_folder=parsed.data,
                options=recipe.options,
                dtype=recipe.dtype,
                overwrite=parsed.overwrite,
            )
        except AbsentDataError as absent:
            print(f"{recipe.name}: skipped, {absent}")
            skipped.append(recipe.name)
            continue
        print(f"{recipe.name}: wrote {folder}", flush=True)
    _fail_if(skipped, "skipped, since the data is absent: not built")


def _evaluate(parsed: argparse.Namespace) -> None:
    names = list_pretrained(parsed.zoo) if parsed.all else [parsed.name]
    if not names:
        raise PretrainedError("the zoo is empty: there is nothing to evaluate")
    trusted = trusted_by_user(parsed.allow_classes)
    wrong, skipped = [], []
    for name in names:
        try:
            figures = evaluate(_folder(name, None if parsed.all else parsed.zoo), parsed.data, trusted)
        except AbsentDataError as absent:
            print(f"{name}: skipped, {absent}")
            skipped.append(name)
            continue
        except PretrainedError as error:
            if not parsed.all:
                raise
            print(f"{name}: DOES NOT LOAD: {error}")
            wrong.append(name)
            continue
        apart = [figure for figure in figures if not figure.agrees]
        agree = f"{len(figures) - len(apart)} of {len(figures)} figures agree"
        print(f"{name}: {'DOES NOT AGREE, ' * bool(apart)}{agree}")
        if apart or not parsed.all:
            print(_comparison(figures))
        wrong += [name] * bool(apart)
        sys.stdout.flush()
    _fail_if(wrong, "the card does not agree", skipped, "skipped, since the data is absent: not evaluated")


def _fail_if(names: list[str], what: str, others: list[str] | None = None, of_others: str = "") -> None:
    """End with status 1 and one sentence if there are names of what went wrong."""
    said = [f"{', '.join(found)}: {text}" for found, text in ((names, what), (others, of_others)) if found]
    if said:
        print(f"croloss: error: {'; '.join(said)}", file=sys.stderr)
        sys.exit(1)


def _comparison(figures: list[Figure]) -> str:
    lines = [
        [
            figure.name,
            _written(figure.card),
            "none" if figure.measured is None else _written(figure.measured),
            "" if figure.agrees else "  differs",
        ]
        for figure in figures
    ]
    return aligned([["", "card", "measured", ""], *lines], "<>><")


def _written(value: float) -> str:
    return f"{value:.4f}" if isinstance(value, float) else f"{value:,}"


def _folder(name: str, zoo: Path | None) -> Path:
    """Return the folder of a model of a zoo, or of what ``load_pretrained`` takes."""
    if zoo is not None and not (zoo / name).is_dir():
        known = [Path(found).relative_to(zoo).as_posix() for found in list_pretrained(zoo)]
        raise PretrainedError(f"there is no pretrained model {name!r} in {zoo}{suggest(name, known)}")
    return find_pretrained(name if zoo is None else zoo / name)


__all__ = ["main"]
