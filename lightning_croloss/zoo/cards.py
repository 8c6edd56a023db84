"""The model card."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from lightning_croloss.common.text_table import markdown
from lightning_croloss.data.history_filters import FILTERS, UNTIL, read_filters
from lightning_croloss.pretrained.figures import check_metrics
from lightning_croloss.pretrained.layout import METRICS
from lightning_croloss.pretrained.safe_config import trusted_classes
from lightning_croloss.zoo.datasets import dataset_of
from lightning_croloss.zoo.markdown import example, named_baseline, ns_of, training_seconds
from lightning_croloss.zoo.measuring import best_baseline


def model_card(
    name: str,
    metrics: Mapping[str, Any],
    config: Mapping[str, Any],
    reading: Mapping[str, Any] | None = None,
) -> str:
    """Return the text of a model card.

    Args:
        name: name of the model, ``<dataset>/<model>``.
        metrics: what ``metrics.json`` holds.
        config: the sections of ``config.yaml``.
        reading: how the events of training were read; None if that is not known.

    Raises:
        PretrainedError: the metrics are not those of ``croloss zoo build``.
    """
    check_metrics(metrics, METRICS)
    architecture = metrics.get("trained_as", short_name(config["model"])).partition("(")[0]
    sections = [
        f"---\nlibrary_name: lightning-croloss\ntags: [recommendation, retrieval, {architecture}]\n---",
        f"# {name}",
        f"{architecture} of lightning-croloss: the retrieval stage of a recommender. It knows "
        f"{metrics['data']['items']:,} items and has {metrics['parameters']:,} parameters, stored as "
        f"{metrics['weights']}.",
        example(name),
        "## Test",
        *_test(name, architecture, metrics, config["model"]["init_args"]),
        "## Data",
        *_data(name, metrics["data"], config["data"]["init_args"], reading or {}),
        "## Training",
        _training(metrics, config["model"]["init_args"]),
        "## Use and limits",
        _limits(name, architecture, config["model"]["init_args"]),
    ]
    return "\n\n".join(sections) + "\n"


def _test(
    name: str, architecture: str, metrics: Mapping[str, Any], arguments: Mapping[str, Any]
) -> list[str]:
    ns, best = ns_of(metrics["test"]), best_baseline(dict(metrics))
    sides = {f"**{architecture}**": metrics["test"]}
    for baseline, measured in metrics["baselines"].items():
        sides[named_baseline(baseline, metrics) + " (best baseline)" * (baseline == best)] = measured["test"]
    tables = [
        markdown(
            ["", *(f"{title}@{n}" for n in ns)],
            [[side, *(f"{test[f'{metric}@{n}']:.4f}" for n in ns)] for side, test in sides.items()],
        )
        for metric, title in (("recall", "Recall"), ("ndcg", "NDCG"))
    ]
    counts = metrics["data"]
    seen = "Items that the user had before are not candidates. " if arguments["exclude_history"] else ""
    if excluded := counts.get("excluded_targets"):
        seen += f"{excluded:,} of the targets are among them: misses. "
    return [
        *tables,
        f"Exact, over the whole catalogue; the mean of {counts['test_users']:,} users with "
        f"{counts['test_targets']:,} targets. {seen}The weights, and the settings of item kNN, were chosen "
        f"by Recall@{metrics['choose_by']} on validation. `croloss zoo evaluate {name}` measures every "
        "figure again.",
    ]


def _data(
    name: str, counts: Mapping[str, int], arguments: Mapping[str, Any], reading: Mapping[str, Any]
) -> list[str]:
    about = dataset_of(name)
    split = described(arguments.get("split") or {"class_path": "LeaveOneOut"})
    lines = {
        "Read": f"{counts['interactions']:,} events of {counts['users']:,} users with {counts['items']:,} "
        f"items, {counts['training_events']:,} of them for training.",
        "Split": f"{split}; histories of the last {arguments['max_history']} events.",
        **_left_out(reading),
        "Where to get it": about.source,
        "Licence": about.licence,
    }
    return [f"{about.title}: {about.about}", _listed(lines)]


def _left_out(reading: Mapping[str, Any]) -> dict[str, str]:
    """Return the line about the events that histories lack, if there are any."""
    filters = [each for each in read_filters(reading.get(FILTERS, [])) if each.kind != UNTIL]
    if not filters:
        return {}
    return {
        "Left out of histories": f"{'; '.join(each.leaves_out for each in filters)}. `croloss recommend` "
        "leaves them out of a table of events, too; whoever gives lists leaves them out first."
    }


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
        "Model": _model(metrics, arguments),
        **({"Precision": _precision(metrics)} if "precision" in metrics else {}),
        "Time": f"{training_seconds(training):,.0f} seconds for {training['epochs']} epochs "
        f"({training['steps']:,} steps) on {threads}; the weights are those of epoch "
        f"{training['best_epoch']}.",
        "Made by": f"`{metrics['command']}`",
        "Versions": ", ".join(f"{package} {version}" for package, version in metrics["versions"].items()),
    }
    return _listed(lines)


def _model(metrics: Mapping[str, Any], arguments: Mapping[str, Any]) -> str:
    widths = f"D = {arguments['embedding_dim']}, {arguments['similarity']} similarity"
    trained_as = metrics.get("trained_as")
    if trained_as and "item_graph_weight" in arguments:
        return (
            f"{trained_as}; {widths}. Its graph of near items is made of the training events, which this "
            "folder may not hold: it holds the embeddings as the graph has smoothed them, whose lists are "
            "the same, and an item_graph_weight of 0. The command below trains it again."
        )
    if trained_as:
        return (
            f"{trained_as}; {widths}. Its graph is the training events, which this folder may not hold: it "
            "holds the vectors that the graph has made of users and items, as a MatrixFactorization, whose "
            "lists are the same. The command below trains it again."
        )
    return (
        f"{widths}; `config.yaml` has all settings, and `croloss fit --config` on it trains the model again."
    )


def _precision(metrics: Mapping[str, Any]) -> str:
    """Return how the weights are stored, and what was measured of it."""
    precision = metrics["precision"]
    before, after = precision["float32"], precision[precision["asked"]]
    measured = f"test Recall {_values(before)} in float32"
    if after is not None:
        measured += f", {_values(after)} in {precision['asked']}"
    if precision["kept"] is None:
        return f"stored as {metrics['weights']}: {measured}."
    return f"{precision['kept']}: {measured}."


def _values(test: Mapping[str, float]) -> str:
    return ", ".join(f"{value:.4f}" for value in test.values())


def _limits(name: str, architecture: str, arguments: Mapping[str, Any]) -> str:
    sentences = ["It picks candidates for a ranker, out of its own catalogue."]
    if architecture in ("MatrixFactorization", "LightGCN", "NGCF") or arguments.get("use_user_id"):
        sentences.append("It knows the training users by their ids and can recommend to no others.")
    sentences += [
        dataset_of(name).limits,
        "One seed: a difference of a few percent between models is noise.",
        "It repeats what its data holds: nothing was done against the bias towards popular items.",
    ]
    return " ".join(sentences)


def _listed(lines: Mapping[str, str]) -> str:
    return "\n".join(f"- {head}: {line}" for head, line in lines.items())


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
