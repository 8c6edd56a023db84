"""The commands of ``croloss``, each with a line of help, and what runs those beside the trainer's.

Imports nothing heavy: the help and the options of a command are read before what it works with is imported.
"""

from __future__ import annotations

from lightning_croloss.cli.data.partition_options import partition_parser
from lightning_croloss.cli.recommend.options import recommend_parser
from lightning_croloss.cli.torchrun import refuse_torchrun
from lightning_croloss.cli.trainer_options import TRAINER_COMMANDS

#: The other commands.
OTHER_COMMANDS = {
    "data": "Show what a config reads and splits (inspect), or divide a table by user (partition).",
    "export": "Write a model as a folder that is served without torch.",
    "gather": "Write a checkpoint in shards as one ordinary file.",
    "recommend": "Recommend items to histories that the model has never seen.",
    "tune": "Find the loss for the N that will be deployed, and train the model with it.",
    "zoo": "List, show, build and evaluate the pretrained models.",
}
COMMANDS = {**TRAINER_COMMANDS, **OTHER_COMMANDS}
#: The second words of the commands that have one.
SUBCOMMANDS = {"data": ("inspect", "partition"), "zoo": ("list", "show", "build", "evaluate")}


def run_command(name: str, words: list[str]) -> None:
    """Run one of ``OTHER_COMMANDS`` with the words after it.

    Raises:
        ValueError: torchrun has started several processes for a command that works in one.
    """
    if name != "recommend":
        refuse_torchrun(name)
    if name == "recommend":
        given = recommend_parser().parse_args(words)

        from lightning_croloss.cli.recommend.command import recommend

        recommend(given)
    elif name == "tune":
        from lightning_croloss.cli.tune.options import parse_words

        options, fit = parse_words(words)

        from lightning_croloss.cli.tune.command import tune

        tune(options, fit, words)
    elif name == "export":
        from lightning_croloss.cli import export

        export.main(words)
    elif name == "gather":
        from lightning_croloss.cli import gather

        gather.main(words)
    elif name == "zoo":
        from lightning_croloss.cli import zoo

        zoo.main(words)
    elif words[:1] == ["partition"]:
        given = partition_parser().parse_args(words[1:])

        from lightning_croloss.cli.data.partition import partition

        partition(given)
    else:
        from lightning_croloss.cli.data import inspect

        inspect.main(words)


__all__ = ["COMMANDS", "OTHER_COMMANDS", "SUBCOMMANDS", "TRAINER_COMMANDS", "run_command"]
