"""The entry point of ``croloss``: which command runs, how a mistake is reported, and the exit status."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from croloss_serving.common.terminal import printable
from lightning_croloss.cli.commands import OTHER_COMMANDS, run_command
from lightning_croloss.cli.front_door import left_to_run
from lightning_croloss.cli.interruption import answering_signals
from lightning_croloss.cli.plain_parser import TRACEBACK
from lightning_croloss.cli.quiet import be_quiet
from lightning_croloss.cli.seeds_option import asks_for_seeds
from lightning_croloss.cli.streams import broken_streams, standard_streams
from lightning_croloss.errors import DataError, PretrainedError

if TYPE_CHECKING:
    from lightning.pytorch.cli import ArgsType

#: One size of cuBLAS's workspaces: with the two of its own choice, recurrent layers on a GPU round in another
#: order in each run, and a resumed one is not that of before.
WORKSPACES = ("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def main(args: ArgsType = None) -> None:
    """Run the command line; a user's mistake ends in one sentence and a non-zero status."""
    given = sys.argv[1:] if args is None else args
    with standard_streams(), answering_signals():
        if not isinstance(given, list):
            _run(args, [])
        elif (words := left_to_run(given)) is not None:
            _run(args if words == given else words, words)


def _run(args: ArgsType, words: list[str]) -> None:
    be_quiet()
    os.environ.setdefault(*WORKSPACES)
    parent = os.getppid()
    try:
        if words and words[0] in OTHER_COMMANDS:
            run_command(words[0], words[1:])
        elif asks_for_seeds(words):
            from lightning_croloss.cli.seeds import program, run_seeds

            run_seeds(words, program(args is None))
        else:
            from lightning_croloss.cli.lightning_cli import CROLossCLI

            CROLossCLI(args)
    except Exception as error:
        if isinstance(error, OSError) and broken_streams(error):
            raise
        cause: BaseException = error
        if error.__cause__ is not None or not isinstance(error, (DataError, PretrainedError)):
            from lightning_croloss.cli.errors import explained, meant_for_user, root_cause

            cause = explained(root_cause(error))
            if not meant_for_user(cause):
                raise
        if os.environ.get(TRACEBACK):
            raise
        from lightning_croloss.cli.one_voice import is_told_by_another

        if not is_told_by_another(cause, parent):
            sentence = printable(" ".join(str(cause).split()))
            print(f"croloss: error: {sentence} (set {TRACEBACK}=1 to see where)", file=sys.stderr)
        sys.exit(1)
