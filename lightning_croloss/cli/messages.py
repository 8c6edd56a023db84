"""What the commands say besides their results."""

from __future__ import annotations

import sys

from lightning.pytorch.utilities import rank_zero_only

from croloss_serving.common.terminal import printable


@rank_zero_only
def say(message: str) -> None:
    """Tell the user something besides the results, which alone go to standard output."""
    print(f"croloss: {printable(message)}", file=sys.stderr)
