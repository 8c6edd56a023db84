"""The metrics inside torchmetrics' collections and trackers, and logged by Lightning."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
import torchmetrics.wrappers
import torchmetrics.wrappers.tracker
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning.pytorch import LightningModule
from lightning.pytorch.callbacks import EarlyStopping
from torch import Tensor
from torch.utils.data import DataLoader
from torchmetrics import Metric, MetricCollection
from torchmetrics.wrappers import (
    BootStrapper,
    MetricTracker,
    MinMaxMetric,
    MultioutputWrapper,
    MultitaskWrapper,
    Running,
)

from lightning_croloss.metrics import HitRateAtN, MRRAtN, NDCGAtN, OneCutoff, RankMetric, RecallAtN
from tests.data_for_tests import quiet_trainer
from tests.metrics.cases import METRICS, PER_METRIC


class PrecisionAtN(RankMetric):
    """A user's own metric, with a name that another has too."""

    metric_name = "recall"

    def __init__(self, ns: tuple[int, ...] = (20,), share: float = 1.0, **kwargs: object) -> None:
        super().__init__(ns, **kwargs)
        self.share = share

    def user_values(self, ranks: Tensor, real: Tensor, cutoffs: Tensor) -> Tensor:
        hits = ((ranks.unsqueeze(-1) <= cutoffs) & real.unsqueeze(-1)).sum(1)
        return self.share * hits.double() / cutoffs.clamp(min=ranks.shape[1])


def made_by_a_function(power: float) -> type[RankMetric]:
    class Powered(RecallAtN):
        def user_values(self, ranks: Tensor, real: Tensor, cutoffs: Tensor) -> Tensor:
            return super().user_values(ranks, real, cutoffs) ** power

    return Powered


