"""An exported model recommends what the model recommends, and its files are checked."""

import json
import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from croloss_serving.common import blocks
from lightning_croloss import MIND, ComiRecSA, TwoTower
from lightning_croloss.cli import main
from lightning_croloss.errors import MissingExtraError, PretrainedError
from tests.data_for_tests import ClusteredData, FeaturedData, fit, small_model
from tests.models.cases import FEATURES
from tests.serving.environment import make_environment, run_in

for package in ("onnxruntime", "onnxscript", "faiss", "pyarrow"):
    pytest.importorskip(package, reason="needs the extra [export]")
from lightning_croloss.serving import Recommender  # noqa: E402
from lightning_croloss.serving.encoder import write_encoder  # noqa: E402
from lightning_croloss.serving.export import export_model  # noqa: E402
from tests.serving.cases import WrittenOnce  # noqa: E402

HISTORIES = [
    ["item 2", "item 0", "item 1"],
    [],
    ["item 10", "nothing", "item 11"],
    ["nothing"],
    ["item 39"],
    [f"item {number}" for number in range(20)],
]


@pytest.fixture(scope="module", autouse=True)
def graphs_written_once():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lightning_croloss.serving.export.write_encoder", WrittenOnce())
        yield


TRAINED = {}


def trained(cls, **arguments):
    key = cls, repr(arguments)
    if key not in TRAINED:
        TRAINED[key] = newly_trained(cls, **arguments)
    return TRAINED[key]


def newly_trained(cls, **arguments):
    torch.manual_seed(0)
    model = cls(num_items=40, embedding_dim=8, ns=(5,), **arguments)
    fit(model, FeaturedData(), limit_train_batches=4)
    model.metadata.item_titles = [f"Title {position}" for position in range(40)]
    return model


@pytest.fixture(scope="module")
def mind():
    return trained(MIND)


@pytest.fixture(scope="module")
def exported(mind, tmp_path_factory):
    return export_model(mind, tmp_path_factory.mktemp("exports") / "mind", index="flat")


def assert_same(found, expected):
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.scores == pytest.approx(theirs.scores, abs=2e-6)
        assert (ours.unknown, ours.fallback) == (theirs.unknown, theirs.fallback)
        # items whose scores differ by less than rounding may change positions
        scores = dict(zip(theirs.tokens, theirs.scores, strict=True))
        for token, score, title in zip(ours.tokens, ours.scores, ours.titles, strict=True):
            assert scores.get(token, theirs.scores[-1]) == pytest.approx(score, abs=4e-6)
            assert title == f"Title {token.split()[1]}"


@pytest.mark.parametrize(
    ("cls", "arguments"), [(TwoTower, FEATURES), (MIND, {}), (ComiRecSA, {"similarity": "dot"})]
)
@pytest.mark.slow
def test_what_the_model_recommends(cls, arguments, tmp_path):
    model = trained(cls, **arguments)
    for index in (None, "flat"):
        folder = export_model(model, tmp_path / str(index), index=index)
        recommender = Recommender.from_export(folder, threads=1)
        for n, exclude_history in [(7, True), (40, True), (40, False), (1, False)]:
            assert_same(
                recommender.recommend(HISTORIES, n, exclude_history),
                model.recommend_tokens(HISTORIES, n, exclude_history),
            )


@pytest.fixture(scope="module")
def without_history():
    model = small_model(exclude_history=True)
    fit(model, limit_train_batches=1)
    return model


@pytest.mark.parametrize("flag", [None, True, False])
def test_the_history_is_left_out_as_the_export_says(tmp_path, monkeypatch, without_history, flag):
    model = without_history
    model.metadata.item_titles = [f"Title {position}" for position in range(40)]
    recommender = Recommender.from_export(export_model(model, tmp_path / "export", exclude_history=flag))
    assert recommender.model["exclude_history"] == (flag is not False)
    assert_same(recommender.recommend(HISTORIES, 40), model.recommend_tokens(HISTORIES, 40, flag))
    for given in (True, False):
        assert_same(recommender.recommend(HISTORIES, 40, given), model.recommend_tokens(HISTORIES, 40, given))
    monkeypatch.setattr(model, "exclude_history", False)
    again = Recommender.from_export(export_model(model, tmp_path / "again"))
    assert_same(again.recommend(HISTORIES, 40), model.recommend_tokens(HISTORIES, 40, False))
    del again.model["exclude_history"]  # an export of version 0.1
    assert_same(again.recommend(HISTORIES, 40), model.recommend_tokens(HISTORIES, 40, True))


@pytest.mark.parametrize(
    "limits",
    [
        {"allow": ["item 3", "item 30", "item 31", "nothing"]},
        {"deny": ["item 3", "item 4", "nothing"]},
        {"allow": [f"item {number}" for number in range(25)], "deny": ["item 24"]},
        {"allow": []},
    ],
)
def test_allow_and_deny(mind, exported, limits):
    recommender = Recommender.from_export(exported)
    assert_same(recommender.recommend(HISTORIES, 9, **limits), mind.recommend_tokens(HISTORIES, 9, **limits))


