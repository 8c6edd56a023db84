"""The model card, and the leaderboard over all cards."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning_croloss.common.text_table import markdown
from lightning_croloss.pretrained.layout import CARD, MANIFEST, METRICS
from lightning_croloss.pretrained.safe_config import trusted_classes
from lightning_croloss.zoo.datasets import DATASETS, dataset_of
from lightning_croloss.zoo.measuring import best_baseline

BASELINES = {"popularity": "popularity", "item_knn": "item kNN"}


def model_card(name: str, metrics: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """Return the text of a model card.

    Args:
        name: name of the model, ``<dataset>/<model>``.
        metrics: what ``metrics.json`` holds.
        config: the sections of ``config.yaml``.
    """
    architecture = short_name(config["model"])
    sections = [
        f"---\nlibrary_name: lightning-croloss\ntags: [recommendation, retrieval, {architecture}]\n---",
        f"# {name}",
        f"{architecture} of lightning-croloss: the retrieval stage of a recommender. It knows "
        f"{metrics['data']['items']:,} items and has {metrics['parameters']:,} parameters, stored as "
        f"{metrics['weights']}.",
        _example(name),
        "## Test",
        *_test(name, architecture, metrics, config["model"]["init_args"]),
        "## Data",
        *_data(name, metrics["data"], config["data"]["init_args"]),
        "## Training",
        _training(metrics, config["model"]["init_args"]),
        "## Use and limits",
        _limits(name, architecture, config["model"]["init_args"]),
    ]
    return "\n\n".join(sections) + "\n"


def _test(
    name: str, architecture: str, metrics: Mapping[str, Any], arguments: Mapping[str, Any]
) -> list[str]:
    ns, best = _ns(metrics["test"]), best_baseline(dict(metrics))
    sides = {f"**{architecture}**": metrics["test"]}
    for baseline, measured in metrics["baselines"].items():
        sides[_named(baseline, metrics) + " (best baseline)" * (baseline == best)] = measured["test"]
    tables = [
        markdown(
            ["", *(f"{title}@{n}" for n in ns)],
            [[side, *(f"{test[f'{metric}@{n}']:.4f}" for n in ns)] for side, test in sides.items()],
        )
        for metric, title in (("recall", "Recall"), ("ndcg", "NDCG"))
    ]
    counts = metrics["data"]
    seen = "Items that the user had before are no candidates. " if arguments["exclude_history"] else ""
    return [
        *tables,
        f"Exact, over the whole catalogue; the mean of {counts['test_users']:,} users with "
        f"{counts['test_targets']:,} targets. {seen}The weights, and the settings of item kNN, were chosen "
        f"by Recall@{metrics['choose_by']} on validation. `croloss zoo evaluate {name}` measures every "
        "figure again.",
    ]


def _data(name: str, counts: Mapping[str, int], arguments: Mapping[str, Any]) -> list[str]:
    about = dataset_of(name)
    split = described(arguments.get("split") or {"class_path": "LeaveOneOut"})
    lines = {
        "Read": f"{counts['interactions']:,} events of {counts['users']:,} users with {counts['items']:,} "
        f"items, {counts['training_events']:,} of them for training.",
        "Split": f"{split}; histories of the last {arguments['max_history']} events.",
        "Where to get it": about.source,
        "Licence": about.licence,
    }
    return [f"{about.title}: {about.about}", _listed(lines)]


def _training(metrics: Mapping[str, Any], arguments: Mapping[str, Any]) -> str:
    training = metrics["training"]
    threads = f"{training['threads']} CPU thread{'s' * (training['threads'] > 1)}"
    defaults = {
        "loss": {"class_path": "CROLoss"},
        "negatives": {"class_path": "UniformNegatives"},
        "optimizer": {"class_path": "Adam", "init_args": {"lr": 0.001}},
    }
    lines = {
        **{part.capitalize(): described(arguments[part] or default) for part, default in defaults.items()},
        "Model": f"D = {arguments['embedding_dim']}, {arguments['similarity']} similarity; `config.yaml` has "
        "all settings, and `croloss fit --config` on it trains the model again.",
        "Time": f"{training['seconds']:,.0f} seconds for {training['epochs']} epochs "
        f"({training['steps']:,} steps) on {threads}; the weights are those of epoch "
        f"{training['best_epoch']}.",
        "Made by": f"`{metrics['command']}`",
        "Versions": ", ".join(f"{package} {version}" for package, version in metrics["versions"].items()),
    }
    return _listed(lines)


def _limits(name: str, architecture: str, arguments: Mapping[str, Any]) -> str:
    sentences = ["It picks candidates for a ranker, out of its own catalogue."]
    if architecture == "MatrixFactorization" or arguments.get("use_user_id"):
        sentences.append("It knows the training users by their ids and can recommend to no others.")
    sentences += [
        dataset_of(name).limits,
        "One seed: a difference of a few percent between models is noise.",
        "It repeats what its data holds: nothing was done against the bias towards popular items.",
    ]
    return " ".join(sentences)


def _example(name: str) -> str:
    return (
        f'```python\nfrom lightning_croloss import load_pretrained\n\nmodel = load_pretrained("{name}")\n```'
    )


def _listed(lines: Mapping[str, str]) -> str:
    return "\n".join(f"- {head}: {line}" for head, line in lines.items())


def leaderboard(folder: Path) -> str:
    """Return the text of ``zoo/README.md``, from the ``metrics.json`` files in ``folder``."""
    found: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for path in sorted(folder.glob(f"*/*/{MANIFEST}")):
        metrics = json.loads((path.parent / METRICS).read_text("utf-8"))
        if "test" in metrics:
            found.setdefault(path.parents[1].name, []).append((path.parent.name, metrics))
    first = next((f"{dataset}/{entries[0][0]}" for dataset, entries in found.items()), "dataset/model")
    parts = [
        "# Zoo",
        "Pretrained retrieval models. This file is written by `croloss zoo build`, from the `metrics.json` "
        "of each; the card of a model tells data, licence, settings and limits.",
        _example(first),
    ]
    order = {dataset: place for place, dataset in enumerate(DATASETS)}
    for dataset in sorted(found, key=lambda name: (order.get(name, len(order)), name)):
        parts += _board(dataset, found[dataset])
    return "\n\n".join(parts) + "\n"


def _board(dataset: str, entries: list[tuple[str, dict[str, Any]]]) -> list[str]:
    ns = sorted({n for _, metrics in entries for n in _ns(metrics["test"])})
    rows = [
        [
            f"[{name}]({dataset}/{name}/{CARD})",
            *_cells(metrics["test"], ns),
            f"{metrics['parameters']:,}",
            f"{metrics['training']['seconds']:,.0f} s",
        ]
        for name, metrics in sorted(
            entries, key=lambda entry: -entry[1]["test"][f"recall@{entry[1]['choose_by']}"]
        )
    ]
    # one row for all models that have the same split and the same candidates
    simple = {
        (_named(baseline, metrics), *_cells(metrics["baselines"][baseline]["test"], ns), "", "")
        for _, metrics in entries
        for baseline in BASELINES
    }
    counts = entries[0][1]["data"]
    return [
        f"## {dataset}",
        f"{dataset_of(f'{dataset}/').title}: test Recall@N of {counts['test_users']:,} users, over "
        f"{counts['items']:,} items.",
        markdown(
            ["model", *(f"Recall@{n}" for n in ns), "parameters", "training"],
            rows + sorted(map(list, simple)),
        ),
    ]


def short_name(described_class: Mapping[str, Any]) -> str:
    """Return the class of ``{"class_path": …}`` without its module."""
    return str(described_class["class_path"]).rpartition(".")[2]


def described(value: Any) -> str:
    """Write ``{"class_path": …, "init_args": …}`` as the call that it stands for.

    What is None is left out, and so are the defaults of torch's classes.
    """
    if isinstance(value, dict) and "class_path" in value:
        cls = trusted_classes().find(value["class_path"], "the config")
        parameters = inspect.signature(cls).parameters if cls.__module__.startswith("torch.") else {}
        arguments = [
            (name, entry)
            for name, entry in (value.get("init_args") or {}).items()
            if entry is not None and not (name in parameters and _same(parameters[name].default, entry))
        ]
        return f"{short_name(value)}({', '.join(f'{name}={described(entry)}' for name, entry in arguments)})"
    if isinstance(value, list):
        return f"[{', '.join(map(described, value))}]"
    return str(value)


def _same(default: Any, entry: Any) -> bool:
    return bool((list(default) if isinstance(default, tuple) else default) == entry)


def _ns(test: Mapping[str, float]) -> list[int]:
    return sorted(int(name.partition("@")[2]) for name in test if name.startswith("recall@"))


def _cells(test: Mapping[str, float], ns: list[int]) -> list[str]:
    return [f"{test[f'recall@{n}']:.4f}" if f"recall@{n}" in test else "" for n in ns]


def _named(baseline: str, metrics: Mapping[str, Any]) -> str:
    setting = metrics["baselines"][baseline]["setting"]
    if not setting:
        return BASELINES[baseline]
    recent = setting["recent"]
    history = (
        "the whole history" if recent >= 1000 else "the last event" if recent == 1 else f"the last {recent}"
    )
    return f"{BASELINES[baseline]} ({setting['neighbours']} neighbours of {history})"
