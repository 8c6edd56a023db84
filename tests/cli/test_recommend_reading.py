"""``croloss recommend`` reads and orders the events that training read, as training did."""

import polars as pl
import pytest

from lightning_croloss import load_pretrained, save_pretrained
from lightning_croloss.cli import main
from lightning_croloss.data import TableDataModule
from tests.data_for_tests import small_model

ROWS = [
    (user, item, when) for user in range(6) for when, item in enumerate([user, user + 6, (user + 1) % 6, 3])
]
HEADER = "user_id,item_id,timestamp"


def lines(order=-1, separator=","):
    """Write the events, the latest first unless ``order`` is 1."""
    return [separator.join(map(str, row)) for row in ROWS[::order]]


def write(path, text, encoding="utf-8"):
    path.write_bytes("\n".join(text).encode(encoding))


def trained(tmp_path, source, **arguments):
    """Return the folder of a model that has met its data, and for each user the history that they hold."""
    data = TableDataModule(str(source), min_user_interactions=1, **arguments)
    model = small_model(num_items=data.num_items, ns=(2,))
    model.metadata.take_from(data, knows_users=False)
    events = data.interactions
    users = data.user_vocabulary.decode(events.users)
    histories = {}
    for user, item in zip(users, data.item_vocabulary.decode(events.items), strict=True):
        histories.setdefault(str(user), []).append(item)
    return save_pretrained(model, tmp_path / "model"), histories


def recommended(model, source, *arguments):
    main(
        [
            *("recommend", f"--model={model}", f"--histories={source}", "--n=3", "--include-history"),
            *("--output=recs.parquet", "--overwrite", *arguments),
        ]
    )
    found = {}
    for user, _, item, _ in pl.read_parquet("recs.parquet").rows():
        found.setdefault(str(user), []).append(item)
    return found


def expected(model, histories):
    lists = load_pretrained(model).recommend_tokens(list(histories.values()), 3, exclude_history=False)
    return {user: entry.tokens for user, entry in zip(histories, lists, strict=True)}


def semicolons(path):
    write(path, [HEADER.replace(",", ";"), *lines(separator=";")])
    return {}


def of_another_separator(path):
    write(path, [f"{HEADER.replace(',', ':')}:a,b", *(f"{line}:x" for line in lines(separator=":"))])
    return {"separator": ":"}


def blank(path):
    text = lines()
    write(path, ["", HEADER, *text[:5], "", "   ", *text[5:], "", ""])
    return {}


def comments(path):
    write(path, ["% 1", HEADER, *lines(), "% 2,3,4"])
    return {"comment": "%"}


def missing(path):
    write(path, [HEADER, *lines(), "3,,5", "NULL,1,2"])
    return {"drop_missing": True, "missing_values": ["NULL"]}


def ragged(path):
    write(path, [HEADER, *lines(), "3", "1,2,3,4"])
    return {"ragged": "drop"}


def of_another_encoding(path):
    write(path, [HEADER, *(f"é{line}" for line in lines())], "latin-1")
    return {"encoding": "latin-1"}


def sixteen_bits(path):
    write(path, [HEADER, *(f"é{line}" for line in lines())], "utf-16")
    return {"encoding": "utf-16"}


def a_mark(path):
    write(path, [HEADER, *lines()], "utf-8-sig")
    return {}


def decimals(path):
    write(path, [HEADER.replace(",", ";"), *(f"{u};{i};{t},5" for u, i, t in ROWS[::-1])])
    return {"decimal": ","}


def other_names(path):
    write(path, ["who;what;when", *lines(separator=";")])
    return {"user_column": "who", "item_column": "what", "time_column": "when"}


def rows_in_order(path):
    write(path, [HEADER, *lines(order=1)])
    return {"time_column": None}


def quotes(path):
    write(path, [f"{HEADER},title", *(f'{line},27" tv' for line in lines())])
    return {}