def many() -> dict[str, RankMetric]:
    """Metrics of which no two compute the same."""
    two, three = made_by_a_function(2), made_by_a_function(3)
    return {
        **{f"{kind.__name__} {n}": kind(ns=(n,)) for kind in METRICS for n in (1, 10)},
        "several": RecallAtN(ns=(1, 10)),
        "precision": PrecisionAtN(ns=(10,)),
        "halved": PrecisionAtN(ns=(10,), share=0.5),
        "squared": two(ns=(10,)),
        "cubed": three(ns=(10,)),
    }


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**31), batches=st.integers(1, 4), width=st.integers(1, 3), highest=st.integers(1, 30)
)
def test_a_collection_computes_what_its_metrics_do(seed: int, batches: int, width: int, highest: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    together, alone = MetricCollection(many()), many()
    for _ in range(batches):
        # often no hit, or the same of all: where states are equal by accident
        ranks = torch.randint(0, highest + 1, (2, width), generator=generator)
        mask = torch.rand(2, width, generator=generator) < 0.8
        in_batch = together(ranks, mask)
        values = {name: metric(ranks, mask) for name, metric in alone.items()}
        assert in_batch == prefixed(values)
    assert together.compute() == prefixed({name: metric.compute() for name, metric in alone.items()})
    assert together.clone(prefix="val/").compute().keys() == {f"val/{name}" for name in together.compute()}


def prefixed(values: dict[str, dict[str, Tensor]]) -> dict[str, Tensor]:
    return {f"{name}_{key}": value for name, of_one in values.items() for key, value in of_one.items()}


def test_a_collection_of_one_n_has_the_names_of_the_metrics() -> None:
    metrics = MetricCollection([RecallAtN((10,)), HitRateAtN((10,)), NDCGAtN((10,)), MRRAtN((10,))])
    metrics.update(torch.tensor([[50], [60]]))
    metrics.update(torch.tensor([[1, 30], [3, 40]]))
    found = {name: round(value.item(), 3) for name, value in metrics.compute().items()}
    assert found == {"recall@10": 0.25, "hit_rate@10": 0.5, "ndcg@10": 0.23, "mrr@10": 0.333}


def test_metrics_of_the_same_settings_may_share_their_states() -> None:
    metrics = MetricCollection({"one": RecallAtN((10,)), "other": RecallAtN((10,))})
    for ranks in ([[1]], [[30]]):
        metrics.update(torch.tensor(ranks))
    assert [value.item() for value in metrics.compute().values()] == [0.5, 0.5]


TRACKS_DICTIONARIES = pytest.mark.skipif(
    not hasattr(torchmetrics.wrappers.tracker, "ClasswiseWrapper"), reason="needs torchmetrics 1.7"
)


def tracked(base: RankMetric | OneCutoff | MetricCollection) -> object:
    tracker = MetricTracker(base)
    for best in (2, 1, 5):
        tracker.increment()
        tracker.update(torch.tensor([[best], [20]]))
    return tracker.best_metric(return_step=True)


@TRACKS_DICTIONARIES
def test_a_tracker_knows_the_best_of_each_n() -> None:
    assert tracked(RecallAtN(ns=(1, 10))) == (
        {"recall@1": 0.5, "recall@10": 0.5},
        {"recall@1": 1, "recall@10": 0},
    )
    assert tracked(MRRAtN(ns=(10,))) == ({"mrr@10": 0.5}, {"mrr@10": 1})
    assert tracked(PrecisionAtN(ns=(2, 10)))[1] == {"recall@2": 0, "recall@10": 0}
    collection = MetricCollection([RecallAtN(ns=(1, 10)), MRRAtN(ns=(10,)), NDCGAtN(ns=(1, 4, 10))])
    _, steps = tracked(collection)
    assert {name: step for name, step in steps.items() if step != 1} == {"recall@10": 0}
    assert steps.keys() == {"recall@1", "recall@10", "mrr@10", "ndcg@1", "ndcg@4", "ndcg@10"}


def test_a_tracker_knows_the_best_of_a_single_n() -> None:
    assert tracked(MRRAtN.at(10)) == (0.5, 1)
    both = MetricCollection({"mrr": MRRAtN.at(10), "recall": RecallAtN.at(1)})
    assert tracked(both) == ({"mrr": 0.5, "recall": 0.5}, {"mrr": 1, "recall": 1})


@PER_METRIC
def test_at_computes_the_value_as_a_tensor(metric_class: type[RankMetric]) -> None:
    ranks = torch.randint(0, 40, (101, 4), generator=torch.Generator().manual_seed(0))
    expected = metric_class(ns=(7,))
    single = pickle.loads(pickle.dumps(metric_class.at(7)))
    for part in ranks.split(30):
        (in_batch,) = expected(part, part > 0).values()
        assert single(part, part > 0) == in_batch
    assert single.compute() == expected.compute()[f"{metric_class.metric_name}@7"]
    assert single.compute().shape == ()
    single.reset()
    single.update(ranks[:1])
    alone = metric_class(ns=(7,))
    alone.update(ranks[:1])
    assert single.compute() == next(iter(alone.compute().values()))


MERGES = pytest.mark.skipif(not hasattr(Metric, "merge_state"), reason="needs torchmetrics 1.5")


@MERGES
@pytest.mark.parametrize("single", [False, True], ids=["dictionary", "tensor"])
@PER_METRIC
def test_merged_metrics_are_one_over_all_users(metric_class: type[RankMetric], single: bool) -> None:
    make = (lambda: metric_class.at(10)) if single else (lambda: metric_class((1, 10)))
    ranks = torch.randint(0, 40, (30, 4), generator=torch.Generator().manual_seed(0))
    one, other, whole = make(), make(), make()
    one.update(ranks[:11])
    one.compute()  # what it has computed is out of date then
    other.update(ranks[11:])
    one.merge_state(other)
    whole.update(ranks)
    assert one.compute() == whole.compute()
    with pytest.raises(ValueError, match="merge metrics of one kind and cutoffs"):
        one.merge_state(metric_class.at(7) if single else metric_class((10,)))
    with pytest.raises(ValueError, match="merge metrics of one kind and cutoffs"):
        one.merge_state(PrecisionAtN((1, 10)))


@PER_METRIC
def test_a_single_n_is_saved_where_it_is_asked_for(metric_class: type[RankMetric]) -> None:
    saved, loaded = metric_class.at(10), metric_class.at(10)
    saved.update(torch.tensor([[1, 7, 30], [2, 0, 0]]))
    assert not saved.state_dict()
    for metric in (saved, loaded):
        metric.persistent(True)
    loaded.load_state_dict(saved.state_dict())
    assert loaded.compute() == saved.compute() > 0


RANKS = [torch.tensor(ranks) for ranks in ([[1], [30]], [[40], [30]], [[2], [3]], [[50], [60]])]


def fed(wrapped: Metric) -> Metric:
    """Give a wrapper of Recall@10 four batches of two users, of whom 1, 0, 2 and 0 have a hit."""
    for ranks in RANKS:
        wrapped.update(ranks)
    return wrapped


def running(single: Metric) -> object:
    by_call = Running(copy.deepcopy(single), window=2)
    seen = [by_call(ranks).item() for ranks in RANKS]
    assert seen == [0.5, 0.0, 1.0, 0.0]
    found = fed(Running(single, window=3))
    assert found.compute() == found.compute()
    return by_call.compute().item(), found.compute().item()


def min_max(single: Metric) -> object:
    wrapped = MinMaxMetric(single)
    found = {}
    for ranks in RANKS:
        wrapped.update(ranks)
        found = wrapped.compute()
    return {name: round(value.item(), 3) for name, value in found.items()}


def strapped(single: Metric) -> object:
    found = fed(BootStrapper(single, num_bootstraps=200, raw=True, sampling_strategy="multinomial")).compute()
    return round(found["mean"].item(), 1), len(found["raw"])


def tasks(single: Metric) -> object:
    wrapped = MultitaskWrapper({"one": single, "other": copy.deepcopy(single)})
    wrapped.update({"one": RANKS[0], "other": RANKS[2]}, {"one": RANKS[0] > 0, "other": RANKS[2] > 0})
    return {name: value.item() for name, value in wrapped.compute().items()}


def outputs(single: Metric) -> object:
    wrapped = MultioutputWrapper(single, num_outputs=2, remove_nans=False)
    wrapped.update(torch.stack([RANKS[0], RANKS[2]], dim=-1))
    return wrapped.compute().tolist()


def transformed(single: Metric) -> object:
    wrapped = torchmetrics.wrappers.LambdaInputTransformer(single, lambda ranks: ranks + 8)
    wrapped.update(RANKS[2], RANKS[2] > 0)
    return wrapped.compute().item()


def binary(single: Metric) -> object:
    wrapped = torchmetrics.wrappers.BinaryTargetTransformer(single, threshold=0)
    with pytest.raises(TypeError, match=r"mask must be bool, got torch\.int64"):
        wrapped.update(RANKS[2], torch.ones_like(RANKS[2]))
    return None


#: What each of torchmetrics' wrappers makes of a metric of one N; of the others, which are none of these.
WRAPPED: dict[str, tuple[Callable[[Metric], object], object]] = {
    "BinaryTargetTransformer": (binary, None),
    "BootStrapper": (strapped, (0.4, 200)),
    "LambdaInputTransformer": (transformed, 0.5),
    "MetricTracker": (tracked, (0.5, 0)),
    "MinMaxMetric": (min_max, {"raw": 0.375, "max": 0.5, "min": 0.25}),
    "MultioutputWrapper": (outputs, [0.5, 1.0]),
    "MultitaskWrapper": (tasks, {"one": 0.5, "other": 1.0}),
    "Running": (running, (0.5, 1 / 3)),
}
#: A base class; what wants a network; what takes one value of each class.
OTHERS = {"MetricInputTransformer", "FeatureShare", "ClasswiseWrapper"}


def test_every_wrapper_is_known() -> None:
    assert set(torchmetrics.wrappers.__all__) <= set(WRAPPED) | OTHERS


@pytest.mark.parametrize("name", WRAPPED)
def test_a_single_n_in_every_wrapper(name: str) -> None:
    if not hasattr(torchmetrics.wrappers, name):
        pytest.skip(f"this torchmetrics has no {name}")
    torch.manual_seed(0)
    wrap, expected = WRAPPED[name]
    found = wrap(RecallAtN.at(10))
    assert found == (pytest.approx(expected) if isinstance(expected, (float, tuple)) else expected)


def test_a_collection_of_single_ns_takes_their_states() -> None:
    """Equal ones are one group, of which the first alone is updated; and with the metric itself, too."""
    metrics = MetricCollection(
        {"one": RecallAtN.at(10), "same": RecallAtN.at(10), "whole": RecallAtN((10,)), "mrr": MRRAtN.at(10)}
    )
    for _ in range(2):
        for ranks in RANKS:
            metrics.update(ranks)
            metrics.compute()
        found = sorted(value.item() for value in metrics.compute().values())
        assert found == pytest.approx([(1 + 1 / 2 + 1 / 3) / 8, 0.375, 0.375, 0.375])
        metrics.reset()
    alone = RecallAtN.at(10)
    alone.set_dtype(torch.float16)
    alone.update(RANKS[0])
    assert all(state.dtype == torch.int64 for state in alone.metric_state.values())
    assert pickle.loads(pickle.dumps(alone)).compute() == copy.deepcopy(alone).compute() == 0.5


class Dotted(RecallAtN):
    """A user's own metric, whose name no module of torch may bear."""

    metric_name = "my.recall"


COPIES: dict[str, Callable[[MetricCollection], MetricCollection]] = {
    "itself": lambda metrics: metrics,
    "clone": lambda metrics: metrics.clone(),
    "deepcopy": copy.deepcopy,
    "pickle": lambda metrics: pickle.loads(pickle.dumps(metrics)),
}


@pytest.mark.parametrize("how", COPIES)
def test_a_list_of_single_ns_has_their_names(how: str) -> None:
    kinds: list[type[RankMetric]] = [*METRICS, Dotted]
    together = COPIES[how](MetricCollection([kind.at(n) for kind in kinds for n in (1, 10)]))
    alone = {f"{kind.metric_name}@{n}".replace(".", "_"): kind.at(n) for kind in kinds for n in (1, 10)}
    for ranks in RANKS:
        assert together(ranks) == {name: metric(ranks) for name, metric in alone.items()}
    assert together.compute() == {name: metric.compute() for name, metric in alone.items()}
    assert all(isinstance(metric, OneCutoff) for metric in together.values())
    with pytest.raises(ValueError, match="two metrics both named recall@10"):
        together.add_metrics([RecallAtN.at(10)])


def test_a_single_n_of_an_earlier_file_gets_its_name() -> None:
    """It was pickled as an object of the class itself, and is so today."""
    saved = RecallAtN.at(10)
    saved.update(RANKS[0])
    loaded = OneCutoff.__new__(OneCutoff)
    loaded.__setstate__(saved.__getstate__())
    assert type(loaded) is type(saved) is type(RecallAtN.at(10))
    assert loaded.compute() == 0.5
    assert saved.__reduce__()[1] == (OneCutoff,)


class OwnCutoff(OneCutoff):
    """A user's own subclass."""


def test_a_subclass_of_a_single_n_stays_one() -> None:
    own = OwnCutoff(RecallAtN((10,)))
    for copied in (own, copy.deepcopy(own), pickle.loads(pickle.dumps(own))):
        assert isinstance(copied, OwnCutoff)
        assert set(MetricCollection([copied])) == {"recall@10"}


def test_groups_that_a_user_names_hold_equal_metrics_alone() -> None:
    ranks = torch.tensor([[1, 7, 30], [2, 0, 0]])
    metrics = MetricCollection([RecallAtN((10,)), NDCGAtN((10,))], compute_groups=[["RecallAtN", "NDCGAtN"]])
    metrics.update(ranks)
    with pytest.raises(ValueError, match=r"compute_groups of the MetricCollection .* leave it out"):
        metrics.compute()
    equal = MetricCollection(
        {"one": RecallAtN((10,)), "other": RecallAtN((10,))}, compute_groups=[["one", "other"]]
    )
    equal.update(ranks)
    one, other = equal.compute().values()
    assert one == other > 0


def test_at_takes_one_positive_integer() -> None:
    with pytest.raises(ValueError, match="ns must hold distinct cutoffs of at least 1"):
        RecallAtN.at(0)
    with pytest.raises(TypeError, match="ns must be a sequence of integers"):
        RecallAtN.at((1, 2))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"the metric must have one cutoff, got \[1, 2\]"):
        OneCutoff(RecallAtN((1, 2)))


