"""Text files as people have them: quotes, separators, encodings, blank, ragged and comment lines."""

import codecs
import csv
import io
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_croloss.data import TableDataModule
from lightning_croloss.data.table.options import ReadingOptions
from lightning_croloss.data.table.text import LeftOut, TextFile
from lightning_croloss.errors import DataError
from tests.data.table.tables import dropped, refusal
from tests.data_for_tests import token_sequences

HEADER = "user_id,item_id,timestamp"


def read(path, content, **options):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    file = TextFile(path, ReadingOptions(**options))
    frame, left_out = file.read(list(file.columns))
    return file, [list(row) for row in frame.rows()], left_out


@pytest.mark.parametrize(("name", "separator"), [("x.csv", ","), ("x.tsv", "\t")])
@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ('27" monitor', '27" monitor'),
        ("5'10\"", "5'10\""),
        ('a "b" c', 'a "b" c'),
        ('"Great" movie', '"Great" movie'),
        ('"Weird Al', '"Weird Al'),
        ('"', '"'),
        ('ends"', 'ends"'),
        ('"quoted"', "quoted"),
        ('"27"" monitor"', '27" monitor'),
        ('""', ""),
        ('""""', '"'),
    ],
)
def test_a_quote_is_a_character_unless_it_encloses_a_field(tmp_path, name, separator, written, meant):
    rows = [["1", "plain", "x"], ["2", written, "y"], ["3", 'another 4" tv', "z"], ["4", "last", "w"]]
    text = "\n".join(separator.join(row) for row in [["a", "b", "c"], *rows]) + "\n"
    file, found, _ = read(tmp_path / name, text)
    rows[1][1] = meant
    assert found == rows
    assert [file.line(row) for row in range(4)] == [2, 3, 4, 5]


def test_a_file_with_inch_marks_trains_and_has_titles(tmp_path):
    (tmp_path / "x.tsv").write_text('user_id\titem_id\ttimestamp\ttitle\nu\ta\t1\t27" tv\nu\tb\t2\t\n')
    (tmp_path / "i.tsv").write_text('item_id\ttitle\na\t27" tv\nb\t"Best" of\n')
    module = TableDataModule(
        str(tmp_path / "x.tsv"),
        min_user_interactions=1,
        items=str(tmp_path / "i.tsv"),
        title_column="title",
    )
    assert token_sequences(module) == {"u": ["a", "b"]}
    assert module.item_titles == ['27" tv', '"Best" of']


CELLS = st.text(st.sampled_from('ab",\n\t é#'), max_size=5)


@settings(max_examples=60, database=None)
@given(
    st.lists(st.lists(CELLS, min_size=3, max_size=3), max_size=6),
    st.sampled_from(["auto", "fields"]),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
)
def test_what_a_csv_writer_writes_is_read_back(rows, quotes, end, quoting):
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator=end, quoting=quoting).writerows([["a", "b", "c"], *rows])
    with tempfile.TemporaryDirectory() as folder:
        try:
            file, found, left_out = read(Path(folder) / "x.csv", buffer.getvalue(), quotes=quotes)
        except DataError as error:  # it may be refused, but never misread
            if quotes == "fields" or "each of which could be a row: set quotes to" not in str(error):
                raise
            return
        assert found == rows
        assert not left_out
        reader = csv.reader(io.StringIO(buffer.getvalue(), newline=""))
        ends = [reader.line_num for _ in reader]
        assert [file.line(row) for row in range(len(rows))] == [end + 1 for end in ends[:-1]]


def test_a_quoted_text_over_lines_that_could_be_rows_is_refused(tmp_path):
    text = 'a,b\n1,"one\n2,two\n3,three"\n'
    with pytest.raises(DataError, match=r"x\.csv, line 2: column 'b' begins a quoted text of 3 lines, each"):
        read(tmp_path / "x.csv", text)
    assert read(tmp_path / "x.csv", text, quotes="fields")[1] == [["1", "one\n2,two\n3,three"]]
    assert read(tmp_path / "x.csv", text, quotes="text")[1] == [["1", '"one'], ["2", "two"], ["3", 'three"']]
    with pytest.raises(DataError, match=r"line 3: column 'b' begins with a quote that does not end it"):
        read(tmp_path / "x.csv", 'a,b\n1,2\n1,"one" more\n', quotes="fields")


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("name", ["x.csv", "x.tsv"])
def test_a_separator_is_guessed_where_the_header_is_certain(tmp_path, separator, name):
    path = tmp_path / name
    path.write_text(f"{HEADER}\nu,a,1\nu,b,0\n".replace(",", separator))
    assert token_sequences(TableDataModule(str(path), min_user_interactions=1)) == {"u": ["b", "a"]}
    path.write_text(f'"x{separator}y"{separator}{HEADER.replace(",", separator)}\n'.replace(",", separator))
    assert TextFile(path, ReadingOptions()).separator == separator


