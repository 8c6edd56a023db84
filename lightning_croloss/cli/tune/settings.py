"""What a search tries: the losses and fields of the section ``tune``, checked before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lightning_croloss.cli.tune.base import Base, mistake_in, overlay_words
from lightning_croloss.errors import suggest
from lightning_croloss.tuning.candidate import Candidate
from lightning_croloss.tuning.space import DRAWN, Choices, Dimension, described, drawn, read_space, unique

SECTION = ("space", "losses")
OWN_LOSS = "the config's own loss"


def read_section(base: Base) -> tuple[dict[str, Dimension], list[Candidate]]:
    """Return the space and the losses of the section ``tune``; both may be empty.

    Raises:
        ValueError: naming the field, and the nearest that exists.
    """
    section = base.section
    for key in section:
        if key not in SECTION:
            raise ValueError(f"tune: there is no field {key!r}{suggest(str(key), SECTION)}")
    space = read_space(section.get("space"))
    for name, dimension in space.items():
        if name.startswith("model.init_args.loss") or name == "model.loss":
            raise ValueError(f"tune.space: {name}: losses are named by tune.losses")
        for value in _examples(dimension):
            if mistake := mistake_in(overlay_words(base.config, {name: value})):
                raise ValueError(f"tune.space: {name}: {mistake}")
    return space, list(_losses(base, section.get("losses")))


def all_candidates(
    losses: Sequence[Candidate], space: Mapping[str, Dimension], trials: int | None, seed: int
) -> list[Candidate]:
    """Return the settings to try, the most promising ones first.

    Args:
        losses: the losses with the config's own fields.
        space: further fields.
        trials: how many settings there are to be; None is all losses, and some more with a space.
        seed: of what is drawn.

    Raises:
        ValueError: there are not as many.
    """
    wanted = trials if trials is not None else len(losses) + (DRAWN if space else 0)
    found = list(losses[:wanted])
    if space:
        found += drawn(losses, space, wanted - len(found), seed)
    elif wanted > len(found):
        raise ValueError(
            f"--trials {trials}: there are {len(found)} settings: name more losses or a space in the section "
            "'tune' of the config, or give --sampler tpe"
        )
    return found


def _losses(base: Base, section: Any) -> list[Candidate]:
    if section is None:
        return []
    if not isinstance(section, list) or not section:
        raise ValueError(f"tune.losses must be a list of losses, each with a class_path; got {section!r}")
    names: set[str] = set()
    found = []
    for at, entry in enumerate(section):
        if entry is None:
            found.append(Candidate(unique(OWN_LOSS, names)))
            continue
        loss: Any = {"class_path": entry} if isinstance(entry, str) else entry
        if not isinstance(loss, Mapping) or "class_path" not in loss:
            raise ValueError(
                f"tune.losses[{at}] must be a class_path with init_args, or null for the config's own; "
                f"got {entry!r}"
            )
        if mistake := mistake_in(overlay_words(_without_loss(base), {"model.init_args.loss": dict(loss)})):
            raise ValueError(f"tune.losses[{at}]: {mistake}")
        inner = described(loss.get("init_args") or {})
        name = str(loss["class_path"]).rpartition(".")[2]
        found.append(Candidate(unique(f"{name}, {inner}" if inner else name, names), loss))
    return found


def _without_loss(base: Base) -> dict[str, Any]:
    model = dict(base.config.get("model") or {})
    arguments = {name: value for name, value in (model.get("init_args") or {}).items() if name != "loss"}
    return base.config | {"model": model | {"init_args": arguments}}


def _examples(dimension: Dimension) -> list[Any]:
    return list(dimension.values) if isinstance(dimension, Choices) else [dimension.low, dimension.high]


__all__ = ["all_candidates", "read_section"]
