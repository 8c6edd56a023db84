"""CROLoss that was told only its n: what it chooses, and what files keep of it."""

import copy
import pickle

import numpy as np
import pytest
import torch

from lightning_croloss import CROLoss, PowerImportance, SoftmaxLoss, TargetNImportance, UniformNegatives
from lightning_croloss.configurable import to_config
from lightning_croloss.losses import HingeKernel, Kernel, PSLTanhKernel, rule
from lightning_croloss.losses.rule import RuleChoice, choose
from tests.data_for_tests import small_model
from tests.losses.cases import assert_same, options, scores, value_and_gradients
from tests.test_configurable import build


@pytest.fixture
def later(monkeypatch):
    """Return a function that puts another rule in the place of today's, as a later release would."""

    def other(n, *rest, kernel=None):
        known = {None: RuleChoice("exp", 1.7, 0.3), "hinge": RuleChoice("hinge", 1.6, 0.2)}
        return known.get(kernel, RuleChoice(kernel, 1.5, 0.25))

    def change():
        other = {"exp": RuleChoice("exp", 1.7, 0.3), "hinge": RuleChoice("hinge", 1.6, 0.2)}
        monkeypatch.setattr(
            rule,
            "choose",
            lambda n, *rest, kernel=None: other.get(kernel or "exp", RuleChoice(kernel, 1.5, 0.25)),
        )

    return change


def values(loss):
    return loss.kernel.name, float(loss.importance.alpha), float(loss.temperature)


def chosen(choice):
    return choice.kernel, choice.alpha, choice.temperature


def test_it_is_the_loss_of_what_the_rule_chooses():
    choice = choose(20, 40)
    told = CROLoss(n=20, num_items=40)
    assert values(told) == chosen(choice)
    same = CROLoss(choice.kernel, choice.importance, choice.temperature, num_items=40)
    assert_same(*(value_and_gradients(loss, *scores(), **options()) for loss in (told, same)), rtol=0)


def test_without_n_everything_is_as_it_was():
    assert values(CROLoss()) == ("sigmoid", 1.0, 0.1)
    assert CROLoss().by_rule is None
    assert to_config(CROLoss(None, None, None)) == to_config(CROLoss("sigmoid", PowerImportance(1.0), 0.1))
    assert not {"n", "expected_recall", "by_rule"} & set(to_config(CROLoss())["init_args"])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"temperature": 0.33}, (choose(20, 40).kernel, choose(20, 40).alpha, 0.33)),
        ({"kernel": "exp"}, chosen(choose(20, 40, kernel="exp"))),
        ({"kernel": "exp", "temperature": 0.33}, ("exp", choose(20, 40, kernel="exp").alpha, 0.33)),
        ({"kernel": HingeKernel(0.7)}, chosen(choose(20, 40, kernel="hinge"))),
        ({"expected_recall": 0.9}, chosen(choose(20, 40, 0.9))),
    ],
)
def test_explicit_values_win_each_for_itself(given, expected):
    assert values(CROLoss(n=20, num_items=40, **given)) == expected


def test_a_kernel_of_somebodys_own_needs_no_name():
    class Own(Kernel):
        def value(self, difference, temperature):
            return torch.sigmoid(difference / temperature)

        def slope_(self, x, out, temperature):
            raise NotImplementedError

    loss = CROLoss(Own(), n=20)
    assert float(loss.temperature) == choose(20, kernel="softplus").temperature
    assert loss.values_at_n(50)["temperature"] == choose(50, kernel="softplus").temperature


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            {"n": 100, "alpha": 1.2},
            "n=100 lets a rule choose the importance, and alpha=1.2 is given too",
        ),
        (
            {"n": 100, "importance": TargetNImportance(100)},
            r"n=100 lets a rule .* importance=TargetNImportance\(n=100\) is given too",
        ),
        ({"n": 100, "importance": "power"}, "n=100 lets a rule .* importance='power' is given too"),
        (
            {"n": 100, "kernel": "exp", "importance": {"name": "power"}, "temperature": 0.1},
            "n=100 lets a rule choose the importance",
        ),
        ({"n": 0}, "n must be a number of at least 1, got 0"),
        ({"n": True}, "n must be a number of at least 1, got True"),
        ({"n": "100"}, "n must be a number of at least 1, got '100'"),
        ({"n": 100, "num_items": 99}, "n must be at most the size of the catalogue, 99 items, got 100"),
        (
            {"n": 100, "expected_recall": 40},
            "expected_recall is the Recall@n that you expect",
        ),
        ({"expected_recall": 0.4}, "expected_recall=0.4 is .* CROLoss.n=….: give n too, or leave exp"),
        ({"by_rule": {"n": 3}}, "by_rule={'n': 3} is .* give n too, or leave by_rule out"),
        ({"n": 100, "by_rule": {"n": 3}}, "by_rule is the record that .* is none .* leave it out"),
        ({"n": 100, "by_rule": ["n"]}, "by_rule is the record that .* is none .* leave it out"),
    ],
)
def test_mistakes_get_one_sentence(arguments, sentence):
    with pytest.raises((ValueError, TypeError), match=sentence) as caught:
        CROLoss(**arguments)
    assert "\n" not in str(caught.value)


