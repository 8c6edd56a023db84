"""Dense layers."""

from torch import nn

from lightning_croloss.models.layers import mlp


def test_dense_layers():
    assert [type(layer) for layer in mlp(4, (), 3, 0.5)] == [nn.Linear]
    layers = mlp(4, (8, 6), 3, 0.25)
    assert [type(layer) for layer in layers] == [*[nn.Linear, nn.ReLU, nn.Dropout] * 2, nn.Linear]
    assert [layer.weight.shape for layer in layers if isinstance(layer, nn.Linear)] == [
        (8, 4),
        (6, 8),
        (3, 6),
    ]
    assert {layer.p for layer in layers if isinstance(layer, nn.Dropout)} == {0.25}
