"""The entry point of ``croloss``: which command runs, how a mistake is reported, and the exit status."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING

from lightning_croloss import __version__
from lightning_croloss.cli.interruption import answering_signals
from lightning_croloss.cli.quiet import be_quiet
from lightning_croloss.cli.streams import standard_streams

if TYPE_CHECKING:
    from lightning.pytorch.cli import ArgsType


def main(args: ArgsType = None) -> None:
    """Run the command line; a user's mistake ends in one sentence and a non-zero status."""
    given = sys.argv[1:] if args is None else args if isinstance(args, list) else []
    with standard_streams(), answering_signals():
        if given[:1] == ["--version"]:
            print(versions())
        else:
            _run(args, given)


def versions() -> str:
    """Return the versions that a report of a problem should name, one per line."""
    lines = {
        "lightning-croloss": __version__,
        "Python": platform.python_version(),
        "torch": version("torch"),
        "lightning": version("lightning"),
    }
    return "\n".join(f"{name} {number}" for name, number in lines.items())


def _run(args: ArgsType, given: list[str]) -> None:
    # imported here, since they bring torch and lightning, which take seconds and which --version does without
    from lightning_croloss.cli.commands import find_command
    from lightning_croloss.cli.errors import explained, meant_for_user, root_cause
    from lightning_croloss.cli.lightning_cli import CROLossCLI
    from lightning_croloss.cli.parser import TRACEBACK

    be_quiet()
    command = find_command(given)
    try:
        if command is None:
            CROLossCLI(args)
        else:
            command(given[1:])
    except Exception as error:
        cause = explained(root_cause(error))
        if os.environ.get(TRACEBACK) or not meant_for_user(cause):
            raise
        sentence = " ".join(str(cause).split())
        print(f"croloss: error: {sentence} (set {TRACEBACK}=1 to see where)", file=sys.stderr)
        sys.exit(1)
