"""Designs: whole models that are worth trying on a new table, the most promising first."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lightning_croloss.tuning.candidate import Candidate
from lightning_croloss.tuning.chosen_filters import RELOADED
from lightning_croloss.tuning.from_data import Decisions
from lightning_croloss.tuning.portfolio import portfolio
from lightning_croloss.tuning.table_statistics import Statistics

#: Median length of the users up to which a table is one of sessions.
SESSIONS = 4
#: Median lengths from which on half of a history tells enough, and from which on one pass over a history for
#: all of its targets saves most of the time.
LONG, VERY_LONG = 10, 25
LEARNING_RATE = 0.003
#: Of attention, and where histories are short, so that a batch holds many of them.
LOW_RATE, HIGH_RATE = 0.002, 0.004
#: Items up to which smoothing the whole table in each step is tried; it costs as much as a dense update.
SMOOTHED_ITEMS = 200_000
#: Events of an item up to which it learns more from the items near it than from its own: it is tried first.
FEW_EVENTS = 30


@dataclass(frozen=True)
class Design:
    """A model to train, as plain values; two are equal if the same is trained, whatever they are called.

    Args:
        name: unique and short, for tables.
        family: its architecture.
        arguments: its own arguments, besides those that all models have.
        loss: its loss.
        features: whether the features of the tables are read.
        learning_rate: of AdamW.
        why: what it is tried for.
    """

    name: str = field(compare=False)
    family: str
    arguments: Mapping[str, Any]
    loss: Candidate
    features: bool = False
    learning_rate: float = LEARNING_RATE
    why: str = field(default="", compare=False)

    @property
    def all_positions(self) -> bool:
        """Whether a row of training is a history with all its targets."""
        return self.arguments.get("train_on") == "all"


def first_designs(found: Statistics, ns: Sequence[int]) -> list[Design]:
    """Return the architectures that are tried, the most promising first, all with the first of the losses.

    Args:
        found: what the table is like.
        ns: the N that will be deployed.
    """
    loss = portfolio(ns, found.items)[0]
    sessions = found.typical <= SESSIONS or found.consecutive >= RELOADED
    mean: dict[str, Any] = {"hidden_dims": []}
    causal: dict[str, Any] = {"num_blocks": 1, "num_heads": 2, "dropout": 0.2, "train_on": "all"}
    dropout = 0.5 if found.typical >= LONG else 0.3
    very_long = found.typical >= VERY_LONG
    strong = Design(
        "YouTubeDNN", "YouTubeDNN", {**mean, "history_dropout": dropout}, loss, why="the mean of the history"
    )
    weak = Design(
        "YouTubeDNN, history dropout 0.1",
        "YouTubeDNN",
        {**mean, "history_dropout": 0.1},
        loss,
        why="the same, where there is little to overfit",
    )
    attention = Design(
        "SASRec",
        "SASRec",
        {**causal, "history_dropout": 0.3},
        loss,
        learning_rate=LOW_RATE if very_long else HIGH_RATE,
        why="one block of attention: the order counts",
    )
    recurrent = Design(
        "GRU4Rec",
        "GRU4Rec",
        {"hidden_dims": [64], "train_on": "all", "history_dropout": 0.2},
        loss,
        why="a recurrent network: the order counts",
    )
    interests = Design(
        "ComiRecSA",
        "ComiRecSA",
        {"num_interests": 2 if sessions else 4, "history_dropout": 0.3 if sessions else 0.5},
        loss,
        why="several interests of a user",
    )
    capsules = Design(
        "MIND", "MIND", {"num_interests": 4, "history_dropout": 0.5}, loss, why="several interests of a user"
    )
    deep = Design(
        "SASRec, 2 blocks",
        "SASRec",
        {**causal, "num_blocks": 2, "history_dropout": 0.5},
        loss,
        learning_rate=LOW_RATE,
        why="more attention",
    )
    wide = _changed(attention, "width 128", "", embedding_dim=128)
    wide = _changed(wide, "2 blocks", "", num_blocks=2)
    wide = _changed(wide, "dropout 0.5", "more of all, regularised", dropout=0.5)
    ordered = [strong, attention, weak, recurrent, interests, deep, capsules]
    if very_long:
        ordered = [attention, strong, recurrent, deep, weak, interests, capsules]
    if sessions:
        ordered = [weak, attention, recurrent, strong, interests, deep]
    if found.items <= SMOOTHED_ITEMS:
        near = [_smoothed(each) for each in ordered[:2]]
        if found.events <= FEW_EVENTS * found.items:
            ordered = [*near, _smoothed(wide), *ordered]
        else:
            ordered[2:2] = near
    if found.item_features or found.user_features:
        ordered = [
            variant for each in ordered for variant in _with_features(each, found, each in ordered[:2])
        ]
    return ordered


def variants(best: Design, ns: Sequence[int], num_items: int, tried: Sequence[Design] = ()) -> list[Design]:
    """Return what is tried around the best architecture: losses, regularisation and width.

    Args:
        best: the best so far.
        ns: the N that will be deployed.
        num_items: size of the catalogue.
        tried: designs that are tried anyway, which are left out.
    """
    losses = [each for each in portfolio(ns, num_items) if each.name != best.loss.name]
    others = [
        replace(best, name=_renamed(best.name, best.loss.name, each.name), loss=each, why="another loss")
        for each in losses
    ]
    dropout = float(best.arguments.get("history_dropout", 0.0))
    smoothed = "item_graph_weight" in best.arguments
    attention = "num_blocks" in best.arguments
    heavy = best.arguments.get("dropout") == 0.5
    tuned = [
        *(() if smoothed or num_items > SMOOTHED_ITEMS else (_smoothed(best),)),
        _changed(best, "width 128", "a wider model", embedding_dim=128),
        *((_changed(best, "dropout 0.5", "regularisation", dropout=0.5),) if attention else ()),
        *((_changed(best, "dropout 0.3", "less of it", dropout=0.3),) if heavy else ()),
        *((_changed(best, "2 blocks", "more attention", num_blocks=2),) if attention else ()),
        replace(
            best,
            name=_renamed(best.name, "learning rate", f"learning rate {best.learning_rate / 3:g}"),
            learning_rate=best.learning_rate / 3,
            why="slower steps",
        ),
        # last, since a short look misleads here: what is regularised less is always ahead at first
        *(
            _changed(best, f"history dropout {value:g}", "regularisation", history_dropout=value)
            for value in (0.5, 0.2, 0.7, 0.0)
            if abs(value - dropout) > 0.15
        ),
    ]
    found: list[Design] = []
    for at in range(max(len(others), len(tuned))):  # in turn, since either may be what counts
        found += others[at : at + 1] + tuned[at : at + 1]
    return [each for each in found if each not in (best, *tried)]


def config_of(
    design: Design, decisions: Decisions, data: Mapping[str, Any], found: Statistics, seed: int
) -> dict[str, Any]:
    """Return the config of a fit of a design, without callbacks and length.

    Args:
        design: the model.
        decisions: how the table is trained on.
        data: further arguments of ``TableDataModule``.
        found: what the table is like.
        seed: the seed.
    """
    own: dict[str, Any] = {**data, **copy.deepcopy(dict(decisions.data))}
    if design.all_positions and "batch_size" not in data:
        own["batch_size"] = decisions.sequence_batch
    columns = {
        "item_features": found.item_features if design.features else (),
        "user_features": found.user_features if design.features and takes_user_features(design) else (),
    }
    own = {name: value for name, value in own.items() if name not in columns}
    own |= {name: list(names) for name, names in columns.items() if names}
    if not columns["item_features"] and own.get("title_column") is None:
        own.pop("items", None)
    if not columns["user_features"]:
        own.pop("users", None)
    optimizer = {"lr": design.learning_rate, "weight_decay": 0.01}
    model = {
        **copy.deepcopy(dict(decisions.model)),
        **copy.deepcopy(dict(design.arguments)),
        "loss": copy.deepcopy(dict(design.loss.loss or {})),
        "optimizer": {"class_path": "torch.optim.AdamW", "init_args": optimizer},
    }
    config: dict[str, Any] = {
        "seed_everything": seed,
        "data": {"class_path": "TableDataModule", "init_args": own},
        "model": {"class_path": design.family, "init_args": model},
        "trainer": {"accelerator": "auto"},
    }
    return config


def takes_user_features(design: Design) -> bool:
    """Return whether a model reads features of the users."""
    return design.family == "YouTubeDNN"


def _with_features(design: Design, found: Statistics, promising: bool) -> list[Design]:
    """Return a design as it is and, of a promising one, with the features."""
    if not promising or not (found.item_features or takes_user_features(design)):
        return [design]
    return [design, replace(design, name=f"{design.name}, features", features=True)]


def _smoothed(design: Design) -> Design:
    """Return a design whose items are smoothed along the graph of those near them."""
    why = "items learn from those that stand near them"
    return _changed(design, "near items", why, item_graph_weight=1.0)


def _changed(design: Design, name: str, why: str, **arguments: Any) -> Design:
    merged = {**design.arguments, **arguments}
    kind = name.rpartition(" ")[0]
    return replace(design, name=_renamed(design.name, kind, name), arguments=merged, why=why)


def _renamed(name: str, kind: str, change: str) -> str:
    """Return the name of a design with another change, which takes the place of one of the same kind."""
    parts = [part for part in name.split("; ") if not part.startswith(f"{kind} ") and part != kind]
    return "; ".join([*parts, change])


__all__ = ["Design", "config_of", "first_designs", "takes_user_features", "variants"]
