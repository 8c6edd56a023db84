"""The help of the trainer's commands: what a user sets, in that order, and how to see the rest."""

from __future__ import annotations

import argparse

from lightning_croloss.cli.trainer_options import OPTIONS, TRAINER_COMMANDS

_FIELDS = "Every field of the config can also be set by --name=value:"


class _Wide(argparse.RawDescriptionHelpFormatter):
    """Room for the names of the options, so that what is said of one begins beside it."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=34)


_EXAMPLES = {
    "fit": """\
  croloss fit --config shop.yaml
  croloss fit --config shop.yaml --model=MIND --trainer.max_epochs=3
  croloss fit --config shop.yaml --ckpt_path=last""",
    "validate": "  croloss validate --config shop.yaml --ckpt_path=model.ckpt",
    "test": """\
  croloss test --config shop.yaml --ckpt_path=model.ckpt
  croloss test --config shop.yaml --pretrained=zoo/shop/mind""",
    "predict": """\
  croloss predict --config shop.yaml --pretrained=zoo/shop/mind --output=lists.parquet --n=50""",
}
_MORE = """\
more:
  croloss {0} --help=all                     every option, Lightning's too
  croloss {0} --data.help=TableDataModule    the fields of the data
  croloss {0} --model.help=YouTubeDNN        the fields of a model
  croloss {0} --model.help=YouTubeDNN --model.loss.help=CROLoss
                                             those of a part of it"""


def trainer_help(command: str) -> str:
    """Return the help of one of ``TRAINER_COMMANDS``."""
    parser = argparse.ArgumentParser(
        prog=f"croloss {command}",
        usage=f"croloss {command} --config FILE [--name=value ...]",
        description=f"{TRAINER_COMMANDS[command]}\n{_FIELDS}\n\n{_EXAMPLES[command]}",
        epilog=_MORE.format(command),
        formatter_class=_Wide,
        add_help=False,
    )
    for title, options in OPTIONS.items():
        group = parser.add_argument_group(title)
        for option in options:
            if command not in option.commands:
                continue
            text = f"{option.help} Default: {option.default}." if option.default else option.help
            if option.value:
                group.add_argument(f"--{option.name}", metavar=option.value, help=text)
            else:
                group.add_argument(f"--{option.name}", action="store_true", help=text)
    return parser.format_help().rstrip()


__all__ = ["trainer_help"]
