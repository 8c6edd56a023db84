"""``croloss tune --interactions``: seeds, storage, loggers and processes, with nothing trained."""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from lightning_croloss.cli.tune.report import config_text, next_commands
from lightning_croloss.cli.tune.run_cli import built_run
from lightning_croloss.cli.tune.table.clock import SpentTime, spent_before
from lightning_croloss.cli.tune.table.state import Progress, Standing, State, read_state, write_state
from lightning_croloss.tuning.records import write_record
from tests.cli.cases import error_of
from tests.cli.tune_tables import Pretended, tune, write_events_with_rare_items, write_tables
from tests.cli.tuning import NoMirrors, open_files

pytest.importorskip("polars", reason="needs the extra [tables]")
pytest.importorskip("scipy", reason="item kNN needs scipy")
pytestmark = pytest.mark.filterwarnings("ignore")

WORDS = ["--n", "5", "--output", "out"]
TABLE = ["--interactions=events.parquet", "--user_column=customer", "--minutes=9"]


quick = pytest.mark.usefixtures("without_storage")


@pytest.fixture
def without_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightning_croloss.cli.tune.table.command.Mirrors", NoMirrors)


@pytest.fixture(autouse=True)
def pretended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pretended:
    """Be in a folder with tables, and let no work be done."""
    monkeypatch.chdir(tmp_path)
    write_tables()
    workers = Pretended()

    def made(processes: int, *_: Any) -> Pretended:
        workers.processes = processes
        return workers

    monkeypatch.setattr("lightning_croloss.cli.tune.table.command.make_workers", made)
    monkeypatch.setattr("lightning_croloss.cli.tune.table.command.variants", lambda *_: [])
    return workers


def state() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(Path("out/state.json").read_text())
    return content


@quick
def test_the_winner_is_trained_with_further_seeds(
    pretended: Pretended, capsys: pytest.CaptureFixture[str]
) -> None:
    tune(*WORDS, "--seeds", "3", minutes=9)
    assert "0.5100 ± 0.0100" in capsys.readouterr().out
    assert json.loads(Path("out/seeds_n5.json").read_text())["seeds"] == [42, 43, 44]
    assert len(Path("out/seeds_n5.csv").read_text().splitlines()) == 4
    trained = [task for task in pretended.tasks if "seeds" in task["config"] and task["do"] == "train_for"]
    configs = [yaml.safe_load(Path(task["config"]).read_text()) for task in trained]
    assert [config["seed_everything"] for config in configs] == [43, 44]
    assert all(config["model"]["class_path"] == "YouTubeDNN" for config in configs)
    winner = state()["tracks"][0]["progress"]
    assert winner["falling"] == [10, winner["step"]]
    # as the winner, whatever its speed
    assert all((task["steps"], task["falling"]) == (winner["step"], winner["falling"]) for task in trained)
    assert 0 < trained[1]["seconds"] <= 9 * 60
    assert 1.9 < trained[1]["seconds"] / trained[0]["seconds"] < 2.1  # what is left is shared
    number = len(pretended.tasks)
    tune(*WORDS, "--seeds", "3", minutes=9)
    assert [task["do"] for task in pretended.tasks[number:]] == ["test_users"]


@quick
@pytest.mark.parametrize("gain", [0.0, 0.1])
def test_the_config_has_the_rate_that_was_best(
    pretended: Pretended, monkeypatch: pytest.MonkeyPatch, gain: float
) -> None:
    train_for = pretended.train_for

    def gaining(task: dict[str, Any]) -> dict[str, Any]:
        found = train_for(task)
        if task.get("falling"):
            found["validations"][-1][1] += gain
        return found

    monkeypatch.setattr(pretended, "train_for", gaining)
    tune(*WORDS, minutes=9)
    best = max(state()["tracks"], key=lambda track: float(max(track["values"])))
    begin, end = best["progress"]["falling"]
    text = Path("out/best_n5.yaml").read_text()
    config = yaml.safe_load(text)
    assert "lr_scheduler" not in config["model"]["init_args"] or gain
    if not gain:
        assert config["trainer"]["max_epochs"] == 3  # half as many again as the two of the best
        return
    assert f"# as it was for the last {end - begin} steps, over which it falls to none" in text
    assert config["trainer"]["max_epochs"] == math.ceil(end / 5)
    run = built_run("out/best_n5.yaml")
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    scheduler = run.model._optimization.lr_scheduler(optimizer)
    rates = []
    for _ in range(end):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    falling = [1 - step / (end - begin) for step in range(end - begin)]
    assert rates == pytest.approx([1.0] * begin + falling)