def test_n_and_its_friends_are_given_by_name():
    with pytest.raises(TypeError, match="positional"):
        CROLoss("exp", None, 0.1, 0.0, "sigmoid", None, "reference", None, 100)


# ---------------------------------------------------------------------- the record


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"num_items": 40},
        {"kernel": "exp", "temperature": 0.33},
        {"kernel": HingeKernel(0.7)},
        {"kernel": {"name": "hinge", "margin": 0.7}, "expected_recall": np.float32(0.25)},
        {"learnable_temperature": True},
    ],
)
def test_a_file_means_the_same_under_any_later_rule(given, later, tmp_path):
    loss = CROLoss(n=np.int64(20), **given)
    config, text = to_config(loss), repr(loss)
    torch.save(config, tmp_path / "config.pt")
    later()
    again = build(torch.load(tmp_path / "config.pt", weights_only=True))
    assert values(again) == values(loss) != values(CROLoss(n=20, **given))
    assert to_config(again) == config
    assert repr(again) == text
    assert (config["init_args"]["n"], config["init_args"]["temperature"]) == (20, float(loss.temperature))
    assert config["init_args"]["importance"]["init_args"] == {"alpha": float(loss.importance.alpha)}
    if "kernel" not in given:
        assert config["init_args"]["kernel"] == loss.kernel.name
    copied, pickled = copy.deepcopy(again), pickle.loads(pickle.dumps(again))
    assert values(copied) == values(pickled) == values(loss)
    assert to_config(copied) == to_config(pickled) == config


def test_what_is_printed_shows_what_was_found():
    choice = choose(20, 40)
    text = repr(CROLoss(n=20, num_items=40))
    found = f"kernel={choice.kernel!r}, importance={choice.importance!r}, temperature={choice.temperature}"
    assert text.startswith(f"CROLoss({found}, num_items=40, n=20, by_rule={{'n': 20, 'num_items': 40, ")


def test_the_record_alone_is_enough(later):
    loss = CROLoss(n=20)
    record = loss.by_rule
    later()
    assert values(CROLoss(n=20, by_rule=record)) == values(loss)


def test_what_was_changed_in_a_file_is_the_users(later):
    config = to_config(CROLoss(n=20, num_items=40))["init_args"]
    later()
    config["importance"] = PowerImportance(1.25)
    loss = CROLoss(**config | {"temperature": 0.5})
    assert values(loss) == (choose(20).kernel, 1.25, 0.5)
    assert (loss.by_rule["alpha"], loss.by_rule["temperature"]) == (None, None)
    assert not loss.follows_n
    again = build(to_config(loss))
    assert (values(again), again.by_rule) == (values(loss), loss.by_rule)


@pytest.mark.parametrize("changed", [{"n": 30}, {"expected_recall": 0.5}, {"num_items": 41}])
def test_another_question_is_asked_anew(changed, later):
    told = CROLoss(n=20, num_items=40, temperature=0.44)
    config = to_config(told)["init_args"]
    config["importance"] = build(config["importance"])
    later()
    loss = CROLoss(**config | changed)
    assert values(loss) == ("exp", 1.7, 0.44)  # the temperature was given, and stays
    assert loss.by_rule == {
        "n": 20, "num_items": 40, "expected_recall": None, "kernel": "exp", "alpha": 1.7, "temperature": None
    } | changed  # fmt: skip


def test_another_kernel_is_another_question(later):
    config = to_config(CROLoss(n=20))["init_args"]
    config["importance"] = build(config["importance"])
    later()
    assert values(CROLoss(**config | {"kernel": "hinge"})) == ("hinge", 1.6, 0.2)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"n": None}, "its n is None"),
        ({"n": "20"}, "its n is '20'"),
        ({"kernel": "nothing"}, "its kernel is 'nothing'"),
        ({"kernel": "heaviside"}, "its kernel is 'heaviside'"),
        ({"alpha": "1"}, "its alpha is '1'"),
        ({"num_items": 1.5}, "its num_items is 1.5"),
        ({"more": 1}, "it has n, num_items"),
    ],
)
def test_a_record_that_is_none_is_refused(changed, told):
    record = CROLoss(n=20).by_rule | changed
    with pytest.raises(ValueError, match=told):
        CROLoss(n=20, by_rule=record)


@pytest.mark.parametrize(("name", "value"), [("alpha", -1.0), ("temperature", 0.0)])
def test_a_record_out_of_range_is_refused(name, value):
    record = CROLoss(n=20).by_rule | {name: value}
    with pytest.raises(ValueError, match=f"{name} must be"):
        CROLoss(n=20, by_rule=record)


class Passing(CROLoss):
    """A subclass that passes its arguments on."""

    def __init__(self, width=1.0, **kwargs):
        super().__init__(**kwargs)


class Softer(CROLoss):
    """A subclass that gives one of them itself, and passes on the others."""

    def __init__(self, temperature=0.1, **kwargs):
        super().__init__("exp", temperature=2 * temperature, **kwargs)


