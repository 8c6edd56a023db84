"""Exports and models of a stranger who signs what he tampers with."""

import contextlib
import io
import json
import struct
import zipfile

import numpy as np
import pytest
import yaml

from lightning_croloss import load_pretrained
from lightning_croloss.errors import PretrainedError
from tests.fuzz.damage import cases, damaged
from tests.fuzz.folders import FORMATS, copied, manifest_of, sign, soon, vouch

for package in ("onnxruntime", "faiss", "pyarrow"):
    pytest.importorskip(package, reason="needs the extra [export]")
import pyarrow  # noqa: E402
import pyarrow.parquet as parquet  # noqa: E402

from croloss_serving import Recommender  # noqa: E402
from croloss_serving.common.onnx_graph import check_self_contained  # noqa: E402
from croloss_serving.index import build_index, write_index  # noqa: E402
from croloss_serving.index_file import check_index  # noqa: E402

EXPORT, MODEL = FORMATS / "exports" / "youtube_dnn", FORMATS / "zoo" / "small" / "two_tower"
USUAL = 40


@pytest.fixture
def export(tmp_path):
    return copied(EXPORT, tmp_path / "export")


@pytest.fixture
def model(tmp_path):
    return copied(MODEL, tmp_path / "model")


def refused(folder, load=Recommender.from_export):
    """Return the one sentence with which a folder is refused."""
    with soon(), pytest.raises(PretrainedError) as caught:
        load(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def npy(array, **header):
    """Return an array as a file whose header may say something else."""
    file = io.BytesIO()
    said = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape, **header}
    np.lib.format.write_array_header_1_0(file, said)
    return file.getvalue() + array.tobytes()


def parquet_of(compression="zstd", **columns):
    file = io.BytesIO()
    parquet.write_table(pyarrow.table(columns), file, compression=compression)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("encoder.onnx", "must list either encoder.onnx or users.npy"),
        ("items.npy", "does not list items.npy"),
        ("items.parquet", "does not list items.parquet"),
    ],
)
def test_no_file_is_read_that_the_manifest_does_not_list(export, name, said):
    manifest = manifest_of(export)
    del manifest["files"][name]
    sign(export, manifest)
    assert said in refused(export)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("num_items", value) for value in (None, "32", 0, -1, True, 32.0, 33, 10**12)),
        *(("dim", value) for value in (None, 0, 9, 10**9)),
        *(("num_users", value) for value in (None, -1, "48", 10**12)),
        *(("max_history", value) for value in ("6", 0, -1, True, 10**30, 2**63)),
        *(("class", value) for value in (None, 5, ["a"])),
        *(("uses_history", value) for value in ("yes", 1, None)),
        ("exclude_history", 0),
    ],
)
def test_a_manifest_that_describes_another_model(export, name, value):
    manifest = manifest_of(export)
    manifest["model"][name] = value
    sign(export, manifest)
    refused(export)


@pytest.mark.parametrize(
    "content",
    [
        npy(np.zeros((32, 8), np.float32), shape=(32, 10**10)),
        npy(np.zeros((32, 8), np.float32), shape=(10**13, 8)),
        npy(np.zeros((31, 8), np.float32)),
        npy(np.zeros((32, 9), np.float32)),
        npy(np.zeros((32, 8), np.float64)),
        npy(np.zeros((32, 8), np.float32), fortran_order=True),
        npy(np.zeros((32, 8), np.float32)) + b"more",
        npy(np.zeros((32, 8), np.float32))[:-1],
        npy(np.zeros((32, 8), np.float32), descr="|O"),
        npy(np.full((32, 8), np.nan, np.float32)),
        b"\x80\x04cos\nsystem\n(S'true'\ntR.",
        b"PK\x03\x04",
        b"",
    ],
)
def test_vectors_of_another_size(export, content):
    vouch(export, "items.npy", content)
    assert "items.npy cannot be read: " in refused(export)


