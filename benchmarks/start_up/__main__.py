"""Seconds until croloss answers: help, versions, the list of the zoo, a slip in a command.

python -m benchmarks.start_up [COMMAND ...] [--repeats 5]

A command is one argument, such as 'zoo list'; without any, those that this benchmark is about.
"""

from __future__ import annotations

from benchmarks.common.command import command_parser
from benchmarks.start_up.protocol import COMMANDS, measure_all
from benchmarks.start_up.report import written


def main() -> None:
    """Measure the commands and print the medians."""
    parser = command_parser(__doc__)
    parser.add_argument("commands", nargs="*")
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    if given.repeats < 1:
        parser.error("--repeats must be at least 1")
    print(written(measure_all(given.commands or COMMANDS, given.repeats)))


if __name__ == "__main__":
    main()
