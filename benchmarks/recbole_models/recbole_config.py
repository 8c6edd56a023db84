"""RecBole's configuration, as it works beside numpy 2; in a module, since its checkpoints pickle it."""

from __future__ import annotations

from typing import Any

from recbole.config import Config


class QuietConfig(Config):  # type: ignore[misc]
    """A configuration that reads no arguments of the command line."""

    def compatibility_settings(self) -> None:
        """Leave out aliases that numpy 2 refuses."""

    def _load_cmd_line(self) -> dict[str, Any]:
        return {}  # it is the benchmark's
