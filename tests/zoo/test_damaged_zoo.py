"""One damaged folder does not hide the zoo, and what a killed save has left is no model."""

import json
import shutil
from pathlib import Path

import pytest

from croloss_serving.common.terminal import printable
from lightning_croloss import list_pretrained
from lightning_croloss.cli import main
from lightning_croloss.errors import PretrainedError
from lightning_croloss.zoo import evaluating
from lightning_croloss.zoo.leaderboard import leaderboard
from tests.fuzz.folders import make_pipe, manifest_of, sign, soon, vouch

ZOO = Path(__file__).parents[2] / "zoo"


@pytest.fixture
def zoo(tmp_path):
    for name in ("gru4rec", "youtube_dnn"):
        shutil.copytree(ZOO / "ml-100k" / name, tmp_path / "zoo" / "ml-100k" / name)
    return tmp_path / "zoo"


def listed(zoo, capsys):
    capsys.readouterr()
    with soon():
        main(["zoo", "list", "--zoo", str(zoo)])
    return capsys.readouterr()


def with_metrics(folder, change):
    metrics = json.loads((folder / "metrics.json").read_text())
    change(metrics)
    vouch(folder, "metrics.json", json.dumps(metrics).encode())


DAMAGE = {
    "no metrics": lambda folder: (folder / "metrics.json").unlink(),
    "other metrics": lambda folder: (folder / "metrics.json").write_text("{}"),
    "metrics that are no JSON": lambda folder: vouch(folder, "metrics.json", b"{"),
    "metrics that are a list": lambda folder: vouch(folder, "metrics.json", b"[1]"),
    "deep metrics": lambda folder: vouch(folder, "metrics.json", b"[" * 100_000),
    "metrics given twice": lambda folder: vouch(folder, "metrics.json", b'{"test": 1, "test": 2}'),
    "no test": lambda folder: with_metrics(folder, lambda metrics: metrics.pop("test")),
    "text as a figure": lambda folder: with_metrics(folder, lambda m: m["test"].update({"recall@50": "x"})),
    "text as a number": lambda folder: with_metrics(folder, lambda m: m.update(parameters="many")),
    "an odd choice": lambda folder: with_metrics(folder, lambda m: m.update(choose_by=[50])),
    "a test without Recall": lambda folder: with_metrics(folder, lambda m: m.update(test={})),
    "no baselines": lambda folder: with_metrics(folder, lambda m: m.update(baselines={})),
    "measured on nobody": lambda folder: with_metrics(folder, lambda m: m["data"].update(test_users=0)),
    "an endless figure": lambda folder: with_metrics(
        folder, lambda m: m["test"].update({"recall@50": 10**400})
    ),
    "a baseline of something": lambda folder: with_metrics(
        folder, lambda m: m["baselines"].update(item_knn=5)
    ),
    "a setting of nothing": lambda folder: with_metrics(
        folder, lambda m: m["baselines"]["item_knn"].update(setting={"recent": 5})
    ),
    "no training": lambda folder: with_metrics(folder, lambda m: m.pop("training")),
    "a broken manifest": lambda folder: (folder / "manifest.json").write_text("{"),
    "a manifest of another version": lambda folder: sign(
        folder, {**manifest_of(folder), "format_version": 9}
    ),
    "a pipe": lambda folder: make_pipe(folder / "metrics.json"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_the_others_are_listed(zoo, capsys, name):
    folder = zoo / "ml-100k" / "gru4rec"
    DAMAGE[name](folder)
    out, err = listed(zoo, capsys)
    assert [line.split()[0] for line in out.splitlines()] == ["model", str(zoo / "ml-100k" / "youtube_dnn")]
    assert len(err.splitlines()) == 1
    assert err.startswith(f"croloss: {folder} is left out: ")


OF_FIGURES = [*DAMAGE][[*DAMAGE].index("text as a figure") : [*DAMAGE].index("a broken manifest")]


@pytest.mark.parametrize("name", OF_FIGURES)
def test_figures_that_cannot_be_compared(zoo, name, monkeypatch):
    def measured(*_):
        raise AssertionError("measured")

    monkeypatch.setattr(evaluating, "foreign_data_of", measured)
    folder = zoo / "ml-100k" / "gru4rec"
    DAMAGE[name](folder)
    with pytest.raises(PretrainedError, match=r"metrics\.json is not that of croloss zoo build: "):
        evaluating.evaluate(folder)


def test_what_a_killed_save_left_is_not_listed(zoo, capsys):
    whole = listed(zoo, capsys)
    source = zoo / "ml-100k" / "youtube_dnn"
    for name in (".youtube_dnn.0123456789abcdef.new", ".youtube_dnn.0123456789abcdef.old"):
        shutil.copytree(source, source.with_name(name))
    shutil.copytree(source, zoo / ".hidden" / "youtube_dnn")
    (source.with_name(".youtube_dnn.0123456789abcdef.old") / "metrics.json").unlink()
    board = leaderboard(zoo)
    assert listed(zoo, capsys) == whole
    assert list_pretrained(zoo) == [str(zoo / "ml-100k" / name) for name in ("gru4rec", "youtube_dnn")]
    assert ".old" not in board
    assert ".new" not in board
    assert list_pretrained(source.with_name(".youtube_dnn.0123456789abcdef.new")) != []  # asked for by name


@pytest.mark.parametrize(
    "name", [name for name in DAMAGE if "manifest" not in name and name != "other metrics"]
)
def test_a_leaderboard_of_the_others(zoo, name):
    whole = leaderboard(zoo).splitlines()
    DAMAGE[name](zoo / "ml-100k" / "gru4rec")
    if name == "no test":  # of a model that was saved without figures
        found = leaderboard(zoo)
    else:
        with soon(), pytest.warns(UserWarning, match="ml-100k/gru4rec is left out of the leaderboard: "):
            found = leaderboard(zoo)
    rows = [line for line in whole if line.startswith("| [youtube_dnn]")]
    assert rows
    assert [line for line in found.splitlines() if line.startswith("| [")] == rows


def test_names_and_cards_do_not_command_a_terminal(zoo, capsys):
    folder = zoo / "ml-100k" / "evil\x1b[2J\u202e"
    shutil.move(zoo / "ml-100k" / "gru4rec", folder)
    (folder / "README.md").write_text("# A card\n\x1b]0;owned\x07\r\x9bhidden\n", "utf-8")
    main(["zoo", "show", str(folder)])
    assert capsys.readouterr().out == "# A card\n\\x1b]0;owned\\x07\\r\\x9bhidden\n"
    out, err = listed(zoo, capsys)
    assert r"evil\x1b[2J\u202e" in out
    assert printable(out, kept="\n") == out
    (folder / "metrics.json").unlink()
    out, err = listed(zoo, capsys)
    assert r"evil\x1b[2J\u202e is left out" in err
    assert printable(err, kept="\n") == err
    make_pipe(folder / "README.md")
    with soon(), pytest.raises(SystemExit):
        main(["zoo", "show", str(folder)])
