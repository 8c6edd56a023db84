"""Random SIGKILLs and SIGTERMs of fit, export and zoo save: nothing half-written, every resume exact.

python -m benchmarks.faults [--times 20] [--seed 0] [--jobs fit export save]

Sends each of the two signals ``--times`` times, to the jobs in turn at random moments, and fails if a file
is half-written, a resumed run differs from an uninterrupted one, a status is wrong or something is left over.
``TMPDIR`` lies in another file system than the outputs where there is one.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from benchmarks.common.command import command_parser
from benchmarks.faults import jobs
from benchmarks.faults.checks import difference, faults_of_folder, faults_of_run, leftovers
from benchmarks.faults.jobs import LAST, Job
from croloss_serving.layout import FORMAT as EXPORT
from lightning_croloss.common.text_table import aligned
from lightning_croloss.pretrained.layout import FORMAT as MODEL

KINDS = {"fit": None, "export": EXPORT, "save": MODEL}
SIGNALS = (signal.SIGKILL, signal.SIGTERM)
MEMORY = Path("/dev/shm")


class Bench:
    """A folder with the inputs, and an uninterrupted run to compare with.

    Args:
        folder: where all lies.
        temporary: the ``TMPDIR`` of the jobs.
        seed: of the table, and of the moments.
    """

    def __init__(self, folder: Path, temporary: Path, seed: int) -> None:
        self.folder, self.temporary = folder, temporary
        self.random = random.Random(seed)
        self.config = jobs.write_inputs(folder, seed)
        self.whole = folder / "whole" / "here"
        job = Job(partial(jobs.fit, self.config), self.whole, temporary)
        job.wait((self.whole / LAST).exists)
        begin = time.monotonic()
        if job.wait():
            sys.exit(f"an uninterrupted fit fails:\n{job.log.read_text()}")
        self.seconds = time.monotonic() - begin  # from the first checkpoint to the end
        self.model = folder / "model"
        job = Job(partial(jobs.keep, self.whole / LAST, self.model), self.whole, temporary)
        if job.wait():
            sys.exit(f"its model cannot be saved:\n{job.log.read_text()}")

    def end_fit(self, number: int, here: Path) -> tuple[int | None, list[str]]:
        """End a fit, check its files, go on with it, compare."""
        job = Job(partial(jobs.fit, self.config), here, self.temporary)
        job.wait((here / LAST).exists)
        job.wait(seconds=self.random.uniform(0, self.seconds))
        job.send(number)
        status = job.wait()
        faults = faults_of_run(here)
        again = Job(partial(jobs.fit, self.config), here, self.temporary)
        if again.wait():
            return status, [*faults, f"cannot be resumed: {again.log.read_text()[-300:]}"]
        return status, [*faults, *faults_of_run(here), *difference(here, self.whole), *leftovers(here)]

    def end_folder(self, kind: str, number: int, here: Path) -> tuple[int | None, list[str]]:
        """End what writes a folder again and again, check it, write it once more."""
        work = partial(jobs.export if kind == "export" else jobs.save, self.model)
        job = Job(work, here, self.temporary)
        zoo, written = here / "zoo", here / "zoo/set/model/manifest.json"
        job.wait(written.exists)
        job.wait(seconds=self.random.uniform(0, 1.0))
        job.send(number)
        status = job.wait()
        form = KINDS[kind]
        assert form is not None
        faults = faults_of_folder(zoo, form)
        again = Job(partial(work, 1), here, self.temporary)
        if again.wait():
            return status, [*faults, f"cannot be written again: {again.log.read_text()[-300:]}"]
        return status, [*faults, *faults_of_folder(zoo, form), *leftovers(here)]


def main() -> None:
    """Read the arguments, end the jobs, print a table; fail if there is a fault."""
    parser = command_parser(__doc__)
    parser.add_argument("--times", type=int, default=20, help="how many times each signal is sent")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", nargs="+", choices=KINDS, default=list(KINDS))
    given = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as place,
        tempfile.TemporaryDirectory(dir=_elsewhere(Path(place))) as tmp,
    ):
        bench = Bench(Path(place), Path(tmp), given.seed)
        lines, faults = [], []
        for number in SIGNALS:
            for count in range(given.times):
                kind = given.jobs[count % len(given.jobs)]
                here = Path(place) / f"{kind}-{number.name}-{count}" / "here"
                status, found = (
                    bench.end_fit(number, here) if kind == "fit" else bench.end_folder(kind, number, here)
                )
                if status not in (128 + number, 0 if number == signal.SIGKILL else None):
                    found.append(f"ended with status {status} instead of {128 + number}")
                found += leftovers_elsewhere(Path(tmp))
                lines.append([kind, number.name, str(status), "; ".join(found) or "whole"])
                print(*lines[-1], flush=True)
                faults += found
                shutil.rmtree(here.parent)
    rows = [
        [kind, number.name, *_counts(lines, kind, number.name)] for kind in given.jobs for number in SIGNALS
    ]
    print(aligned([["job", "signal", "times", "with a fault"], *rows], "<<>>"))
    sys.exit(bool(faults))


def leftovers_elsewhere(temporary: Path) -> list[str]:
    """Return the files in the ``TMPDIR`` of the jobs, and remove them."""
    found = [path for path in temporary.rglob("*") if path.is_file()]
    for path in found:
        path.unlink()
    return [f"{path.name} was left in TMPDIR" for path in found]


def _counts(lines: list[list[str]], kind: str, name: str) -> tuple[str, str]:
    ours = [line for line in lines if line[:2] == [kind, name]]
    return str(len(ours)), str(sum(line[3] != "whole" for line in ours))


def _elsewhere(place: Path) -> Path | None:
    """Return a folder in another file system than ``place``, if there is one."""
    other = MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and MEMORY.stat().st_dev != place.stat().st_dev
    return MEMORY if other else None


if __name__ == "__main__":
    main()
