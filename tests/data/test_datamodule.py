from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lightning_croloss.data import DataRequest, RetrievalDataModule, UserDisjoint
from lightning_croloss.errors import DataError
from tests.data.events import Module, targets


def test_properties_right_after_construction():
    module = Module(max_history=4)
    assert (module.num_items, module.num_users, module.loads) == (48, 8, 1)
    assert len(module.item_vocabulary) == 48
    assert len(module.user_vocabulary) == 8
    rows = module.rows
    counts = np.bincount(module.interactions.items[rows.training_events], minlength=49)
    assert module.item_counts.tolist() == counts.tolist()
    assert module.item_counts.sum() == 8 * 4
    assert module.target_counts.sum() == len(rows.train) == 8 * 3
    assert module.item_counts[0] == module.target_counts[0] == 0
    assert module.loads == 1


def test_arguments_reach_the_loaders(monkeypatch):
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    module = Module(
        UserDisjoint(0.5, 0.25, 0.25), batch_size=3, eval_batch_size=2, max_history=4, predict_users="test"
    )
    assert targets(module.train_dataloader()) == targets(
        Module(UserDisjoint(0.5, 0.25, 0.25), 3, seed=0).train_dataloader()
    )
    batch = next(iter(module.train_dataloader()))
    assert batch.history.shape == (3, int((batch.history != 0).sum(1).max()))
    assert max(batch.history.shape[1] for batch in module.train_dataloader()) == 4
    assert batch.known_positives is None
    module.prepare_for(DataRequest(known_positives=True))
    assert next(iter(module.train_dataloader())).known_positives.shape == (3, 6)
    for loader, rows in (
        (module.val_dataloader(), module.rows.valid),
        (module.test_dataloader(), module.rows.test),
        (module.predict_dataloader(), module.rows.test),
    ):
        batch = next(iter(loader))
        assert batch.history.shape == (2, 4)
        assert torch.equal(batch.users, module.interactions.users[rows.first])
    monkeypatch.setenv("PL_GLOBAL_SEED", "5")
    seeded = targets(module.train_dataloader())
    monkeypatch.delenv("PL_GLOBAL_SEED")
    assert seeded != targets(module.train_dataloader())
    assert seeded == targets(Module(UserDisjoint(0.5, 0.25, 0.25), 3, seed=5).train_dataloader())


def test_the_latest_request_counts_and_one_of_its_own_disturbs_nobody():
    module = Module(batch_size=4)
    plain = module.test_dataloader()
    everything = DataRequest(True, True, True, True, True, True, True)
    module.prepare_for(everything)
    assert module.request == everything
    assert next(iter(plain)).whole_history is None  # made before
    assert next(iter(module.test_dataloader())).whole_history is not None
    batch = next(iter(module.train_dataloader()))
    assert batch.known_positives is not None
    assert batch.targets.shape == batch.history.shape
    assert torch.equal(module.target_counts, module.item_counts)
    for part, same in (("valid", module.val_dataloader()), ("test", module.test_dataloader())):
        own = next(iter(module.evaluation_loader(part, DataRequest())))
        assert own.whole_history is None
        assert torch.equal(own.targets, next(iter(same)).targets)
    with pytest.raises(ValueError, match="part='train' must be 'valid' or 'test'"):
        module.evaluation_loader("train", DataRequest())
    assert module.request == everything
    module.prepare_for(DataRequest(whole_history=True))
    assert next(iter(module.train_dataloader())).known_positives is None
    assert not torch.equal(module.target_counts, module.item_counts)


@pytest.mark.parametrize("name", ["batch_size", "eval_batch_size", "max_history", "max_eval_users"])
def test_module_refuses_sizes(name):
    with pytest.raises(ValueError, match=f"{name}=0 must be at least 1"):
        Module(**{name: 0})


def test_module_refuses_others():
    with pytest.raises(ValueError, match="seed=-1"):
        Module(seed=-1)
    with pytest.raises(TypeError, match="must be a Split"):
        Module(split="LeaveOneOut")
    with pytest.raises(TypeError, match="abstract"):
        RetrievalDataModule()


def test_fewer_rows_than_processes():
    class ManyProcesses:
        global_rank, world_size, overfit_batches = 0, 9, 0
        strategy = SimpleNamespace(root_device=torch.device("cpu"))

    module = Module()
    module.trainer = ManyProcesses()
    with pytest.raises(DataError, match="validation has 8 rows, fewer than the 9 processes"):
        module.val_dataloader()
    loader = module.train_dataloader()
    assert (loader.rank, loader.world_size) == (0, 9)


def test_many_users_are_measured_by_some_spread_over_all():
    whole, some = Module(), Module(max_eval_users=5)
    for part in ("valid", "test"):
        loader = f"{'val' if part == 'valid' else 'test'}_dataloader"
        users = torch.cat([batch.users for batch in getattr(whole, loader)()])
        assert len(users) > 5
        chosen = users[torch.arange(5) * len(users) // 5]
        for rows in (getattr(some, loader)(), some.evaluation_loader(part, DataRequest())):
            assert torch.cat([batch.users for batch in rows]).equal(chosen)
        fewer = torch.cat([batch.users for batch in some.evaluation_loader(part, DataRequest(), most=2)])
        assert fewer.equal(chosen[[0, 2]])
        assert len(getattr(Module(max_eval_users=10**6), loader)().dataset) == len(users)
    served = [sum(len(batch.users) for batch in module.predict_dataloader()) for module in (whole, some)]
    assert served[0] == served[1] > 5  # everyone is recommended to
