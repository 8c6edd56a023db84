"""The paired bootstrap over users."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def paired_bootstrap(
    ours: NDArray[np.float64], theirs: NDArray[np.float64], samples: int = 10_000, seed: int = 0
) -> tuple[float, float, float]:
    """Compare two methods on the same users.

    Args:
        ours: (users,) value of each user, averaged over seeds.
        theirs: (users,) the same of the other method.
        samples: number of resamples of the users.
        seed: seed of the resampling.

    Returns:
        The mean difference and the ends of its 95 % interval.
    """
    difference = ours - theirs
    generator = np.random.default_rng(seed)
    picks = generator.integers(0, len(difference), (samples, len(difference)))
    means = difference[picks].mean(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(difference.mean()), float(low), float(high)