def tables():
    tokens = [f"i{number:02}" for number in range(32)]
    counts = list(range(32))
    plain = parquet_of("none", token=tokens, count=counts)
    yield "rows", parquet_of(token=tokens[:-1], count=counts[:-1])
    yield "a token twice", parquet_of(token=[*tokens[:-1], tokens[0]], count=counts)
    yield "a missing token", parquet_of(token=[*tokens[:-1], None], count=counts)
    yield "numbers with decimals", parquet_of(token=[0.5 + n for n in counts], count=counts)
    yield "lists", parquet_of(token=[[token] for token in tokens], count=counts)
    yield "no counts", parquet_of(token=tokens, count=tokens)
    yield "a negative count", parquet_of(token=tokens, count=[-1, *counts[1:]])
    yield "a missing title", parquet_of(token=tokens, count=counts, title=[None, *tokens[1:]])
    yield "no columns", parquet_of(count=counts)
    yield "a file that is cut off", plain[:-9]
    yield "no end", b"PAR1" + b"\0" * 40 + b"PAR1"
    yield "text that is not UTF-8", plain.replace(b"i07", b"i\xff\xfe")
    yield "long titles", parquet_of(token=tokens, count=counts, title=["x" * 4_000_000 + t for t in tokens])


@pytest.mark.parametrize("content", [pytest.param(content, id=name) for name, content in tables()])
def test_tables_of_items_of_another_size(export, content):
    vouch(export, "items.parquet", content)
    assert "items.parquet" in refused(export)


def test_many_rows_in_a_few_bytes(export):
    many = 3_000_000
    table = parquet_of(token=pyarrow.nulls(many), count=pyarrow.nulls(many))
    assert len(table) < 100_000
    manifest = manifest_of(export)
    manifest["model"]["num_items"] = many
    sign(export, manifest)
    vouch(export, "items.parquet", table)
    vouch(export, "items.npy", npy(np.zeros((many, 1), np.float32)))
    manifest = manifest_of(export)
    manifest["model"]["dim"] = 1
    sign(export, manifest)
    assert "which it is too short to hold" in refused(export)


def test_more_users_than_there_are_vectors(export):
    manifest = manifest_of(export)
    manifest["model"]["num_users"] = 10**9
    sign(export, manifest)
    vouch(export, "users.parquet", parquet_of(token=["a", "b"]))
    assert "more than the export has vectors for" in refused(export)
    manifest["model"]["num_users"] = 3
    sign(export, manifest)
    vouch(export, "users.parquet", parquet_of(token=["a", "b"]))
    assert "has 2 rows instead of 3" in refused(export)


ENCODINGS = [
    {"name": "age", "kind": "numeric", "center": 1.0, "scale": 2.0, "num_absurd": 0},
    {"name": "town", "kind": "categorical", "tokens": ["a", "b"], "separator": " "},
]


def features(encodings=ENCODINGS, sizes=(2, 3), compression=zipfile.ZIP_STORED, more=()):
    """Return the file of the features of users, of two features and vectors of four numbers."""
    plain = np.frombuffer(json.dumps(encodings).encode(), dtype=np.uint8)
    arrays = {"encodings": npy(plain)}
    arrays |= {f"weight_{n}": npy(np.ones((size, 4), np.float32)) for n, size in enumerate(sizes)}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in [*arrays.items(), *more]:
            archive.writestr(f"{name}.npy", content)
    return file.getvalue()


def with_features(export, content, table=None):
    for name, given in (
        ("user_features.npy", npy(np.zeros((49, 4), np.float32)) if table is None else table),
        ("user_features.npz", content),
    ):
        vouch(export, name, given)
    return export


def test_features_of_users_are_read(export):
    found = Recommender.from_export(with_features(export, features()))
    assert found._user_features.table.shape == (49, 4)
    assert [encoding.name for encoding in found._user_features.encodings] == ["age", "town"]


