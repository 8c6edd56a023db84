"""The runs of a search by the clock: each turn of a design is a fit that is taken up where it was."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from lightning_croloss.cli.messages import say
from lightning_croloss.cli.tune.base import Base, Config
from lightning_croloss.cli.tune.configs import judged_by, run_config, settings
from lightning_croloss.cli.tune.folder import open_records
from lightning_croloss.cli.tune.mirrors import Mirrors
from lightning_croloss.cli.tune.runs import CONFIG, TaskRunner, best_checkpoint, refuse_to_go_on
from lightning_croloss.cli.tune.table.clock import spent_before
from lightning_croloss.cli.tune.table.state import Progress, Standing, State, read_state, write_state
from lightning_croloss.common.files import write_atomically
from lightning_croloss.tuning.by_the_clock import NEVER
from lightning_croloss.tuning.candidate import Candidate
from lightning_croloss.tuning.designs import Design, config_of
from lightning_croloss.tuning.from_data import Decisions
from lightning_croloss.tuning.objective import Objective
from lightning_croloss.tuning.study import COMPLETE, FAILED, PRUNED, RUNNING, MirroredTrial
from lightning_croloss.tuning.table_statistics import Statistics
from lightning_croloss.tuning.timed_search import TimedSearch
from lightning_croloss.tuning.tracks import Job, Track, Turn

#: Training steps after which designs are told apart, if an epoch has more.
TELLING = 2_000
#: Share of the time that the first turn may take where already beginning it takes long.
ALONE = 0.5


class TableRuns:
    """The runs of a search.

    Args:
        folder: the folder of the search.
        settings: the config that the user has set, on which the outcome depends.
        objective: what is looked for.
        minutes: what all of it may take.
        overwrite: whether the folder may hold another search, which is then removed.
    """

    def __init__(
        self,
        folder: Path,
        settings: Config,
        objective: Objective,
        minutes: float,
        overwrite: bool = False,
    ) -> None:
        told = {"config": settings, "objectives": [objective.to_plain()], "minutes": minutes}
        self.records = open_records(folder, told, overwrite)
        self.folder = folder
        self.objective = objective
        self.minutes = minutes
        self.search: TimedSearch[Design] | None = None
        self.progress: list[Progress] = []
        self.began = time.monotonic()
        state = read_state(folder)
        #: Seconds that were spent before this command.
        # before its first turn was over nothing was gained that counts
        self.elapsed = max(state.elapsed, spent_before(folder)) if state else 0.0
        self._state = state or State()
        #: Whether the search is over, so that what it has found is handed back again.
        self.finished = self._state.finished
        #: What a turn takes besides training, as the latest one shows.
        self.besides = self._state.besides
        #: What a validation takes.
        self.validation = 0.0
        self._end: tuple[float, float, float] | None = None
        self._mirrors: Mirrors | None = None
        self._expected: list[Mapping[str, Any]] = []

    @property
    def tracks(self) -> list[Track[Design]]:
        """All that was tried."""
        assert self.search is not None
        return self.search.tracks

    def prepare(
        self,
        workers: TaskRunner,
        found: Statistics,
        decisions: Decisions,
        base: Base,
        cache: Path | None,
        gpus: bool = False,
    ) -> None:
        """Give what the runs need.

        Args:
            workers: what does the work.
            found: what the table is like.
            decisions: how it is trained on.
            base: what the user has set.
            cache: where runs keep what was prepared; None prepares it every time.
            gpus: whether there are several GPUs, of which a run takes one.
        """
        self.workers, self.found, self.decisions = workers, found, decisions
        self.base, self.cache, self._gpus = base, cache, gpus

    def mirror_in(self, mirrors: Mirrors) -> None:
        """Let studies of Optuna follow the search."""
        self._mirrors = mirrors

    def keep_for_the_end(self, end: float, seconds: float, tests: float) -> None:
        """Move the deadline of the search to what the end will need, as soon as that is known.

        Args:
            end: when all is to be over.
            seconds: what the end takes besides the test.
            tests: how long the test takes, relative to what a turn costs besides training.
        """
        self._end = end, seconds, tests

    def restored(
        self, first: Sequence[Design], around: Callable[[Design], Sequence[Design]]
    ) -> list[Track[Design]]:
        """Return how the designs stand that were trained before this command."""
        known = {each.name: each for each in first}
        near = [more for each in first for more in around(each)]
        near += [more for each in near for more in around(each)]
        self._expected = [settings_of(design) for design in [*first, *near]]
        tracks: list[Track[Design]] = []
        for each in self._state.tracks:
            if each.name not in known:  # it was tried around one of those before it
                known |= {more.name: more for track in tracks for more in around(track.design)}
            if each.name not in known:
                raise ValueError(
                    f"--output: {self.folder} holds a search of another release, which tries other settings: "
                    "choose another folder"
                )
            design, values = known[each.name], list(each.values)
            moments, cooled = _moments(each.progress, each.trained), each.progress.falling is not None
            stands = each.trained, each.spent, values, each.settled, each.error, cooled, moments
            tracks.append(Track(design, design.family, *stands))
            self.progress.append(each.progress)
        return tracks

    def config_of(self, design: Design) -> Config:
        """Return the config of a design, without length and callbacks."""
        given = self.base.config["data"]["init_args"]
        config = config_of(design, self.decisions, given, self.found, self.base.seed)
        config["trainer"] |= self.base.config.get("trainer", {})
        return config

    def advance(self, jobs: Sequence[Job[Design]]) -> Iterator[tuple[int, Turn]]:
        """Train designs on, side by side, and validate them, each in so many seconds altogether."""
        while len(self.progress) <= max(job.number for job in jobs):
            self.progress.append(Progress())
        tasks = [self._task(job) for job in jobs]
        began = time.monotonic()
        for at, answer in self.workers.run(tasks):
            number = jobs[at].number
            before = self._saved(number)
            turn = self._turn(jobs[at], answer, tasks[at], time.monotonic() - began)
            yield number, turn
            self._write()
            if before is not None and turn.error is None:  # nobody goes on from it any more
                before.unlink(missing_ok=True)
            self._move_deadline()

    def _saved(self, number: int) -> Path | None:
        """Return the file from which a design goes on."""
        name = self.progress[number].state
        return None if name is None else self.records.candidate_folder(number) / name

    def _task(self, job: Job[Design]) -> dict[str, Any]:
        assert self.search is not None
        number, track, seconds, cool = job
        progress = self.progress[number]
        folder = self.records.candidate_folder(number)
        save, resume = folder / f"state_{len(track.values)}.ckpt", self._saved(number)
        task: dict[str, Any] = {
            "do": "train_for",
            "config": str(self._written(track.design, folder)),
            "seconds": seconds,
            "objective": self.objective.to_plain(),
            "save": str(save),
            "resume": None if resume is None else str(resume),
            "trained": track.trained,
            "validations": progress.validations,
            "validation": self.validation,
        }
        if cool:
            training = max(0.0, seconds - self.besides - self.validation)
            steps = max(1, int(training * progress.step / track.trained)) if track.trained else 1
            task |= {"falling": [progress.step, progress.step + steps], "steps": progress.step + steps}
        if not any(each.values for each in self.search.tracks):
            # nothing is known of the speed: on a slow machine this may be all that there is time for
            task["at_most"] = ALONE * max(0.0, self.search.longest)
        return task

    def _turn(
        self, job: Job[Design], answer: Mapping[str, Any], task: Mapping[str, Any], took: float
    ) -> Turn:
        """Return what came of a task, and note how far its design has been trained."""
        number, track = job.number, job.track
        progress = self.progress[number]
        if "error" in answer:
            refuse_to_go_on(answer)
            say(f"  {track.design.name} failed: {answer['error']}")
            return Turn(error=answer["error"])
        result: Mapping[str, Any] = answer["result"]
        values = tuple(value for _, value in result["validations"][len(track.values) :])
        steps = int(result["step"]) - progress.step
        progress.step, progress.epoch = int(result["step"]), max(1, int(result["epoch"]))
        telling = float(result["trained"]) * min(progress.epoch, TELLING) / max(1, steps)
        self.besides = float(result["besides"])
        self.validation = float(result["validation"])
        progress.validations = result["validations"]
        progress.best_step = int(max(progress.validations, key=lambda each: each[1])[0])
        progress.state, progress.falling = Path(task["save"]).name, task.get("falling")
        moments = _moments(progress, track.trained + result["trained"])[len(track.values) :]
        epochs, reached = progress.step / progress.epoch, max(track.best, *values)
        how = "; the learning rate fell to none" if job.cool else ""
        say(
            f"  {track.design.name}: {self.objective} {reached:.4f} by {epochs:.3g} epochs, {took:.0f} s{how}"
        )
        return Turn(values, tuple(moments), result["trained"], result["besides"], result["settled"], telling)

    def finish(self) -> None:
        """Note that the search is over."""
        self.finished = True
        self._write()

    def best_checkpoint(self, number: int) -> Path:
        """Return the best checkpoint of a design."""
        return best_checkpoint(self.records.candidate_folder(number), self.objective)

    def run_config(self, number: int) -> Path:
        """Return the config of the run of a design."""
        return self.records.candidate_folder(number) / CONFIG

    def seed_folder(self, number: int, seed: int) -> Path:
        """Return the folder of a run of a design with another seed."""
        return self.folder / "seeds" / f"{number:02d}_{seed}"

    def seed_config(self, number: int, seed: int) -> Path:
        """Write the config of such a run, and return the file."""
        return self._written(self.tracks[number].design, self.seed_folder(number, seed), seed)

    def _written(self, design: Design, folder: Path, seed: int | None = None) -> Path:
        config = judged_by(self.config_of(design), [self.objective])
        if seed is not None:
            config["seed_everything"] = seed
        name = design.name if seed is None else f"{design.name}, seed {seed}"
        logged = config["trainer"].get("logger")
        config = run_config(config, folder.absolute(), name, self.folder.resolve().name, self._gpus)
        trainer = config["trainer"]
        if not logged:  # what a design reaches is in the tables
            trainer["logger"] = False
        trainer |= {"max_epochs": NEVER, "val_check_interval": NEVER}
        trainer["check_val_every_n_epoch"] = None
        if self.cache is not None:
            config["data"]["init_args"]["cache_dir"] = str(self.cache)
        path = folder / CONFIG
        write_atomically(path, yaml.safe_dump(config, sort_keys=False, allow_unicode=True).encode())
        return path

    def _move_deadline(self) -> None:
        if self._end is not None and self.search is not None:
            end, seconds, tests = self._end
            self.search.deadline = end - seconds - tests * self.besides

    def _write(self) -> None:
        """Write how all designs stand."""
        tracks = [
            Standing(
                track.design.name,
                track.trained,
                track.spent,
                track.values,
                track.settled,
                track.error,
                progress,
            )
            for track, progress in zip(self.tracks, self.progress, strict=True)
        ]
        elapsed = time.monotonic() - self.began
        write_state(self.folder, State(elapsed, self.besides, self.finished, tracks))
        if self._mirrors is not None:
            self._mirrors.write(lambda _: self._trials(), self._expected)

    def _trials(self) -> list[MirroredTrial]:
        """Return the designs as trials: the winner and what gained no more are complete at the end."""
        assert self.search is not None
        trials = []
        for number, (track, progress) in enumerate(zip(self.search.tracks, self.progress, strict=True)):
            state, value = RUNNING, None
            attributes: dict[str, Any] = {"seconds": round(track.spent, 1)}
            if track.error is not None:
                state, attributes["error"] = FAILED, track.error
            elif self.finished and (track.settled or track.cooled or number == self.search.best):
                state, value = COMPLETE, track.best
            elif self.finished:
                state = PRUNED
            values = {int(step): value for step, value in progress.validations}
            params = settings_of(track.design)
            trials.append(MirroredTrial(track.design.name, params, values, state, value, attributes))
        return trials


def _moments(progress: Progress, trained: float) -> list[float]:
    """Return the seconds of training before each validation of a design, which had so many in all."""
    return [trained * step / max(1, progress.step) for step, _ in progress.validations]


def settings_of(design: Design) -> dict[str, Any]:
    """Return what tells a design from others, flat."""
    fields = {"model": design.family, "features": design.features, "learning_rate": design.learning_rate}
    return settings(Candidate(design.name, design.loss.loss, {**fields, **design.arguments}))


__all__ = ["TableRuns", "settings_of"]
