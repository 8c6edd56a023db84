"""1 is one batch and 1.0 is all of them, wherever a field takes both, in every file too."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional, Union, get_args

import pytest
import yaml
from lightning.pytorch import Callback, Trainer

from lightning_croloss.cli.config.field_types import members
from lightning_croloss.cli.config.whole_numbers import integers_before_floats
from lightning_croloss.cli.lightning_cli import run_fit
from lightning_croloss.cli.tune.base import TuneCLI, overlaid, read_base
from tests.cli.small import DATA, FIT, NO_PLOT

pytestmark = [pytest.mark.filterwarnings("ignore"), NO_PLOT]

#: Every field of the trainer that takes both.
BOTH = [
    name
    for name, field in inspect.signature(Trainer).parameters.items()
    if {int, float} <= set(members(field.annotation))
]
BASE = [DATA, "--model=YouTubeDNN"]


class Sharing(Callback):
    """A callback with a field of both kinds, in the order that reads them wrongly."""

    def __init__(self, share: float | int = 0.5, shares: Sequence[float | int] = ()) -> None:
        self.share, self.shares = share, shares


@pytest.fixture(scope="module")
def cli() -> TuneCLI:
    return TuneCLI(["fit", *BASE])


def parsed(cli: TuneCLI, *words: str) -> Any:
    return cli.read([*BASE, *words])[0]


def of_kind(value: Any) -> tuple[type, Any]:
    return type(value), value


def test_the_fields_of_the_trainer_are_known() -> None:
    assert {f"limit_{part}_batches" for part in ("train", "val", "test", "predict")} < set(BOTH)
    assert {"val_check_interval", "overfit_batches"} < set(BOTH)


@pytest.mark.parametrize("name", BOTH)
def test_every_field_of_the_trainer(cli: TuneCLI, name: str) -> None:
    for written, value in (("1", 1), ("1.0", 1.0), ("3", 3), ("0.5", 0.5), ("0", 0)):
        Path("own.yaml").write_text(f"trainer: {{{name}: {written}}}")
        for words in ([f"--trainer.{name}={written}"], ["--config=own.yaml"]):
            config = parsed(cli, *words)
            if value or name != "overfit_batches":  # whose default is a share of 0
                assert of_kind(config["trainer"][name]) == of_kind(value)
            # what --print_config writes, and config.yaml holds
            text = cli._parser("fit").dump(config, skip_none=False)
            assert of_kind(yaml.safe_load(text)["trainer"][name]) == of_kind(config["trainer"][name])
            Path("kept.yaml").write_text(text)
            again = parsed(cli, "--config=kept.yaml")
            assert of_kind(again["trainer"][name]) == of_kind(config["trainer"][name])


@pytest.mark.parametrize("value", [1, 1.0])
def test_a_search_starts_from_the_same(value: float) -> None:
    base = read_base([*BASE, f"--trainer.limit_val_batches={value}"])
    assert of_kind(base.config["trainer"]["limit_val_batches"]) == of_kind(value)
    found = overlaid(base.config, {"trainer.limit_train_batches": value})["trainer"]
    assert of_kind(found["limit_train_batches"]) == of_kind(value) == of_kind(found["limit_val_batches"])


def test_fields_of_a_class(cli: TuneCLI) -> None:
    words = ["--trainer.callbacks+=tests.cli.test_whole_numbers.Sharing", "--trainer.callbacks.share=1"]
    config = parsed(cli, *words, "--trainer.callbacks.shares=[1, 1.0, 0.5]")
    (given,) = config["trainer"]["callbacks"]
    assert of_kind(given.init_args.share) == (int, 1)
    assert [type(share) for share in given.init_args.shares] == [int, float, float]


def test_the_order_of_a_hint() -> None:
    wrong = Union[float, int]  # noqa: UP007  (an object that others share)
    for hint in (wrong, Optional[wrong], float | None | int, Optional[Union[float, str, int]]):  # noqa: UP007, UP045
        found = [member for member in get_args(integers_before_floats(hint)) if member in (int, float)]
        assert found == [int, float]
    assert get_args(get_args(integers_before_floats(list[float | int]))[0]) == (int, float)
    right = int | float | None
    for hint in (right, float | None, int, list[int | float], dict[str, float], Callback):
        assert integers_before_floats(hint) is hint


def test_one_batch_is_trained_and_tested(capsys: pytest.CaptureFixture[str]) -> None:
    limits = [f"--trainer.limit_{part}_batches=1" for part in ("train", "val", "test")]
    trainer, _ = run_fit([*FIT, *limits, "--data.eval_batch_size=7"])
    assert trainer.global_step == 1
    assert "measured:   1 of 9 batches of users: limit_test_batches" in capsys.readouterr().out
