"""The config that ``croloss tune`` starts from: what a fit would read, as plain values."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml
from jsonargparse import Namespace

from lightning_croloss.cli.diagnosis import find_mistake
from lightning_croloss.cli.overrides import plain
from lightning_croloss.cli.seeds import LAUNCHED, ParsedCLI

Config = dict[str, Any]


@dataclass(frozen=True)
class Base:
    """What a search starts from.

    Attributes:
        config: the config of a fit, only what was given, as plain values; without the section ``tune``.
        section: that section.
        seed: the seed of the run.
        tests: whether the winner is tested.
    """

    config: Config
    section: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 42
    tests: bool = True


class TuneCLI(ParsedCLI):
    """Reads a command line as ``croloss fit`` does, runs nothing, and keeps the section ``tune``."""

    section: Any = None

    def _leave_out_tune(self, section: Namespace) -> None:
        self.section = section.pop("tune", None)


def read_base(words: Sequence[str]) -> Base:
    """Read the config files and options of a fit.

    Args:
        words: those after ``croloss fit``.

    Raises:
        ValueError: naming a field that a search cannot have.
        SystemExit: they are no config, with status 2.
    """
    cli = TuneCLI(["fit", *words])
    resolved: Mapping[str, Any] = cli.config["fit"]
    refuse_unfit(resolved)
    config = _dumped(cli, cli._given["fit"])
    config.pop("tune", None)
    for name in ("config", "ckpt_path"):
        config.pop(name, None)
    trainer = config.setdefault("trainer", {})
    if trainer.get("logger") == plain(cli._parser("fit").get_defaults()["trainer.logger"]):
        del trainer["logger"]  # the default, which the parser needs to be complete
    seed = resolved.get("seed_everything")
    if type(seed) is not int:  # each setting would be measured with a seed of its own
        seed = 42
        config["seed_everything"] = seed
    return Base(config, {} if cli.section is None else cli.section, seed, resolved["test_after_fit"])


def refuse_unfit(config: Mapping[str, Any]) -> None:
    """Refuse what many runs side by side cannot have.

    Raises:
        ValueError: naming the field.
    """
    for name in LAUNCHED:
        if os.environ.get(name, "1") != "1":
            raise ValueError(
                f"croloss tune starts its processes itself, and cannot be one of the {os.environ[name]} of "
                f"{name}: start it once, with --processes"
            )
    trainer = config["trainer"]
    devices = trainer.get("devices")
    several = devices not in ("auto", 1, "1", None) and not (isinstance(devices, list) and len(devices) == 1)
    refused = {
        "ckpt_path goes on with one run, and croloss tune begins new ones": config.get("ckpt_path"),
        "metrics_per_user: every run would write it: measure the winner with croloss test": config.get(
            "metrics_per_user"
        ),
        "trainer.fast_dev_run: a dry run measures nothing: leave it out": trainer.get("fast_dev_run"),
        "trainer.overfit_batches: there is no validation to choose by: leave it out": trainer.get(
            "overfit_batches"
        ),
        "trainer.enable_checkpointing: runs go on from their checkpoints: leave it out": trainer.get(
            "enable_checkpointing"
        )
        is False,
        "trainer.barebones: nothing is measured: leave it out": trainer.get("barebones"),
        f"trainer.devices: each run is trained on one device, got {devices!r}: give --processes to train "
        "several side by side": several,
        "trainer.num_nodes: each run is trained on one machine: leave it out": trainer.get("num_nodes", 1)
        != 1,
        "trainer.max_time: rungs are counted in steps: give --minutes instead": trainer.get("max_time"),
    }
    for sentence, given in refused.items():
        if given:
            raise ValueError(sentence)


def overlaid(config: Config, fields: Mapping[str, Any]) -> Config:
    """Return a config in which some fields are set, as options behind the config set them.

    Args:
        config: of a fit.
        fields: dotted names and plain values.

    Raises:
        ValueError: a field does not exist, or does not take the value.
    """
    words = overlay_words(config, fields)
    cli = TuneCLI(["fit", *words]) if (mistake := mistake_in(words)) is None else None
    if cli is None:
        raise ValueError(mistake)
    return _without_default_logger(cli, _dumped(cli, cli._given["fit"]), config)


def overlay_words(config: Config, fields: Mapping[str, Any]) -> list[str]:
    """Return the words of a fit with a config and some fields."""
    words = ["--config", yaml.safe_dump(config, sort_keys=False)]
    return [*words, *(f"--{name}={_written(value)}" for name, value in fields.items())]


def mistake_in(words: Sequence[str]) -> str | None:
    """Return what is wrong with the words of a fit in one sentence, None if nothing is found."""
    return find_mistake(_parser(), ["fit", *words])


def _parser() -> Any:
    if not _PARSERS:
        _PARSERS.append(
            TuneCLI(["fit", "--data=TableDataModule", "--model=YouTubeDNN", "--data.interactions=x"])
        )
    return _PARSERS[0].parser


_PARSERS: list[TuneCLI] = []


def _dumped(cli: TuneCLI, given: Namespace) -> Config:
    text = cli._parser("fit").dump(given, skip_none=False, skip_validation=True)
    content: Config = yaml.safe_load(text) or {}
    return content


def _without_default_logger(cli: TuneCLI, content: Config, config: Config) -> Config:
    if "logger" not in config.get("trainer", {}):
        content.get("trainer", {}).pop("logger", None)
    content.pop("config", None)
    return content


def _written(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=10**6).removesuffix("\n...\n").strip()


__all__ = ["Base", "Config", "mistake_in", "overlaid", "overlay_words", "read_base", "refuse_unfit"]
