"""``croloss tune``: what it tries, hands back and refuses; here no model is trained."""

from __future__ import annotations

import errno
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from lightning_croloss.cli import main
from lightning_croloss.cli.tune.base import Base, refuse_unfit
from lightning_croloss.cli.tune.mirrors import Mirrors
from lightning_croloss.cli.tune.options import default_output, parse_words, split_words
from lightning_croloss.cli.tune.settings import read_section
from lightning_croloss.cli.tune.worker import answer_to
from lightning_croloss.cli.tune.workers import THREADS, VISIBLE, _environment
from lightning_croloss.errors import NotEnoughSpaceError
from lightning_croloss.tuning.objective import Objective
from lightning_croloss.tuning.study import Mirror, check_storage, reason
from tests.cli.cases import error_of
from tests.cli.tuning import CONFIG, LOSSES, NoMirrors, Pretended, open_files, pretended, rungs, tune, write

__all__ = ["pretended"]
pytestmark = [pytest.mark.filterwarnings("ignore")]
quick = pytest.mark.usefixtures("without_storage")


@pytest.fixture(autouse=True)
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightning_croloss.cli.tune.results.plot_curves", lambda *_, **__: None)


@pytest.fixture
def without_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightning_croloss.cli.tune.progress.Mirrors", NoMirrors)


def best(path: str) -> Any:
    return yaml.safe_load(Path(path).read_text())


@quick
def test_the_best_is_handed_back(pretended: Pretended, capsys: pytest.CaptureFixture[str]) -> None:
    tune(*write(), "--n", "10", "--trainer.max_epochs=3", "--output", "out")
    config = best("out/best_n10.yaml")
    assert config["model"]["init_args"]["loss"] == LOSSES[1]
    assert config["model"]["init_args"]["ns"] == [5, 10]
    assert config["trainer"]["max_epochs"] == 3
    assert "tune" not in config
    kept, stopping = config["trainer"]["callbacks"]
    assert kept["init_args"] == {
        "monitor": "val/recall@10",
        "mode": "max",
        "filename": "best",
        "auto_insert_metric_name": False,
    }
    assert stopping["init_args"] == {"monitor": "val/recall@10", "mode": "max", "patience": 9}
    said = Path("out/best_n10.yaml").read_text()
    assert said.startswith("# recall@10 of the test: 0.5000; recall@10 of the validation: 0.1250\n")
    command = "croloss tune --config mine.yaml --n 10 --trainer.max_epochs=3 --output out"
    assert f"#   {command}\n" in said
    assert "#   croloss fit --config out/best_n10.yaml\n" in said
    assert Path("out/best_n10.ckpt").is_file()
    told = capsys.readouterr()
    assert "CROLoss, kernel softplus, temperature 0.2" in told.out
    assert "croloss recommend --model out/best_n10.ckpt --histories events.parquet --n 10" in told.out
    assert [row["rung"] for row in rungs("out")] == ["1"] * 3 + ["2"] * 2


@quick
def test_jobs_are_ordinary_fits(pretended: Pretended) -> None:
    tune(*write(), "--n", "10", "--output", "out")
    (measured, *others) = pretended.tasks
    assert measured["do"] == "measure"
    trained = [task for task in others if task["do"] == "train"]
    assert [task["step"] for task in trained] == [32] * 3 + [None] * 2
    assert [task["resume"] is None for task in trained] == [True] * 3 + [False] * 2
    config = yaml.safe_load(Path("out/candidates/01/config.yaml").read_text())
    assert config["trainer"]["logger"]["init_args"] == {
        "save_dir": str(Path("out/candidates/01").absolute()),
        "name": "logs",
    }
    kept = [entry for entry in config["trainer"]["callbacks"] if "Checkpoint" in entry["class_path"]]
    assert kept[0]["init_args"]["dirpath"] == str(Path("out/candidates/01/checkpoints").absolute())
    # who is out leaves nothing that goes on
    assert not list(Path("out/candidates/02").glob("*.ckpt"))


@quick
def test_the_default_folder_is_found_again(pretended: Pretended, capsys: pytest.CaptureFixture[str]) -> None:
    tune(*write("my shop.yaml"), "--n", "10")
    assert Path("runs/tune/my_shop_n10/best_n10.yaml").is_file()
    changed = Path("runs/tune/my_shop_n10/best_n10.yaml")
    changed.write_text(changed.read_text().replace("max_epochs: 4", "max_epochs: 8"))
    number = len(pretended.tasks)
    capsys.readouterr()
    tune("--config", "my shop.yaml", "--n", "10")
    assert len(pretended.tasks) == number  # all of it is known
    assert "CROLoss, kernel softplus, temperature 0.2" in capsys.readouterr().out
    assert best(str(changed))["trainer"]["max_epochs"] == 8  # what the user has changed since stays
    assert default_output("a/b.yaml", [20, 100]) == Path("runs/tune/b_n20_100")
    assert default_output("{trainer: {}}\n", [20]) == Path("runs/tune/search_n20")


