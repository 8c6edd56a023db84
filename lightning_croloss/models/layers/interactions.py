"""Products of the inputs of a tower: factorisation machines and cross layers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lightning_croloss.common.checks import check_choice, check_lists

KINDS = ("fm", "cross")


def check_interactions(name: str, kinds: Sequence[str], num_fields: int, tower: str, remedy: str) -> None:
    """Refuse kinds of interactions that there are not, or that have nothing to work with.

    Args:
        name: the argument.
        kinds: what it holds.
        num_fields: number of fields F of the tower.
        tower: what errors call it.
        remedy: what to do about a single field.

    Raises:
        ValueError: a kind is unknown or named twice, or there are too few fields for it, 0 being that a tower
            has no features.
    """
    check_lists(**{name: kinds})
    for kind in kinds:
        check_choice(name, kind, KINDS)
    if len(set(kinds)) < len(kinds):
        raise ValueError(f"{name} must name each kind once, got {list(kinds)}")
    if len(kinds) and not num_fields:
        raise ValueError(
            f"{name}={list(kinds)} multiplies features with one another and with the id, but {tower} has no "
            f"features: give the data features, or leave {name} out"
        )
    if "fm" in kinds and num_fields < 2:
        raise ValueError(
            f"{name}: fm multiplies the inputs of {tower} with one another, which has one alone: {remedy}"
        )


class FactorizationMachine(nn.Module):
    """A linear map of ``√D · Σ_{i<j} x_i ∘ x_j``, the products of each two of the fields.

    As in DeepFM (Guo et al., IJCAI 2017), but with the components of the products kept apart, as in "Neural
    Factorization Machines" (He & Chua, SIGIR 2017): their sum would be a score of a user, which ranks no
    items. By √D a product is of the size of its factors, whose components are about 1/√D.

    Args:
        dim: width D of a field and of the output.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.scale = dim**0.5
        self.output_map = nn.Linear(dim, dim, bias=False)

    def forward(self, fields: Tensor) -> Tensor:
        """Map fields (..., F, D) to (..., D)."""
        products = fields.sum(-2).square() - fields.square().sum(-2)  # each two of them twice
        found: Tensor = self.output_map(0.5 * self.scale * products)
        return found


class CrossNetwork(nn.Module):
    """A linear map of the last of ``x_{l+1} = x_0 ∘ (W_l x_l + b_l) + x_l``, x_0 being all fields in a row.

    Wang et al., "DCN V2: Improved Deep & Cross Network", WWW 2021, with full matrices.

    Args:
        dim: width D of a field and of the output.
        num_fields: number of fields F.
        num_layers: number of layers.
    """

    def __init__(self, dim: int, num_fields: int, num_layers: int) -> None:
        super().__init__()
        width = num_fields * dim
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(num_layers))
        for layer in self.layers:
            assert isinstance(layer, nn.Linear)
            # what the fields, of length 1 each, are multiplied by has components of about 1
            nn.init.normal_(layer.weight, std=num_fields**-0.5)
            nn.init.zeros_(layer.bias)
        self.output_map = nn.Linear(width, dim, bias=False)

    def forward(self, fields: Tensor) -> Tensor:
        """Map fields (..., F, D) to (..., D)."""
        start = state = fields.flatten(-2)
        for layer in self.layers:
            state = start * layer(state) + state
        found: Tensor = self.output_map(state)
        return found


def interaction_layers(
    kinds: Sequence[str], dim: int, num_fields: int, cross_layers: int
) -> dict[str, nn.Module]:
    """Return the layers of each kind, all of which map fields (..., F, D) to (..., D).

    Args:
        kinds: some of :data:`KINDS`.
        dim: width D.
        num_fields: number of fields F.
        cross_layers: number of cross layers.
    """
    return {
        kind: FactorizationMachine(dim) if kind == "fm" else CrossNetwork(dim, num_fields, cross_layers)
        for kind in kinds
    }


def add_interactions(vectors: Tensor, layers: nn.ModuleDict, fields: Sequence[Tensor]) -> Tensor:
    """Return vectors (..., D) with what each of the layers makes of the fields, (..., D) each, added."""
    if len(layers):
        stacked = torch.stack(list(fields), dim=-2)
        for layer in layers.values():
            vectors = vectors + layer(stacked)
    return vectors
