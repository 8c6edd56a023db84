"""Atomic files as people have them: kept or refused as TableDataModule does, never read in another way."""

import tempfile
import warnings
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lightning_croloss.data import RecBoleDataModule, TableDataModule
from lightning_croloss.errors import DataError

pytest.importorskip("recbole")

HEADER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
#: What pandas takes for a missing value, and other words that are ids like any other.
WORDS = ["NA", "null", "None", "nan", "NaN", "N/A", "<NA>", "n/a", "NULL", "#N/A", "-nan", "1.#IND", "inf"]
ROWS = [("u1", "a", 5, 3), ("u2", "b", 1, 1), ("u1", "b", 2, 1), ("u2", "c", 3, 2), ("u1", "c", 4, 2)]


def text_of(rows, end="\n", header=HEADER):
    return header.replace("\n", end) + "".join("\t".join(map(str, row)) + end for row in rows)


def folder_with(root, content, **others):
    """Write a data set whose .inter has a content, text or bytes."""
    folder = Path(root) / "shop"
    folder.mkdir(exist_ok=True)
    for extension, data in {"inter": content, **others}.items():
        (folder / f"shop.{extension}").write_bytes(data.encode() if isinstance(data, str) else data)
    return root


def recbole_of(root, config=None, **arguments):
    return RecBoleDataModule("shop", str(root), config=config, **arguments)


def table_of(root, **arguments):
    return TableDataModule(str(Path(root) / "shop" / "shop.inter"), min_user_interactions=1, **arguments)


def events_of(module):
    """Return for each user's token, as text, the items and times in order."""
    data = module.interactions
    users, items = data.user_vocabulary.decode(data.users), data.item_vocabulary.decode(data.items)
    times = [None] * len(users) if data.times is None else data.times.tolist()
    events = defaultdict(list)
    for user, item, time in zip(users, items, times, strict=True):
        events[str(user)].append((str(item), time))
    return dict(events)


