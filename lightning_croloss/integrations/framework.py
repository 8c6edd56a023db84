"""What is said where a framework is not installed, or a version of it that is too old."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def framework(name: str, package: str) -> Iterator[None]:
    """Import a framework inside of it.

    Args:
        name: what people call it.
        package: what pip installs, with an extra if it takes one.

    Raises:
        ImportError: something is missing.
    """
    try:
        yield
    except ImportError as error:
        raise ImportError(f"{name} is missing or too old: pip install '{package}' ({error})") from error
