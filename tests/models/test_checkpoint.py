"""Reading checkpoints: plain types only, from any place, of no newer format."""

import torch


def test_a_checkpoint_holds_plain_types_only(checkpoint):
    content = torch.load(checkpoint[0], weights_only=True)
    assert content["hyper_parameters"]["loss"]["init_args"]["importance"] == {
        "class_path": "lightning_croloss.TargetNImportance",
        "init_args": {"n": 10, "sharpness": 1.0},
    }
    assert not any("loss" in name for name in content["state_dict"])
