"""The leaderboard over all cards of a zoo."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from croloss_serving.common.terminal import printable
from lightning_croloss.common.text_table import markdown
from lightning_croloss.errors import PretrainedError
from lightning_croloss.pretrained.figures import check_metrics
from lightning_croloss.pretrained.layout import CARD, MANIFEST, METRICS, is_hidden, read_metrics
from lightning_croloss.zoo.datasets import DATASETS, dataset_of
from lightning_croloss.zoo.markdown import BASELINES, example, named_baseline, ns_of, training_seconds
from lightning_croloss.zoo.published import PUBLISHED, Figure, N, PublishedTable

#: By what a leaderboard is told from another file.
WRITTEN_BY = "This file is written by `croloss zoo build`"


def leaderboard(folder: Path) -> str:
    """Return the text of ``zoo/README.md``, from the ``metrics.json`` files in ``folder``.

    A model whose figures cannot be read is left out, with a warning.
    """
    found: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for path in sorted(folder.glob(f"*/*/{MANIFEST}")):
        if is_hidden(path, folder) or not path.is_file():
            continue
        dataset, name = path.parents[1].name, path.parent.name
        try:
            metrics = read_metrics(path.parent)
            if "test" in metrics:
                check_metrics(metrics, path.with_name(METRICS))
                found.setdefault(dataset, []).append((name, metrics))
        except PretrainedError as error:
            _warn_of(f"{dataset}/{name}", str(error))
    first = next((f"{dataset}/{entries[0][0]}" for dataset, entries in found.items()), "dataset/model")
    parts = [
        "# Zoo",
        f"Pretrained retrieval models. {WRITTEN_BY}, from the `metrics.json` of each; a model's card gives "
        "its data, licence, settings and limits.",
        example(first),
    ]
    order = {dataset: position for position, dataset in enumerate(DATASETS)}
    for dataset in sorted(found, key=lambda name: (order.get(name, len(order)), name)):
        parts += _board(dataset, found[dataset])
    return "\n\n".join(parts) + "\n"


def _warn_of(name: str, fault: str) -> None:
    warnings.warn(printable(f"{name} is left out of the leaderboard: {fault}"), stacklevel=3)


def _board(dataset: str, entries: list[tuple[str, dict[str, Any]]]) -> list[str]:
    published = PUBLISHED.get(dataset)
    if published and not any(published.is_comparable(metrics) for _, metrics in entries):
        published = None  # other data of the same name
    columns = _columns(entries, published)
    rows = [
        [
            f"[{name}]({dataset}/{name}/{CARD})" + _other_protocol(metrics, published),
            *_cells(metrics["test"], columns),
            f"{metrics['parameters']:,}",
            f"{training_seconds(metrics['training']):,.0f} s",
        ]
        for name, metrics in sorted(
            entries, key=lambda entry: -entry[1]["test"][f"recall@{entry[1]['choose_by']}"]
        )
    ]
    # one row for all models that have the same split and the same candidates
    simple = {
        (named_baseline(baseline, metrics), *_cells(metrics["baselines"][baseline]["test"], columns), "", "")
        for _, metrics in entries
        for baseline in BASELINES
    }
    counts = entries[0][1]["data"]
    parts = [
        f"## {dataset}",
        f"{dataset_of(f'{dataset}/').title}: test Recall@N of {counts['test_users']:,} users, over "
        f"{counts['items']:,} items.",
        markdown(
            ["model", *map(_title, columns), "parameters", "training"],
            rows + sorted(map(list, simple)) + (_published_rows(published, columns) if published else []),
        ),
    ]
    return [*parts, _sources(published)] if published else parts


def _columns(entries: list[tuple[str, dict[str, Any]]], published: PublishedTable | None) -> list[str]:
    """Return the metrics that a board shows: Recall at each N, and NDCG where published figures have it."""
    ns = sorted({n for _, metrics in entries for n in ns_of(metrics["test"])} | ({N} if published else set()))
    found = [f"recall@{n}" for n in ns]
    if published:
        found.insert(found.index(f"recall@{N}") + 1, f"ndcg@{N}")
    return found


def _title(metric: str) -> str:
    return metric.replace("recall", "Recall").replace("ndcg", "NDCG")


def _cells(test: Mapping[str, float], columns: list[str]) -> list[str]:
    return [f"{test[name]:.4f}" if name in test else "" for name in columns]


def _other_protocol(metrics: Mapping[str, Any], published: PublishedTable | None) -> str:
    return "" if published is None or published.is_comparable(metrics) else " (other protocol)"


def _published_rows(table: PublishedTable, columns: list[str]) -> list[list[str]]:
    numbers = _numbers_of_sources(table)
    return [
        [
            f"published: {figure.model} ({numbers[figure.source]})",
            *_cells(_test_of(figure), columns),
            "",
            "",
        ]
        for figure in sorted(table.figures, key=lambda figure: -figure.recall)
    ]


def _test_of(figure: Figure) -> dict[str, float]:
    ndcg = {} if figure.ndcg is None else {f"ndcg@{N}": figure.ndcg}
    return {f"recall@{N}": figure.recall, **ndcg}


def _numbers_of_sources(table: PublishedTable) -> dict[str, int]:
    return {source: number for number, source in enumerate(dict.fromkeys(f.source for f in table.figures), 1)}


def _sources(table: PublishedTable) -> str:
    sources = "; ".join(f"({number}) {source}" for source, number in _numbers_of_sources(table).items())
    return (
        f"Protocol: {table.protocol}\n\nRows marked as published were not measured here: {sources}. They are "
        f"the figures that the source prints, Recall@{N} and NDCG@{N} as far as it has them."
    )
