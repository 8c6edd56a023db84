"""Whether arguments that switch something on or off are true or false."""

from __future__ import annotations

import numpy as np


def check_switches(**switches: object) -> None:
    """Refuse a value of which Python would say that it is true: any text is, "no" among them.

    Args:
        **switches: the arguments by name; None is what the function takes it for.

    Raises:
        TypeError: one is neither true nor false; 0 and 1 are as good.
    """
    for name, value in switches.items():
        plain = value is None or isinstance(value, (bool, np.bool_))
        if not plain and not (isinstance(value, (int, np.integer)) and value in (0, 1)):
            raise TypeError(f"{name} must be true or false, got {value!r:.80}: write True or False")
