"""Samplers from config files and checkpoints, by their short names."""

import json

import pytest
import torch
import yaml
from jsonargparse import ArgumentParser

from lightning_croloss import (
    FullCatalogNegatives,
    InBatchNegatives,
    MixedNegatives,
    PopularityNegatives,
    RetrievalModel,
    UniformNegatives,
)
from lightning_croloss.configurable import to_config
from lightning_croloss.negatives import Negatives
from tests.data_for_tests import fit, small_model
from tests.registries import concrete

#: Each sampler as a config file writes it, every argument other than its default, and the same in Python.
CONFIGS = {
    "UniformNegatives": (
        "{num_negatives: 7, shared: false, exclude_known_positives: true}",
        lambda: UniformNegatives(7, False, True),
    ),
    "PopularityNegatives": (
        "{num_negatives: 7, exponent: 1.0, smoothing: 2.0, shared: false, exclude_known_positives: true}",
        lambda: PopularityNegatives(7, 1.0, 2.0, False, True),
    ),
    "InBatchNegatives": (
        "{gather_across_devices: true, exclude_known_positives: true}",
        lambda: InBatchNegatives(True, True),
    ),
    "FullCatalogNegatives": ("{exclude_known_positives: true}", lambda: FullCatalogNegatives(True)),
    "MixedNegatives": (
        """
        exclude_known_positives: true
        parts:
        - class_path: InBatchNegatives
        - class_path: UniformNegatives
          init_args: {num_negatives: 5}
        """,
        lambda: MixedNegatives([InBatchNegatives(), UniformNegatives(5)], True),
    ),
}


def test_every_sampler_is_here():
    assert CONFIGS.keys() == {cls.__name__ for cls in concrete(Negatives)}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", CONFIGS)
def test_from_a_config_file(name):
    arguments, make = CONFIGS[name]
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--negatives", type=Negatives)
    written = {"class_path": name, "init_args": yaml.safe_load(arguments)}
    parsed = parser.parse_object({"negatives": written})
    config = to_config(parser.instantiate_classes(parsed).negatives)
    assert config == to_config(make())
    assert json.loads(json.dumps(config)) == config


@pytest.mark.parametrize("name", CONFIGS)
def test_through_a_checkpoint(name, tmp_path):
    model = small_model(negatives=CONFIGS[name][1]())
    trainer = fit(model, limit_train_batches=1, limit_val_batches=0)
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    content = torch.load(tmp_path / "model.ckpt", weights_only=True)
    assert not any(key.startswith("negatives") for key in content["state_dict"])

    again = RetrievalModel.load_from_checkpoint(tmp_path / "model.ckpt", weights_only=True)
    assert to_config(again.negatives) == to_config(model.negatives)
    histories = [[1, 2, 3], [30]]
    assert torch.equal(again.recommend(histories, 5)[0], model.recommend(histories, 5)[0])
    fit(again, limit_train_batches=1, limit_val_batches=0)

    for other in CONFIGS:
        changed = RetrievalModel.load_from_checkpoint(
            tmp_path / "model.ckpt", weights_only=True, negatives=CONFIGS[other][1]()
        )
        assert type(changed.negatives).__name__ == other