@quick
def test_all_is_decided_by_the_catalogue_that_the_filters_leave(
    pretended: Pretended, capsys: pytest.CaptureFixture[str]
) -> None:
    write_events_with_rare_items()
    said = error_of(capsys, "tune", *TABLE, "--n=100")
    assert "--n 100: only 60 of the table's 180 items are left" in said
    tune(*WORDS, "--items=items.parquet", minutes=9)
    config = yaml.safe_load(Path("out/best_n5.yaml").read_text())
    assert config["model"]["init_args"]["ns"] == [5, 20, 50]
    told = capsys.readouterr().err
    assert "60 items are few enough to compare with all of them" in told
    assert ", 60 items and " in told
    assert "are left by the filters below" in told


@quick
def test_what_is_printed_can_be_pasted(pretended: Pretended, capsys: pytest.CaptureFixture[str]) -> None:
    import polars as pl

    events = pl.read_parquet("events.parquet")
    for name, part in (("part 1", events[:600]), ("part 2", events[600:])):
        part.write_parquet(f"{name}.parquet")
    pretended.besides = 60.0
    tune(
        "--interactions=[part 1.parquet, part 2.parquet]",
        "--n=5",
        "--output=my out",
        "--seeds=7,8",
        minutes=0.5,
    )
    told = capsys.readouterr()
    assert "croloss fit --config 'my out/best_n5.yaml' --seeds 7,8\n" in told.err
    for command in (
        "recommend:  croloss recommend --model 'my out/best_n5.ckpt' --histories 'part 1.parquet' --n 5\n",
        "            (of all 2 tables at once, if they are in one folder)\n",
        "export:     croloss export --model 'my out/best_n5.ckpt' --output served\n",
        "train on:   croloss fit --config 'my out/best_n5.yaml'\n",
    ):
        assert command in told.out
    text = Path("my out/best_n5.yaml").read_text()
    assert "#   croloss fit --config 'my out/best_n5.yaml'\n" in text
    assert "# part 1.parquet, part 2.parquet in 0.5 minutes by\n" in text


def test_commands_of_a_model_whose_data_are_not_of_tables() -> None:
    recommend, export = next_commands(Path("a b/best.ckpt"), 7)
    assert recommend == (
        "recommend:  croloss recommend --model 'a b/best.ckpt' --histories events.parquet --n 7"
    )
    assert export == "export:     croloss export --model 'a b/best.ckpt' --output served"
    text = config_text({"seed_everything": 1}, Path("a b/best.yaml"), ["told"])
    assert text.startswith("# told\n#\n#   croloss fit --config 'a b/best.yaml'\n")


@quick
def test_seeds_for_which_there_is_no_time(pretended: Pretended, capsys: pytest.CaptureFixture[str]) -> None:
    pretended.besides = 60.0
    tune(*WORDS, "--seeds", "7,8", minutes=0.5)
    told = capsys.readouterr()
    assert "--seeds: there is no time for 2 of 3 seeds" in told.err
    assert "croloss fit --config out/best_n5.yaml --seeds 7,8" in told.err
    assert "winner:     YouTubeDNN" in told.out
    assert not Path("out/seeds_n5.json").exists()


def test_the_search_is_followed_in_a_storage(pretended: Pretended) -> None:
    optuna = pytest.importorskip("optuna", reason="needs the extra [tune]")
    pretended.answers = {"class_path: GRU4Rec": {"error": "it does not learn"}}
    tune(*WORDS, "--storage", "sqlite:///all.db", minutes=9)
    tune(*WORDS, "--storage", "sqlite:///all.db", minutes=9)  # nothing is written twice
    assert not Path("out/optuna.db").exists()
    assert not open_files("all.db")
    study = optuna.load_study(study_name="out recall@5", storage="sqlite:///all.db")
    tracks = state()["tracks"]
    assert [trial.user_attrs["name"] for trial in study.trials] == [track["name"] for track in tracks]
    (failed,) = (trial for trial in study.trials if trial.params["model"] == "GRU4Rec")
    assert (failed.state.name, failed.user_attrs["error"]) == ("FAIL", "it does not learn")
    assert study.best_trial.params["model"] == "YouTubeDNN"
    assert study.best_value == 0.3
    (winner, *_) = tracks
    assert study.best_trial.intermediate_values == {10: 0.3, winner["progress"]["step"]: 0.3}


