"""``croloss zoo build|evaluate``: what takes training or data, imported only for it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from croloss_serving.common.terminal import printable
from lightning_croloss.cli.lightning_cli import run_fit
from lightning_croloss.cli.trust import trusted_by_user
from lightning_croloss.cli.zoo_folder import find_in_zoo
from lightning_croloss.common.text_table import aligned
from lightning_croloss.errors import PretrainedError, suggest
from lightning_croloss.pretrained.registry import list_pretrained
from lightning_croloss.zoo import building, recipes
from lightning_croloss.zoo.evaluating import Figure, evaluate
from lightning_croloss.zoo.sources import AbsentDataError


def build_models(parsed: argparse.Namespace) -> None:
    """Run ``croloss zoo build``: one model, or all that are missing."""
    zoo = Path("zoo") if parsed.zoo is None else parsed.zoo
    if not parsed.all:
        if parsed.name is None:
            raise ValueError("croloss zoo build --config needs --name <dataset>/<model>")
        if parsed.dataset is not None:
            raise ValueError("--dataset chooses among the recipes of --all: with --config leave it out")
        folder = building.build(
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
    if parsed.name is not None or parsed.options:
        raise ValueError("croloss zoo build --all takes its names and options from the recipes: give none")
    if parsed.weights is not None:
        raise ValueError("croloss zoo build --all stores weights as the recipes say: leave out --weights")
    datasets = {recipe.name.partition("/")[0] for recipe in recipes.RECIPES}
    if parsed.dataset is not None and parsed.dataset not in datasets:
        raise ValueError(f"--dataset {parsed.dataset!r} has no recipes{suggest(parsed.dataset, datasets)}")
    skipped = []
    for recipe in recipes.RECIPES:
        if parsed.dataset not in (None, recipe.name.partition("/")[0]):
            continue
        if (zoo / recipe.name).exists() and not parsed.overwrite:
            print(f"{recipe.name}: exists")
            continue
        try:
            folder = building.build(
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


def evaluate_models(parsed: argparse.Namespace) -> None:
    """Run ``croloss zoo evaluate``; the status is 1 if a figure differs or a model is left out."""
    names = list_pretrained(parsed.zoo) if parsed.all else [parsed.name]
    if not names:
        raise PretrainedError("the zoo is empty: there is nothing to evaluate")
    trusted = trusted_by_user(parsed.allow_classes)
    wrong, skipped = [], []
    for name in names:
        try:
            figures = evaluate(find_in_zoo(name, None if parsed.all else parsed.zoo), parsed.data, trusted)
        except AbsentDataError as absent:
            print(printable(f"{name}: skipped, {absent}"))
            skipped.append(name)
            continue
        except PretrainedError as error:
            if not parsed.all:
                raise
            print(printable(f"{name}: DOES NOT LOAD: {error}"))
            wrong.append(name)
            continue
        apart = [figure for figure in figures if not figure.agrees]
        agree = f"{len(figures) - len(apart)} of {len(figures)} figures agree"
        print(printable(f"{name}: {'DOES NOT AGREE, ' * bool(apart)}{agree}"))
        if apart or not parsed.all:
            print(_comparison(figures))
        wrong += [name] * bool(apart)
        sys.stdout.flush()
    _fail_if(wrong, "the card does not agree", skipped, "skipped, since the data is absent: not evaluated")


def _fail_if(names: list[str], what: str, others: list[str] | None = None, of_others: str = "") -> None:
    """End with status 1 and one sentence if there are names of what went wrong."""
    said = [f"{', '.join(found)}: {text}" for found, text in ((names, what), (others, of_others)) if found]
    if said:
        print(f"croloss: error: {printable('; '.join(said))}", file=sys.stderr)
        sys.exit(1)


def _comparison(figures: list[Figure]) -> str:
    lines = [
        [
            printable(figure.name),
            _written(figure.card),
            "none" if figure.measured is None else _written(figure.measured),
            "" if figure.agrees else "  differs",
        ]
        for figure in figures
    ]
    return aligned([["", "card", "measured", ""], *lines], "<>><")


def _written(value: float) -> str:
    return f"{value:.4f}" if isinstance(value, float) else f"{value:,}"


__all__ = ["build_models", "evaluate_models"]