BAD_ENCODINGS = [
    *({}, [None], ["x"], 5, [{}], [{"name": 1, "kind": "numeric"}], [{"name": "a", "kind": "odd"}]),
    [ENCODINGS[0], ENCODINGS[0]],
    *(
        [{**ENCODINGS[0], **change}, ENCODINGS[1]]
        for change in ({"scale": 0}, {"scale": "1"}, {"low": 3, "high": 1})
    ),
    *(
        [ENCODINGS[0], {**ENCODINGS[1], **change}]
        for change in ({"tokens": "ab"}, {"tokens": [1, 2]}, {"tokens": None})
    ),
    [ENCODINGS[0], {**ENCODINGS[1], "tokens": ["a", "a"]}],
    [ENCODINGS[0], {**ENCODINGS[1], "separator": None}],
]


@pytest.mark.parametrize(
    "content",
    [
        *(features(encodings) for encodings in BAD_ENCODINGS),
        *(features(sizes=sizes) for sizes in ((2,), (2, 3, 4), (3, 3), (2, 2))),
        features(compression=zipfile.ZIP_DEFLATED),
        features(more=[("another", npy(np.zeros(1, np.float32)))]),
        features(more=[("weight_2", npy(np.zeros((1, 4), np.float32), shape=(10**12, 4)))]),
        *(b"", b"PK\x05\x06" + b"\0" * 18, npy(np.zeros(3, np.float32))),
    ],
)
def test_features_of_users_that_do_not_fit(export, content):
    assert "user_features.npz cannot be read: " in refused(with_features(export, content))


def test_a_table_of_features_of_another_size(export):
    for table in (npy(np.zeros((48, 4), np.float32)), npy(np.zeros((49, 4), np.float32), shape=(49, 10**11))):
        assert "user_features.npy cannot be read: " in refused(with_features(export, features(), table))
    manifest = manifest_of(export)
    del manifest["files"]["user_features.npz"]
    sign(export, manifest)
    assert "lists only one of user_features.npy and user_features.npz" in refused(export)


def field(number, content):
    """Return a field of a message of protobuf."""
    if isinstance(content, int):
        return bytes([number << 3, content])
    length = len(content)
    size = bytes([length]) if length < 128 else bytes([length & 127 | 128, length >> 7])
    return (
        bytes([(number << 3) & 127 | 128 | 2, number >> 4, *size]) + content
        if number > 15
        else (bytes([number << 3 | 2]) + size + content)
    )


EXTERNAL = field(1, 4) + field(14, 1)  # a tensor whose numbers are elsewhere


@pytest.mark.parametrize(
    "graph",
    [
        field(5, EXTERNAL),
        field(5, field(13, field(1, b"location") + field(2, b"../../secret"))),
        field(15, field(1, EXTERNAL)),
        field(1, field(5, field(5, EXTERNAL))),
        field(1, field(5, field(10, EXTERNAL))),
        field(1, field(5, field(6, field(5, EXTERNAL)))),
        field(1, field(5, field(11, field(1, field(5, field(5, EXTERNAL)))))),
    ],
)
def test_no_weights_of_an_encoder_are_in_another_file(export, graph):
    check_self_contained(field(7, field(5, field(1, 4))))
    with pytest.raises(ValueError, match="in another file"):
        check_self_contained(field(7, graph))
    with pytest.raises(ValueError, match="in another file"):
        check_self_contained(field(25, field(7, field(5, field(5, EXTERNAL)))))
    whole = (EXPORT / "encoder.onnx").read_bytes()
    vouch(export, "encoder.onnx", whole + field(7, graph))
    assert "encoder.onnx cannot be read: its weights are in another file" in refused(export)


def test_an_encoder_that_is_none(export):
    for content in (b"", b"no graph", b"\xff" * 100, (EXPORT / "encoder.onnx").read_bytes()[:-100]):
        vouch(export, "encoder.onnx", content)
        assert "encoder.onnx" in refused(export)


