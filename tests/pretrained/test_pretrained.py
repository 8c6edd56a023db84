"""Saving and loading: the same model, or one clear error."""

import functools
import json

import pytest
import torch
import yaml

import lightning_croloss.pretrained.registry as places
from lightning_croloss import (
    MIND,
    ComiRecDR,
    ComiRecSA,
    CROLoss,
    FullCatalogNegatives,
    GRU4Rec,
    MatrixFactorization,
    RecBoleDataModule,
    RetrievalModel,
    SASRec,
    TargetNImportance,
    TwoTower,
    UniformNegatives,
    YouTubeDNN,
    list_pretrained,
    load_pretrained,
    save_pretrained,
)
from lightning_croloss.errors import PretrainedError
from lightning_croloss.pretrained.layout import REQUIRED, read_manifest, write_manifest
from tests.data_for_tests import ClusteredData, FeaturedData, fit, small_model
from tests.models.cases import FEATURES

HISTORIES = [[1, 2, 3, 4, 5, 6], [11, 12]]
MODELS = [
    (YouTubeDNN, {}),
    (YouTubeDNN, FEATURES),
    (TwoTower, {**FEATURES, "use_user_id": True}),
    (MIND, {}),
    (ComiRecSA, {}),
    (ComiRecDR, {}),
    (GRU4Rec, {}),
    (SASRec, {}),
    (MatrixFactorization, {"num_users": 60}),
]


class Mine(YouTubeDNN):
    """A model that the package does not know."""


@pytest.fixture(scope="module")
def trained():
    model = small_model(
        loss=CROLoss("softplus", TargetNImportance(10), temperature=0.2),
        negatives=FullCatalogNegatives(True),
        optimizer=functools.partial(torch.optim.AdamW, lr=0.01, betas=(0.8, 0.9)),
        lr_scheduler=functools.partial(torch.optim.lr_scheduler.StepLR, step_size=3),
    )
    fit(model, limit_train_batches=2)
    return model


@pytest.fixture
def saved(trained, tmp_path):
    return save_pretrained(trained, tmp_path / "zoo" / "clusters" / "dnn")


def refused(name, **kwargs):
    """Return the one sentence with which a model is refused."""
    with pytest.raises(PretrainedError) as caught:
        load_pretrained(name, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def vouch_again(folder, **changes):
    """Write the manifest anew, as one who tampers with care would."""
    manifest = read_manifest(folder, check=())
    kept = {name: manifest[name] for name in ("model", "from_data", "facts")}
    write_manifest(folder, {**kept, **changes})


def rewrite_config(folder, change):
    config = yaml.safe_load((folder / "config.yaml").read_text())
    change(config)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    vouch_again(folder)


# ---------------------------------------------------------------------- the same model


@pytest.mark.parametrize(("cls", "arguments"), MODELS, ids=lambda value: getattr(value, "__name__", ""))
def test_every_architecture_comes_back_bit_for_bit(cls, arguments, tmp_path):
    torch.manual_seed(0)
    model = cls(
        **{"num_items": 40, "embedding_dim": 8, "ns": (5, 10), "negatives": UniformNegatives(30), **arguments}
    )
    fit(model, FeaturedData(), limit_train_batches=2)
    again = load_pretrained(save_pretrained(model, tmp_path / "model"))
    assert type(again) is cls
    assert not again.training
    assert dict(again.hparams) == {name: dict(model.hparams)[name] for name in again.hparams}
    assert again.state_dict().keys() == model.state_dict().keys()
    users = torch.tensor([1, 2])
    for got, expected in zip(
        again.recommend(HISTORIES, 9, users=users), model.recommend(HISTORIES, 9, users=users), strict=True
    ):
        assert torch.equal(got, expected)


def test_the_facts_come_back(trained, saved):
    again = load_pretrained(saved)
    data = ClusteredData()
    assert again.metadata.item_vocabulary == data.item_vocabulary
    assert torch.equal(again.metadata.item_counts, data.item_counts)
    assert again.metadata.max_history == 5
    assert again.metadata.item_titles is None
    assert again.metadata.seed == trained.metadata.seed


def test_titles_travel_unless_they_may_not(trained, tmp_path):
    titles = [f"Ünïcode title {number}" for number in range(40)]
    trained.metadata.item_titles = titles
    try:
        shown = save_pretrained(trained, tmp_path / "shown")
        hidden = save_pretrained(trained, tmp_path / "hidden", titles=False)
    finally:
        trained.metadata.item_titles = None
    assert load_pretrained(shown).metadata.item_titles == titles
    assert load_pretrained(hidden).metadata.item_titles is None


@pytest.mark.parametrize("tokens", [list(range(100, 140)), [2**63 + n for n in range(40)], list("abcdé") * 8])
def test_tokens_keep_their_type(tokens, tmp_path):
    class Tokens(ClusteredData):
        def load(self):
            from lightning_croloss.data import Interactions, Vocabulary

            data = super().load()
            distinct = tokens if isinstance(tokens[0], int) else [f"{t}{n}" for n, t in enumerate(tokens)]
            return Interactions.from_ids(
                data.users.numpy(), data.items.numpy(), data.user_vocabulary, Vocabulary(distinct)
            )

    model = small_model()
    fit(model, Tokens(), limit_train_batches=1)
    again = load_pretrained(save_pretrained(model, tmp_path / "model"))
    assert again.metadata.item_vocabulary == model.metadata.item_vocabulary
    assert again.metadata.item_vocabulary.fingerprint() == model.metadata.item_vocabulary.fingerprint()


def test_loading_draws_no_random_numbers(saved):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    load_pretrained(saved)
    assert torch.equal(torch.rand(3), expected)


def test_a_checkpoint_of_a_run_loads_too(tmp_path):
    model = small_model(pooling="max")
    fit(model, limit_train_batches=2).save_checkpoint(tmp_path / "best.ckpt")
    again = load_pretrained(tmp_path / "best.ckpt")
    assert torch.equal(again.recommend(HISTORIES, 9)[1], model.recommend(HISTORIES, 9)[1])
    assert again.metadata.item_vocabulary == model.metadata.item_vocabulary


def test_half_the_bytes_nearly_the_same_scores(trained, saved, tmp_path):
    half = save_pretrained(trained, tmp_path / "half", dtype="float16")
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (half, saved)]
    assert sizes[0] < 0.7 * sizes[1]
    again = load_pretrained(half)
    assert next(again.parameters()).dtype == torch.float32
    scores, exact = again.recommend(HISTORIES, 40)[1], trained.recommend(HISTORIES, 40)[1]
    assert not torch.equal(scores, exact)
    torch.testing.assert_close(scores, exact, rtol=0, atol=2e-3)


