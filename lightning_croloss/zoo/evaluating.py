"""Whether a model does what its card says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lightning_croloss.common.safe_config import TrustedClasses
from lightning_croloss.errors import PretrainedError
from lightning_croloss.pretrained.figures import check_metrics
from lightning_croloss.pretrained.layout import CARD, METRICS, REQUIRED, read_manifest, read_metrics
from lightning_croloss.pretrained.loading import load_pretrained, read_config
from lightning_croloss.pretrained.safe_config import trusted_classes
from lightning_croloss.zoo.measuring import figures_of, measure
from lightning_croloss.zoo.sources import foreign_data_of


@dataclass(frozen=True)
class Figure:
    """One figure of a card beside the one measured now.

    Attributes:
        name: what it is.
        card: what the card says.
        measured: what was measured; None if there is no such figure any more.
        tolerance: how far they may be apart.
    """

    name: str
    card: float
    measured: float | None
    tolerance: float

    @property
    def agrees(self) -> bool:
        """Whether they are the same, as near as another machine's rounding lets them be."""
        return self.measured is not None and abs(self.card - self.measured) <= self.tolerance


def evaluate(
    folder: Path, data_folder: str | Path | None = None, trusted: TrustedClasses | None = None
) -> list[Figure]:
    """Measure every figure of a card again, from the weights and the data.

    A rate may differ by what one and a half users count, since two scores that are nearly equal may swap
    ranks on another machine; counts must be the same.

    Args:
        folder: the folder of the model.
        data_folder: the folder that holds the files of the data, instead of the one that the config names.
        trusted: the classes that the model's config may name; None is those of this package and of torch.

    Raises:
        AbsentDataError: the data is not there.
        PretrainedError: the model cannot be loaded, has no figures or unusable ones, or was changed.
    """
    card = read_metrics(folder, read_manifest(folder, (*REQUIRED, CARD)))
    if "test" not in card:
        raise PretrainedError(f"{folder} has no figures: it was not made by croloss zoo build")
    check_metrics(card, folder / METRICS)
    trusted = trusted or trusted_classes()
    data = foreign_data_of(read_config(folder), data_folder, trusted)
    measured = figures_of(measure(load_pretrained(folder, allow=trusted), data, card["choose_by"]))
    one_user = 1.5 / card["data"]["test_users"]
    return [
        Figure(name, value, measured.get(name), one_user if isinstance(value, float) else 0.0)
        for name, value in figures_of(card).items()
    ]