@quick
def test_another_search_keeps_its_folder(pretended: Pretended, capsys: pytest.CaptureFixture[str]) -> None:
    tune(*write(), "--n", "10", "--output", "out")
    Path("out/notes.txt").write_text("mine")
    before = Path("out/best_n10.yaml").read_text()
    said = error_of(capsys, "tune", *write(), "--n", "10", "--output", "out", "--fits", "3")
    assert said.startswith("--output: out holds a search that differs in --fits: choose")
    said = error_of(capsys, "tune", *write(), "--n", "5", "--output", "out")
    assert "differs in what is looked for (--n, --weights, --objective): choose" in said
    assert Path("out/best_n10.yaml").read_text() == before
    tune(*write(), "--n", "10", "--output", "out", "--fits", "3", "--overwrite")
    assert "--fits 3" in Path("out/best_n10.yaml").read_text()
    assert Path("out/notes.txt").read_text() == "mine"
    Path("full").mkdir()
    Path("full/mine.txt").touch()
    said = error_of(capsys, "tune", *write(), "--n", "10", "--output", "full", "--overwrite")
    assert "holds no search" in said
    assert Path("full/mine.txt").exists()


@quick
def test_several_n_share_the_runs(pretended: Pretended) -> None:
    tune(*write(), "--n", "5", "10", "--output", "out")
    for n in (5, 10):
        assert best(f"out/best_n{n}.yaml")["trainer"]["callbacks"][0]["init_args"]["monitor"] == (
            f"val/recall@{n}"
        )
        assert Path(f"out/best_n{n}.ckpt").exists()
    run = yaml.safe_load(Path("out/candidates/01/config.yaml").read_text())
    names = [entry["class_path"].rpartition(".")[2] for entry in run["trainer"]["callbacks"]]
    assert names == ["ModelCheckpoint", "ModelCheckpoint"]  # the best epochs of both lie apart
    monitors = [entry["init_args"]["monitor"] for entry in run["trainer"]["callbacks"]]
    assert monitors == ["val/recall@5", "val/recall@10"]
    assert {"recall@5", "recall@10"} <= rungs("out")[0].keys()


@quick
def test_weights_and_another_metric(pretended: Pretended) -> None:
    words = [*write(), "--n", "5", "20", "--weights", "1", "3", "--objective", "ndcg", "--output", "out"]
    tune(*words)
    logger, kept, stopping = best("out/best_n5_n20.yaml")["trainer"]["callbacks"]
    assert logger["init_args"] == {"weights": {5: 1.0, 20: 3.0}, "metric": "ndcg"}
    assert kept["init_args"]["monitor"] == stopping["init_args"]["monitor"] == "val/objective"
    assert "0.25 ndcg@5 + 0.75 ndcg@20" in rungs("out")[0]


@quick
def test_fits_bound_the_cost(pretended: Pretended, capsys: pytest.CaptureFixture[str]) -> None:
    many = [{"class_path": "CROLoss", "init_args": {"temperature": 0.05 * each}} for each in range(1, 7)]
    costs = []
    for fits in ("1.2", "2.5", "6"):
        tune(*write(tune={"losses": many}), "--n", "10", "--fits", fits, "--output", f"out{fits}")
        costs.append(json.loads(Path(f"out{fits}/plan.json").read_text())["cost"])
    assert costs[0] <= 1.2 < costs[1] <= 2.5 < costs[2] <= 6
    assert "of 6 settings are tried: more do not fit into 1.2 fits" in capsys.readouterr().err
    assert "--fits must be at least 1" in error_of(capsys, "tune", *write(), "--n", "10", "--fits", "0.5")


@quick
def test_minutes_decide_what_is_tried(pretended: Pretended, capsys: pytest.CaptureFixture[str]) -> None:
    # a fit takes 64 · 10 + 4 · 20 + 5 seconds
    plans = {}
    for minutes in ("60", "25", "14"):
        tune(*write(), "--n", "10", "--minutes", minutes, "--output", f"out{minutes}")
        plans[minutes] = json.loads(Path(f"out{minutes}/plan.json").read_text())
    assert [plan["num_candidates"] for plan in plans.values()] == [3, 3, 3]
    assert [len(plan["rungs"]) > 1 for plan in plans.values()] == [False, True, True]
    assert [bool(plan["fields"]) for plan in plans.values()] == [False, False, True]
    last = [task for task in pretended.tasks if task["do"] == "train"][-1]
    assert last["deadline"] is not None
    tune(*write(), "--n", "10", "--minutes", "5", "--output", "short")
    plan = json.loads(Path("short/plan.json").read_text())
    assert plan["fields"]
    assert plan["length"]["steps"] < 64
    assert "there is no time to compare whole fits of 3 settings: they are" in capsys.readouterr().err
    name, value = next(iter(plan["fields"].items()))
    assert best("short/best_n10.yaml")["trainer"][name] == value