def test_a_model_can_be_trained_on_after_loading(saved):
    again = load_pretrained(saved)
    again.train()
    optimizer = again.configure_optimizers()["optimizer"]
    assert type(optimizer) is torch.optim.AdamW
    assert optimizer.param_groups[0]["lr"] == 0.01
    assert list(optimizer.param_groups[0]["betas"]) == [0.8, 0.9]
    before = again.item_embedding.weight.clone()
    fit(again, limit_train_batches=1)
    assert not torch.equal(again.item_embedding.weight, before)


# ---------------------------------------------------------------------- saving


def test_a_folder_is_complete_or_absent(trained, tmp_path, monkeypatch):
    save_pretrained(trained, tmp_path / "model", metrics={"old": 1})

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lightning_croloss.recommend.item_table.ItemTable.write", full)
    with pytest.raises(OSError, match="No space left"):
        save_pretrained(trained, tmp_path / "other")
    with pytest.raises(OSError, match="No space left"):
        save_pretrained(trained, tmp_path / "model", metrics={"new": 1}, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert json.loads((tmp_path / "model" / "metrics.json").read_text()) == {"old": 1}
    load_pretrained(tmp_path / "model")


def test_every_file_can_be_read_by_whom_the_umask_lets(saved):
    assert len({path.stat().st_mode for path in saved.iterdir()}) == 1


def test_an_existing_folder_is_overwritten_on_request_only(trained, saved):
    with pytest.raises(FileExistsError, match="exists: choose another folder, or overwrite it"):
        save_pretrained(trained, saved)
    save_pretrained(trained, saved, metrics={"new": 1}, overwrite=True)
    assert json.loads((saved / "metrics.json").read_text()) == {"new": 1}
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_what_cannot_be_saved(trained, tmp_path):
    with pytest.raises(ValueError, match="has no vocabulary: fit or test it"):
        save_pretrained(small_model(), tmp_path / "model")
    with pytest.raises(ValueError, match="dtype must be one of float32, float16, bfloat16, got 'int8'"):
        save_pretrained(trained, tmp_path / "model", dtype="int8")
    large = small_model()
    fit(large, limit_train_batches=1)
    with torch.no_grad():
        large.item_embedding.weight[3, 3] = 1e6
    with pytest.raises(ValueError, match=r"weights item_embedding\.weight are not finite as float16"):
        save_pretrained(large, tmp_path / "model", dtype="float16")
    assert not (tmp_path / "model").exists()


# ---------------------------------------------------------------------- finding


def test_a_name_is_found_and_a_wrong_one_suggests_the_nearest(saved, monkeypatch):
    zoo = saved.parents[1]
    monkeypatch.setattr(places, "zoo_folders", lambda: [zoo])
    assert list_pretrained() == ["clusters/dnn"]
    assert isinstance(load_pretrained("clusters/dnn"), YouTubeDNN)
    assert refused("clusters/dmn") == (
        "there is no pretrained model 'clusters/dmn'; did you mean 'clusters/dnn'?"
    )
    monkeypatch.setattr(places, "zoo_folders", list)
    assert "the zoo of this installation is empty" in refused("clusters/dnn")


def test_the_models_of_any_folder_are_listed(saved):
    assert list_pretrained(saved.parents[1]) == [str(saved)]
    with pytest.raises(PretrainedError, match="there is no folder 'nowhere'"):
        list_pretrained("nowhere")


def test_a_folder_or_file_that_is_no_checkpoint(tmp_path):
    assert refused(tmp_path) == f"{tmp_path} is not a pretrained model: it has no manifest.json"
    assert "there is no pretrained model at" in refused(tmp_path / "nothing")
    assert "there is no pretrained model at" in refused("best.ckpt")
    (tmp_path / "manifest.json").write_text('{"format": "something else"}')
    assert "is not a pretrained model: its manifest.json describes something else" in refused(tmp_path)
    (tmp_path / "bad.ckpt").write_bytes(b"no checkpoint")
    assert "is not a checkpoint of plain types, or is damaged" in refused(tmp_path / "bad.ckpt")
    torch.save({"state_dict": {}}, tmp_path / "foreign.ckpt")
    assert "is not a checkpoint of plain types, or is damaged" in refused(tmp_path / "foreign.ckpt")


# ---------------------------------------------------------------------- damage


@pytest.mark.parametrize("name", REQUIRED)
def test_a_file_that_is_cut_off_changed_or_missing(saved, name):
    path = saved / name
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    sentence = refused(saved)
    assert f"{name} has {len(content) - 1} bytes instead of {len(content)}" in sentence
    assert "get the folder again" in sentence
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert f"{name} is damaged or was changed (its checksum differs)" in refused(saved)
    path.unlink()
    assert f"lacks the file {name}" in refused(saved)


def test_a_card_may_be_corrected_by_hand(saved):
    (saved / "README.md").write_text("# A better card\n")
    load_pretrained(saved)
    with pytest.raises(PretrainedError, match=r"README\.md has .* bytes instead of"):
        read_manifest(saved, check=("README.md",))


def test_a_manifest_that_was_changed(saved):
    path = saved / "manifest.json"
    text = path.read_text()
    path.write_text(text.replace('"num_items": 40', '"num_items": 41'))
    assert "manifest.json is damaged or was changed" in refused(saved)
    path.write_text(text[:-20])
    assert "manifest.json is damaged" in refused(saved)
    path.write_text(text.replace('"format_version": 1', '"format_version": 2'))
    assert "was saved in format version 2; this lightning-croloss reads up to 1" in refused(saved)
    manifest = json.loads(text)
    write_manifest(saved, {"facts": manifest["facts"]})
    assert "manifest.json is incomplete" in refused(saved)


def test_weights_of_another_catalogue_or_architecture(saved, tmp_path):
    weights = saved / "model.safetensors"
    for name, model in {
        "catalogue": small_model(num_items=44),
        "architecture": GRU4Rec(num_items=40, embedding_dim=8, ns=(5,)),
    }.items():
        fit(model, ClusteredData(num_items=model.num_items), limit_train_batches=1)
        other = save_pretrained(model, tmp_path / name)
        weights.write_bytes((other / "model.safetensors").read_bytes())
        vouch_again(saved)
        sentence = refused(saved)
        assert f"is of another {name}" in sentence
        assert "YouTubeDNN" in sentence
    weights.write_bytes(b"\0" * 100)
    vouch_again(saved)
    assert "is not a safetensors file" in refused(saved)


def test_a_vocabulary_of_another_catalogue(saved, tmp_path):
    model = small_model(num_items=44)
    fit(model, ClusteredData(num_items=44), limit_train_batches=1)
    other = save_pretrained(model, tmp_path / "other")
    (saved / "vocabulary.parquet").write_bytes((other / "vocabulary.parquet").read_bytes())
    vouch_again(saved)
    assert "has 44 items, but the weights are for a catalogue of 40" in refused(saved)
    (saved / "vocabulary.parquet").write_bytes(b"PAR1")
    vouch_again(saved)
    assert "is not a table with the columns token and count" in refused(saved)


def test_a_config_that_is_none(saved):
    for text in ("- 1\n", "model: 3\n", "a: [\n", "!!python/object/apply:os.getcwd []\n"):
        (saved / "config.yaml").write_text(text)
        vouch_again(saved)
        assert "is not plain YAML with the section 'model'" in refused(saved)


# ---------------------------------------------------------------------- trust


@pytest.mark.parametrize(
    "path",
    [
        "os.system",
        "subprocess.Popen",
        "tests.pretrained.test_pretrained.Mine",
        "lightning_croloss.cli.run.main",
        3,
        None,
    ],
)
def test_a_foreign_class_is_refused_wherever_it_stands(saved, path, monkeypatch):
    def spy(name, *args):
        raise AssertionError(f"{name} was imported")

    monkeypatch.setattr("lightning_croloss.common.safe_config.import_module", spy)

    def loss(config):
        config["model"]["init_args"]["loss"] = {"class_path": path, "init_args": {"args": "echo"}}

    rewrite_config(saved, loss)
    assert f"names the class {path!r}, which is neither in this package nor allowed" in refused(saved)

    def harmless(config):
        config["model"]["init_args"]["loss"] = None
        config["trainer"] = {"callbacks": [{"class_path": path}]}

    rewrite_config(saved, harmless)
    assert f"names the class {path!r}" in refused(saved)


def test_a_foreign_class_in_a_checkpoint_is_refused(tmp_path):
    model = small_model(Mine)
    fit(model, limit_train_batches=1).save_checkpoint(tmp_path / "mine.ckpt")
    assert "names the class 'tests.pretrained.test_pretrained.Mine'" in refused(tmp_path / "mine.ckpt")
    assert isinstance(load_pretrained(tmp_path / "mine.ckpt", allow=[Mine]), Mine)


def test_a_class_of_ones_own_can_be_allowed(tmp_path):
    model = small_model(Mine)
    fit(model, limit_train_batches=1)
    folder = save_pretrained(model, tmp_path / "mine")
    sentence = refused(folder)
    assert sentence.endswith("if you trust it: allow=['tests.pretrained.test_pretrained.Mine']")
    for allowed in (Mine, "tests.pretrained.test_pretrained.Mine"):
        assert isinstance(load_pretrained(folder, allow=[allowed]), Mine)
    with pytest.raises(ValueError, match=r"allow: 'tests\.pretrained\.test_pretrained\.None' is not a class"):
        load_pretrained(folder, allow=["tests.pretrained.test_pretrained.None"])


def test_text_that_looks_like_a_config_stays_text(saved):
    def text(config):
        config["model"]["init_args"]["loss"] = '{"class_path": "os.system"}'

    rewrite_config(saved, text)
    assert "YouTubeDNN cannot be built" in refused(saved)


def test_a_config_of_another_release(saved):
    def unknown(config):
        config["model"]["init_args"]["not_yet_invented"] = 1

    rewrite_config(saved, unknown)
    assert "YouTubeDNN cannot be built" in refused(saved)

    def no_model(config):
        config["model"] = {"class_path": "lightning_croloss.losses.croloss.CROLoss"}

    rewrite_config(saved, no_model)
    vouch_again(saved, from_data={})
    assert "is not a RetrievalModel" in refused(saved)


def test_loading_needs_no_lightning_cli_instantiation(saved, monkeypatch):
    """The parser of the command line imports what it is told to: it must not see a stranger's config."""

    def spy(*args, **kwargs):
        raise AssertionError("the parser was used")

    monkeypatch.setattr("lightning.pytorch.cli.instantiate_module", spy)
    assert isinstance(load_pretrained(saved), RetrievalModel)


# ---------------------------------------------------------------------- titles that may not travel


def test_titles_of_ml_100k_are_read_where_recbole_is_installed(tmp_path, monkeypatch):
    pytest.importorskip("recbole", reason="the titles are those of the data that RecBole bundles")
    data = RecBoleDataModule("ml-100k", title_field="movie_title")
    model = small_model(num_items=data.num_items)
    fit(model, data, limit_train_batches=1, limit_val_batches=1)
    assert "Toy Story" in model.metadata.item_titles
    config = {"data": {"class_path": "RecBoleDataModule", "init_args": {"title_field": "movie_title"}}}
    folder = save_pretrained(model, tmp_path / "model", config=config, titles=False)
    assert b"Toy Story" not in b"".join(path.read_bytes() for path in folder.iterdir())
    assert load_pretrained(folder).metadata.item_titles == model.metadata.item_titles
    monkeypatch.setattr("lightning_croloss.pretrained.titles.find_spec", lambda name: None)
    assert load_pretrained(folder).metadata.item_titles is None


@pytest.mark.parametrize(
    "setting", [{"data_path": "/etc"}, {"config_files": ["/etc/passwd"]}, {"config": {"a": 1}}]
)
def test_no_other_file_is_opened_for_titles(trained, tmp_path, setting):
    init_args = {"dataset": "ml-100k", "title_field": "movie_title", **setting}
    config = {"data": {"class_path": "RecBoleDataModule", "init_args": init_args}}
    folder = save_pretrained(trained, tmp_path / "model", config=config, titles=False)
    assert load_pretrained(folder).metadata.item_titles is None