class Logs(LightningModule):
    """Logs the Recall of ranks that get worse, by the metric itself."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.recall = RecallAtN.at(10)
        self.seen: list[float] = []

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return self.layer(batch.float()).mean()

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.recall.update(batch + 8 * self.current_epoch)
        self.log("val/recall", self.recall)

    def on_validation_end(self) -> None:
        self.seen.append(self.trainer.callback_metrics["val/recall"].item())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_lightning_logs_and_monitors_a_single_n() -> None:
    ranks = DataLoader(torch.tensor([[1], [4], [9], [30]]), batch_size=3)
    model = Logs()
    stop = EarlyStopping("val/recall", mode="max", patience=1)
    trainer = quiet_trainer(max_epochs=6, callbacks=[stop], num_sanity_val_steps=0)
    trainer.fit(model, ranks, ranks)
    assert model.seen == [0.75, 0.25]  # of all four, and of this epoch alone
    assert trainer.current_epoch == 2


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_no_precision_changes_the_sums(dtype: torch.dtype) -> None:
    metrics, alone = MetricCollection([RecallAtN((1, 10)), NDCGAtN((1, 10))]), RecallAtN((1, 10))
    metrics.set_dtype(dtype)
    for _ in range(3):
        ranks = torch.tensor([[1, 7, 30], [2, 4, 9]])
        metrics.update(ranks)
        alone.update(ranks)
    found = metrics.compute()
    assert {name: found[name] for name in alone.compute()} == alone.compute()
