"""Users by their tokens: the same lists as by ids, wherever the model comes from."""

import pytest
import torch

from croloss_serving.common.vocabulary import Vocabulary
from croloss_serving.recommend.users import UserKnowledge
from lightning_croloss import (
    NGCF,
    LightGCN,
    MatrixFactorization,
    RetrievalModel,
    TwoTower,
    load_pretrained,
    save_pretrained,
)
from lightning_croloss.errors import PretrainedError
from tests.data_for_tests import FeaturedData, fit, small_model
from tests.models.cases import FEATURES

MODELS = {
    "MatrixFactorization": (MatrixFactorization, {"num_users": 60}),
    "LightGCN": (LightGCN, {"num_users": 60}),
    "NGCF": (NGCF, {"num_users": 60}),
    "user ids": (TwoTower, {"num_users": 60, "use_user_id": True}),
    "user features": (TwoTower, FEATURES),
    "users alone": (TwoTower, {"num_users": 60, "use_user_id": True, "use_history": False}),
}
TOKENS = ["user 41", "user 3", "nobody", "user 59", "user 3"]
IDS = [42, 4, 0, 60, 4]
HISTORIES = [["item 1", "item 9"], ["item 30"], ["item 12", "item 13"], [], ["item 2"]]


@pytest.fixture(scope="module", params=MODELS)
def trained(request, tmp_path_factory):
    torch.manual_seed(0)
    cls, arguments = MODELS[request.param]
    model = cls(num_items=40, embedding_dim=8, ns=(5,), exclude_history=True, **arguments)
    trainer = fit(model, FeaturedData(), limit_train_batches=4)
    folder = tmp_path_factory.mktemp("users")
    trainer.save_checkpoint(folder / "run.ckpt")
    save_pretrained(model, folder / "model")
    return model, folder


def expected(model):
    """Sort the scores of all items of the users by their ids."""
    histories = [[int(token.removeprefix("item ")) + 1 for token in history] for history in HISTORIES]
    needs = model.needs_known_users
    users = torch.tensor([1 if needs and user == 0 else user for user in IDS])
    ids, _ = model.recommend(histories, 7, exclude_history=True, users=users)
    return [[f"item {item - 1}" for item in row.tolist()] for row in ids]


@pytest.mark.parametrize("way", ["in memory", "checkpoint", "checkpoint as pretrained", "folder"])
def test_the_same_lists_as_by_ids(trained, way):
    model, folder = trained
    again = {
        "in memory": lambda: model,
        "checkpoint": lambda: RetrievalModel.load_from_checkpoint(folder / "run.ckpt"),
        "checkpoint as pretrained": lambda: load_pretrained(folder / "run.ckpt"),
        "folder": lambda: load_pretrained(folder / "model"),
    }[way]()
    assert again.metadata.user_vocabulary == FeaturedData().user_vocabulary
    found = again.recommend_tokens(HISTORIES, 7, exclude_history=True, users=TOKENS)
    assert found.num_unknown_users == 1
    assert "the model does not know 1 of the 5 users" in str(found)
    for row, (user, tokens, known) in enumerate(zip(found, expected(model), IDS, strict=True)):
        assert user.unknown_user is (known == 0)
        if user.fallback:
            assert known == 0
            assert not model.needs_history
            assert not {*user.tokens} & {*HISTORIES[row]}
        else:
            assert user.tokens == tokens
    # a list that depends on the user, not on the history alone
    others = again.recommend_tokens(HISTORIES, 7, users=["user 0", "user 1", "nobody", "user 2", "user 5"])
    assert [user.tokens for user in others] != [user.tokens for user in found]


def test_users_without_histories(trained):
    model, _ = trained
    found = model.recommend_tokens(users=["user 7", "nobody"], n=5)
    ids, _ = model.recommend(n=5, users=torch.tensor([8, 1]))
    assert found[0].tokens == [f"item {item - 1}" for item in ids[0].tolist()]
    assert [user.fallback for user in found] == [False, True]


def test_missing_users_are_said(trained):
    model, _ = trained
    if model.needs_known_users:
        with pytest.raises(
            ValueError, match="whose ids it was trained with: give the token of each as users"
        ):
            model.recommend_tokens(HISTORIES, 5)
    else:
        with pytest.warns(UserWarning, match="no users are given: all 5 count as unknown"):
            found = model.recommend_tokens(HISTORIES, 5)
        assert found.num_unknown_users == 5


def test_a_folder_without_user_tokens_names_what_is_missing(trained, tmp_path):
    model, _ = trained
    folder = save_pretrained(model, tmp_path / "model", users=False)
    assert not (folder / "users.parquet").exists()
    again = load_pretrained(folder)
    with pytest.raises(ValueError, match="its file does not hold their tokens"):
        again.recommend_tokens(HISTORIES, 5, users=TOKENS)
    assert torch.equal(
        again.recommend(n=5, users=torch.tensor([3]))[0], model.recommend(n=5, users=torch.tensor([3]))[0]
    )


@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_a_damaged_table_of_users_is_refused(trained, tmp_path, damage):
    model, _ = trained
    path = save_pretrained(model, tmp_path / "model") / "users.parquet"
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(PretrainedError, match=r"users\.parquet"):
        load_pretrained(path.parent)


def test_a_model_without_users_refuses_them():
    model = small_model()
    fit(model, FeaturedData(), limit_train_batches=1)
    assert model.metadata.user_vocabulary is None
    with pytest.raises(ValueError, match="uses neither ids nor features of users: leave users out"):
        model.recommend_tokens(HISTORIES, 5, users=TOKENS)
    assert "unknown user" not in str(model.recommend_tokens(HISTORIES, 5))


@pytest.mark.parametrize(
    ("users", "error", "said"),
    [
        (["u"], ValueError, "a token for each of the 2 histories, got 1"),
        ("uv", TypeError, "users must be a list of tokens, got 'uv'"),
        ([1.5, 2.5], TypeError, r"users holds 1\.5"),
    ],
)
def test_refuses(users, error, said):
    knowledge = UserKnowledge("a model", True, False, True, Vocabulary(["u", "v"]))
    with pytest.raises(error, match=said):
        knowledge.ids(users, 2)


@pytest.mark.parametrize(("tokens", "given"), [([7, 5], ["5", 7, "05"]), (["7", "5"], [5, "7", "05"])])
def test_numbers_and_their_text_are_the_same_user(tokens, given):
    knowledge = UserKnowledge("a model", True, False, True, Vocabulary(tokens))
    assert knowledge.ids(given, 3).tolist() == [
        2 if str(token) == "5" else 1 if str(token) == "7" else 0 for token in given
    ]
