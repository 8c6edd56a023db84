"""A fit in processes that the trainer starts itself leaves the model that one process would leave."""

import pytest
import torch

from lightning_croloss import YouTubeDNN
from lightning_croloss.models.checkpoint import KEY
from tests.data_for_tests import ClusteredData, fit, small_model


def known(model):
    """Return what a model knows of its data, as a checkpoint keeps it."""
    content = {}
    model.metadata.save(content)
    kept = content[KEY]
    return {name: value.tolist() if torch.is_tensor(value) else value for name, value in kept.items()}


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp_spawn", "ddp_notebook"])
def test_the_process_that_called_knows_what_one_process_would(tmp_path, strategy):
    alone = small_model()
    fit(alone, ClusteredData(max_history=3))
    model = small_model()
    trainer = fit(model, ClusteredData(max_history=3), devices=2, strategy=strategy)
    assert known(model) == known(alone)
    assert model.metadata.max_history == 3
    trainer.save_checkpoint(tmp_path / "after.ckpt")
    loaded = YouTubeDNN.load_from_checkpoint(tmp_path / "after.ckpt")
    assert known(loaded) == known(alone)
    assert list(loaded.recommend_tokens([["item 1"]], n=3)) == list(model.recommend_tokens([["item 1"]], n=3))
    assert KEY not in model.state_dict()
    with pytest.warns(UserWarning, match="training begins anew with them"):
        fit(small_model(), ClusteredData(max_history=3), ckpt_path=tmp_path / "after.ckpt")
