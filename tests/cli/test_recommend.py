"""``croloss recommend`` gives what ``recommend_tokens`` gives, whatever the histories come in."""

import io
import json
import sys
from pathlib import Path

import polars as pl
import pytest

from lightning_croloss import load_pretrained, save_pretrained
from lightning_croloss.cli import main
from lightning_croloss.cli.recommend import command as recommend
from tests.cli.cases import error_of
from tests.data_for_tests import ClusteredData, fit, small_model

HISTORIES = {
    "ann": ["item 2", "item 0", "item 1"],
    "bob": ["item 10", "nothing", "item 11"],
    "cyd": ["nothing"],
    "dan": ["item 39"],
}
EVENTS = [(user, item, when) for user, history in HISTORIES.items() for when, item in enumerate(history)]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    model = small_model(exclude_history=True)
    fit(model, ClusteredData(), max_epochs=1)
    model.metadata.item_titles = [f"Title {item}" for item in range(40)]
    return save_pretrained(model, tmp_path_factory.mktemp("models") / "model")


def expected(model, n, **arguments):
    found = load_pretrained(model).recommend_tokens(list(HISTORIES.values()), n, **arguments)
    return {
        user: list(zip(entry.tokens, entry.titles, entry.scores, strict=True))
        for user, entry in zip(HISTORIES, found, strict=True)
    }


def found(path):
    frame = pl.read_parquet(path)
    assert frame.columns == ["user", "rank", "item", "score", "title"]
    users = {}
    for user, rank, item, score, title in frame.rows():
        users.setdefault(user, []).append((item, title, score))
        assert rank == len(users[user])
    return users


def events(rows):
    return pl.DataFrame(rows, schema=["user_id", "item_id", "time"], orient="row")


@pytest.mark.parametrize("ending", ["parquet", "csv", "tsv"])
@pytest.mark.parametrize("shuffled", [False, True])
def test_a_row_for_each_event(model, ending, shuffled):
    frame = events(EVENTS)
    if shuffled:
        frame = frame.sort("time", descending=True)
    name = f"events.{ending}"
    if ending == "parquet":
        frame.write_parquet(name)
    else:
        frame.write_csv(name, separator="," if ending == "csv" else "\t")
    main(
        ["recommend", f"--model={model}", f"--histories={name}", "--n=6", "--output=recs.parquet"]
        + ["--time-column=time"] * shuffled
    )
    assert found("recs.parquet") == expected(model, 6)


def test_a_list_for_each_user(model, monkeypatch):
    monkeypatch.setattr(recommend, "SIZE", 3)
    pl.DataFrame({"name": list(HISTORIES), "events": list(HISTORIES.values())}).write_parquet("lists.parquet")
    arguments = ["--user-column=name", "--history-column=events", "--n=6", "--output=recs.parquet"]
    main(["recommend", f"--model={model}", "--histories=lists.parquet", *arguments])
    wanted = expected(model, 6)  # encoded in other batches: equal up to the last bits
    assert {user: [row[:2] for row in rows] for user, rows in found("recs.parquet").items()} == {
        user: [row[:2] for row in rows] for user, rows in wanted.items()
    }
    main(["recommend", f"--model={model}", "--histories=lists.parquet", *arguments, "--overwrite"])


def test_lists_without_users_are_numbered(model):
    pl.DataFrame({"history": [*HISTORIES.values(), None]}).write_parquet("lists.parquet")
    main(["recommend", f"--model={model}", "--histories=lists.parquet", "--n=6", "--output=recs.parquet"])
    assert list(found("recs.parquet")) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("objects", [False, True])
def test_json_lines(model, objects, monkeypatch, capsys):
    lines = [
        json.dumps({"user": user, "history": history} if objects else history)
        for user, history in HISTORIES.items()
    ]
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join([*lines, "", ""])))
    main(["recommend", f"--model={model}", "--n=6"])
    said = capsys.readouterr()
    answers = [json.loads(line) for line in said.out.splitlines()]
    wanted = expected(model, 6)
    for number, (answer, user) in enumerate(zip(answers, HISTORIES, strict=True), start=1):
        assert answer["user"] == (user if objects else number)
        assert list(zip(answer["items"], answer["titles"], answer["scores"], strict=True)) == wanted[user]
    assert [(answer["unknown"], answer["fallback"]) for answer in answers] == [
        (0, False),
        (1, False),
        (1, True),
        (0, False),
    ]
    assert "4 users; 2 tokens that the model does not know; 1 users without any" in said.err


def test_a_slip_in_the_models_name_is_told_first(capsys):
    words = ["recommend", "--model=ml-100k/sasrecc", "--history-column=h"]  # which JSON lines do not have
    assert "there is no pretrained model 'ml-100k/sasrecc'; did you mean 'ml-100k/sasrec'?" in error_of(
        capsys, *words
    )


