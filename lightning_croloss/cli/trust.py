"""Classes of others that a command may build: ``--allow_classes``."""

from __future__ import annotations

from collections.abc import Sequence

from lightning_croloss.common.safe_config import TrustedClasses
from lightning_croloss.pretrained.safe_config import trusted_classes


def trusted_by_user(
    allow: Sequence[str] | str | None, imported: bool = False, advice: str = "--allow_classes={0}"
) -> TrustedClasses:
    """Return the classes that the files of a model may name on this command line.

    Args:
        allow: what ``--allow_classes`` holds.
        imported: whether classes that a config has imported are trusted too.
        advice: what to do to have a class trusted, for errors.

    Raises:
        ValueError: an allowed path is not that of a class.
    """
    given = [allow] if isinstance(allow, str) else list(allow or ())
    try:
        return trusted_classes(given, imported=imported, advice=advice)
    except ValueError as error:
        raise ValueError(f"--allow_classes: {str(error).removeprefix('allow: ')}") from None


__all__ = ["trusted_by_user"]
