"""The stack of blocks: what a mask leaves, against the same events without the rest."""

import torch

from lightning_croloss.models.layers.transformer import PreNormBlock, TransformerEncoder


def small_encoder(**arguments):
    torch.manual_seed(0)
    return TransformerEncoder(lambda: PreNormBlock(8, 2, 12, 0.3, 2, **arguments), 2).eval()


def test_blocks_are_named_by_their_numbers_alone():
    """Which the checkpoints of SASRec rely on."""
    assert {name.split(".")[0] for name in small_encoder().state_dict()} == {"0", "1"}


def test_positions_outside_the_mask_are_not_seen():
    encoder, states = small_encoder(causal=False), torch.randn(2, 6, 8)
    real = torch.tensor([[0, 1, 1, 0, 1, 1], [0, 0, 0, 0, 0, 1]]).bool()
    found = encoder(states, real)
    assert bool(torch.isfinite(found).all())
    for row in range(2):
        alone = encoder(states[row : row + 1, real[row]])
        torch.testing.assert_close(found[row : row + 1, real[row]], alone)


def test_a_causal_stack_does_not_see_later_positions():
    states = torch.randn(1, 6, 8)
    changed = states.clone()
    changed[0, 4] += 1.0
    for causal in (True, False):
        encoder = small_encoder(causal=causal)
        same = (encoder(states) == encoder(changed)).all(-1)[0]
        assert bool(same[:4].all()) == bool(same[:4].any()) == causal
        assert not bool(same[4:].any())


def test_the_activation_and_the_dropout_have_an_effect():
    states, outcomes = torch.randn(1, 3, 8), []
    for arguments in ({}, {"activation": torch.nn.functional.gelu}):
        outcomes.append(small_encoder(**arguments)(states))
    assert not torch.allclose(*outcomes)
    encoder = small_encoder().train()
    assert not torch.allclose(encoder(states), outcomes[0])
