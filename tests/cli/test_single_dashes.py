"""Options that lack one of their two dashes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lightning_croloss.cli import export, gather, zoo
from lightning_croloss.cli.data.partition_options import partition_parser
from lightning_croloss.cli.plain_parser import PlainParser, single_dashed
from lightning_croloss.cli.recommend.options import recommend_parser
from lightning_croloss.cli.tune.options import tune_parser
from tests.cli.cases import error_of

PARSERS = [recommend_parser, partition_parser, tune_parser, export._parser, gather._parser]


@pytest.mark.parametrize("make", PARSERS, ids=lambda make: make().prog)
def test_every_option_of_a_plain_command(
    make: Callable[[], PlainParser], capsys: pytest.CaptureFixture[str]
) -> None:
    options = [name for name in make()._option_string_actions if name.startswith("--")]
    assert len(options) > 3
    for option in options:
        for words in ([option[1:], "value"], [f"{option[1:]}=value"]):
            with pytest.raises(SystemExit):
                make().parse_args(words)
            said = capsys.readouterr().err
            assert said == (
                f"croloss: error: unrecognized arguments: {option[1:]}; did you mean '{option}'?\n"
            )


@pytest.mark.parametrize(
    ("command", "option"),
    [
        *((command, "config") for command in ("fit", "validate", "test", "predict", "data inspect")),
        ("fit", "ckpt_path"),
        ("fit", "trainer.callbacks"),
        ("fit", "data.batch_size"),
        ("fit", "seeds"),
        ("test", "overwrite"),
        ("predict", "n"),
        ("data inspect", "json"),
    ],
)
@pytest.mark.parametrize("way", ["{} 3", "{}=3"])
def test_options_of_the_commands_that_read_a_config(
    command: str, option: str, way: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = error_of(capsys, *command.split(), *way.format(f"-{option}").split())
    assert said.startswith(f"unexpected argument '-{option}")
    assert f"; did you mean --{option}" in said


def test_the_subcommands_of_the_zoo(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        zoo.main(["build", "-config", "c.yaml"])
    assert "unrecognized arguments: -config; did you mean '--config'?" in capsys.readouterr().err


def test_options_of_one_dash_stay(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.yaml").write_text("trainer: {max_epochs: none}")
    for words in (["-c", "mine.yaml"], ["-cmine.yaml"], ["-c=mine.yaml"]):
        assert error_of(capsys, "fit", *words).startswith("trainer.max_epochs: must be a whole number")
    options = {"-c", "--config", "--n"}
    assert single_dashed(["--n", "-5", "-c", "x", "--", "-n"], options) is None
    assert single_dashed(["-n", "5"], options) == "-n"