@quick
def test_a_space_and_trials(pretended: Pretended, capsys: pytest.CaptureFixture[str]) -> None:
    space = {
        "model.init_args.history_dropout": [0.1, 0.4],
        "model.optimizer.init_args.lr": {"low": 0.001, "high": 0.01, "log": True},
        "model.init_args.hidden_dims": [[16], [32, 16]],
        "model.init_args.negatives": [{"class_path": "InBatchNegatives"}],
    }
    model = CONFIG["model"]["init_args"] | {"optimizer": {"class_path": "torch.optim.Adam"}}
    sections = {"tune": {"space": space, "losses": LOSSES}, "model": CONFIG["model"] | {"init_args": model}}
    tune(*write(**sections), "--n", "10", "--trials", "6", "--output", "out")
    assert len({row["candidate"] for row in rungs("out")}) == 6
    arguments = best("out/best_n10.yaml")["model"]["init_args"]
    assert arguments["history_dropout"] in (0.1, 0.4)
    assert 0.001 <= arguments["optimizer"]["init_args"]["lr"] <= 0.01
    assert arguments["negatives"]["class_path"].endswith("InBatchNegatives")
    tune(*write(**sections), "--n", "10", "--trials", "4", "--seed_everything=1", "--output", "other")
    assert rungs("other")[3]["name"] != rungs("out")[3]["name"]
    # all settings have their turn: the cost is told, not bounded
    assert json.loads(Path("out/plan.json").read_text())["num_candidates"] == 6
    said = error_of(capsys, "tune", *write(), "--n", "10", "--trials", "9")
    assert said.startswith("--trials 9: there are 3 settings")


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"spac": {}}, "tune: there is no field 'spac'; did you mean 'space'?"),
        ({"space": {"model.init_args.histry_dropout": [0.1]}}, "did you mean 'history_dropout'?"),
        ({"space": {"model.init_args.history_dropout": ["a"]}}, "must be a number, got 'a'"),
        ({"space": {"trainr.max_epochs": [1]}}, "did you mean 'trainer'?"),
        ({"space": {"model.init_args.history_dropout": 0.3}}, "must be a list of values"),
        ({"space": {"model.init_args.history_dropout": {"low": 0.1}}}, "has no high"),
        ({"space": {"model.init_args.history_dropout": {"low": 1, "high": 0}}}, "low must be below high"),
        ({"space": {"model.init_args.history_dropout": {"lo": 0, "high": 1}}}, "did you mean 'low'?"),
        ({"space": {"model.init_args.loss": ["CROLoss"]}}, "losses are named by tune.losses"),
        ({"losses": {"class_path": "CROLoss"}}, "tune.losses must be a list"),
        ({"losses": [{"class_path": "CROLos"}]}, "tune.losses[0]: "),
        ({"losses": ["CROLoss", {"class_path": "CROLoss", "init_args": {"temp": 1}}]}, "tune.losses[1]: "),
        ({"losses": [3]}, "tune.losses[0] must be a class_path"),
    ],
)
def test_mistakes_in_the_section(section: dict[str, Any], said: str) -> None:
    config = {name: content for name, content in CONFIG.items() if name != "tune"}
    with pytest.raises(ValueError, match=re.escape(said)):
        read_section(Base(config, section))


@quick
def test_a_mistake_leaves_nothing(pretended: Pretended, capsys: pytest.CaptureFixture[str]) -> None:
    said = error_of(capsys, "tune", *write(tune={"spac": {}}), "--n", "10")
    assert said.startswith("tune: there is no field 'spac'; did you mean 'space'?")
    assert not pretended.tasks
    assert not Path("runs/tune/mine_n10").exists()


@quick
def test_a_search_that_has_trained_nothing_makes_room(
    pretended: Pretended, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Pretended, "measure", lambda *_: {"error": "there is no file events.csv"})
        said = error_of(capsys, "tune", *write(seed_everything=1), "--n", "10", "--output", "out")
        assert said.startswith("there is no file events.csv")
    tune(*write(), "--n", "10", "--output", "out")  # the mistake is mended
    assert Path("out/best_n10.yaml").exists()
    assert error_of(capsys, "tune", *write(seed_everything=1), "--n", "10", "--output", "out").startswith(
        "--output: out holds a search that differs in config"
    )