def test_an_encoder_of_other_vectors(export):
    manifest = manifest_of(export)
    sign(export, {**manifest, "model": {**manifest["model"], "dim": 9, "index": None}})
    vouch(export, "items.npy", npy(np.ones((32, 9), np.float32)))
    manifest = manifest_of(export)
    del manifest["files"]["index.faiss"]
    sign(export, manifest)
    with pytest.raises(PretrainedError, match="gives vectors of the shape"):
        Recommender.from_export(export).recommend([["i01"]], n=3)


@pytest.fixture(scope="module")
def indexes(tmp_path_factory):
    vectors = np.random.default_rng(0).normal(size=(600, 8)).astype(np.float32)
    folder = tmp_path_factory.mktemp("indexes")
    for kind in ("flat", "ivf", "hnsw"):
        write_index(build_index(kind, vectors), folder / kind)
    return folder


@pytest.mark.parametrize("kind", ["flat", "ivf", "hnsw"])
def test_an_index_is_what_it_declares(indexes, tmp_path, kind, fuzz_budget):
    check_index(indexes / kind, 600, 8)
    for count, dim in ((601, 8), (600, 9)):
        with pytest.raises(PretrainedError, match=f"is not a faiss index of {count} items"):
            check_index(indexes / kind, count, dim)
    whole = (indexes / kind).read_bytes()
    path = tmp_path / "index"
    for position in range(4, 200, 3):  # every length, in turn, declares far too much
        path.write_bytes(whole[:position] + struct.pack("<Q", 2**62) + whole[position + 8 :])
        with contextlib.suppress(PretrainedError):
            check_index(path, 600, 8)
    for case in cases(f"index {kind}", USUAL, fuzz_budget):
        path.write_bytes(damaged(whole, case.chance))
        with case.only(PretrainedError):
            check_index(path, 600, 8)
    for content in (b"", b"IxFI", whole + b"\0", whole[:-1], b"IxPQ" + whole[4:]):
        path.write_bytes(content)
        with pytest.raises(PretrainedError, match="is not a faiss index"):
            check_index(path, 600, 8)


def test_a_graph_with_links_to_nowhere(indexes, tmp_path):
    import faiss

    index = faiss.read_index(str(indexes / "hnsw"))
    links = faiss.vector_to_array(index.hnsw.neighbors)
    for wrong in (600, 2**31 - 1, -2):
        changed = links.copy()
        changed[5] = wrong
        faiss.copy_array_to_vector(changed, index.hnsw.neighbors)
        write_index(index, tmp_path / "index")
        with pytest.raises(PretrainedError, match="links to vectors that are not there"):
            check_index(tmp_path / "index", 600, 8)


def test_damaged_exports(tmp_path, fuzz_budget):
    names = sorted(manifest_of(EXPORT)["files"])
    for case in cases("export", USUAL, fuzz_budget):
        folder = copied(EXPORT, tmp_path / "damaged")
        name = case.chance.choice(names)
        vouch(folder, name, damaged((folder / name).read_bytes(), case.chance))
        with case.only(PretrainedError):
            Recommender.from_export(folder)


def changed_config(folder, change):
    config = yaml.safe_load((folder / "config.yaml").read_text())
    change(config)
    vouch(folder, "config.yaml", yaml.safe_dump(config).encode())
    return folder


@pytest.mark.parametrize(
    "content", [b"x: &x [*x]", b"[" * 100_000, b"model: [1]", b"\xff", b"model: {init_args: [1]}"]
)
def test_a_hostile_config(model, content):
    vouch(model, "config.yaml", content)
    assert "config.yaml" in refused(model, load_pretrained)


