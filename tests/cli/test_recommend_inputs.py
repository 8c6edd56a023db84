"""What ``croloss recommend`` accepts as users, chosen items and output, and how it refuses the rest."""

from __future__ import annotations

import datetime
import decimal
import json
from pathlib import Path
from typing import Any

import pytest

from lightning_croloss import save_pretrained
from lightning_croloss.cli import main
from tests.cli.cases import error_of
from tests.data_for_tests import ClusteredData, fit, small_model

pa = pytest.importorskip("pyarrow", reason="needs the extra [tables]")
pq = pytest.importorskip("pyarrow.parquet", reason="needs the extra [tables]")
pytestmark = pytest.mark.filterwarnings("ignore")

HISTORIES = [["item 2", "item 0"], ["item 10"]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a model of items ``item 0`` … ``item 39``."""
    model = small_model(exclude_history=True)
    fit(model, ClusteredData(), max_epochs=1)
    folder: Path = save_pretrained(model, tmp_path_factory.mktemp("models") / "model")
    return folder


def recommend(model: Path, *words: str, histories: str = "lists.parquet") -> list[str]:
    return ["recommend", f"--model={model}", f"--histories={histories}", "--n=3", *words]


def write_lists(users: Any) -> None:
    table = pa.table({"user_id": users, "history": [HISTORIES[at % 2] for at in range(len(users))]})
    pq.write_table(table, "lists.parquet")


@pytest.mark.parametrize(
    ("users", "written"),
    [
        (pa.array([7, 2**40]), [7, 2**40]),
        (pa.array([7, -3], pa.int8()), [7, -3]),
        (pa.array([7, 2**63 + 1], pa.uint64()), [7, 2**63 + 1]),
        (pa.array([7.0, 9.0]), [7, 9]),  # as pandas keeps integers beside missing values
        (pa.array(["a", "é"]), ["a", "é"]),
        (pa.array(["a", "b"], pa.large_string()), ["a", "b"]),
        (pa.array(["a", "b"]).dictionary_encode(), ["a", "b"]),
    ],
    ids=lambda value: str(value.type) if hasattr(value, "type") else "",
)
@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
def test_users_of_lists_stay_what_they_are(model: Path, users: Any, written: list[Any], ending: str) -> None:
    write_lists(users)
    main(recommend(model, f"--output=out.{ending}"))
    if ending == "parquet":
        found = pq.read_table("out.parquet")["user"].to_pylist()[::3]
    else:
        found = [json.loads(line)["user"] for line in Path("out.jsonl").read_text().splitlines()]
    assert found == written


@pytest.mark.parametrize(
    ("users", "said"),
    [
        (pa.array([7.0, 1.5]), "lists.parquet, row 2: column 'user_id' holds 1.5: users must be text or int"),
        (pa.array([7.0, float("nan")]), "lists.parquet, row 2: column 'user_id' holds nan: users must be"),
        (pa.array([7.0, 2.0**63]), "lists.parquet, row 2: column 'user_id' holds 9.22337203685477"),
        (pa.array([2.0**24, 7.0], pa.float32()), "lists.parquet, row 1: column 'user_id' holds 16777216.0"),
        (pa.array([7, None]), "lists.parquet, row 2: column 'user_id' names no user: leave such rows out"),
        (pa.array(["a", None]), "lists.parquet, row 2: column 'user_id' names no user"),
        (
            pa.array([None] * 1025),
            "lists.parquet: column 'user_id' holds null: users must be text or integers",
        ),
        (pa.array([7] * 1030 + [None]), "lists.parquet, row 1031: column 'user_id' names no user"),
        (pa.array([True, False]), "lists.parquet: column 'user_id' holds bool: users must be"),
        (pa.array([datetime.date(2020, 1, 1)] * 2), "column 'user_id' holds date32[day]: users must be"),
        (pa.array([datetime.datetime(2020, 1, 1)] * 2), "column 'user_id' holds timestamp[us]: users must"),
        (pa.array([decimal.Decimal(1)] * 2), "column 'user_id' holds decimal128(1, 0): users must be"),
        (pa.array([b"a", b"b"]), "column 'user_id' holds binary: users must be"),
        (pa.array([[1], [2]]), "column 'user_id' holds list<"),
    ],
    ids=lambda value: str(value.type) if hasattr(value, "type") else "",
)
@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
def test_users_that_are_neither_text_nor_integers(
    model: Path, users: Any, said: str, ending: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_lists(users)
    assert said in error_of(capsys, *recommend(model, f"--output=out.{ending}"))
    assert not Path(f"out.{ending}").exists()


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (['{"user": 2, "history": ["item 3"]}', '["item 4"]'], "line 2 names no user, but earlier lines do"),
        (
            ['["item 4"]', '{"user": "ann", "history": ["item 3"]}'],
            "line 2 names a user, but no line before does: name the user in every line, or in none",
        ),
        (
            ['{"history": ["item 4"]}', "", '{"user": 1, "history": []}'],
            "line 3 names a user, but no line before does",
        ),
    ],
)
def test_either_all_lines_name_their_users_or_none(
    model: Path, lines: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("h.jsonl").write_text("\n".join(lines))
    assert said in error_of(capsys, *recommend(model, histories="h.jsonl"))


def items_of(path: str) -> set[str]:
    return set(pq.read_table(path)["item"].to_pylist())


@pytest.mark.parametrize("option", ["allow", "deny"])
def test_chosen_items_that_the_model_does_not_know_are_told(
    model: Path, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_lists(pa.array([1, 2]))
    Path("some.csv").write_text("sku\nitem 5\nITEM-6\nitem 7\n")
    main(recommend(model, f"--{option}=some.csv", "--output=out.parquet"))
    said = capsys.readouterr().err
    assert (
        f"croloss: --{option} some.csv: 1 of 3 items are not known to the model, such as 'ITEM-6'\n" in said
    )
    if option == "allow":
        assert items_of("out.parquet") == {"item 5", "item 7"}
    else:
        assert not items_of("out.parquet") & {"item 5", "item 7"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "item 5\nitem 6\n",
            "the first line, 'item 5', is an item, but it is taken for the name of the column: write a line "
            "item_id above it",
        ),
        (
            "sku\nITEM-5\nITEM-6\n",
            "none of its 2 items is known to the model, such as 'ITEM-5': nothing could",
        ),
    ],
)
def test_a_list_of_items_that_would_do_nothing(
    model: Path, text: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_lists(pa.array([1, 2]))
    Path("some.csv").write_text(text)
    assert f"--allow some.csv: {said}" in error_of(capsys, *recommend(model, "--allow=some.csv"))
    if "first line" in said:
        assert f"--deny some.csv: {said}" in error_of(capsys, *recommend(model, "--deny=some.csv"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--user-column=item_id"],
            "--user-column and --item-column are the same column 'item_id': each needs",
        ),
        (["--time-column=item_id"], "--item-column and --time-column are the same column 'item_id'"),
        (["--time-column=user_id"], "--user-column and --time-column are the same column 'user_id'"),
    ],
)
def test_each_role_has_a_column_of_its_own(
    model: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("events.csv").write_text("user_id,item_id\n1,item 5\n1,item 6\n")
    assert said in error_of(capsys, *recommend(model, *words, histories="events.csv"))


def test_a_folder_of_lists_goes_into_a_folder(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("in").mkdir()
    write_lists(pa.array([1, 2]))
    Path("lists.parquet").rename("in/a.parquet")
    said = error_of(capsys, *recommend(model, "--output=out.parquet", histories="in"))
    assert "in: a.parquet holds lists, which are read from one Parquet file, or from a folder" in said
    main(recommend(model, "--output=out", histories="in"))
    assert Path("out/a.parquet").is_file()


@pytest.mark.parametrize("option", ["histories", "allow", "deny", "users"])
@pytest.mark.parametrize("way", ["same", "other spelling", "link", "folder"])
def test_an_input_is_not_replaced(
    model: Path, option: str, way: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("in").mkdir()
    given = Path("in/events.csv")
    given.write_text("user_id,item_id\n1,item 5\n1,item 6\n")
    Path("other.csv").write_text(given.read_text())
    output = {"other spelling": f"{tmp_path}/in/../in/events.csv", "link": "link.csv"}.get(way, str(given))
    if way == "link":
        Path("link.csv").symlink_to(given)
    before = given.read_text()
    named = "in" if way == "folder" else str(given)
    words = [f"--output={output}", "--overwrite"]
    if option == "histories":
        words = recommend(model, *words, histories=named)
    else:
        words = recommend(model, f"--{option}={named}", *words, histories="other.csv")
    said = error_of(capsys, *words)
    assert f"--output {output} is a file of --{option}, which would be lost: choose another output" in said
    assert given.read_text() == before