@quick
def test_a_setting_that_fails_is_out(pretended: Pretended, capsys: pytest.CaptureFixture[str]) -> None:
    pretended.failing = ["softplus"]
    tune(*write(), "--n", "10", "--output", "out")
    (failed,) = (row for row in rungs("out") if row["error"])
    assert (failed["name"], failed["error"]) == (
        "CROLoss, kernel softplus, temperature 0.2",
        "it does not learn",
    )
    assert best("out/best_n10.yaml")["model"]["init_args"]["loss"] == LOSSES[0]
    assert "failed: it does not learn" in capsys.readouterr().out
    pretended.failing = ["softplus", "kernel: exp", "SoftmaxLoss"]
    said = error_of(capsys, "tune", *write(), "--n", "10", "--output", "none")
    assert said.startswith("all 3 candidates failed; 'CROLoss, kernel exp, temperature 0.1': it does not")
    assert "--overwrite tries again" in said


@quick
def test_a_full_disk_counts_against_no_setting(
    pretended: Pretended, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tune(*write(), "--n", "10", "--output", "whole")
    train = Pretended.train

    def full(self: Pretended, task: Any) -> Any:
        if "/01/" in task["config"]:
            return {"error": "the disk is full", "ends": True}
        return train(self, task)

    with monkeypatch.context() as patch:
        patch.setattr(Pretended, "train", full)
        said = error_of(capsys, "tune", *write(), "--n", "10", "--output", "out")
        assert said.startswith("the disk is full; what was done is kept, and the same command goes on")
    tune(*write(), "--n", "10", "--output", "out")
    assert rungs("out") == rungs("whole")


@pytest.mark.parametrize(
    ("error", "ends"),
    [
        (NotEnoughSpaceError("the file system is full"), True),
        (OSError(errno.EROFS, "Read-only file system"), True),
        (FileNotFoundError("there is no file a.csv"), False),
        (ValueError("temperature must be above 0"), False),
    ],
)
def test_what_any_setting_would_have_met(
    error: Exception, ends: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(config: str) -> None:
        try:
            raise error
        except Exception as caught:
            raise RuntimeError("the parser tried other types") from caught

    monkeypatch.setattr("lightning_croloss.cli.tune.work.measure", measure)
    answer = answer_to({"do": "measure", "config": "a.yaml"})
    assert str(error) in answer["error"]
    assert answer["ends"] == ends


@quick
def test_tpe_goes_on_with_the_same_draws(pretended: Pretended, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("optuna", reason="needs the extra [tune]")
    space = {"model.init_args.history_dropout": {"low": 0.0, "high": 0.5}}
    words = [
        *write(tune={"space": space, "losses": LOSSES}),
        "--n",
        "10",
        "--sampler",
        "tpe",
        "--trials",
        "7",
    ]
    tune(*words, "--output", "whole")
    train, left = Pretended.train, [5]

    def interrupted(self: Pretended, task: Any) -> Any:
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt
        return train(self, task)

    with monkeypatch.context() as patch:
        patch.setattr(Pretended, "train", interrupted)
        with pytest.raises(SystemExit):
            tune(*words, "--output", "out")
    tune(*words, "--output", "out")
    assert rungs("out") == rungs("whole")
    assert len({row["name"] for row in rungs("out")}) == 7


@quick
def test_further_seeds(pretended: Pretended, capsys: pytest.CaptureFixture[str]) -> None:
    tune(*write(), "--n", "10", "--seeds", "3", "--output", "out")
    assert "0.5100 ± 0.0100" in capsys.readouterr().out
    summary = json.loads(Path("out/seeds_n10.json").read_text())
    assert summary["seeds"] == [42, 43, 44]
    seeds = [
        yaml.safe_load(Path(task["config"]).read_text())["seed_everything"]
        for task in pretended.tasks
        if task["do"] == "train" and "seeds" in task["config"]
    ]
    assert sorted(seeds) == [43, 44]
    number = len(pretended.tasks)
    tune(*write(), "--n", "10", "--seeds", "3", "--output", "out")
    assert len(pretended.tasks) == number
    said = error_of(capsys, "tune", *write(), "--n", "10", "--seeds", "3", "--test_after_fit=false")
    assert said.startswith("--seeds compares what the tests measure")


@quick
def test_what_is_only_measured_is_not_watched(pretended: Pretended) -> None:
    watched = CONFIG["trainer"] | {"logger": {"class_path": "lightning.pytorch.loggers.WandbLogger"}}
    tune(*write(trainer=watched), "--n", "10", "--output", "out", "--minutes", "60")
    for name in ("length", "speed"):  # a callback such as LearningRateMonitor wants a logger
        config = yaml.safe_load(Path(f"out/logs/{name}/config.yaml").read_text())
        logger = config["trainer"]["logger"]
        assert logger["class_path"].endswith("CSVLogger")
        assert logger["init_args"]["save_dir"] == str(Path(f"out/logs/{name}").absolute())
    tune(*write(trainer=CONFIG["trainer"] | {"logger": False}), "--n", "10", "--output", "none")
    assert best("none/logs/length/config.yaml")["trainer"]["logger"] is False


@quick
def test_without_a_test(pretended: Pretended, capsys: pytest.CaptureFixture[str]) -> None:
    tune(*write(), "--n", "10", "--test_after_fit=false", "--output", "out")
    assert "test metrics" not in capsys.readouterr().out
    assert not [task for task in pretended.tasks if task["do"] == "test"]


def test_the_storage_of_optuna(pretended: Pretended, capsys: pytest.CaptureFixture[str]) -> None:
    optuna = pytest.importorskip("optuna", reason="needs the extra [tune]")
    url = "sqlite:///mine.db"
    pretended.failing = ["SoftmaxLoss"]
    for _ in range(2):  # the second adds nothing
        tune(*write(), "--n", "10", "--storage", url, "--output", "out")
        study = optuna.load_study(study_name="out recall@10", storage=url)
        assert [trial.state.name for trial in study.trials] == ["COMPLETE", "COMPLETE", "FAIL"]
    won = study.best_trial
    assert won.params == {"loss": "CROLoss", "kernel": "softplus", "temperature": 0.2}
    assert won.value == pytest.approx(0.125)
    assert won.intermediate_values == {32: pytest.approx(0.0625), 64: pytest.approx(0.125)}
    assert study.trials[2].user_attrs["error"] == "it does not learn"
    assert not Path("out/optuna.db").exists()
    for wrong, why in (
        ("nonsense", "must be a URL"),
        ("", "must be a URL"),
        ("sqlite:///no/a.db", "no folder"),
    ):
        said = error_of(capsys, "tune", *write(), "--n", "10", "--storage", wrong, "--output", "none")
        assert said.startswith(f"--storage: storage {wrong!r} cannot be used: ")
        assert why in said
        assert not Path("none").exists()
    with pytest.raises(ValueError, match="storage 'nonsense' cannot be used"):
        Mirror("nonsense", "out recall@10", "mine")
    with pytest.raises(ValueError, match="holds another search as study 'out recall@10'"):
        Mirror(url, "out recall@10", "mine")


@pytest.mark.parametrize("ending", [None, RuntimeError, KeyboardInterrupt])
def test_the_storage_is_closed_however_a_search_ends(
    pretended: Pretended, monkeypatch: pytest.MonkeyPatch, ending: type[BaseException] | None
) -> None:
    pytest.importorskip("optuna", reason="needs the extra [tune]")
    held, train = [], pretended.train

    def watched(task: Any) -> Any:
        held.extend(open_files("optuna.db"))
        if ending is not None and len(pretended.tasks) > 3:
            raise ending("in the midst")
        return train(task)

    monkeypatch.setattr(pretended, "train", watched)
    if ending is None:
        tune(*write(), "--n", "10", "--output", "out")
    else:
        with pytest.raises((ending, SystemExit)):
            tune(*write(), "--n", "10", "--output", "out")
    assert held  # else nothing is shown
    assert Path("out/optuna.db").exists()
    assert not open_files("optuna.db")


@pytest.mark.parametrize("words", [["--storage", "sqlite:///other.db"], []])
def test_a_storage_of_another_search_is_closed(pretended: Pretended, words: list[str]) -> None:
    pytest.importorskip("optuna", reason="needs the extra [tune]")
    path = "other.db" if words else "out/optuna.db"
    tune(*write(), "--n", "10", "--output", "out", *words)
    with pytest.raises(ValueError, match="holds another search"):
        Mirror(f"sqlite:///{path}", "out recall@10", "mine")
    check_storage(f"sqlite:///{path}")
    assert not open_files(Path(path).name)


@pytest.mark.parametrize("name", ["a?b", "c%41d", "e{f}", "g h#i"])
def test_the_storage_lies_in_its_folder_whatever_the_name_is(tmp_path: Path, name: str) -> None:
    pytest.importorskip("optuna", reason="needs the extra [tune]")
    (tmp_path / name).mkdir()
    (tmp_path / name / "search.json").write_text("{}")
    with Mirrors(tmp_path / name, [Objective("recall", {10: 1.0})], None, "croloss tune") as mirrors:
        mirrors.write(lambda _: [])
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name / "optuna.db").is_file()


def test_a_storage_that_nobody_asked_for_ends_no_search(
    pretended: Pretended, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    optuna = pytest.importorskip("optuna", reason="needs the extra [tune]")

    def create_study(**_: Any) -> None:
        raise OSError("(sqlite3.OperationalError) locking protocol [SQL: CREATE TABLE studies]")

    monkeypatch.setattr(optuna, "create_study", create_study)
    tune(*write(), "--n", "10", "--output", "out")
    assert Path("out/best_n10.yaml").exists()
    said = capsys.readouterr().err
    assert "goes on without a storage of Optuna: storage 'sqlite:///out/optuna.db' cannot be used: " in said
    assert "locking protocol\n" in said


@quick
def test_the_sampler_tpe(pretended: Pretended, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("optuna", reason="needs the extra [tune]")
    tpe = ["--n", "10", "--sampler", "tpe", "--trials", "6"]
    section = {"space": {"model.init_args.history_dropout": [0.0, 0.4]}}
    tune(*write(tune=section | {"losses": LOSSES}), *tpe, "--output", "out")
    found = rungs("out")
    assert len({row["name"] for row in found}) == 6
    tune(*write(tune=section | {"losses": LOSSES}), *tpe, "--output", "again")
    assert rungs("again") == found
    said = error_of(capsys, "tune", *write(), *tpe, "--processes", "2")
    assert said.startswith("--sampler tpe draws one setting after the other")
    said = error_of(capsys, "tune", *write(), "--n", "10", "--sampler", "tpe", "--trials", "3")
    assert said.startswith("--trials 3: the 3 losses come first")


def test_a_field_that_tpe_draws_is_a_parameter(pretended: Pretended) -> None:
    optuna = pytest.importorskip("optuna", reason="needs the extra [tune]")
    classes = ["YouTubeDNN", "GRU4Rec"]
    space = {"model.class_path": classes, "model.init_args.history_dropout": {"low": 0.1, "high": 0.4}}
    words = ["--n", "10", "--sampler", "tpe", "--trials", "8", "--output", "out"]
    tune(*write(tune={"space": space, "losses": LOSSES}), *words)
    study = optuna.load_study(study_name=None, storage="sqlite:///out/optuna.db")
    drawn = study.trials[3:]
    assert {trial.params["model.class_path"] for trial in drawn} == {*classes}
    assert {"model.class_path", "model.history_dropout", "loss"} <= study.best_params.keys()


def test_without_optuna(
    pretended: Pretended, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    tune(*write(), "--n", "10", "--output", "out")
    assert Path("out/best_n10.yaml").exists()
    assert not Path("out/optuna.db").exists()
    (line,) = (line for line in capsys.readouterr().err.splitlines() if "Optuna" in line)
    assert "pip install 'lightning-croloss[tune]'" in line
    said = error_of(capsys, "tune", *write(), "--n", "10", "--storage", "sqlite:///a.db")
    assert said.startswith("--storage needs the extra [tune]: pip install 'lightning-croloss[tune]'")
    said = error_of(capsys, "tune", *write(), "--n", "10", "--sampler", "tpe")
    assert said.startswith("--sampler tpe needs the extra [tune]: pip install 'lightning-croloss[tune]'")


@quick
def test_runs_of_wandb_are_a_group(pretended: Pretended) -> None:
    pytest.importorskip("wandb", reason="needs the extra [wandb]")
    logger = {"class_path": "WandbLogger", "init_args": {"project": "shop", "offline": True}}
    words = write(trainer=CONFIG["trainer"] | {"logger": logger})
    tune(*words, "--n", "10", "--output", "out")
    configs = [
        yaml.safe_load(path.read_text())["trainer"]["logger"]
        for path in sorted(Path("out/candidates").glob("*/config.yaml"))
    ]
    assert {each["dict_kwargs"]["group"] for each in configs} == {"out"}
    assert [each["init_args"]["name"] for each in configs] == [
        "CROLoss, kernel exp, temperature 0.1",
        "CROLoss, kernel softplus, temperature 0.2",
        "SoftmaxLoss, temperature 0.05",
    ]
    assert len({each["init_args"]["id"] for each in configs}) == 3
    kept = best("out/best_n10.yaml")["trainer"]["logger"]  # the user's own again
    assert kept["init_args"]["project"] == "shop"
    assert "id" not in kept["init_args"]


@quick
def test_processes_share_the_machine(pretended: Pretended, monkeypatch: pytest.MonkeyPatch) -> None:
    tune(*write(), "--n", "10", "--processes", "2", "--output", "out")
    assert (pretended.processes, pretended.gpus) == (2, [])
    assert rungs("out")[-1]["name"] == "CROLoss, kernel softplus, temperature 0.2"
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setenv(VISIBLE, "3,5")
    tune(*write(), "--n", "10", "--processes", "2", "--output", "gpus")
    assert pretended.gpus == ["3", "5"]
    config = yaml.safe_load(Path("gpus/candidates/00/config.yaml").read_text())
    assert config["trainer"]["devices"] == 1
    assert [_environment(number, 3, ["3", "5"])[VISIBLE] for number in range(3)] == ["3", "5", "3"]
    monkeypatch.delenv(THREADS, raising=False)
    monkeypatch.setattr("lightning_croloss.cli.tune.workers._cores", lambda: 8)
    assert _environment(0, 2, [])[THREADS] == "4"
    assert THREADS not in _environment(0, 1, [])
    monkeypatch.setenv(THREADS, "1")
    assert _environment(0, 2, [])[THREADS] == "1"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "croloss tune needs --n"),
        (["--n", "ten"], "--n: must be an integer, 1 or more, got 'ten'"),
        (["--n", "5", "5"], "--n: 5 is given twice"),
        (["--n", "5", "--n", "5"], "--n: 5 is given twice"),
        (["--n", "5", "--weights", "1"], "--weights: has no effect with one N"),
        (["--n", "5", "9", "--weights", "1"], "--weights: give one for each N"),
        (["--n", "5", "--objective", "hits"], "--objective: must be one of"),
        (["--n", "5", "--minutes", "-3"], "--minutes: must be a number above 0"),
    ],
)
def test_mistakes_in_the_options(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_words(["--config", "mine.yaml", *words])
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--n", "10"], "croloss tune needs --config FILE"),
        (["--config", "mine.yaml", "--n", "5", "--model.embeding_dim=3"], "did you mean 'embedding_dim'"),
        (["--config", "absent.yaml", "--n", "5"], "there is no config file absent.yaml"),
        (["--config", "mine.yaml", "--n", "50"], "--n 50: the catalogue has only 40 items"),
        (["--config", "mine.yaml", "--n", "5", "--output", "mine.yaml"], "--output mine.yaml is a file"),
        (["--config", "mine.yaml", "--n", "5", "--trainer.devices=2"], "trainer.devices: each run"),
    ],
)
def test_mistakes(
    words: list[str], said: str, pretended: Pretended, capsys: pytest.CaptureFixture[str]
) -> None:
    write()
    assert said in error_of(capsys, "tune", *words)


@pytest.mark.parametrize(
    "given",
    [
        {"ckpt_path": "last"},
        {"metrics_per_user": "a.csv"},
        {"trainer": {"fast_dev_run": 2}},
        {"trainer": {"devices": [0, 1]}},
        {"trainer": {"num_nodes": 2}},
        {"trainer": {"max_time": "00:00:01:00"}},
        {"trainer": {"enable_checkpointing": False}},
        {"trainer": {"overfit_batches": 2}},
        {"trainer": {"barebones": True}},
    ],
)
def test_what_many_runs_cannot_have(given: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    usual = {"trainer": {"devices": "auto", "num_nodes": 1}}
    refuse_unfit(usual)
    (name,) = given.get("trainer", given)
    with pytest.raises(ValueError, match=name):
        refuse_unfit({**usual, **given})
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="WORLD_SIZE"):
        refuse_unfit(usual)


@quick
def test_a_schedule_of_the_configs_loss_is_not_the_candidates(pretended: Pretended) -> None:
    schedule = {"class_path": "CROLossCallback", "init_args": {"alpha": 1.1}}
    words = write(trainer=CONFIG["trainer"] | {"callbacks": [schedule]}, tune={"losses": [*LOSSES, None]})
    tune(*words, "--n", "10", "--output", "out")
    for number in range(4):
        config = yaml.safe_load(Path(f"out/candidates/0{number}/config.yaml").read_text())
        names = [entry["class_path"].rpartition(".")[2] for entry in config["trainer"]["callbacks"]]
        assert ("CROLossCallback" in names) == (number == 3)
        assert ("loss" in config["model"]["init_args"]) == (number < 3)


def test_fit_leaves_the_section_out(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["fit", *write(), "--print_config"])
    capsys.readouterr()
    main(["fit", *write(), "--trainer.max_epochs=1", "--trainer.limit_train_batches=1", "--model.ns=[5]"])
    said = capsys.readouterr().err
    assert "the section 'tune' is for croloss tune" in said
    assert "tune" not in yaml.safe_load(Path("runs/croloss/version_0/config.yaml").read_text())


def test_options_given_again_add_up() -> None:
    words = ["--n", "20", "--n", "100", "--weights", "1", "--weights", "2"]
    given, _ = parse_words(["--config", "mine.yaml", *words])
    assert (given.n, given.weights) == ([20, 100], [1.0, 2.0])


def test_which_words_are_whose() -> None:
    own, fit = split_words(
        [
            "--config",
            "a.yaml",
            "--n",
            "20",
            "100",
            "--model.x",
            "3",
            "-c",
            "b.yaml",
            "--overwrite",
            "--fits=3",
        ]
    )
    assert own == ["--config", "a.yaml", "--n", "20", "100", "-c", "b.yaml", "--overwrite", "--fits=3"]
    assert fit == ["--config", "a.yaml", "--model.x", "3", "-c", "b.yaml"]


@quick
def test_a_search_goes_on_with_the_data_that_it_began_with(
    pretended: Pretended, capsys: pytest.CaptureFixture[str]
) -> None:
    table = Path("events.csv")
    table.write_text("user_id,item_id\n" + "1,a\n" * 9)
    data = {"class_path": "TableDataModule", "init_args": {"interactions": str(table)}}
    words = ["tune", *write(data=data), "--n", "10", "--output", "out"]
    main(words)
    main(words)
    table.write_text(table.read_text() + "2,b\n")
    said = error_of(capsys, *words)
    assert said.startswith(
        "--output: out holds a search that began with other data, as events.csv has changed"
    )
    Path("out/sources.json").unlink()  # as of an early release, which has noted none
    main(words)
    main([*words, "--overwrite"])
    table.unlink()
    assert "interactions: there is no file 'events.csv'" in error_of(capsys, *words)


@quick
def test_a_change_in_the_middle_of_a_large_table_is_noticed(
    pretended: Pretended, capsys: pytest.CaptureFixture[str]
) -> None:
    table = Path("events.csv")
    rows = "100,a\n" * 500_000
    table.write_text("user_id,item_id\n" + rows + "200,a\n" + rows)
    data = {"class_path": "TableDataModule", "init_args": {"interactions": str(table)}}
    words = ["tune", *write(data=data), "--n", "10", "--output", "out"]
    main(words)
    table.write_text("user_id,item_id\n" + rows + "300,a\n" + rows)
    assert "began with other data, as events.csv has changed" in error_of(capsys, *words)


@quick
def test_a_search_may_move_with_its_folder(pretended: Pretended) -> None:
    words = [*write(), "--n", "10", "--seeds", "2"]
    tune(*words, "--output", "out")
    number, found = len(pretended.tasks), best("out/best_n10.yaml")
    checkpoint = torch.load("out/best_n10.ckpt")
    Path("elsewhere").mkdir()
    Path("out").rename("elsewhere/moved")
    for made in Path("elsewhere/moved").glob("best_n10.*"):
        made.unlink()
    tune(*words, "--output", "elsewhere/moved")
    assert number == len(pretended.tasks)
    assert best("elsewhere/moved/best_n10.yaml") == found
    assert torch.load("elsewhere/moved/best_n10.ckpt") == checkpoint


@quick
def test_a_search_that_has_trained_nothing_takes_other_data(
    pretended: Pretended, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = Path("events.csv")
    table.write_text("user_id,item_id\n1,a\n")
    data = {"class_path": "TableDataModule", "init_args": {"interactions": str(table)}}
    words = ["tune", *write(data=data), "--n", "10", "--output", "out"]
    with monkeypatch.context() as patch:
        patch.setattr(Pretended, "train", lambda *_: {"error": "the disk is full", "ends": True})
        error_of(capsys, *words)
    assert Path("out/length.json").exists()
    table.write_text("user_id,item_id\n1,a\n1,b\n")
    number = len(pretended.tasks)
    main(words)
    assert pretended.tasks[number]["do"] == "measure"  # and not what was measured of the data before


@quick
@pytest.mark.parametrize("name", ["search", "plan", "length"])
def test_what_a_search_has_noted_is_not_trusted(
    pretended: Pretended, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["tune", *write(), "--n", "10", "--output", "out"]
    main(words)
    for content in ("{", "{}", "3"):
        Path(f"out/{name}.json").write_text(content)
        said = error_of(capsys, *words)
        assert f"out/{name}.json is damaged" in said or "holds a search" in said


def test_what_an_early_end_of_the_storage_is_told_by() -> None:
    error = RuntimeError("An exception is raised during the commit.")
    error.__cause__ = OSError("(sqlite3.OperationalError) database or disk is full [SQL: UPDATE trials]")
    assert reason(error) == "(sqlite3.OperationalError) database or disk is full"
