"""The paired bootstrap over users."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def paired_bootstrap(
    ours: NDArray[np.float64],
    theirs: NDArray[np.float64],
    samples: int = 10_000,
    seed: int = 0,
    chunk: int = 2**21,
) -> tuple[float, float, float]:
    """Compare two methods on the same users.

    Args:
        ours: (users,) value of each user, averaged over seeds.
        theirs: (users,) the same of the other method.
        samples: number of resamples of the users.
        seed: seed of the resampling.
        chunk: picks of users held at once, 16 bytes each, but at least those of one resample; it does not
            change the result.

    Returns:
        The mean difference and the ends of its 95 % interval.
    """
    difference = ours - theirs
    generator = np.random.default_rng(seed)
    users = len(difference)
    at_once = max(1, chunk // users)
    means = np.empty(samples)
    for first in range(0, samples, at_once):
        # the generator goes on where it was: the same picks, however they are divided
        picks = generator.integers(0, users, (min(at_once, samples - first), users))
        means[first : first + len(picks)] = difference[picks].mean(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(difference.mean()), float(low), float(high)
