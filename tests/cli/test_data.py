"""``croloss data inspect``."""

import json
import re
from pathlib import Path

import pytest

from lightning_croloss.cli import main
from lightning_croloss.cli.data.inspect import format_text
from lightning_croloss.data import GlobalTime
from lightning_croloss.data.statistics import describe
from tests.data.events import GivenEvents
from tests.data_for_tests import FeaturedData

pytestmark = pytest.mark.filterwarnings("ignore:.*was deprecated in v4.49")

CONFIG = """\
seed_everything: 1
data:
  class_path: tests.data_for_tests.FeaturedData
  init_args:
    num_users: 20
    max_history: 2
    split:
      class_path: LeaveOneOut
model:
  class_path: TwoTower
  init_args:
    embedding_dim: no number, and nobody asks
trainer:
  callbacks+:
    - class_path: RecallReport
ckpt_path: null
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path("run.yaml").write_text(CONFIG)
    return "run.yaml"


def error_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as exit_info:
        main(list(arguments))
    assert exit_info.value.code != 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err.removeprefix("croloss: error: ")


def cells(text: str) -> dict[str, list[str]]:
    """The lines of a printed text by what they begin with."""
    return {line.split("  ")[0].strip(): line.split("  ")[1:] for line in text.splitlines() if line}


def test_prints_the_data_of_a_fit_config(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["data", "inspect", "--config", config])
    printed = cells(capsys.readouterr().out)
    assert printed["users"][-1].strip() == "20"
    assert printed["interactions"][-1].strip() == "160"
    assert printed["density"][-1].strip() == "20 %"
    assert printed["users whose history max_history cuts"][-1].strip() == "100 %"
    assert [cell.strip() for cell in printed["test"] if cell.strip()][:3] == ["20", "20", "20"]
    assert [cell.strip() for cell in printed["user"] if cell.strip()] == ["age", "numeric", "80 %"]


def test_overrides_and_json(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    override = ["--data.num_users=12", "--data.split=UserDisjoint", "--data.split.seed=3"]
    main(["data", "inspect", "--config", config, *override, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["interactions"]["users"] == 12
    assert found["split"]["name"] == "UserDisjoint"
    assert found["split"]["arguments"]["seed"] == 3
    assert found["split"]["parts"]["test"]["unseen_users"] == 1


def test_later_configs_win_and_overlays_without_data_change_nothing(
    config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("more.yaml").write_text("data:\n  init_args:\n    num_users: 24\n")
    Path("tracker.yaml").write_text("trainer:\n  logger: true\n")
    Path("comment.yaml").write_text("# nothing yet\n")
    configs = [config, "more.yaml", "tracker.yaml", "comment.yaml"]
    main(["data", "inspect", *(word for name in configs for word in ("--config", name)), "--json"])
    assert json.loads(capsys.readouterr().out)["interactions"]["users"] == 24


def test_values_are_read_as_fit_reads_them(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("split.yaml").write_text(
        "data:\n  class_path: tests.data.events.GivenEvents\n  init_args:\n"
        "    log: [[1, 1, 0], [1, 2, 1], [1, 2, 2], [1, 2, 3]]\n"
        "    split:\n      class_path: GlobalTime\n      init_args: {valid: 2e-1, test: 2024-01-01}\n"
    )
    message = error_of(capsys, "data", "inspect", "--config", "split.yaml")
    assert "GlobalTime: test='2024-01-01' is a date, but the times are numbers, 0 … 3" in message
    main(["data", "inspect", "--config", "split.yaml", "--data.split.test=0.25", "--json"])
    found = json.loads(capsys.readouterr().out)["split"]
    assert found["arguments"] == {"valid": 0.2, "test": 0.25}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "takes one of the words inspect, partition; croloss data --help explains it"),
        (["inspct"], "takes one of the words inspect, partition, not 'inspct'"),
        (["inspect"], "no data given: name a config file with --config, or give --data\n"),
        (["inspect", "--config", "missing.yaml"], "missing.yaml"),
        (["inspect", "--config", "broken.yaml"], "broken.yaml is not valid YAML: the bracket \\[ of line 1"),
        (["inspect", "--config", "text.yaml"], "text.yaml holds one value: it must consist of fields"),
        (["inspect", "--data=RecBoleDataModul"], "did you mean 'RecBoleDataModule'"),
        (["inspect", "--config", "run.yaml", "--data.num_user=3"], "did you mean 'num_users'"),
        (["inspect", "--config", "run.yaml", "--data.num_users=1"], "users: column 'country' is the same"),
        (["inspect", "--config", "run.yaml", "--data.split=GlobalTime"], "GlobalTime needs times"),
        (
            ["inspect", "--config", "run.yaml", "--trainer.max_epochs=3"],
            "data alone: leave out --trainer.max_epochs \\(",
        ),
    ],
)
def test_mistakes_end_in_one_sentence(
    config: str, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    Path("broken.yaml").write_text("data: [1\n")
    Path("text.yaml").write_text("hello\n")
    found = error_of(capsys, "data", *arguments)
    assert re.search(message, found), found


def test_what_was_read_and_dropped(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("polars")
    events = [(user, f"i{(user + event) % 7}", event) for user in range(20) for event in range(6)]
    lines = [f"{user},{item},{time}" for user, item, time in [*events, ("u", "rare", 1), ("u", "i1", 2)]]
    Path("events.csv").write_text("\n".join(["user,item,when", *lines]))
    features = [f"i{number},{'red' if number % 2 else 'blue'}" for number in range(9)]
    Path("items.csv").write_text("\n".join(["item,color", *features]))
    columns = ["--data.user_column=user", "--data.item_column=item", "--data.time_column=when"]
    tables = ["--data.interactions=events.csv", "--data.items=items.csv", "--data.item_features=[color]"]
    arguments = ["data", "inspect", "--data=TableDataModule", *tables, *columns]
    main(arguments)
    text = capsys.readouterr().out
    printed = cells(text)
    assert printed["data"] == ["TableDataModule: events.csv"]
    assert [cell.strip() for cell in printed["read"] if cell] == ["122", "21", "8"]
    assert [cell.strip() for cell in printed["dropped"] if cell] == [
        "-2", "-1", "-1", "users with fewer than 5 interactions"
    ]  # fmt: skip
    assert [cell.strip() for cell in printed["left"] if cell] == ["120", "20", "7"]
    assert "note: " in text
    main([*arguments, "--json"])
    found = json.loads(capsys.readouterr().out)["preparation"]
    assert found["read"] == {"interactions": 122, "users": 21, "items": 8}
    assert found["steps"][-1]["after"] == {"interactions": 120, "users": 20, "items": 7}


def test_help_names_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    main(["data", "--help"])
    assert capsys.readouterr().out.startswith("usage: croloss data inspect --config FILE")


def test_what_the_split_leaves_out_is_said() -> None:
    log = [(1, 1, time) for time in range(10)] + [(2, 2, 9), (2, 3, 9)]
    text = format_text(describe(GivenEvents(log, GlobalTime(4, 7))))
    assert "4 training events; 2 events are in no part" in text
    assert "items without interactions" in text
    assert "first time" in text
    assert "in no part" not in format_text(describe(FeaturedData()))