@pytest.mark.slow
def test_users(tmp_path):
    model = trained(TwoTower, **FEATURES, use_user_id=True)
    recommender = Recommender.from_export(export_model(model, tmp_path / "export"))
    users = [5, 0, 17]
    tokens = [model.metadata.user_vocabulary.tokens[4], "nobody", model.metadata.user_vocabulary.tokens[16]]
    histories = [["item 2"], ["item 10"], ["item 10"]]
    ids, scores = model.recommend([[3], [11], [11]], 6, users=torch.tensor(users))
    found = recommender.recommend(histories, 6, users=tokens)
    assert [user.unknown_user for user in found] == [False, True, False]
    for row, user in enumerate(found):
        assert user.tokens == [f"item {item - 1}" for item in ids[row].tolist()]
        assert user.scores == pytest.approx(scores[row].tolist(), abs=2e-6)
    assert found[1].tokens != found[2].tokens
    with pytest.raises(ValueError, match=r"users must hold a token for each of the 3 histories, got 2"):
        recommender.recommend(histories, 6, users=tokens[:2])
    with pytest.warns(UserWarning, match="no users are given: all 3 count as unknown"):
        assert recommender.recommend(histories, 6).num_unknown_users == 3


@pytest.mark.slow
def test_a_model_that_is_told_the_number_of_users_and_does_not_use_them(tmp_path):
    model = trained(TwoTower, num_users=60)
    recommender = Recommender.from_export(export_model(model, tmp_path / "export"))
    assert recommender.model["num_users"] == 0
    for earlier in (False, True):  # an export of an earlier release has the number
        recommender.model["num_users"] = 60 if earlier else 0
        recommender = Recommender(
            recommender._session, recommender._vectors, recommender.items, recommender.model
        )
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = recommender.recommend(HISTORIES, 7)
        assert_same(found, model.recommend_tokens(HISTORIES, 7))
        assert not recommender.takes_users
        assert found.num_unknown_users == 0
        with pytest.raises(ValueError, match="uses neither ids nor features of users: leave users out"):
            recommender.recommend(HISTORIES, 7, users=["u"] * len(HISTORIES))


def test_more_users_than_a_batch(exported, monkeypatch):
    recommender = Recommender.from_export(exported)
    whole = recommender.recommend(HISTORIES, 5)
    monkeypatch.setattr("croloss_serving.recommender.BATCH_SIZE", 2)
    monkeypatch.setattr("croloss_serving.search.TILE_ELEMENTS", 1)
    assert recommender.recommend(HISTORIES, 5) == whole
    assert len(recommender.recommend([], 5)) == 0


@pytest.fixture(scope="module")
def of_many_items():
    model = small_model(num_items=4000, embedding_dim=16)
    model.metadata.take_from(ClusteredData(num_items=4000), False)
    return model


@pytest.mark.parametrize(
    ("index", "little", "much"),
    [("ivf", {"nprobe": 1}, {"nprobe": 1000}), ("hnsw", {"ef_search": 1}, {"ef_search": 500})],
)
@pytest.mark.slow
def test_approximate_indexes_find_all_when_they_search_all(of_many_items, index, little, much, tmp_path):
    model = of_many_items
    folder = export_model(model, tmp_path / "export", index=index)
    histories = [[f"item {number}"] for number in range(0, 4000, 100)]
    exact = model.recommend_tokens(histories, 50)
    shares = []
    for settings in (little, much):
        found = Recommender.from_export(folder, **settings).recommend(histories, 50)
        shared = [len({*a.tokens} & {*b.tokens}) / 50 for a, b in zip(found, exact, strict=True)]
        shares.append(np.mean(shared))
    assert shares[0] < shares[1]
    assert shares[1] > 0.98


@pytest.mark.slow
def test_neither_torch_nor_lightning_is_needed(mind, exported, tmp_path):
    tower = trained(TwoTower, **FEATURES, use_user_id=True)
    user = tower.metadata.user_vocabulary.tokens[4]
    features = {encoding.name: [None, "nothing", *[""] * 4] for encoding in tower.metadata.user_encodings[:1]}
    known = {"users": [user, *["nobody"] * 5], "user_features": features}
    cases = [(mind, exported, {}), (tower, export_model(tower, tmp_path / "tower"), known)]
    environment = make_environment(tmp_path / "site", "numpy", "pyarrow", "onnxruntime", "faiss-cpu")
    code = """
import json
from importlib.util import find_spec
from croloss_serving import Recommender
assert not [name for name in ("torch", "lightning", "torchmetrics", "lightning_croloss") if find_spec(name)]
"""
    for _, folder, given in cases:
        code += f"""
found = Recommender.from_export({str(folder)!r}).recommend({HISTORIES!r}, 5, **{given!r})
print(json.dumps([[user.tokens, user.scores] for user in found]))
"""
    lines = run_in(environment, code).splitlines()
    for line, (model, _, given) in zip(lines, cases, strict=True):
        expected = model.recommend_tokens(HISTORIES, 5, **given)
        for (tokens, scores), user in zip(json.loads(line), expected, strict=True):
            assert tokens == user.tokens
            assert scores == pytest.approx(user.scores, abs=2e-6)