def test_a_storage_that_cannot_be_used(pretended: Pretended, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("optuna", reason="needs the extra [tune]")
    said = error_of(capsys, "tune", *TABLE, *WORDS, "--storage=sqlite:////none/there/x.db")
    assert "storage 'sqlite:////none/there/x.db' cannot be used" in said
    assert not pretended.tasks
    assert not Path("out").exists()


@quick
def test_a_logger_of_the_user_follows_every_run(pretended: Pretended) -> None:
    tune(*WORDS, "--trainer.logger=WandbLogger", "--trainer.logger.offline=true", minutes=9)
    logger = yaml.safe_load(Path("out/candidates/00/config.yaml").read_text())["trainer"]["logger"]
    assert logger["init_args"]["name"].startswith("YouTubeDNN")
    assert logger["dict_kwargs"]["group"] == "out"
    assert yaml.safe_load(Path("out/best_n5.yaml").read_text())["trainer"]["logger"]["init_args"]["offline"]


@quick
def test_without_a_logger_nothing_is_logged(pretended: Pretended) -> None:
    tune(*WORDS, minutes=9)
    assert yaml.safe_load(Path("out/candidates/00/config.yaml").read_text())["trainer"]["logger"] is False
    assert "logger" not in yaml.safe_load(Path("out/best_n5.yaml").read_text())["trainer"]


@quick
def test_models_are_trained_side_by_side(pretended: Pretended) -> None:
    tune(*WORDS, "--processes", "3", "--seeds", "4", minutes=9)
    assert pretended.processes == 3
    assert max(pretended.side_by_side) == 3
    assert pretended.side_by_side[-2:] == [3, 3]  # the seeds, and their tests
    assert len(state()["tracks"]) == len(list(Path("out/candidates").iterdir()))
    assert json.loads(Path("out/seeds_n5.json").read_text())["seeds"] == [42, 43, 44, 45]


@quick
@pytest.mark.parametrize("processes", [1, 2])
def test_ended_in_the_midst_of_a_turn_it_goes_on(
    pretended: Pretended,
    processes: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = [*WORDS, f"--processes={processes}"]
    train_for = pretended.train_for

    def interrupted(task: dict[str, Any]) -> dict[str, Any]:
        if "class_path: SASRec" in Path(task["config"]).read_text():
            raise KeyboardInterrupt
        return train_for(task)

    monkeypatch.setattr(pretended, "train_for", interrupted)
    with pytest.raises(SystemExit) as caught:
        tune(*words, minutes=9)
    assert caught.value.code == 130
    assert "interrupted; go on with: croloss tune --interactions=events.parquet" in capsys.readouterr().err
    begun = state()["tracks"] if Path("out/state.json").exists() else []
    assert not Path("out/best_n5.yaml").exists()
    monkeypatch.setattr(pretended, "train_for", train_for)
    number = len(pretended.tasks)
    tune(*words, minutes=9)
    tracks = state()["tracks"]
    assert [track["name"] for track in tracks[: len(begun)]] == [track["name"] for track in begun]
    cooled = [track["progress"]["falling"] is not None for track in tracks]
    assert [len(track["values"]) for track in tracks] == [1 + each for each in cooled]
    assert [max(track["values"]) == 0.3 for track in tracks] == cooled
    again = [task for task in pretended.tasks[number:] if task["do"] == "train_for" and "falling" not in task]
    assert len(again) == len(tracks) - sum(bool(track["values"]) for track in begun)


@quick
def test_the_time_spent_counts_even_if_the_command_is_killed(
    pretended: Pretended, capsys: pytest.CaptureFixture[str]
) -> None:
    tune(*WORDS, minutes=9)
    content = state()
    del content["checksum"]
    content |= {"finished": False, "tracks": content["tracks"][:1]}
    write_record(Path("out/state.json"), content)
    write_record(Path("out/spent.json"), {"seconds": 535.0})
    number = len(pretended.tasks)
    tune(*WORDS, minutes=9)
    assert [task["do"] for task in pretended.tasks[number:]] == ["test_users"]
    assert "of 540 s" in capsys.readouterr().err
    # what was killed before its first turn has gained nothing
    Path("out/state.json").unlink()
    tune(*WORDS, minutes=9)
    assert len(state()["tracks"]) > 1


@pytest.mark.parametrize("saved", ["state_1.ckpt", "out/candidates/00/state_1.ckpt", "../../state_1.ckpt"])
def test_a_design_goes_on_from_its_own_folder(tmp_path: Path, saved: str) -> None:
    progress = Progress(step=3, epoch=2, validations=[[3, 0.5]], state=saved)
    write_state(tmp_path, State(1.0, 0.5, False, [Standing("mine", 1.0, 2.0, [0.5], False, None, progress)]))
    found = read_state(tmp_path)
    assert found is not None
    (standing,) = found.tracks
    assert standing.progress == replace(progress, state="state_1.ckpt")  # whatever the file says


def test_the_time_is_noted_while_it_goes_on(tmp_path: Path) -> None:
    assert spent_before(tmp_path) == 0.0
    with SpentTime(tmp_path, time.monotonic() - 100, period=0.01):
        first = spent_before(tmp_path)
        assert first >= 100
        end = time.monotonic() + 60
        while spent_before(tmp_path) == first:
            assert time.monotonic() < end
            time.sleep(0.01)


@quick
def test_a_full_disk_ends_the_search_and_is_no_models_fault(
    pretended: Pretended, capsys: pytest.CaptureFixture[str]
) -> None:
    full = {"error": "No space left on device: x could not be written", "ends": True}
    pretended.answers = {"class_path: SASRec": full}
    said = error_of(capsys, "tune", *TABLE, *WORDS)
    assert said.startswith("No space left on device")
    assert "the same command goes on" in said
    pretended.answers = {}
    tune(*WORDS, minutes=9)
    assert all(track["error"] is None for track in state()["tracks"])


@quick
def test_a_search_that_has_trained_nothing_makes_room(
    pretended: Pretended, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("out").mkdir()  # a folder of the user's, which stays
    error_of(capsys, "tune", *TABLE, *WORDS, "--item_column=article")
    assert Path("out/search.json").exists()
    tune(*WORDS, minutes=9)  # the mistake is mended
    assert Path("out/best_n5.yaml").exists()


@quick
def test_only_what_is_a_searchs_own_is_replaced(
    pretended: Pretended, capsys: pytest.CaptureFixture[str]
) -> None:
    tune(*WORDS, minutes=9)
    Path("out/notes.txt").write_text("mine")
    from_config = ("tune", "--config", "out/best_n5.yaml", *WORDS)
    lost = "--output out/best_n5.yaml is a file of --config, which would be lost"
    assert error_of(capsys, *from_config).startswith(lost)
    assert Path("out/best_n5.ckpt").exists()
    said = error_of(capsys, "tune", *TABLE, *WORDS, "--seed_everything=7")
    assert said.startswith("--output: out holds a search that differs in config")
    tune(*WORDS, "--seed_everything=7", "--overwrite", minutes=9)
    assert yaml.safe_load(Path("out/best_n5.yaml").read_text())["seed_everything"] == 7
    assert Path("out/notes.txt").read_text() == "mine"


@quick
def test_an_output_that_cannot_be_written(
    pretended: Pretended, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("file").write_text("mine")
    said = error_of(capsys, "tune", *TABLE, "--n=5", "--output=file")
    assert said.startswith("--output file is a file: choose another folder")
    monkeypatch.setattr("os.access", lambda *_: False)  # as on a file system that is read only
    said = error_of(capsys, "tune", *TABLE, "--n=5", "--output=some/out")
    assert said.startswith("--output some/out: ")
    assert "cannot be written to: choose another folder" in said
    assert not Path("some").exists()
    assert not pretended.tasks