def test_json_files(model):
    with open("h.jsonl", "w") as file:
        file.writelines(json.dumps({"user": u, "history": h}) + "\n" for u, h in HISTORIES.items())
    main(["recommend", f"--model={model}", "--histories=h.jsonl", "--n=6", "--output=recs.jsonl"])
    lines = [json.loads(line) for line in Path("recs.jsonl").read_text().splitlines()]
    assert [line["items"] for line in lines] == [
        [token for token, _, _ in user] for user in expected(model, 6).values()
    ]


def test_the_history_on_request(model):
    events(EVENTS).write_csv("events.csv")
    main(
        [
            *("recommend", f"--model={model}", "--histories=events.csv", "--n=6"),
            *("--include-history", "--output=recs.parquet"),
        ]
    )
    assert found("recs.parquet") == expected(model, 6, exclude_history=False)
    assert found("recs.parquet") != expected(model, 6)


@pytest.mark.parametrize("own", [True, False])
def test_without_a_flag_the_setting_of_the_model_counts(tmp_path, own):
    model = small_model(exclude_history=own)
    fit(model, ClusteredData(), limit_train_batches=1)
    model.metadata.item_titles = [f"Title {item}" for item in range(40)]
    folder = save_pretrained(model, tmp_path / "model")
    events(EVENTS).write_csv("events.csv")
    answers = {}
    for flag, wanted in ((None, own), ("--exclude-history", True), ("--no-exclude-history", False)):
        given = [
            f"--model={folder}",
            "--histories=events.csv",
            "--n=6",
            "--output=recs.parquet",
            "--overwrite",
        ]
        main(["recommend", *given, *([flag] if flag else [])])
        answers[flag] = found("recs.parquet")
        assert answers[flag] == expected(folder, 6, exclude_history=wanted)
    assert answers["--exclude-history"] != answers["--no-exclude-history"]


def test_no_users(model):
    open("empty.jsonl", "w").close()
    main(["recommend", f"--model={model}", "--histories=empty.jsonl", "--n=6", "--output=recs.parquet"])
    assert found("recs.parquet") == {}


def test_what_fails_leaves_the_old_file(model, monkeypatch, capsys):
    events(EVENTS).write_csv("events.csv")
    with open("recs.parquet", "w") as file:
        file.write("old")
    arguments = ["recommend", f"--model={model}", "--histories=events.csv", "--output=recs.parquet"]
    with pytest.raises(SystemExit):
        main(arguments)
    assert "--output recs.parquet exists" in capsys.readouterr().err

    def full(self, table):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(recommend, "SIZE", 2)
    monkeypatch.setattr(recommend.ParquetRows, "_append", full)
    with pytest.raises(SystemExit):
        main([*arguments, "--overwrite", "--n=6"])
    assert "No space left on device" in capsys.readouterr().err
    assert Path("recs.parquet").read_text() == "old"
    assert sorted(path.name for path in Path().iterdir()) == [
        "events.csv",
        "recs.parquet",
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--histories=nowhere.parquet"], "there is no file 'nowhere.parquet'"),
        (["--histories=events.csv", "--user-column=user"], "--user-column names 'user'"),
        (["--histories=events.csv", "--item-column=item"], "did you mean 'item_id'?"),
        (["--histories=floats.parquet"], "floats.parquet, row 1: column 'item_id' holds 1.5"),
        (["--histories=lists.parquet"], "column 'history' holds large_string: it must hold lists"),
        (["--histories=broken.jsonl"], "broken.jsonl, line 2 is not JSON"),
        (["--histories=strange.jsonl"], "strange.jsonl, line 1: a history must be a list of tokens, got 3"),
        (["--histories=floats.jsonl"], "floats.jsonl, line 1: the history holds 1.5"),
        (["--histories=mixed.jsonl"], "mixed.jsonl, line 2: the user is 2"),
        (["--histories=named.jsonl"], "has no 'history'; did you mean 'histori'?"),
        (["--histories=gaps.csv"], "gaps.csv, line 2: column 'item_id' has no value"),
        (["--histories=events.csv", "--n=41"], "n must be in 1 … 40"),
        (["--histories=events.csv", "--output=recs.txt"], "must end in .parquet or .jsonl"),
        (["--histories=events.csv", "--model=modle"], "modle"),
    ],
)
def test_mistakes(model, arguments, said, capsys):
    events(EVENTS).write_csv("events.csv")
    pl.DataFrame({"user_id": ["a"], "item_id": [1.5]}).write_parquet("floats.parquet")
    pl.DataFrame({"history": ["a"]}).write_parquet("lists.parquet")
    for name, text in {
        "broken.jsonl": '["item 1"]\n["item',
        "strange.jsonl": "3",
        "floats.jsonl": "[1.5]",
        "mixed.jsonl": '{"user": "a", "history": []}\n{"user": 2, "history": []}',
        "named.jsonl": '{"histori": []}',
        "gaps.csv": "user_id,item_id\na,\n",
    }.items():
        with open(name, "w") as file:
            file.write(text)
    with pytest.raises(SystemExit):
        main(["recommend", f"--model={model}", "--n=5", "--output=recs.parquet", *arguments])
    assert said in capsys.readouterr().err
    assert not Path("recs.parquet").exists()