@pytest.mark.slow
def test_the_command(mind, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    from lightning_croloss import save_pretrained

    save_pretrained(mind, "model")
    main(["export", "--model", "model", "--output", "served", "--index", "flat"])
    assert "index.faiss" in capsys.readouterr().out
    assert_same(
        Recommender.from_export("served").recommend(HISTORIES, 5), mind.recommend_tokens(HISTORIES, 5)
    )
    for arguments, said in [
        (["--output", "served"], "--output served exists"),
        (["--output", "other", "--index", "tree"], "unknown index 'tree'; known: flat, hnsw, ivf"),
        (["--output", "other", "--model", "modle"], "modle"),
    ]:
        with pytest.raises(SystemExit):
            main(["export", "--model", "model", *arguments])
        assert said in capsys.readouterr().err
    assert not (tmp_path / "other").exists()
    graph = (tmp_path / "served" / "encoder.onnx").read_bytes()
    monkeypatch.setattr(
        "lightning_croloss.serving.export.write_encoder", lambda model, path: path.write_bytes(graph)
    )
    main(["export", "--model", "model", "--output", "served", "--overwrite"])
    assert not (tmp_path / "served" / "index.faiss").exists()


@pytest.mark.parametrize("name", ["encoder.onnx", "items.npy", "items.parquet"])
@pytest.mark.parametrize("damage", ["cut", "changed", "missing"])
@pytest.mark.slow
def test_damaged_files(mind, tmp_path, name, damage):
    path = export_model(mind, tmp_path / "export") / name
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(content[:-3] if damage == "cut" else content[:-1] + bytes([content[-1] ^ 1]))
    said = {"cut": "(cut off or changed)", "changed": "is damaged or was changed", "missing": "lacks"}
    with pytest.raises(PretrainedError, match=said[damage]):
        Recommender.from_export(path.parent)


@pytest.mark.slow
def test_other_folders(mind, tmp_path):
    folder = export_model(mind, tmp_path / "export")
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace('"format_version": 1', '"format_version": 7'))
    with pytest.raises(PretrainedError, match="format version 7"):
        Recommender.from_export(folder)
    with pytest.raises(PretrainedError, match="is not an export of a model: it does not exist"):
        Recommender.from_export(tmp_path / "nowhere")
    with pytest.raises(PretrainedError, match=r"it has no manifest\.json"):
        Recommender.from_export(tmp_path)


def test_refuses(mind, exported, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"n must be in 1 … 40, .* got 41"):
        Recommender.from_export(exported).recommend(HISTORIES, 41)
    with pytest.raises(TypeError, match=r"histories\[0\] holds 1\.5"):
        Recommender.from_export(exported).recommend([[1.5]], 4)
    with pytest.raises(ValueError, match="the model knows no tokens"):
        export_model(small_model(), tmp_path / "export")
    with pytest.raises(FileExistsError, match="exists"):
        export_model(mind, exported)
    with monkeypatch.context() as patch:
        patch.setattr("lightning_croloss.serving.export.write_encoder", write_encoder)
        patch.setitem(sys.modules, "onnxscript", None)
        with pytest.raises(MissingExtraError, match=r"'lightning-croloss\[export\]'"):
            export_model(mind, tmp_path / "export")
        patch.setitem(sys.modules, "onnxruntime", None)
        with pytest.raises(MissingExtraError, match=r"'lightning-croloss-serving\[serve\]'"):
            Recommender.from_export(exported)
    assert not list(tmp_path.iterdir())


def test_one_long_history_is_no_matter_of_the_others(mind, exported, monkeypatch):
    """Blocks of bounded padded size, one of which is a single long history."""
    recommender = Recommender.from_export(exported, threads=1)
    long = [f"item {number % 40}" for number in range(3_000)]
    histories = [*HISTORIES, long, *HISTORIES]
    expected = mind.recommend_tokens(histories, 5, False)
    shapes = []
    run = recommender._session.run
    recommender._session = SimpleNamespace(
        run=lambda names, given: shapes.append(given["history"].shape) or run(names, given)
    )
    recommender.model["max_history"] = None  # as of a model that reads everything
    monkeypatch.setattr(blocks, "MOST_ENTRIES", 40)
    found = recommender.recommend([history[-5:] for history in histories], 5, False)
    assert_same(found, expected)
    recommender.recommend(histories, 5, True, deny=["item 3"])
    assert all(rows == 1 or rows * length <= 40 for rows, length in shapes)
    assert max(length for _, length in shapes) == 3_000


def test_a_model_trained_in_half_precision_is_exported(tmp_path):
    model = trained(MIND).half()
    recommender = Recommender.from_export(export_model(model, tmp_path / "half"), threads=1)
    expected = model.float().recommend_tokens(HISTORIES, 5)
    for ours, theirs in zip(recommender.recommend(HISTORIES, 5), expected, strict=True):
        assert ours.scores == pytest.approx(theirs.scores, abs=5e-3)
