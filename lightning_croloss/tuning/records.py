"""Records of a search on the disk: the truth from which a search that was killed goes on."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from lightning_croloss.common.files import write_atomically
from lightning_croloss.tuning.outcome import Outcome
from lightning_croloss.tuning.search import Execute, Job

#: The settings of the search, and the version of what lies here.
SEARCH = "search.json"
VERSION = 2
#: The folder of the candidates' folders.
CANDIDATES = "candidates"

#: The name in a record of the checksum of all else.
CHECKSUM = "checksum"

T = TypeVar("T")


def write_record(path: Path, content: Mapping[str, Any]) -> None:
    """Write a record, which is JSON, with its checksum."""
    written = json.dumps({**content, CHECKSUM: _checksum(json.loads(json.dumps(content)))}, indent=1)
    write_atomically(path, written.encode())


def read_record(path: Path, build: Callable[[dict[str, Any]], T]) -> T:
    """Return what a file says that a search has written.

    Args:
        path: the file.
        build: returns it from the content, which may hold anything; if that fails, the file is damaged.

    Raises:
        ValueError: it is not as a search writes it, so something else has changed it since.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
        if not isinstance(content, dict):
            raise TypeError
        if content.pop(CHECKSUM) != _checksum(content):
            raise ValueError
        return build(content)
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError):
        raise ValueError(damaged(path)) from None


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def numbers(content: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers by name that a record holds."""
    return {name: float(value) for name, value in content.items()}


def has_trained(folder: Path) -> bool:
    """Tell whether a search has come to anything in a folder yet."""
    return any(folder.glob(f"{CANDIDATES}/*/step_*.json"))


def damaged(path: Path) -> str:
    """Return what is said of a file that something else has changed."""
    return f"{path} is damaged, or was changed since it was written: choose another folder, or overwrite it"


def _differences(before: Any, now: Any, name: str = "") -> Iterator[str]:
    """Yield the dotted names of what differs, as deep as both sides have names."""
    if isinstance(before, Mapping) and isinstance(now, Mapping) and before and now:
        for key in sorted({*before, *now}, key=str):
            yield from _differences(before.get(key), now.get(key), f"{name}.{key}" if name else str(key))
    elif before != now:
        yield name


class Records:
    """One folder a candidate, with its checkpoints and one JSON a rung, written once the rung is done.

    Each file is written in one step, a checkpoint before the JSON that counts it. So a process can be killed
    at any moment: called again, it reads what is there and trains only what is missing.

    Args:
        folder: the folder of the search.
        settings: all that the outcome depends on, as plain values; a folder of other settings is refused.
        overwrite: whether a search that is there is removed first, and nothing else.
        called: what errors call settings, by their names, where they have others for the user.

    Raises:
        ValueError: the folder holds another search, or something else.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, Any],
        overwrite: bool = False,
        called: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.folder = folder
        content = json.loads(json.dumps({"version": VERSION, **settings}))
        path = folder / SEARCH
        if path.exists() and overwrite:
            shutil.rmtree(folder / CANDIDATES, ignore_errors=True)
            write_record(path, content)
        elif path.exists():
            if other := list(_differences(read_record(path, dict), content)):
                names = [called.get(name, name) for name in other]
                named = ", ".join(names[:3]) + f" and {len(other) - 3} more" * (len(other) > 3)
                raise ValueError(
                    f"{folder} holds a search that differs in {named}: choose another folder, or overwrite it"
                )
        elif folder.exists() and not all(each.name.startswith(".") for each in folder.iterdir()):
            raise ValueError(f"{folder} is not empty and holds no search: choose another folder")
        else:
            write_record(path, content)

    def candidate_folder(self, number: int) -> Path:
        """Return the folder of a candidate, which holds its checkpoints."""
        return self.folder / CANDIDATES / f"{number:02d}"

    def outcome(self, job: Job, step: int | None = None) -> Outcome | None:
        """Return what came of a candidate, None if that is not done.

        Args:
            job: whose.
            step: at which rung; None is that of the job.

        Raises:
            ValueError: another candidate had that number.
        """
        path = self._file(job.number, job.step if step is None else step)
        if not path.exists():
            return None
        told, outcome = read_record(
            path, lambda content: (dict(content["candidate"]), Outcome.from_plain(content))
        )
        if told != json.loads(json.dumps(job.candidate.to_plain())):
            raise ValueError(
                f"{path} is of another candidate, {told.get('name')!r}, than {job.candidate.name!r}, which "
                "is proposed now: choose another folder, or overwrite it"
            )
        return outcome

    def state(self, number: int, step: int) -> Path:
        """Return where the checkpoint is from which a candidate goes on after a rung."""
        return self.candidate_folder(number) / f"step_{step}.ckpt"

    def start_of(self, job: Job) -> tuple[Path | None, Outcome | None]:
        """Return from which checkpoint a job goes on, and what its candidate has come to by then.

        One whose checkpoint is gone begins anew, and comes to the same.
        """
        steps = [step for step in self._steps(job.number) if step < job.step]
        steps = [step for step in steps if self.state(job.number, step).exists()]
        if not steps:
            return None, None
        return self.state(job.number, max(steps)), self.outcome(job, max(steps))

    def note(self, job: Job, outcome: Outcome) -> None:
        """Write what came of a job, and remove the checkpoints from which earlier ones went on."""
        content = {"candidate": job.candidate.to_plain(), **outcome.to_plain()}
        write_record(self._file(job.number, job.step), content)
        self._tidy(job)

    def leave(self, number: int) -> None:
        """Remove the checkpoints of a candidate that is out; nobody goes on from them."""
        for path in self.candidate_folder(number).rglob("*.ckpt"):
            path.unlink(missing_ok=True)

    def remembering(self, execute: Execute) -> Execute:
        """Return an executor that takes what is done from the records; what is not is executed and noted."""

        def run(jobs: Sequence[Job]) -> Iterator[tuple[Job, Outcome]]:
            missing = []
            for job in jobs:
                outcome = self.outcome(job)
                if outcome is None:
                    missing.append(job)
                else:
                    self._tidy(job)
                    yield job, outcome
            for job, outcome in execute(missing) if missing else ():
                self.note(job, outcome)
                yield job, outcome

        return run

    def _steps(self, number: int) -> list[int]:
        """Return the rungs at which a candidate has been, ascending."""
        names = (path.stem for path in self.candidate_folder(number).glob("step_*.json"))
        steps = (name.removeprefix("step_") for name in names)
        return sorted(int(step) for step in steps if step.isdecimal())

    def _tidy(self, job: Job) -> None:
        for step in self._steps(job.number):
            if step < job.step:
                self.state(job.number, step).unlink(missing_ok=True)

    def _file(self, number: int, step: int) -> Path:
        return self.candidate_folder(number) / f"step_{step}.json"
