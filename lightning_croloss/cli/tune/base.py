"""The config that ``croloss tune`` starts from: what a fit would read, as plain values."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml
from jsonargparse import Namespace

from lightning_croloss.cli.config.diagnosis import find_mistake
from lightning_croloss.cli.config.overlays import replaced_lists
from lightning_croloss.cli.config.overrides import plain
from lightning_croloss.cli.messages import say
from lightning_croloss.cli.seeds import ParsedCLI, launched_by
from lightning_croloss.cli.seeds_option import refuse_in_config
from lightning_croloss.training.steps_taken import why_unmeasured

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
    """Has the parsers of ``croloss fit``, and runs nothing."""

    def read(self, words: Sequence[str]) -> tuple[Any, Namespace]:
        """Return the whole config of a command line, and what was given of it.

        Raises:
            SystemExit: it is none, with status 2.
        """
        return self.parser.parse_args(["fit", *words])["fit"], self.given(words)

    def given(self, words: Sequence[str]) -> Namespace:
        """Return what a command line sets, without the defaults."""
        # the only default that options of its own may override in part
        base = Namespace(fit=Namespace(trainer=Namespace(logger=self._logger())))
        given: Namespace = self.parser.parse_args(["fit", *words], base, defaults=False)["fit"]
        return given

    def dump(self, given: Namespace) -> Config:
        """Return a config as plain values, in which classes have the names that files give them."""
        text = self._parser("fit").dump(given, skip_none=False, skip_validation=True)
        content: Config = yaml.safe_load(text) or {}
        content.pop("config", None)
        if content.get("trainer", {}).get("logger") == plain(self._logger()):
            del content["trainer"]["logger"]
        return content

    def _logger(self) -> Any:
        return self._parser("fit").get_defaults()["trainer.logger"]


def read_base(words: Sequence[str]) -> Base:
    """Read the config files and options of a fit.

    Args:
        words: those after ``croloss fit``.

    Raises:
        ValueError: naming a field that a search cannot have.
        SystemExit: they are no config, with status 2.
    """
    cli = _reader()
    resolved, given = cli.read(words)
    refuse_in_config(resolved)
    refuse_unfit(resolved)
    for line in replaced_lists(["fit", *words], "fit"):
        say(line)
    config = cli.dump(given)
    section = config.pop("tune", None) or {}
    config.pop("ckpt_path", None)
    config.setdefault("trainer", {})
    seed = resolved.get("seed_everything")
    if type(seed) is not int:  # each setting would be measured with a seed of its own
        seed = 42
        config["seed_everything"] = seed
    return Base(config, section, seed, resolved["test_after_fit"])


def refuse_unfit(config: Mapping[str, Any]) -> None:
    """Refuse what many runs side by side cannot have.

    Raises:
        ValueError: naming the field.
    """
    if (launcher := launched_by()) is not None:
        raise ValueError(
            f"croloss tune starts its processes itself, and cannot be one of the {os.environ[launcher]} of "
            f"{launcher}: start it once, with --processes"
        )
    trainer = config["trainer"]
    devices = trainer.get("devices")
    several = devices not in ("auto", 1, "1", None) and not (isinstance(devices, list) and len(devices) == 1)
    untested = why_unmeasured("test", trainer) if config.get("test_after_fit") else None
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
        f"{untested}, and the winner is tested in the end: leave it out, or set test_after_fit to false": (
            untested
        ),
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
    if (mistake := mistake_in(words)) is not None:
        raise ValueError(mistake)
    cli = _reader()
    return cli.dump(cli.given(words))


def overlay_words(config: Config, fields: Mapping[str, Any]) -> list[str]:
    """Return the words of a fit with a config and some fields."""
    words = ["--config", yaml.safe_dump(config, sort_keys=False)]
    return [*words, *(f"--{name}={_written(value)}" for name, value in fields.items())]


def mistake_in(words: Sequence[str]) -> str | None:
    """Return what is wrong with the words of a fit in one sentence, None if nothing is found."""
    return find_mistake(_reader().parser, ["fit", *words])


def _reader() -> TuneCLI:
    """Return what has the parsers, which take half a second to build."""
    if not _PARSERS:
        _PARSERS.append(
            TuneCLI(["fit", "--data=TableDataModule", "--model=YouTubeDNN", "--data.interactions=x"])
        )
    return _PARSERS[0]


_PARSERS: list[TuneCLI] = []


def _written(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=10**6).removesuffix("\n...\n").strip()


__all__ = ["Base", "Config", "mistake_in", "overlaid", "overlay_words", "read_base", "refuse_unfit"]
