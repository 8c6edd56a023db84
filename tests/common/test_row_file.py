"""Rows of recommendations come back as they were, in every format."""

import csv
import json

import pytest

from lightning_croloss.common.row_file import RowFile, is_writable

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
pytest.importorskip("polars")

TOKENS = [
    '27" tv',
    "a,b",
    "tab\tbed",
    "two\nlines",
    '"quoted"',
    "cr\rx",
    "",
    " space",
    "é",
    "#7",
    "NA",
    "1.0",
]


@pytest.mark.parametrize("extension", [".csv", ".tsv", ".CSV", ".jsonl", ".parquet", ".pq"])
@pytest.mark.parametrize("kind", ["text", "integers", "large"])
def test_rows_come_back(tmp_path, extension, kind):
    numbers = [2**64 - 1 - n if kind == "large" else n - 3 for n in range(len(TOKENS))]
    tokens = TOKENS if kind == "text" else numbers
    users = [token for token in tokens for _ in range(2)]
    items = users[::-1]
    scores = [row / 8 for row in range(len(users))]
    ids = pa.array(tokens, pa.uint64() if kind == "large" else None).type
    schema = pa.schema([("user", ids), ("rank", pa.int32()), ("item", ids), ("score", pa.float32())])
    table = pa.table(
        {"user": users, "rank": [1, 2] * len(tokens), "item": items, "score": scores}, schema=schema
    )
    path = tmp_path / f"x{extension}"
    with RowFile(path, schema) as file:
        for part in (table[:4], table[:0], table[4:]):
            file.write_table(part)
    if extension in (".parquet", ".pq"):
        assert parquet.read_table(path) == table
    elif extension == ".jsonl":
        lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        assert [line["user"] for line in lines] == tokens
        assert [item for line in lines for item in line["items"]] == items
        assert [score for line in lines for score in line["scores"]] == scores
    else:
        with path.open(encoding="utf-8", newline="") as lines:
            header, *rows = csv.reader(lines, delimiter="\t" if extension == ".tsv" else ",")
        assert header == ["user", "rank", "item", "score"]
        assert [(user, item) for user, _, item, _ in rows] == list(
            zip(map(str, users), map(str, items), strict=True)
        )
        assert [(int(rank), float(score)) for _, rank, _, score in rows] == list(
            zip([1, 2] * len(tokens), scores, strict=True)
        )


def test_what_is_written(tmp_path):
    assert is_writable(tmp_path / "x.CSV")
    assert not is_writable(tmp_path / "x.xlsx")
    schema = pa.schema([("user", pa.string()), ("rank", pa.int32())])
    RowFile(tmp_path / "x.csv", schema).close()
    assert (tmp_path / "x.csv").read_text() == "user,rank\n"