@pytest.mark.parametrize("separator", [";", ":"])
def test_a_separator_that_is_said_wins(tmp_path, separator):
    text = f"{HEADER}\nu,a,1\n".replace(",", separator)
    assert read(tmp_path / "x.csv", text, separator=separator)[1] == [["u", "a", "1"]]
    assert list(read(tmp_path / "x.csv", "a,b;c\n1,2;3\n")[0].columns) == ["a", "b;c"], "not certain"


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_encodings(tmp_path, encoding):
    path = tmp_path / "x.csv"
    path.write_bytes(f"{HEADER}\nü,a,1\nü,é,2\n".encode(encoding))
    module = TableDataModule(str(path), min_user_interactions=1, encoding=encoding)
    assert token_sequences(module) == {"ü": ["a", "é"]}
    said = refusal(path)
    assert "x.csv" in said
    assert "set encoding" in said
    if encoding in ("latin-1", "cp1252"):
        assert "line 2, column 'user_id' is not UTF-8 text" in said


def test_another_encoding_than_was_said(tmp_path):
    (tmp_path / "x.csv").write_bytes(f"{HEADER}\nu,a,1\nü,a,1\n".encode())
    assert refusal(tmp_path / "x.csv", encoding="utf-32").startswith("x.csv")
    (tmp_path / "x.csv").write_bytes(f"{HEADER}\nu,a,1\n\xff,a,1\n".encode("latin-1"))
    assert refusal(tmp_path / "x.csv", encoding="shift_jis").startswith("x.csv")


def test_text_in_another_encoding_does_no_harm_in_columns_that_are_not_read(tmp_path):
    (tmp_path / "x.csv").write_bytes(f"{HEADER},title\nu,a,1,é\n".encode("latin-1"))
    assert token_sequences(TableDataModule(str(tmp_path / "x.csv"), min_user_interactions=1)) == {"u": ["a"]}


@pytest.mark.parametrize("options", [{}, {"encoding": "latin-1"}])
def test_a_byte_order_mark(tmp_path, options):
    (tmp_path / "x.csv").write_bytes(codecs.BOM_UTF8 + f"{HEADER}\nü,a,1\n".encode())
    module = TableDataModule(str(tmp_path / "x.csv"), min_user_interactions=1, **options)
    assert token_sequences(module) == {"ü": ["a"]}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_ends_of_lines(tmp_path, end):
    file, rows, _ = read(tmp_path / "x.csv", end.join(["a,b", "1,2", "", "3,4"]))
    assert rows == [["1", "2"], ["", ""], ["3", "4"]]
    assert file.line(2) == 4


def test_blank_lines_and_comments(tmp_path):
    text = f"# exported\n\n{HEADER}\nu,a,1\n\n  \n# half\n#v,b,2\n"
    (tmp_path / "x.csv").write_text(text)
    module = TableDataModule(str(tmp_path / "x.csv"), min_user_interactions=1)
    assert token_sequences(module) == {"u": ["a"], "#v": ["b"]}
    assert dropped(module) == {"blank": 2}
    assert module.report.notes == [
        "x.csv: 1 lines that begin with '#' and have another number of fields than the header are taken for "
        "comments"
    ]
    module = TableDataModule(str(tmp_path / "x.csv"), min_user_interactions=1, comment="#")
    assert token_sequences(module) == {"u": ["a"]}
    assert read(tmp_path / "x.csv", 'a,b\n% "odd\n"p\n% q",5\n', comment="%")[1] == [
        ["", ""],
        ["p\n% q", "5"],
    ]
    assert list(read(tmp_path / "x.csv", "#,a\n1,2\n")[0].columns) == ["#", "a"]


@pytest.mark.parametrize("quoted", [False, True])
@pytest.mark.parametrize("block", [1 << 22, 16])
def test_a_line_is_blank_only_if_it_holds_nothing_at_all(tmp_path, monkeypatch, quoted, block):
    monkeypatch.setattr("lightning_croloss.data.table.text._BLOCK", block)
    path, filled = tmp_path / "x.csv", '"5\n"' if quoted else "5"
    text = f"{HEADER},price\nu,a,1,2\n\n,,,\n,,,{filled}\n"
    path.write_text(text + "u,b,2,2\n")
    line = 5
    assert refusal(path).startswith(f"x.csv, line {line}: column 'user_id' has no value (1 such rows)")
    module = TableDataModule(str(path), min_user_interactions=1, drop_missing=True)
    assert token_sequences(module) == {"u": ["a", "b"]}
    assert dropped(module) == {"blank": 2, "drop_missing": 1}
    path.write_text(text.replace(filled, "") + "u,b,noon,2\n")
    assert refusal(path).startswith(f"x.csv, line {line + 1}: column 'timestamp' holds 'noon'")