CASES = [
    semicolons,
    of_another_separator,
    blank,
    comments,
    missing,
    ragged,
    of_another_encoding,
    sixteen_bits,
    a_mark,
    decimals,
    other_names,
    rows_in_order,
    quotes,
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_what_training_reads_is_read_and_ordered_alike(case, tmp_path, capsys):
    source = tmp_path / "events.csv"
    model, histories = trained(tmp_path, source, **case(source))
    assert recommended(model, source) == expected(model, histories)
    order = "in the order of the rows" if case is rows_in_order else "ordered by the column"
    assert order in capsys.readouterr().err


@pytest.mark.parametrize("kind", [pl.Float64, pl.Float32, pl.Int32, pl.UInt64, pl.String, pl.Categorical])
def test_ids_of_every_type(tmp_path, kind):
    frame = pl.DataFrame(ROWS[::-1], schema=HEADER.split(","), orient="row")
    frame.write_parquet(tmp_path / "x.parquet")
    model, histories = trained(tmp_path, tmp_path / "x.parquet")
    text = pl.String if kind == pl.Categorical else kind
    frame.with_columns(pl.col("user_id", "item_id").cast(text).cast(kind)).write_parquet(
        tmp_path / "y.parquet"
    )
    assert recommended(model, tmp_path / "y.parquet") == expected(model, histories)
    lists = frame.sort("timestamp", maintain_order=True).group_by("user_id", maintain_order=True)
    lists.agg(history=pl.col("item_id").cast(pl.Float64)).write_parquet(tmp_path / "z.parquet")
    assert recommended(model, tmp_path / "z.parquet") == expected(model, histories)


def test_a_text_is_never_a_float(tmp_path, capsys):
    frame = pl.DataFrame(ROWS, schema=HEADER.split(","), orient="row")
    frame.write_parquet(tmp_path / "x.parquet")
    model, _ = trained(tmp_path, tmp_path / "x.parquet")
    frame.with_columns(pl.format("{}.0", "item_id").alias("item_id")).write_csv(tmp_path / "y.csv")
    recommended(model, tmp_path / "y.csv")
    assert f"{len(ROWS)} tokens that the model does not know" in capsys.readouterr().err


def test_options_win_over_training(tmp_path, capsys):
    source = tmp_path / "events.csv"
    write(source, [HEADER, *lines()])
    model, histories = trained(tmp_path, source)
    reversed_ = {user: history[::-1] for user, history in histories.items()}
    assert recommended(model, source, "--time-column=") == expected(model, reversed_)
    write(source, ["who|item_id|when", *lines(separator="|"), "# a note", "7", "1||2"])
    options = ["--user-column=who", "--time-column=when", "--ragged=drop", "--drop-missing", "--comment=#"]
    assert recommended(model, source, *options) == expected(model, histories)
    said = capsys.readouterr().err
    assert "1 events that lack a value are left out" in said
    assert "1 lines of another number of fields than the header are left out" in said
    assert recommended(model, source, *options[0:1], *options[2:])
    assert "has no column 'timestamp', by which training ordered them" in capsys.readouterr().err


def test_a_model_that_does_not_say_how_its_events_were_ordered(tmp_path, capsys):
    source = tmp_path / "events.csv"
    write(source, [HEADER, *lines()])
    path, histories = trained(tmp_path, source)
    model = load_pretrained(path)
    model.metadata.reading = None
    path = save_pretrained(model, tmp_path / "older")
    assert recommended(path, source) == expected(path, {u: h[::-1] for u, h in histories.items()})
    assert "the model does not say how its training ordered them" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text", ["item_id\n3\n4\n\n5\n", "title,item_id\nx,3\ny,4\nz,5\n", "what\n3\n4\n5\n"]
)
def test_allowed_and_denied_items(tmp_path, text):
    source = tmp_path / "events.csv"
    write(source, [HEADER, *lines()])
    model, _ = trained(tmp_path, source)
    (tmp_path / "list.csv").write_text(text)
    pl.read_csv(text.encode()).with_columns(pl.last().cast(pl.Float64)).write_parquet(
        tmp_path / "list.parquet"
    )
    for name in ("list.csv", "list.parquet"):
        only = recommended(model, source, f"--allow={tmp_path / name}")
        assert {item for items in only.values() for item in items} == {3, 4, 5}
        others = recommended(model, source, f"--deny={tmp_path / name}")
        assert not {item for items in others.values() for item in items} & {3, 4, 5}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.csv", "user_id,item_id\né,1\n".encode("latin-1"), "line 2, column 'user_id' is not UTF-8 text"),
        ("x.csv", b"user_id,item_id\n1,1\n1\n", "x.csv, line 3: column 'item_id' has no value (1 such rows)"),
        ("x.csv", b"user_id,item_id\n1,1\n1,\n", "x.csv, line 3: column 'item_id' has no value"),
        ("x.jsonl", '[1]\n["é"]\n'.encode("latin-1"), "x.jsonl is not UTF-8 text: convert it"),
    ],
)
def test_what_cannot_be_read_ends_in_one_sentence(tmp_path, name, content, said, capsys):
    write(tmp_path / "events.csv", [HEADER, *lines()])
    model, _ = trained(tmp_path, tmp_path / "events.csv")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SystemExit):
        main(["recommend", f"--model={model}", f"--histories={tmp_path / name}", "--n=3"])
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
