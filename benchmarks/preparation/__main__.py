"""Seconds and memory that preparing a table takes: read, filter, map ids, split, first batch.

python -m benchmarks.preparation FILE [--min-user-interactions 5] [--k-core] [--repeats 5]
"""

from __future__ import annotations

from benchmarks.common.command import command_parser
from benchmarks.preparation.protocol import prepare
from benchmarks.preparation.report import written


def main() -> None:
    """Prepare the table several times and print the median; nothing is kept, the table is the user's own."""
    parser = command_parser(__doc__)
    parser.add_argument("file")
    parser.add_argument("--min-user-interactions", type=int, default=5)
    parser.add_argument("--k-core", action="store_true")
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    if given.repeats < 1:
        parser.error("--repeats must be at least 1")
    print(written(prepare(given.file, given.min_user_interactions, given.k_core, given.repeats)))


if __name__ == "__main__":
    main()