def test_a_line_of_what_means_missing_is_no_blank_line(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text(f"{HEADER}\nu,a,1\nNULL,NULL,NULL\n")
    said = refusal(path, missing_values=["NULL"])
    assert said.startswith("x.csv, line 3: column 'user_id' has no value (1 such rows)")
    path.write_bytes(f"{HEADER},é\nu,a,1,2\n,,,é\n".encode("latin-1").replace(b"\xe9\nu", b"e\nu"))
    assert refusal(path).startswith("x.csv, line 3: column 'user_id' has no value")  # what is not read may be


@pytest.mark.parametrize("quoted", [False, True])
def test_ragged_rows(tmp_path, quoted):
    path = tmp_path / "x.csv"
    text = f"{HEADER}\nu,a,1\nu,b\nu,c,3,4\n\nv,d,noon\n"
    first = '"u"' if quoted else "u"
    path.write_text(text.replace("u,a", f"{first},a"))
    assert refusal(path).startswith("x.csv, line 3: column 'timestamp' has no value (2 such rows)")
    assert "set ragged to drop" in refusal(path)
    assert refusal(path, ragged="drop").startswith("x.csv, line 6: column 'timestamp' holds 'noon'")
    path.write_text(text.replace("noon", "5"))
    module = TableDataModule(str(path), min_user_interactions=1, ragged="drop")
    assert token_sequences(module) == {"u": ["a"], "v": ["d"]}
    assert dropped(module) == {"ragged": 2, "blank": 1}
    assert module.report.read.interactions == 5


def test_a_line_longer_than_a_block(tmp_path, monkeypatch):
    monkeypatch.setattr("lightning_croloss.data.table.text._BLOCK", 64)
    token = "x" * 500
    assert read(tmp_path / "x.csv", f"a,b\n1,2\n3,{token}\n5,6\n")[1] == [
        ["1", "2"],
        ["3", token],
        ["5", "6"],
    ]


def test_nothing_but_comments(tmp_path):
    with pytest.raises(DataError, match=r"x\.csv has no header"):
        read(tmp_path / "x.csv", "\n  \n")
    assert read(tmp_path / "x.csv", "a,b\n")[1:] == ([], LeftOut())
    assert list(read(tmp_path / "x.csv", ",a,,\n1,2,3,\n")[0].columns) == [
        "unnamed column 1",
        "a",
        "unnamed column 3",
        "unnamed column 4",
    ]


@pytest.mark.parametrize(
    ("text", "options", "times"),
    [
        ("u,a,1.5\nu,b,0.5\n", {}, [0.5, 1.5]),
        ("u;a;1,5\nu;b;0,5\n", {"decimal": ","}, [0.5, 1.5]),
        ("u;a;20\nu;b;3\n", {"decimal": ","}, [3, 20]),
    ],
)
def test_decimals(tmp_path, text, options, times):
    header = HEADER.replace(",", ";") if ";" in text else HEADER
    (tmp_path / "x.csv").write_text(f"{header}\n{text}")
    module = TableDataModule(str(tmp_path / "x.csv"), min_user_interactions=1, **options)
    assert module.interactions.times.tolist() == times


def test_decimal_commas_of_values(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("user_id;item_id;rating\nu;a;4,5\nu;b;2,0\n")
    arguments = {"time_column": None, "value_column": "rating", "min_value": 4}
    module = TableDataModule(str(path), min_user_interactions=1, decimal=",", **arguments)
    assert token_sequences(module) == {"u": ["a"]}
    said = refusal(path, **arguments)
    assert said.startswith("x.csv, line 2: column 'rating' holds '4,5', which is not a finite number; is it")
    path.write_text("user_id;item_id;rating\nu;a;1.234,5\n")
    assert "holds '1.234,5', which is not" in refusal(path, decimal=",", **arguments)
    path.write_text("user_id;item_id;rating\nu;a;1.234\n")
    assert "holds '1.234', which is not" in refusal(path, decimal=",", **arguments)


def test_a_header_in_the_middle(tmp_path):
    (tmp_path / "x.csv").write_text(f"{HEADER}\nu,a,1\n" * 2)
    assert refusal(tmp_path / "x.csv", time_column=None).startswith("x.csv, line 3: column 'user_id' holds")
    # joined with its byte-order mark
    (tmp_path / "x.csv").write_text(f"\ufeff{HEADER}\nu,a,1\n" * 2, encoding="utf-8")
    assert refusal(tmp_path / "x.csv", time_column=None).startswith("x.csv, line 3: column 'user_id' holds")


@pytest.mark.parametrize("separator", [",", ";"])
def test_a_header_in_another_encoding(tmp_path, separator):
    header = separator.join(["user_id", "item_id", "größe", "timestamp"])
    (tmp_path / "x.csv").write_bytes(f"{header}\n".encode("latin-1"))
    assert "line 1, column 'gr\ufffd\ufffde' is not UTF-8 text: set encoding" in refusal(tmp_path / "x.csv")
