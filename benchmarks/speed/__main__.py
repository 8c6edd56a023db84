"""Speed and memory against other ways to do the same.

python -m benchmarks.speed [--sections loss evaluation …] [--threads 1 2] [--repeats 7] [--data FOLDER]

Prints the tables and writes them, their figures (JSON) and plots into benchmarks/speed/results/. A side whose
peer is not installed (pip install -c constraints.txt '.[peers]') says so and is left out.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path

from benchmarks.common.command import command_parser
from benchmarks.common.measuring import CLOCKS, machine, versions
from benchmarks.speed.settings import Settings
from lightning_croloss.common.files import write_atomically

#: Modules of this package with ``run(settings, folder) -> (rows, Markdown)``; one file each.
SECTIONS = (
    "loss",
    "cross_entropy",
    "evaluation",
    "training",
    "sequences",
    "lengths",
    "job",
    "preparation",
    "growth",
    "whole_catalog",
    "sampled",
)
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Run the sections that the command line names, or all."""
    parser = command_parser(__doc__)
    parser.add_argument(
        "--sections",
        nargs="+",
        default=list(SECTIONS),
        metavar="SECTION",
        help=f"of {', '.join(SECTIONS)}; all",
    )
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument(
        "--repeats", type=int, default=7, help="rounds, in each of which every side runs once"
    )
    parser.add_argument(
        "--clock", choices=CLOCKS, default="wall", help="cpu: for one thread on a machine that others use too"
    )
    parser.add_argument(
        "--data",
        type=Path,
        help="folder of diginetica.parquet and beauty.parquet, for the sections preparation and lengths",
    )
    parser.add_argument(
        "--before",
        type=Path,
        help="another checkout of this repository, for the section sampled (git worktree add makes one)",
    )
    parser.add_argument("--quick", action="store_true", help="small sizes only, to try the command")
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    unknown = set(arguments.sections) - set(SECTIONS)
    if unknown:
        parser.error(f"unknown section {sorted(unknown)[0]!r}: choose of {', '.join(SECTIONS)}")
    if arguments.clock == "cpu" and max(arguments.threads) > 1:
        parser.error("--clock cpu also counts what threads wait for each other: take it with --threads 1")
    if arguments.repeats < 1 or min(arguments.threads) < 1:
        parser.error("--repeats and --threads must be at least 1")
    arguments.output.mkdir(parents=True, exist_ok=True)
    data = None if arguments.data is None else arguments.data.expanduser().resolve()
    other = None if arguments.before is None else arguments.before.expanduser().resolve()
    if other is not None and not (other / "lightning_croloss").is_dir():
        parser.error(f"--before {arguments.before} is no checkout of this repository")
    settings = Settings(
        tuple(arguments.threads), arguments.repeats, arguments.quick, arguments.clock, data, other
    )
    for name in arguments.sections:
        section = importlib.import_module(f"benchmarks.speed.{name}")
        before = machine() | versions(getattr(section, "PEERS", ()))
        rows, text = section.run(settings, arguments.output)
        facts = before | {"load at the end": machine()["load"]}
        facts["threads"] = " and ".join(map(str, settings.threads))
        record = {"machine": facts, "repeats": settings.repeats, "clock": settings.clock, "rows": rows}
        described = ", ".join(f"{key} {value}" for key, value in facts.items())
        how = f"Medians of up to {settings.repeats} alternating rounds, {settings.clock} time."
        text = f"{text}\n\n{how} {described}.\n"
        write_atomically(arguments.output / f"{name}.json", (json.dumps(record, indent=1) + "\n").encode())
        write_atomically(arguments.output / f"{name}.md", text.encode())
        print(text)


if __name__ == "__main__":
    main()