@pytest.mark.parametrize("cls", [Passing, Softer])
def test_a_subclass_that_passes_arguments_on_keeps_the_record(cls, later):
    loss = cls(n=20)
    loss.set_num_items(40)
    config = to_config(loss)["init_args"]
    later()
    again = cls(**config)
    again.set_num_items(40)
    assert values(again) == values(loss)
    assert values(cls(n=20)) != values(loss)


# ---------------------------------------------------------------------- the catalogue


def test_the_rule_is_asked_again_when_the_catalogue_is_known():
    loss = CROLoss(n=20)
    assert values(loss) == chosen(choose(20))
    loss.set_num_items(400_000)
    assert values(loss) == chosen(choose(20, 400_000)) != chosen(choose(20))
    assert loss.num_items == loss.by_rule["num_items"] == 400_000
    assert to_config(loss)["init_args"]["temperature"] == choose(20, 400_000).temperature
    fresh = CROLoss(n=20, num_items=400_000)
    assert_same(*(value_and_gradients(each, *scores(), **options()) for each in (loss, fresh)), rtol=0)


def test_a_catalogue_that_is_too_small_leaves_the_loss_as_it_is():
    loss = CROLoss(n=100)
    before = repr(loss)
    with pytest.raises(ValueError, match="n must be at most the size of the catalogue, 40 items, got 100"):
        loss.set_num_items(40)
    assert (loss.num_items, repr(loss)) == (None, before)


def test_what_is_printed_builds_the_same_loss_under_a_later_rule(later):
    loss = CROLoss(n=100, num_items=5000)
    printed = repr(loss)
    later()
    assert values(eval(printed)) == values(loss)


def test_given_values_stay_when_the_catalogue_is_known():
    loss = CROLoss(n=20, temperature=0.33)
    loss.set_num_items(400_000)
    assert values(loss) == (choose(20, 400_000).kernel, choose(20, 400_000).alpha, 0.33)
    loss = CROLoss(n=20)
    loss.schedulable()["temperature"].fill_(0.21)
    loss.set_num_items(400_000)
    assert float(loss.temperature) == 0.21


def test_another_kernel_for_the_catalogue(later):
    loss = CROLoss(n=20, lambda_kernel="exp", lambda_weight=0.5)
    later()
    with pytest.raises(ValueError, match="lambda_weight > 0 does nothing"):
        loss.set_num_items(40)
    loss = copy.deepcopy(CROLoss("psl_tanh", n=20))
    loss.set_num_items(40)
    assert (loss.kernel.name, to_config(loss.kernel)) == ("psl_tanh", to_config(PSLTanhKernel()))
    assert values(loss) == ("psl_tanh", 1.5, 0.25)


def test_a_batch_never_changes_what_was_chosen():
    loss = CROLoss(n=20)
    before = values(loss), to_config(loss)
    for columns in (30, 3000):
        loss.from_logits(torch.randn(4, columns), torch.arange(4))
        loss.in_batch(torch.randn(columns, 4), torch.randn(columns, 4), item_ids=torch.arange(columns))
    assert (values(loss), to_config(loss)) == before


def test_any_loss_takes_the_size_of_the_catalogue():
    loss = SoftmaxLoss()
    loss.set_num_items(40)
    assert loss.num_items == 40
    assert (loss.follows_n, loss.values_at_n(20)) == (False, {})


def test_a_model_asks_for_its_own_catalogue():
    loss = CROLoss(n=20)
    models = [small_model(num_items=size, loss=loss, negatives=UniformNegatives(30)) for size in (40, 4000)]
    assert [values(model.loss) for model in models] == [chosen(choose(20, size)) for size in (40, 4000)]
    assert values(loss) == chosen(choose(20))
    with pytest.raises(ValueError, match="n must be at most the size of the catalogue, 40 items, got 100"):
        small_model(loss=CROLoss(n=100))


# ---------------------------------------------------------------------- a scheduled n


def test_what_goes_with_n():
    loss = CROLoss(n=20, num_items=40)
    assert loss.follows_n
    choice = choose(5, 40, kernel=loss.kernel.name)
    assert loss.values_at_n(5) == {"alpha": choice.alpha, "temperature": choice.temperature}
    assert set(CROLoss(n=20, temperature=0.3).values_at_n(5)) == {"alpha"}
    assert set(CROLoss(n=20, learnable_temperature=True).values_at_n(5)) == {"alpha"}
    assert CROLoss("exp", n=20).values_at_n(5)["temperature"] == choose(5, kernel="exp").temperature
    assert (CROLoss().follows_n, CROLoss().values_at_n(5)) == (False, {})
    with pytest.raises(ValueError, match="n must be at most the size of the catalogue, 40 items, got 41"):
        loss.values_at_n(41)
    with pytest.raises(ValueError, match="n must be a number of at least 1, got 0"):
        loss.check_value("n", 0)


def test_at_its_own_n_the_record_holds(later):
    loss = CROLoss(n=20)
    later()
    assert loss.values_at_n(20) == {
        "alpha": loss.by_rule["alpha"],
        "temperature": loss.by_rule["temperature"],
    }