def outcome(module):
    """Return the events, or the error that refuses them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return events_of(module)
        except DataError as error:
            return error


# ---- what is kept ----------------------------------------------------------------------------------------


def test_words_for_missing_values_are_ids(tmp_path):
    rows = [(word, WORDS[number - 1], 1, number) for number, word in enumerate(WORDS)]
    root = folder_with(tmp_path, text_of([*rows, *[("u", word, 2, 99) for word in WORDS]]))
    events = events_of(recbole_of(root))
    assert events.keys() == {*WORDS, "u"}
    assert all(events[word] == [(WORDS[number - 1], number)] for number, word in enumerate(WORDS))
    assert sorted(item for item, _ in events["u"]) == sorted(WORDS)
    assert events == events_of(table_of(root))


@pytest.mark.parametrize(
    "content",
    [
        text_of(ROWS, "\r\n"),
        "\ufeff" + text_of(ROWS),
        text_of(ROWS).removesuffix("\n"),
        text_of(ROWS).replace("u2\tb", "\nu2\tb") + "\n\n",
    ],
    ids=["crlf", "mark", "no newline at the end", "blank lines"],
)
def test_what_changes_nothing(tmp_path, content):
    expected = {"u1": [("b", 1), ("c", 2), ("a", 3)], "u2": [("b", 1), ("c", 2)]}
    root = folder_with(tmp_path, content)
    assert events_of(recbole_of(root)) == events_of(table_of(root)) == expected


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-16-le", "cp1252", "utf-8-sig"])
def test_encodings(tmp_path, encoding):
    rows = [("é", "NA", 5, 3), ("ü", "ß", 1, 1), ("é", "ß", 2, 1)]
    items = "item_id:token\tname:token_seq\nß\tCafé\nNA\tÜber uns\n"
    root = folder_with(tmp_path, text_of(rows).encode(encoding), item=items.encode(encoding))
    module = recbole_of(root, {"encoding": encoding}, title_field="name")
    assert events_of(module) == {"é": [("ß", 1), ("NA", 3)], "ü": [("ß", 1)]}
    titles = dict(zip(module.item_vocabulary.tokens, module.item_titles, strict=True))
    assert titles == {"ß": "Café", "NA": "Über uns"}


def test_quotes_and_comments(tmp_path):
    rows = [("u", 'TV 32"', 1, 1), ("u", '"NA"', 1, 2), ("#v", '5" disk', 1, 3)]
    root = folder_with(tmp_path, text_of(rows) + "# made by hand\n")
    with pytest.warns(UserWarning, match=r"shop\.inter: 1 lines that begin with '#'"):
        events = events_of(recbole_of(root))
    assert events == events_of(table_of(root)) == {"u": [('TV 32"', 1), ("NA", 2)], "#v": [('5" disk', 3)]}


@pytest.mark.parametrize("step", [1, 1_000])
def test_times_that_floats_cannot_tell_apart(tmp_path, step):
    """Nanoseconds since 1970 are beyond 2^53."""
    first = 1_700_000_000_000_000_000
    rows = [("u", "c", 1, first + 2 * step), ("u", "a", 1, first), ("u", "b", 1, first + step)]
    root = folder_with(tmp_path, text_of(rows))
    expected = {"u": [("a", first), ("b", first + step), ("c", first + 2 * step)]}
    assert events_of(recbole_of(root)) == events_of(table_of(root)) == expected


def test_dates(tmp_path):
    rows = [("u", "b", 1, "2024-05-31T18:30:00"), ("u", "a", 1, "2024-05-30"), ("v", "a", 1, "2024-01-01")]
    root = folder_with(tmp_path, text_of(rows))
    assert recbole_of(root).interactions.has_dates
    assert events_of(recbole_of(root)) == events_of(table_of(root))
    assert [item for item, _ in events_of(recbole_of(root))["u"]] == ["a", "b"]
    with pytest.raises(DataError, match=r"shop\.inter: column 'timestamp' holds dates"):
        recbole_of(root, {"val_interval": {"timestamp": "[5,inf)"}}).load()


def test_columns_that_nothing_depends_on_may_hold_anything(tmp_path):
    rows = [("u", "a", "none", 1), ("u", "b", "", 2)]
    root = folder_with(tmp_path, text_of(rows), item="item_id:token\tprice:float\na\tcheap\nb\t\n")
    assert events_of(recbole_of(root, {"load_col": None})) == {"u": [("a", 1), ("b", 2)]}


def test_missing_ratings_are_outside_of_any_interval(tmp_path):
    root = folder_with(tmp_path, text_of([("u", "a", 4, 1), ("u", "b", "", 2), ("u", "c", 3, 3)]))
    assert events_of(recbole_of(root, {"val_interval": {"rating": "[4,inf)"}})) == {"u": [("a", 1)]}


@pytest.mark.parametrize("keep", ["first", "last"])
def test_duplicates_of_equal_time_keep_the_order_of_the_file(tmp_path, keep):
    rows = [("u", f"i{number % 40}", number, number // 60) for number in range(120)]
    root = folder_with(tmp_path, text_of(rows))
    assert events_of(recbole_of(root, {"rm_dup_inter": keep})) == events_of(table_of(root, duplicates=keep))


def test_aliases_are_numbered_together(tmp_path):
    header = "user_id:token\titem_id:token\tseen:token_seq\ttimestamp:float\n"
    rows = [("u", "NA", "null b", 1), ("u", "b", "", 2), ("v", "null", "x", 3)]
    root = folder_with(tmp_path, text_of(rows, header=header))
    config = {"load_col": None, "alias_of_item_id": ["seen"]}
    module = recbole_of(root, config)
    assert module.item_vocabulary.tokens == ["NA", "b", "null", "x"]
    assert events_of(module) == {"u": [("NA", 1), ("b", 2)], "v": [("null", 3)]}
    assert recbole_of(root, {**config, "seq_len": {"seen": 0}}).num_items == 3


# ---- what is refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (text_of(ROWS).replace("\n", "\t\n"), r"header of shop\.inter has ''"),
        (HEADER + text_of(ROWS, "\t\n", ""), r"shop\.inter cannot be read: found more fields.*line 2"),
        (text_of([*ROWS, ("u1", "d", 1, 2, 3)]), r"shop\.inter cannot be read: found more fields.*line 7"),
        (text_of(ROWS) + "u1\td\n", r"shop\.inter, line 7: column 'rating' has no value"),
        (text_of(ROWS) + text_of(ROWS), r"shop\.inter, line 7: .*header"),
        (text_of([*ROWS, ("", "d", 1, 2)]), r"shop\.inter has no user_id in line 7: fill it or remove the"),
        (text_of([*ROWS, ("u1", "", 1, 2)]), r"shop\.inter has no item_id in line 7"),
        (text_of([*ROWS, ("u1", "d", 1, "")]), r"shop\.inter has no timestamp in line 7"),
        (text_of([*ROWS, ("u1", "d", 1, "inf")]), r"shop\.inter, line 7: column 'timestamp' holds 'inf'"),
        (text_of([*ROWS, ("u1", "d", 1, "nan")]), r"shop\.inter, line 7: column 'timestamp' holds 'nan'"),
        (text_of([*ROWS, ("u1", "d", 1, "NA")]), r"shop\.inter, line 7: column 'timestamp' holds 'NA'"),
        (text_of([*ROWS, ("u1", "d", 1, "soon")]), r"shop\.inter, line 7: column 'timestamp' holds 'soon'"),
        (text_of([*ROWS, ("u1", "\0d", 1, 2)]), r"shop\.inter"),
        (text_of(ROWS).encode("utf-16"), r"shop\.inter.*encoding"),
        (
            text_of([*ROWS, ("u1", "é", 1, 2)]).encode("latin-1"),
            r"shop\.inter cannot be read: line 7, .*encoding",
        ),
        (HEADER, r"shop\.inter has no rows"),
        (b"", r"shop\.inter is empty"),
        (text_of(ROWS, header=HEADER.replace("rating", "user_id")), r"shop\.inter has two columns 'user_id'"),
        (text_of(ROWS, header=HEADER.replace("item_id:token", "item_id")), r"shop\.inter has 'item_id'"),
        (text_of(ROWS, header=""), r"header of shop\.inter has 'u1'"),
        (text_of(ROWS, header=HEADER.replace("item_id", "item")), r"column of shop\.inter"),
    ],
)
def test_both_refuse_in_one_sentence(tmp_path, content, message):
    root = folder_with(tmp_path, content)
    with pytest.raises(DataError, match=message) as caught:
        recbole_of(root).load()
    assert "\n" not in str(caught.value)
    assert isinstance(outcome(table_of(root)), DataError)


def test_lines_of_other_fields_are_left_out_if_wanted(tmp_path):
    items = "item_id:token\tkind:token\na\tx\nb\ty\tz\nc\ty\n"
    root = folder_with(tmp_path, text_of([*ROWS, ("u3", "d", 1, 2, 3), ("u4", "e")]), item=items)
    module = recbole_of(root, ragged="drop", item_features=["kind"])
    with pytest.warns(UserWarning, match=r"shop\.inter: 2 lines of another number of fields"):
        events = events_of(module)
    assert events == events_of(table_of(root, ragged="drop"))
    assert events.keys() == {"u1", "u2"}
    with pytest.warns(UserWarning, match=r"shop\.item: 1 lines of another number of fields"):
        assert module.features[0][0].num_missing == 1
    with pytest.raises(ValueError, match="unknown ragged 'skip'"):
        recbole_of(root, ragged="skip")


@pytest.mark.parametrize("rating", ["good", "inf", "NA"])
def test_a_filter_of_no_numbers(tmp_path, rating):
    root = folder_with(tmp_path, text_of([*ROWS, ("u1", "d", rating, 9)]))
    message = rf"shop\.inter, line 7: column 'rating' holds '{rating}', which is not a finite number"
    with pytest.raises(DataError, match=message):
        recbole_of(root, {"val_interval": {"rating": "[4,inf)"}}).load()


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ("item_id:token\tkind:token\t\na\tx\t\n", r"header of shop\.item has ''"),
        ("item_id:token\tkind:token\na\tx\t\nb\ty\t\n", r"shop\.item cannot be read: found more fields"),
        ("item_id:token\tkind:token\n\tx\nb\ty\n", r"shop\.item has no item_id in line 2"),
        ("item_id:token\tkind:token\na\tx\nitem_id:token\tkind:token\n", r"shop\.item, line 3: .*header"),
        ("item_id:token\tkind:token\na\tx\nb\ty\na\ty\n", r"shop\.item holds item_id 'a' again in line 4"),
        ("item_id:token\tkind\na\tx\n", r"header of shop\.item has 'kind'"),
        ("item_id:float\tkind:token\n1\tx\n", r"'item_id' of shop\.item is of type 'float'"),
        ("item:token\tkind:token\na\tx\n", r"ITEM_ID_FIELD names 'item_id', which is not a column of shop"),
    ],
)
def test_the_other_files_are_read_likewise(tmp_path, items, message):
    root = folder_with(tmp_path, text_of(ROWS), item=items)
    with pytest.raises(DataError, match=message):
        recbole_of(root, {"load_col": None}).load()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"encoding": "klingon"}, "encoding='klingon' is unknown"),
        ({"encoding": 8}, "encoding=8 must be a text"),
        ({"field_separator": "::"}, "field_separator='::' must be one character"),
        ({"encoding": "utf-32"}, r"shop\.inter.*utf-32"),
        (
            {"load_col": {"inter": ["user_id", "item_id"], "item": ["kind"]}},
            r"names 'item_id', which .* to load_col\['item'\]",
        ),
        ({"val_interval": {"tags": ["x"]}}, "val_interval names 'tags', which is of type 'token_seq'"),
        ({"alias_of_item_id": ["rating"], "load_col": None}, "'rating', which is of type 'float'"),
    ],
)
def test_settings_that_cannot_be_honoured(tmp_path, config, message):
    items = "item_id:token\tkind:token\ttags:token_seq\na\tx\tp q\n"
    root = folder_with(tmp_path, text_of([*ROWS, ("ü", "a", 1, 1)]), item=items)
    with pytest.raises(ValueError, match=message):
        recbole_of(root, config).load()


# ---- whatever the rows are -------------------------------------------------------------------------------

TOKENS = st.one_of(
    st.sampled_from([*WORDS, "a", "7", "07", "1.0", "#c", "[PAD]", " x", "user_id:token", "-0"]),
    st.text(st.sampled_from("ab0é \U0001f600|,;-'\u2028"), min_size=1, max_size=3),
)
TIMES = st.integers(0, 9) | st.integers(-(2**60), 2**60)
DAMAGES = [
    lambda line: line,
    lambda line: line + "\t",
    lambda line: line.rpartition("\t")[0],
    lambda line: "\t" + line.partition("\t")[2],
    lambda line: '"' + line,
    lambda line: line.replace("\t", '"\t', 1),
    lambda line: line + "\n",
    lambda line: line + "\r",
    lambda line: line + ".5",
    lambda line: line + "x",
    lambda line: "\t".join([*line.split("\t")[:3], "inf"]),
    lambda line: "\0" + line,
    lambda line: "\ufeff" + line,
    lambda line: line + "\n" + HEADER.removesuffix("\n"),
]
EVENTS = st.lists(st.tuples(TOKENS, TOKENS, st.integers(1, 5), TIMES), min_size=1, max_size=12)


@settings(max_examples=40, suppress_health_check=list(HealthCheck), database=None)
@given(
    EVENTS,
    st.sampled_from(DAMAGES),
    st.integers(0, 11),
    st.sampled_from([None, "first", "last"]),
    st.integers(1, 2),
)
@example([("NA", "null", 1, 5), ("NA", "None", 1, 4)], DAMAGES[0], 0, None, 1)
@example([("1", "1001", 1, 5), ("2", "1002", 1, 4)], DAMAGES[1], 0, None, 1)
@example([("a", "b", 1, 5), ("c", "d", 1, 4)], DAMAGES[-1], 0, None, 1)
def test_the_same_events_as_the_table_or_both_refuse(rows, damage, where, duplicates, minimum):
    lines = ["\t".join(map(str, row)) for row in rows]
    lines[where % len(lines)] = damage(lines[where % len(lines)])
    with tempfile.TemporaryDirectory() as root:
        folder_with(root, HEADER + "".join(f"{line}\n" for line in lines))
        ours = outcome(
            recbole_of(root, {"rm_dup_inter": duplicates, "user_inter_num_interval": f"[{minimum},inf)"})
        )
        table = TableDataModule(
            str(Path(root) / "shop" / "shop.inter"),
            duplicates=duplicates or "all",
            min_user_interactions=minimum,
        )
        theirs = outcome(table)
    if isinstance(theirs, DataError):
        assert isinstance(ours, DataError), theirs
        assert "\n" not in str(ours)
        assert "shop.inter" in str(ours)
    else:
        assert ours == theirs
    if damage is DAMAGES[0] and duplicates is None and minimum == 1:
        expected = defaultdict(list)
        for user, item, _, time in sorted(rows, key=lambda row: row[3]):
            expected[user].append((item, time))
        assert ours == dict(expected)


def test_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(folder_with(tmp_path, text_of(ROWS))))
    (tmp_path / "shop.yaml").write_text("ITEM_ID_FIELD: item_id\n")
    module = RecBoleDataModule("shop", "~", config_files=["~/shop.yaml"])
    assert events_of(module) == events_of(recbole_of(tmp_path))