def test_a_config_that_is_too_large(model):
    vouch(model, "config.yaml", b"a: " + b"x" * 2**20)
    sentence = refused(model, load_pretrained)
    assert "has 1,048,579 bytes, more than the 1,048,576 that such a file may have" in sentence


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("max_history", value) for value in ("5", 0, True, [1], 10**30, 2**63)),
        *(("user_fingerprint", value) for value in (1, ["a"])),
        *(("seed", value) for value in ("1", 1.5)),
        *(("reading", value) for value in ([1], "x", {"item_column": {"a": 1}}, {"a": [[1]]})),
        *(
            ("reading", {"filters": filters})
            for filters in (
                {"kind": "consecutive_repeats"},
                [{}],
                ["range"],
                [{"kind": "delete"}],
                [{"kind": ["range"]}],
                [{"kind": "range", "column": "rating", "keep": "4 on"}],
                [{"kind": "range", "column": "rating", "keep": "[nan,nan]"}],
                [{"kind": "range", "keep": "[4,inf)"}],
                [{"kind": "texts", "column": "kind", "keep": [[]]}],
                [{"kind": "duplicates", "keep": "middle"}],
                [{"kind": "time_from", "column": "when", "keep": [10**400]}],
                [{"kind": "consecutive_repeats", "more": 1}],
            )
        ),
    ],
)
def test_a_manifest_that_says_odd_things_of_the_training(model, name, value):
    manifest = manifest_of(model)
    sign(model, {**manifest, "facts": {**manifest["facts"], name: value}})
    assert f"{name!r} must be" in refused(model, load_pretrained)
    if name != "reading":
        del manifest["facts"][name]
        sign(model, manifest)
        assert f"does not say {name!r}" in refused(model, load_pretrained)


@pytest.mark.parametrize(
    "content",
    [b"", b"[", b"[" * 100_000, b"5", b'[{"name": "a", "name": "b"}]', b"[[]]", b"[{}]", b'{"a": 1}'],
)
def test_features_of_users_of_a_model(model, content):
    vouch(model, "user_features.json", content)
    assert "user_features.json" in refused(model, load_pretrained)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("num_items", value) for value in (0, "32", 32.0, True, None, [32])),
        *(("num_users", value) for value in (-1, "48")),
        *(("user_features", value) for value in (None, {}, [5], [{}], [{"name": "a", "kind": "numeric"}])),
        ("embedding_dim", 8),
        ("loss", {"class_path": "CROLoss"}),
    ],
)
def test_odd_arguments_from_the_data(model, name, value):
    manifest = manifest_of(model)
    sign(model, {**manifest, "from_data": {**manifest["from_data"], name: value}})
    assert repr(name) in refused(model, load_pretrained)


def test_a_config_names_no_path_that_anything_happens_to(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mark = tmp_path / "mark"
    before = sorted(tmp_path.rglob("*"))

    def change(config):
        config["data"] = {
            "class_path": "TableDataModule",
            "init_args": {"interactions": "/etc/hostname", "items": str(mark), "cache_dir": str(mark)},
        }
        config["trainer"] = {
            "default_root_dir": str(mark),
            "callbacks": [{"class_path": "PredictionWriter", "init_args": {"output": str(mark)}}],
            "logger": {"class_path": "CSVLogger", "init_args": {"save_dir": str(mark)}},
        }
        config["ckpt_path"] = str(mark)

    found = load_pretrained(changed_config(model, change))
    found.recommend_tokens([["i01"]], n=3)
    assert not mark.exists()
    assert sorted(tmp_path.rglob("*")) == before


def test_damaged_models(tmp_path, fuzz_budget):
    names = sorted(manifest_of(MODEL)["files"])
    for case in cases("model", USUAL, fuzz_budget):
        folder = copied(MODEL, tmp_path / "damaged")
        name = case.chance.choice([name for name in names if name != "model.safetensors"])
        vouch(folder, name, damaged((folder / name).read_bytes(), case.chance))
        with case.only(PretrainedError):
            load_pretrained(folder)
